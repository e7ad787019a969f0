"""One reading: a probe on stored rows, or on texts through target and reference; then the numbers, then the record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Context, Refusal, Site, UserError, visible
from radiograph.evidence.probes.probe import (
    ProbeKind,
    ProbeReading,
)
from radiograph.methods._probe.chosen import Chosen, check_model, check_store, chosen_probe
from radiograph.methods._probe.options import Options
from radiograph.methods._probe.recorded import Asked, Evidence, Origin, recorded
from radiograph.methods._probe.tokens import Tokens
from radiograph.numerics.probes import flags_of
from radiograph.numerics.shifts import block_length
from radiograph.probing import CHUNK, Read, check_width, chunk_rows, read

OF_DEFECTION = (0.01, 0.05)
"""Up to the first share OK, up to the second MINOR."""
PROBE = "probe.safetensors"
ORIGIN = "origin.json"
"""The probe that was applied, as it was: `verify` reads the same rows with it."""
_SHARE = re.compile(r"(\d*\.?\d+)(%?)", re.ASCII)
_SHARES = re.compile(f"{_SHARE.pattern},{_SHARE.pattern}", re.ASCII)


def reading(config: Options, ctx: Context, kind: ProbeKind, edges: tuple[float, float]) -> ProbeReading:
    """Choose the probe, read, judge.

    Raises:
        UserError: bad input. Refusal: `no_evidence`, `no_probe`, `other_model`, `placeholder_probe`.
    """
    if config.evidence is not None and (config.data or config.labels):
        raise UserError("one of --evidence, --data and --labels", got="several")
    if config.data and config.labels:
        raise UserError("one of --data and --labels", got="both")
    if config.evidence is not None:
        chosen = chosen_probe(config, ctx, kind, None)
        if config.reference is not None:
            raise UserError("a reference is compared on texts", expected="--data with --reference", got="--evidence")
        return _written(config, ctx, kind, edges, chosen, _stored(config, ctx, chosen), None)
    if not config.data and config.labels is None:
        _known(config, ctx, kind)
        raise Refusal(
            "no_evidence",
            "there is nothing to read: missing evidence is not OK",
            expected="--evidence STORE, or --data TEXTS",
            fix="give activations, or texts to run through the target",
        )
    models = ctx.models(config.reference or config.target, [config.target] if config.reference else [])
    target = models["candidate"] if config.reference else models["reference"]
    chosen = chosen_probe(config, ctx, kind, target)
    check_model(chosen, target, config, ctx)
    texts, label, cut_off = _texts(config, ctx, target)
    known = (target.identity.tensors_sha256, target.identity.base_tensors_sha256)
    origin = Origin(stored=False, models=tuple(own for own in known if own is not None), truncated=cut_off)
    own = replace(_through(target, texts, chosen, ctx, config, label), origin=origin)
    other = None if config.reference is None else _through(models["reference"], texts, chosen, ctx, config, label)
    return _written(config, ctx, kind, edges, chosen, own, other)


def _known(config: Options, ctx: Context, kind: ProbeKind) -> None:
    """An unknown base is bad input, with evidence or without."""
    if config.probe is None and config.weights is None:
        from radiograph.methods._probe.chosen import shipped_packs
        from radiograph.store.probes import find_pack, known_packs

        name = config.base or config.target
        try:
            find_pack(name, known_packs(shipped_packs()))
        except UserError as unknown:
            try:
                ctx.stored(name, "target")  # a model that is there, if not a base with a pack
            except UserError as found:
                if found.code != "model_not_found":
                    raise
                raise unknown from None  # whose names are nearest says more than that no hub was asked


def _stored(config: Options, ctx: Context, chosen: Chosen) -> Evidence:
    probe = chosen.probe
    store = ctx.activations(config.evidence or "", "evidence")
    check_width(probe, store.width, store.name, store.rows)
    check_store(chosen, store, config, ctx)
    named = store.columns.get("group", store.columns.get("prompt"))
    if named is not None:
        names, number = np.unique(named, return_inverse=True)
        groups = tuple(map(str, names.tolist()))
    else:
        number = np.arange(store.rows)
        groups = tuple(f"row {i}" for i in range(store.rows))

    def chunks() -> Iterator[Any]:
        start = 0
        with ctx.progress.task("read", store.rows) as task:
            for rows in store.chunks(chunk_rows(store.width)):
                yield rows, number[start : start + len(rows)].astype(np.int64)
                start += len(rows)
                task.advance(len(rows))

    found = read(probe, chunks())
    if named is None and probe.level == "token":
        cut = np.inf if probe.threshold is None else probe.threshold
        length = block_length(flags_of(found.score, cut))
        number = np.arange(store.rows) // length
        groups = tuple(f"rows {i * length}-{min((i + 1) * length, store.rows) - 1}" for i in range(int(number[-1]) + 1))
        found = found.regrouped(number)
    places = store.columns.get("position")
    position = None if places is None else places.astype(np.int64)[found.place]
    models = () if store.model_sha256 is None else (store.model_sha256,)
    origin = Origin(stored=True, models=models, site=store.site, named=named is not None)
    return Evidence(store.name, found, groups, position, origin=origin)


def _texts(config: Options, ctx: Context, model: Any) -> tuple[list[Tokens], NDArray[np.bool_] | None, int]:
    from radiograph.methods._probe.contrast import labelled_rows
    from radiograph.methods._probe.tokens import cut, of_rows, of_texts
    from radiograph.probing import check_distinct

    label = None
    if config.labels is not None:
        rows = labelled_rows(config.labels, ctx, "labels")
        check_distinct(rows)
        texts = of_rows(model, rows)
        label = np.array([row.label for row in rows])
    else:
        texts = of_texts(model, ctx.corpus(config.data))
    kept, places, count = cut(texts, model.context_length)
    return kept, None if label is None else label[places], count


def _through(
    model: Any, texts: list[Tokens], chosen: Chosen, ctx: Context, config: Options, label: NDArray[np.bool_] | None
) -> Evidence:
    from radiograph.methods._probe.capture import captured

    probe = chosen.probe
    site = Site.parse(probe.site)
    names = list(dict.fromkeys(text.group for text in texts))
    place = {name: i for i, name in enumerate(names)}
    with ctx.measure("activations"), ctx.progress.task("activations", len(texts)) as task:
        found = captured(model, texts, [site], probe.level, probe.pool, task)
    rows = found.rows[str(site)]
    check_width(probe, rows.shape[1], ctx.label(config.target), len(rows))
    ctx.limits.check("tokens", len(rows), "tokens of evidence", "--data")
    # Pooling needs a number a text; groups may hold several.
    by_text = probe.level == "sequence"
    number = found.owner if by_text else np.array([place[texts[i].group] for i in found.owner], dtype=np.int64)
    own = read(probe, ((rows[i : i + CHUNK], number[i : i + CHUNK]) for i in range(0, len(rows), CHUNK)))
    owner = found.owner[own.place]
    if by_text:
        own = replace(own, group=np.array([place[texts[i].group] for i in owner], dtype=np.int64))
    data = ", ".join(map(ctx.label, config.data)) if config.data else ctx.label(config.labels or "")
    labels = None if label is None else label[owner]
    return Evidence(data, own, tuple(names), found.position[own.place], _of_owner(texts, owner), labels)


def _of_owner(texts: list[Tokens], owner: NDArray[np.int64]) -> tuple[Tokens, ...]:
    return tuple(texts[i] for i in owner.tolist())


def _written(
    config: Options,
    ctx: Context,
    kind: ProbeKind,
    edges: tuple[float, float],
    chosen: Chosen,
    own: Evidence,
    other: Evidence | None,
) -> ProbeReading:
    """The probe and every row into the bundle, and the record."""
    from radiograph.store.probes import probe_bytes

    stored = chosen.probe.stored
    if stored is not None:
        ctx.output.data(PROBE, probe_bytes(stored.card, stored.tensors))
    _tables(ctx, own, other)
    asked = Asked(kind, ctx.label(config.target), chosen.base, ctx.label(config.reference or ""), edges, ctx.seed)
    return recorded(asked, chosen.probe, own, None if other is None else other.read)


def _tables(ctx: Context, own: Evidence, other: Evidence | None) -> None:
    """Every row that was read, and the groups' rates."""
    found = own.read
    columns: dict[str, Any] = {
        "group": found.group.tolist(),
        "score": found.score.tolist(),
        "outside": found.outside.tolist(),
        "distinct": found.distinct.tolist(),
        "distance": found.distance.tolist(),
        "length": found.length.tolist(),
        "mark": found.mark.tolist(),
        "place": found.place.tolist(),
    }
    if own.position is not None:
        columns["position"] = own.position.tolist()
    if own.label is not None:
        columns["label"] = own.label.tolist()
    if other is not None:
        columns |= {"reference_score": other.read.score.tolist(), "reference_outside": other.read.outside.tolist()}
    ctx.output.table("rows", columns)
    ctx.output.json(ORIGIN, {name: getattr(own.origin, name) for name in Origin.__dataclass_fields__})
    ctx.output.table("axes", {"mean": found.mean.tolist(), "variance": found.variance.tolist()})
    names = dict(enumerate(visible(name, 256) for name in own.groups))
    ctx.output.table("groups", group_columns(found, names))


