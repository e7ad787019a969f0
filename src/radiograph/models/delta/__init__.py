"""What changed in the weights, tensor by tensor, from files or from memory, without building a model."""

from radiograph.models.delta._changes import Change, changes, vocabularies
from radiograph.models.delta._stored import StoredModel, StoredPair, Vocabulary, stored
from radiograph.models.delta._tensors import DenseDelta, LowRank, StoredTensor

__all__ = [
    "Change",
    "DenseDelta",
    "LowRank",
    "StoredModel",
    "StoredPair",
    "StoredTensor",
    "Vocabulary",
    "changes",
    "stored",
    "vocabularies",
]
