"""Fill a local cache with explanations that others published, so that everything else works offline.

1. `--from` names where: an address (by default Neuronpedia's public exports), a folder of such exports, another cache,
   or a bundle that holds one
2. the files of the source are listed and fetched one by one; what was read before is not fetched again, what was begun
   goes on, and a file whose size or checksum is wrong is fetched anew, once
3. each file enters the cache with its hash, as a whole or not at all; authors, types and scores stay the source's.
   Where one is no longer what it was, all are read anew and take the place of what was there, as with --refresh: a
   file that lies here is known by its hash, one on the network by its size and its ETag in the listing, and one that
   has no ETag there cannot be known and is read anew
4. `--bind` states for which dictionary the explanations were written; without it they name features of nobody's

`--list` shows what is there, `--prune` forgets the source. Refuses when: the run may not use the network; a row of a
file cannot be read (file and line). Files that could not be had are named, and the exit code is 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DictionaryRef, FilePath, Input, UserError
from radiograph.core.config import Positional
from radiograph.evidence.explanations import ExplainSync, SyncedFile, SyncedSource

if TYPE_CHECKING:
    from radiograph.store import ExplanationCache, ReadFile
    from radiograph.store.exports import Bucket

Kind = Literal["explanations", "features", "activations"]
_ABOUT = {"model", "release", "source", "sourceset"}
"""Files that lie beside the folders of a source."""
_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


class Config(Base):
    """Which source, from where, into which cache."""

    source: Annotated[str | None, Positional()] = None
    """MODEL/SOURCE, as gemma-2-2b/20-gemmascope-res-16k."""
    from_: Annotated[str | None, Input("file")] = None
    """An address, a folder of exports, a cache, or a bundle with labels; by default Neuronpedia's exports."""
    cache: FilePath = ".radiograph/explanations.sqlite"
    """The cache, made where it is not there."""
    kind: tuple[Kind, ...] = ("explanations",)
    """What to fetch, repeatable: explanations, features (densities, logits), activations (top contexts)."""
    bind: DictionaryRef | None = None
    """The dictionary that the explanations were written for."""
    licence: str | None = None
    """Under which licence the source publishes them, where its files do not say."""
    refresh: bool = False
    """Read all files again, in place of what they said before."""
    rate: float = Field(default=5.0, gt=0, le=100)
    """Requests a second, at most."""
    retries: int = Field(default=5, ge=0)
    """Of a request that may fare better later."""
    list: bool = False
    """Show what the cache holds."""
    prune: bool = False
    """Remove the source from the cache."""


def run(config: Config, ctx: Context) -> ExplainSync:
    """List, forget, or fetch."""
    from radiograph.store import ExplanationCache

    place = ctx.place(config.cache)
    label = ctx.label(str(config.cache))
    if config.list:
        if not place.is_file():
            return ExplainSync(action="list", cache=label, sources=())
        with ExplanationCache.open(place) as cache:
            return ExplainSync(action="list", cache=label, sources=_all(cache))
    model, source = _named(config.source, optional=_copies(config, ctx))
    if config.prune:
        return _pruned(place, label, model, source)
    if config.cache == Config.model_fields["cache"].default:
        place.parent.mkdir(exist_ok=True)
    origin = ctx.label(config.from_) if config.from_ and not _is_address(config.from_) else config.from_
    files: list[SyncedFile] = []
    missing: list[str] = []
    with ExplanationCache.edit(place) as cache:
        if _copies(config, ctx):
            done = _copied(config, ctx, cache, model, source)
        elif config.bind is not None and config.from_ is None and ctx.offline and (model, source) in cache.sources():
            done = [(model, source)]
        else:
            with ctx.measure("fetch"):
                missing = _filled(config, ctx, cache, model, source, files)
            _described(cache, model, source, config.licence, origin)
            done = [(model, source)]
        if ctx.private:
            cache.mark_private()
        if config.bind is not None:
            for own in done:
                _bound(ctx.dictionary(config.bind), cache, *own)
        sources = tuple(_source(cache, *own) for own in done)
    return ExplainSync(action="sync", cache=label, sources=sources, files=tuple(files), missing=tuple(missing))


def _named(text: str | None, *, optional: bool) -> tuple[str, str]:
    if text is None and optional:
        return "", ""
    model, slash, source = (text or "").partition("/")
    if not (model and slash and source) or any(c.isspace() for c in text or ""):
        raise UserError(
            "a source is named by its model and its own name",
            expected="MODEL/SOURCE, as gemma-2-2b/20-gemmascope-res-16k",
            got=text or "nothing",
            code="bad_value",
        )
    return model, source


