"""Two adapters on one base at once: side by side, or as the factors of a merge."""

from radiograph.models.combined._together import check_plain, factors, in_place, probe_logits, together

__all__ = ["check_plain", "factors", "in_place", "probe_logits", "together"]
