"""Arithmetic of decompositions: squashing, masks, matching with a known truth. Submodules are imported by name."""
