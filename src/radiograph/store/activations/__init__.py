"""Activations that somebody stored, whatever the file: one reader, in bounded memory, without torch.

    radiograph.activations/1 folder#SOURCE · .npy · .npz · .safetensors · .parquet · .json

`open_activations` says what is there (rows, width, site, hashes, ids); `ActivationStore.chunks` gives the rows in
order, checked to be finite. A folder is read by shards (`store.shards` reads it for training); all else is one file.
"""

from radiograph.store.activations._open import SUFFIXES, is_activations, open_activations
from radiograph.store.activations._store import COLUMNS, ActivationStore

__all__ = ["COLUMNS", "SUFFIXES", "ActivationStore", "is_activations", "open_activations"]
