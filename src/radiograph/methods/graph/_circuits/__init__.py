"""What the verbs about circuits share."""
