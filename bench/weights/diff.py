"""`weights diff` against what it replaces: a dense SVD for adapters, and the whole of both models in memory.

Time: a LoRA adapter of rank 16 on one 4,096 × 4,096 matrix, float32. The verb's own measurement (reading the files,
norms, spectrum, the matrix's 64 leading directions) and NumPy's dense SVD of the formed product, in one process. The
first is the median of `--rounds`; the second runs once, since it takes half a minute. Bar: 50 times faster.
Memory: a full fine-tune of one large tensor, one process a shape, peak resident memory in all. Bar: three times the
tensor and 200 MB. Prints one JSON line a workload.
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

import numpy as np
from safetensors.numpy import save_file

from radiograph.detectors import measure_weights
from radiograph.models import StoredPair, stored

SIDE, RANK, SPEED_BAR, MEMORY_BAR_MB = 4096, 16, 50, 200
SHAPES = {
    "randomised": ("model.layers.0.mlp.up_proj.weight", (11008, 4096)),
    "dense, wide": ("model.layers.0.mlp.down_proj.weight", (2048, 8192)),
    "dense, tall": ("model.embed_tokens.weight", (65536, 1024)),
}


def folder(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    path.mkdir()
    width = next(iter(tensors.values())).shape[1]
    config = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": width, "num_attention_heads": 32}
    (path / "config.json").write_text(json.dumps(config))
    save_file(tensors, path / "model.safetensors")
    return path


def adapter(path: Path, b: np.ndarray, a: np.ndarray) -> Path:
    path.mkdir()
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": RANK}))
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file({f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}, path / "adapter_model.safetensors")
    return path


def speed(rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    weight = (0.02 * rng.standard_normal((SIDE, SIDE))).astype(np.float32)
    b, a = (0.01 * rng.standard_normal(s) for s in ((SIDE, RANK), (RANK, SIDE)))
    b, a = b.astype(np.float32), a.astype(np.float32)
    with tempfile.TemporaryDirectory() as root:
        base = folder(Path(root) / "base", {"model.layers.0.self_attn.q_proj.weight": weight})
        change = adapter(Path(root) / "adapter", b, a)
        pair = StoredPair(stored(str(base)), stored(f"{base}+{change}"))
        thin: list[float] = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            found = measure_weights(pair)
            thin.append(time.perf_counter() - began)
    product = b.astype(np.float64) @ a
    began = time.perf_counter()
    values = np.linalg.svd(product, full_matrices=False).S
    dense = time.perf_counter() - began
    matrix = found.matrices[0]
    assert matrix.spectral is not None and abs(matrix.spectral / values[0] - 1) < 1e-5
    ratio = dense / statistics.median(thin[1:])
    return {
        "workload": f"LoRA r {RANK} on {SIDE}^2",
        "thin_s": round(statistics.median(thin[1:]), 3),
        "dense_svd_s": round(dense, 1),
        "ratio": round(ratio, 1),
        "bar": SPEED_BAR,
        "pass": ratio >= SPEED_BAR,
    }


def memory(name: str, dtype: str) -> dict[str, object]:
    parameter, shape = SHAPES[name]
    with tempfile.TemporaryDirectory() as root:
        for seed, side in enumerate(("reference", "candidate")):
            values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
            folder(Path(root) / side, {parameter: values if dtype == "F32" else values.astype(np.float16)})
        command = [sys.executable, __file__, "--measure", f"{root}/reference", f"{root}/candidate"]
        peak, seconds = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    tensor = int(np.prod(shape)) * (4 if dtype == "F32" else 2) / 2**20
    return {
        "workload": f"full fine-tune, {name}, {shape[0]} x {shape[1]} {dtype}",
        "seconds": round(seconds, 1),
        "tensor_mb": round(tensor),
        "peak_mb": round(peak),
        "bar": round(3 * tensor + MEMORY_BAR_MB),
        "pass": peak <= 3 * tensor + MEMORY_BAR_MB,
    }


def measure(reference: str, candidate: str) -> None:
    began = time.perf_counter()
    found = measure_weights(StoredPair(stored(reference), stored(candidate)))
    assert found.n_changed == 1
    seconds = time.perf_counter() - began
    # Not ru_maxrss: a child starts with its parent's.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    sys.stdout.write(json.dumps([int(status["VmHWM"].split()[0]) / 1024, seconds]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    results = [memory(name, dtype) for name in SHAPES for dtype in ("F32", "F16")]
    results.append(speed(options.rounds))
    for result in results:
        sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(0 if all(r["pass"] for r in results) else 1)


if __name__ == "__main__":
    main()
