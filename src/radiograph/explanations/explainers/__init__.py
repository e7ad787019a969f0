"""Explainers: one module each, with `lacks(study) -> str | None` and `explain(study) -> Explained`."""
