"""What a tokenizer is: its hash, and the first entry in which two of them differ.

Two models can be compared token by token only if vocabulary, merges, special tokens and splitting rules agree. The chat
template is part of the hash but not of the comparison: which template renders a prompt is the caller's choice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_PARTS = ("vocabulary", "merges", "specials", "rules")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first differing entry: which part, which entry, and both sides (None: absent there)."""

    part: str
    entry: str
    reference: str | None
    candidate: str | None

    def __str__(self) -> str:
        return f"{self.part}, {self.entry}: {self.reference!r} in the reference, {self.candidate!r} in the candidate"


def tokenizer_sha256(tokenizer: Any) -> str:
    """Hash of vocabulary, merges, special tokens, splitting rules and chat template."""
    facts = {**_facts(tokenizer), "template": getattr(tokenizer, "chat_template", None)}
    return hashlib.sha256(b"radiograph.tokenizer/1" + json.dumps(facts, sort_keys=True).encode()).hexdigest()


def same_tokenizer(reference: Any, candidate: Any) -> Difference | None:
    """None if both tokenizers give every text the same ids, else the first entry that differs."""
    if reference is candidate:
        return None
    if reference is None or candidate is None:
        ours, theirs = ("absent" if side is None else "present" for side in (reference, candidate))
        return Difference("vocabulary", "tokenizer", ours, theirs)
    ours, theirs = _facts(reference), _facts(candidate)
    for part in _PARTS:
        a, b = ours[part], theirs[part]
        for entry in [*a, *(key for key in b if key not in a)]:
            if a.get(entry) != b.get(entry):
                left, right = (None if side.get(entry) is None else str(side[entry]) for side in (a, b))
                return Difference(part, entry, left, right)
    return None


def token_text(tokenizer: Any, token: int) -> str:
    """One token as it stands inside a text: with the space before it, where the token holds one.

    Decoders drop the space at the start of a text, so the token is decoded after an anchor that is taken off again.
    """
    anchor = _anchor(tokenizer)
    lead = str(tokenizer.decode([anchor]))
    both = str(tokenizer.decode([anchor, token]))
    return both[len(lead) :] if both.startswith(lead) else str(tokenizer.decode([token]))


@lru_cache(maxsize=8)
def _anchor(tokenizer: Any) -> int:
    """An ordinary token: the first of the plain text "a", else of the vocabulary."""
    special = set(tokenizer.all_special_ids)
    ids = tokenizer("a", add_special_tokens=False)["input_ids"]
    return next((i for i in [*ids, *range(len(tokenizer))] if i not in special), 0)


def _facts(tokenizer: Any) -> dict[str, dict[str, Any]]:
    """Each part as a mapping from entry to value, in the part's own order."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    stored = {} if backend is None else json.loads(backend.to_str())
    model = stored.get("model", {})
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    merges = [" ".join(m) if isinstance(m, list) else m for m in model.get("merges", [])]
    rules = {k: stored.get(k) for k in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
    rules |= {k: v for k, v in model.items() if k not in ("vocab", "merges")}
    specials = {str(k): str(v) for k, v in tokenizer.special_tokens_map.items() if not isinstance(v, list)}
    specials |= {t["content"]: f"added {t['id']} special={t['special']}" for t in stored.get("added_tokens", [])}
    return {
        "vocabulary": {f"id {index}": token for token, index in by_id},
        "merges": {f"merge {rank}": merge for rank, merge in enumerate(merges)},
        "specials": specials,
        "rules": {key: json.dumps(value, sort_keys=True) for key, value in rules.items()},
    }
