"""Pages of planes: bases, sweeps, comparisons."""
