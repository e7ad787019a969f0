"""Parts of `decompose label`."""
