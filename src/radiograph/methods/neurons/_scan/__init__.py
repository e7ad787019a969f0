"""Parts of `neurons scan`."""
