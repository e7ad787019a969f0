"""Sparse records: which features fired on which rows, streamed into a folder of Parquet parts, read by feature."""

from __future__ import annotations

from radiograph.store.records._blocks import MEMORY, Block, by_range, ranges
from radiograph.store.records._header import FACTOR, HEADER, ROWS, Absent, Header, Level, Part, Pool, RecordsModel
from radiograph.store.records._read import FOLDER, Records, open_records
from radiograph.store.records._sorted import SortedWriter
from radiograph.store.records._write import Entries, begin_records, committed_parts, finish_records, write_part

__all__ = [
    "FACTOR",
    "FOLDER",
    "HEADER",
    "MEMORY",
    "ROWS",
    "Absent",
    "Block",
    "Entries",
    "Header",
    "Level",
    "Part",
    "Pool",
    "Records",
    "RecordsModel",
    "SortedWriter",
    "begin_records",
    "by_range",
    "committed_parts",
    "finish_records",
    "open_records",
    "ranges",
    "write_part",
]
