"""Floor 3: change a forward pass, and measure what the change does."""

from radiograph.interventions._splice import SpliceLosses, splice_losses, splices

__all__ = ["SpliceLosses", "splice_losses", "splices"]
