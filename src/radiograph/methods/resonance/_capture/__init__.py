"""Parts of `resonance capture`."""
