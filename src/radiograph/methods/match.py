"""Which features of one model are which features of another, and could it be chance?

1. align: prompts shared by id with equal texts; tokens by index where the tokenizer is the same, else whitespace words
   by character offsets, the largest value of their tokens. The order of a file means nothing
2. leave out features active on fewer than 10 shared units (`few_active`): chance matches those perfectly
3. similarity of all pairs over shared units, absent values being 0
4. null: groups of units change places as blocks on one side; p of every best match within its decile of activity, q
   over left features
5. a match is q ≤ --q and mutual: each is the other's best. Beside it the pairing one to one, the margin over the best
   rival (`ambiguous` if it may be 0), and what found no partner
6. components stand beside the score, never in it, each with its place among pairs of random features: write
   directions (one basis only), logit effects (shared vocabulary), explanations, firing. Not comparable is null
7. with intervention rows of both sides: whether the two act alike on the same prompts. --transfer readout: a threshold
   fitted on the left reads labels on the right, against 200 random features; steering: a left direction, mapped by
   ridge and pushed on the right, against the right feature's own push, a map of shuffled rows, random directions
Without shared prompts the structural components alone pair features: no null, no p, kind `structural`.

Needs no model and no torch, but --logits, which reads weights, and --transfer steering. Units: those of the similarity.
Refuses when: nothing is shared (exit 4); fewer than six groups. No match counts as a result (exit 0) where a match
could have been told from chance, else it is exit 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, Input, Refusal, UserError, nearest
from radiograph.evidence import RefusalRecord
from radiograph.evidence.matches import LISTED, Matches, MatchNull, TransferRecord
from radiograph.methods._match import aligned as _aligned
from radiograph.methods._match import fingerprints as _fingerprints
from radiograph.methods._match import sides as _sides
from radiograph.methods._match import tables as _tables

if TYPE_CHECKING:
    from radiograph.methods._match.aligned import Aligned
    from radiograph.methods._match.sides import Side
    from radiograph.numerics.matching import Component
    from radiograph.numerics.matching import Matches as Numbers

SideRef = Annotated[str, Input("file")]


class Config(Base):
    """Which sides, and how they are compared."""

    left: SideRef
    """Records (folder, bundle, JSON Lines) or a feature dump."""
    right: SideRef
    """The same of the other model."""
    similarity: Literal["pearson", "spearman", "jaccard"] = "pearson"
    """Of activations over shared units."""
    align: Literal["auto", "prompts", "tokens", "words"] = "auto"
    """Units: as fine as both sides allow, or one kind."""
    null_draws: int = Field(default=20, ge=1)
    """Times that groups change places."""
    q: float = Field(default=0.05, gt=0, lt=1)
    """Largest q of a match."""
    least_active: int = Field(default=10, ge=1)
    """Fewest shared units on which a feature is active."""
    shared_basis: bool = False
    """The models write into one residual stream (one is a fine-tune of the other): compare write directions."""
    logits: bool = False
    """Compare what write directions do to logits; reads the weights of both models, and needs torch."""
    show: int = Field(default=20, ge=0)
    """Matches that the report shows; tables hold all features."""
    left_model: str | None = None
    """Model in a file of several, left."""
    right_model: str | None = None
    """The same, right."""
    duplicates: Literal["max", "sum"] | None = None
    """Of two values for one row and feature, the larger or the sum."""
    transfer: tuple[Literal["readout", "steering"], ...] = ()
    """Whether what a left feature reads, or does when pushed, carries over to its match; repeatable."""
    steer: tuple[str, ...] = ()
    """Left features whose push is transferred; by default that of the best match; repeatable."""
    criterion: str | None = None
    """Of --transfer steering: the concept in words, with --prompts, or a criterion.json."""
    prompts: FilePath | None = None
    """Labelled prompts of the criterion."""
    targets: str | None = None
    """Continuations that a push should promote, by comma or FILE.txt."""
    foils: str | None = None
    """Continuations that they are weighed against."""
    dose: str = "-0.4,-0.2,-0.1,0.1,0.2,0.4"
    """Doses of --transfer steering, as shares of the mean norm of the site."""
    left_interventions: FilePath | None = None
    """Intervention rows of the left model; by default those of its bundle."""
    right_interventions: FilePath | None = None
    """The same, right."""


def run(config: Config, ctx: Context) -> Matches:
    """Read, align, compare, write."""
    sides = _read(config, ctx)
    gaps: list[RefusalRecord] = []
    with ctx.measure("align"):
        try:
            shared = _aligned.align(*sides, config.align)
        except Refusal as refusal:
            gaps.append(RefusalRecord(code=refusal.code, text=refusal.message, what="activations", fix=refusal.fix))
            shared = None
    if shared is None:
        return _structural(config, ctx, sides, gaps)
    return _compared(config, ctx, sides, shared, gaps)


def _read(config: Config, ctx: Context) -> tuple[Side, Side]:
    with ctx.measure("read"):
        given: dict[str, Any] = {"duplicates": config.duplicates, "shared": config.shared_basis}
        left = _sides.read_side("left", config.left, ctx, model=config.left_model, **given)
        right = _sides.read_side("right", config.right, ctx, model=config.right_model, **given)
    return left, right


def _compared(
    config: Config, ctx: Context, sides: tuple[Side, Side], shared: Aligned, gaps: list[RefusalRecord]
) -> Matches:
    from radiograph.numerics.matching import match

    with ctx.measure("match"):
        numbers = match(
            shared.left,
            shared.right,
            shared.groups,
            seed=ctx.seed,
            similarity=config.similarity,
            draws=config.null_draws,
            level=config.q,
            least=config.least_active,
        )
    with ctx.measure("components"):
        found = _components(config, ctx, sides, shared, numbers, gaps)
    order = _by_score(numbers)
    causal = _causal(config, ctx, sides, numbers)
    transfer = _transfer(config, ctx, sides, shared, numbers, order, gaps)
    table = _tables.table(sides, numbers, found, causal)
    ctx.output.table("matches", table)
    ctx.output.table("features", _tables.fates(sides, numbers))
    null: dict[str, Any] = {"best": numbers.null.ravel()}
    ctx.output.table("null", null)
    excluded = {"few_active": _tables.few_active(sides, numbers)}
    for reason in sorted({name for side in sides for name in side.excluded}):
        left, right = (int(side.excluded[reason].sum()) if reason in side.excluded else 0 for side in sides)
        excluded[reason] = (left, right)
    return Matches(
        kind="correlational",
        left=sides[0].record.model_copy(update={"compared": len(numbers.left)}),
        right=sides[1].record.model_copy(update={"compared": len(numbers.right)}),
        similarity=config.similarity,
        level=config.q,
        aligned=shared.record,
        null=MatchNull(draws=numbers.draws, q95=numbers.q95),
        excluded=excluded,
        found=int(numbers.matched.sum()),
        ambiguous=int(numbers.ambiguous.sum()),
        matches=tuple(
            _tables.pair(table, place, found).model_copy(update={"transfer": transfer.get(place, ())})
            for place in order[:LISTED].tolist()
        ),
        assigned_only=len(numbers.assigned_only),
        left_only=len(numbers.left_only),
        right_only=len(numbers.right_only),
        shown=config.show,
        scores=_tables.histogram(numbers),
        not_measured=tuple(gaps),
        notes=_notes(sides, shared),
    )


def _transfer(
    config: Config,
    ctx: Context,
    sides: tuple[Side, Side],
    shared: Aligned,
    numbers: Numbers,
    order: np.ndarray,
    gaps: list[RefusalRecord],
) -> dict[int, tuple[TransferRecord, ...]]:
    """By row of the numbers; why there is none goes to the gaps."""
    from radiograph.methods._match import transfer

    made: dict[int, list[TransferRecord]] = {}
    rows = order[:LISTED]
    if "readout" in config.transfer:
        with ctx.measure("readout"):
            pairs = numbers.left[rows], numbers.best[rows]
            found, why = transfer.readouts(sides, shared, pairs, numbers.right, ctx.seed)
        if why is not None:
            gaps.append(RefusalRecord(code="no_labels", text=why, what="transfer of readouts", fix=_LABELS))
        for row, record in zip(rows.tolist(), found, strict=True):
            if record is not None:
                made.setdefault(row, []).append(record)
    for number, row in enumerate(_steered(config, sides, numbers, rows)):
        from radiograph.methods._match.steering import Asked, steered

        asked = Asked(config.criterion, config.prompts, config.targets, config.foils, config.dose)
        pair = int(numbers.left[row]), int(numbers.best[row])
        made.setdefault(row, []).append(steered(asked, ctx, sides, pair, number + 1))
    return {row: tuple(records) for row, records in made.items()}


def _steered(config: Config, sides: tuple[Side, Side], numbers: Numbers, rows: np.ndarray) -> list[int]:
    """Matches whose push is transferred.

    Raises:
        UserError: a feature that has no match.
    """
    if "steering" not in config.transfer:
        return []
    known = {sides[0].ids[numbers.left[row]]: row for row in rows.tolist()}
    if not config.steer:
        return rows[:1].tolist()
    for name in config.steer:
        if name not in known:
            close = nearest(name, list(known))
            raise UserError(
                f"{name!r} has no match, so nothing of it can be transferred",
                where="--steer",
                expected="among " + ", ".join(list(known)[:8]),
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="unknown_feature",
            )
    return [known[name] for name in config.steer]


_LABELS = "export records on labelled prompts"


def _by_score(numbers: Numbers) -> np.ndarray:
    """Rows of matches, largest score first."""
    rows = np.flatnonzero(numbers.matched)
    return rows[np.argsort(-numbers.score[rows], kind="stable")]


def _components(
    config: Config, ctx: Context, sides: tuple[Side, Side], shared: Aligned, numbers: Numbers, gaps: list[RefusalRecord]
) -> dict[str, Component | None]:
    among = _fingerprints.Features(numbers.left, numbers.right)
    partner = np.searchsorted(numbers.right, numbers.best)
    return _fingerprints.fingerprints(
        sides,
        among,
        (np.arange(len(numbers.left)), partner),
        (shared.left, shared.right),
        similarity=config.similarity,
        logits=_logits(config, ctx, sides, gaps),
        without=_criterion_words(sides),
        seed=ctx.seed,
    )


def _logits(config: Config, ctx: Context, sides: tuple[Side, Side], gaps: list[RefusalRecord]) -> Any:
    if not config.logits:
        return None
    from radiograph.methods._match.logits import logit_effects

    try:
        return logit_effects(sides, ctx)
    except Refusal as refusal:
        gaps.append(RefusalRecord(code=refusal.code, text=refusal.message, what="logit effects", fix=refusal.fix))
        return None


def _criterion_words(sides: tuple[Side, Side]) -> list[str]:
    """Texts whose words say nothing of a feature, because the criterion brought them in."""
    import json

    found: list[str] = []
    for side in sides:
        file = None if side.folder is None else side.folder / "criterion" / "criterion.json"
        if file is not None and file.is_file():
            found.append(str(json.loads(file.read_bytes()).get("text", "")))
    return found


def _causal(config: Config, ctx: Context, sides: tuple[Side, Side], numbers: Numbers) -> list[str]:
    """A word for every compared left feature with its best partner; only matches are asked."""
    from radiograph.methods._match import causal

    words = ["untested"] * len(numbers.left)
    rows = [
        causal.read_rows(given, side.folder, role, ctx)
        for given, side, role in (
            (config.left_interventions, sides[0], "left_interventions"),
            (config.right_interventions, sides[1], "right_interventions"),
        )
    ]
    if rows[0] is None or rows[1] is None:
        return words
    places = np.flatnonzero(numbers.matched).tolist()
    pairs = [(sides[0].ids[numbers.left[i]], sides[1].ids[numbers.best[i]]) for i in places]
    for place, word in zip(places, causal.agreements(rows[0], rows[1], pairs, ctx.seed), strict=True):
        words[place] = word
    return words


def _notes(sides: tuple[Side, Side], shared: Aligned) -> tuple[str, ...]:
    notes = list(shared.notes)
    for which, side in zip(("left", "right"), sides, strict=True):
        notes += [f"{which}: {text}" for text in side.said]
        if side.record.absent == "below":
            notes.append(
                f"{which}: only the largest values of a row were kept, so that weak ones count as silent (censored)"
            )
        if side.record.absent == "missing":
            notes.append(f"{which}: features that were not measured on every row are left out")
    return tuple(notes)


def _structural(config: Config, ctx: Context, sides: tuple[Side, Side], gaps: list[RefusalRecord]) -> Matches:
    """Pairs by what does not depend on prompts.

    Raises:
        Refusal: nothing of that kind can be compared either.
    """
    from radiograph.methods._match import structural

    nearest = structural.pairs(sides)
    if nearest is None:
        gap = gaps[0]
        raise Refusal(
            gap.code,
            f"{gap.text}, and no write directions lie in one space",
            expected="shared prompts, or directions of one model on both sides",
            fix=gap.fix,
        )
    numbers, among = nearest
    table = _tables.structural_table(sides, numbers, among)
    ctx.output.table("matches", table)
    rows = [row for row in np.argsort(-numbers.score, kind="stable").tolist() if numbers.mutual[row]]
    return Matches(
        kind="structural",
        left=sides[0].record.model_copy(update={"compared": len(among.left)}),
        right=sides[1].record.model_copy(update={"compared": len(among.right)}),
        similarity="decoder",
        level=config.q,
        found=len(rows),
        matches=tuple(_tables.pair(table, row, ("decoder",)) for row in rows[:LISTED]),
        left_only=len(among.left) - len(rows),
        right_only=len(among.right) - len(rows),
        shown=config.show,
        not_measured=tuple(gaps),
        notes=("pairs without shared prompts have no null: each is the other's nearest, and may be so by chance",),
    )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do q, matches, counts and words follow from what is stored?"""
    from radiograph.methods._match.recompute import differences

    return differences(Matches.read(result), folder)
