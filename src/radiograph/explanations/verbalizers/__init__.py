"""Verbalizers: one module each, with `lacks(voice) -> str | None` and `make(voice) -> (Verbalizer, Reconstructor)`."""
