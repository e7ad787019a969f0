"""Parts of `probe interference`."""
