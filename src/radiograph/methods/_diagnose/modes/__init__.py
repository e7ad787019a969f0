"""One file a mode: what it measures, and what it refuses without."""
