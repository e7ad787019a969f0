"""`radiograph.decomposition/1`: a folder of two files, loaded only if every part of it is accounted for.

    components.safetensors   V/WEIGHT [input, component], U/WEIGHT [component, output], importance/…; F16, F32 or F64
    decomposition.json       target's hash, weights with sizes, importance, losses, data, metrics, own hash

1. On save the gauge is fixed: ‖V_c‖ = 1, and where a batch was observed mean h >= 0 where the component fires; scale
   and sign go into U and, for `scalar`, into the importance net   2. the hash is over the tensors as stored and over
   what says how they are used   3. factors may be stored as F16: Δ absorbs the rounding; on load they are F32
Refuses: a missing or unknown tensor, another shape or type, a value that is not finite, another hash.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from radiograph.core import FormatError, UserError
from radiograph.decompose._decomposition import Decomposition, assembled
from radiograph.decompose.importance import Importance, Size, kind_of, new, settled
from radiograph.evidence import document_sha256, pretty_json
from radiograph.evidence.decomposition import (
    DecomposedTarget,
    DecomposedWeight,
    DecompositionDocument,
    ImportanceRecord,
    TrainedBy,
)
from radiograph.models.masked import Factors, Target

TENSORS: Final = "components.safetensors"
DOCUMENT: Final = "decomposition.json"
Stored = Literal["F16", "F32", "F64"]
_TYPES: Final[Mapping[str, torch.dtype]] = {"F16": torch.float16, "F32": torch.float32, "F64": torch.float64}


def make(
    target: Target,
    factors: Mapping[str, Factors],
    importance: Importance,
    *,
    squash: str = "leaky_hard",
    trained: TrainedBy | None = None,
    metrics: Mapping[str, Any] | None = None,
    signs: Mapping[str, Tensor] | None = None,
    stored: Stored = "F32",
) -> Decomposition:
    """A decomposition in its gauge, as it will be after it was saved and loaded.

    Args:
        target: the network.
        factors: V and U of each weight.
        importance: judges from the target's activations.
        squash: name of the two maps.
        trained: what made it.
        metrics: what was measured.
        signs: per weight, −1 for components whose mean activation where they fire is negative.
        stored: type of the tensors in the file.
    """
    fixed, judge = _gauge(factors, importance, signs or {})
    cast = _TYPES[stored]
    work = torch.float64 if stored == "F64" else torch.float32
    fixed = {
        weight: Factors(f.reads.detach().to(cast).to(work), f.writes.detach().to(cast).to(work))
        for weight, f in fixed.items()
    }
    judge = Importance(
        judge.name, judge.options, {n: t.detach().to(cast).to(work) for n, t in judge.tensors.items()}, judge.kind
    )
    places = {weight: target.place(weight) for weight in fixed}
    weights = tuple(
        DecomposedWeight(address=weight, kind=p.kind, inputs=p.inputs, outputs=p.outputs, components=fixed[weight].size)
        for weight, p in places.items()
    )
    document = DecompositionDocument(
        target=DecomposedTarget(reference=target.name, tensors_sha256=target.sha256, tokens=target.tokens),
        weights=weights,
        importance=ImportanceRecord(kind=judge.name, options=judge.options, squash=squash),
        stored=stored,
        sha256="",
        trained=trained or TrainedBy(how="constructed"),
        metrics=dict(metrics or {}),
    )
    tensors = _tensors(fixed, judge, cast)
    return assembled(fixed, judge, document.model_copy(update={"sha256": _sha256(tensors, document)}))


def save(decomposition: Decomposition, folder: Path) -> None:
    """Write a decomposition to a new folder: whole, or not at all.

    Raises:
        UserError: the folder exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(
            "a decomposition is written to a new folder", got=f"{folder} is not empty", fix="choose another"
        )
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = _tensors(decomposition.factors, decomposition.importance, _TYPES[decomposition.document.stored])
    save_file(tensors, partial / TENSORS, metadata={"format": "pt"})
    (partial / DOCUMENT).write_text(pretty_json(decomposition.document), encoding="utf-8")
    partial.replace(folder)


