"""Verbs that a plug-in adds to the server under test: slow, large, noisy, and talkative about its model."""
