"""What verbs that make texts share."""
