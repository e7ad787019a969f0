"""Files of others, as interp-lab writes them: activation records and feature dumps in JSON Lines; records as such."""

from radiograph.store.foreign._dump import Dump, read_dump
from radiograph.store.foreign._jsonl import write_jsonl
from radiograph.store.foreign._records import Duplicates, read_records

__all__ = ["Dump", "Duplicates", "read_dump", "read_records", "write_jsonl"]
