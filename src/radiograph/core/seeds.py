"""Seeds: one 64-bit number per purpose, derived by hashing, so that adding a consumer moves no other stream."""

from __future__ import annotations

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose. Equal arguments give equal seeds on every machine and version.

    63 bits, because both NumPy and torch accept them without a sign.
    """
    text = "\x1f".join(["radiograph.seed/1", str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
