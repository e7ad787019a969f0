"""What a reader of stored activations gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError, Site, UserError, canonical, visible
from radiograph.core.shapes import Float

COLUMNS: Final = ("token", "prompt", "position")
"""What may stand beside a row: token id, prompt (a number or a text), place in the prompt."""

LARGEST: Final = float(np.finfo(np.float32).max)

Blocks = Callable[[int], Iterator[Float[np.ndarray, "row width"]]]
"""Rows to a block → the rows in order; every block but the last holds exactly so many, as float32 or float64."""


class Found(NamedTuple):
    """What the reader of a format finds."""

    shape: tuple[int, int]
    dtype: str
    blocks: Blocks
    columns: Mapping[str, NDArray[Any]] = {}
    about: Mapping[str, Any] = {}
    """Site, hashes and whatever else stands beside the rows."""


@dataclass(frozen=True, eq=False)
class ActivationStore:
    """Rows of one site, read in order, any number of times."""

    name: str
    """As evidence calls it: a portable label, with `#SOURCE` where there are several."""
    rows: int
    width: int
    dtype: str
    """As stored: float16, bfloat16, float32, float64."""
    blocks: Blocks
    site: str | None = None
    model_sha256: str | None = None
    tokenizer_sha256: str | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Those of `COLUMNS` that the store has, one value a row."""
    sha256: str = ""
    """Of the file; of a folder that of its index, which holds those of its shards."""

    def chunks(self, rows: int = 4096) -> Iterator[Float[np.ndarray, "row width"]]:
        """The rows in order, `rows` at a time, the last chunk shorter; float32, float64 only where stored so.

        Raises:
            UserError: `not_finite`, or `too_large` for float32, with file, row and column. FormatError: the file is not
                what its head says.
        """
        start = 0
        for block in self.blocks(rows):
            # The sum is finite only if every term is, save for overflow: the exact search runs only then.
            with np.errstate(over="ignore", invalid="ignore"):
                wide = block.dtype.itemsize == 8
                suspicious = not (max(block.max(), -block.min()) <= LARGEST if wide else np.isfinite(block.sum()))
            if suspicious:
                _require_finite(block, start, self.name)
            yield block
            start += len(block)
        if start != self.rows:
            raise FormatError("rows are missing", where=self.name, expected=str(self.rows), got=str(start))

    def named(self, name: str) -> ActivationStore:
        """The same store under another name."""
        return replace(self, name=name)


def _require_finite(block: NDArray[Any], start: int, name: str) -> None:
    bad = ~(np.abs(block) <= LARGEST)
    if not bad.any():
        return
    row, column = (int(i) for i in np.argwhere(bad)[0])
    if np.isfinite(block[row, column]):
        raise UserError(
            "activations hold a value that is too large to be computed with",
            where=f"{visible(name)}: row {start + row}, column {column}",
            expected=f"at most {LARGEST:.3g}, the largest number of float32",
            got=str(block[row, column]),
            fix="find out how it came there; no model has such activations",
            code="too_large",
        )
    raise UserError(
        "activations hold a value that is not finite",
        where=f"{visible(name)}: row {start + row}, column {column}",
        expected="finite numbers",
        got=str(block[row, column]),
        fix="find out how it came there; an activation that overflowed is no activation",
        code="not_finite",
    )


def regrouped(parts: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """The rows of some parts in blocks of exactly `rows`, the last one shorter."""
    held: list[NDArray[Any]] = []
    count = 0
    for part in parts:
        while len(part):
            taken = part[: rows - count]
            held.append(taken)
            count += len(taken)
            part = part[len(taken) :]
            if count == rows:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                held, count = [], 0
    if count:
        yield held[0] if len(held) == 1 else np.concatenate(held)


def check_shape(shape: tuple[int, ...], where: str) -> tuple[int, int]:
    """Hold the shape of stored activations to [rows, width].

    Raises:
        FormatError: another number of axes, or nothing in it.
    """
    if len(shape) != 2:
        raise FormatError("activations are a table", where=where, expected="[rows, width]", got=str(list(shape)))
    if 0 in shape:
        raise FormatError("there are no activations", where=where, expected="rows", got=str(list(shape)))
    return int(shape[0]), int(shape[1])


def columns_of(found: Mapping[str, NDArray[Any]], rows: int, where: str) -> dict[str, NDArray[Any]]:
    """Those of `COLUMNS`, one value a row.

    Raises:
        FormatError: one has another length or is no list of whole numbers or texts.
    """
    held: dict[str, NDArray[Any]] = {}
    for name in COLUMNS:
        if name not in found:
            continue
        value = np.asarray(found[name])
        plain = value.dtype.kind in "iu" or (name == "prompt" and value.dtype.kind in "US")
        if value.shape != (rows,) or not plain:
            raise FormatError(
                f"the ids {name} do not fit the activations",
                where=f"{where}: {name}",
                expected=f"{rows} whole numbers" + (" or texts" if name == "prompt" else ""),
                got=f"{value.dtype} {list(value.shape)}",
            )
        held[name] = value
    return held


def described(document: Mapping[str, Any], where: str) -> dict[str, str | None]:
    """Site and hashes from what stands beside the rows.

    Raises:
        FormatError: one of them is no text. UserError: no such site.
    """
    found: dict[str, str | None] = {}
    for name in ("site", "model_sha256", "tokenizer_sha256"):
        value = document.get(name)
        if value is not None and not isinstance(value, str):
            raise FormatError(f"{name} is no text", where=where, expected="a text", got=type(value).__name__)
        found[name] = value
    site = found["site"] or _hook(document, where)
    found["site"] = None if site is None else str(Site.parse(canonical(site)))
    return found


def _hook(document: Mapping[str, Any], where: str) -> str | None:
    """The site that `hook` names, or None: a layer alone does not say which of its sites."""
    hook, layer = document.get("hook"), document.get("layer")
    if not isinstance(hook, str | None):
        raise FormatError("hook is no text", where=where, expected="a text", got=type(hook).__name__)
    if isinstance(layer, bool) or not isinstance(layer, int | None):
        raise FormatError("layer is no number", where=where, expected="a whole number", got=str(layer))
    if hook is None:
        return None
    try:
        site = Site.parse(canonical(hook))
    except UserError:
        return None  # the hook of another library, kept nowhere
    if layer is not None and site.layer is not None and site.layer != layer:
        raise FormatError("hook and layer disagree", where=where, expected=f"layer {site.layer}", got=f"layer {layer}")
    return str(site)
