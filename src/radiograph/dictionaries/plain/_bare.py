"""A bare file of tensors: `W_enc`, and whichever of `b_enc`, `W_dec`, `b_dec`, `threshold` there are.

    .safetensors · .npz · .npy (W_enc alone)        --activation relu | topk:K | jumprelu

1. such a file says neither its nonlinearity nor its site: the first must be given   2. [d, F] or [F, d] is told by the
width of the rows; where both are possible `--orientation` decides   3. jumprelu needs `threshold`; without `W_dec`
nothing that the dictionary writes is known   4. a tensor of another name is an error: it could change what codes are
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError, UserError
from radiograph.core.limits import Limits
from radiograph.dictionaries.plain._dictionary import PlainDictionary
from radiograph.store.opened import Opened, Tensors

Open = Callable[[Path, str], Opened]
KEYS: Final = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
SUFFIXES: Final = (".safetensors", ".npz", ".npy")
_SIGMA: Final = re.compile(r"relu|jumprelu|topk:(\d+)")


@dataclass(frozen=True)
class Given:
    """What the file does not say."""

    width: int
    """Of the rows that are read."""
    activation: str | None = None
    orientation: Literal["df", "fd"] | None = None
    """How W_enc is stored."""
    assume: bool = False
    """Take relu where nothing is given, and say so."""
    rows: int | None = None
    """How many there are: where the dictionary reads as many columns, the rows lie transposed."""


def is_bare(path: Path) -> bool:
    """Whether a path could be such a file."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read_bare(file: Opened, given: Given, limits: Limits | None = None) -> PlainDictionary:
    """The dictionary in a file.

    Raises:
        FormatError: not such a file, or tensors that do not fit together. UserError: something that must be given.
    """
    limits = limits or Limits()
    limits.check("dictionary-bytes", file.size, file.name)
    tensors = _tensors(file, limits)
    if "W_enc" not in tensors:
        raise FormatError(
            "no encoder in the file", where=file.name, expected="W_enc", got=", ".join(sorted(tensors)) or "no tensors"
        )
    odd = sorted(set(tensors) - set(KEYS))
    if odd:
        raise FormatError(
            f"a tensor that a bare dictionary does not have: {odd[0]}",
            where=file.name,
            expected=", ".join(KEYS),
            fix="import it: radiograph dictionary import SOURCE, with --format generic --map FILE.yaml if need be",
        )
    check_tensors(tensors, file.name)
    sigma, constants, notes = _sigma(given, "threshold" in tensors, file.name)
    encoder, turned = _encoder(tensors["W_enc"], given, file.name)
    size = len(encoder)
    limits.check("features", size, "features of the dictionary", file.name)
    decoder = _decoder(tensors.get("W_dec"), size, given.width, file.name)
    for name, length in (("b_enc", size), ("threshold", size), ("b_dec", given.width)):
        if name in tensors and tensors[name].reshape(-1).shape != (length,):
            shape = list(tensors[name].shape)
            raise FormatError(f"shape of {name}", where=file.name, expected=f"[{length}]", got=str(shape))
    flat = {name: value.reshape(-1) for name, value in tensors.items() if value.ndim < 2}
    if sigma == "topk" and not 1 <= constants["k"] <= size:
        raise UserError("k of a topk dictionary", expected=f"1 to {size} (its features)", got=str(constants["k"]))
    if sigma == "jumprelu" and (flat["threshold"] < 0).any():
        at = int((flat["threshold"] < 0).argmax())
        raise FormatError(
            "a threshold is negative", where=f"{file.name}: threshold[{at}]", got=f"{flat['threshold'][at]:g}"
        )
    return PlainDictionary(
        encoder=encoder,
        sigma=sigma,
        sha256=file.sha256,
        encoder_bias=flat.get("b_enc"),
        decoder=decoder,
        decoder_bias=flat.get("b_dec"),
        parameters={"threshold": flat["threshold"]} if sigma == "jumprelu" else {},
        constants=constants,
        notes=(*notes, *turned),
    )


def check_tensors(tensors: Mapping[str, NDArray[Any]], where: str) -> None:
    """Stop at the first value that is not finite.

    Raises:
        FormatError: there is one; names tensor, row and column.
    """
    for name, value in tensors.items():
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(value.sum())
        if suspicious and not np.isfinite(value).all():
            at = [int(i) for i in np.argwhere(~np.isfinite(value))[0]]
            raise FormatError(f"{name} is not finite", where=f"{where}: {name}{at}", got=str(value[tuple(at)]))


