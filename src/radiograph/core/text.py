"""Names and texts from files are untrusted: what a terminal or a page may show of them."""

from __future__ import annotations

import unicodedata

_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def visible(text: str, limit: int | None = None) -> str:
    """The text with control, escape and bidirectional characters spelled out, cut to `limit` characters.

    Newlines and tabs stay; everything that could move a cursor, recolour a line or reorder it does not.
    """
    out = "".join(c if _harmless(c) else f"\\u{ord(c):04x}" for c in text)
    if limit is not None and len(out) > limit:
        return out[: limit - 1] + "…"
    return out


def _harmless(character: str) -> bool:
    if character in "\n\t":
        return True
    return character not in _BIDI and unicodedata.category(character) not in {"Cc", "Cs", "Cn"}
