"""Which features of a dictionary moved between two models, and which of them carry the shift.

1. rows of both sides on the same tokens: stored activations, or two models that are harvested now
2. every feature: shift of its pre-activation, in standard deviations of the reference; t over groups; p against signs
   of whole groups flipped at random, pooled over features; Benjamini-Hochberg. In an overcomplete dictionary nearly
   every feature moves
3. which rows of the decoder carry the shift, jointly: one after the other, each tested against flipped groups and
   against what a random direction's nearest row explains; the rest is noise, or diffuse. A sham goes through 2 and 3
4. codes: rates, means, what turned on and off; L2 of mean codes with its floor (--depth full)
5. reconstruction on a sample: FVU on both sides, the share of token shifts that it misses beside random dictionaries

Units: standard deviations of the reference; coefficients are lengths of what is written. Structural evidence: what a
feature causes is measured by `intervene`. Refuses when: rows, width, tokens or sites of the sides differ; the
dictionary was trained elsewhere, or does not explain the reference as recorded; a value is not finite (exit 3).
Under 12 groups nothing is tested. A demand (--require) that is not met exits 2, one that was not measured 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, Input
from radiograph.core.sizes import ByteSize, Count

if TYPE_CHECKING:
    from radiograph.evidence.probes.shift import FeatureShift

LIMITS = ("tokens", "features", "width", "json-bytes", "dictionary-bytes", "dictionary-tensors", "top-k")
DOWNLOADS = True
TOLERANCE = 1e-4
SideRef = Annotated[str, Input("activations")]
DataRef = Annotated[str, Input("file")]


class Config(Base):
    """Which dictionary, which sides, and how closely they are looked at."""

    dictionary: Annotated[str, Input("dictionary")]
    """Folder, foreign file, dictionary:bundled, units:SITE, direction:FILE, suite:NAME/PATH."""
    reference: SideRef
    """A model, or stored activations: FILE.npy, .npz, .safetensors, .parquet, .json, FOLDER#SOURCE."""
    candidate: SideRef
    """The same of the other side. store: or model: before it settles doubt."""
    data: tuple[DataRef, ...] = ()
    """Of models: texts to run, as of harvest; repeatable."""
    max_tokens: Count | None = 50_000
    """Of models: most tokens, whole documents drawn by hash."""
    keep: Literal["content", "all", "last", "assistant"] = "content"
    """Of models: which tokens are looked at, as --rows of harvest."""
    site: str | None = None
    """Where to read; by default what the dictionary reads."""
    activation: str | None = None
    """Of a bare W_enc file: relu, topk:K or jumprelu."""
    orientation: Literal["df", "fd"] | None = None
    """Of a square W_enc: stored as [d, F] or [F, d]."""
    depth: Literal["standard", "full"] = "standard"
    """Full: codes of every feature, and the drift of their means."""
    top_k: int = Field(default=20, ge=1)
    """Features shown; the table holds all."""
    q: float = Field(default=0.05, gt=0, lt=1)
    """Level of the false discovery rate."""
    permutations: int = Field(default=200, ge=99)
    """Relabellings of the groups."""
    groups: int = Field(default=64, ge=12)
    """Groups that are flipped; more are merged by hash."""
    paired: Literal["on", "off"] = "on"
    """Whether row r of both sides is the same token."""
    clusters: str = "prompt"
    """What is flipped together: prompt, block:N rows, or column:NAME."""
    memory: ByteSize = 256 * 2**20
    """Bytes that sums and buffers may take."""
    require: tuple[str, ...] = ()
    """A demand, as l2_excess<0.1; unmet exits 2, not measured 4."""
    transfer: bool = False
    """Use a dictionary of another model or site; every page says so."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Keys of the JSON; soup: those of soup-cli, which imply --depth full."""


def run(config: Config, ctx: Context) -> FeatureShift:
    """Open both sides and the dictionary, measure, write."""
    from radiograph.methods.probe._sae_diff import compare

    return compare.compare(config, ctx)


def soup(result: FeatureShift) -> dict[str, Any]:
    """The keys of soup-cli's report.

    Raises:
        Refusal: codes were not counted.
    """
    from radiograph.methods.probe._sae_diff import written

    return written.soup(result)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Counts, q, coefficients, shares, drift, FVU and demands again, from the tables."""
    from radiograph.methods.probe._sae_diff import again

    return again.problems(result, folder)
