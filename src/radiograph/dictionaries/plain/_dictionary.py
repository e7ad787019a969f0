"""A dictionary as arrays: pre-activations, codes and what they write.

    π = (n(x) − c) Eᵀ + b        z = σ(π)        ŷ = n⁻¹(z D + g) + S x

The encoder may be any view [F, d]; products go in blocks of features, so that it is never copied as a whole. Without a
decoder everything that writes is unknown: `decoder` is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float
from radiograph.dictionaries._document import Kind, Normalisation
from radiograph.dictionaries._metadata import Metadata
from radiograph.numerics.dictionaries.sigma import KNOWN, POINTWISE, codes_of

EPSILON: Final = 1e-5
UNIT: Final = 1e-5
"""How far the length of a row of length 1 may be from it in float32."""
COLUMNS: Final = 2048
"""Features of a product at a time."""
ROWS: Final = 32
"""Rows that are encoded whole at a time, where features compete."""


@dataclass(frozen=True, eq=False)
class PlainDictionary:
    """Read whole and checked by whoever builds it."""

    encoder: Float[np.ndarray, "feature width"]
    sigma: str
    sha256: str
    encoder_bias: Float[np.ndarray, " feature"] | None = None
    decoder: Float[np.ndarray, "feature target"] | None = None
    input_bias: Float[np.ndarray, " width"] | None = None
    decoder_bias: Float[np.ndarray, " target"] | None = None
    parameters: Mapping[str, Float[np.ndarray, " feature"]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = "sae"
    sites: tuple[str, ...] = ()
    """Empty: nothing says where it belongs."""
    target: str | None = None
    widths: tuple[int, ...] = ()
    skip: Float[np.ndarray, "target width"] | None = None
    weighted: bool = False
    """Whether features are compared by pre-activation × length of what they write."""
    normalisation: Normalisation = "none"
    denormalise: bool = True
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    """What was assumed in reading it."""
    names: tuple[str, ...] = ()
    """Of directions; else features are known by number."""

    @property
    def size(self) -> int:
        """F."""
        return self.encoder.shape[0]

    @property
    def width(self) -> int:
        """Columns of a row that is read."""
        return self.encoder.shape[1]

    @property
    def pointwise(self) -> bool:
        """Whether a code depends on its own pre-activation alone."""
        return self.sigma in POINTWISE

    @property
    def encodes(self) -> bool:
        """Whether its codes are known here."""
        return self.sigma in KNOWN

    @cached_property
    def norms(self) -> Float[np.ndarray, " feature"]:
        """Length of every decoder row; of a crosscoder the mean of its lengths at each source."""
        assert self.decoder is not None, "asked for only where there is one"
        if self.kind != "crosscoder":
            return _lengths(self.decoder)
        parts = np.split(self.decoder, np.cumsum(self.widths)[:-1], axis=1)
        return np.mean([_lengths(part) for part in parts], axis=0)

    def scaled(self, rows: Float[np.ndarray, "row width"]) -> Float[np.ndarray, "row width"]:
        """n(x) − c."""
        affine = self._affine(rows)
        found = rows if affine is None else (rows - affine[0]) / affine[1]
        return found if self.input_bias is None else found - self.input_bias

    def preactivations(
        self, scaled: Float[np.ndarray, "row width"], block: slice | NDArray[np.integer] = slice(None)
    ) -> Float[np.ndarray, "row feature"]:
        """π of some features; of a gated one what stands before gate and magnitude."""
        found = scaled @ self.encoder[block].T
        if self.encoder_bias is not None:
            found += self.encoder_bias[block]
        return found

    def codes(
        self, pre: Float[np.ndarray, "row feature"], block: slice | NDArray[np.integer] = slice(None)
    ) -> Float[np.ndarray, "row feature"]:
        """Codes of pre-activations, which may be overwritten; of all features unless σ is pointwise."""
        parameters = {name: value[block] for name, value in self.parameters.items()}
        weights = self.norms[block] if self.weighted else None
        return codes_of(self.sigma, pre, parameters, self.constants, weights)

    def encode(self, rows: Float[np.ndarray, "row width"]) -> Float[np.ndarray, "row feature"]:
        """Dense codes: [row, feature] memory, for chunks."""
        return self.codes(self.preactivations(self.scaled(rows)))

    def decode(
        self, codes: Float[np.ndarray, "row feature"], rows: Float[np.ndarray, "row width"]
    ) -> Float[np.ndarray, "row target"]:
        """ŷ of codes, beside the rows that were read."""
        found = self._nothing(len(codes))
        for start in range(0, self.size, COLUMNS):
            self._write(found, codes[:, start : start + COLUMNS], start)
        return self._restored(found, rows)

    def rebuilt(
        self, rows: Float[np.ndarray, "row width"], level: np.floating[Any] | float = 0.0
    ) -> tuple[Float[np.ndarray, "row target"], int]:
        """ŷ of rows and how many codes are active, pre-activations lowered by a level; codes of few features, or of few
        rows where features compete, exist at a time.
        """
        scaled, active = self.scaled(rows), 0
        if not self.pointwise:
            parts: list[NDArray[Any]] = []
            for start in range(0, len(rows), ROWS):
                part = slice(start, start + ROWS)
                codes = self._lowered(scaled[part], slice(None), level)
                active += int(np.count_nonzero(codes))
                parts.append(self.decode(codes, rows[part]))
            return np.concatenate(parts), active
        found = self._nothing(len(rows))
        for start in range(0, self.size, COLUMNS):
            codes = self._lowered(scaled, slice(start, start + COLUMNS), level)
            active += int(np.count_nonzero(codes))
            self._write(found, codes, start)
        return self._restored(found, rows), active

    def _lowered(self, scaled: NDArray[Any], block: slice, level: np.floating[Any] | float) -> NDArray[Any]:
        pre = self.preactivations(scaled, block)
        pre -= pre.dtype.type(level)
        return self.codes(pre, block)

    def _nothing(self, rows: int) -> NDArray[np.float32]:
        assert self.decoder is not None, "asked for only where there is one"
        return np.zeros((rows, self.decoder.shape[1]), np.float32)

    def _write(self, into: NDArray[np.float32], codes: NDArray[Any], start: int) -> None:
        """Add what a block of codes writes; features that no row uses are left out."""
        assert self.decoder is not None, "asked for only where there is one"
        used = np.flatnonzero(codes.any(0))
        if 4 * len(used) > codes.shape[1]:
            into += codes @ self.decoder[start : start + codes.shape[1]]
        elif len(used):
            into += codes[:, used] @ self.decoder[start + used]

    def _restored(self, found: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
        """Bias, scale and skip."""
        if self.decoder_bias is not None:
            found += self.decoder_bias
        affine = self._affine(rows) if self.denormalise else None
        if affine is not None:
            found = found * affine[2] + affine[0]
        return found if self.skip is None else found + rows @ self.skip.T

    def directions(self) -> Float[np.ndarray, "feature target"]:
        """Decoder rows of length 1; rows of zeros stay zeros."""
        assert self.decoder is not None, "asked for only where there is one"
        lengths = _lengths(self.decoder)
        if np.abs(lengths - 1).max() < UNIT:
            return self.decoder
        return self.decoder / np.where(lengths > 0, lengths, 1)[:, None]

    def _affine(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        """Offset, divisor and scale of n, source by source, spread over their columns; None where n does nothing."""
        if self.normalisation == "none":
            return None
        widths = self.widths or (self.width,)
        parts = np.split(rows, np.cumsum(widths)[:-1], axis=1)
        moments = [_moments(part, self.normalisation) for part in parts]
        return np.concatenate([np.repeat(m, w, axis=2) for m, w in zip(moments, widths, strict=True)], axis=2)


def _moments(rows: NDArray[Any], how: Normalisation) -> NDArray[Any]:
    ones, zeros = np.ones((len(rows), 1), rows.dtype), np.zeros((len(rows), 1), rows.dtype)
    match how:
        case "centre":
            return np.stack([rows.mean(1, keepdims=True), ones, ones])
        case "layer_norm":
            std = rows.std(1, ddof=1, keepdims=True)
            return np.stack([rows.mean(1, keepdims=True), std + rows.dtype.type(EPSILON), std])
        case _:
            rms = np.linalg.norm(rows, axis=1, keepdims=True) / rows.dtype.type(rows.shape[1] ** 0.5)
            return np.stack([zeros, np.where(rms > 0, rms, ones), rms])


def _lengths(rows: Float[np.ndarray, "feature width"]) -> Float[np.ndarray, " feature"]:
    return np.sqrt(np.einsum("fw,fw->f", rows, rows))
