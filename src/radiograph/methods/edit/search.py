"""Which components carry this behaviour, so that they can be edited?

1. the parts of MODEL: components of its decomposition, or, of REFERENCE+ADAPTER, the rank-one pieces of the adapter
2. --examples: prompts that show the behaviour, from a file or from the confirmed witnesses of an audit, and plain text
   that does not (--keep, and items of the audit on which nothing changed). Pieces are first turned so that each is used
   as much as possible by examples or by plain text, not by both
3. parts are taken out one by one: of those with the steepest gradient the one without which most is gained
4. --writes, --reads, --like instead order parts by what they write or read: cosine with unembedding or embedding, or
   write x read cosine with another part. Selected are those above the chance level: what random directions reach with
   the best of all parts, in 95 of 100 draws
5. --label: components whose label (`decompose label`) has these words, each taken out alone; evidence is what that does
   where it fires, selected are those above 19 random components that fire and are called otherwise. A label is where to
   look and its score how far to trust it: neither is evidence of an effect
6. of each leading part: percentile among all, density on plain text, share of its firings that lie there (the
   collateral that an edit of it is expected to have)

Units: nats; evidence of --examples is what taking the part out alone takes off the objective, to first order: KL to the
reference, or of a plain model the answers' log-probability. Source of 2: common spatial patterns (Koles et al. 1990).
Refuses when (exit 4): the audit confirmed no witness; a plain model does not answer so itself; nothing gains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, Input, ModelRef, Refusal, RunPath, UserError
from radiograph.evidence.edits import EditSearch, Part, SearchStep
from radiograph.methods.edit import _labelled

if TYPE_CHECKING:
    from radiograph.methods._edit.examples import Examples, Row
    from radiograph.methods._edit.parts import Parts
    from radiograph.methods.edit._labelled import Labels

ExamplesRef = Annotated[str, Input("file")]
PartsRef = Annotated[str, Input("file")]
DataRef = Annotated[str, Input("file")]


class Config(Base):
    """Whose parts, and what is asked of them."""

    model: ModelRef
    """REFERENCE+ADAPTER, or a plain model that has a decomposition."""
    decomposition: PartsRef | None = None
    """A decomposition of MODEL, or a run of `edit search` whose pieces are used; by default the one that fits."""
    examples: ExamplesRef | None = None
    """FILE of {prompt, completion, foil}, or a run of `audit`: its confirmed witnesses."""
    keep: tuple[DataRef, ...] = ()
    """Text that must stay as it is, as FILE.jsonl or world:mixture#200. Repeatable."""
    keep_rows: int = Field(default=200, ge=8)
    """Most windows of it."""
    keep_weight: float = Field(default=10.0, ge=0)
    """Nats on plain text count this much more than nats on examples."""
    writes: str | None = None
    """A token: parts that write towards it."""
    reads: str | None = None
    """A token: parts that read it."""
    like: str | None = None
    """A part: those that read and write alike."""
    label: str | None = None
    """A regular expression, as "colour|red": components whose label has it; needs --labels."""
    labels: RunPath | None = None
    """A run of `decompose label`: what components are called, beside what is measured."""
    most: int = Field(default=16, ge=1)
    """Parts that are selected at most."""
    top: int = Field(default=20, ge=1)
    """Parts that are listed."""


def run(config: Config, ctx: Context) -> EditSearch:
    """Open, turn, take out, count, write."""
    from radiograph.methods._edit import examples as _examples
    from radiograph.methods._edit import parts as _parts

    asked = [n for n in ("examples", "writes", "reads", "like", "label") if getattr(config, n) is not None]
    if len(asked) != 1:
        raise UserError(
            "edit search needs one question",
            where="--examples",
            expected="one of --examples, --writes, --reads, --like, --label",
            got=", ".join(f"--{n}" for n in asked) or "none",
        )
    if config.label is not None and config.labels is None:
        raise UserError("--label needs --labels", where="--labels", expected="a run of `decompose label`")
    parts = _parts.opened(ctx, config.model, config.decomposition)
    labels = _labelled.opened(ctx, config.labels, parts)
    given = None if config.examples is None else _examples.read(ctx, parts.model, config.examples)
    keep = _examples.texts(ctx, parts.model, config.keep, ctx.seed, config.keep_rows) if config.keep else ()
    plain = (*(given.plain if given is not None else ()), *keep)
    if len(plain) < _examples.LEAST:
        raise UserError(
            "edit search needs text that does not show the behaviour",
            where="--keep",
            expected=f"{_examples.LEAST} rows or more, as --keep world:mixture#200",
            got=f"{len(plain)} rows",
        )
    if config.label is not None and labels is not None:
        names = ctx.label(config.model), ctx.label(config.labels or "")
        return _labelled.by_label(ctx, parts, labels, config.label, plain, sizes=(config.most, config.top), names=names)
    if given is None:
        return _by_direction(config, ctx, parts, labels, asked[0], plain)
    return _by_examples(config, ctx, parts, labels, given, plain)


