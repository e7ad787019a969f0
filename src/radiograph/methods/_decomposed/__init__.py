"""What verbs about a decomposition share."""
