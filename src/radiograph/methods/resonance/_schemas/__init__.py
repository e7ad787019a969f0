"""The six schemas: one file each."""
