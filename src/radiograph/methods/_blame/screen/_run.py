"""A run of `blame --screen`: check, let the reference answer, read, write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radiograph.core import Context, UserError, visible
from radiograph.evidence.influence import BlameScreen, ScreenProbe
from radiograph.methods._blame.options import Config

if TYPE_CHECKING:
    from radiograph.methods._blame.rows import Data
    from radiograph.methods._blame.screen._answers import Pairs
    from radiograph.methods._blame.screen._scores import Scores
    from radiograph.probing import Probe

WITH = ("screen", "reference", "data", "format", "chat", "top_k")
"""Options that a screen has a use for."""
SAID = 400
"""Characters of an answer that are shown."""


def screened(config: Config, ctx: Context) -> BlameScreen:
    """Rank rows before anything is trained.

    Raises:
        UserError: an option that means nothing here, no reference, no rows, no row with an answer.
        Refusal: a placeholder, or a probe of another model than the reference.
    """
    import numpy as np

    from radiograph.methods._blame.rows import read_data
    from radiograph.methods._blame.screen import _answers, _conclude, _scores
    from radiograph.methods._blame.targets import reference_probe

    file = _checked(config)
    assert config.reference is not None and config.data is not None, "checked"
    model = ctx.model(config.reference, "reference")
    site, probe, value, remarks = reference_probe(ctx, model, file)
    path = ctx.path(config.data, "data")
    data = read_data(path, model.tokenizer, model.context_length, form=config.format, chat=config.chat)
    ctx.limits.check("rows", data.count, "training rows", data.name)
    with ctx.measure("answers"):
        pairs = _answers.pairs(model, data, config.chat, ctx.progress)
    reader = _scores.Reader(model, site, value)
    with ctx.measure("scores"):
        directions = _scores.directions_of(reader, pairs, ctx.seed)
        found = _scores.scores(reader, pairs, directions, ctx.progress)
    table = _rows_table(data, pairs, found)
    null = {"mean": found.mean.tolist(), "spread": found.spread.tolist(), "strong": found.strong.tolist()}
    unscored = {"line": [line for line, _ in pairs.unscored], "why": [why for _, why in pairs.unscored]}
    ctx.output.table("rows", table)
    ctx.output.table("directions", null)
    ctx.output.table("unscored", unscored)
    shown = {pair.row.place: (pair.row.shown, pairs.said[pair.prompt]) for pair in pairs.rows}
    leading = _conclude.order(table)[: config.top_k].tolist()
    top = [_conclude.described(table, i) for i in leading]
    numbers = _conclude.concluded(table, null, unscored, ctx.seed)
    single = (f"single_prompt: all {numbers['rows_scored']} rows answer one prompt",) if numbers["prompts"] == 1 else ()
    stamps = [note for note in model.notes if note.startswith("adapter_base_unverified")]
    assert np.isfinite(table["score"]).all(), "activations are finite"
    return BlameScreen(
        reference=ctx.label(config.reference),
        data=ctx.label(config.data),
        data_sha256=data.sha256,
        probe=_probe_record(probe),
        rows=data.count,
        truncated=data.truncated,
        cut=pairs.cut,
        top=tuple(
            row.model_copy(update={"text": shown[row.row][0], "said": _shortened(shown[row.row][1])}) for row in top
        ),
        stamps=(*stamps, *remarks, *single),
        **numbers,
    )


def _checked(config: Config) -> str:
    """The probe's file, where nothing else is asked for.

    Raises:
        UserError: what is missing, or means nothing before training.
    """
    fields = type(config).model_fields
    given = [name for name, field in fields.items() if name not in WITH and getattr(config, name) != field.default]
    if given:
        flags = ["CANDIDATE" if name == "candidate" else f"--{name.strip('_').replace('_', '-')}" for name in given]
        raise UserError(
            f"--screen ranks rows before anything is trained, so {', '.join(flags)} means nothing with it",
            where=flags[0],
            expected="--screen probe:FILE --reference REF --data ROWS, with --format, --chat or --top-k",
            fix="leave it out; the model that is asked is --reference"
            if "candidate" in given
            else "leave it out, or blame a trained candidate without --screen",
            code="usage",
        )
    assert config.screen is not None, "asked for"
    kind, _, file = config.screen.partition(":")
    if kind != "probe" or not file:
        raise UserError(
            f"{visible(config.screen, 80)!r} is nothing to rank rows by",
            where="--screen",
            expected="probe:FILE",
            fix="build one with radiograph probe build",
            code="bad_screen",
        )
    if config.reference is None:
        raise UserError(
            "--screen compares answers with the reference's own",
            where="--reference",
            expected="--reference REF, the model that is to be tuned",
            code="no_reference",
        )
    if config.data is None:
        raise UserError("--screen needs rows to rank", where="--data", expected="FILE.jsonl", code="no_data")
    return file


def _probe_record(probe: Probe) -> ScreenProbe:
    return ScreenProbe(
        name=probe.name,
        kind=probe.kind,
        status=probe.status,
        site=probe.site,
        pool=probe.pool,
        normalise=probe.normalise,
        weights_sha256=probe.sha256,
        auroc=None if probe.card is None else probe.card.auroc.interval,
    )


def _rows_table(data: Data, pairs: Pairs, found: Scores) -> dict[str, list[Any]]:
    """A line for each row that has a score, in the order of the file."""
    import numpy as np

    from radiograph.methods._blame.screen import _answers, _conclude

    own, reference = _answers.lengths(pairs.rows)
    ties = dict(zip([row.place for row in data.rows], data.ties.tolist(), strict=True))
    score = found.answer - found.reference
    columns: dict[str, Any] = {
        "row": [pair.row.place for pair in pairs.rows],
        "line": [pair.row.line for pair in pairs.rows],
        "id": [pair.row.id for pair in pairs.rows],
        "row_sha256": [pair.row.sha256 for pair in pairs.rows],
        "prompt": [pair.prompt for pair in pairs.rows],
        "different": found.different.tolist(),
        "same": [pair.own == pair.reference for pair in pairs.rows],
        "tokens": own.tolist(),
        "reference_tokens": reference.tolist(),
        "answer": found.answer.tolist(),
        "reference": found.reference.tolist(),
        "score": score.tolist(),
        "null": found.null.tolist(),
        "z": _conclude.z_of(score, found.null).tolist(),
        "tie": [ties[pair.row.place] for pair in pairs.rows],
        "said": [_shortened(pairs.said[pair.prompt]) for pair in pairs.rows],
    }
    places = np.argsort(columns["row"]).tolist()
    return {name: [values[i] for i in places] for name, values in columns.items()}


def _shortened(text: str) -> str:
    return text if len(text) <= SAID else text[: SAID - 1] + "…"
