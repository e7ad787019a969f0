"""Vectors and rows of sweeps: written batch by batch, read whole."""

from radiograph.store.vectors._directions import read_directions
from radiograph.store.vectors._read import FOLDER, ROWS, Vectors, open_vectors
from radiograph.store.vectors._write import BatchWriter

__all__ = ["FOLDER", "ROWS", "BatchWriter", "Vectors", "open_vectors", "read_directions"]
