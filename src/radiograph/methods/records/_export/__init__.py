"""Parts of `records export` that are not its story."""
