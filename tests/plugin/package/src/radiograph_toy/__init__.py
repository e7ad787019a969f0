"""A plug-in as another team would write it."""
