"""Planted first, then broken: a narrow change in a model that has lost abilities."""