def _tensors(file: Opened, limits: Limits) -> dict[str, NDArray[Any]]:
    if file.suffix == ".safetensors":
        held = Tensors(file, file.name)
        limits.check("dictionary-tensors", len(held.names), "tensors of the dictionary", file.name)
        return {name: _wide(held.array(name), name, file.name) for name in held.names}
    try:
        with np.errstate(all="ignore"):
            found = np.load(file.handle, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"W_enc": _wide(found, "W_enc", file.name)}
            with found as archive:
                limits.check("dictionary-tensors", len(archive.files), "tensors of the dictionary", file.name)
                sizes = sum(entry.file_size for entry in archive.zip.infolist())
                limits.check("dictionary-bytes", sizes, file.name)
                return {name: _wide(archive[name], name, file.name) for name in archive.files}
    except UserError:
        raise
    except Exception as error:  # a damaged archive fails in any of a dozen ways
        raise FormatError(
            f"not a file of arrays ({file.suffix})", where=file.name, got=str(error).splitlines()[0]
        ) from error


def _wide(value: NDArray[Any], name: str, where: str) -> NDArray[Any]:
    if value.dtype.kind != "f":
        raise FormatError(f"type of {name}", where=where, expected="floats", got=str(value.dtype))
    return value.astype(np.float64 if value.dtype.itemsize == 8 else np.float32, copy=False)


def _sigma(given: Given, threshold: bool, where: str) -> tuple[str, dict[str, int], tuple[str, ...]]:
    if given.activation is None:
        if given.assume and not threshold:
            return "relu", {}, ("relu assumed: the file does not say which nonlinearity it was trained with",)
        raise UserError(
            "the file does not say its nonlinearity",
            where=where,
            expected="relu, topk:K or jumprelu",
            fix=f"give --activation {'jumprelu' if threshold else 'relu'} if that is what it was trained with",
            code="activation_missing",
        )
    match = _SIGMA.fullmatch(given.activation)
    if match is None:
        raise UserError(f"activation {given.activation!r}", expected="relu, topk:K or jumprelu", code="bad_value")
    if given.activation == "jumprelu" and not threshold:
        raise UserError(
            "jumprelu needs a threshold a feature",
            where=where,
            expected="threshold",
            fix="a file with `threshold`, or another --activation",
            code="threshold_missing",
        )
    if given.activation != "jumprelu" and threshold:
        raise UserError(
            f"the file has thresholds, which {given.activation} does not use",
            where=f"{where}: threshold",
            fix="--activation jumprelu",
            code="bad_value",
        )
    return (given.activation.partition(":")[0], {"k": int(match[1])} if match[1] else {}, ())


def _encoder(stored: NDArray[Any], given: Given, where: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """[F, d], and a note where the file has it so: most have the other."""
    if stored.ndim != 2:
        raise FormatError("shape of W_enc", where=where, expected="[d, F]", got=str(list(stored.shape)))
    fits = [how for how, axis in (("df", 0), ("fd", 1)) if stored.shape[axis] == given.width]
    if not fits:
        turned = given.rows is not None and given.rows in stored.shape
        fix = f"are the activations transposed? They have {given.rows} rows, which W_enc would fit" if turned else None
        raise UserError(
            "the dictionary reads rows of another width",
            where=f"{where}: W_enc",
            expected=f"width {given.width}, that of the activations",
            got=f"{list(stored.shape)}",
            fix=fix or "use a dictionary of this width, or rows of another site",
            code="dictionary_mismatch",
        )
    if given.orientation is None and len(fits) == 2:
        raise UserError(
            "W_enc is square: it may be [d, F] or [F, d]",
            where=f"{where}: W_enc",
            expected="--orientation df or fd",
            got=str(list(stored.shape)),
            fix="say how it is stored",
            code="orientation_missing",
        )
    how = given.orientation or fits[0]
    if how not in fits:
        raise UserError(
            f"W_enc is not stored as {list(how)}: transposed?",
            where=f"{where}: W_enc",
            expected=f"width {given.width} on axis {how.index('d')}",
            got=str(list(stored.shape)),
            code="bad_value",
        )
    return (stored.T, ()) if how == "df" else (stored, (f"W_enc is stored as [F, d] {list(stored.shape)}",))


def _decoder(stored: NDArray[Any] | None, size: int, width: int, where: str) -> NDArray[Any] | None:
    if stored is None:
        return None
    if stored.shape == (size, width):
        return stored
    if stored.shape == (width, size):
        return np.ascontiguousarray(stored.T)
    raise FormatError("shape of W_dec", where=where, expected=str([size, width]), got=str(list(stored.shape)))
