"""The texts and features to explain: stored records, or a model that runs over texts now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Context, Refusal, Source, UserError, derive
from radiograph.core.shapes import Float
from radiograph.evidence.explanations import Pushed

if TYPE_CHECKING:
    from radiograph.explanations import Material
    from radiograph.harvest import Harvested, Text
    from radiograph.models import LanguageModel
    from radiograph.sources import Features, Given
    from radiograph.store.records import Header

_PUSHED = 5


@dataclass(frozen=True, eq=False)
class Gathered:
    """What there is to explain."""

    name: str
    material: Material
    header: Header
    """Of the records that the reserved texts are kept as."""
    features: int
    """Of the dictionary or of the records, chosen or not."""
    chosen: frozenset[int]
    """Numbers that were asked for."""
    site: str | None
    dictionary_sha256: str | None
    decoder_sha256: str | None
    folder: Path | None
    """Of the dictionary, where labels may lie."""
    model: LanguageModel | None
    vectors: Float[np.ndarray, "feature width"] | None
    """Write directions, in the order of the material."""
    labels: tuple[tuple[frozenset[str], ...], ...] | None = None
    """Small world: what each token of each text is, in the order of the material."""


def source_text(ctx: Context, text: str) -> str:
    """A source in full: a bare folder is one of records if it holds some, else a dictionary."""
    head = text.partition("#")[0]
    if ":" in head and not Path(head).exists():
        return text
    folder = ctx.locate(head)
    held = (folder / "header.json").is_file() or (folder / "records" / "header.json").is_file() or folder.is_file()
    return f"{'records' if held else 'dictionary'}:{text}"


def gathered(
    ctx: Context,
    source: str,
    model: str | None,
    data: Sequence[str],
    documents: int,
    keep: Callable[[int], list[int]],
    max_tokens: int | None,
) -> Gathered:
    """Read records, or run a model; `keep` chooses among as many features.

    Raises:
        UserError: a source of live features without a model or texts, or several sites.
        Refusal: records that do not say what their tokens are; a dictionary of another model.
    """
    whole = source_text(ctx, source)
    given: Given = ctx.features(whole)
    if given.kind == "dump":
        raise Refusal(
            "no_activations",
            f"{given.name} says what others found, and holds no texts with activations",
            fix="explain a dictionary with its model, or records",
        )
    if given.kind == "records":
        return _stored(given, keep, None if model is None else ctx.model(model, "model"))
    if model is None:
        raise UserError(
            f"{given.name} needs the model that it reads",
            fix="radiograph explain features SOURCE MODEL",
            code="no_model",
        )
    return _live(ctx, given, whole, ctx.model(model, "model"), data, documents, keep, max_tokens)


def pushes_of(
    model: LanguageModel | None, vectors: Float[np.ndarray, "feature width"] | None
) -> Callable[[int], tuple[tuple[Pushed, ...], tuple[Pushed, ...]]] | None:
    """What each write direction raises and lowers through the final norm's gain and the unembedding."""
    if model is None or vectors is None or vectors.shape[1] != model.width or model.tokenizer is None:
        return None
    from radiograph.models import token_text
    from radiograph.models.tail import Tail

    try:
        tail = Tail.of(model)
    except Refusal:
        return None
    known = min(len(model.tokenizer), len(tail.unembed))

    def pushes(place: int) -> tuple[tuple[Pushed, ...], tuple[Pushed, ...]]:
        change = tail.direct(vectors[place : place + 1].astype(np.float64))[0][:known]
        order = np.argsort(-change, kind="stable")
        said = [
            Pushed(token=token_text(model.tokenizer, int(token)), change=float(change[token]))
            for token in (*order[:_PUSHED], *order[::-1][:_PUSHED])
        ]
        return tuple(said[:_PUSHED]), tuple(said[_PUSHED:])

    return pushes


def _stored(given: Any, keep: Callable[[int], list[int]], model: LanguageModel | None) -> Gathered:
    from radiograph.explanations import material_of

    records = given.records
    numbers = np.arange(records.header.features) if given.chosen is None else np.flatnonzero(given.chosen)
    wanted = numbers[keep(len(numbers))]
    header = records.header
    return Gathered(
        name=given.name,
        material=material_of(records, wanted.tolist()),
        header=_bare(header),
        features=header.features,
        chosen=frozenset(wanted.tolist()),
        site="+".join(header.sites) or None,
        dictionary_sha256=header.dictionary_sha256,
        decoder_sha256=None,
        folder=None,
        model=model,
        vectors=_stored_vectors(records, wanted),
    )


def _stored_vectors(records: Any, wanted: np.ndarray) -> Float[np.ndarray, "feature width"] | None:
    """Write directions that lie beside records, if all of the features have one of one width."""
    from radiograph.store.directions import open_directions

    path = next(
        (
            p
            for p in (records.folder / "directions.safetensors", records.folder.parent / "directions.safetensors")
            if p.is_file()
        ),
        None,
    )
    rows = records.features["direction"].to_numpy()[wanted] if path is not None else np.empty(0)
    if path is None or not len(rows) or np.isnan(rows.astype(float)).any():
        return None
    _, tensors = open_directions(path)
    tables = [np.atleast_2d(tensor) for tensor in tensors.values()]
    if len({table.shape[1] for table in tables}) != 1:
        return None
    table = np.concatenate(tables)
    return table[rows.astype(np.int64)] if rows.max() < len(table) else None


