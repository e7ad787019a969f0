"""The parts of `dictionary evaluate`: the rows, what is measured on them, and what was asked of the numbers."""
