"""What is compared with its own kind or with nothing, and what a run without any p says to the shell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from radiograph.methods.resonance._planes import _groups, _measure
from radiograph.methods.resonance._schemas import _ensemble
from radiograph.methods.resonance.compare import ResonanceCompare
from radiograph.methods.resonance.sweep import ResonanceSweep
from radiograph.numerics.planes import Labels, Transform, all_pairs, coordinates, planes_of, triangulated, unit_rows
from radiograph.store.planes import open_basis, open_rows
from radiograph.store.vectors import read_directions
from running import go

SITE, WIDTH = "mlp_out.3", 24


def test_a_run_that_could_test_nothing_measured_nothing():
    for result in (ResonanceCompare, ResonanceSweep):
        assert [result.model_construct(family=n).exit_code for n in (0, 3)] == [4, 0]


def test_vectors_that_are_no_axes_have_no_units_like_them_and_steer_by_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("one", 0), ("two", 1)):
        values = np.random.default_rng(seed).standard_normal((24, WIDTH))
        save_file({SITE: values.astype(np.float32)}, f"{name}.safetensors")
        lines = [f"c{i % 4},{'ab'[i // 12]},{i}" for i in range(24)]
        Path(f"{name}.csv").write_text("\n".join(["core,type,variant", *lines]))
    go("resonance basis", kind="pca", of=("2",), vectors="one.safetensors", out="own")
    rows = open_rows(Path("two.safetensors"))
    asked = _measure.Asked(permutations=19, limit=0, null="matched")
    transform = Transform.fit("raw", rows.values.astype(float))
    found = _measure.measure(_groups.grouped(rows, ("type",)), open_basis(Path("own")), "own", transform, asked)
    # No span of axes is the null of components.
    assert found.span is not None and found.span.null != "matched"
    held = read_directions(Path("own/basis.safetensors"))
    assert list(held) == ["0", "1", "component 1", "component 2"]
    np.testing.assert_array_equal(held["1"], held["component 2"])
    np.testing.assert_array_equal(held["1"], open_basis(Path("own")).vectors[1].astype(np.float32))


def test_components_of_the_very_rows_hold_no_more_of_a_group_that_means_nothing():
    cores, below = [f"c{i // 6}" for i in range(48)], np.zeros(2)
    mask = np.arange(48) % 3 == 0
    for seed in range(30):
        # A spectrum that decays: most of any mean lies in the first components.
        raw = np.random.default_rng(seed).standard_normal((48, 40)) * np.arange(1, 41) ** -0.7
        raw -= _ensemble.core_means(raw, cores)
        rows, _ = unit_rows(raw)
        vectors = np.linalg.svd(raw, full_matrices=False)[2][:8]
        z = coordinates(rows @ vectors.T, planes_of(vectors @ vectors.T, *all_pairs(8))[0])
        own = np.hypot(*z[:, :, mask].mean(axis=2)).mean(), triangulated(rows[mask].mean(axis=0), vectors)[1]
        null = _ensemble._chance(rows, vectors, z, Labels(mask.tolist(), cores), 99, seed)
        below += (1 + (null >= np.array(own) - 1e-12).sum(axis=0)) / 100 < 0.0501
    assert (below / 30 <= 0.17).all()
