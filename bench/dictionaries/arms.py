"""One arm of the training benchmark, in a process of its own: `python arms.py NAME --width 768 ...`.

Reads commands from stdin, answers each with one line `@ {json}` (a peer may print what it likes in between):
`check FILE` writes the reconstruction of the first rows by the first weights, `step` trains on the batch once and says
seconds of wall clock and of processors, `memory` says the peak above what the process held before it built anything,
`profile` says where a step spends its time. Every arm gets the same seeded weights and rows, float32, CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

RATE, CHECKED = 1e-4, 64


class Shape(NamedTuple):
    """Sizes of the problem."""

    width: int
    size: int
    k: int
    batch: int


class Arm(NamedTuple):
    """What an arm can do."""

    reconstruct: Callable[[torch.Tensor], torch.Tensor] | None
    step: Callable[[], object]
    profile: Callable[[], dict[str, float]] | None = None


def problem(shape: Shape, sources: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows, and unit decoder rows (per source)."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(shape.batch, shape.width * sources, generator=generator)
    decoder = torch.randn(shape.size, shape.width * sources, generator=generator)
    for part in decoder.split(shape.width, dim=1):
        part.div_(part.norm(dim=1, keepdim=True))
    return rows, decoder


def floor(shape: Shape) -> Arm:
    """One encoder product."""
    rows, decoder = problem(shape)
    out = torch.empty(shape.batch, shape.size)
    bias = torch.zeros(shape.size)
    return Arm(None, lambda: torch.addmm(bias, rows, decoder.T, out=out))


def plain(shape: Shape, decode: Callable[..., torch.Tensor]) -> Arm:
    """Autograd and fused Adam, with one way or the other to decode."""
    rows, start = problem(shape)
    encoder, decoder = (torch.nn.Parameter(start.clone()) for _ in range(2))
    encoder_bias, bias = torch.nn.Parameter(torch.zeros(shape.size)), torch.nn.Parameter(torch.zeros(shape.width))
    optimiser = torch.optim.Adam([encoder, decoder, encoder_bias, bias], lr=RATE, fused=True)

    def reconstruct(x: torch.Tensor) -> torch.Tensor:
        values, places = torch.addmm(encoder_bias, x - bias, encoder.T).topk(shape.k, dim=1)
        return decode(places, values.clamp_min(0), decoder) + bias

    def step() -> None:
        optimiser.zero_grad()
        ((rows - reconstruct(rows)).square().sum(1).mean() / shape.width).backward()
        gradient = decoder.grad
        assert gradient is not None
        with torch.no_grad():
            gradient -= (gradient * decoder).sum(1, keepdim=True) * decoder
            optimiser.step()
            decoder.div_(decoder.norm(dim=1, keepdim=True))

    return Arm(reconstruct, step)


def plain_sparse(shape: Shape) -> Arm:
    """Decoding by embedding_bag."""

    def decode(places: torch.Tensor, values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding_bag(places, table, mode="sum", per_sample_weights=values)

    return plain(shape, decode)


def plain_dense(shape: Shape) -> Arm:
    """Decoding by a product with a dense table of codes."""

    def decode(places: torch.Tensor, values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(len(values), shape.size).scatter(1, places, values) @ table

    return plain(shape, decode)


def ours(shape: Shape, *, activation: str = "topk", prefixes: tuple[int, ...] = (), sources: int = 1) -> Arm:
    """radiograph: `step` and `Adam.update`."""
    from radiograph.dictionaries.training._losses import Objective
    from radiograph.dictionaries.training._optimiser import Adam
    from radiograph.dictionaries.training._step import Buffers, step
    from radiograph.dictionaries.training._weights import Weights

    rows, decoder = problem(shape, sources)
    bias = torch.zeros(shape.width * sources)
    other = bias if sources == 1 else bias.clone()
    weights = Weights(decoder.clone(), decoder, torch.zeros(shape.size), bias, other)
    columns = torch.full((len(bias),), 1 / len(bias))
    objective = Objective(
        activation=activation,  # pyright: ignore[reportArgumentType]
        k=shape.k,
        column_weights=columns,
        target_widths=(shape.width,) * sources,
        prefixes=prefixes,
        selection="value" if sources == 1 else "decoder_norm",
    )
    adam, buffers, dead = Adam(weights, unit_rows=sources == 1), Buffers(), torch.zeros(0, dtype=torch.long)

    def both() -> None:
        found = step(rows, rows, weights, objective, dead=dead, buffers=buffers)
        adam.update(weights, found.gradients, RATE)

    def reconstruct(x: torch.Tensor) -> torch.Tensor:
        values, places = torch.addmm(weights.encoder_bias, x - bias, weights.encoder.T).topk(shape.k, dim=1)
        return torch.einsum("rk,rkd->rd", values.clamp_min(0), decoder[places]) + bias

    def profile() -> dict[str, float]:
        from parts import profiled

        return profiled(both, adam)

    return Arm(reconstruct if activation == "topk" and sources == 1 else None, both, profile)


def matryoshka(shape: Shape) -> Arm:
    """Three prefixes over batchtopk."""
    return ours(shape, activation="batchtopk", prefixes=(shape.size // 16, shape.size // 4, shape.size))


def sparsify(shape: Shape) -> Arm:
    """EleutherAI sparsify: its coder, its treatment of decoder rows, Adam."""
    from sparsify import SaeConfig
    from sparsify.sparse_coder import SparseCoder

    rows, decoder = problem(shape)
    coder = SparseCoder(shape.width, SaeConfig(num_latents=shape.size, k=shape.k))
    coder.encoder.weight.data.copy_(decoder)
    coder.W_dec.data.copy_(decoder)
    optimiser = torch.optim.Adam(coder.parameters(), lr=RATE, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        coder(rows).fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        coder.set_decoder_norm_to_unit_norm()

    return Arm(lambda x: coder(x).sae_out, step)


def saelens(shape: Shape) -> Arm:
    """SAELens: its TopK coder under its own training pass, Adam."""
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.saes.sae import TrainStepInput

    rows, decoder = problem(shape)
    coder = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=shape.width, d_sae=shape.size, k=shape.k))
    coder.W_enc.data.copy_(decoder.T)
    coder.W_dec.data.copy_(decoder)
    coder.b_enc.data.zero_()
    coder.b_dec.data.zero_()
    optimiser = torch.optim.Adam(coder.parameters(), lr=RATE, fused=True)

    def step() -> None:
        fields: dict[str, Any] = {"coefficients": {}, "dead_neuron_mask": None, "n_training_steps": 0}
        known = TrainStepInput.__dataclass_fields__
        given = {name: value for name, value in fields.items() if name in known}
        out = coder.training_forward_pass(TrainStepInput(sae_in=rows, **given, **_missing(known, given)))
        optimiser.zero_grad()
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        optimiser.step()

    return Arm(coder, step)


def _missing(known: Any, given: dict[str, Any]) -> dict[str, Any]:
    """False for whatever else a release asks for, such as whether this step is logged."""
    return {name: False for name in known if name not in given and name != "sae_in"}


def dictionary_learning(shape: Shape) -> Arm:
    """saprmarks/dictionary_learning: its TopK trainer's `update`."""
    from dictionary_learning.trainers.top_k import AutoEncoderTopK, TopKTrainer

    rows, decoder = problem(shape)
    trainer = TopKTrainer(
        steps=10**6,
        activation_dim=shape.width,
        dict_size=shape.size,
        k=shape.k,
        layer=0,
        lm_name="none",
        dict_class=AutoEncoderTopK,
        lr=RATE,
        warmup_steps=0,
        seed=0,
        device="cpu",
    )
    coder, count = trainer.ae, iter(range(1, 10**6))
    coder.encoder.weight.data.copy_(decoder)
    coder.decoder.weight.data.copy_(decoder.T)
    coder.encoder.bias.data.zero_()
    coder.b_dec.data.zero_()
    return Arm(coder, lambda: trainer.update(next(count), rows))


