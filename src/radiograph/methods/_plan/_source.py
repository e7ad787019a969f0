"""A plan from the configuration of a harvest or of a training, and from the model that it names. No torch.

Widths and layers come from config.json, parameters from the headers of the safetensors files: of every tensor whose
name holds a block's number they count as run up to the last block that a site needs. What a configuration leaves open
has the default of its verb.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from radiograph.core import FormatError, Site, Source, UserError, expand
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
    head: int
    """Width of a head."""
    heads: int
    hidden: int
    """Width inside the MLP."""
    positions: int | None
    blocks: tuple[int, ...]
    """Parameters of each block."""
    dtype: str

    def run(self, last: int | None) -> int:
        """Parameters of the blocks up to one; all of them for None."""
        return sum(self.blocks if last is None else self.blocks[: last + 1])

    def site(self, site: Site) -> int:
        """Width of a site."""
        if site.kind == "attn_z":
            return self.head * (1 if site.head is not None else self.heads)
        return self.hidden if site.kind == "mlp_hidden" else self.width


def shape_of(folder: Path) -> Shape:
    """Read a model's folder.

    Raises:
        FormatError: no config or no safetensors there, or one that cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
        config = config.get("text_config", config)
    except (OSError, ValueError, AttributeError) as error:
        raise FormatError("cannot read the model's config.json", where=folder.name, got=str(error)) from error

    def number(*keys: str) -> int:
        return next((int(config[key]) for key in keys if config.get(key)), 0)

    width, layers = number("hidden_size", "n_embd"), number("num_hidden_layers", "n_layer")
    heads = number("num_attention_heads", "n_head") or 1
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
    return Shape(
        params=total,
        width=width,
        layers=layers,
        head=number("head_dim") or width // heads,
        heads=heads,
        hidden=number("intermediate_size", "n_inner") or 4 * width,
        positions=number("max_position_embeddings", "n_positions") or None,
        blocks=tuple(blocks),
        dtype=dtype or "fp32",
    )


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
    """Options and facts of a plan from those of a harvest.

    Raises:
        UserError: no site, or one that the model has not.
    """
    sites = {site for text in _listed(config.get("site")) for site in expand(str(text), shape.layers)}
    if not sites:
        raise UserError("the harvest names no site", expected="site: resid_post.N")
    layers = [site.layer for site in sites if site.layer is not None]
    last = None if any(site.kind == "final_norm" for site in sites) else max(layers, default=-1)
    widths = [shape.site(site) for site in sites]
    dtype = config.get("dtype") or "same"
    found: dict[str, Any] = {
        "model_params": shape.params,
        "d_model": shape.width,
        "row_width": sum(widths),
        "selected_layers": len(sites),
        "models": 1 + len(_listed(config.get("candidate"))),
        "layers": shape.layers if last is None else last + 1,
        "run_params": shape.run(last),
        "dtype": shape.dtype if dtype == "same" else dtype,
        "model_dtype": shape.dtype,
        "context": min(int(config.get("max_length") or 512), shape.positions or 65_535),
        "target_shard_size": read_bytes(config.get("shard_size") or 256 * 2**20),
        "batch_tokens": read_count(config.get("batch_tokens") or 8192),
        "validation": float(config.get("validation", 0.1)),
    }
    if len(set(widths)) == 1:
        found["read_width"] = found["written_width"] = widths[0]
    if config.get("max_tokens") is not None:
        found["tokens"] = read_count(config["max_tokens"])
    return found


def from_training(config: dict[str, Any], index: Index) -> dict[str, Any]:
    """Options and facts of a plan from those of a training and the index of its activations.

    Raises:
        UserError: a source that is not in the activations; options that `dictionary train` refuses.
    """
    from radiograph.dictionaries.training import TrainingConfig, preset

    names = ("kind", "activation", "size", "expansion", "k", "l0", "batch", "skip")
    given: dict[str, Any] = {name: config[name] for name in names if config.get(name) is not None}
    for name in ("size", "batch"):
        if name in given:
            given[name] = read_count(given[name])
    settings = cast(TrainingConfig, preset(str(config.get("preset") or "minimal"), **given))
    sources = {record.source: record for record in index.sources}
    read, written = _read_and_written(config, settings.kind, sources)
    rows = sum(commit.rows for commit in index.commits)
    training = rows - sum(commit.validation_rows for commit in index.commits)
    tokens = config.get("tokens")
    drawn = settings.tokens if tokens is None else None if tokens == "all" else read_count(tokens)
    return {
        "d_model": max(sources[name].width for name in read),
        "row_width": sum(record.width for record in index.sources),
        "read_width": sum(sources[name].width for name in read),
        "written_width": sum(sources[name].width for name in written),
        "selected_layers": len(read),
        "tokens": rows,
        "train_tokens": drawn or training,
        "validation": index.validation,
        "dtype": ITEMS.get(sources[read[0]].dtype, "fp32"),
        "latent_dim": settings.features(sources[read[0]].width),
        "top_k_active": max(1, round(settings.active or settings.features(sources[read[0]].width) / 100)),
        "train_batch_size": settings.batch,
        "activation": settings.activation,
        "kind": settings.kind,
        "skip": settings.skip,
        "dictionaries": int(config.get("seeds") or 1),
    }


def _read_and_written(config: dict[str, Any], kind: str, sources: dict[str, Any]) -> tuple[list[str], list[str]]:
    if kind == "crosscoder":
        chosen = [_source(text, sources) for text in _listed(config.get("sources"))] or list(sources)
        return chosen, chosen
    read = [_source(text, sources) for text in _listed(config.get("input"))] or [next(iter(sources))]
    if kind == "transcoder":
        return read, [_source(text, sources) for text in _listed(config.get("target"))] or read
    return read, read


def _source(text: Any, sources: dict[str, Any]) -> str:
    name = str(Source.parse(str(text)))
    if name not in sources:
        raise UserError(f"no rows of {name} in the activations", expected=", ".join(sources), code="unknown_source")
    return name


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
