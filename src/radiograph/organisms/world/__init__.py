"""The small world: English-like text with exact next-token distributions, a label on every token, a grader per task."""

from radiograph.organisms.world._grader import Truth, solve
from radiograph.organisms.world._source import Source, parse_source
from radiograph.organisms.world._tokenizer import decode, encode, write_tokenizer
from radiograph.organisms.world._world import DOMAINS, MIXTURE, SPLITS, TASKS, Document, Item, World

__all__ = [
    "DOMAINS",
    "MIXTURE",
    "SPLITS",
    "TASKS",
    "Document",
    "Item",
    "Source",
    "Truth",
    "World",
    "decode",
    "encode",
    "parse_source",
    "solve",
    "write_tokenizer",
]
