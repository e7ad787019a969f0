"""Options of the verbs of planes, and controls of written runs: what each does, on vectors whose truth is known."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from safetensors.numpy import save_file

from radiograph import dictionaries
from radiograph.core import UserError
from radiograph.numerics.units import LogBins, Shapes, SiteStatistics
from radiograph.organisms import bundled_path
from radiograph.store.planes import open_basis
from radiograph.store.statistics import write_statistics
from running import go

WIDTH, CORES, SITE = 24, 8, "mlp_out.3"
QUICK: dict[str, Any] = {"permutations": 199, "most_permutations": 0, "transform": ("raw",)}


def saved(name: str, values: np.ndarray, columns: dict[str, list[Any]]) -> str:
    save_file({SITE: values.astype(np.float32)}, f"{name}.safetensors")
    with Path(f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return f"{name}.safetensors"


def grid() -> dict[str, list[Any]]:
    cells = [(f"core {c}", t, level) for c in range(CORES) for t in ("plain", "loud") for level in (1, 2, 3)]
    return {name: list(held) for name, held in zip(("core", "type", "level"), zip(*cells, strict=True), strict=True)}


@pytest.fixture
def vectors(tmp_path, monkeypatch) -> np.ndarray:
    """Noise, a common mean, and the two types apart along unit 3; saved as `rows`."""
    monkeypatch.chdir(tmp_path)
    columns = grid()
    values = np.random.default_rng(0).standard_normal((6 * CORES, WIDTH)) + 1
    values[:, 3] += np.where(np.array(columns["type"]) == "loud", 2.0, -2.0)
    saved("rows", values, columns)
    return values


def basis(name: str, **config: Any) -> str:
    return str(go("resonance basis", out=name, **{"vectors": "rows.safetensors", **config}).path)


def swept(made: str, **config: Any) -> Any:
    return go("resonance sweep", vectors="rows.safetensors", basis=(made,), **QUICK | config)


def table(outcome: Any, name: str) -> polars.DataFrame:
    return polars.read_parquet(outcome.path / "tables" / f"{name}.parquet")


def test_planes_of_a_file_are_those_and_no_others(vectors):
    made = basis("made", kind="one-hot", of=("3,4,5,6",))
    Path("planes.csv").write_text("[3],[5]\n[6], [4]\n")
    assert table(swept(made, plane_file="planes.csv"), "planes")["plane"].to_list() == ["[3] × [5]", "[6] × [4]"]
    for text, says in (("[3],[99]\n", "lacks"), ("[3],[4]\n[5]\n", "two labels")):
        Path("planes.csv").write_text(text)
        with pytest.raises(UserError, match=says) as caught:
            swept(made, plane_file="planes.csv")
        assert caught.value.exit_code == 3


def test_a_family_of_clusters_asks_each_cluster_once(vectors):
    near = np.eye(WIDTH)[:4]
    near = np.concatenate([near[:2], near[:2] + 0.02 * near[2:], near[2:]])
    save_file({"v": near.astype(np.float32)}, "near.safetensors")
    Path("planes.csv").write_text("v[0],v[1]\nv[2],v[3]\nv[4],v[5]\n")
    made = basis("made", kind="file", file="near.safetensors", vectors=None)
    whole = table(swept(made, plane_file="planes.csv"), "planes")
    few = swept(made, plane_file="planes.csv", family="clusters", group_by="type")
    rows = table(few, "planes")
    assert whole["q"].null_count() == 0
    # The first two planes are one plane told twice: of each group one of them has a q.
    assert rows.filter(polars.col("q").is_not_null()).group_by("group").len()["len"].to_list() == [2, 2]
    assert set(few.result.maps[0].cluster) == {0, 1}
    assert verified(few)


def verified(outcome: Any) -> bool:
    return go("verify", run=str(outcome.path)).exit_code == 0


def test_site_statistics_centre_and_match(vectors):
    text = np.random.default_rng(1).standard_normal((400, WIDTH)).astype(np.float32) + 5
    bins = LogBins(WIDTH)
    bins.add(text)
    held = SiteStatistics(SITE, Shapes.of(text, outer=True), bins, np.count_nonzero(text > 0, axis=0))
    Path("natural").mkdir()
    write_statistics(Path("natural"), {SITE: held}, model_sha256="m", tokenizer_sha256=None, data_sha256="d")
    made = basis("made", kind="one-hot", of=("3,4",), site=SITE)
    own, natural = (
        table(swept(made, transform=("centred",), site=SITE, group_by="level", **extra), "planes")
        for extra in ({}, {"statistics": "natural"})
    )
    moved = vectors.astype(np.float32) - text.mean(axis=0)
    unit = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    level = np.array(grid()["level"])
    expected = [float(np.linalg.norm(unit[level == n][:, 3:5].mean(axis=0))) for n in (1, 2, 3)]
    np.testing.assert_allclose(natural["r"], expected, rtol=1e-4)
    assert np.abs(own["r"].to_numpy() - natural["r"].to_numpy()).max() > 0.1
    compared = go("resonance compare", left="rows.safetensors", right="rows.safetensors", basis=(made,), site=SITE,
                  transform=("centred",), statistics="natural").result  # fmt: skip
    np.testing.assert_allclose(compared.moved[0].left_r, np.linalg.norm(unit[:, 3:5].mean(axis=0)), rtol=1e-4)
    with pytest.raises(UserError, match="no statistics of this site"):
        Path("other").mkdir()
        write_statistics(
            Path("other"),
            {"embed": replace(held, site="embed")},
            model_sha256="m",
            tokenizer_sha256=None,
            data_sha256="d",
        )
        swept(made, transform=("centred",), site=SITE, statistics="other")


def test_crowded_axes_angles_and_spans_are_compared_with_chance(vectors):
    rows = np.eye(WIDTH)[np.arange(48) % 4] + 0.05 * np.random.default_rng(2).standard_normal((48, WIDTH))
    saved("axes", rows, grid())
    on, off = (basis(name, kind="one-hot", of=(units,)) for name, units in (("on", "0,1,2,3"), ("off", "10,11,12,13")))
    found = {
        name: go("resonance sweep", vectors="axes.safetensors", basis=(made,), **QUICK, epsilon=(0.9,), project=True)
        for name, made in (("on", on), ("off", off))
    }
    tests = {name: table(outcome, "tests") for name, outcome in found.items()}
    assert (tests["on"].filter(statistic="fourfold")["p"] < 0.02).all()
    assert (tests["on"].filter(statistic="cone")["epsilon"] == 0.9).all()
    # A cone of .9 about an axis holds a quarter of the rows; in a random plane it is empty.
    assert (tests["on"].filter(statistic="cone")["p"] < 0.05).all()
    assert np.mean(tests["off"]["p"].to_numpy() > 0.05) > 0.8
    spans = {name: outcome.result.triangulation[0] for name, outcome in found.items()}
    assert spans["on"].null == "matched" and spans["on"].rank == 4
    assert spans["on"].share > 0.95 and spans["off"].share < 0.05
    density = table(found["on"], "density")
    assert density["rows"].sum() == 6 * 24  # six planes, 24 rows near an axis in each
    assert np.nanmax(density["ratio"].to_numpy()) > 1000
    np.testing.assert_allclose(density["ratio"], density["rows"] / 48 / density["isotropic"], rtol=1e-9)


def test_angles_that_keep_to_one_side_are_noticed_plane_by_plane(vectors):
    rows = np.random.default_rng(7).standard_normal((48, WIDTH))
    rows[:, 0] += 1.5
    saved("rows", rows, grid())
    made = basis("made", kind="one-hot", of=("0,1,10,11",))
    Path("planes.csv").write_text("[0],[1]\n[10],[11]\n")
    planes = table(swept(made, plane_file="planes.csv"), "planes")
    for name in ("rayleigh", "hodges_ajne", "kuiper"):
        assert planes[name].null_count() == 0
        one_side, even = planes[f"{name}_p"]
        assert one_side < 0.05 < even
    assert planes["hodges_ajne"][0] < 0.2 < planes["hodges_ajne"][1] <= 0.5


def test_features_of_one_firing_rate_decile_stand_for_each_other(vectors):
    norms = dictionaries.load(bundled_path("dictionary")).norms.numpy()
    rates = np.random.default_rng(8).random(len(norms)) * (np.arange(len(norms)) % 5 > 0)
    Path("rates/tables").mkdir(parents=True)
    columns = {"feature": range(len(norms)), "norm": norms.tolist(), "density": rates.tolist()}
    polars.DataFrame(columns).write_parquet("rates/tables/features.parquet")
    living = np.flatnonzero(rates > 0)[:3]
    of = (",".join(map(str, living)),)
    config = {"kind": "decoder", "dictionary": "dictionary:bundled", "vectors": None, "of": of}
    stored = open_basis(Path(basis("made", **config, rates="rates")))
    assert stored.pool is not None and stored.alike is not None
    np.testing.assert_allclose(stored.pool[stored.alike[:, 0]], stored.vectors)
    with pytest.raises(UserError, match="never fire"):
        basis("silent", **config | {"of": ("0,1",)}, rates="rates")
    values = np.random.default_rng(3).standard_normal((48, stored.record.width))
    saved("wide", values, grid())
    config_of_sweep = {"vectors": "wide.safetensors", **QUICK}
    found = go("resonance sweep", basis=("made",), **config_of_sweep).result
    assert found.nulls == {"decoder, raw": "pool"}
    assert all(row.p is not None for row in found.top)
    assert found.triangulation[0].null == "pool"
    basis("bare", **config)
    refused = go("resonance sweep", basis=("bare",), **config_of_sweep).result
    assert refused.nulls == {"decoder, raw": "none"}
    assert all(row.p is None for row in refused.top)
    assert refused.triangulation[0].p is None
    assert any("firing rates are not stored" in note for note in refused.notes)
    with pytest.raises(UserError, match="no firing rates"):
        basis("other", **config, rates="made")


def test_probes_refitted_under_every_labelling_find_what_is_planted_and_nothing_else(vectors):
    columns = grid()
    made = basis("made", kind="probe", of=("type=loud", "level>=3"))
    found = swept(made, group_by="type").result
    assert found.nulls == {"probe, raw": "labels"}
    assert min(row.p for row in found.top) < 0.02
    saved("rows", np.random.default_rng(4).standard_normal((48, WIDTH)) + 1, columns)
    silent = swept(basis("silent", kind="probe", of=("type=loud", "level>=3")), group_by="type").result
    assert min(row.p for row in silent.top) > 0.02
    assert any("cannot be fitted again" in note for note in go(
        "resonance basis", kind="probe", file="rows.safetensors", out="file").result.notes)  # fmt: skip


def pushed(values: np.ndarray, along: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """The rows under `none` and under each condition."""
    columns = {name: held * (1 + len(along)) for name, held in grid().items()}
    columns["condition"] = [name for name in ("none", *along) for _ in range(len(values))]
    return np.concatenate([values, *(values + step for step in along.values())]), columns


def test_d5_all_against_every_condition_beside_units_and_directions_pushed_as_hard(vectors):
    axis, generator = np.eye(WIDTH), np.random.default_rng(5)
    tested = {"mlp_hidden.1[5]:set:3sd@all": 2 * axis[3], "mlp_hidden.1[6]:set:3sd@all": 0.05 * axis[9]}
    saved("tested", *pushed(vectors, tested))
    like = {f"mlp_hidden.1[{10 + n}]:set:3sd@all": 0.3 * generator.standard_normal(WIDTH) for n in range(40)}
    saved("like", *pushed(vectors, like))
    some = {f"{SITE}~haar-{n}:add:1@all": 0.3 * generator.standard_normal(WIDTH) for n in range(5)}
    saved("some", *pushed(vectors, some))
    made = basis("made", kind="one-hot", of=("3,4",))
    sides = {"left": "tested.safetensors", "right": "tested.safetensors", "basis": (made,), "transform": ("raw",)}
    outcome = go("resonance compare", **sides, controls=("like.safetensors", "some.safetensors"), group_by="type")
    found = outcome.result
    assert set(found.comparisons) == set(tested)
    rows = {(row.group.rpartition(": ")[0], row.group.rpartition(": ")[2]): row for row in found.moved}
    assert {group for _, group in rows} == {"all", "plain", "loud"}
    strong, weak = (rows[name, "all"] for name in tested)
    assert strong.p_units == pytest.approx(1 / 41)
    assert weak.p_units > 0.3
    assert strong.p_directions is None and any("no p from controls: 5 directions" in note for note in found.notes)
    assert found.controls == {"units": 40, "directions": 5}
    assert "beyond what controls do" in found.headline
    assert outcome.path is not None and verified(outcome)
    text = (outcome.path / "report.html").read_text()
    assert "p among units" in text
    # The displacement of one control, by hand.
    means = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (vectors, vectors + 2 * axis[3])]
    step = (means[1] - means[0]).mean(axis=0)[3:5]
    assert strong.displacement == pytest.approx(np.linalg.norm(step), rel=1e-4)
    with pytest.raises(UserError, match="--controls lacks rows"):
        saved("few", vectors[:4], {name: held[:4] for name, held in grid().items()} | {"condition": ["x"] * 4})
        go("resonance compare", **sides, controls=("few.safetensors",))


def test_p_among_controls_is_even_where_the_tested_unit_is_one_of_them(vectors):
    generator, p = np.random.default_rng(6), []
    steps = {f"mlp_hidden.1[{n}]:set:1@all": generator.standard_normal(WIDTH) * generator.random() for n in range(40)}
    saved("all", *pushed(vectors, steps))
    made = basis("made", kind="one-hot", of=("3,4",))
    found = go("resonance compare", left="all.safetensors", right="all.safetensors", basis=(made,), transform=("raw",),
               controls=("all.safetensors",)).result  # fmt: skip
    p = sorted(row.p_units for row in found.moved)
    # Each of the forty is compared with the other thirty-nine: the ranks are 1 to 40.
    np.testing.assert_allclose(p, np.arange(1, 41) / 40)


def test_every_figure_of_a_sweep_is_drawn(vectors):
    made = [basis(f"made{i}", kind="one-hot", of=(units,)) for i, units in enumerate(("3,4,5", "7,8,9"))]
    outcome = go("resonance sweep", vectors="rows.safetensors", basis=tuple(made), group_by="type", **QUICK)
    assert outcome.path is not None
    drawn = {path.stem for path in (outcome.path / "figures").glob("*.svg")}
    assert drawn == {"compass", "curves", "overlay", "violins", "planes"}