ARMS: dict[str, Callable[[Shape], Arm]] = {
    "floor": floor,
    "topk": ours,
    "batchtopk": lambda shape: ours(shape, activation="batchtopk"),
    "matryoshka": matryoshka,
    "crosscoder": lambda shape: ours(shape, sources=2),
    "sparsify": sparsify,
    "plain-sparse": plain_sparse,
    "plain-dense": plain_dense,
    "saelens": saelens,
    "dictionary-learning": dictionary_learning,
}


def resident(peak: bool) -> float:
    """MiB of memory now, or at most since the start of the process or the last reset."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(wanted))


def answer(fields: dict[str, Any]) -> None:
    sys.stdout.write("@ " + json.dumps(fields) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ARMS)
    parser.add_argument("--threads", type=int, required=True)
    for field in Shape._fields:
        parser.add_argument(f"--{field}", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape = Shape(*(getattr(options, field) for field in Shape._fields))
    warm = torch.zeros(64, 64)
    (warm @ warm).topk(3)
    if options.name not in ("floor", "plain-sparse", "plain-dense"):
        # What a library costs to import is not what a step costs.
        ARMS[options.name](Shape(32, 2048, 4, 8)).step()
    start = resident(peak=False)
    arm = ARMS[options.name](shape)
    answer({"ready": True})
    for line in sys.stdin:
        command, _, rest = line.strip().partition(" ")
        if command == "check":
            if arm.reconstruct is not None:
                with torch.no_grad():
                    np.save(rest, arm.reconstruct(problem(shape)[0][:CHECKED]).numpy())
            answer({"checked": arm.reconstruct is not None})
        elif command == "step":
            wall, cpu = time.perf_counter(), time.process_time()
            arm.step()
            answer({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})
        elif command == "memory":
            answer({"mib": resident(peak=True) - start})
        elif command == "profile" and arm.profile is not None:
            answer(arm.profile())


if __name__ == "__main__":
    main()
