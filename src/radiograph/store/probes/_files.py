"""`radiograph.probe/1`: `NAME.safetensors`, whose header holds the card, and the card again as `NAME.json` for people.

    w [d]  whiten [d, k]  mean [d]   float32       threshold []   float64
    support_quantiles [k, 1001]      squared distances of calibration rows: all, then by kind of text; last, lengths
    calibration_negatives [1001]     quantiles of the scores that the threshold is one of
    test_scores [n, 3]               score, kind (0 negative, 1 positive, 2 near miss, 3 clean text), group

`weights_sha256` of the card is that of the tensors. A card without the hash of its data, its number of rows or its
false positive rate, a zero or constant `w`, and a hash or a card that does not fit the tensors make a placeholder: it
measures nothing (`placeholder_probe`). A foreign vector is no placeholder and has no card.

Refuses tensors that are not finite, other tensors than these, pickles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError, Refusal, UserError, visible
from radiograph.evidence import canonical_json
from radiograph.evidence.probes.probe import ProbeCard, problems_of
from radiograph.store._atomic import write_whole
from radiograph.store.opened import Opened

SUFFIX: Final = ".safetensors"
CARD_BYTES: Final = 2**20
WEIGHT_BYTES: Final = 512 * 2**20
TENSORS: Final = {
    "w": 1,
    "threshold": 0,
    "mean": 1,
    "whiten": 2,
    "support_quantiles": 2,
    "calibration_negatives": 1,
    "test_scores": 2,
}
"""Name to number of axes."""
_KEY = "radiograph"


@dataclass(frozen=True, eq=False)
class StoredProbe:
    """A probe as it lies in a file."""

    card: ProbeCard
    tensors: dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ForeignProbe:
    """A vector of others, and the threshold that came with it."""

    name: str
    w: NDArray[np.float32]
    threshold: float | None
    sha256: str


def weights_sha256(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Over name, type, shape and bytes of every tensor."""
    total = hashlib.sha256(b"radiograph.probe/1")
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        total.update(json.dumps([name, array.dtype.str, list(np.shape(tensors[name]))]).encode())
        total.update(array.tobytes())
    return total.hexdigest()


def probe_bytes(card: ProbeCard, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The file's bytes; equal probes give equal bytes."""
    from safetensors.numpy import save

    assert card.weights_sha256 == weights_sha256(tensors)
    arrays = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in sorted(tensors.items())}
    return save(arrays, metadata={_KEY: canonical_json(card).decode()})


