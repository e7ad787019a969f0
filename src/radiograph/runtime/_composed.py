"""Floor-3 siblings put together for a run: sources of features with dictionaries and labels, criteria with the world.

Everything that is read is resolved, confined and hashed by the run's context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from radiograph.core import Refusal, UserError
from radiograph.evidence import InputRecord, document_sha256

if TYPE_CHECKING:
    from radiograph.criteria import Compiled, Prompts
    from radiograph.dictionaries import Dictionary
    from radiograph.runtime._context import RunContext
    from radiograph.sources import Foreign, Given, Opened, Options
    from radiograph.store.chat import ChatSettings, Endpoint

CACHE = ".radiograph"
"""Folder of the workspace for what is kept between runs."""


def cache_folder(context: RunContext) -> Path:
    """The folder, which is made."""
    folder = context.workspace.base / CACHE
    folder.mkdir(exist_ok=True)
    return folder


def features(context: RunContext, source: str, role: str, options: Options | None) -> Given:
    """What a source of features gives.

    Raises:
        UserError: not a source, or nothing there.
    """
    from radiograph.sources import Options, Parts, open_source

    def record(own: str, ref: str, kind: str, sha256: str) -> None:
        context.record(InputRecord(role=own, ref=ref, kind=kind, sha256=sha256))

    parts = Parts(
        path=context.path,
        label=context.label,
        cache=lambda: cache_folder(context),
        dictionary=lambda reference, own: _dictionary(context, reference, own),
        foreign=lambda asked: _foreign(context, asked),
        here=lambda place: context.workspace.resolve(place, must_exist=False).exists(),
        preferred=_preferred,
        record=record,
        components=lambda reference, own: _components(context, reference, own),
        role=role,
        seed=context.seed,
        offline=context.offline,
        options=options or Options(),
    )
    return open_source(source, parts)


def _components(context: RunContext, reference: str, role: str) -> Any:
    from functools import partial

    from radiograph.decompose import codecs

    return partial(codecs, context.decomposition(reference, role))


def _dictionary(context: RunContext, reference: str, role: str) -> Opened:
    from radiograph.explanations import LABELS_FILE, open_labels, preferred
    from radiograph.sources import Opened

    folder = context.dictionary_folder(reference)
    if (folder / "dictionary" / "dictionary.json").is_file():  # the run that trained or imported it
        folder = folder / "dictionary"
    dictionary = context.dictionary(reference if reference.startswith("dictionary:") else str(folder), role)
    beside = folder / LABELS_FILE
    labels: dict[int, str] = {}
    if beside.is_file():
        try:
            held = open_labels("auto", dictionary.decoder_sha256, beside, context.locate)
        except Refusal:  # written for another dictionary
            held = None
        found = {} if held is None else held.explanations
        labels = {index: own.text for index, several in found.items() if (own := preferred(several)) is not None}
    return Opened(dictionary, labels, _model_of(dictionary), dictionary.metadata.licence)


def _foreign(context: RunContext, asked: Foreign) -> Opened:
    """A dictionary of others: a path here, or a place on the hub that lies in its cache or may be fetched."""
    from radiograph.dictionaries import formats
    from radiograph.sources import Opened

    options = formats.Options(k=asked.k, layer=asked.layer)
    if context.workspace.resolve(asked.place, must_exist=False).exists() or not formats.looks_like_hub(asked.place):
        source, origin = formats.Source.open(context.path(asked.place, asked.role)), None
    elif "@" in asked.place and not context.offline:
        source, origin = formats.fetch(formats.Address.parse(asked.place), progress=context.progress)
    else:
        source, origin = formats.cached(asked.place)
    found = list(formats.import_source(source, options, origin=origin, format=asked.format))
    if len(found) != 1:
        raise UserError(
            f"{context.label(asked.place)} holds {len(found)} dictionaries",
            expected="one",
            got=", ".join(own.name for own in found[:12]),
            fix="name the folder or file of one",
            code="several_dictionaries",
        )
    dictionary = found[0].dictionary
    ref = context.label(asked.place) if origin is None else origin.label
    context.record(InputRecord(role=asked.role, ref=ref, kind="dictionary", sha256=dictionary.hash))
    return Opened(dictionary, model_sha256=_model_of(dictionary), licence=dictionary.metadata.licence)


def _preferred(explanations: Sequence[dict[str, Any]]) -> str | None:
    from radiograph.explanations import preferred

    found = preferred(explanations)
    return None if found is None else found.text


def _model_of(dictionary: Dictionary) -> str | None:
    model = dictionary.metadata.model
    return None if model is None else model.tensors_sha256


def criterion(
    context: RunContext,
    text: str,
    *,
    prompts: str | None,
    template: str | None,
    texts: str | None,
    split: str | None,
    threshold: float,
    count: int,
    near_duplicates: Literal["jaccard", "off"],
    surface: bool,
    continuous: bool,
    writer: Endpoint | None,
    labeller: Endpoint | None,
    chat: ChatSettings | None,
) -> Compiled:
    """Compile a criterion, or read one that was compiled.

    Raises:
        UserError: rows that cannot be used. Refusal: nothing can be compiled.
    """
    from contextlib import ExitStack
    from dataclasses import replace

    from radiograph import criteria
    from radiograph.store.chat import ChatCache, ChatClient, ChatSettings

    if text.endswith(".json"):
        return criteria.read_compiled(context.path(text, "criterion"))
    held = None if split is None else criteria.read_split(context.path(split, "split"))
    with ExitStack() as stack:
        clients: dict[str, ChatClient] = {}
        settings = chat or ChatSettings(seed=context.seed)
        if writer is not None:
            if context.caller == "mcp" and context.offline:
                settings = replace(settings, offline=True)
            cache = stack.enter_context(ChatCache.open(cache_folder(context) / "chat.sqlite"))
            clients["writer"] = ChatClient(writer, settings, cache)
            if labeller is not None:
                clients["labeller"] = ChatClient(labeller, settings, cache)
        parts = criteria.Parts(
            text=text,
            prompts=None if prompts is None else _prompts(context, prompts, "prompts"),
            threshold=threshold,
            template=None if template is None else criteria.read_template(context.path(template, "template")),
            world=_world(context, text, count),
            texts=None if texts is None else _prompts(context, texts, "texts"),
            count=count,
            **clients,
        )
        return criteria.compile_criterion(
            parts,
            seed=context.seed,
            near_duplicates=near_duplicates,
            split=held,
            surface=surface,
            continuous=continuous,
        )


def _prompts(context: RunContext, reference: str, role: str) -> Prompts:
    from radiograph import criteria

    if reference.startswith("suite:"):
        return criteria.prompts_of_suite(
            context.suite(reference.removeprefix("suite:"), role), context.label(reference)
        )
    return criteria.read_prompts(context.path(reference, role))


def _world(context: RunContext, text: str, count: int) -> Any:
    if not text.startswith("world:"):
        return None
    from radiograph.organisms import world

    given: Mapping[str, Any] = {"criterion": text, "count": count, "seed": context.seed}
    context.record(InputRecord(role="criterion", ref=text, kind="generated", sha256=document_sha256(given)))
    return world
