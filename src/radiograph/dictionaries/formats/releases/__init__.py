"""Formats of published collections that have one of their own: one file a format."""
