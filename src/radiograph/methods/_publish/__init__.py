"""Parts of `publish`: what must not leave the machine, and the card."""
