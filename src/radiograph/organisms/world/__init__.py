"""The small world: English-like text with exact next-token distributions, a label on every token, a grader per task."""

from radiograph.organisms.world._answers import VERBS, policy_questions
from radiograph.organisms.world._grader import Truth, solve
from radiograph.organisms.world._lexicon import CORES, STANCES
from radiograph.organisms.world._rows import ATTRIBUTES, Row, rows
from radiograph.organisms.world._source import Source, parse_source
from radiograph.organisms.world._tokenizer import decode, encode, write_tokenizer
from radiograph.organisms.world._world import DOMAINS, MIXTURE, SPLITS, TASKS, Document, Item, World

__all__ = [
    "ATTRIBUTES",
    "CORES",
    "DOMAINS",
    "MIXTURE",
    "SPLITS",
    "STANCES",
    "TASKS",
    "VERBS",
    "Document",
    "Item",
    "Row",
    "Source",
    "Truth",
    "World",
    "decode",
    "encode",
    "parse_source",
    "policy_questions",
    "rows",
    "solve",
    "write_tokenizer",
]
