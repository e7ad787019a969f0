"""Seconds until TMS 5-2 is decomposed exactly: ours and the public parameter-decomposition code, on one machine.

    python3.13 -m venv PEER; PEER/bin/pip install torch==2.13.0
    PEER/bin/pip install "pydantic<2.12" wandb==0.20.1 wandb-workspaces==0.1.12 jaxtyping einops tqdm matplotlib \\
        scipy python-dotenv fire transformers datasets orjson pyyaml
    python bench/decompose/peer.py --checkout goodfire-ai/spd --python PEER/bin/python [--seeds 0 1 2] [--limit 600]

Both decompose `bundled:tms-5-2`, each with its own preset for it and its own loop, one thread. Every 100 steps the same
function judges both, outside the clock: on one-hot inputs of .75 each feature has one component of importance .9 or
more in either matrix, no other is above .1, and the norm ratio of matched columns is 1 ± .02 in mean. A side has
converged at the first of three such checks in a row. CPU seconds, starts and warm-ups included, making the target not.
Theirs runs in fp32 as ours does, without the bf16 autocast that its configs switch on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

EVERY, IN_A_ROW, ONE_HOT, TOLERANCE, RATIO = 100, 3, 0.75, 0.1, 0.02
Parts = list[tuple[np.ndarray, np.ndarray]]
"""Of w_in and w_out: importance [feature, component], lengths of what a component gives a feature over the target's."""


def exact(parts: Parts) -> bool:
    """The criterion."""
    for importance, ratios in parts:
        rows, own = linear_sum_assignment(-importance)
        others = importance.copy()
        others[rows, own] = 0.0
        if importance[rows, own].min() < 1 - TOLERANCE or others.max() > TOLERANCE:
            return False
        if abs(ratios[rows, own].mean() - 1) > RATIO:
            return False
    return True


class Reached(Exception):
    """Converged, or out of time."""


class Clock:
    """CPU seconds without the checks, and when the criterion came to hold."""

    def __init__(self, limit: float) -> None:
        self.began, self.checks, self.limit = time.process_time(), 0.0, limit
        self.step, self.held, self.first = 0, 0, (0, 0.0)

    @property
    def seconds(self) -> float:
        return time.process_time() - self.began - self.checks

    def tick(self, look: Callable[[], Parts]) -> None:
        """After every step."""
        self.step += 1
        if self.step % EVERY == 0:
            now = self.seconds
            began = time.process_time()
            good = exact(look())
            self.checks += time.process_time() - began
            if good and self.held == 0:
                self.first = (self.step, now)
            self.held = self.held + 1 if good else 0
            if self.held == IN_A_ROW or now > self.limit:
                raise Reached

    @property
    def found(self) -> dict[str, Any]:
        step, seconds = self.first if self.held == IN_A_ROW else (None, None)
        return {"step": step, "seconds": seconds, "ran": self.step, "ran_seconds": self.seconds}


def ratios(weight: np.ndarray, reads: np.ndarray, writes: np.ndarray, side: str) -> np.ndarray:
    """|what component c gives feature i| / |the target's|; `weight` [out, in], `reads` [in, c], `writes` [c, out]."""
    if side == "in":
        return np.abs(reads) * np.linalg.norm(writes, axis=1) / np.linalg.norm(weight, axis=0)[:, None]
    return np.abs(writes.T) * np.linalg.norm(reads, axis=0) / np.linalg.norm(weight, axis=1)[:, None]


def ours(seed: int, limit: float) -> dict[str, Any]:
    """Our preset and loop."""
    from radiograph.decompose.losses import parse
    from radiograph.decompose.training import Settings, Vectors, chosen, frozen, new_state, preset_of, scene_of
    from radiograph.decompose.training._loop import _warm_up, step
    from radiograph.organisms.toys import load_toy

    toy = load_toy("tms-5-2")
    target, recipe = toy.target, toy.recipe
    preset = preset_of("tms-5-2")
    settings = Settings(**(preset | {"sizes": chosen(target, preset.pop("weights")), "seed": seed}))
    data = Vectors(recipe.features, recipe.probability, recipe.low, 1.0, seed)
    hot = ONE_HOT * torch.eye(recipe.features)
    clock = Clock(limit)
    losses = [parse(text) for text in settings.losses]

    def look() -> Parts:
        scene = scene_of(target, hot, settings, state, grad=False)
        found = []
        for name, side in (("w_in", "in"), ("w_out", "out")):
            own = state.factors[name]
            lengths = ratios(
                target.matrix(name).detach().numpy(), own.reads.detach().numpy(), own.writes.detach().numpy(), side
            )
            found.append((scene.seen.lower[name].numpy(), lengths))
        return found

    with frozen(target):
        state = new_state(target, data, settings)
        _warm_up(target, state, settings)
        with suppress(Reached):
            while state.step < settings.steps:
                step(target, data, settings, state, losses)
                clock.tick(look)
    return clock.found


