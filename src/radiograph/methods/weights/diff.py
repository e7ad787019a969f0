"""Which matrices changed between two models, how much, and at what rank?

1. read both models' tensors one at a time, without building a model; a LoRA adapter on REFERENCE is taken as the
   low-rank factors it is, any other kind merged layer by layer
2. split fused matrices by weight address; per matrix: ‖Δ‖_F, ‖Δ‖_F/‖W‖_F, ‖Δ‖₂, σ₁²/Σσ², stable and effective rank,
   ranks that hold 90 and 99 % of the energy, numerical rank #{σ > max(m, n)·ε·σ₁}
3. the largest cosine of the change's leading left singular vectors with the matrix's 64 leading ones, beside what
   random directions reach: low means an intruder dimension (Shuttleworth et al. 2024)
4. the tokens whose embedding and unembedding rows moved most, with their robust z among all rows
Exact by QR of the factors for plain LoRA, dense up to min(m, n) = 2,048, above it randomised (Halko, Martinsson and
Tropp 2011), with the share of energy it missed. Embedding rows beyond the tokenizer are left out and counted. Tensors
that were added, are missing or have another shape are listed, never compared. Equal tensors give exactly 0.

A distance is not a verdict: any training moves weights. `audit` says how this one compares with harmless ones.
Refuses when: no matrix is common to both (exit 4); weights are quantised or not finite, or an adapter does not fit
(exit 3).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ModelRef, Refusal
from radiograph.evidence import MatrixChange, Result, WeightsSummary


class Config(Base):
    """Two models."""

    reference: ModelRef
    """The model before."""
    candidate: ModelRef
    """The model after; REFERENCE+ADAPTER for an adapter."""
    top: int = Field(default=20, ge=0, le=1000)
    """Tokens listed for each of embedding and unembedding."""


class WeightsDiff(Result):
    """What changed in the weights."""

    SCHEMA: ClassVar[str] = "radiograph.weights_diff/1"

    reference: str
    candidate: str
    weights: WeightsSummary

    @property
    def headline(self) -> str:
        """How many tensors, how far, and where most."""
        weights = self.weights
        if weights.n_changed == 0:
            return f"none of {weights.n_tensors} tensors changed"
        text = f"{weights.n_changed} of {weights.n_tensors} tensors changed, relative norm {weights.relative_norm:.2g}"
        largest = max(self._changed, key=lambda m: m.relative or 0.0, default=None)
        if largest is None:
            return text
        rank = largest.numerical_rank if largest.numerical_rank is not None else "above 64"
        return f"{text}, largest in {largest.address} ({largest.relative or 0:.2g}, rank {rank})"

    @property
    def lines(self) -> tuple[str, ...]:
        """What could not be compared, and the token that moved most."""
        names = {status: self._at(status) for status in ("added", "missing", "resized")}
        out = [f"{status}: {', '.join(found)}" for status, found in names.items() if found]
        moved = self.weights.tokens[:1]
        out += [f"{t.matrix} moved most at {t.token!r} ({t.token_id}), robust z {t.z:.1f}" for t in moved]
        return (*out, *self.weights.notes)

    @property
    def _changed(self) -> list[MatrixChange]:
        return [m for m in self.weights.matrices if m.status == "changed" and m.top_share is not None]

    def _at(self, status: str) -> list[str]:
        return [m.address for m in self.weights.matrices if m.status == status]


def run(config: Config, ctx: Context) -> WeightsDiff:
    """Compare two models' weights."""
    from radiograph.detectors import measure_weights, weights_table
    from radiograph.models import StoredPair

    pair = StoredPair(ctx.stored(config.reference, "reference"), ctx.stored(config.candidate, "candidate"))
    weights = measure_weights(pair, top=config.top, seed=ctx.seed, progress=ctx.progress)
    if weights.relative_norm is None:
        raise Refusal("no_shared_matrix", "; ".join(weights.notes))
    ctx.output.table("weights", weights_table(weights))
    return WeightsDiff(reference=ctx.label(config.reference), candidate=ctx.label(config.candidate), weights=weights)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the totals follow from the table?"""
    import polars

    from radiograph.detectors import weights_table

    stored = WeightsDiff.read(result).weights
    table = polars.read_parquet(folder / "tables" / "weights.parquet")
    kept, said = table.to_dict(as_series=False), weights_table(stored)
    other = [name for name in {**kept, **said} if kept.get(name) != list(said.get(name, []))]
    shared = table.filter(polars.col("shape").str.contains("x") & polars.col("norm").is_not_null())
    change, own = (float((shared[name] ** 2).sum()) ** 0.5 for name in ("norm", "reference_norm"))
    share = shared["top_share"].max()
    expected = {"relative_norm": change / own, "top_share": share}
    found = {"relative_norm": stored.relative_norm, "top_share": stored.top_share}
    problems = [f"/weights/matrices: tables/weights.parquet has other values of {', '.join(other)}"] if other else []
    return problems + [
        f"weights.{name} is {found[name]}, its table gives {value}"
        for name, value in expected.items()
        if abs((found[name] or 0.0) - float(value or 0.0)) > 1e-9  # type: ignore[arg-type]
    ]
