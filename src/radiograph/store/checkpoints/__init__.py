"""Where a training can go on after it was killed."""

from radiograph.store.checkpoints._folder import DOCUMENT, TENSORS, Checkpoint, CheckpointFolder

__all__ = ["DOCUMENT", "TENSORS", "Checkpoint", "CheckpointFolder"]
