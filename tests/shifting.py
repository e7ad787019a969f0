"""A small planted pair for `probe sae-diff`: rows of both sides in several formats, and the dictionary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from running import go

D, F, N, GROUPS = 32, 400, 1200, 40
PLANTED = {7: 2.0, 90: -2.0, 301: 1.5}


def rows(seed=0):
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((F, D)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    x = rng.standard_normal((N, D)).astype(np.float32)
    y = x + sum(a * directions[j] for j, a in PLANTED.items()) + 0.05 * rng.standard_normal((N, D)).astype(np.float32)
    return directions, x, y.astype(np.float32)


DIRECTIONS, X, Y = rows()
PROMPTS = np.arange(N) * GROUPS // N
WEIGHTS = {"W_enc": np.ascontiguousarray(DIRECTIONS.T), "b_enc": np.full(F, -1.5, np.float32), "W_dec": DIRECTIONS}


def written(folder: Path) -> Path:
    """Both sides in several formats, and the dictionary."""
    save_file(WEIGHTS, folder / "d.safetensors")
    for name, side in (("ref", X), ("cand", Y)):
        np.savez(folder / f"{name}.npz", activations=side, prompt=PROMPTS)
        np.save(folder / f"{name}.npy", side)
        save_file({"activations": side, "prompt": PROMPTS}, folder / f"{name}.safetensors")
        columns = {"activations": pl.Series(side, dtype=pl.Array(pl.Float32, D)), "prompt": PROMPTS}
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
        document = {"activations": side.tolist(), "prompt": PROMPTS.tolist()}
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder


def shift(**more):
    config = {"dictionary": "d.safetensors", "reference": "ref.npz", "candidate": "cand.npz", "activation": "relu"}
    return go("probe.sae-diff", **{**config, "permutations": 99, **more})
