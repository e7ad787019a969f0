"""`probe sae-diff` beside soup-cli on one planted fixture: CPU seconds, wall, memory, and what either finds.

    python bench/probes/sae_diff.py [--soup PYTHON] [--rounds 5] [--long] [--work FOLDER]

1. 512 columns, 16,384 unit rows, 2,000 tokens a side, paired noise .02, eight planted shifts, encoder bias −2
2. ours: the command, start-up and bundle included, at both depths. soup-cli: its own `compute_sae_diff` on the same
   arrays (its command takes JSON alone, capped at 16 MiB, which this fixture exceeds), imports included
3. sides alternate; CPU seconds (user + system), wall and peak RSS of each process; medians, and ratios of medians
4. what either side costs before it has done anything: the same on 64 unit rows of 32 columns and 640 tokens. Ours
   includes a sealed bundle with tables, page and seal; the ratios beyond that are those of the computation
--long: 200,000 tokens, standard depth: memory beside that of 2,000 tokens, and time a token.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from safetensors.numpy import save_file

AMOUNTS = (3, 3, 2, 2, 1.5, 1, -2, -3)
WIDTH, FEATURES, TOKENS, TOP = 512, 16_384, 2_000, 20
SOUP = """
import json, sys
import numpy as np
from soup_cli.utils.sae_diff import compute_sae_diff, load_sae_weights
sae = load_sae_weights("sae.safetensors")
report = compute_sae_diff(np.load("ref.npy"), np.load("cand.npy"), sae, top_k=20)
print(json.dumps([report.l2_drift, [c.feature_id for c in report.changes], [c.delta for c in report.changes]]))
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        here, tiny = Path(folder), Path(folder) / "tiny"
        planted = write(here, TOKENS)
        tiny.mkdir()
        write(tiny, 640, width=32, features=64)
        sides = {depth: (*ours(depth), "--out") for depth in ("standard", "full")}
        names = (*sides, "soup", *(f"{name} tiny" for name in (*sides, "soup")))
        taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
        heard: dict[str, str] = {}
        for number in range(options.rounds):
            for place, suffix in ((here, ""), (tiny, " tiny")):
                for name, command in sides.items():
                    said, *found = measured([*command, f"{name}{number}"], place)
                    heard[name + suffix] = said
                    taken[name + suffix].append(tuple(found))
                if options.soup:
                    said, *found = measured([options.soup, "-c", SOUP], place)
                    heard["soup" + suffix] = said
                    taken["soup" + suffix].append(tuple(found))
        for name, rows in taken.items():
            if rows:
                cpu, wall, rss = (median(column) for column in zip(*rows, strict=True))
                size = "" if "tiny" in name else f"   peak RSS {rss:7.1f} MiB"  # a small child shows what we hold
                print(f"{name:13} CPU {cpu:6.2f} s   wall {wall:6.2f} s{size}   n = {len(rows)}")
        if options.soup:
            for name in sides:
                theirs, mine = ([median(c) for c in zip(*taken[n], strict=True)] for n in ("soup", name))
                cpu, wall, rss = (a / b for a, b in zip(theirs, mine, strict=True))
                print(f"soup-cli over {name}: CPU {cpu:.2f} x, wall {wall:.2f} x, RSS {rss:.2f} x")
                beyond = [
                    own[0] - median(r[0] for r in taken[f"{n} tiny"]) for own, n in ((theirs, "soup"), (mine, name))
                ]
                print(f"  beyond what either costs on next to nothing: CPU {beyond[0] / beyond[1]:.2f} x")
        found = json.loads((here / "standard0" / "result.json").read_text())
        carried = {c["feature"] for c in found["carried"]}
        print(f"carried: {len(carried & planted)} of {len(planted)} planted, {len(carried - planted)} false")
        if options.soup:
            compare(here, heard["soup"], planted)
        if options.long:
            long(here, taken["standard"], options.rounds)


def write(here: Path, tokens: int, seed: int = 0, *, width: int = WIDTH, features: int = FEATURES) -> set[int]:
    """The fixture; returns the planted features."""
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((features, width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    planted = generator.choice(features, len(AMOUNTS), replace=False)
    added = np.array(AMOUNTS, np.float32) @ rows[planted]
    x = generator.standard_normal((tokens, width)).astype(np.float32)
    np.save(here / "ref.npy", x)
    np.save(here / "cand.npy", x + added + np.float32(0.02) * generator.standard_normal(x.shape).astype(np.float32))
    weights = {"W_enc": np.ascontiguousarray(rows.T), "b_enc": np.full(features, -2, np.float32), "W_dec": rows}
    save_file(weights, here / "sae.safetensors")
    return {int(i) for i in planted}


def ours(depth: str) -> list[str]:
    """Our command."""
    arguments = ["sae.safetensors", "ref.npy", "cand.npy", "--activation", "relu", "--depth", depth, "--quiet"]
    return [str(Path(sys.executable).with_name("radiograph")), "probe", "sae-diff", *arguments]


def measured(command: Sequence[str], here: Path) -> tuple[str, float, float, float]:
    """What a command says, its CPU seconds, wall and peak RSS in MiB."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {said}")
    return said, usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024


def compare(here: Path, said: str, planted: set[int]) -> None:
    """Values of both sides on the same arrays."""
    drift, features, deltas = json.loads(said)
    found = json.loads((here / "full0" / "result.json").read_text())
    mine = {c["feature"]: c["delta"] for c in found["changes"]}
    worst = max(abs(mine.get(f, np.inf) - d) for f, d in zip(features, deltas, strict=True))
    print(
        f"L2 {found['l2']['drift']:.6f} against {drift:.6f}; same top {TOP}: {list(mine) == features}; "
        f"largest difference of a delta {worst:.1e}; planted among its top {TOP}: {len(planted & set(features))}"
    )


def long(here: Path, short: list[tuple[float, float, float]], rounds: int) -> None:
    """200,000 tokens."""
    write(here, 100 * TOKENS)
    rows = [tuple(measured([*ours("standard"), "--out", f"long{n}"], here)[1:]) for n in range(min(2, rounds))]
    cpu, _, rss = (median(column) for column in zip(*rows, strict=True))
    before = [median(column) for column in zip(*short, strict=True)]
    a_token = (cpu - before[0]) / (99 * TOKENS) * 1e6
    print(f"200k tokens: CPU {cpu:.2f} s ({a_token:.1f} µs a further token), RSS {rss:.1f} MiB")
    print(f"RSS of 200k over that of 2k: {rss / before[2]:.2f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--soup", help="a Python that has soup-cli")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--work", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
