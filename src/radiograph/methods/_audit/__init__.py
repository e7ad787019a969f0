"""What verbs that compare candidates share."""
