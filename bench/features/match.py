"""`match` of two sides of planted features: ours and interp-lab 0.2.0, each in a process of its own, taking turns.

    python bench/features/match.py --peer PYTHON [--features 2000] [--units 256] [--rounds 5] [--out FILE]

PYTHON is that of an environment with interp-lab (`python bench/peers.py make interp-lab`, or `pip install
interp-lab==0.2.0` in one of your own). Both sides read the same two files of features with activation signatures, and
write their matches as JSON; imports are not counted. Theirs compares reports, so it gets reports of all features, whose
making is not counted either; ours is paid for reading, null, pairing one to one, intervals, and the whole bundle with
its tables and page. A tenth of the features
are planted in pairs that agree on 80 % of the units; `right` of the `found` pairs are those.

Bars at 2,000 features: 100 × less CPU, at most 400 MiB. Ratios count only where the planted pairs are found.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from peers import interpreter

MODELS = ("left", "right")
CRITERION = "anything"


def plant(folder: Path, features: int, units: int, density: float) -> dict[str, str]:
    """Write both files; what is planted: left id to right id."""
    import numpy as np

    rng = np.random.default_rng(0)
    sides = [
        np.where(rng.random((features, units)) < density, rng.exponential(size=(features, units)) + 0.01, 0.0)
        for _ in MODELS
    ]
    planted = features // 10
    kept = rng.random((planted, units)) < 0.8
    sides[1][:planted] = np.where(kept, sides[0][:planted], sides[1][:planted])
    order = rng.permutation(features)
    sides[1] = sides[1][order]
    prompts = [f"p{unit}" for unit in range(units)]
    for model, table in zip(MODELS, sides, strict=True):
        with (folder / f"{model}.jsonl").open("w") as file:
            for place, values in enumerate(table.round(6).tolist()):
                line = {"feature_id": f"{model}#{place}", "model": model, "label": f"feature {place}"}
                file.write(json.dumps({**line, "activation_signature": values, "prompt_ids": prompts}) + "\n")
    back = np.argsort(order)
    return {f"left#{i}": f"right#{back[i]}" for i in range(planted)}


def ours(folder: Path) -> list[tuple[str, str]]:
    """From two files to a complete bundle: matches with null, intervals, pairing, tables, report."""
    from radiograph.runtime import Settings, execute, find, resolve
    from radiograph.store import Workspace

    verb = find("match")
    config = {side: f"{model}.jsonl" for side, model in zip(("left", "right"), MODELS, strict=True)}
    settings = Settings(workspace=Workspace(folder), out=Path(f"bundle-{time.time_ns()}"))
    done = execute(verb, resolve(verb, config, environment=False), settings)
    return [(pair.left, pair.right) for pair in done.result.matches]


def warmed() -> None:
    """A small match, so that everything is imported before the clock starts."""
    with tempfile.TemporaryDirectory() as name:
        plant(Path(name), 20, 40, 0.5)
        ours(Path(name))


def theirs(folder: Path) -> list[tuple[str, str]]:
    """Reports to their matches, as many as are planted: it has no null, and no count of its own."""
    from interp_lab import compare  # pyright: ignore[reportMissingImports]

    top = sum(1 for _ in (folder / "left.jsonl").open()) // 10
    made = compare(*(folder / f"{model}.json" for model in MODELS), top_k=top, out=folder / "theirs.json")
    return [(match.left_feature_id, match.right_feature_id) for match in made.report.matches]


def report(folder: Path) -> None:
    """What `theirs` reads, by its own `inspect`; not measured."""
    from interp_lab import inspect  # pyright: ignore[reportMissingImports]

    for model in MODELS:
        made = inspect(model, CRITERION, backend="jsonl", features=folder / f"{model}.jsonl", top_k=10**9)
        (folder / f"{model}.json").write_text(json.dumps(made.to_dict()))


def measured(side: str, folder: Path) -> None:
    """One run, in this process: imports first, then the clock."""
    if side == "ours":
        warmed()
    else:
        import interp_lab  # noqa: F401  # pyright: ignore[reportMissingImports]
    wall, cpu = time.perf_counter(), time.process_time()
    pairs = {"ours": ours, "theirs": theirs}[side](folder)
    spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    json.dump({**spent, "rss_mib": peak, "pairs": pairs}, sys.stdout)


def run(python: str, side: str, folder: Path) -> dict:
    """One side in a process of its own."""
    here = Path(__file__).resolve()
    done = subprocess.run(
        [python, str(here), "--side", side, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout) if done.stdout else {}


def compared(peer: str, folder: Path, truth: dict[str, str], rounds: int) -> dict:
    """Both sides, taking turns; medians."""
    runs: dict[str, list[dict]] = {"ours": [], "theirs": []}
    run(peer, "report", folder)
    for _ in range(rounds):
        runs["ours"].append(run(sys.executable, "ours", folder))
        runs["theirs"].append(run(peer, "theirs", folder))
    sides = {}
    for side, made in runs.items():
        pairs = [tuple(pair) for pair in made[-1]["pairs"]]
        sides[side] = {
            **{key: statistics.median(one[key] for one in made) for key in ("cpu_s", "wall_s", "rss_mib")},
            "found": len(pairs),
            "right": sum(truth.get(left) == right for left, right in pairs),
        }
    ratio = sides["theirs"]["cpu_s"] / sides["ours"]["cpu_s"]
    return {"planted": len(truth), "rounds": rounds, **sides, "cpu_ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=interpreter("interp-lab"), metavar="PYTHON")
    parser.add_argument("--features", type=int, default=2000)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--density", type=float, default=0.15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--side", choices=["ours", "theirs", "report"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "report":
        report(options.folder)
        return
    if options.side:
        measured(options.side, options.folder)
        return
    if not options.peer:
        parser.error("--peer: the Python of an environment with interp-lab 0.2.0")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = plant(folder, options.features, options.units, options.density)
        made = compared(options.peer, folder, truth, options.rounds)
    result = {"features": options.features, "units": options.units, "density": options.density, **made}
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
