"""What lies behind the last block: final norm and unembedding, in float64; and what single units write."""

from radiograph.models.tail._jacobian import responses
from radiograph.models.tail._tail import WRITERS, Tail, follows_norm, write_vectors

__all__ = ["WRITERS", "Tail", "follows_norm", "responses", "write_vectors"]
