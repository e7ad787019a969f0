"""Builds `bundled:planted-circuit` and its decomposition: `python bench/decompose/planted_fixture.py OUT`.

Nothing is trained: the terms are those of `organisms.toys.planted_circuit`, importance is an oracle that is 1 where a
term's activation is 1 and below 0 where it is 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from radiograph.decompose import make, save
from radiograph.decompose.importance import Importance, kind_of
from radiograph.evidence.decomposition import TrainedBy
from radiograph.models import load
from radiograph.models.masked import Factors, of_model
from radiograph.organisms.toys.planted_circuit import planted, save_planted


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    save_planted(out)
    truth = planted()
    target = of_model(load("bundled:planted-circuit", resolve=lambda name: out))
    factors = {weight: Factors(own, truth.writes[weight]) for weight, own in truth.reads.items()}
    nets: dict[str, torch.Tensor] = {}
    for weight, own in factors.items():
        # What reads a hidden unit sees the open gate too.
        unit = float(torch.nn.functional.silu(torch.tensor(10.0))) if weight.startswith("down") else 1.0
        nets |= {
            f"{weight}/in": torch.full((own.size, 1), 4.0 / unit),
            f"{weight}/in_bias": torch.zeros(own.size, 1),
            f"{weight}/out": torch.full((own.size, 1), 0.3),
            f"{weight}/out_bias": torch.full((own.size,), -0.1),
            f"{weight}/scale": torch.tensor(1.0),
        }
    oracle = Importance("scalar", {"hidden": 1}, nets, kind_of("scalar"))
    found = make(target, factors, oracle, trained=TrainedBy(how="bench/decompose/planted_fixture.py"))
    save(found, out / "decomposition")


if __name__ == "__main__":
    main()
