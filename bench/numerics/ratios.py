"""Statistics of an audit against the bare linear algebra they rest on: medians of five, both sides in one run.

    OMP_NUM_THREADS=1 python bench/numerics/ratios.py

Bars: neighbours of 150 queries among 16,384 rows of width 2,304 ≤ 1.15 × one matrix product of that shape; spectrum of
a rank-16 LoRA on 4,096² ≥ 50 × faster than a dense SVD (timed at 2,048² and scaled by 8, its cost being cubic);
p-values of 199 benign models and 14 detectors < 0.5 s.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

from radiograph.numerics import (
    combine,
    conformal_p,
    low_rank_spectrum,
    nearest_rows,
    score_features,
    specificity,
    spectrum,
    stability,
)


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time after one warm-up."""
    work()
    times: list[float] = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)


def neighbours_over_product(generator: np.random.Generator) -> tuple[float, float]:
    """Seconds of the search and of the bare product."""
    rows = generator.standard_normal((16_384, 2_304), dtype=np.float32)
    queries = np.arange(0, 16_384, 109)[:150]
    return seconds(lambda: nearest_rows(rows, queries)), seconds(lambda: rows[queries] @ rows.T)


def dense_over_thin(generator: np.random.Generator) -> tuple[float, float]:
    """Seconds of a dense SVD at 4,096² (scaled from 2,048²) and of the thin path there."""
    b, a = generator.standard_normal((4_096, 16)), generator.standard_normal((16, 4_096))
    dense = generator.standard_normal((2_048, 2_048))
    return 8 * seconds(lambda: spectrum(dense), repeats=1), seconds(lambda: low_rank_spectrum(b, a))


def p_values(generator: np.random.Generator) -> float:
    """Seconds of single and combined p of 14 detectors over 199 benign models."""
    pool = generator.standard_normal((200, 14))

    def work() -> None:
        for detector in range(14):
            conformal_p(pool[-1, detector], pool[:-1, detector])
        combine(pool[-1], pool[:-1], np.full(14, 1e-6))

    return seconds(work)


def feature_scores(generator: np.random.Generator) -> float:
    """Seconds of scores, specificity and stability of 300 prompts and 16,384 features."""
    reference = generator.random((300, 16_384)) * (generator.random((300, 16_384)) < 0.01)
    candidate = reference + generator.standard_normal(reference.shape) * (generator.random(reference.shape) < 0.005)
    groups = [str(prompt // 5) for prompt in range(300)]

    def work() -> None:
        scores = score_features(reference, candidate, method="leave_group_out", groups=groups)
        if isinstance(scores, Exception):
            raise scores
        specificity(scores.differences, scores.corrected)
        stability(scores.corrected, scores.top, groups)

    return seconds(work)


def main() -> None:
    """Print one line per bar."""
    generator = np.random.default_rng(0)
    search, product = neighbours_over_product(generator)
    print(f"neighbours / product   {search / product:8.2f}   ({search:.3f} s, {product:.3f} s)")
    dense, thin = dense_over_thin(generator)
    print(f"dense SVD / thin path  {dense / thin:8.0f}   ({dense:.1f} s, {thin:.4f} s)")
    print(f"p-values, seconds      {p_values(generator):8.3f}")
    print(f"feature scores, seconds{feature_scores(generator):8.3f}")


if __name__ == "__main__":
    main()
