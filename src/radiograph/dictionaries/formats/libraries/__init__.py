"""Formats in which libraries save what their users train: one file a format."""
