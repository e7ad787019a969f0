"""What `probe sae-diff` is asked: which dictionary, which sides, and how closely they are looked at."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Input
from radiograph.core.sizes import ByteSize, Count

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
