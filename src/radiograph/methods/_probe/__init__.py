"""What the probe verbs share."""
