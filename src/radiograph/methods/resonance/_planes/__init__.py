"""What the verbs of planes share: rows and groups, bases of every kind, tables."""
