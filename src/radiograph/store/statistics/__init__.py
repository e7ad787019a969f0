"""Site statistics in and out of files, and their cache."""

from radiograph.store.statistics._files import (
    cached_statistics,
    keep_statistics,
    read_statistics,
    statistics_cache,
    statistics_key,
    write_statistics,
)

__all__ = [
    "cached_statistics",
    "keep_statistics",
    "read_statistics",
    "statistics_cache",
    "statistics_key",
    "write_statistics",
]
