"""Scorers that ask a judge: one module each, with `questions(...) -> list[Question]`; `rule` asks nobody."""
