"""Pages of searches for insertions."""
