"""Pages about features: what was found, what it causes, where else it is, and how it hangs together."""
