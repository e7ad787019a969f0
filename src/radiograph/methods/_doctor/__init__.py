"""What `doctor` knows of a machine that works."""
