"""A second derivation of the engine: no cache, no batch, one position and one op at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch

from radiograph.core import Site
from radiograph.models import LanguageModel, capture, edit, forward, pad


@dataclass
class Natural:
    """Site statistics from rows, by NumPy alone."""

    site: str
    rows: np.ndarray

    @property
    def width(self):
        return self.rows.shape[1]

    @property
    def n(self):
        return len(self.rows)

    @cached_property
    def mean(self):
        return self.rows.mean(0)

    @cached_property
    def sd(self):
        return self.rows.std(0)

    @cached_property
    def norm(self):
        return float(np.linalg.norm(self.rows, axis=1).mean())

    @property
    def sha256(self):
        return "0" * 64

    def quantile(self, unit: int, q: float) -> float:
        return float(np.quantile(self.rows[:, unit], q))

    def along(self, direction: np.ndarray) -> Natural:
        return Natural(self.site, self.rows @ direction[:, None])


def natural(model: LanguageModel, sites: list[str]) -> dict[str, Natural]:
    """Statistics over some random text, first positions left out."""
    return dict(_natural(model, tuple(sites)))


@lru_cache(maxsize=8)
def _natural(model: LanguageModel, sites: tuple[str, ...], seed: int = 3) -> dict[str, Natural]:
    generator = torch.Generator().manual_seed(seed)
    batch = pad(torch.randint(2, 300, (12, 10), generator=generator).tolist())
    found = capture(model, batch, [Site.parse(site) for site in sites])
    return {
        site: Natural(
            site, found[Site.parse(site)][:, 1:].reshape(-1, model.site_width(Site.parse(site))).double().numpy()
        )
        for site in sites
    }


def changed(x, op: str, low, value, mean, basis, columns: slice):
    """One vector after one op, by the table of the spec."""
    x = x.clone()
    if basis is None:
        a = x[columns]
        x[columns] = {
            "set": lambda: torch.full_like(a, value or 0),
            "add": lambda: a + value,
            "scale": lambda: a * value,
            "ablate": lambda: torch.zeros_like(a),
            "ablate-mean": lambda: mean[columns],
            "cap": lambda: a.clamp(low, value),
        }[op]()
        return x
    if len(basis) == 1:
        d = basis[0]
        y = x @ d
        target = {
            "set": lambda: value,
            "add": lambda: y + value,
            "scale": lambda: y * value,
            "ablate": lambda: 0.0,
            "project-out": lambda: 0.0,
            "ablate-mean": lambda: mean @ d,
            "cap": lambda: y.clamp(low, value),
        }[op]()
        return x + (target - y) * d
    inside = basis.T @ (basis @ x)
    if op == "scale":
        return x + (value - 1) * inside
    if op in ("ablate", "project-out"):
        return x - inside
    if op == "ablate-mean":
        return x - basis.T @ (basis @ (x - mean))
    length = inside.norm()
    return x - inside + inside * min(1.0, value / float(length))


def written(kind: str, k: int, position: int, prompt: int, newest: int) -> bool:
    """Whether a position is written while the newest token stands at `newest`."""
    return {
        "all": True,
        "prompt": position < prompt,
        "generated": position >= prompt,
        "from": position >= prompt - 1 + k,
        "last": position == newest,
    }[kind]


def recompute(model: LanguageModel, ids: list[int], site: Site, change, positions: tuple[str, int], steps: int):
    """Greedy tokens and logits of each step, every step from the beginning; `change(vector, position)`."""
    tokens, logits, kind = list(ids), [], positions
    for _ in range(steps):
        newest = len(tokens) - 1

        def write(x, newest=newest):
            out = x.clone()
            for position in range(x.shape[1]):
                if written(*kind, position, len(ids), newest):
                    out[0, position] = change(x[0, position], position)
            return out

        with edit(model, {site: write}):
            logits.append(forward(model, pad([tokens]))[0, -1])
        tokens.append(int(logits[-1].argmax()))
    return tokens[len(ids) :], torch.stack(logits)
