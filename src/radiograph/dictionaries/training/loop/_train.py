"""Train a dictionary from activations.

1. refuse what does not fit, scale, start (`_rows`, `_initialise`)   2. a step a batch (`_run`), logged; validation rows
every 5 % of the run; a checkpoint when it is time   3. `batchtopk`: θ from 131,072 training rows, and a check that L0
on validation rows is within 5 % of k   4. scales and norms are folded, so the dictionary reads rows as they are
5. final quality on at most 65,536 validation rows, of several targets the mean, as in the loss
Sources: Gao et al. 2024 (top-k, auxiliary loss), Bussmann et al. 2024, 2025 (batchtopk, matryoshka), Rajamanoharan et
al. 2024 (gated, jumprelu), Bricken et al. 2023 (parallel gradient, resampling), Lindsey et al. 2024 (crosscoders).
The same activations, config, machine, thread and worker count give the same bytes, killed and resumed or not. Fails,
rather than return it, with a dictionary that reconstructs worse than the mean; stops at the first row or loss that is
not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from radiograph.core import ExitCode, Progress, RadiographError, Silent, Task, UserError, derive
from radiograph.core.shapes import Float
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Metadata, Quality, Training
from radiograph.dictionaries._quality import measure
from radiograph.dictionaries.training._config import ROWS_PER_FEATURE, TrainingConfig
from radiograph.dictionaries.training._rows import DTYPES, Layout, Places, places, scales
from radiograph.dictionaries.training._schedule import logged, marks
from radiograph.dictionaries.training.loop._checkpoint import Checkpoints, packed, unpacked
from radiograph.dictionaries.training.loop._finish import calibrated
from radiograph.dictionaries.training.loop._log import LogRow, Pace
from radiograph.dictionaries.training.loop._run import Run, sampled
from radiograph.dictionaries.training.workers import Alone, Team

if TYPE_CHECKING:
    from radiograph.store.shards import Activations

VALIDATION_ROWS: Final = 65_536
CALIBRATION_ROWS: Final = 2**17
L0_TOLERANCE: Final = 0.05
AGREED_EVERY: Final = 50
"""Steps between the moments at which several ranks ask whether a checkpoint is due."""

Tracked = Callable[[int, Mapping[str, float]], None]


class WorseThanMean(RadiographError):
    """Training ended with a dictionary that explains nothing (exit 2). It is not returned; its log is."""

    exit_code = ExitCode.GATE_FAILED

    def __init__(self, message: str, log: tuple[LogRow, ...] = (), quality: Quality | None = None) -> None:
        super().__init__(message)
        self.log, self.quality = log, quality


class TooFewRows(RadiographError):
    """Fewer training rows than were required (exit 2)."""

    exit_code = ExitCode.GATE_FAILED


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that a user of the dictionary should know."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A dictionary whose `metadata` says how it was made and how good it is, and the log of its training."""

    dictionary: Dictionary
    log: tuple[LogRow, ...]
    cautions: tuple[Caution, ...] = ()
    target_fvu: tuple[float, ...] = ()
    """FVU on validation rows, one a target."""
    resumed_at: int | None = None
    """The step at which an earlier run was taken up."""


def train(
    activations: Activations,
    config: TrainingConfig,
    *,
    metadata: Metadata | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    begin_with: Dictionary | None = None,
    track: Tracked | None = None,
    require_rows: bool = False,
) -> Trained:
    """Train on the `train` split, measure on `validation`; go on from the last of `checkpoints` if there is one.

    `metadata` names the model, tokenizer and source; training summary and quality are filled in. `track` is told of
    every logged step.

    Raises:
        UserError: options that do not fit; unknown or constant source, empty split, a row that is not finite;
            checkpoints of another run.
        TooFewRows: `require_rows`, and fewer than ten training rows a feature.
        WorseThanMean: FVU on validation rows is 1 or more.
    """
    trained = train_rank(
        activations,
        config,
        Alone(),
        metadata=metadata,
        progress=progress,
        checkpoints=checkpoints,
        begin_with=begin_with,
        track=track,
        require_rows=require_rows,
    )
    assert trained is not None
    return trained