def _by_examples(
    config: Config, ctx: Context, parts: Parts, labels: Labels | None, given: Examples, plain: tuple[Row, ...]
) -> EditSearch:
    from radiograph.methods._edit import examples as _examples
    from radiograph.methods._edit import parts as _parts
    from radiograph.methods._edit import searched
    from radiograph.methods._edit.examples import batches, targets_lines

    given = _examples.with_foils(given, parts.reference)
    if len(given.own) < 2:
        raise Refusal("too_few", "one example is no behaviour", expected="two examples or more")
    if parts.kind == "pieces" and config.decomposition is None:
        with ctx.measure("turn"):
            parts = _parts.contrasting(
                parts, lambda: (b.read for b in batches(given.own)), lambda: (b.read for b in batches(plain))
            )
        _parts.save(parts, ctx.output.folder(_parts.PIECES))
    if parts.reference is None:
        searched.check_shown(parts, given.own)
    aim = searched.objective(parts, given.own, plain, config.keep_weight)
    with ctx.measure("search"):
        taken = searched.taken_out(ctx, aim, config.most)
        slope = searched.gradients(aim, [])
    steps = [
        SearchStep(component=str(t.part or ""), loss=t.total(config.keep_weight), examples=t.on, plain=t.off)
        for t in taken
    ]
    ctx.output.text("examples.jsonl", targets_lines(given))
    selected = tuple(step.component for step in steps[1:])
    more = {"start": steps[0], "steps": tuple(steps[1:])}
    return _result(config, ctx, parts, "examples", slope, given.own, plain, selected, labels, **more)


def _by_direction(
    config: Config, ctx: Context, parts: Parts, labels: Labels | None, asked: str, plain: tuple[Row, ...]
) -> EditSearch:
    from dataclasses import replace

    from radiograph.methods._edit import directions
    from radiograph.methods._edit import parts as _parts
    from radiograph.methods._edit.examples import batches

    if parts.kind == "pieces" and parts.levels is None:
        parts = replace(parts, levels=_parts.levels(parts, (b.read for b in batches(plain))))
        _parts.save(parts, ctx.output.folder(_parts.PIECES))
    evidence, chance = directions.evidence(parts, asked, str(getattr(config, asked)), ctx.seed)
    order = np.argsort(-evidence, kind="stable")[: config.most]
    selected = tuple(str(parts.all[i]) for i in order if evidence[i] > chance)
    return _result(config, ctx, parts, asked, evidence, (), plain, selected, labels, chance=chance)


def _result(
    config: Config,
    ctx: Context,
    parts: Parts,
    asked: str,
    evidence: np.ndarray,
    on: tuple[Row, ...],
    plain: tuple[Row, ...],
    selected: tuple[str, ...],
    labels: Labels | None,
    **more: Any,
) -> EditSearch:
    from radiograph.methods._edit.measure import fired

    counts = [fired(parts, rows) for rows in (on, plain)]
    names = [str(c) for c in parts.all]
    density = counts[1][0] / max(counts[1][1], 1)
    total = counts[0][0] + counts[1][0]
    elsewhere = np.divide(counts[1][0], total, out=np.zeros(len(names)), where=total > 0)
    below = np.searchsorted(np.sort(evidence), evidence) / len(evidence)
    ctx.output.table(
        "parts",
        {
            "component": names,
            "evidence": evidence.astype(np.float64).tolist(),
            "percentile": below.tolist(),
            "density": density.tolist(),
            "elsewhere": elsewhere.tolist(),
            "selected": [name in selected for name in names],
        },
    )
    leading = sorted(range(len(names)), key=lambda i: (names[i] not in selected, -evidence[i]))[: config.top]
    return EditSearch(
        model=ctx.label(config.model),
        model_sha256=parts.model.identity.tensors_sha256,
        kind=parts.kind,
        parts_sha256=parts.sha256,
        asked=asked,
        examples=len(on),
        examples_from=None if config.examples is None else ctx.label(config.examples),
        plain=len(plain),
        parts=len(names),
        found=tuple(
            Part(
                component=names[i],
                evidence=float(evidence[i]),
                percentile=float(below[i]),
                density=float(density[i]),
                elsewhere=float(elsewhere[i]),
                **({} if labels is None else labels.of(names[i])),
            )
            for i in leading
        ),
        selected=selected,
        labels=None if config.labels is None else ctx.label(config.labels),
        notes=tuple(parts.notes()),
        **more,
    )


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """The list again from the table; the selection from the steps."""
    import polars as pl

    stored = EditSearch.read(result)
    table = pl.read_parquet(folder / "tables" / "parts.parquet")
    rows = {row["component"]: row for row in table.iter_rows(named=True)}
    out: list[str] = []
    for part in stored.found:
        row = rows.get(part.component)
        if row is None or any(row[n] != getattr(part, n) for n in ("evidence", "percentile", "density", "elsewhere")):
            out.append(f"{part.component}: not as in tables/parts.parquet")
    if stored.asked == "label":
        return out + _labelled.problems(stored, rows)
    if len(rows) != stored.parts:
        out.append(f"{stored.parts} parts are stated, {len(rows)} are listed")
    if sorted(stored.selected) != sorted(n for n, row in rows.items() if row["selected"]):
        out.append("the selection is not that of tables/parts.parquet")
    if stored.chance is not None and any(rows[n]["evidence"] <= stored.chance for n in stored.selected if n in rows):
        out.append("a part is selected that is not above the chance level")
    if stored.steps and tuple(step.component for step in stored.steps) != stored.selected:
        out.append("the selection is not what was taken out")
    values = table["evidence"].to_numpy()
    below = np.searchsorted(np.sort(values), values) / len(values)
    if not np.allclose(below, table["percentile"].to_numpy()):
        out.append("percentiles do not follow from the evidence")
    return out