def card_bytes(card: ProbeCard) -> bytes:
    """The card for people."""
    return (json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()


def write_probe(folder: Path, card: ProbeCard, tensors: Mapping[str, NDArray[Any]]) -> str:
    """Both files into a folder; returns the SHA-256 of the first."""
    data, beside = probe_bytes(card, tensors), card_bytes(card)
    sha256 = write_whole(folder / f"{card.name}{SUFFIX}", (data,), len(data))
    write_whole(folder / f"{card.name}.json", (beside,), len(beside))
    return sha256


def read_probe(file: Opened, beside: bytes | None = None) -> StoredProbe:
    """A probe from its open file; `beside` is what stands in `NAME.json`.

    Raises:
        FormatError: no probe file. Refusal: `placeholder_probe`.
    """
    tensors, about = _tensors(file)
    if _KEY not in about:
        raise FormatError(
            f"{visible(file.name)} is no probe of ours",
            expected=ProbeCard.SCHEMA,
            got=", ".join(sorted(tensors)),
            fix="a vector of others is given with --weights FILE, and is uncalibrated",
        )
    document = _document(about[_KEY].encode(), file.name)
    lacking = problems_of(document)
    if lacking:
        raise placeholder(file.name, lacking[0])
    card = ProbeCard.read(document, where=visible(file.name))
    if beside is not None and ProbeCard.read(_document(beside, f"{card.name}.json"), where=visible(file.name)) != card:
        raise placeholder(file.name, "the card beside it says something else")
    if {name: array.ndim for name, array in tensors.items()} != TENSORS:
        raise FormatError(
            f"{visible(file.name)} holds other tensors than a probe",
            expected=", ".join(TENSORS),
            got=", ".join(f"{name}{list(array.shape)}" for name, array in sorted(tensors.items())),
        )
    if card.weights_sha256 != weights_sha256(tensors):
        raise placeholder(file.name, "its numbers are not those that its card is of")
    _check_direction(tensors["w"], file.name)
    _check_shapes(card, tensors, file.name)
    return StoredProbe(card, tensors)


def read_foreign(file: Opened) -> ForeignProbe:
    """`.npy` a vector; `.npz` `w` and `threshold`; `.safetensors` `W_probe` and `threshold`.

    Raises:
        FormatError: something else. Refusal: `placeholder_probe`, no direction in it.
    """
    if file.size > WEIGHT_BYTES:
        raise FormatError("more than a probe can hold", where=visible(file.name), expected=f"{WEIGHT_BYTES:,} bytes")
    match file.suffix:
        case ".npy":
            found = {"w": _loaded(file)}
        case ".npz":
            found = dict(_loaded(file))
        case ".safetensors":
            found, _ = _tensors(file)
            found = {"w" if name == "W_probe" else name: array for name, array in found.items()}
        case other:
            raise FormatError(
                "no weights of a probe", where=visible(file.name), expected=".npy, .npz, .safetensors", got=other
            )
    if "w" not in found:
        raise FormatError(
            "no direction in it",
            where=visible(file.name),
            expected="w, or W_probe in safetensors",
            got=", ".join(found),
        )
    w = np.asarray(found["w"])
    if w.dtype.kind != "f" or max(w.shape, default=0) != w.size or not np.isfinite(w).all():
        raise FormatError("w is no vector of finite floats", where=visible(file.name), got=f"{w.dtype} {list(w.shape)}")
    _check_direction(w.ravel(), file.name)
    threshold = found.get("threshold")
    return ForeignProbe(
        Path(file.name).stem,
        w.ravel().astype(np.float32),
        None if threshold is None else float(np.asarray(threshold).ravel()[0]),
        file.sha256,
    )


def placeholder(name: str, why: str) -> Refusal:
    """A file that looks like a probe and measures nothing."""
    return Refusal(
        "placeholder_probe",
        f"{visible(name)} is a placeholder, no probe: {why}",
        expected="a card with the hash of its data, n and FPR, of exactly these numbers",
        fix="build one: radiograph probe build MODEL --contrast SOURCE",
    )


def _check_direction(w: NDArray[Any], name: str) -> None:
    if not np.isfinite(w).all() or len(w) < 2 or np.ptp(w) == 0:
        raise placeholder(name, "its direction is zero, constant or not finite")


def _check_shapes(card: ProbeCard, tensors: Mapping[str, NDArray[Any]], name: str) -> None:
    d = card.d
    right = (
        tensors["w"].shape == (d,)
        and tensors["mean"].shape == (d,)
        and tensors["whiten"].shape[0] == d
        and tensors["support_quantiles"].shape[0] >= 3
        and tensors["support_quantiles"].shape[1] == 1001
        and tensors["test_scores"].shape[1] == 3
    )
    finite = all(np.isfinite(array).all() for array in tensors.values())
    if not right or not finite:
        raise FormatError(
            f"the tensors of {visible(name)} do not fit its card",
            expected=f"finite numbers of width {d}",
            got=", ".join(f"{key}{list(array.shape)}" for key, array in sorted(tensors.items())),
        )


def _tensors(file: Opened) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if file.size > WEIGHT_BYTES:
        raise FormatError("more than a probe can hold", where=visible(file.name), expected=f"{WEIGHT_BYTES:,} bytes")
    try:
        with safe_open(file.again, framework="numpy") as handle:
            found = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (no mapping)
            return found, dict(handle.metadata() or {})
    except SafetensorError as error:
        raise FormatError(
            f"{visible(file.name)} is no safetensors file", where=visible(file.name), got=str(error)
        ) from error


def _loaded(file: Opened) -> Any:
    try:
        return np.load(file.handle, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError("no array can be read", where=visible(file.name), got=str(error)) from error


def _document(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > CARD_BYTES:
        raise FormatError("a card of more than 1 MiB", where=visible(name))
    try:
        found = json.loads(data)
    except ValueError as error:
        raise FormatError("the card is no JSON", where=visible(name), got=str(error)) from error
    if not isinstance(found, dict):
        raise FormatError("the card is no object", where=visible(name), got=type(found).__name__)
    return found


def find_card(path: Path) -> Path | None:
    """Where the card of a probe file lies, if it is there."""
    beside = path.with_suffix(".json")
    return beside if beside.is_file() else None


def weights_path(path: Path) -> Path:
    """The weights that a person names by either of the two files.

    Raises:
        UserError: neither.
    """
    if path.suffix == ".json" and path.with_suffix(SUFFIX).is_file():
        return path.with_suffix(SUFFIX)
    if path.suffix != SUFFIX:
        raise UserError(
            f"{visible(path.name)} is no probe file", expected=f"NAME{SUFFIX}", got=path.suffix or "no suffix"
        )
    return path
