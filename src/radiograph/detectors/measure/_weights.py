"""How the weights changed, address by address, and which tokens' rows moved.

1. every tensor of both models, one at a time (`models.changes`); fused matrices are split by weight address
2. per matrix: size, rank and shape of the change (`numerics.spectra`), and how far its leading directions lie from the
   64 leading ones of the matrix; vectors (norms, biases) and tensors of more dimensions: size alone
3. rows of embedding and unembedding: norm of each row's change, and its robust z among all rows
4. over all: sqrt(Σ‖Δ‖²)/sqrt(Σ‖W‖²) of the matrices that both models have, the largest top share, the largest row z
Equal tensors give exactly 0. Needs no forward pass. Refuses a value that is not finite, with its tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Progress, Silent, UserError
from radiograph.evidence import MatrixChange, TokenMove, WeightsSummary
from radiograph.models import (
    Change,
    DenseDelta,
    LowRank,
    StoredPair,
    StoredTensor,
    Vocabulary,
    WeightAddress,
    changes,
    vocabularies,
)
from radiograph.numerics import (
    INTRUDERS,
    change_statistics,
    intruder_cosines,
    low_rank_spectrum,
    robust_z,
    row_norms,
    squared_norm,
    streamed_spectrum,
)

if TYPE_CHECKING:
    from radiograph.models import Pair

_PATHS = {"low_rank": "thin", "dense": "dense", "randomised": "randomised"}
_OWN_DENSE_LIMIT = 512
"""Above it the matrix's own 64 leading directions come from the range finder: the change decides, not its backdrop."""
_NO_SPECTRUM: dict[str, Any] = {
    **dict.fromkeys(("spectral", "top_share", "stable_rank", "effective_rank"), 0.0),
    **dict.fromkeys(("rank_90", "rank_99", "numerical_rank"), 0),
}
_LAYER = re.compile(r"\.(\d+)\.")
_NORM = re.compile(r"norm|(?:^|\.)ln_")


def measure_weights(
    pair: Pair | StoredPair, *, top: int = 20, seed: int = 0, progress: Progress | None = None
) -> WeightsSummary:
    """Compare all weights of two models, loaded or on disk.

    Args:
        pair: reference and candidate.
        top: tokens listed per embedding.
        seed: of the randomised factorisation.
        progress: told tensor by tensor.

    Raises:
        UserError: a value that is not finite, or whatever `models.changes` refuses.
    """
    ours, theirs = vocabularies(pair)
    same_tokens = None not in (ours, theirs) and ours.agrees(theirs)  # type: ignore[union-attr,arg-type]
    matrices: list[MatrixChange] = []
    moves: list[TokenMove] = []
    outlier: float | None = None
    spare = n_tensors = n_changed = 0
    with (progress or Silent()).task("comparing weights") as task:
        for change in changes(pair):
            n_tensors += 1
            n_changed += change.status != "equal"
            spare = max(spare, change.spare_rows)
            task.note(change.parameter)
            with _naming(change.parameter):
                matrices += _describe(change, seed)
                if same_tokens or ours is None:
                    for address, z, moved in _rows(change):
                        moves += _moves(address, z, moved, ours, top)
                        outlier = float(z.max(initial=0.0)) if address == "embed" else outlier
            task.advance()
    return WeightsSummary(
        n_tensors=n_tensors,
        n_changed=n_changed,
        relative_norm=relative_norm(matrices),
        top_share=top_share(matrices),
        embed_outlier=outlier,
        spare_rows=spare,
        notes=_notes(matrices, outlier, same_tokens or ours is None),
        matrices=tuple(matrices),
        tokens=tuple(moves),
    )


def relative_norm(matrices: Sequence[MatrixChange]) -> float | None:
    """sqrt(Σ‖Δ‖²)/sqrt(Σ‖W‖²) over the matrices that both models have; vectors do not count."""
    shared = [m for m in matrices if len(m.shape) > 1 and m.norm is not None and m.reference_norm is not None]
    own = sum((m.reference_norm or 0.0) ** 2 for m in shared)
    return (sum((m.norm or 0.0) ** 2 for m in shared) / own) ** 0.5 if own > 0 else None


def top_share(matrices: Iterable[MatrixChange]) -> float | None:
    """Largest share of one direction in a matrix's change; 0 if none changed, None if no matrix is shared."""
    return max((m.top_share for m in matrices if m.top_share is not None), default=None)


def _describe(change: Change, seed: int) -> Iterator[MatrixChange]:
    """One record per address of the tensor, or one for the whole of it."""
    if change.addresses:
        for address in change.addresses:
            kind, _, layer = address.address.partition(".")
            base = {"address": address.address, "kind": kind, "layer": int(layer) if layer else None}
            yield _record(change, {**base, "shape": address.shape}, address, seed)
        return
    layer = _LAYER.search(change.parameter)
    base = {"address": change.parameter, "kind": _kind(change), "layer": int(layer[1]) if layer else None}
    yield _record(change, {**base, "shape": change.shape}, None, seed)


