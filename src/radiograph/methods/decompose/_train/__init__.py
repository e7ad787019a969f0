"""The parts of `decompose train`."""
