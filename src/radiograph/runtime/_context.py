"""The services of one run: inputs are resolved, confined and hashed here, steps are timed and recorded here."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from radiograph.core import ExitCode, Progress, RadiographError, Workers
from radiograph.core.limits import Limits
from radiograph.evidence import InputRecord, StepRecord
from radiograph.store import BundleWriter, Transcript, Workspace, file_sha256, folder_sha256
from radiograph.store.lines import marked_input, marked_model

if TYPE_CHECKING:
    from radiograph.criteria import Compiled
    from radiograph.decompose import Decomposition
    from radiograph.dictionaries import Dictionary
    from radiograph.evidence import Grid, Suite
    from radiograph.harvest import Corpus, Fields, Text
    from radiograph.models import LanguageModel, Pair, StoredModel
    from radiograph.organisms.toys import Toy
    from radiograph.runtime._roles import Roles
    from radiograph.sources import Given, Options
    from radiograph.store.activations import ActivationStore
    from radiograph.store.calibration import StoredCalibration
    from radiograph.store.chat import ChatSettings, Endpoint
    from radiograph.store.opened import Opened

Runner = Callable[..., Any]
Spreader = Callable[..., Iterator[tuple[int, str, int, float]]]
AnyModel = TypeVar("AnyModel", bound="LanguageModel | StoredModel")


@dataclass
class StepResult:
    """A recorded step: the verb's result and where its bundle lies inside the parent's."""

    result: Any
    path: str
    exit_code: ExitCode


@dataclass
class RunContext:
    """Implements `core.Context` for one run."""

    seed: int
    device: str
    progress: Progress
    workspace: Workspace
    output: BundleWriter
    transcript: Transcript | None
    caller: str
    run_step: Runner
    run_steps: Spreader | None = None
    settings: Any = None
    services: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    offline: bool = True
    limits: Limits = field(default_factory=Limits)
    downloads: bool = False
    commands: bool = False
    roles: Roles | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that the workflow read."""
    inputs: dict[str, InputRecord] = field(default_factory=dict)
    steps: list[StepRecord] = field(default_factory=list)

    @property
    def private(self) -> bool:
        """Whether something that was read so far is marked private."""
        return any(record.private is not None for record in self.inputs.values())

    def path(self, reference: str, role: str) -> Path:
        """Resolve, confine and hash."""
        path = self.workspace.resolve(reference)
        folder = path.is_dir()
        if not folder:
            self.workspace.open(reference).close()
        self.record(
            InputRecord(
                role=role,
                ref=self.workspace.label(path),
                kind="folder" if folder else "file",
                sha256=folder_sha256(path) if folder else file_sha256(path),
                private=marked_input(path),
            )
        )
        return path

    def opened(self, reference: str, role: str) -> Opened:
        """Open a file once; hash it through its descriptor."""
        from radiograph.runtime._data import opened

        return opened(self, reference, role)

    def activations(self, reference: str, role: str) -> ActivationStore:
        """Stored activations."""
        from radiograph.runtime._data import activations

        return activations(self, reference, role)

    def label(self, reference: str) -> str:
        """A reference as it may be written into evidence."""
        return self.workspace.portable(reference)

    def locate(self, reference: str) -> Path:
        """Resolve and confine only."""
        return self.workspace.resolve(reference)

    def model(self, reference: str, role: str) -> LanguageModel:
        """Load one model."""
        real = self._real(reference)
        from radiograph import models

        with self.progress.task(f"loading {role}"):
            model = models.load(real, **self._loading())
        _set_threads(model)
        return self._known_as(model, reference, role)

    def pair(self, reference: str, candidate: str) -> Pair:
        """Load two models, sharing base weights where they can be shared."""
        real = self._real(reference), self._real(candidate)
        from radiograph import models

        with self.progress.task("loading reference and candidate"):
            pair = models.load_pair(*real, **self._loading())
        _set_threads(pair.reference)
        return replace(
            pair,
            reference=self._known_as(pair.reference, reference, "reference"),
            candidate=self._known_as(pair.candidate, candidate, "candidate"),
        )

    def models(self, reference: str, candidates: Sequence[str]) -> dict[str, LanguageModel]:
        """Load a reference and candidates, sharing base weights where they can be shared."""
        names = dict(zip(candidate_roles(len(candidates)), candidates, strict=True))
        real = self._real(reference), [self._real(name) for name in candidates]
        from radiograph import models

        with self.progress.task("loading models" if candidates else "loading model"):
            first, *others = models.load_family(*real, **self._loading())
        _set_threads(first)
        loaded = {"reference": self._known_as(first, reference, "reference" if candidates else "model")}
        for (role, name), model in zip(names.items(), others, strict=True):
            loaded[role] = self._known_as(model, name, role)
        return loaded

    def place(self, reference: str) -> Path:
        """Resolve and confine a path to write to."""
        return self.workspace.resolve(reference, must_exist=False)

    def stored(self, reference: str, role: str) -> StoredModel:
        """Find a model and hash its files, without loading it."""
        from radiograph import models

        places = {key: value for key, value in self._loading().items() if key != "device"}
        return self._known_as(models.stored(self._real(reference), **places), reference, role)

    def dictionary(self, reference: str, role: str = "dictionary") -> Dictionary:
        """Load a dictionary."""
        from radiograph import dictionaries

        folder = self.dictionary_folder(reference)
        dictionary = dictionaries.load(folder)
        ref, mark = self.label(reference), marked_input(folder)
        self.record(InputRecord(role=role, ref=ref, kind="dictionary", sha256=dictionary.hash, private=mark))
        return dictionary

    def dictionary_folder(self, reference: str) -> Path:
        """Where a dictionary lies."""
        from radiograph import organisms

        if reference == "dictionary:bundled":
            return organisms.bundled_path("dictionary")
        return self.workspace.resolve(reference)

    def decomposition(self, reference: str, role: str = "decomposition") -> Decomposition:
        """Load a decomposition."""
        from radiograph import decompose, organisms

        name = reference.removeprefix("decomposition:")
        shipped = organisms.bundled_decomposition(name) if name != reference else None
        folder = shipped or self.workspace.resolve(name)
        found = decompose.load(folder, self.device)
        ref = reference if shipped else self.label(name)
        mark = marked_input(folder)
        self.record(InputRecord(role=role, ref=ref, kind="decomposition", sha256=found.sha256, private=mark))
        return found

    def toy(self, reference: str, role: str = "model") -> Toy | None:
        """Load a toy, or make it and keep it in the workspace's cache."""
        from radiograph.organisms import toys
        from radiograph.runtime._composed import cache_folder

        if not toys.is_toy(reference):
            return None
        found = toys.load_toy(reference, lambda: cache_folder(self), self.progress)
        sha256 = found.sha256
        self.record(InputRecord(role=role, ref=reference, kind="model", sha256=sha256, tensors_sha256=sha256))
        return found

    def texts(self, sources: Sequence[str], role: str = "data") -> list[Text]:
        """Every text of some data sources, in order."""
        return list(self.corpus(sources, role))

    def corpus(self, sources: Sequence[str], role: str = "data", fields: Fields | None = None) -> Corpus:
        """The texts of some data sources, read anew each time they are iterated."""
        from radiograph.runtime._data import corpus

        return corpus(self, sources, role, fields)

    def calibration(self, reference: str, reference_sha256: str) -> StoredCalibration | None:
        """A calibration by name; `auto`: the shipped one, else the newest run, that was made of this reference."""
        from radiograph import organisms
        from radiograph.store.calibration import SHIPPED, fitting_calibration, read_calibration

        shipped = organisms.bundled_path("base").parent / "calibration"
        if reference == "none":
            return None
        if reference == "auto":
            runs = sorted((self.workspace.base / "runs").glob("calibrate-*"), reverse=True)
            places = [("calibration:bundled", shipped)] if (shipped / SHIPPED).is_file() else []
            named = [(self.workspace.label(run), run) for run in runs if (run / "manifest.json").is_file()]
            found = fitting_calibration([*places, *named], reference_sha256)
        elif reference == "calibration:bundled":
            found = read_calibration(shipped, reference)
        else:
            folder = self.workspace.resolve(reference)
            found = read_calibration(folder, self.workspace.label(folder))
        if found is not None:
            self.record(InputRecord(role="calibration", ref=found.name, kind="folder", sha256=found.sha256))
        return found

    def features(self, source: str, role: str = "features", options: Options | None = None) -> Given:
        """What a source of features gives."""
        from radiograph.runtime._composed import features

        return features(self, source, role, options)

    def criterion(
        self,
        text: str,
        *,
        prompts: str | None = None,
        template: str | None = None,
        texts: str | None = None,
        split: str | None = None,
        threshold: float = 0.5,
        count: int = 400,
        near_duplicates: Literal["jaccard", "off"] = "jaccard",
        surface: bool = True,
        continuous: bool = False,
        writer: Endpoint | None = None,
        labeller: Endpoint | None = None,
        chat: ChatSettings | None = None,
    ) -> Compiled:
        """Compile a criterion, or read one that was compiled."""
        from radiograph.runtime._composed import criterion

        return criterion(
            self,
            text,
            prompts=prompts,
            template=template,
            texts=texts,
            split=split,
            threshold=threshold,
            count=count,
            near_duplicates=near_duplicates,
            surface=surface,
            continuous=continuous,
            writer=writer,
            labeller=labeller,
            chat=chat,
        )

    def suite(self, reference: str, role: str = "suite") -> Suite:
        """Load a suite, templates expanded."""
        from radiograph import organisms, store
        from radiograph.store import refusals

        if reference.startswith("world:"):
            suite = store.suite_from_document(organisms.world_suite(), where=reference)
            self.record(InputRecord(role=role, ref=reference, kind="suite", sha256=store.suite_sha256(suite)))
            return suite
        if reference == refusals.ENGLISH:
            suite = store.read_suite(refusals.english_path())
            self.record(InputRecord(role=role, ref=reference, kind="suite", sha256=store.suite_sha256(suite)))
            return suite
        path = self.path(reference, role)
        return store.read_suite(path)

    def grid(self, reference: str, role: str = "grid") -> Grid:
        """Read a grid file, or one that comes with the package; a path is never taken for a name."""
        from radiograph.store import grids

        if reference in grids.shipped_grids():
            path = grids.shipped_path(reference)
            self.record(InputRecord(role=role, ref=reference, kind="suite", sha256=file_sha256(path)))
            return grids.read_grid(path)
        if Path(reference).name == reference and not Path(reference).suffix:
            self.workspace.confine(reference)
            if not self.workspace.resolve(reference, must_exist=False).exists():
                grids.shipped_path(reference)
        return grids.read_grid(self.path(reference, role))

    def step(self, verb: str, /, **config: object) -> StepResult:
        """Run another verb inside this bundle."""
        number = sum(1 for s in self.steps if s.run) + 1
        began = time.perf_counter()
        step = self.run_step(verb, config, parent=self, number=number)
        self._note(verb, step.path, time.perf_counter() - began, int(step.exit_code))
        return step

    def many_steps(self, verb: str, configs: Sequence[Mapping[str, Any]], workers: str) -> list[Path]:
        """Run another verb several times inside this bundle, in other processes."""
        assert self.run_steps is not None, "a context of a run has one"
        number = sum(1 for s in self.steps if s.run) + 1
        with self.progress.task(f"{verb} in {len(configs)} parts", total=len(configs)) as task:
            made: dict[int, str] = {}
            for place, path, code, seconds in self.run_steps(verb, configs, self, number, Workers.parse(workers)):
                task.advance()
                made[place] = path
                self._note(verb, path, seconds, code)
        return [self.output.path / made[place] for place in range(len(configs))]

    def _note(self, verb: str, path: str, seconds: float, code: int) -> None:
        self.steps.append(StepRecord(name=verb, status="done", seconds=round(seconds, 3), run=path, exit_code=code))

    @contextmanager
    def measure(self, step: str, *, tokens: int = 0) -> Generator[None]:
        """Time a part, log it, and record why it failed if it did."""
        began = time.perf_counter()
        status = "done"
        try:
            yield
        except RadiographError as error:
            status = f"not_measured: {getattr(error, 'code', type(error).__name__)}"
            raise
        except BaseException as error:
            status = f"failed: {type(error).__name__}"
            raise
        finally:
            seconds = round(time.perf_counter() - began, 3)
            self.steps.append(StepRecord(name=step, status=status, seconds=seconds, tokens=tokens))
            if self.transcript is not None:
                self.transcript.append(
                    tool=step,
                    args={},
                    result=status,
                    caller=self.caller,
                    summary=status,
                    is_error=status != "done",
                    cost={"tokens": float(tokens), "seconds": seconds},
                )

    def service(self, name: str) -> Callable[..., Any]:
        """A function of the runtime or of a surface, for verbs about runs and surfaces (`verify`, `replay`, `mcp`)."""
        return self.services[name]

    def _loading(self) -> dict[str, Any]:
        from radiograph import organisms

        return {
            "device": self.device,
            "offline": self.offline,
            "resolve": organisms.bundled_path,
            "base_dir": self.workspace.base,
        }

    def _real(self, reference: str) -> str:
        """What to load: the model behind a role, or the reference itself, confined."""
        if self.roles is not None:
            return self.roles.real(reference)
        self.workspace.confine(reference)
        return reference

    def _known_as(self, model: AnyModel, reference: str, role: str) -> AnyModel:
        """Record a model; in an investigation it is known by its role from here on."""
        folders = [self.workspace.base / part for part in (model.ref.base, model.ref.adapter) if part]
        if self.roles is None:
            self.workspace.confine(reference)
        else:
            from radiograph.models import ModelRef

            notes = tuple(self.roles.hide(note) for note in model.notes)
            model = replace(model, ref=ModelRef(reference), notes=notes)
        self._record_model(model, folders, role)
        return model

    def _record_model(self, model: LanguageModel | StoredModel, folders: Sequence[Path], role: str) -> None:
        identity = model.identity
        self.record(
            InputRecord(
                role=role,
                ref=self.workspace.portable(str(model.ref)),
                kind="model",
                sha256=identity.files_sha256 or identity.tensors_sha256,
                tensors_sha256=identity.tensors_sha256,
                notes=tuple(model.notes),
                private=next(filter(None, map(marked_model, folders)), None),
            )
        )
        tokenizer = identity.tokenizer_sha256
        if tokenizer is not None:
            self.record(InputRecord(role=f"{role}.tokenizer", ref="", kind="tokenizer", sha256=tokenizer))

    def record(self, record: InputRecord) -> None:
        """Note an input for the manifest."""
        self.inputs[record.role] = record


def candidate_roles(count: int) -> list[str]:
    """`candidate`, `candidate2`, `candidate3`, …"""
    return ["candidate" if number == 0 else f"candidate{number + 1}" for number in range(count)]


SMALL_MODEL = 5_000_000
"""Parameters below which one thread is faster than several: products too small to share out."""


def _set_threads(model: LanguageModel) -> None:
    from threadpoolctl import threadpool_limits

    if sum(p.numel() for p in model.parameters().values()) < SMALL_MODEL:
        threadpool_limits(1)
