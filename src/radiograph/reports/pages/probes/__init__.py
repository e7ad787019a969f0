"""Pages of the probes: what moved, what a probe says, who is to blame, where it broke."""
