"""Names and texts from files are untrusted: what a terminal or a page may show of them."""

from __future__ import annotations

import unicodedata


def visible(text: str, limit: int | None = None) -> str:
    """The text with control, format and unassigned characters spelled out, cut to `limit` characters.

    Newlines and tabs stay; everything that could move a cursor, recolour a line, break it, reorder it (bidirectional
    controls) or hide in it (zero-width and tag characters) does not.
    """
    out = text if text.isprintable() else "".join(c if _harmless(c) else f"\\u{ord(c):04x}" for c in text)
    if limit is not None and len(out) > limit:
        return out[: limit - 1] + "…"
    return out


def _harmless(character: str) -> bool:
    if character in "\n\t":
        return True
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