def _live(
    ctx: Context,
    given: Any,
    name: str,
    model: LanguageModel,
    data: Sequence[str],
    documents: int,
    keep: Callable[[int], list[int]],
    max_tokens: int | None,
) -> Gathered:
    from radiograph.explanations import Material
    from radiograph.harvest import harvest
    from radiograph.store.records import Header, RecordsModel

    parts: tuple[Features, ...] = given.open(model)
    if len(parts) != 1:
        raise UserError(f"{given.name} reads several sites", expected="one dictionary, or units of one site")
    features = parts[0]
    texts, marks = _texts(ctx, model, data, documents)
    sites = [str(Source.parse(site).site) for site in features.codec.sites]
    with ctx.measure("encode"):
        found = harvest(model, texts, sites, validation=0.0, max_rows=max_tokens, progress=ctx.progress)
        passages, order = _passages(model, found)
        wanted = features.numbers[keep(len(features.numbers))]
        fires = _encoded(features, found, sites, wanted, order)
    ids = tuple(features.address(int(number)) for number in wanted)
    identity = model.identity
    header = Header(
        model=RecordsModel(ref=ctx.label(str(model.ref)), sha256=identity.tensors_sha256),
        tokenizer_sha256=identity.tokenizer_sha256,
        sites=tuple(features.codec.sites),
        dictionary_sha256=features.dictionary_sha256,
        features=0,
    )
    return Gathered(
        name=given.name,
        material=Material(passages, fires, wanted.astype(np.int64), ids),
        header=header,
        features=features.codec.size,
        chosen=frozenset(wanted.tolist()),
        site=features.site,
        dictionary_sha256=features.dictionary_sha256,
        decoder_sha256=getattr(features.codec, "decoder_sha256", None),
        folder=_folder(ctx, name),
        model=model,
        vectors=features.write(wanted),
        labels=None if marks is None else _marked(found, marks),
    )


def _folder(ctx: Context, name: str) -> Path | None:
    """Of a dictionary of ours."""
    kind, _, where = name.partition("#")[0].partition(":")
    if kind != "dictionary":
        return None
    return ctx.dictionary_folder("dictionary:bundled" if where == "bundled" else where)


def _texts(
    ctx: Context, model: LanguageModel, data: Sequence[str], documents: int
) -> tuple[list[Text], dict[str, tuple[frozenset[str], ...]] | None]:
    """The texts that were named; or documents of the small world, with what each of their tokens is."""
    from radiograph.harvest import Text
    from radiograph.organisms import reads_world

    if data:
        return ctx.texts(data), None
    if model.tokenizer is None or not reads_world(model.tokenizer):
        raise UserError(
            "this model needs texts to run on", expected="--data FILE, suite:FILE or hf:NAME", code="no_texts"
        )
    from radiograph.organisms.world import World

    made = list(World().documents("mixture", "test", seed=derive(ctx.seed, "labels"), count=documents))
    texts = [Text(d.id, "", d.id, tokens=d.ids, source="world:mixture:test") for d in made]
    return texts, {d.id: d.labels for d in made}


def _passages(model: LanguageModel, found: Harvested) -> tuple[Any, np.ndarray]:
    """The kept tokens, text after text, and the row of each."""
    from radiograph.explanations import Passages
    from radiograph.models import token_text

    owner, token = found.owners.numpy(), found.tokens.numpy()
    order = np.lexsort((found.positions.numpy(), owner))
    ids, tokens = np.unique(token[order], return_inverse=True)
    fresh = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0]) if len(order) else np.empty(0, np.int64)
    prompts = found.prompts[owner[order][fresh]]
    names = [
        name if window == 0 else f"{name}@{window}"
        for name, window in zip(prompts["prompt_id"].to_list(), prompts["window"].to_list(), strict=True)
    ]
    pieces = tuple(token_text(model.tokenizer, int(token)) for token in ids)
    groups = tuple(prompts["group"].to_list())
    made = Passages(pieces, tokens.reshape(-1).astype(np.int64), fresh.astype(np.int64), tuple(names), groups)
    return made, order


def _encoded(features: Features, found: Harvested, sites: Sequence[str], wanted: np.ndarray, order: np.ndarray) -> Any:
    """[feature, token] of the features that are wanted."""
    import torch

    from radiograph.numerics.explanations import csr

    at = np.full(features.codec.size, -1, np.int64)
    at[wanted] = np.arange(len(wanted))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    tables = [found.rows(f"reference/{site}") for site in sites]
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for first in range(0, len(order), 4096):
        rows = torch.cat([table[first : first + 4096].float() for table in tables], dim=1)
        codes = features.codec.encode(rows)
        place = at[codes.indices.cpu().numpy()]
        value = codes.values.float().cpu().numpy().astype(np.float64)
        own = (place >= 0) & (value > 0)
        kept.append((place[own], rank[first + codes.rows.cpu().numpy()[own]], value[own]))
    place, column, value = (np.concatenate(list(part)) for part in zip(*kept, strict=True))
    return csr(value, place, column, (len(wanted), len(order)))


def _marked(found: Harvested, marks: dict[str, tuple[frozenset[str], ...]]) -> tuple[tuple[frozenset[str], ...], ...]:
    """What each kept token is, text after text."""
    owner, position = found.owners.numpy(), found.positions.numpy()
    order = np.lexsort((position, owner))
    names = found.prompts["prompt_id"].to_list()
    windows = found.prompts["window"].to_list()
    fresh = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0, True])
    rows: list[tuple[frozenset[str], ...]] = []
    for first, last in pairwise(fresh.tolist()):
        text = int(owner[order[first]])
        if windows[text]:
            raise UserError("a document of the small world does not fit the model's context", code="too_long")
        rows.append(tuple(marks[names[text]][p] for p in position[order[first:last]].tolist()))
    return tuple(rows)


def _bare(header: Header) -> Header:
    """The header of records that are written anew."""
    return header.model_copy(
        update={"rows": 0, "entries": 0, "parts": (), "features": 0, "features_sha256": None, "complete": False}
    )
