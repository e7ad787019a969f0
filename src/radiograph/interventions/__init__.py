"""Floor 3: change a forward pass, and measure what the change does."""

from radiograph.interventions._splice import SpliceLosses, at_kept, reconstruction, splice_losses

__all__ = ["SpliceLosses", "at_kept", "reconstruction", "splice_losses"]
