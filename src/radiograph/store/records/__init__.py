"""Sparse records: which features fired on which rows, streamed into a folder of Parquet parts."""

from __future__ import annotations

from radiograph.store.records._header import HEADER, Header, Part, RecordsModel
from radiograph.store.records._read import Records, open_records
from radiograph.store.records._write import Entries, begin_records, committed_parts, finish_records, write_part

__all__ = [
    "HEADER",
    "Entries",
    "Header",
    "Part",
    "Records",
    "RecordsModel",
    "begin_records",
    "committed_parts",
    "finish_records",
    "open_records",
    "write_part",
]