def train_rank(
    activations: Activations,
    config: TrainingConfig,
    team: Team,
    *,
    metadata: Metadata | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    begin_with: Dictionary | None = None,
    track: Tracked | None = None,
    require_rows: bool = False,
) -> Trained | None:
    """`train` as one rank of a team; what was trained is returned at rank 0 alone."""
    loop = _Loop(activations, config, team, require_rows=require_rows)
    if begin_with is not None:
        loop.run.begin_with(begin_with)
    resumed = loop.resume(checkpoints, begin_with)
    with (progress or Silent()).task(f"train {', '.join(loop.layout.places.sites)}", loop.run.steps) as task:
        task.advance(loop.run.step)
        pace = Pace((loop.run.steps - loop.run.step) * config.batch)
        while loop.run.step < loop.run.steps:
            row = loop.advance()
            pace.add(config.batch)
            task.advance()
            if row is not None:
                loop.log.append(row)
                if track is not None:
                    track(row.step, _numbers(row, pace))
                _tell(loop, pace, task, progress)
            loop.keep(checkpoints, begin_with)
    return loop.finish(metadata or Metadata(), resumed) if team.rank == 0 else None


class _Loop:
    """A run, what feeds it, and what it said."""

    def __init__(self, activations: Activations, config: TrainingConfig, team: Team, *, require_rows: bool) -> None:
        self.activations, self.config, self.team = activations, config, team
        where = places(config, activations)
        config.check(where.input_widths[0])
        self.rows = {split: activations.count(split) for split in ("train", "validation")}
        self.cautions = _checked(self.rows, where.kind, config, where.input_widths[0], require_rows=require_rows)
        if config.batch % team.world:
            raise UserError("a batch is dealt to workers in equal parts", got=f"{config.batch} / {team.world}")
        self.layout = Layout(where, scales(where, activations), DTYPES[config.precision])
        self.run = Run(self.layout, config, self.rows["train"], sampled(self.layout, activations, config.seed), team)
        self.reader: Any = activations.reader(
            where.sources,
            split="train",
            batch=config.batch // team.world,
            seed=config.seed,
            rank=team.rank,
            world=team.world,
            endless=True,
        )
        self.batches: Iterator[Any] = iter(self.reader)
        self.marks = marks(self.run.steps)
        self.log: list[LogRow] = []

    def advance(self) -> LogRow | None:
        """One step; a row for the log if it is logged."""
        run = self.run
        run.advance(self.layout.batch(next(self.batches)))
        if not logged(run.step, run.steps):
            return None
        assert run.last is not None
        thresholds = run.weights.parameters.get("threshold")
        row = LogRow(
            step=run.step,
            rows=run.step * self.config.batch,
            loss=run.last.losses["reconstruction"],
            sparsity=run.last.losses["sparsity"],
            auxiliary=run.last.losses["auxiliary"],
            gate=run.last.losses["gate"],
            l0=run.last.active,
            dead=run.dead,
            threshold=run.threshold if thresholds is None else float(thresholds.mean()),
            learning_rate=run.last.learning_rate,
            gradient_norm=run.last.gradient_norm,
        )
        if run.step in self.marks and self.team.rank == 0:
            found = measure(run.dictionary(), self._validation()).quality
            row = replace(row, fvu=found.fvu, validation_l0=found.l0, validation_dead=found.dead)
        return row

    def keep(self, checkpoints: Checkpoints | None, begin_with: Dictionary | None) -> None:
        """Write a checkpoint if one is due at rank 0."""
        run, several = self.run, self.team.world > 1
        if checkpoints is None or run.step == run.steps or (several and run.step % AGREED_EVERY):
            return
        due = run.silence.new_tensor([checkpoints.due and self.team.rank == 0]).bool()
        if not bool(self.team.anywhere(due)):
            return
        tensors, numbers = run.state()
        stored, plain = packed(self.team.gather(self.reader.state()))
        if self.team.rank:
            return
        fvu = next((row.fvu for row in reversed(self.log) if row.fvu is not None), None)
        document = {
            "numbers": numbers,
            "reader": plain,
            "log": [asdict(row) for row in self.log],
        }
        own = self._identity(begin_with)
        checkpoints.save(run.step, tensors | stored, own, document, run.dictionary(), fvu=fvu)

    def resume(self, checkpoints: Checkpoints | None, begin_with: Dictionary | None) -> int | None:
        """Take up the last checkpoint; the step it stands at, None if there is none."""
        point = checkpoints.latest(self._identity(begin_with)) if checkpoints is not None else None
        if point is None:
            return None
        self.run.restore(point.tensors, point.document["numbers"])
        self.reader.restore(unpacked(point.tensors, point.document["reader"], self.team.rank))
        self.batches = iter(self.reader)
        self.log = [LogRow(**row) for row in point.document["log"]]
        return point.step

    def finish(self, metadata: Metadata, resumed: int | None) -> Trained:
        """The dictionary of unscaled rows, with its quality."""
        threshold, config = None, self.config
        if config.activation == "batchtopk":
            rows = min(CALIBRATION_ROWS, self.rows["train"])
            seed = derive(config.seed, "dictionary", "threshold")
            batches = self.layout.read(self.activations, "train", rows, seed=seed)
            threshold = calibrated(self.run.kept, self.layout, config, batches, rows)
        dictionary = self.run.dictionary(threshold)
        measured = measure(dictionary, self._validation())
        found = measured.quality
        if not found.fvu < 1:
            raise WorseThanMean(
                f"the dictionary of {', '.join(dictionary.sites)} reconstructs worse than the mean: "
                f"FVU {found.fvu:.3f} on {found.n_rows:,} validation rows; nothing is saved",
                tuple(self.log),
                found,
            )
        known = {"training": self._summary(), "quality": found, "check": "native"}
        return Trained(
            replace(dictionary, metadata=metadata.model_copy(update=known)),
            tuple(self.log),
            (*self.cautions, *_l0_caution(config, found)),
            tuple(reconstruction.fvu for reconstruction in measured.reconstructions.values()),
            resumed,
        )

    def _summary(self) -> Training:
        config, where = self.config, self.layout.places
        factors = self.layout.scales
        return Training(
            preset=config.preset,
            activation=config.activation,
            seed=config.seed,
            rows=self.run.step * config.batch,
            steps=self.run.step,
            batch=config.batch,
            learning_rate=self.run.rate,
            scales=tuple(factors[source] for source in where.inputs),
            target_scales=tuple(factors[source] for source in where.targets) if where.kind == "transcoder" else (),
            prefixes=config.matryoshka,
            data_sha256=self.activations.index.sha256,
        )

    def _identity(self, begin_with: Dictionary | None) -> dict[str, Any]:
        """What a checkpoint must agree with, field by field."""
        return self.config.model_dump(mode="json") | {
            "activations": self.activations.index.sha256,
            "workers": self.team.world,
            "begin with": begin_with.hash if begin_with is not None else None,
        }

    def _validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        return validation_rows(self.activations, self.layout.places, self.layout.dtype)


