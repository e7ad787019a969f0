"""Records of where a history broke, and of the report card of a model."""
