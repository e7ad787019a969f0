"""The change of every parameter between two models, one tensor at a time.

1. tensors are read from the models' folders where they have one (memory otherwise) and matched by canonical name:
   without the backbone's prefix, without the buffers of old checkpoints
2. a head that is tied to the embedding on both sides counts once, with the embedding; tied on one side alone it is
   compared with the embedding there
3. embedding rows beyond the tokenizer are left out and counted
4. a plain adapter on the reference's own base gives low-rank factors; everything else the difference of two tensors
Holds two tensors at a time. Refuses changed tensors that are no numbers (packed, quantised).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from radiograph.models._identity import EMBEDDINGS, canonical_name
from radiograph.models._refs import ModelRef
from radiograph.models.architectures import UNEMBEDDINGS, WeightAddress, weight_addresses
from radiograph.models.delta._adapter import AdaptedTensors, MergedTensors, read_adapter
from radiograph.models.delta._stored import StoredModel, StoredPair, Vocabulary
from radiograph.models.delta._tensors import (
    DenseDelta,
    FolderTensors,
    Header,
    LowRank,
    MemoryTensors,
    StoredTensor,
    Tensors,
    not_numbers,
)

if TYPE_CHECKING:
    from radiograph.models._model import LanguageModel, Pair

Model: TypeAlias = "StoredModel | LanguageModel"
Status = Literal["equal", "changed", "added", "missing", "resized"]


@dataclass(frozen=True)
class Change:
    """One stored tensor, and what became of it.

    Attributes:
        parameter: its name in the reference's files (the candidate's, if added).
        addresses: the matrices it holds; empty for vectors and for tensors that the architecture table does not name.
        reference: the tensor itself; None if added, missing or resized.
        delta: candidate − reference if changed; an exact low-rank product for a plain adapter.
        spare_rows: embedding rows beyond the tokenizer, left out.
    """

    parameter: str
    shape: tuple[int, ...]
    status: Status
    addresses: tuple[WeightAddress, ...] = ()
    reference: StoredTensor | None = None
    delta: DenseDelta | LowRank | None = None
    spare_rows: int = 0


def changes(pair: Pair | StoredPair) -> Iterator[Change]:
    """Every tensor of both models, in the order of the reference's files, added ones last.

    Raises:
        UserError: an adapter for other shapes, a quantised tensor that changed.
        FormatError: weights that cannot be read.
    """
    ours = _Named(_tensors(pair.reference))
    theirs = _candidate(pair, ours)
    config = pair.reference.config
    rows = _token_rows(pair)
    names = [n for n in dict.fromkeys([*ours.headers, *theirs.headers]) if not (ours.is_tied(n) and theirs.is_tied(n))]
    shapes = {n: _trimmed(n, ours.headers.get(n) or theirs.headers[n], rows) for n in names}
    by_parameter: dict[str, list[WeightAddress]] = {}
    for address in weight_addresses(config, shapes).values():
        if address.address != "unembed" or address.parameter not in EMBEDDINGS:
            by_parameter.setdefault(address.parameter, []).append(address)
    for name in names:
        addresses = tuple(by_parameter.get(name, ()))
        yield _change(name, ours, theirs, addresses, rows if _is_vocabulary(name) else None)


def vocabularies(pair: Pair | StoredPair) -> tuple[Vocabulary | None, Vocabulary | None]:
    """The reference's and the candidate's."""
    return _vocabulary(pair.reference), _vocabulary(pair.candidate)


class _Named:
    """Tensors by canonical name; a head that is tied to the embedding is there too."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self.stored = {c: name for name in tensors.headers if (c := canonical_name(name))}
        self.headers: dict[str, Header] = {c: tensors.headers[name] for c, name in self.stored.items()}
        self._tied: str | None = None
        embedding = next((name for name in EMBEDDINGS if name in self.headers), None)
        if embedding is None:
            return
        head = next((n for n in UNEMBEDDINGS if n in self.headers), None)
        if head is None or (
            self.headers[head] == self.headers[embedding] and self.read(head).equals(self.read(embedding))
        ):
            self._tied = head or UNEMBEDDINGS[embedding == "embed_in.weight"]
            self.stored[self._tied] = self.stored[embedding]
            self.headers[self._tied] = self.headers[embedding]

    def is_tied(self, name: str) -> bool:
        """Whether this is the embedding under the head's name."""
        return name == self._tied

    def read(self, name: str) -> StoredTensor:
        """One tensor."""
        return self._tensors.read(self.stored[name])


