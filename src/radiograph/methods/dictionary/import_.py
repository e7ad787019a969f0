"""Turn somebody else's dictionary into one of ours, and find out whether it is what its file says.

1. the format is detected from file names and keys (`--format` decides where two fit); nothing is unpickled but tensors
2. every tensor and every key is accounted for; scales and decoder norms are folded, all thresholds with them
3. shapes, and for square matrices the likeness of encoder and decoder rows, must fit the reading; values are finite
4. with `--model`: FVU, L0 and dead features at the declared site, and as the file could wrongly be read (one layer off,
   a site that people confuse with it, transposed, inputs doubled or halved)
5. the dictionary is saved with its source, hashes, licence, what was folded and every check on its card

States: `checked`, `doubtful`, `unchecked` (no model given; verbs that gate refuse it). FVU above 0.9, or another
reading that is 10 % better, is `dictionary_mismatch`: exit 2, and that dictionary is not saved. A set (several layers)
becomes one dictionary a folder and `set.json`. Only `--from-hub` uses the network, at a revision that must be named; an
agent may use it only where its server was started with `--online`.
Refuses when: a file leaves something open (the option that would settle it is named), two formats fit, none does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, FilePath, FolderPath, ModelRef, UserError
from radiograph.evidence import GuardCheck, Record, Result

if TYPE_CHECKING:
    from radiograph.dictionaries import Provenance
    from radiograph.dictionaries.formats import Finished, Known, Options, Origin, SetEntry, Source

ESTIMATE_ROWS = 2**17
STATES = ("checked", "doubtful", "unchecked", "mismatch")


class Config(Base):
    """What to read, what only you can know about it, and the model to check it against."""

    source: FolderPath
    """A folder or file; with --from-hub OWNER/NAME[/PATH]@REVISION."""
    from_hub: bool = False
    """Fetch the source from the model hub, at its revision. The only use of the network."""
    format: str | None = None
    """The format, where its files do not tell."""
    model: ModelRef | None = None
    """The model it was trained on: checks what it does, and writes the model's hash into it."""
    candidate: tuple[ModelRef, ...] = ()
    """Further models of a crosscoder, in the order of its sources."""
    data: tuple[str, ...] = ()
    """Texts to check on: FILE.jsonl, FILE.txt or world:DOMAIN[:SPLIT]#N; by default the standard neutral texts."""
    max_rows: int = Field(default=8_192, ge=1)
    """Most rows checked on; fewer than 2,048 leave it doubtful."""
    site: str | None = None
    """The site it reads, over what the file says."""
    target: str | None = None
    """The site a transcoder writes, over what the file says."""
    layer: int | None = Field(default=None, ge=0)
    """Of a set, only this layer; of a file that names none, its layer."""
    k: int | None = Field(default=None, ge=1)
    """Features that fire on a row, where the file does not say."""
    input_scale: str | None = None
    """What inputs were multiplied by in training, where the file does not say: a number, or A,B for several sources."""
    untrained: bool = False
    """Accept tensors that their own file calls untrained."""
    map: FilePath | None = None
    """For --format generic: a YAML file that says which tensor is what."""
    activations: FolderPath | None = None
    """A harvest, where something must be estimated (the threshold of a batch-top-k); else the rows it is checked on."""


class ImportedDictionary(Record):
    """One dictionary and what the checks found."""

    name: str
    folder: str | None
    """Where it lies in this run; null: it was not saved."""
    sha256: str
    kind: str
    sites: tuple[str, ...]
    targets: tuple[str, ...]
    size: int
    width: int
    activation: str
    value_unit: str
    state: str
    fvu: float | None
    l0: float | None
    dead: int | None
    readings: dict[str, float]
    """FVU as it could wrongly be read."""
    folded: tuple[str, ...]
    checks: tuple[GuardCheck, ...]


class DictionaryImport(Result):
    """What was imported."""

    SCHEMA: ClassVar[str] = "radiograph.dictionary_import/1"

    source: str
    format: str
    revision: str | None
    licence: str | None
    files: dict[str, str]
    """SHA-256 of every file that was read."""
    dictionaries: tuple[ImportedDictionary, ...]

    @property
    def mismatched(self) -> tuple[ImportedDictionary, ...]:
        """Dictionaries that are not what their file says."""
        return tuple(d for d in self.dictionaries if d.state == "mismatch")

    @property
    def headline(self) -> str:
        """How many, in which state, and the first one's quality."""
        counts = ", ".join(f"{n} {s}" for s in STATES if (n := sum(d.state == s for d in self.dictionaries)))
        first = self.dictionaries[0]
        failed = next(iter(self.mismatched), None)
        if failed is not None:
            lines = [c for c in failed.checks if not c.passed]
            why = "; ".join(f"{c.check}: {c.observed}" for c in lines)
            return f"{self.format}, {counts}: dictionary_mismatch at {' + '.join(failed.sites)} ({why})"
        quality = "" if first.fvu is None else f", FVU {first.fvu:.3f}, L0 {first.l0:.1f}"
        return f"{self.format}, {counts}: {first.size} features at {' + '.join(first.sites)}{quality}"

    @property
    def exit_code(self) -> ExitCode:
        """2 where a dictionary is not what its file says."""
        return ExitCode.GATE_FAILED if self.mismatched else ExitCode.PASS


