"""What a verb is handed when it runs. `runtime` implements it; floor-3 siblings are composed through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from radiograph.core.limits import Limits
from radiograph.core.progress import Progress


class Output(Protocol):
    """The open bundle. Paths are relative to it; a name is written once."""

    def json(self, path: str, value: object) -> None:
        """A JSON document (records or plain data), UTF-8, keys in the order given."""
        ...

    def text(self, path: str, text: str) -> None:
        """A UTF-8 text file."""
        ...

    def data(self, path: str, data: bytes) -> None:
        """Any other file."""
        ...

    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """`tables/NAME.parquet` from equally long columns."""
        ...

    def folder(self, path: str) -> Path:
        """A folder inside the bundle for a writer that needs one (weights, shards)."""
        ...

    def adopt(self, run: Path, name: str | None = None) -> Path:
        """The folder `name` of a run that was killed, taken over; that run is removed when this one is complete."""
        ...


class Context(Protocol):
    """The services of a run."""

    seed: int
    device: str
    progress: Progress
    output: Output
    caller: str
    """Who asked: `cli`, `python`, or `mcp` for an agent."""
    offline: bool
    """Whether the run was started without leave to use the network."""
    limits: Limits
    """How much of what a person hands over is read; only a command line raises one."""
    downloads: bool
    """Whether a person has typed that a listed file may be fetched; no file, tool or request can."""
    commands: bool
    """Whether a person has typed the program that is to run, or leave to run those of a file."""

    @property
    def private(self) -> bool:
        """Whether something that was read so far is marked private; parts that may leave the bundle keep that mark."""
        ...

    def path(self, reference: str, role: str) -> Path:
        """Resolve, confine and hash a file or folder; recorded in the manifest under `role`."""
        ...

    def opened(self, reference: str, role: str) -> Any:
        """A `store.opened.Opened`: a file that is opened once, hashed and read through that descriptor."""
        ...

    def activations(self, reference: str, role: str) -> Any:
        """A `store.activations.ActivationStore`: a file, or `FOLDER[#SOURCE]`; needs no torch."""
        ...

    def label(self, reference: str) -> str:
        """A reference as it may be written into evidence: relative, without absolute paths."""
        ...

    def locate(self, reference: str) -> Path:
        """Resolve and confine a path that is not an input of the run (a bundle to look at)."""
        ...

    def model(self, reference: str, role: str) -> Any:
        """A loaded `models.LanguageModel`, its hashes recorded."""
        ...

    def pair(self, reference: str, candidate: str) -> Any:
        """A `models.Pair`: two models, one set of base weights where the candidate is an adapter on the reference."""
        ...

    def models(self, reference: str, candidates: Sequence[str]) -> Mapping[str, Any]:
        """Role to `models.LanguageModel`: reference, candidate, candidate2, …; adapters on the reference share it."""
        ...

    def place(self, reference: str) -> Path:
        """Resolve and confine a path that is to be written to, outside the bundle."""
        ...

    def stored(self, reference: str, role: str) -> Any:
        """A `models.StoredModel`: found and hashed, not loaded, for what reads weights alone."""
        ...

    def dictionary(self, reference: str, role: str = "dictionary") -> Any:
        """A loaded `dictionaries.Dictionary`, its hashes recorded."""
        ...

    def dictionary_folder(self, reference: str) -> Path:
        """The folder that a dictionary reference names."""
        ...

    def decomposition(self, reference: str, role: str = "decomposition") -> Any:
        """A loaded `decompose.Decomposition`, its hash recorded."""
        ...

    def toy(self, reference: str, role: str = "model") -> Any:
        """An `organisms.toys.Toy` by its bundled name, made on first use; None where the reference names no toy."""
        ...

    def texts(self, sources: Sequence[str], role: str = "data") -> Any:
        """Every `harvest.Text` of some data sources (files, `suite:…`, `world:…`, `hf:…`), their hashes recorded."""
        ...

    def corpus(self, sources: Sequence[str], role: str = "data", fields: Any = None) -> Any:
        """The same as a `harvest.Corpus`, which reads them anew each time; `fields` is a `harvest.Fields`."""
        ...

    def calibration(self, reference: str, reference_sha256: str) -> Any:
        """A `store.calibration.StoredCalibration`: a run, `calibration:bundled`, or `auto`; None for `none`."""
        ...

    def features(self, source: str, role: str = "features", options: Any = None) -> Any:
        """What a source `KIND[:WHERE][#650,700-720]` gives, told apart by its `kind`:

        `live`: a `sources.Live`; `open(model)` gives a `sources.Features` for each codec: the codec, the numbers
        chosen, their addresses, labels and write directions. Nothing is loaded before.
        `records`: a `sources.Stored`: a `store.records.Records`, and which of its features are chosen.
        `dump`: a `sources.Dumped`: a `store.foreign.Dump`, what somebody says of features; nothing was measured here.

        `options` is a `sources.Options`. Files are hashed under `role`; of several sources each needs its own.
        """
        ...

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
        writer: Any = None,
        labeller: Any = None,
        chat: Any = None,
    ) -> Any:
        """A `criteria.Compiled`: the labelled rows of every route that can be taken, in groups and halves.

        `text` is the criterion in words, `world:ATTRIBUTE`, or a `criterion.json` that was compiled, which is read.
        `prompts` and `texts` are files or `suite:FILE`, `writer` and `labeller` are `store.chat.Endpoint`, `chat` a
        `store.chat.ChatSettings`. Scores that are ranked, `continuous`, need no two classes. Everything that is read is
        hashed; the halves depend on the seed of the run.
        """
        ...

    def suite(self, reference: str, role: str = "suite") -> Any:
        """A validated `evidence.Suite`, templates expanded."""
        ...

    def grid(self, reference: str, role: str = "grid") -> Any:
        """An `evidence.Grid`: a file, or one that comes with the package by its name."""
        ...

    def step(self, verb: str, /, **config: object) -> Any:
        """Run another verb as a recorded step; its bundle lies inside this one. Returns a `StepResult`."""
        ...

    def many_steps(self, verb: str, configs: Sequence[Mapping[str, Any]], workers: str, /) -> list[Path]:
        """Run another verb with several configurations, `workers` at a time (`N` processes, `ray[:N]`), as recorded
        steps; the folders of their bundles, in the order of the configurations.
        """
        ...

    def measure(self, step: str, *, tokens: int = 0) -> Any:
        """Time a part of the work: `with ctx.measure("behaviour"): …`. Goes to the manifest and the log alone."""
        ...

    def service(self, name: str) -> Any:
        """A function of the runtime or of a surface, for verbs about runs and surfaces (`verify`, `replay`, `mcp`)."""
        ...
