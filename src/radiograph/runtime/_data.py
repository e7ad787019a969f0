"""Data sources of a run: each is found, confined and hashed before anything of it is read.

    FILE · suite:FILE · world:DOMAIN[:SPLIT]#N · hf:NAME[:CONFIG]@REVISION#SPLIT

Only `hf:` reaches the network, and only where the run may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import UserError
from radiograph.evidence import InputRecord, document_sha256
from radiograph.store.lines import marked_input

if TYPE_CHECKING:
    from radiograph.harvest import Corpus, Fields, Text
    from radiograph.runtime._context import RunContext
    from radiograph.store.activations import ActivationStore
    from radiograph.store.opened import Opened


def corpus(context: RunContext, sources: Sequence[str], role: str, fields: Fields | None = None) -> Corpus:
    """Every text of some sources, in order; ids that are not given differ between sources.

    Raises:
        UserError: a source that is not there, has no end, or needs the network that this run may not use.
    """
    from radiograph.harvest import Corpus, Fields

    several = len(sources) > 1
    parts: list[Callable[[], Iterable[Text]]] = []
    hashes: dict[str, str] = {}
    for number, source in enumerate(sources):
        own = f"{role}.{number}" if several else role
        parts.append(_part(context, source, own, fields or Fields(), prefix=f"{number}:" if several else ""))
        hashes[context.inputs[own].ref] = context.inputs[own].sha256
    return Corpus(tuple(parts), hashes)


def _part(context: RunContext, source: str, role: str, fields: Fields, prefix: str) -> Callable[[], Iterable[Text]]:
    from radiograph.harvest import texts_of

    if source.startswith("suite:"):
        return _of_suite(context, source, role)
    if source.startswith("world:"):
        return partial(texts_of, source, fields, world=_world(context, source, role))
    if source.startswith("hf:"):
        _check_dataset(context, source, role)
        return partial(texts_of, source, fields, prefix=prefix)
    path = context.path(source, role)
    return partial(texts_of, path, fields, prefix=prefix, name=context.workspace.label(path))


def _of_suite(context: RunContext, source: str, role: str) -> Callable[[], Iterable[Text]]:
    from radiograph.harvest import Text

    texts = [
        Text(
            id=prompt.id,
            text="",
            group=prompt.group or prompt.id,
            messages=tuple({"role": str(m.role), "content": m.content} for m in prompt.messages),
            prefill=prompt.prefill,
            source=context.workspace.portable(source),
        )
        for prompt in context.suite(source.removeprefix("suite:"), role).prompts
    ]
    return lambda: texts


def _world(context: RunContext, source: str, role: str) -> Callable[[str], Iterable[str]]:
    from radiograph.organisms.world import parse_source

    if parse_source(source).count is None:
        raise UserError(f"{source} has no end", expected=f"{source}#N", fix="say how many documents", code="endless")
    context.record(InputRecord(role=role, ref=source, kind="generated", sha256=document_sha256(source)))

    def documents(text: str) -> Iterable[str]:
        return (document.text for document in parse_source(text).documents(context.seed))

    return documents


def _check_dataset(context: RunContext, source: str, role: str) -> None:
    from radiograph.harvest import Dataset

    dataset = Dataset.parse(source)
    if dataset.folder is not None:
        context.path(dataset.name, role)
        return
    if context.offline:
        raise UserError(
            f"{source} lies on the hub, and this run may not use the network",
            fix="pass --online, or download it and name the file",
            code="offline",
        )
    context.record(InputRecord(role=role, ref=source, kind="dataset", sha256=document_sha256(source)))


def opened(context: RunContext, reference: str, role: str) -> Opened:
    """A file that is opened once: what is hashed is what is read.

    Raises:
        UserError: nothing there, no file, outside the workspace.
    """
    from radiograph.store.opened import Opened

    workspace = context.workspace
    name = workspace.label(workspace.resolve(reference))
    file = Opened(workspace.open(reference), name)
    mark = marked_input(workspace.resolve(reference))
    context.record(InputRecord(role=role, ref=name, kind="file", sha256=file.sha256, private=mark))
    return file


def activations(context: RunContext, reference: str, role: str) -> ActivationStore:
    """Stored activations: a file, or `FOLDER[#SOURCE]`, either with `store:` before it.

    Raises:
        UserError: nothing there, or no such source. FormatError: the file is not what its suffix says.
    """
    from radiograph.store.activations import open_activations
    from radiograph.store.opened import Opened

    workspace = context.workspace
    bare = reference.removeprefix("store:")
    whole = workspace.resolve(bare, must_exist=False).exists()
    path, _, source = (bare, "", "") if whole else bare.partition("#")
    real = workspace.resolve(path)

    def opener(inner: Path, name: str) -> Opened:
        return Opened(workspace.open(str(inner)), name)

    # Where links are refused, the path as typed is walked; resolved, it has none left to find.
    store = open_activations(
        real if workspace.links else workspace.base / path,
        source=source or None,
        name=workspace.label(real),
        limits=context.limits,
        opener=opener,
    )
    mark = marked_input(real)
    context.record(InputRecord(role=role, ref=store.name, kind="activations", sha256=store.sha256, private=mark))
    return store
