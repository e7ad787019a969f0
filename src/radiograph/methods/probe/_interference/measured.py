"""Losses that are measured now: adapters on one base, each pair put together once, evaluated on both targets' rows.

What an evaluation depends on is hashed: weights of base and adapters, how they were put together, rows and tokenizer.
Equal hashes are evaluated once, in this run and across runs (`--known`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, FormatError, Refusal, UserError, derive, nearest, visible
from radiograph.evidence import document_sha256
from radiograph.evidence.probes.interference import Interference, InterferenceAdapter
from radiograph.methods._blame.rows import Data, read_data
from radiograph.methods.probe._interference import beside, judge
from radiograph.methods.probe._interference.losses import check_names
from radiograph.models import LanguageModel, cross_entropy
from radiograph.models.combined import check_plain, factors, in_place, probe_logits, together
from radiograph.numerics.interference import RESAMPLES, Factors, merged

if TYPE_CHECKING:
    from radiograph.methods.probe._interference.options import Config

SHOWN = 60
_HUB = re.compile(r"[\w.-]*\w[\w.-]*/[\w.-]+")


@dataclass(eq=False)
class Study:
    """A base, adapters on it, and the rows of each."""

    config: Config
    base: LanguageModel
    adapters: dict[str, LanguageModel]
    data: dict[str, Data]
    seed: int
    pieces: dict[str, dict[str, Factors]]
    known: Mapping[str, np.ndarray]
    done: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    ran: int = 0

    @property
    def repeats(self) -> int:
        """How often a pair is made: as often as it is drawn at random."""
        return self.config.repeats if self.config.combine == "dare_ties" else 1

    def key(self, target: str, on: Sequence[str], repeat: int = 0) -> str:
        """The hash of what an evaluation depends on."""
        how: list[Any] = []
        if len(on) > 1:
            how = [self.config.combine]
            if self.config.combine in ("ties", "dare_ties"):
                how.append(self.config.density)
            if self.config.combine == "dare_ties":
                how.append(self._draw(on, repeat))
        identity = self.base.identity
        weights = [self.adapters[name].identity.adapter_tensors_sha256 for name in on]
        rows = [self.data[target].sha256, identity.tokenizer_sha256, self.config.chat, self.base.context_length]
        return document_sha256([identity.tensors_sha256, weights, how, rows, str(self.base.dtype)])

    def evaluated(self, target: str, on: Sequence[str], model: LanguageModel, repeat: int = 0) -> np.ndarray:
        """Summed loss of every row of a target under a view."""
        key = self.key(target, on, repeat)
        if key not in self.done:
            if key not in self.known:
                self.ran += 1
            self.done[key] = self.known[key] if key in self.known else row_losses(model, self.data[target])
        return self.done[key]

    @contextmanager
    def made(self, first: str, second: str, repeat: int) -> Iterator[LanguageModel]:
        """Two adapters as one, ready to run."""
        one, two = self.adapters[first], self.adapters[second]
        if all(self.key(t, (first, second), repeat) in {*self.done, *self.known} for t in (first, second)):
            yield one
        elif self.config.combine == "joint":
            yield together(one, two)
        else:
            with in_place(one, self._merged(first, second, repeat)) as model:
                yield model

    def _merged(self, first: str, second: str, repeat: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        sides = self.pieces[first], self.pieces[second]
        generator = np.random.default_rng(self._draw((first, second), repeat))
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for place in dict.fromkeys([*sides[0], *sides[1]]):
            parts = [side[place] for side in sides if place in side]
            try:
                both = merged(parts, self.config.combine, density=self.config.density, generator=generator)
            except UserError as error:
                error.where = f"{visible(first, SHOWN)} and {visible(second, SHOWN)}: {place}"
                raise
            found[place] = both.b, both.a
        return found

    def _draw(self, on: Sequence[str], repeat: int) -> int:
        """A seed that knows the weights, not their names."""
        weights = [str(self.adapters[name].identity.adapter_tensors_sha256) for name in on]
        return derive(self.seed, "interference", *weights, repeat)


def measured(config: Config, ctx: Context) -> Interference:
    """Load, evaluate, judge, describe.

    Raises:
        UserError: adapters, data or names that do not belong together. Refusal: they cannot be put together.
    """
    study = _opened(config, ctx)
    names = list(study.adapters)
    before = probe_logits(study.base)
    columns = _Columns()
    with ctx.measure("evaluations", tokens=_tokens(study)):
        rows = _evaluations(study, ctx, columns)
    assert bool((probe_logits(study.base) == before).all()), "the base answers as it did"
    ctx.output.table("rows", columns.rows)
    ctx.output.table("evaluations", columns.evaluations)
    facts, cells = judge.of_rows(names, rows, study.seed)
    with ctx.measure("beside"):
        shared = beside.described(study.config, ctx, study.base, study.adapters, study.data, study.pieces)
    cells = [cell.model_copy(update={"overlap": shared.cells.get((cell.target, cell.added))}) for cell in cells]
    asked = len(columns.evaluations["key"])
    return Interference(
        mode="measured",
        source=ctx.label(str(config.base)),
        combine=config.combine,
        density=config.density if config.combine in ("ties", "dare_ties") else None,
        unit="nats a token",
        adapters=tuple(_adapter(study, ctx, name, facts[name]) for name in names),
        cells=tuple(cells),
        worst_pair=judge.worst_of(cells),
        bands=judge.counted(cells),
        site=shared.site,
        dictionary=shared.dictionary,
        ranks=beside.ranks(cells),
        evaluations={"run": study.ran, "known": asked - study.ran},
        seed=study.seed,
        resamples=RESAMPLES,
        allow_missing=config.allow_missing,
        stamps=_stamps(study),
        notes=(),
        not_measured=judge.gaps(cells),
    )


def row_losses(model: LanguageModel, data: Data) -> np.ndarray:
    """Nats of what is learned of each row, summed."""
    nats = [one.double().numpy() for one in cross_entropy(model, [row.ids for row in data.rows])]
    lengths = np.array([len(one) for one in nats])
    ends = np.cumsum(lengths)
    starts = ends - lengths + np.array([row.start - 1 for row in data.rows])
    totals = np.concatenate([[0.0], np.cumsum(np.concatenate(nats))])
    return totals[ends] - totals[starts]


@dataclass
class _Columns:
    rows: dict[str, list[Any]] = field(
        default_factory=lambda: {
            key: list[Any]()
            for key in ("target", "condition", "added", "repeat", "row", "line", "group", "tokens", "nats")
        }
    )
    evaluations: dict[str, list[Any]] = field(
        default_factory=lambda: {key: list[Any]() for key in ("key", "target", "condition", "added", "repeat")}
    )

    def add(self, study: Study, target: str, condition: str, on: Sequence[str], nats: np.ndarray, repeat: int) -> None:
        """One evaluation, row by row."""
        data = study.data[target]
        added = next((name for name in on if name != target), "")
        key = study.key(target, on, repeat)
        for name, value in zip(self.evaluations, (key, target, condition, added, repeat), strict=True):
            self.evaluations[name].append(value)
        count = len(data.rows)
        own = (
            *([value] * count for value in (target, condition, added, repeat)),
            range(count),
            [row.line for row in data.rows],
            data.groups,
            [len(row.ids) - row.start for row in data.rows],
            nats.tolist(),
        )
        for name, values in zip(self.rows, own, strict=True):
            self.rows[name].extend(values)


def _evaluations(study: Study, ctx: Context, columns: _Columns) -> dict[str, judge.RowLosses]:
    names = list(study.adapters)
    pairs = list(combinations(names, 2))
    base: dict[str, np.ndarray] = {}
    alone: dict[str, np.ndarray] = {}
    both: dict[tuple[str, str], list[np.ndarray]] = {}
    total = 2 * len(names) + 2 * len(pairs) * study.repeats
    with ctx.progress.task("evaluations", total=total) as task:
        for name in names:
            base[name] = study.evaluated(name, (), study.base)
            alone[name] = study.evaluated(name, (name,), study.adapters[name])
            columns.add(study, name, "base", (), base[name], 0)
            columns.add(study, name, "alone", (name,), alone[name], 0)
            task.advance(2)
        for first, second in pairs:
            for repeat in range(study.repeats):
                with study.made(first, second, repeat) as model:
                    for target, added in ((first, second), (second, first)):
                        nats = study.evaluated(target, (first, second), model, repeat)
                        both.setdefault((target, added), []).append(nats)
                        columns.add(study, target, "both", (first, second), nats, repeat)
                        task.advance()
    return {
        name: judge.RowLosses(
            np.array([len(row.ids) - row.start for row in study.data[name].rows], dtype=np.float64),
            np.array(study.data[name].groups),
            base[name],
            alone[name],
            {added: np.stack(both[name, added]) for added in names if added != name},
        )
        for name in names
    }


def _opened(config: Config, ctx: Context) -> Study:
    if config.base is None:
        raise UserError("measuring needs the base of the adapters", where="--base", expected="a model", code="no_base")
    paths, files = _named(config.adapter, "--adapter"), _named(config.eval_, "--eval")
    names = check_names([name for name, _ in paths], ctx, "--adapter", "the command")
    places, own = dict(paths), _files(files, names)
    loaded = ctx.models(config.base, [f"{config.base}+{places[name]}" for name in names])
    base, *views = loaded.values()
    adapters = dict(zip(names, views, strict=True))
    _check_together(base, adapters)
    limit = base.context_length
    data: dict[str, Data] = {}
    for name in names:
        path = ctx.path(own[name], f"eval.{len(data)}")
        data[name] = read_data(path, base.tokenizer, limit, form="auto", chat=config.chat)
        ctx.limits.check("rows", data[name].count, "rows", data[name].name)
    pieces = {name: {place: Factors(*one) for place, one in factors(view).items()} for name, view in adapters.items()}
    known = {} if config.known is None else _known(ctx, config.known)
    return Study(config, base, adapters, data, ctx.seed, pieces, known)


def _named(given: Sequence[str], option: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UserError(f"{option} {visible(text, SHOWN)!r}", where=option, expected="NAME=PATH", code="bad_value")
        found.append((name, path))
    return found


def _files(files: Sequence[tuple[str, str]], names: Sequence[str]) -> dict[str, str]:
    """The data of every adapter."""
    found: dict[str, str] = {}
    for name, path in files:
        if name in found or name not in names:
            close = nearest(name, list(names))
            raise UserError(
                f"--eval {visible(name, SHOWN)!r} "
                + ("is given twice" if name in found else "is the name of no --adapter"),
                where="--eval",
                expected="one file of each adapter's own task",
                fix=f"did you mean {', '.join(close)}?" if close and name not in found else None,
                code="duplicate" if name in found else "unknown_adapter",
            )
        found[name] = path
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(
            f"no data of {', '.join(repr(visible(name, SHOWN)) for name in missing)}",
            where="--eval",
            expected="one file of each adapter's own task: each is the target once",
            code="no_data",
        )
    return found


def _check_together(base: LanguageModel, adapters: Mapping[str, LanguageModel]) -> None:
    recorded: dict[str, str] = {}
    for name, view in adapters.items():
        assert view.adapter_folder is not None, "loaded from BASE+ADAPTER"
        config = check_plain(view.adapter_folder, name)
        trained = str(config.get("base_model_name_or_path") or "").rstrip("/")
        if trained:
            recorded.setdefault(trained, name)
        if view.model is not base.model:
            raise Refusal("not_combinable", f"adapter {name!r} changes the base itself, so it cannot be switched off")
    if any(_differ(one, two) for one, two in combinations(recorded, 2)):
        said = ", ".join(f"{visible(name, SHOWN)!r} of {visible(model, SHOWN)!r}" for model, name in recorded.items())
        raise UserError(
            "the adapters were trained on different bases",
            where="adapter_config.json: base_model_name_or_path",
            expected="adapters of one base",
            got=said,
            code="different_bases",
        )


def _differ(one: str, two: str) -> bool:
    """Whether two recorded bases are told apart: two ids of the hub by all of it, else by the last part of a path."""
    last = [name.rpartition("/")[2] for name in (one, two)]
    hub = all(_HUB.fullmatch(name) for name in (one, two))
    return last[0] != last[1] or (hub and one.casefold() != two.casefold())


def _known(ctx: Context, run: str) -> dict[str, np.ndarray]:
    """Evaluations of an earlier run by their hashes.

    Raises:
        FormatError: another kind of run. UserError: an unfinished one, or one whose losses were changed afterwards.
    """
    import polars

    from radiograph.store import finished

    bundle = finished(ctx.path(run, "known"))
    document = bundle.result
    if document.get("schema") != Interference.SCHEMA or document.get("mode") != "measured":
        raise FormatError(
            f"{visible(run, SHOWN)} is no run that measured interference",
            where="--known",
            expected=Interference.SCHEMA,
            got=str(document.get("schema")),
        )
    names = ("evaluations", "rows")
    finished(bundle.path, *(f"tables/{name}.parquet" for name in names))
    tables = {name: polars.read_parquet(bundle.path / "tables" / f"{name}.parquet") for name in names}
    places = ("target", "condition", "added", "repeat")
    parts = tables["rows"].sort("row").partition_by(*places, as_dict=True, maintain_order=True)
    return {
        row["key"]: parts[tuple(row[p] for p in places)]["nats"].to_numpy()
        for row in tables["evaluations"].iter_rows(named=True)
    }


def _adapter(study: Study, ctx: Context, name: str, fact: judge.Alone) -> InterferenceAdapter:
    view, data, pieces = study.adapters[name], study.data[name], study.pieces[name]
    return InterferenceAdapter(
        name=name,
        ref=ctx.label(str(view.ref)),
        sha256=view.identity.adapter_tensors_sha256,
        rank=max((piece.rank for piece in pieces.values()), default=0),
        modules=len(pieces),
        data=data.name,
        data_sha256=data.sha256,
        rows=len(data.rows),
        groups=fact.groups,
        truncated=data.truncated,
        loss=fact.loss,
        base_loss=fact.base,
        gain=fact.gain,
        gain_interval=None if fact.interval is None else (fact.interval.low, fact.interval.high),
        inert=fact.inert,
    )


def _stamps(study: Study) -> tuple[str, ...]:
    notes = [note for view in study.adapters.values() for note in view.notes]
    found = ["adapter_base_unverified"] if any(n.startswith("adapter_base_unverified") for n in notes) else []
    if any(data.truncated for data in study.data.values()):
        found.append("truncated")
    if study.config.combine == "dare_ties" and study.repeats == 1:
        found.append("one_seed")
    return tuple(found)


def _tokens(study: Study) -> int:
    each = len(study.adapters) + 1
    return sum(len(row.ids) for data in study.data.values() for row in data.rows) * each
