"""The small world: English-like text with exact next-token distributions, a label on every token, a grader per task.

Domains are programs (`_skills`, `_answers`, `_prose`) over one lexicon, run by `_machine` to sample and to filter;
`_grader` finds the right answer again from the text alone. Three grammars are as simple as they are because a model of
0.17 M parameters has to learn them beside all others within minutes: `echo` says numbers among its words (with words
alone, `recall` stayed at chance for 5,000 steps; with numbers it was learned by 1,500), `cite` puts the tag right
after what it supports (tags in whole sentences stayed at chance), and `true?` is every second question about facts.
"""

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
