"""`inspect` from the call of the command line to the complete bundle, beside interp-lab 0.2.0, in turn; and its memory.

    python -m venv /tmp/interp && /tmp/interp/bin/pip install interp-lab==0.2.0
    python bench/features/inspection.py --interp /tmp/interp/bin/python [--rows 20000] [--runs 5] [--folder FOLDER]
        [--what jsonl,parquet,cards,interventions,memory] [--millions 1,10,30] [--out FILE]

Data: acceptance 1. Rows with labels in turn, 45 random features of 5,000 each, five planted ones that fire with p .9
and .02; texts of eight random words. Cases, each run in a process of its own, warm (imports and templates excluded by a
small run before, on both sides):

| case | ours | interp-lab |
|---|---|---|
| jsonl | `--permutations 0 --bootstrap 0 --surface off --cards 8`, the file turned anew | its records backend |
| parquet | the same from records turned before | the same file |
| cards | all defaults, 20 cards | the same file |
| interventions | as jsonl, with 40,000 rows of interventions | the same two files |
| memory | records by row of 1, 10, 30 million triplets, defaults of memory | – |

Prints JSON: median wall and CPU seconds of either side, ratios, the largest resident set, and whether the planted five
take ranks 1 to 5, are confirmed, and nothing else is. Bars: 10, 25, 3, 20 times; 350 MiB; CPU per triplet at most 1.3
times that of 1 M, 900 MiB, and 30 M at most 1.15 times 10 M.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

FEATURES, RANDOM, PLANTED = 5000, 45, 5
CRITERION = "mentions of physical units"
PLAIN = {"permutations": 0, "bootstrap": 0, "surface": "off", "cards": 8}
BARS = {"jsonl": 10.0, "parquet": 25.0, "cards": 3.0, "interventions": 20.0}
THEIRS = """
import json, sys
from time import perf_counter, process_time
from oracle_sae.cli import main
warm, out, *arguments = sys.argv[1:]
def call(own, folder):
    try:
        main([*own, "--out", folder])
    except SystemExit as stop:
        assert not stop.code, stop.code
