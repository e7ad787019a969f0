"""Components of a weight as a codec: rows that the weight reads go in, activations h = x V come out.

Decoding gives what the weight adds to the residual stream: Σ h U + bias, and with the rows x Δᵀ too; then encoding and
decoding is the weight itself. That holds for weights between two sites: `o` (attn_z to attn_out) and `down` (mlp_hidden
to mlp_out); the others read or write what is no site, and so does a block that normalises its output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from radiograph.core import UserError
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.decompose._decomposition import Decomposition
from radiograph.models import LanguageModel
from radiograph.models.masked import Factors, of_model
from radiograph.numerics.sparse import codes_of_dense, gather_sum

BETWEEN = {"o": ("attn_z", "attn_out"), "down": ("mlp_hidden", "mlp_out")}
"""Kind of weight to what it reads and writes."""


@dataclass(frozen=True, eq=False)
class WeightCodec:
    """One weight of a decomposition."""

    weight: str
    factors: Factors
    delta: Float[Tensor, "output input"]
    bias: Float[Tensor, " output"] | None
    decomposition_sha256: str

    @property
    def sites(self) -> tuple[str, ...]:
        """What the weight reads."""
        kind, _, layer = self.weight.partition(".")
        return (f"{BETWEEN[kind][0]}.{layer}",)

    @property
    def targets(self) -> tuple[str, ...]:
        """What it writes."""
        kind, _, layer = self.weight.partition(".")
        return (f"{BETWEEN[kind][1]}.{layer}",)

    @property
    def width(self) -> int:
        """Of a row that is read."""
        return self.factors.reads.shape[0]

    @property
    def target_width(self) -> int:
        """Of a row that is written."""
        return self.factors.writes.shape[1]

    @property
    def size(self) -> int:
        """Components."""
        return self.factors.size

    @property
    def decoder(self) -> Float[Tensor, "component output"]:
        """What each component writes."""
        return self.factors.writes

    @property
    def hash(self) -> str:
        """SHA-256 of decomposition and weight."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        text = f"radiograph.weight_codec/1 {self.decomposition_sha256} {self.weight}"
        return hashlib.sha256(text.encode()).hexdigest()

    def address(self, feature: int) -> str:
        """`down.3:17`."""
        return f"{self.weight}:{feature}"

    def encode(self, rows: Float[Tensor, "row width"]) -> Codes:
        """Activations of every component."""
        return codes_of_dense(rows @ self.factors.reads.to(rows))

    def decode(self, codes: Codes, rows: Float[Tensor, "row width"] | None = None) -> Float[Tensor, "row target"]:
        """Σ h U + bias, and x Δᵀ of the rows that were encoded."""
        out = gather_sum(codes.indices, codes.values, self.factors.writes.to(codes.values), codes.offsets)
        out = out if self.bias is None else out + self.bias.to(out)
        return out if rows is None else out + rows @ self.delta.T.to(rows)

    def reconstruct(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row target"]:
        """The weight's own product."""
        return self.decode(self.encode(rows), rows)


def codecs(decomposition: Decomposition, model: LanguageModel, weights: Sequence[str] = ()) -> tuple[WeightCodec, ...]:
    """Codecs of the weights that stand between two sites, or of those that are named.

    Raises:
        Refusal: a decomposition of another model. UserError: a weight that is not decomposed, or between no two sites.
    """
    target = of_model(model)
    decomposition.check(target)
    family = model.architecture.family
    plain = {"o": family.attn_out == family.z, "down": family.mlp_out == family.mlp}
    fitting = [w for w in decomposition.weights if plain.get(w.partition(".")[0], False)]
    for weight in weights or fitting[:1] or ("down",):
        if weight not in fitting:
            raise UserError(
                f"components of {weight} stand between no two sites of this model",
                expected="one of " + (", ".join(fitting) or "none of this decomposition"),
                code="unknown_site",
            )
    return tuple(
        WeightCodec(w, decomposition.factors[w], decomposition.delta(target, w), target.bias(w), decomposition.sha256)
        for w in (weights or fitting)
    )