def group_columns(found: Read, names: Mapping[int, str]) -> dict[str, list[Any]]:
    """Every group: its rows, those inside, its largest score."""
    numbers, at = np.unique(found.group, return_inverse=True)
    return {
        "group": numbers.tolist(),
        "name": [names.get(i, "") for i in numbers.tolist()],
        "rows": np.bincount(at).tolist(),
        "inside": np.bincount(at, ~found.outside).astype(int).tolist(),
        "max_score": np.maximum.reduceat(found.score[np.argsort(at, kind="stable")], _starts(at)).tolist(),
    }


def _starts(at: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.bincount(at))[:-1]]).astype(np.int64)


def soup_of(result: ProbeReading) -> dict[str, Any]:
    """The keys of soup-cli.

    Raises:
        Refusal: what they cannot say: not measured, or undecided.
    """
    if result.band not in ("OK", "MINOR", "MAJOR") or result.rate is None:
        why = result.refusal.code if result.refusal else "inconclusive"
        raise Refusal(why, f"{result.band or 'no band'}: the keys of soup-cli have no word for it")
    share = {"num_tokens": result.counts.counted, "max_score": result.max_score, "verdict": result.point_band}
    if result.question == "defection":
        return {"base": result.base, "defection_rate": result.rate.value, **share}
    return {"kind": result.question, "base": result.base, "flag_rate": result.rate.value, **share}


def edges_of(text: str) -> tuple[float, float]:
    """`5%,20%` as shares.

    Raises:
        UserError: not two growing shares.
    """
    found = [float(number) / (100 if percent else 1) for number, percent in _SHARE.findall(text)]
    if _SHARES.fullmatch(text) is None or not 0 < found[0] < found[1] < 1:
        raise UserError(
            "two shares, the smaller first", where="--bands", expected="5%,20%", got=visible(text, 40),
            fix="write --bands 5%,20% or --bands .05,.2", code="bad_value",
        )  # fmt: skip
    return found[0], found[1]
