"""Parts of the verb `bisect` that are not its story."""