def _record(change: Change, base: dict[str, Any], address: WeightAddress | None, seed: int) -> MatrixChange:
    base |= {"parameter": change.parameter, "status": change.status}
    if change.reference is None or not change.reference.is_float:
        return MatrixChange(**base)
    reference = change.reference.flat() if address is None else change.reference.at(address)
    base["reference_norm"] = own = squared_norm(reference) ** 0.5
    is_matrix = len(change.shape) == 2
    if change.delta is None:
        none = {"norm": 0.0, "relative": 0.0 if own > 0 else None, "path": "equal"}
        return MatrixChange(**base, **none, **(_NO_SPECTRUM if is_matrix else {}))
    delta = change.delta.flat() if address is None else change.delta.at(address)
    if not is_matrix:
        norm = squared_norm(delta) ** 0.5
        return MatrixChange(**base, norm=norm, relative=norm / own if own > 0 else None, path="vector")
    return MatrixChange(**base, **_spectral(reference, delta, own, seed))


def _spectral(reference: StoredTensor, delta: DenseDelta | LowRank, own: float, seed: int) -> dict[str, Any]:
    if isinstance(delta, LowRank):
        change = low_rank_spectrum(delta.b, delta.a, delta.scale)
    else:
        change = streamed_spectrum(delta, vectors=INTRUDERS, seed=seed)
    found = change_statistics(change, own, eps=delta.eps)
    used = streamed_spectrum(reference, dense_limit=_OWN_DENSE_LIMIT, seed=seed)
    intruders = intruder_cosines(change, used, seed=seed)
    return {
        "norm": found.frobenius,
        "relative": found.relative,
        "spectral": found.spectral,
        "top_share": found.top_share,
        "stable_rank": found.stable_rank,
        "effective_rank": found.effective_rank,
        "rank_90": found.rank_90,
        "rank_99": found.rank_99,
        "numerical_rank": found.numerical_rank,
        "intruder_cosine": None if intruders is None else min(1.0, intruders.largest),
        "intruder_chance": None if intruders is None else intruders.chance,
        "missed_energy": found.missed_energy if found.route == "randomised" else None,
        "path": _PATHS[found.route],
    }


def _rows(change: Change) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(embed or unembed, robust z of each row's change, its norm); a tied matrix once."""
    address = next((a for a in change.addresses if a.address in ("embed", "unembed")), None)
    if address is None or change.reference is None:
        return
    if change.delta is None:
        moved = np.zeros(address.shape[0])
    else:
        moved = row_norms(change.delta.at(address))
    yield address.address, robust_z(moved), moved


def _moves(matrix: str, z: np.ndarray, moved: np.ndarray, vocabulary: Vocabulary | None, top: int) -> list[TokenMove]:
    ranked = np.argsort(-moved, kind="stable")[:top]
    return [
        TokenMove.model_validate(
            {
                "token_id": int(i),
                "token": vocabulary.show(int(i)) if vocabulary is not None and i < vocabulary.size else "",
                "moved": float(moved[i]),
                "z": float(z[i]),
                "matrix": matrix,
            }
        )
        for i in ranked
        if moved[i] > 0
    ]


def _notes(matrices: Sequence[MatrixChange], outlier: float | None, same_tokens: bool) -> tuple[str, ...]:
    notes: list[str] = []
    if outlier is None:
        embedding = next((m for m in matrices if m.address == "embed"), None)
        if not same_tokens:
            notes.append("tokenisers_differ: rows of the embedding mean different tokens, so they are not compared")
        elif embedding is None:
            notes.append("no_embedding: the architecture table does not name one in these models")
        else:
            notes.append(f"embedding_{embedding.status}: its rows cannot be compared")
    if not any(len(m.shape) > 1 and m.reference_norm is not None for m in matrices):
        notes.append("no_shared_matrix: the models have no matrix of equal name and shape")
    return tuple(notes)


def _kind(change: Change) -> str:
    if len(change.shape) != 1:
        return "other"
    if change.parameter.endswith(".bias"):
        return "bias"
    return "norm" if _NORM.search(change.parameter) else "other"


@contextmanager
def _naming(parameter: str) -> Iterator[None]:
    """Say which tensor holds a value that is not finite."""
    try:
        yield
    except UserError as error:
        if error.code != "not_finite":
            raise
        raise UserError(
            f"weight {parameter} is not finite",
            expected=error.expected,
            got=error.got,
            where=error.where,
            code="non_finite",
        ) from error
