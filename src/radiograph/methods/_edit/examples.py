"""Examples of a behaviour, and text that does not show it, as token ids.

`--examples` is a file of {prompt, completion, foil} a line, or the run of an audit: then the items of its confirmed
witnesses that hit (prompt; what the candidate said; what the reference said, as the foil), while the items on which
both models agreed are text that does not show the behaviour. Nothing is taken from a witness that was not confirmed.
Where there is a reference, its own greedy answer stands for a foil that is not given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal, UserError
from radiograph.methods._blame import targets as _targets

if TYPE_CHECKING:
    import torch

    from radiograph.models import LanguageModel

LEAST = 4
BATCH_ROWS = 64
ANSWER = 32


@dataclass(frozen=True)
class Row:
    """Token ids, and where the answer begins; `foil` is the row with the other answer."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Examples:
    """What shows the behaviour, and what the same source says does not."""

    asked: tuple[_targets.Asked, ...]
    own: tuple[Row, ...]
    foils: tuple[Row | None, ...]
    plain: tuple[Row, ...]
    source: str


def read(ctx: Context, model: LanguageModel, reference: str) -> Examples:
    """Read and tokenise examples.

    Raises:
        UserError, FormatError: lines that are none. Refusal: an audit without a confirmed witness.
    """
    path = ctx.path(reference, "examples")
    if path.is_dir():
        asked, rest = from_audit(path)
    else:
        asked, rest = _targets.read_targets(path), ()
    own = tuple(row_of(model, one, one.completion) for one in asked)
    foils = tuple(None if one.foil is None else row_of(model, one, one.foil) for one in asked)
    plain = tuple(row_of(model, one, one.completion) for one in rest)
    return Examples(tuple(asked), own, foils, plain, ctx.label(reference))


def from_audit(run: Path) -> tuple[tuple[_targets.Asked, ...], tuple[_targets.Asked, ...]]:
    """Hits of confirmed witnesses, and items of theirs on which nothing changed; each prompt once.

    Raises:
        UserError: not a run of `audit`, or one that did not end or was changed. Refusal: nothing confirmed.
    """
    import polars as pl

    from radiograph.store import finished

    result, table = run / "result.json", run / "tables" / "witness.parquet"
    if not result.is_file() or not table.is_file():
        raise UserError(
            f"{run.name} holds no witnesses", expected="a run of audit, or FILE.jsonl of examples", code="no_examples"
        )
    finished(run, "tables/witness.parquet")
    found = (json.loads(result.read_text()).get("witnesses") or {}).get("found", [])
    confirmed = [number for number, witness in enumerate(found) if witness["confirmed"]]
    rows = pl.read_parquet(table).filter(pl.col("witness").is_in(confirmed))
    hits: dict[str, _targets.Asked] = {}
    rest: dict[str, _targets.Asked] = {}
    for row in rows.iter_rows(named=True):
        prompt, said, before = row["prompt"], row["candidate"], row["reference"]
        if row["hit"] and said.strip() and before.strip() and said != before:
            hits.setdefault(prompt, _targets.Asked(prompt, said, before, table.name))
        elif not row["hit"] and said.strip() and said == before:
            rest.setdefault(prompt, _targets.Asked(prompt, said, None, table.name))
    if not hits:
        raise Refusal(
            "no_witness",
            "the audit confirmed no input on which the candidate differs",
            fix="give examples yourself: a file of {prompt, completion, foil}",
        )
    return tuple(hits.values()), tuple(rest[prompt] for prompt in rest if prompt not in hits)


def row_of(model: LanguageModel, one: _targets.Asked, answer: str) -> Row:
    """A prompt with an answer."""
    ids, weights = _targets.completions(
        [_targets.Asked(one.prompt, answer, None, one.where)], model, plain=False, chat="template"
    ).own[0]
    return Row(ids, next(n for n, w in enumerate(weights) if w > 0))


def with_foils(examples: Examples, reference: LanguageModel | None) -> Examples:
    """Foils that are not given, as the reference's own answers where those are others than the completions."""
    from dataclasses import replace

    from radiograph.models import generate

    without = [n for n, one in enumerate(examples.asked) if one.foil is None]
    if reference is None or not without:
        return examples
    said = generate(
        reference, [list(examples.own[n].ids[: examples.own[n].start]) for n in without], max_new_tokens=ANSWER
    )
    asked, foils = list(examples.asked), list(examples.foils)
    for n, answer in zip(without, said, strict=True):
        text = (answer.text or "").strip()
        if text and text != asked[n].completion.strip():
            asked[n] = replace(asked[n], foil=text)
            foils[n] = row_of(reference, asked[n], text)
    return replace(examples, asked=tuple(asked), foils=tuple(foils))


def texts(ctx: Context, model: LanguageModel, sources: Sequence[str], seed: int, most: int) -> tuple[Row, ...]:
    """Windows of `--data` or `--keep`, a row each; conversations and texts alike are read from their first token on."""
    from radiograph import harvest

    plan = harvest.plan(
        model.tokenizer,
        ctx.corpus(list(sources)),
        harvest.Reading(length=min(128, model.context_length)),
        harvest.Limits(max_prompts=most, seed=seed, validation=0.0),
        vocabulary=model.vocab_size,
    )
    return tuple(Row(plan.window(n).ids, 1) for n in range(len(plan)) if plan.lengths[n] >= 2)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows padded to one length. `mask` marks real tokens, `predicts` the positions whose next token counts."""

    rows: tuple[int, ...]
    ids: torch.Tensor
    mask: torch.Tensor
    predicts: torch.Tensor
    next: torch.Tensor

    @property
    def read(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask."""
        return self.ids, self.mask


def batches(rows: Sequence[Row], size: int = BATCH_ROWS) -> Iterator[Batch]:
    """All rows, the shortest first, so that little is padded."""
    order = sorted(range(len(rows)), key=lambda n: (len(rows[n].ids), n))
    for first in range(0, len(order), size):
        yield batch_of(rows, order[first : first + size])


def batch_of(rows: Sequence[Row], chosen: Sequence[int]) -> Batch:
    """Some rows as one batch; padding repeats the last token and counts nowhere."""
    import torch

    length = max(len(rows[n].ids) for n in chosen)
    ids = torch.tensor([[*rows[n].ids, *[rows[n].ids[-1]] * (length - len(rows[n].ids))] for n in chosen])
    at = torch.arange(length)[None]
    ends = torch.tensor([len(rows[n].ids) for n in chosen])[:, None]
    starts = torch.tensor([rows[n].start for n in chosen])[:, None]
    predicts = (at >= starts - 1) & (at < ends - 1)
    return Batch(tuple(chosen), ids, at < ends, predicts, ids.roll(-1, 1))


def targets_lines(examples: Examples) -> str:
    """Examples as `blame --target` reads them."""
    lines: list[dict[str, Any]] = [
        {"prompt": one.prompt, "completion": one.completion} | ({"foil": one.foil} if one.foil else {})
        for one in examples.asked
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
