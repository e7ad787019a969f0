"""A plan from the configuration of a harvest or of a training, and from the model that it names. No torch.

Widths and layers come from config.json, parameters from the headers of the safetensors files: of every tensor whose
name holds a block's number they count as run up to the last block that a site needs.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import FormatError, Site, UserError, expand
from radiograph.core.sizes import read_bytes, read_count

if TYPE_CHECKING:
    from radiograph.store.shards import Index

BLOCK = re.compile(r"\.(\d+)\.")
HEADER_LIMIT = 100 * 2**20
ITEMS = {"F32": "fp32", "BF16": "bf16", "F16": "fp16"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A model as far as a plan needs it."""

    params: int
    width: int
    layers: int
    blocks: tuple[int, ...]
    """Parameters of each block."""
    dtype: str

    def run(self, last: int | None) -> int:
        """Parameters of the blocks up to one; all of them for None."""
        return sum(self.blocks if last is None else self.blocks[: last + 1])


def shape_of(folder: Path) -> Shape:
    """Read a model's folder.

    Raises:
        FormatError: no config or no safetensors there, or one that cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
        config = config.get("text_config", config)
        width = int(config.get("hidden_size", config.get("n_embd", 0)))
        layers = int(config.get("num_hidden_layers", config.get("n_layer", 0)))
    except (OSError, ValueError, AttributeError) as error:
        raise FormatError("cannot read the model's config.json", where=folder.name, got=str(error)) from error
    files = sorted(folder.glob("*.safetensors"))
    if not files or not width or not layers:
        raise FormatError(
            "not a model that a plan can read", where=folder.name, expected="config.json and *.safetensors"
        )
    total, blocks, dtype = 0, [0] * layers, ""
    for path in files:
        for name, entry in _header(path).items():
            count = prod(entry["shape"])
            total += count
            dtype = dtype or ITEMS.get(entry["dtype"], "")
            found = BLOCK.search(name)
            if found and int(found[1]) < layers:
                blocks[int(found[1])] += count
    return Shape(total, width, layers, tuple(blocks), dtype or "fp32")


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as handle:
        start = handle.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < size <= HEADER_LIMIT:
            raise FormatError("not a safetensors file", where=path.name)
        try:
            entries = json.loads(handle.read(size))
        except ValueError as error:
            raise FormatError("not a safetensors file", where=path.name, got=str(error)) from error
    return {name: entry for name, entry in entries.items() if name != "__metadata__"}


def from_harvest(config: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Options of a plan from those of a harvest."""
    sites = [site for text in _listed(config.get("site")) for site in expand(str(text), shape.layers)]
    if not sites:
        raise UserError("the harvest names no site", expected="site: resid_post.N")
    layers = [site.layer for site in sites if isinstance(site, Site) and site.layer is not None]
    last = None if any(site.kind == "final_norm" for site in sites) else max(layers, default=-1)
    found: dict[str, Any] = {
        "model_params": shape.params,
        "d_model": shape.width,
        "selected_layers": len(set(sites)),
        "models": 1 + len(_listed(config.get("candidate"))),
        "layers": shape.layers if last is None else last + 1,
        "run_params": shape.run(last),
        "dtype": shape.dtype if config.get("dtype", "same") == "same" else config["dtype"],
    }
    if config.get("max_tokens") is not None:
        found["tokens"] = read_count(config["max_tokens"])
    if config.get("shard_size") is not None:
        found["target_shard_size"] = read_bytes(config["shard_size"])
    if config.get("max_length") is not None:
        found["context"] = int(config["max_length"])
    return found


def from_training(config: dict[str, Any], index: Index) -> dict[str, Any]:
    """Options of a plan from those of a training and the index of its activations."""
    sources = {record.source: record for record in index.sources}
    rows = sum(commit.rows for commit in index.commits)
    chosen = next(iter(sources.values()))
    for text in _listed(config.get("input")):
        name = text if "/" in text else f"reference/{text}"
        if name not in sources:
            raise UserError(f"no rows of {name} in the activations", expected=", ".join(sources))
        chosen = sources[name]
    width = chosen.width
    found: dict[str, Any] = {
        "d_model": width,
        "tokens": rows,
        "dtype": ITEMS.get(chosen.dtype, "fp32"),
        "latent_dim": int(config.get("size") or width * int(config.get("expansion") or 4)),
    }
    if config.get("tokens") not in (None, "all"):
        found["train_tokens"] = read_count(config["tokens"])
    for ours, theirs in (("top_k_active", "k"), ("train_batch_size", "batch")):
        if config.get(theirs) is not None:
            found[ours] = int(config[theirs])
    if config.get("activation") is not None:
        found["activation"] = str(config["activation"])
    return found


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
