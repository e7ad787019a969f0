"""Parts of the verb `inspect` that are not its story."""