def validation_rows(
    activations: Activations, where: Places, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[Float[Tensor, "row width"], Float[Tensor, "row target"]]]:
    """The validation rows that a dictionary of these places is measured on: (read, to be written), unscaled."""
    layout = Layout(where, dict.fromkeys(where.sources, 1.0), dtype)
    for batch in layout.read(activations, "validation", VALIDATION_ROWS):
        yield batch.inputs, batch.targets


def _checked(
    rows: Mapping[str, int], kind: str, config: TrainingConfig, width: int, *, require_rows: bool
) -> tuple[Caution, ...]:
    """Refuse an empty split; say what is doubtful from the beginning."""
    for split, count in rows.items():
        if not count:
            raise UserError(f"no {split} rows", fix="harvest more prompt groups, or another validation share")
    cautions: list[Caution] = []
    least = ROWS_PER_FEATURE * config.features(width)
    if rows["train"] < least:
        text = f"{rows['train']:,} training rows for {config.features(width):,} features: fewer than {least:,}"
        if require_rows:
            raise TooFewRows(text)
        cautions.append(Caution("few_rows", text))
    if kind == "crosscoder" and config.activation == "relu":
        text = "an L1 penalty shrinks weak writes to zero: norms of a relu crosscoder do not tell exclusive features"
        cautions.append(Caution("l1_shrinkage", text))
    return tuple(cautions)


def _l0_caution(config: TrainingConfig, found: Quality) -> tuple[Caution, ...]:
    if config.activation != "batchtopk" or abs(found.l0 / config.active - 1) <= L0_TOLERANCE:
        return ()
    text = (
        f"on validation rows {found.l0:.2f} features fire instead of {config.active:g}: they differ from training rows"
    )
    return (Caution("l0_off", text),)


def _numbers(row: LogRow, pace: Pace) -> dict[str, float]:
    """A log row for a tracker."""
    found = {name: float(value) for name, value in asdict(row).items() if value is not None and name != "step"}
    return found | {"rows_per_second": pace.rate}


def _tell(loop: _Loop, pace: Pace, task: Task, progress: Progress | None) -> None:
    last = next((row for row in reversed(loop.log) if row.fvu is not None), loop.log[-1])
    fvu = last.loss if last.fvu is None else last.fvu
    text = f"FVU {fvu:.3f} · L0 {loop.log[-1].l0:.1f} · dead {loop.log[-1].dead} · {pace.text()}"
    task.note(text)
    if progress is not None and pace.due:
        progress.say(f"step {loop.run.step:,} of {loop.run.steps:,} · {text}")
