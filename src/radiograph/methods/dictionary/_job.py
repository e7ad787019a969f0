"""From the options of `dictionary train` to a dictionary: settings, activations, workers, checkpoints, trackers.

Trackers write outside the bundle: their files hold clock times and the host's name. Checkpoints are removed from a run
that is complete, because when they were written depends on the clock; they are what an unfinished one goes on from.
"""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal, UserError
from radiograph.core.sizes import read_count
from radiograph.core.work.cluster import Workers

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary, Metadata
    from radiograph.dictionaries.training import Places, Trained, TrainingConfig
    from radiograph.models import LanguageModel
    from radiograph.store.shards import Activations

CHECKPOINTS = "checkpoints"
_PASSED_ON = (
    *("kind", "activation", "input", "target", "sources", "skip", "size", "expansion", "k", "l0", "sparsity", "batch"),
    *("learning_rate", "dead_after", "auxiliary", "resample", "k_anneal", "ema", "precision"),
)


@dataclass(frozen=True, eq=False)
class Job:
    """One run of the verb, before any work."""

    config: Any
    ctx: Context
    folder: Path
    """Of the activations."""
    activations: Activations
    settings: TrainingConfig
    places: Places
    begin_with: Dictionary | None
    workers: Workers

    @property
    def rows(self) -> int:
        """Rows trained on, repeats included."""
        return self.settings.steps(self.activations.count("train")) * self.settings.batch

    def require(self, model: LanguageModel | None) -> None:
        """Refuse a model that the activations are not of.

        Raises:
            Refusal: `dictionary_mismatch`, exit 3.
        """
        if model is None:
            return
        wanted = self._model(self.places.roles[0])
        if wanted is not None and wanted.tensors_sha256 != model.identity.tensors_sha256:
            raise Refusal(
                "dictionary_mismatch",
                "these are activations of another model",
                expected=f"{wanted.reference} {wanted.tensors_sha256}",
                got=model.identity.tensors_sha256,
                fix="give the model that was harvested",
                fixable=True,
            )

    def train(self, number: int = 0) -> Trained:
        """Train with the seed of the run plus `number`; an earlier run is adopted first, if one is to be resumed.

        Raises:
            UserError, TooFewRows, WorseThanMean: see `training.train`.
        """
        settings = self.settings.model_copy(update={"seed": self.settings.seed + number})
        checkpoints = self._checkpoints(number)
        if self.workers.count > 1 or self.workers.ray:
            trained = self._together(settings, checkpoints)
        else:
            trained = self._alone(settings, checkpoints)
        if trained.resumed_at is not None:
            with self.ctx.measure(f"resumed at step {trained.resumed_at}"):
                pass
        return trained

    def close(self) -> None:
        """Remove what only an unfinished run needs."""
        if not self.config.keep_checkpoints:
            for number in range(self.config.seeds):
                shutil.rmtree(self.ctx.output.folder(_checkpoint_folder(number)), ignore_errors=True)

    def _alone(self, settings: TrainingConfig, checkpoints: Path) -> Trained:
        from radiograph.dictionaries.training import Checkpoints, train

        with self._tracking(settings) as track:
            return train(
                self.activations,
                settings,
                metadata=self._metadata(),
                progress=self.ctx.progress,
                checkpoints=Checkpoints(checkpoints, seconds=60 * self.config.checkpoint_minutes),
                begin_with=self.begin_with,
                track=track,
                require_rows=self.config.require_rows,
            )

    def _together(self, settings: TrainingConfig, checkpoints: Path) -> Trained:
        import os

        from radiograph.dictionaries.training.workers import Assignment, train_together

        scratch = self.ctx.output.folder("scratch")
        begin = self.ctx.dictionary_folder(self.config.init_from) if self.config.init_from else None
        assignment = Assignment(
            activations=str(self.folder),
            config=settings,
            metadata=self._metadata(),
            scratch=str(scratch),
            checkpoints=str(checkpoints),
            checkpoint_seconds=60 * self.config.checkpoint_minutes,
            begin_with=str(begin) if begin else None,
            require_rows=self.config.require_rows,
            threads=max(1, (os.cpu_count() or 1) // self.workers.count),
        )
        try:
            return train_together(assignment, self.workers)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _checkpoints(self, number: int) -> Path:
        """Where they go; with what an earlier run left there, if it is to be resumed."""
        name = _checkpoint_folder(number)
        earlier = self.ctx.locate(self.config.resume) if self.config.resume else None
        if earlier is not None and (number == 0 or (earlier / name).is_dir()):
            return self.ctx.output.adopt(earlier, name)
        return self.ctx.output.folder(name)

    def _tracking(self, settings: TrainingConfig) -> AbstractContextManager[Any]:
        if self.config.track is None:
            return nullcontext()
        from radiograph.dictionaries.training import tracking

        asked = Path(self.config.track_to)
        folder = self.ctx.locate(str(asked.parent)) / asked.name
        name = f"train-{self.activations.index.sha256[:8]}-{settings.seed}"
        return tracking(self.config.track, folder, name, settings.model_dump(mode="json"), self.ctx.progress.say)

    def _metadata(self) -> Metadata:
        from radiograph.dictionaries import Metadata

        index, (first, *others) = self.activations.index, self.places.roles
        return Metadata(
            model=self._model(first),
            candidates=tuple(m for role in others if (m := self._model(role)) is not None),
            tokenizer_sha256=index.tokenizer_sha256,
            bos="keep" if index.bos == "keep" else "skip",
            source="radiograph dictionary train on " + ", ".join(index.data_sha256),
            check="native",
        )

    def _model(self, role: str) -> Any:
        from radiograph.dictionaries import ModelIdentity

        found = next((m for m in self.activations.index.models if m.role == role), None)
        return None if found is None else ModelIdentity(reference=found.reference, tensors_sha256=found.sha256)


def prepare(config: Any, ctx: Context) -> Job:
    """Open the activations and settle every option.

    Raises:
        UserError: no activations there, or options that do not fit together or to them.
    """
    from radiograph.dictionaries.training import places
    from radiograph.store.shards import INDEX, open_activations

    root = ctx.locate(config.activations)
    inner = "activations/" if (root / "activations" / INDEX).is_file() else ""
    ctx.path(f"{config.activations.rstrip('/')}/{inner}{INDEX}", "activations")
    activations = open_activations(root / inner)
    begin_with = ctx.dictionary(config.init_from, "init_from") if config.init_from else None
    settings = _settings(config, ctx.seed, begin_with)
    where = places(settings, activations)
    settings.check(where.input_widths[0])
    if settings.batch % (workers := Workers.parse(config.workers)).count:
        raise UserError(
            "a batch is dealt to workers in equal parts",
            expected=f"a multiple of {workers.count}",
            got=str(settings.batch),
        )
    return Job(config, ctx, root / inner, activations, settings, where, begin_with, workers)


def _settings(config: Any, seed: int, begin_with: Dictionary | None) -> TrainingConfig:
    from radiograph.dictionaries.training import preset

    given = {name: getattr(config, name) for name in _PASSED_ON}
    changes = {name: value for name, value in given.items() if value is not None}
    if config.size is not None and config.expansion is not None:
        raise UserError("--size and --expansion both say how many features", fix="give one of them")
    if begin_with is not None and config.size is None and config.expansion is None:
        changes["size"] = begin_with.size
    if config.tokens is not None:
        changes["tokens"] = None if config.tokens == "all" else read_count(config.tokens)
    if config.matryoshka is not None:
        changes["matryoshka"] = _widths(config.matryoshka)
    return preset(config.preset, seed=seed, **changes)


def _checkpoint_folder(number: int) -> str:
    return CHECKPOINTS if number == 0 else f"{CHECKPOINTS}-{number}"


def _widths(text: str) -> tuple[int, ...]:
    return tuple(read_count(part) for part in text.split(","))
