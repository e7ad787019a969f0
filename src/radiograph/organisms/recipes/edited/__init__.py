"""Models with weights changed by hand and nothing trained: their truth is exact."""
