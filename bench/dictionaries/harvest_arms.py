"""One arm of the harvest benchmark, in a process of its own: `python harvest_arms.py NAME --model FOLDER --all`.

The protocol is that of `arms.py`: `check FILE` writes activations of the first batch, `step` takes activations of all
batches and says seconds of wall clock and of processors, `memory N` runs N batches (ours: onto disk) and says the peak
of the whole process, model included. Every arm gets the same weights and token ids, float32, CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

ROWS, POSITIONS, LAYER, BATCHES = 16, 128, 5, 2
SHARD = 8 * 2**20


class Arm(NamedTuple):
    """What an arm can do."""

    capture: Callable[[torch.Tensor], list[torch.Tensor]]
    """Token ids [batch, position] to a tensor a layer."""
    step: Callable[[torch.Tensor], object] | None = None
    """All batches at once, where that is not one capture after the other."""
    memory: Callable[[int], object] | None = None


def tokens(batches: int) -> torch.Tensor:
    return torch.randint(0, 50_257, (batches * ROWS, POSITIONS), generator=torch.Generator().manual_seed(1))


def network(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


def touched(model: Any) -> Any:
    """Weights are mapped: a page counts as memory only when it was read."""
    for parameter in model.parameters():
        parameter.detach().sum()
    return model


def floor(folder: Path, layers: range) -> Arm:
    """The least that any capture can cost: embedding and blocks called by hand, rows kept."""
    backbone = touched(network(folder)).transformer

    def capture(ids: torch.Tensor) -> list[torch.Tensor]:
        found = []
        with torch.inference_mode():
            hidden = backbone.wte(ids) + backbone.wpe(torch.arange(ids.shape[1]))
            for number, block in enumerate(backbone.h[: layers[-1] + 1]):
                hidden = block(hidden, None, None, use_cache=False)
                if number in layers:
                    found.append(hidden)
        return found

    def memory(batches: int) -> None:
        for ids in tokens(batches).split(ROWS):
            capture(ids)

    return Arm(capture, memory=memory)


class _Ours:
    """A harvest of this package over given ids."""

    def __init__(self, folder: Path, layers: range, models: int) -> None:
        from radiograph.core import Workers
        from radiograph.harvest import Engine, Recipe
        from radiograph.models import load

        own = {role: load(str(folder)) for role in ("reference", "candidate")[:models]}
        for model in own.values():
            touched(model.model)
        names = tuple(f"{role}/resid_post.{n}" for role in own for n in layers)
        self.engine = Engine(own, Recipe(names, batch_tokens=ROWS * POSITIONS, shard_bytes=SHARD))
        self.names, self.workers = names, Workers()

    def plan(self, ids: torch.Tensor, folder: Path | None = None) -> Any:
        from radiograph.harvest import Limits, Reading, Text, plan

        texts = [Text(str(i), "", str(i), tokens=tuple(row)) for i, row in enumerate(ids.tolist())]
        return plan(None, texts, Reading(POSITIONS, rows="all"), Limits(), folder=folder)

    def rows(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """Into memory."""
        return self.engine.capture(self.plan(ids), 0, len(ids)).rows

    def shards(self, ids: torch.Tensor) -> object:
        """Into committed shards."""
        from radiograph.core import Silent
        from radiograph.harvest import Limits, index_of, plan_folder, spec_of, write

        with tempfile.TemporaryDirectory(dir=".") as place:
            folder = Path(place) / "activations"
            made = self.plan(ids, plan_folder(folder))
            spec = spec_of(self.engine, made, Limits(), shards=folder)
            index = index_of(self.engine, spec, dict.fromkeys(self.engine.models, "model"), {})
            return write(spec, made, self.engine, index=index, progress=Silent())


def memory(folder: Path, layers: range) -> Arm:
    ours = _Ours(folder, layers, 1)
    return Arm(lambda ids: list(ours.rows(ids).values()), ours.rows)


def disk(folder: Path, layers: range) -> Arm:
    ours = _Ours(folder, layers, 1)
    assert all(model.identity for model in ours.engine.models.values()), "hashed once, before anything is timed"
    return Arm(lambda ids: list(ours.rows(ids).values()), ours.shards, lambda n: ours.shards(tokens(n)))


def pair(folder: Path, layers: range) -> Arm:
    ours = _Ours(folder, layers, 2)
    return Arm(lambda ids: list(ours.rows(ids).values())[: len(layers)], ours.rows)


def nnsight(folder: Path, layers: range) -> Arm:
    from nnsight import NNsight

    model = NNsight(network(folder))

    def capture(ids: torch.Tensor) -> list[torch.Tensor]:
        found = []
        with torch.inference_mode(), model.trace(ids, use_cache=False) as tracer:
            for number in layers:
                found.append(model.transformer.h[number].output.save())  # noqa: PERF401 (a trace is no plain code)
            tracer.stop()
        return [f[0] if isinstance(f, tuple) else f for f in found]

    return Arm(capture)


def hooked(folder: Path, layers: range) -> Arm:
    """TransformerLens: its own implementation of the model, run up to the last layer."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    source = network(folder)
    shape = source.config
    config = HookedTransformerConfig(
        n_layers=shape.n_layer,
        d_model=shape.n_embd,
        n_ctx=shape.n_positions,
        d_head=shape.n_embd // shape.n_head,
        n_heads=shape.n_head,
        d_vocab=shape.vocab_size,
        act_fn="gelu_new",
        normalization_type="LN",
        eps=shape.layer_norm_epsilon,
        device="cpu",
    )
    model = HookedTransformer(config)
    model.load_state_dict(convert_gpt2_weights(source, config), strict=False)
    names = [f"blocks.{number}.hook_resid_post" for number in layers]

    def capture(ids: torch.Tensor) -> list[torch.Tensor]:
        with torch.inference_mode():
            _, cache = model.run_with_cache(
                ids, names_filter=names, stop_at_layer=layers[-1] + 1, prepend_bos=False, return_type=None
            )
        return [cache[name] for name in names]

    return Arm(capture)


ARMS = {
    "floor": floor,
    "memory": memory,
    "disk": disk,
    "pair": pair,
    "nnsight": nnsight,
    "transformerlens": hooked,
    "saelens": hooked,  # its store runs the same call on its subclass of the same model
}


def peak_of(arm: Arm, batches: int) -> float:
    """MiB that the process holds at most."""
    assert arm.memory is not None
    arm.memory(BATCHES)  # what is loaded at the first use is not what a run costs
    Path("/proc/self/clear_refs").write_text("5")
    arm.memory(batches)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def answer(fields: dict[str, Any]) -> None:
    sys.stdout.write("@ " + json.dumps(fields) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ARMS)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--all", action="store_true", help="every layer instead of a middle one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    arm = ARMS[options.name](options.model, range(12) if options.all else range(LAYER, LAYER + 1))
    ids = tokens(BATCHES)
    answer({"ready": True})
    for line in sys.stdin:
        command, _, rest = line.strip().partition(" ")
        if command == "check":
            found = [part.reshape(-1, part.shape[-1]) for part in arm.capture(ids[:ROWS])]
            np.save(rest, torch.stack(found)[:, :: POSITIONS // 4].float().numpy())
            answer({"checked": True})
        elif command == "step":
            wall, cpu = time.perf_counter(), time.process_time()
            if arm.step is not None:
                arm.step(ids)
            else:
                kept = [arm.capture(part) for part in ids.split(ROWS)]
                del kept
            answer({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})
        elif command == "memory":
            answer({"mib": peak_of(arm, int(rest))})


if __name__ == "__main__":
    main()
