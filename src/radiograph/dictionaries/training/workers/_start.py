"""Start the ranks of one run: N processes here, or N workers of Ray Train.

1. every rank opens the activations itself and reads every N-th part of each batch; gradients are averaged (gloo on
CPUs, NCCL on GPUs), so N ranks take the steps of one   2. rank 0 validates, logs, writes checkpoints and the dictionary
3. a worker of Ray that dies takes the others with it, and all go on from the last checkpoint, at most three times
Activations and checkpoints must lie where every rank can read them. What rank 0 has to say comes back in a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from radiograph.core import RadiographError, UserError
from radiograph.core.work.cluster import Workers, cluster, ray
from radiograph.core.work.process import spread
from radiograph.dictionaries._metadata import Metadata, Quality
from radiograph.dictionaries.training._config import TrainingConfig

if TYPE_CHECKING:
    from radiograph.dictionaries.training.loop import Trained

FAILURES: Final = 3
ANSWER: Final = "answer.json"
_USER = ("message", "expected", "got", "where", "fix", "code")


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a rank is told: plain data, so that it can be sent anywhere."""

    activations: str
    """A path that every rank can read."""
    config: TrainingConfig
    metadata: Metadata
    scratch: str
    """A folder that every rank can read; rank 0 writes `dictionary` there."""
    checkpoints: str
    """A folder likewise, with the checkpoints of an earlier run if it is to go on."""
    checkpoint_seconds: float
    begin_with: str | None = None
    require_rows: bool = False
    threads: int = 1


def train_together(assignment: Assignment, workers: Workers) -> Trained:
    """Train on several ranks, or on one of Ray.

    Raises:
        UserError: a batch that does not divide, or what `train` raises at a rank.
        MissingExtra: Ray is asked for and not installed.
    """
    Path(assignment.scratch).mkdir(parents=True, exist_ok=True)
    if workers.ray:
        _on_ray(assignment, workers)
    else:
        _here(assignment, workers)
    return _answer(Path(assignment.scratch))


def _here(assignment: Assignment, workers: Workers) -> None:
    with TemporaryDirectory() as folder:
        meeting = (Path(folder) / "ranks").as_uri()
        inputs = [(assignment, rank, workers.count, meeting) for rank in range(workers.count)]
        for _ in spread(_rank_here, inputs, workers.count):
            pass


def _rank_here(given: tuple[Assignment, int, int, str]) -> None:
    from torch import distributed

    assignment, rank, world, meeting = given
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    try:
        _work(assignment)
    finally:
        distributed.destroy_process_group()


def _on_ray(assignment: Assignment, workers: Workers) -> None:
    import torch

    with cluster(workers):
        train, pytorch = ray("train"), ray("train.torch")
        use_gpu = torch.cuda.is_available()
        trainer = pytorch.TorchTrainer(
            _rank_of_ray,
            train_loop_config={"assignment": assignment},
            scaling_config=train.ScalingConfig(num_workers=workers.count, use_gpu=use_gpu),
            torch_config=pytorch.TorchConfig(backend="nccl" if use_gpu else "gloo"),
            run_config=train.RunConfig(
                name="training",
                storage_path=str(Path(assignment.scratch) / "ray"),
                failure_config=train.FailureConfig(max_failures=FAILURES),
            ),
        )
        trainer.fit()


def _rank_of_ray(config: Mapping[str, Any]) -> None:
    _work(config["assignment"])


def _work(assignment: Assignment) -> None:
    """One rank from beginning to end. What went wrong on purpose is an answer too: no launcher should try it again."""
    import torch

    from radiograph.dictionaries import load, save
    from radiograph.dictionaries.training.loop import Checkpoints, train_rank
    from radiograph.dictionaries.training.workers._team import Group
    from radiograph.store.shards import open_activations

    torch.set_num_threads(assignment.threads)
    team, scratch = Group(), Path(assignment.scratch)
    try:
        trained = train_rank(
            open_activations(Path(assignment.activations)),
            assignment.config,
            team,
            metadata=assignment.metadata,
            checkpoints=Checkpoints(Path(assignment.checkpoints), seconds=assignment.checkpoint_seconds),
            begin_with=load(Path(assignment.begin_with)) if assignment.begin_with else None,
            require_rows=assignment.require_rows,
        )
    except RadiographError as error:
        if team.rank == 0:
            _write(scratch, _told(error))
        return
    if trained is not None:
        save(trained.dictionary, scratch / "dictionary")
        rest = {name: getattr(trained, name) for name in ("target_fvu", "resumed_at")}
        cautions = [asdict(caution) for caution in trained.cautions]
        _write(scratch, {"log": [asdict(row) for row in trained.log], "cautions": cautions, **rest})


def _told(error: RadiographError) -> dict[str, Any]:
    from radiograph.dictionaries.training.loop import WorseThanMean

    found: dict[str, Any] = {"type": type(error).__name__, "text": str(error)}
    if isinstance(error, UserError):
        found |= {name: getattr(error, name) for name in _USER}
    if isinstance(error, WorseThanMean):
        quality = error.quality.model_dump(mode="json") if error.quality else None
        found |= {"log": [asdict(row) for row in error.log], "quality": quality}
    return {"error": found}


def _write(scratch: Path, answer: dict[str, Any]) -> None:
    partial = scratch / (ANSWER + ".partial")
    partial.write_text(json.dumps(answer, allow_nan=False), encoding="utf-8")
    partial.replace(scratch / ANSWER)


def _answer(scratch: Path) -> Trained:
    from radiograph.dictionaries import load
    from radiograph.dictionaries.training.loop import Caution, LogRow, TooFewRows, Trained, WorseThanMean

    answer = json.loads((scratch / ANSWER).read_text(encoding="utf-8"))
    log = tuple(LogRow(**row) for row in answer.get("log", ()))
    error = answer.get("error")
    if error is None:
        return Trained(
            load(scratch / "dictionary"),
            log,
            tuple(Caution(**caution) for caution in answer["cautions"]),
            tuple(answer["target_fvu"]),
            answer["resumed_at"],
        )
    if error["type"] == WorseThanMean.__name__:
        quality = Quality.model_validate(error["quality"]) if error["quality"] else None
        raise WorseThanMean(error["text"], tuple(LogRow(**row) for row in error["log"]), quality)
    if error["type"] == TooFewRows.__name__:
        raise TooFewRows(error["text"])
    if "message" in error:
        raise UserError(error.pop("message"), **{name: error[name] for name in _USER if name in error})
    raise RadiographError(error["text"])