def run(config: Config, ctx: Context) -> DictionaryImport:
    """Find, read, fold, check, save."""
    from radiograph.dictionaries.formats import import_source, store, write_set
    from radiograph.methods.dictionary._known import known

    source, origin = _find(config, ctx)
    model: Known | None = None
    if config.model is not None:
        model = known(ctx, config.model, config.candidate, config.data, config.max_rows)
    options = _options(config, ctx, model)
    folder: Path = ctx.output.folder("dictionary")
    found: list[ImportedDictionary] = []
    entries: list[SetEntry] = []
    origins: list[Provenance] = []
    with ctx.measure("import"):
        for finished in import_source(source, options, origin=origin, format=config.format, known=model):
            place = "" if config.layer is not None else finished.name
            saved = finished.judgement.state != "mismatch"
            if saved:
                entries.append(store(finished, folder, place))
            found.append(_record(finished, f"dictionary/{place}".rstrip("/") if saved else None))
            assert finished.dictionary.metadata.imported is not None
            origins.append(finished.dictionary.metadata.imported)
    if any(entry.folder for entry in entries):
        write_set(folder, entries, origin, origins[0].format)
    if not entries:
        folder.rmdir()
    return DictionaryImport(
        source=origin.label,
        format=origins[0].format,
        revision=origin.revision,
        licence=origin.licence,
        files={name: sha for found_at in origins for name, sha in sorted(found_at.files.items())},
        dictionaries=tuple(found),
    )


def _find(config: Config, ctx: Context) -> tuple[Source, Origin]:
    from radiograph.dictionaries.formats import Address, Origin, Source, fetch, looks_like_hub

    if config.from_hub:
        if ctx.caller == "mcp" and ctx.offline:
            raise UserError(
                "an agent may not use the network here", fix="start the server with --online", code="offline"
            )
        return fetch(Address.parse(config.source), progress=ctx.progress)
    try:
        path = ctx.path(config.source, "source")
    except UserError as error:
        if error.code == "not_found" and looks_like_hub(config.source):
            raise UserError(
                f"nothing at {config.source!r}, and nothing is fetched unless you say so",
                fix=f"dictionary import --from-hub {config.source.partition('@')[0]}@REVISION",
                code="not_found",
            ) from error
        raise
    return Source.open(path), Origin(ctx.label(config.source))


def _options(config: Config, ctx: Context, model: Known | None) -> Options:
    from radiograph.dictionaries.formats import Options

    rows: Any = None if model is None else lambda address: model.rows_of([address])[address].float()
    if config.activations is not None:
        rows = _stored_rows(config.activations, ctx)
    return Options(
        k=config.k,
        input_scale=_numbers(config.input_scale),
        layer=config.layer,
        site=config.site,
        target=config.target,
        untrained=config.untrained,
        map=None if config.map is None else ctx.path(config.map, "map"),
        rows=rows,
    )


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise UserError("input scale", expected="one number, or A,B for several sources", got=str(text)) from error


def _stored_rows(reference: str, ctx: Context) -> Any:
    """Rows of a harvest at a site, as many as estimate a quantile well."""
    from radiograph.store.shards import open_activations

    activations = open_activations(ctx.path(reference, "activations"))

    def rows(address: str) -> Any:
        import torch

        from radiograph.core import Source as Address

        source = str(Address.parse(address))
        if source not in activations.sources:
            raise UserError(f"no rows of {source}", where=reference, expected=", ".join(activations.sources))
        parts: list[Any] = []
        for (part,) in activations.reader([source], split="train", batch=4_096, seed=ctx.seed):
            parts.append(part.float())
            if sum(map(len, parts)) >= ESTIMATE_ROWS:
                break
        return torch.cat(parts)[:ESTIMATE_ROWS]

    return rows


def _record(finished: Finished, folder: str | None) -> ImportedDictionary:
    dictionary, judgement = finished.dictionary, finished.judgement
    quality = judgement.quality
    return ImportedDictionary(
        name=finished.name,
        folder=folder,
        sha256=dictionary.hash,
        kind=dictionary.kind,
        sites=dictionary.sites,
        targets=dictionary.targets,
        size=dictionary.size,
        width=dictionary.width,
        activation=dictionary.activation.name,
        value_unit=dictionary.value_unit,
        state=judgement.state,
        fvu=quality.fvu if quality else None,
        l0=quality.l0 if quality else None,
        dead=quality.dead if quality else None,
        readings={name: q.fvu for name, q in (judgement.readings or {}).items()},
        folded=finished.folded,
        checks=judgement.checks,
    )
