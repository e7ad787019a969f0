"""The parts of `probe sae-diff`: sides, passes over them, the sample, what is written, what is derived again."""
