"""The harvest pass beside a bare forward, importance nets and one product of components with components; merging;
the label runner beside an ideal one.

    python bench/decompose/harvest.py pass FOLDER_OF_A_DECOMPOSITION [BATCHES] | merge FOLDER | labels

`pass`: a shard of so many batches (1; a default shard has 32); CPU seconds, alternating, medians of five; counts of
both sides are compared first. `merge`: resident memory of a process that adds partials up, beside one partial.
`labels`: seconds of the clock, 1,000 answers of 50 ms, 20 at once.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

torch.set_num_threads(1)
TOKENS = 2048


def engine(folder: Path, home: Path, tokens: int = TOKENS) -> Any:
    from radiograph import decompose
    from radiograph.decompose.statistics import Engine, Spec, Texts
    from radiograph.models import load
    from radiograph.models.masked import of_model
    from radiograph.organisms import bundled_path

    target = of_model(load(str(bundled_path("base"))))
    made = decompose.load(folder)
    windows, length = tokens // 64, 64
    luck = np.random.default_rng(0)
    texts = Texts(
        tokens=luck.integers(10, target.model.vocab_size, windows * length).astype(np.uint32),
        counted=np.ones(windows * length, bool),
        starts=np.arange(windows) * length,
        lengths=np.full(windows, length, np.int64),
        documents=tuple(f"d{n}" for n in range(windows)),
        groups=tuple(f"d{n}" for n in range(windows)),
        parts=np.zeros(windows, np.int64),
        recorded=np.zeros(windows, bool),
    )
    facts = {"fires": 1e-6, "seed": 0, "examples": 400, "around": 20, "shard_tokens": 1 << 30, "batch_tokens": TOKENS}
    return Engine(target, made, Spec("", str(folder), home, tuple(facts.items()), "bench"), texts)


def passing(folder: Path, batches: int) -> None:
    own = engine(folder, Path(tempfile.mkdtemp()), batches * TOKENS)
    ids = torch.from_numpy(own.texts.tokens.astype(np.int64)).view(batches, -1, 64)

    @torch.no_grad()
    def bare() -> torch.Tensor:
        total = torch.zeros(own.decomposition.size, own.decomposition.size)
        for rows in ids:
            seen = own.decomposition.observe(own.target, rows)
            fires = torch.cat([g.flatten(0, -2) for g in seen.lower.values()], -1).gt(1e-6).float()
            total.addmm_(fires.T, fires)
        return total

    both = bare().numpy()
    sums = own.shard(0)
    assert np.array_equal(np.triu(both, 1), sums.pairs.toarray()), "both sides count the same"
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(5):
        for side, call in zip(took, (lambda: own.shard(0), bare), strict=True):
            began = time.process_time()
            call()
            side.append(time.process_time() - began)
    ours, theirs = median(took[0]), median(took[1])
    fired = float(np.diag(both).sum()) / (batches * TOKENS)
    print(f"pass: {own.decomposition.size} components, {fired:.0f} fire on a token, {batches} × {TOKENS} tokens")
    print(f"ours {ours:.3f} s, forward + nets + C × C {theirs:.3f} s, ratio {ours / theirs:.2f}, bar 1.3")


def merging(folder: Path) -> None:
    home = Path(tempfile.mkdtemp())
    sums = engine(folder, home).shard(0)
    for number in range(6):
        sums.shards = (number,)
        sums.save(home / f"{number}.npz", "bench")
    del sums
    program = (
        "import sys\nfrom pathlib import Path\nfrom radiograph.decompose.statistics._sums import Sums\n"
        "def peak():\n    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return int(next(x for x in lines if x.startswith('VmHWM')).split()[1])\n"
        "before = peak()\n"
        "paths = sorted(Path(sys.argv[1]).glob('*.npz'))\ntotal = Sums.load(paths[0])\n"
        "one = peak()\n"
        "for path in paths[1:]:\n    total.take(path, 400)\n"
        "print(before, one, peak())\n"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", program, str(home)], capture_output=True, text=True, check=True)
    before, one, peak = (int(n) / 1024 for n in done.stdout.split())
    partial = (home / "0.npz").stat().st_size / 2**20
    print(
        f"merge of 6: {before:.0f} MiB before, {one:.0f} with one, peak {peak:.0f}; a partial on disk {partial:.0f} MiB"
    )
    print(f"peak above the start {peak - before:.0f} MiB, bar 1.3 × partial + 200 = {1.3 * partial + 200:.0f}")


def labels() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from chatting import Fault, chatting, completion  # pyright: ignore[reportMissingImports]
    from radiograph.store.chat import ChatClient, ChatSettings, Endpoint, Later

    def slow(payload: Any, number: int) -> Any:
        return Fault(body=completion("{}", payload, True), wait=0.05)

    with chatting(slow) as server:
        client = ChatClient(Endpoint.at(server.url, "m"), ChatSettings(concurrency=20))
        asks = [Later(lambda n=n: ({"role": "user", "content": f"{n}"},), "v", str) for n in range(1000)]
        began = time.monotonic()
        client.ask_all(asks, tolerated=0.05, after=10)
        took = time.monotonic() - began
    ideal = 1000 * 0.05 / 20
    print(f"labels: {took:.2f} s, ideal {ideal:.2f} s, ratio {took / ideal:.2f}, bar 1.15")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["pass", folder, *batches]:
            passing(Path(folder), int(*batches or [1]))
        case ["merge", folder]:
            merging(Path(folder))
        case ["labels"]:
            labels()
        case _:
            sys.exit(__doc__)