def _is_address(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _copies(config: Config, ctx: Context) -> bool:
    """Whether another cache is copied from."""
    if config.from_ is None or _is_address(config.from_):
        return False
    return _cache_at(ctx.locate(config.from_)) is not None


def _cache_at(path: Path) -> Path | None:
    """The cache that a path names: itself, or that of a bundle or of a dictionary."""
    from radiograph.explanations import LABELS_FILE

    inside = (path / LABELS_FILE, path / "labels" / LABELS_FILE)
    if path.is_file():
        return path if path.suffix == ".sqlite" else None
    return next((p for p in inside if p.is_file()), None)


def _copied(config: Config, ctx: Context, cache: ExplanationCache, model: str, source: str) -> list[tuple[str, str]]:
    """Sources of another cache, with what they are bound to."""
    from radiograph.store import ExplanationCache, untouched

    assert config.from_ is not None
    path = _cache_at(ctx.locate(config.from_))
    assert path is not None
    ctx.path(str(path), "from")
    untouched(path)
    with ExplanationCache.open(path) as other:
        wanted = other.sources() if not model else [(model, source)]
        for own in wanted:
            cache.copy(other, *own)
    return wanted


def _filled(
    config: Config, ctx: Context, cache: ExplanationCache, model: str, source: str, files: list[SyncedFile]
) -> list[str]:
    """Read every file that is not in the cache yet; returns those that could not be had.

    Where a file is no longer what it was, or with --refresh, all are read anew, and take the place of what was there
    once they are complete: what the source no longer says is not kept beside what it says now.
    """
    from tempfile import TemporaryDirectory

    from radiograph.store import ExplanationCache, now

    listed = list(_listed(config, ctx, model, source))
    _begun(cache, model, source)
    if not listed:
        raise UserError(
            f"no exports of {model}/{source} there",
            expected=f"files in {' or '.join(config.kind)}",
            fix="check model and source; names are those of the web site",
            code="not_found",
        )
    known = cache.files(model, source)
    if not config.refresh and not any(_changed(known[one.name], one) for one in listed if one.name in known):
        return _read(ctx, cache, (model, source), listed, known, files)
    # What is not asked for now and was read before belongs to the source too.
    kinds = {*config.kind, *(_kind(name) for name in known)}
    listed = list(_listed(config.model_copy(update={"kind": tuple(sorted(kinds))}), ctx, model, source))
    with TemporaryDirectory(dir=cache.path.parent) as folder, ExplanationCache.create(Path(folder) / "new") as fresh:
        missing = _read(ctx, fresh, (model, source), listed, {}, files)
        if not missing:
            fresh.bind(model, source, cache.binding(model, source))
            fresh.describe(model, source, cache.provenance(model, source))
            cache.copy(fresh, model, source, now())
    return missing


def _changed(before: ReadFile, listed: Listed) -> bool:
    """Whether a file is another one than that which was read, or may be."""
    if before.bytes != listed.bytes:
        return True
    if listed.sha256 is not None:
        return before.sha256 != listed.sha256()
    return not listed.tag or before.tag != listed.tag


def _read(
    ctx: Context,
    cache: ExplanationCache,
    own: tuple[str, str],
    listed: Sequence[Listed],
    known: Mapping[str, ReadFile],
    files: list[SyncedFile],
) -> list[str]:
    """Read what is not known yet into a cache; returns what could not be had."""
    from radiograph.store import ReadFile, now
    from radiograph.store.exports import read_file, strongest
    from radiograph.store.services import ServiceError

    missing: list[str] = []
    with ctx.progress.task("exports", len(listed)) as task:
        for one in listed:
            if one.name in known:
                files.append(_file(known[one.name], fresh=False))
                task.advance()
                continue
            try:
                path, sha256, temporary = one.get()
            except ServiceError as error:
                missing.append(f"{one.name}: {error.message}")
                task.advance()
                continue
            found = read_file(path, _kind(one.name), *own, one.name)
            read = ReadFile(one.name, sha256, one.bytes, found.rows, one.tag)
            cache.add(*own, read, found.features, found.explanations, now(), strongest)
            if temporary:
                path.unlink()
            files.append(_file(read, fresh=True))
            task.advance()
    return missing


class Listed(NamedTuple):
    """A file of an export."""

    name: str
    bytes: int
    get: Callable[[], tuple[Path, str, bool]]
    """Where it lies, its hash, and whether it is to be removed."""
    sha256: Callable[[], str] | None = None
    """Of one that lies here."""
    tag: str = ""
    """Of one on the network: its ETag."""


def _listed(config: Config, ctx: Context, model: str, source: str) -> Iterator[Listed]:
    """Every file of the kinds that are wanted."""
    from radiograph.store import file_sha256
    from radiograph.store.exports import EXPORTS, Bucket

    if config.from_ is not None and not _is_address(config.from_):
        folder = ctx.path(config.from_, "from")
        for path, name in _local(folder, model, source, config.kind):
            hashed = partial(file_sha256, path)
            yield Listed(name, path.stat().st_size, lambda path=path, hashed=hashed: (path, hashed(), False), hashed)
        return
    if ctx.offline and (config.from_ is None or ctx.caller == "mcp"):
        raise UserError(
            "exports lie on the network, and this run may not use it",
            fix="pass --online, or name a folder with --from",
            code="offline",
        )
    bucket: Bucket = Bucket(config.from_ or EXPORTS, rate=config.rate, retries=config.retries)
    folder = ctx.place(config.cache).parent / "exports"
    for file in bucket.listed(model, source):
        if _kind(file.name) in config.kind and file.name.endswith(_ENDINGS):

            def get(file: Any = file) -> tuple[Path, str, bool]:
                path = bucket.fetch(file, folder)
                return path, file_sha256(path), True

            yield Listed(file.name, file.bytes, get, tag=file.tag)


def _local(folder: Path, model: str, source: str, kinds: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Exports in a folder: laid out as in the bucket, or only those of one source."""
    root = next((p for p in (folder / "v1" / model / source, folder / model / source) if p.is_dir()), folder)
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.name.endswith(_ENDINGS)):
        name = path.relative_to(root).as_posix()
        if "/" not in name:
            if name.split(".")[0] in _ABOUT:
                continue
            name = f"explanations/{name}"
        if _kind(name) in kinds:
            yield path, name


def _kind(name: str) -> str:
    """`explanations-gpt-4o-mini/batch-0.jsonl.gz` holds explanations."""
    head = name.partition("/")[0]
    return "explanations" if head.startswith("explanations") else head


def _begun(cache: ExplanationCache, model: str, source: str) -> None:
    from radiograph.store import Binding

    if (model, source) not in cache.sources():
        cache.bind(model, source, Binding(None, "", 0))


def _described(cache: ExplanationCache, model: str, source: str, licence: str | None, origin: str | None) -> None:
    from radiograph.store import Binding, Provenance
    from radiograph.store.exports import EXPORTS

    before = cache.provenance(model, source)
    cache.describe(model, source, Provenance(licence or before.licence, origin or EXPORTS))
    binding = cache.binding(model, source)
    if binding.decoder_sha256 is None:
        largest = max({*cache.features(model, source), *cache.explanations(model, source)}, default=-1)
        cache.bind(model, source, Binding(None, binding.site, largest + 1))


def _bound(dictionary: Any, cache: ExplanationCache, model: str, source: str) -> None:
    from radiograph.store import Binding

    largest = max({*cache.features(model, source), *cache.explanations(model, source)}, default=-1)
    if largest >= dictionary.size:
        raise UserError(
            f"{model}/{source} speaks of feature {largest}, and the dictionary has {dictionary.size}",
            fix="bind them to the dictionary that they were written for",
            code="explanations_mismatch",
        )
    cache.bind(model, source, Binding(dictionary.decoder_sha256, dictionary.site, dictionary.size))


def _pruned(place: Path, label: str, model: str, source: str) -> ExplainSync:
    from radiograph.store import ExplanationCache

    if not place.is_file():
        raise UserError(f"no cache at {label}", code="not_found")
    with ExplanationCache.edit(place) as cache:
        cache.binding(model, source)
        cache.remove(model, source)
        return ExplainSync(action="prune", cache=label, sources=_all(cache), removed=(f"{model}/{source}",))


def _all(cache: ExplanationCache) -> tuple[SyncedSource, ...]:
    return tuple(_source(cache, *own) for own in cache.sources())


def _source(cache: ExplanationCache, model: str, source: str) -> SyncedSource:
    explanations, features = cache.explanations(model, source), cache.features(model, source)
    every = [payload for found in explanations.values() for payload in found]
    provenance, binding = cache.provenance(model, source), cache.binding(model, source)
    return SyncedSource(
        model=model,
        source=source,
        features=len({*features, *explanations}),
        explained=sum(bool(found) for found in explanations.values()),
        explanations=len(every),
        contexts=sum(bool(fields.get("activations")) for fields in features.values()),
        authors=_different(every, "explanationModelName"),
        types=_different(every, "typeName"),
        licence=provenance.licence,
        origin=provenance.origin,
        bound=binding.decoder_sha256,
        snapshot_sha256=cache.snapshot_sha256(model, source),
    )


def _different(payloads: Iterable[dict[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(sorted({value for payload in payloads if isinstance(value := payload.get(key), str)}))


def _file(read: ReadFile, *, fresh: bool) -> SyncedFile:
    return SyncedFile(name=read.name, bytes=read.bytes, sha256=read.sha256, rows=read.rows, fresh=fresh)