class _Adapted:
    """A candidate that is an adapter on the reference's own base."""

    def __init__(self, base: _Named, adapter: AdaptedTensors) -> None:
        self._base, self.adapter = base, adapter
        self.headers = adapter.headers
        self.stored = base.stored
        self.touched = set(adapter.low_rank) | set(adapter.replaced)

    def is_tied(self, name: str) -> bool:
        """Tied in the base and left alone."""
        return self._base.is_tied(name) and name not in self.touched

    def read(self, name: str) -> StoredTensor:
        """One tensor."""
        return self.adapter.read(name)


def _candidate(pair: Pair | StoredPair, ours: _Named) -> _Named | _Adapted:
    reference, candidate = pair.reference, pair.candidate
    same_base = reference.folder is not None and candidate.folder == reference.folder
    if same_base and _adapter(reference) is None and _adapter(candidate) is not None:
        plain = read_adapter(_adapter(candidate), ours, _transposed(reference.config, ours.headers))
        if plain is not None:
            return _Adapted(ours, plain)
    return _Named(_tensors(candidate))


def _tensors(model: Model) -> Tensors:
    """From the folder, where there is one: stored dtypes, and nothing of the model in memory."""
    switched_on = _adapter(model) is not None or getattr(model, "adapter_on", False)
    if not switched_on:
        return MemoryTensors(model.parameters()) if model.folder is None else FolderTensors(model.folder)  # type: ignore[union-attr]
    folder = _adapter(model)
    if folder is not None and model.folder is not None:
        base = _Named(FolderTensors(model.folder))
        plain = read_adapter(folder, base, _transposed(model.config, base.headers))
        if plain is not None:
            return plain
    return MergedTensors(_loaded(model))


def _loaded(model: Model) -> LanguageModel:
    if not isinstance(model, StoredModel):
        return model
    from radiograph.models._loading import load

    return load(ModelRef(str(model.folder), str(model.adapter_folder)))


def _change(
    name: str, ours: _Named, theirs: _Named | _Adapted, addresses: tuple[WeightAddress, ...], rows: int | None
) -> Change:
    first, second = ours.headers.get(name), theirs.headers.get(name)
    header = first or second
    assert header is not None
    shape = _trimmed(name, header, rows)
    spare = header.shape[0] - shape[0] if shape else 0
    parameter = (ours if first else theirs).stored.get(name, name)
    if first is None or second is None:
        return Change(parameter, shape, "missing" if first else "added", addresses, spare_rows=spare)
    if _trimmed(name, second, rows) != shape:
        return Change(parameter, shape, "resized", addresses, spare_rows=spare)
    reference = ours.read(name).head(shape[0]) if spare else ours.read(name)
    delta = _delta(name, reference, theirs)
    status: Status = "equal" if delta is None else "changed"
    return Change(parameter, shape, status, addresses, reference, delta, spare)


def _delta(name: str, reference: StoredTensor, theirs: _Named | _Adapted) -> DenseDelta | LowRank | None:
    rows = reference.shape[0] if reference.shape else 0
    if isinstance(theirs, _Adapted):
        if name in theirs.adapter.low_rank and name not in theirs.adapter.replaced:
            factors = theirs.adapter.low_rank[name]
            factors = factors if factors.transposed else factors.head(rows)
            return None if factors.is_zero else factors
        if name not in theirs.touched:
            return None
    candidate = theirs.read(name)
    candidate = candidate.head(rows) if candidate.shape != reference.shape else candidate
    if candidate.equals(reference):
        return None
    if not (candidate.is_float and reference.is_float):
        raise not_numbers(name, reference.dtype if candidate.is_float else candidate.dtype)
    return DenseDelta(reference, candidate)


def _adapter(model: Model) -> Any:
    return model.adapter_folder if getattr(model, "adapter_on", True) else None


def _transposed(config: Mapping[str, Any], headers: Mapping[str, Header]) -> frozenset[str]:
    shapes = {name: header.shape for name, header in headers.items()}
    return frozenset(a.parameter for a in weight_addresses(config, shapes).values() if a.transposed)


def _vocabulary(model: Model) -> Vocabulary | None:
    if isinstance(model, StoredModel):
        return model.vocabulary
    return None if model.tokenizer is None else Vocabulary.of(model.tokenizer)


def _token_rows(pair: Pair | StoredPair) -> int | None:
    """Rows that both tokenizers reach; None where that is not one number."""
    sizes = {None if v is None else v.size for v in vocabularies(pair)}
    return sizes.pop() if len(sizes) == 1 else None


def _is_vocabulary(name: str) -> bool:
    return name in EMBEDDINGS or name in UNEMBEDDINGS


def _trimmed(name: str, header: Header, rows: int | None) -> tuple[int, ...]:
    if rows is None or not _is_vocabulary(name) or not header.shape:
        return header.shape
    return (min(rows, header.shape[0]), *header.shape[1:])