records = arguments.index("--records") + 1
small = [warm if i == records else a for i, a in enumerate(arguments)]
at = small.index("--interventions") if "--interventions" in small else len(small)
call(small[:at], out + "-warm")
wall, cpu = perf_counter(), process_time()
call(arguments, out)
resident = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps([perf_counter() - wall, process_time() - cpu, resident]))
"""


def write_records(path: Path, rows: int) -> None:
    """JSON Lines as interp-lab writes them."""
    rng = np.random.default_rng(0)
    label = np.arange(rows) % 2
    luck = rng.random((rows, FEATURES - PLANTED), dtype=np.float32)
    taken = np.argpartition(luck, RANDOM, axis=1)[:, :RANDOM]
    fires = rng.random((rows, PLANTED)) < np.where(label[:, None] == 1, 0.9, 0.02)
    noise = rng.exponential(size=taken.size).reshape(taken.shape) + 0.01
    strong = iter(rng.uniform(1, 2, int(fires.sum())).tolist())
    words = np.random.default_rng(1).integers(0, 26, (rows, 8, 5))
    with path.open("w") as handle:
        for row in range(rows):
            own = {f"f{f}": round(v, 6) for f, v in zip(taken[row].tolist(), noise[row].tolist(), strict=True)}
            own |= {f"f{FEATURES - PLANTED + i}": round(next(strong), 6) for i in np.flatnonzero(fires[row]).tolist()}
            text = " ".join("".join(chr(97 + letter) for letter in word) for word in words[row].tolist())
            head = {"model": "m", "prompt_id": f"p{row}", "group_id": f"g{row}", "text": text}
            handle.write(json.dumps(head | {"criterion_score": float(label[row]), "features": own}) + "\n")


def write_interventions(path: Path, rows: int = 40_000) -> None:
    """Ablations of 200 features on 200 prompts each."""
    rng = np.random.default_rng(1)
    with path.open("w") as handle:
        for row in range(rows):
            feature = FEATURES - 1 - row % 200
            moved = (0.2 if feature >= FEATURES - PLANTED else 0.0) + rng.normal(0, 0.02)
            line = {"model": "m", "criterion": CRITERION, "feature_id": f"f{feature}", "prompt_id": f"q{row // 200}"}
            line |= {"intervention": "ablate", "baseline_score": 0.5, "intervention_score": round(0.5 - moved, 6)}
            handle.write(json.dumps(line | {"side_effect_score": 0.01}) + "\n")


def ours(config: dict[str, Any], warm: dict[str, Any] | None) -> dict[str, Any]:
    """One run of the command line in this process, after one that warms it up."""
    from radiograph.surfaces.cli import main

    def run(own: dict[str, Any], out: str) -> tuple[float, float]:
        shutil.rmtree(".radiograph", ignore_errors=True)
        rest = {name: value for name, value in own.items() if name not in ("model", "features")}
        asked = [f"--{name}={value}" for name, value in rest.items()] + [f"--features={one}" for one in own["features"]]
        wall, cpu = perf_counter(), process_time()
        try:
            main(["inspect", own["model"], *asked, "--quiet", "--out", out])
        except SystemExit as stop:
            assert not stop.code, stop.code
        return perf_counter() - wall, process_time() - cpu

    if warm is not None:
        run(warm, "warm")
        shutil.rmtree("warm")
    with contextlib.redirect_stdout(sys.stderr):
        wall, cpu = run(config, "run")
    # Not ru_maxrss, which a process inherits from the one that started it.
    resident = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    found = json.loads(Path("run/result.json").read_text())["correlational"]["findings"]
    sure = {f["feature"] for f in found if f["grade"] not in ("none", "candidate")}
    names = {f"f{n}" for n in range(FEATURES - PLANTED, FEATURES)}
    page = Path("run/report.html").stat().st_size
    shutil.rmtree("run")
    exact = {f["feature"] for f in found[:PLANTED]} == names == sure
    return {"wall": wall, "cpu": cpu, "resident": resident, "exact": exact, "page": page}


def child(call: list[str], folder: Path) -> Any:
    """The last line that a process prints."""
    done = subprocess.run(call, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(case: str, folder: Path, interp: str, runs: int) -> dict[str, Any]:
    """Both sides in turn."""
    source = "records:store" if case == "parquet" else "records:full.jsonl"
    config: dict[str, Any] = {"model": "m", "criterion": CRITERION, "features": [source]}
    config |= {} if case == "cards" else PLAIN
    theirs = ["inspect", "--model", "m", "--criterion", CRITERION, "--backend", "records", "--records", "full.jsonl"]
    if case == "interventions":
        config["interventions"] = "moved.jsonl"
        theirs += ["--interventions", "moved.jsonl"]
    warm = {**config, "features": ["records:small.jsonl"]}
    warm.pop("interventions", None)
    one = [sys.executable, str(Path(__file__).resolve()), "--ours", json.dumps([config, warm])]
    other = [interp, "-c", THEIRS, "small.jsonl", "theirs", *theirs]
    left, right = [], []
    for _ in range(runs):
        left.append(child(one, folder))
        right.append(child(other, folder))
    own = {name: statistics.median(run[name] for run in left) for name in ("wall", "cpu", "resident")}
    his = dict(zip(("wall", "cpu", "resident"), map(statistics.median, zip(*right, strict=True)), strict=True))
    return {
        "case": case,
        "ours": {name: round(value, 3) for name, value in own.items()},
        "interp_lab": {name: round(value, 3) for name, value in his.items()},
        "ratio_wall": round(his["wall"] / own["wall"], 1),
        "ratio_cpu": round(his["cpu"] / own["cpu"], 1),
        "bar": BARS[case],
        "exact": all(run["exact"] for run in left),
        "page_bytes": max(run["page"] for run in left),
        "runs": runs,
    }


def memory(folder: Path, sizes: list[float]) -> list[dict[str, Any]]:
    """Records by row of several sizes."""
    import triplets

    out: list[dict[str, Any]] = []
    for millions in sizes:
        store = folder / f"store-{millions:g}"
        triplets.make_folder(store, millions)
        config = {"model": "m", "criterion": CRITERION, "features": [f"records:{store.name}"], **PLAIN}
        found = child([sys.executable, str(Path(__file__).resolve()), "--ours", json.dumps([config, None])], folder)
        shutil.rmtree(store)
        row = {"millions": millions, "cpu": round(found["cpu"], 2), "resident_mib": round(found["resident"], 1)}
        base = out[0]["cpu"] / out[0]["millions"] if out else found["cpu"] / millions
        out.append(row | {"per_triplet": round(found["cpu"] / millions / base, 3)})
    return out


def main() -> None:
    """All cases, or one run of ours in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interp", help="an interpreter that has interp-lab 0.2.0")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--what", default="jsonl,parquet,cards,interventions,memory")
    parser.add_argument("--millions", default="1,10,30")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ours", help="configuration and warm-up, as JSON")
    given = parser.parse_args()
    if given.ours:
        print(json.dumps(ours(*json.loads(given.ours))))
        return
    results: list[Any] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        folder = Path(made)
        cases = [case for case in given.what.split(",") if case != "memory"]
        if cases:
            if given.interp is None:
                raise SystemExit("--interp PYTHON is needed to compare with")
            from radiograph.store.foreign import read_records

            write_records(folder / "small.jsonl", 400)
            write_records(folder / "full.jsonl", given.rows)
            write_interventions(folder / "moved.jsonl")
            shutil.copytree(read_records(folder / "full.jsonl", folder / "turned").folder, folder / "store")
        for case in cases:
            results.append(compare(case, folder, given.interp, given.runs))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
        if "memory" in given.what.split(","):
            results.append({"case": "memory", "sizes": memory(folder, [float(m) for m in given.millions.split(",")])})
    text = json.dumps({"rows": given.rows, "features": FEATURES, "results": results}, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
