"""radiograph: see what changed inside a fine-tuned model, prove it, and undo it."""

__version__ = "0.1.0"
