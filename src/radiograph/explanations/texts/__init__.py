"""Texts as tokens with what features do on them: passages, records of them, windows, what a rule may say of a token."""
