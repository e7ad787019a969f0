"""Labelled rows of a criterion as prompts to intervene on: which of them, their tokens, and where writes may act.

Groups are put in an order by lot; of each half as many positives as asked for are taken, and as many others, half of
them near misses where there are any. The same seed takes the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from radiograph.core import Refusal, UserError

if TYPE_CHECKING:
    from radiograph.criteria import Compiled, Row
    from radiograph.models import LanguageModel

FEWEST = 2
"""Positives of a half."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One of them."""

    id: str
    group: str
    half: str
    kind: str
    text: str | None
    ids: tuple[int, ...]
    span: tuple[int, int]
    """Positions of the labelled tokens; the whole prompt where it is labelled as a whole."""
    targets: tuple[str, ...]
    foils: tuple[str, ...]
    cut: int = 0
    """Tokens that were left out after the first, because the context would not hold them."""


def prompts_of(
    model: LanguageModel, compiled: Compiled, *, most: int, seed: int, targets: Sequence[str], foils: Sequence[str]
) -> list[Prompt]:
    """The prompts, by half and kind. What is too long for the context keeps its first token and its end.

    Raises:
        Refusal: too few positives in a half. UserError: a prompt without text or tokens.
    """
    chosen: list[Row] = []
    for half in ("discover", "confirm"):
        own = sorted((r for r in compiled.rows if r.half == half), key=lambda r: (_lot(seed, r.group), r.prompt_id))
        parted = {kind: _spread([r for r in own if r.kind == kind]) for kind in ("positive", "near_miss", "negative")}
        near = parted["near_miss"][: max(most // 2, most - len(parted["negative"]))]
        if len(parted["positive"]) < FEWEST:
            raise Refusal(
                "few_groups", f"{half} has too few positives", expected=f"{FEWEST}", got=f"{len(parted['positive'])}"
            )
        chosen += [*parted["positive"][:most], *near, *parted["negative"][: most - len(near)]]
    return [_prompt(model, row, tuple(targets), tuple(foils)) for row in chosen]


def counts(prompts: Sequence[Prompt]) -> dict[str, int]:
    """`HALF.KIND` to number."""
    found: dict[str, int] = {}
    for one in prompts:
        name = f"{one.half}.{one.kind}"
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def _lot(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed} {group}".encode()).hexdigest()


def _spread(rows: list[Row]) -> list[Row]:
    """The first row of every group, then the second ones, and so on."""
    seen: dict[str, int] = {}
    turn: list[tuple[int, int, Row]] = []
    for place, row in enumerate(rows):
        seen[row.group] = seen.get(row.group, 0) + 1
        turn.append((seen[row.group], place, row))
    return [row for _, _, row in sorted(turn, key=lambda one: one[:2])]


def _prompt(model: LanguageModel, row: Row, targets: tuple[str, ...], foils: tuple[str, ...]) -> Prompt:
    ids = row.tokens or _ids(model, row)
    if not ids:
        raise UserError(f"prompt {row.prompt_id} has no tokens", code="empty_row")
    given = Prompt(
        id=row.prompt_id,
        group=row.group,
        half=row.half,
        kind=row.kind,
        text=row.text if not row.messages else None,
        ids=tuple(ids),
        span=_span(model.tokenizer, row, len(ids)),
        targets=targets or row.targets,
        foils=foils or row.foils,
    )
    return _shortened(model, given)


def _shortened(model: LanguageModel, one: Prompt) -> Prompt:
    """The prompt as the context holds it, with room for what continues it.

    Raises:
        UserError: its labelled span would be cut.
    """
    tokenizer = cast(Any, model.tokenizer)
    texts = () if model.tokenizer is None else (*one.targets, *one.foils)
    if len(one.ids) + max((len(text.encode()) for text in texts), default=0) <= model.context_length:
        return one  # no continuation has more tokens than bytes
    tail = max((len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts), default=0)
    cut = len(one.ids) + tail - model.context_length
    if cut <= 0:
        return one
    whole = one.span == (0, len(one.ids))
    if not whole and one.span[0] <= cut:
        raise UserError(
            f"prompt {one.id} is too long for the context, and its labelled span would be cut",
            expected=f"at most {model.context_length - tail} tokens from the span to the end",
            got=f"{len(one.ids) - one.span[0]} tokens",
            code="too_long",
        )
    ids = one.ids[:1] + one.ids[1 + cut :]
    span = (0, len(ids)) if whole else (one.span[0] - cut, one.span[1] - cut)
    return replace(one, ids=ids, span=span, cut=cut)


def _ids(model: LanguageModel, row: Row) -> tuple[int, ...]:
    from radiograph.models import render_chat, tokenize

    if model.tokenizer is None:
        raise UserError("prompts as text need a tokenizer", where=str(model.ref), code="no_tokenizer")
    if row.messages:
        return render_chat(model.tokenizer, row.messages).ids
    if not row.text:
        raise UserError(f"prompt {row.prompt_id} has no text", code="empty_row")
    return tokenize(model.tokenizer, row.text).ids


def _span(tokenizer: Any, row: Row, length: int) -> tuple[int, int]:
    """Tokens that hold the labelled characters; of rows with tokens of their own, which end at the label, the last."""
    if row.span is None:
        return 0, length
    if row.tokens:
        return length - 1, length
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            "labelled spans need a tokenizer that tells offsets",
            where=f"prompt {row.prompt_id}",
            fix="label whole prompts, or take another tokenizer",
            code="no_offsets",
        )
    offsets = tokenizer(row.text, return_offsets_mapping=True)["offset_mapping"]
    low, high = row.span
    inside = [place for place, (start, stop) in enumerate(offsets) if start < high and stop > low and stop > start]
    if not inside:
        raise UserError("a labelled span holds no token", where=f"prompt {row.prompt_id}", code="empty_span")
    return inside[0], inside[-1] + 1
