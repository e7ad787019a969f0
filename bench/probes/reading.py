"""Applying a probe to stored activations: CPU seconds against reading the file and one product with `whiten`, and RSS.

    python bench/probes/reading.py [--rows 200000] [--width 4096] [--axes 256] [--repeats 5]

Both sides run in this process in turn on the same .npy file, in the same chunks; the medians of user and system time
and their ratio are printed, and the peak RSS of a process of its own that only applies the probe. Torch is imported by
neither.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from radiograph.numerics.probes import Support
from radiograph.probing import Probe, chunk_rows, read
from radiograph.store.activations import open_activations


def probe_of(width: int, axes: int) -> Probe:
    """A probe of that width; its numbers do not matter here."""
    rng = np.random.default_rng(0)
    whiten = rng.standard_normal((width, axes)).astype(np.float32)
    quantiles = np.linspace(0, 2 * axes, 1001)
    support = Support(np.zeros(width, np.float32), whiten, quantiles[None], np.linspace(0, 1e3, 1001))
    w = rng.standard_normal(width).astype(np.float32)
    return Probe("p", "custom", "calibrated", "token", None, "rms", "resid_post.0", w, 3.0, "", None, support)


def applied(path: Path, probe: Probe) -> None:
    """The whole reading."""
    store = open_activations(path)
    number = np.arange(store.rows) // 32

    def chunks():  # noqa: ANN202
        start = 0
        for rows in store.chunks(chunk_rows(store.width)):
            yield rows, number[start : start + len(rows)]
            start += len(rows)

    assert len(read(probe, chunks())) == store.rows


def least(path: Path, probe: Probe) -> None:
    """Reading, and the one product."""
    assert probe.support is not None
    for rows in open_activations(path).chunks(chunk_rows(len(probe.w))):
        rows @ probe.support.whiten


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--axes", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--apply", type=Path, help="only apply the probe to a file, and print the peak RSS")
    options = parser.parse_args()
    probe = probe_of(options.width, options.axes)
    if options.apply is not None:
        applied(options.apply, probe)
        assert "torch" not in sys.modules
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        made = np.lib.format.open_memmap(path, "w+", np.float32, (options.rows, options.width))
        for start in range(0, options.rows, 4096):
            made[start : start + 4096] = np.random.default_rng(start).standard_normal(made[start : start + 4096].shape)
        del made
        seconds: dict[str, list[float]] = {"applied": [], "least": []}
        for _ in range(options.repeats):
            for name, work in (("least", least), ("applied", applied)):
                start = time.process_time()
                work(path, probe)
                seconds[name].append(time.process_time() - start)
        own = [
            sys.executable,
            __file__,
            "--apply",
            str(path),
            "--width",
            str(options.width),
            "--axes",
            str(options.axes),
        ]
        rss = subprocess.run(own, check=True, capture_output=True, text=True).stdout.strip()
    a, b = median(seconds["applied"]), median(seconds["least"])
    print(
        f"{options.rows} x {options.width}, {options.axes} axes: {a:.2f} s applied, {b:.2f} s least, ratio {a / b:.2f}"
    )
    print(f"peak RSS {rss} MiB")


if __name__ == "__main__":
    main()
