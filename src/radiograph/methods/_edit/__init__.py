"""What the verbs of `edit` share."""