def theirs(seed: int, limit: float, checkout: Path, weights: Path) -> dict[str, Any]:
    """Their published config and loop, with our target's weights in their network."""
    sys.path.insert(0, str(checkout))
    os.environ.update(WANDB_MODE="disabled", SPD_OUT_DIR=tempfile.mkdtemp())
    import yaml  # pyright: ignore[reportMissingModuleSource]
    from spd import run_spd  # pyright: ignore[reportMissingImports]
    from spd.configs import Config  # pyright: ignore[reportMissingImports]
    from spd.experiments.tms.configs import TMSModelConfig  # pyright: ignore[reportMissingImports]
    from spd.experiments.tms.models import TMSModel  # pyright: ignore[reportMissingImports]
    from spd.utils.data_utils import (  # pyright: ignore[reportMissingImports]
        DatasetGeneratedDataLoader,
        SparseFeatureDataset,
    )

    given = yaml.safe_load((checkout / "spd/experiments/tms/tms_5-2_config.yaml").read_text())
    config = Config(
        **(
            given
            | {
                "seed": seed,
                "wandb_project": None,
                "eval_metric_configs": [],
                "n_eval_steps": 1,
                "autocast_bf16": False,
            }
        )
    )
    stored = np.load(weights)
    network = TMSModel(
        TMSModelConfig(
            n_features=5, n_hidden=2, n_hidden_layers=0, tied_weights=True, init_bias_to_zero=True, device="cpu"
        )
    )
    with torch.no_grad():
        network.linear1.weight.copy_(torch.tensor(stored["w_in"]))
        network.linear2.bias.copy_(torch.tensor(stored["bias"]))
    network.tie_weights_()
    network.eval()
    torch.manual_seed(seed)
    made: list[Any] = []

    class Kept(run_spd.ComponentModel):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            made.append(self)

    run_spd.ComponentModel = Kept

    def look() -> Parts:
        state = torch.get_rng_state()
        with torch.no_grad():
            cache = made[0](ONE_HOT * torch.eye(5), cache_type="input").cache
            lower = made[0].calc_causal_importances(cache, sampling="continuous").lower_leaky
        found = []
        for name, side in (("linear1", "in"), ("linear2", "out")):
            own = made[0].components[name]
            weight = network.get_submodule(name).weight.detach().numpy()
            found.append((lower[name].numpy(), ratios(weight, own.V.detach().numpy(), own.U.detach().numpy(), side)))
        torch.set_rng_state(state)
        return found

    class Watched(SparseFeatureDataset):
        """Batches are asked for before steps, and one before all to see its shape: the third follows the first step."""

        asked = 0

        def generate_batch(self, batch_size: int) -> Any:
            self.asked += 1
            if self.asked > 2:
                clock.tick(look)
            return super().generate_batch(batch_size)

    def loader(kind: type) -> Any:
        data = kind(5, config.task_config.feature_probability, "cpu", config.task_config.data_generation_type)
        return DatasetGeneratedDataLoader(data, batch_size=config.batch_size)

    clock = Clock(limit)
    with suppress(Reached):
        run_spd.optimize(
            network,
            config,
            "cpu",
            loader(Watched),
            loader(SparseFeatureDataset),
            1,
            Path(tempfile.mkdtemp()),
            tied_weights=[("linear1", "linear2")],
        )
    return clock.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help="a checkout of goodfire-ai/spd")
    parser.add_argument("--python", help="an interpreter that can import it (3.13)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limit", type=float, default=600.0, help="CPU seconds for one training of a side")
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.side:
        (seed,) = given.seeds
        more = (given.checkout, given.weights) if given.side == "theirs" else ()
        print(json.dumps((theirs if more else ours)(seed, given.limit, *more)))
        return
    if given.checkout is None or given.python is None:
        parser.error("give --checkout FOLDER (goodfire-ai/spd) and --python INTERPRETER (made as --help says)")
    if not (given.checkout / "spd" / "run_spd.py").is_file():
        parser.error(f"{given.checkout} is no checkout of goodfire-ai/spd: it has no spd/run_spd.py")
    both(given)


def both(given: argparse.Namespace) -> None:
    """Seed by seed, ours and theirs in turn."""
    from radiograph.organisms.toys import load_toy

    network: Any = load_toy("tms-5-2").network
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "target.npz"
        np.savez(weights, w_in=network.w_in.weight.detach().numpy(), bias=network.w_out.bias.detach().numpy())
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for seed in given.seeds:
            for side, python in (("ours", sys.executable), ("theirs", given.python)):
                command = [python, __file__, "--side", side, "--seeds", str(seed), "--limit", str(given.limit)]
                command += ["--checkout", str(given.checkout.resolve()), "--weights", str(weights)]
                print(f"seed {seed}, {side} …", file=sys.stderr, flush=True)
                ran = subprocess.run(command, check=False, capture_output=True, text=True)
                if ran.returncode:
                    sys.exit(f"{side} failed:\n{ran.stderr[-2000:]}")
                found = json.loads(ran.stdout.splitlines()[-1])
                pace = 1e3 * found["ran_seconds"] / max(found["ran"], 1)
                if found["step"] is None:
                    end = f"not exact within {found['ran']} steps, {found['ran_seconds']:.1f} s"
                else:
                    end = f"exact from step {found['step']}, {found['seconds']:.1f} s"
                    seconds[side].append(found["seconds"])
                print(f"seed {seed}, {side}: {end}; {pace:.2f} ms a step", flush=True)
    exact_in = ", ".join(f"{side} exact on {len(own)} of {len(given.seeds)} seeds" for side, own in seconds.items())
    print(exact_in)
    if seconds["ours"] and seconds["theirs"]:
        a, b = (float(np.median(seconds[side])) for side in ("ours", "theirs"))
        print(f"median seconds to exact: ours {a:.1f}, theirs {b:.1f}, theirs / ours {b / a:.1f}")


if __name__ == "__main__":
    main()
