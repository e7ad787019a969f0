"""Pages of `explain features` and `explain score`."""
