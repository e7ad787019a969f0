"""What is asked of a sparse dictionary, as arithmetic on arrays: one question a file."""
