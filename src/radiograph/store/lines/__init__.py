"""JSON Lines, plain or compressed, in chunks of bounded size; mistakes with their lines, the first five and a count."""

from radiograph.store.lines._columns import floats, one_of, texts, whole_numbers
from radiograph.store.lines._marked import FIELD, given_in, marked, marked_input, marked_model
from radiograph.store.lines._mistakes import Mistakes
from radiograph.store.lines._private import says_private
from radiograph.store.lines._read import CHUNK_BYTES, CHUNK_LINES, Lines, objects, read_lines

__all__ = [
    "CHUNK_BYTES",
    "CHUNK_LINES",
    "FIELD",
    "Lines",
    "Mistakes",
    "floats",
    "given_in",
    "marked",
    "marked_input",
    "marked_model",
    "objects",
    "one_of",
    "read_lines",
    "says_private",
    "texts",
    "whole_numbers",
]
