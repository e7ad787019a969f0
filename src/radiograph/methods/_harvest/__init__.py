"""Parts of the verb `harvest` that are not its story."""