def load(folder: Path, device: str | torch.device = "cpu") -> Decomposition:
    """Read and validate a decomposition that `save` wrote; `folder` may be the run that made it.

    Raises:
        UserError: none there. FormatError: what is there is not one, in part or in whole, or not what its hash says.
    """
    folder = folder / "decomposition" if (folder / "decomposition" / DOCUMENT).is_file() else folder
    for name in (DOCUMENT, TENSORS):
        if not (folder / name).is_file():
            raise UserError(f"no decomposition in {folder}", expected=f"{DOCUMENT} and {TENSORS}", got=f"no {name}")
    document = read_document(folder / DOCUMENT)
    tensors = _read(folder / TENSORS, document.stored)
    _expect(tensors, document, folder / TENSORS)
    if _sha256(tensors, document) != document.sha256:
        raise FormatError("a decomposition is not what its hash says", where=str(folder))
    work = torch.float64 if document.stored == "F64" else torch.float32
    wide = {name: tensor.to(device, work) for name, tensor in tensors.items()}
    factors = {w.address: Factors(wide[f"V/{w.address}"], wide[f"U/{w.address}"]) for w in document.weights}
    own = document.importance
    nets = {n.removeprefix("importance/"): t for n, t in wide.items() if n.startswith("importance/")}
    importance = Importance(own.kind, settled(own.kind, own.options), nets, kind_of(own.kind))
    return assembled(factors, importance, document, str(folder))


def read_document(path: Path) -> DecompositionDocument:
    """`decomposition.json`.

    Raises:
        FormatError: not JSON, or not such a document.
    """
    try:
        content = json.loads(path.read_bytes().decode())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError("not JSON", where=str(path), got=str(error)) from error
    if not isinstance(content, dict):
        raise FormatError("not a decomposition", where=str(path), expected="an object", got=type(content).__name__)
    return DecompositionDocument.read(content, where=str(path))


def _gauge(
    factors: Mapping[str, Factors], importance: Importance, signs: Mapping[str, Tensor]
) -> tuple[dict[str, Factors], Importance]:
    fixed: dict[str, Factors] = {}
    nets = {name: tensor.detach().clone() for name, tensor in importance.tensors.items()}
    rescaled = getattr(importance.kind, "rescaled", None)
    for weight, own in factors.items():
        reads, writes = own.reads.detach(), own.writes.detach()
        norms = reads.norm(dim=0)
        scale = torch.where(norms > 0, norms, torch.ones_like(norms))
        if weight in signs:
            scale = scale * signs[weight].to(scale)
        fixed[weight] = Factors(reads / scale, writes * scale[:, None])
        if rescaled is not None:
            rescaled(nets, weight, scale)
    return fixed, Importance(importance.name, importance.options, nets, importance.kind)


def _tensors(factors: Mapping[str, Factors], importance: Importance, cast: torch.dtype) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for weight, own in factors.items():
        found[f"V/{weight}"], found[f"U/{weight}"] = own.reads, own.writes
    found |= {f"importance/{name}": tensor for name, tensor in importance.tensors.items()}
    return {name: t.detach().to("cpu", cast).contiguous() for name, t in sorted(found.items())}


def _sha256(tensors: Mapping[str, Tensor], document: DecompositionDocument) -> str:
    """Hash of the tensors as stored, and of everything that says how they are used."""
    lines = [
        [name, list(t.shape), hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest()]
        for name, t in sorted(tensors.items())
    ]
    used = document.model_dump(mode="json", include={"target", "weights", "importance", "stored"})
    used["target"] = used["target"]["tensors_sha256"]
    return document_sha256([used, lines])


def _read(path: Path, stored: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as handle:
            names = list(handle.keys())
            for name in names:
                found = handle.get_slice(name).get_dtype()
                if found != stored:
                    raise FormatError(f"type of {name}", where=str(path), expected=stored, got=found)
            return {name: handle.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FormatError("not a safetensors file", where=str(path), got=str(error)) from error


def _expect(tensors: Mapping[str, Tensor], document: DecompositionDocument, path: Path) -> None:
    own = document.importance
    sizes = {w.address: Size(w.outputs if w.kind == "lookup" else w.inputs, w.components) for w in document.weights}
    fresh = new(own.kind, settled(own.kind, own.options), sizes, torch.Generator().manual_seed(0), {})
    expected = {f"importance/{name}": tuple(t.shape) for name, t in fresh.tensors.items()}
    for w in document.weights:
        expected[f"V/{w.address}"] = (w.inputs, w.components)
        expected[f"U/{w.address}"] = (w.components, w.outputs)
    for word, odd in (("missing", expected.keys() - tensors.keys()), ("unknown", tensors.keys() - expected.keys())):
        if odd:
            raise FormatError(f"{word} tensor {', '.join(sorted(odd)[:5])}", where=str(path))
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != expected[name]:
            raise FormatError(
                f"shape of {name}", where=str(path), expected=str(expected[name]), got=str(tuple(tensor.shape))
            )
        bad = (~torch.isfinite(tensor)).nonzero()
        if len(bad):
            raise FormatError(f"{name} is not finite", where=f"{path}, index {bad[0].tolist()}")
