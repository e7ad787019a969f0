"""Activations of models on text: a folder of checksummed shards, or tensors in memory, behind one protocol.

Writing: `begin`, `ShardWriter` (any number of processes), `finish`. Reading: `open_activations`, `Reader`.
"""

from __future__ import annotations

from radiograph.store.shards._activations import Activations, Split
from radiograph.store.shards._buffers import Buffers
from radiograph.store.shards._commits import committed, finish
from radiograph.store.shards._disk import DiskActivations, open_activations
from radiograph.store.shards._index import INDEX, PROMPTS, Commit, Index, ModelRecord, SourceRecord, begin
from radiograph.store.shards._memory import MemoryActivations
from radiograph.store.shards._reader import Reader
from radiograph.store.shards._statistics import Statistics
from radiograph.store.shards._writer import ShardData, ShardWriter, write_shard

__all__ = [
    "INDEX",
    "PROMPTS",
    "Activations",
    "Buffers",
    "Commit",
    "DiskActivations",
    "Index",
    "MemoryActivations",
    "ModelRecord",
    "Reader",
    "ShardData",
    "ShardWriter",
    "SourceRecord",
    "Split",
    "Statistics",
    "begin",
    "committed",
    "finish",
    "open_activations",
    "write_shard",
]
