"""Row gradients on disk: checksummed shards that commit one by one, read block by block. Needs no torch."""

from radiograph.store.gradients._files import (
    Commit,
    Gradients,
    Index,
    MatrixRecord,
    begin,
    committed,
    finish,
    open_gradients,
    write_shard,
)

__all__ = [
    "Commit",
    "Gradients",
    "Index",
    "MatrixRecord",
    "begin",
    "committed",
    "finish",
    "open_gradients",
    "write_shard",
]
