"""Parts of the verb `diagnose`: what it reads, one file a mode, the card."""
