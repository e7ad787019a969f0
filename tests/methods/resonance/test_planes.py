"""`resonance basis`, `sweep` and `compare`: end to end on files, planted and silent, and what they refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from safetensors.numpy import load_file, save_file

from radiograph.core import FormatError, Refusal, UserError
from radiograph.runtime import Outcome
from radiograph.store.planes import open_basis, open_rows
from running import go

WIDTH, PLANTED = 24, "planted.safetensors"
QUICK: dict[str, Any] = {"permutations": 199, "most_permutations": 0}


def written(path: Path, values: np.ndarray, columns: dict[str, list[Any]]) -> str:
    save_file({"mlp_out.3": values.astype(np.float32)}, path)
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path.name


def grid(cores: int = 8, levels: int = 3) -> dict[str, list[Any]]:
    cells = [(f"core_{c}", t, level) for c in range(cores) for t in ("plain", "loud") for level in range(1, levels + 1)]
    return {"core": [c for c, _, _ in cells], "type": [t for _, t, _ in cells], "level": [n for _, _, n in cells]}


def vectors(columns: dict[str, list[Any]], push: float, seed: int = 0) -> np.ndarray:
    """A large common mean, noise, and `push` between the two types along unit 3."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((len(columns["core"]), WIDTH)) + 2
    values[:, 3] += np.where(np.array(columns["type"]) == "loud", push, -push)
    return values


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    columns = grid()
    written(tmp_path / PLANTED, vectors(columns, 2.5), columns)
    written(tmp_path / "silent.safetensors", vectors(columns, 0.0, 1), columns)
    return tmp_path


def basis(name: str, **config: Any) -> str:
    config.setdefault("vectors", PLANTED)
    return str(go("resonance basis", out=name, **config).path)


def refused(verb: str, **config: Any) -> str:
    """What a run says that could not measure: exit 4, and a bundle that says why."""
    outcome = go(verb, **config)
    assert outcome.exit_code == 4
    assert outcome.path is not None and (outcome.path / "report.html").is_file()
    return str(outcome.result)


def folder(outcome: Outcome) -> Path:
    """Where a run lies."""
    assert outcome.path is not None
    return outcome.path


def table(outcome: Outcome, name: str) -> polars.DataFrame:
    return polars.read_parquet(folder(outcome) / "tables" / f"{name}.parquet")


def test_d1_one_two_and_three_groups_run_to_the_end(here):
    made = basis("made", kind="one-hot", of=("3,4,5",))
    for by, groups in (("", 1), ("type", 2), ("level", 3)):
        config: dict[str, Any] = {"group_by": by} if by else {}
        outcome = go("resonance sweep", vectors=PLANTED, basis=(made,), signed=True, csv=True, **QUICK, **config)
        assert len(outcome.result.groups) == groups
        assert table(outcome, "planes").height == 2 * 3 * groups
        assert (folder(outcome) / "report.html").is_file()
        against = go("resonance compare", left="silent.safetensors", right=PLANTED, basis=(made,), **config)
        assert len({row.group for row in against.result.moved}) == (1 if groups == 1 else groups + 1)


def test_planted_difference_is_found_with_the_basis_rebuilt_in_folds(here):
    made = basis("made", kind="contrast", by="type")
    stored = open_basis(Path(made))
    assert stored.record.folds == tuple(f"core_{c}" for c in range(8))
    assert stored.folds is not None and stored.folds.shape == (8, 2, WIDTH)
    # Two contrasts of two groups are one line: no plane.
    assert "span a plane" in refused("resonance sweep", vectors=PLANTED, basis=(made,), **QUICK)
    means = basis("means", kind="means", by="type")
    found = go("resonance sweep", vectors=PLANTED, basis=(means,), transform=("raw",), **QUICK).result
    assert found.nulls == {"means, raw": "labels"}
    assert any(row.q is not None and row.q < 0.05 for row in found.top)
    silent = basis("quiet", kind="means", by="type", vectors="silent.safetensors", allow_intervened=False)
    found = go("resonance sweep", vectors="silent.safetensors", basis=(silent,), min_sine=0.01, **QUICK).result
    assert found.found == 0
    assert all(row.p is not None and row.p > 0.01 for row in found.top)


def test_r9_d19_scoring_its_own_rows_without_folds_is_circular(here):
    made = basis("made", kind="means", by="type", fold="none")
    outcome = go("resonance sweep", vectors=PLANTED, basis=(made,), transform=("raw",), fold="none", **QUICK)
    top = outcome.result.top
    assert all("circular" in row.flags and row.p is None and row.q is None for row in top)
    assert min(row.r for row in top) > 0.8
    assert outcome.result.compass[0].circular
    assert outcome.result.family == 0


def test_groups_that_differ_are_found_plane_by_plane(here):
    made = basis("made", kind="one-hot", of=("3,4", "7,8"))
    outcome = go("resonance sweep", vectors=PLANTED, basis=(made,), group_by="type", **QUICK)
    rows = table(outcome, "tests").filter(
        (polars.col("statistic") == "pseudo-F") & (polars.col("transform") == "centred")
    )
    q = dict(zip(rows["plane"], rows["q"], strict=True))
    assert all((q[plane] < 0.05) == ("[3]" in plane) for plane in q)
    assert rows["distance"].is_not_null().all()
    planes = table(outcome, "planes").filter(
        (polars.col("transform") == "centred") & (polars.col("plane") == "[3] × [4]")
    )
    theta = dict(zip(planes["group"], planes["theta"], strict=True))
    assert theta["loud"] % 360 == pytest.approx(0, abs=25) or theta["loud"] > 335
    assert theta["plain"] == pytest.approx(180, abs=25)
    assert set(planes["null_high"].is_not_null()) == {True}


def test_r11_a_run_with_itself_and_with_a_copy_turned(here):
    made = basis("made", kind="one-hot", of=("3,4",))
    same = go("resonance compare", left=PLANTED, right=PLANTED, basis=(made,)).result
    assert all(
        row.displacement == 0 and row.delta_r == 0 and row.p == row.p_r == row.p_theta == 1 for row in same.moved
    )
    values = load_file(PLANTED)["mlp_out.3"].astype(float)
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    turned = values.copy()
    turned[:, 3], turned[:, 4] = c * values[:, 3] - s * values[:, 4], s * values[:, 3] + c * values[:, 4]
    written(here / "turned.safetensors", turned, grid())
    outcome = go("resonance compare", left=PLANTED, right="turned.safetensors", basis=(made,), transform=("raw",))
    assert outcome.result.moved[0].delta_theta == pytest.approx(30, abs=0.1)
    assert outcome.result.moved[0].delta_r == pytest.approx(0, abs=1e-6)
    assert outcome.result.smallest_p == 1 / 128


def test_d5_any_grouping_against_every_condition(here):
    columns = grid()
    values = vectors(columns, 0.5)
    moved = values.copy()
    moved[:, 9] += 4
    conditions = ["none"] * 48 + ["mlp_out.3[7]:set:100@all"] * 48
    moved[:, 7] = 100
    twice = {name: held * 2 for name, held in columns.items()} | {"condition": conditions}
    written(here / "both.safetensors", np.concatenate([values, moved]), twice)
    made = basis("made", kind="one-hot", of=("7,9",), site="mlp_out.3", vectors="both.safetensors")
    kept = {"left": "both.safetensors", "right": "both.safetensors", "basis": (made,), "site": "mlp_out.3"}
    found = go("resonance compare", **kept, group_by="type", written="keep", transform=("raw",)).result
    assert {row.group.split(": ")[-1] for row in found.moved} == {"all", "plain", "loud"}
    assert found.kind == "causal"
    assert all("tautological" in row.flags for row in found.moved)
    # Without unit 7 the plane has lost one of its vectors: another basis is needed.
    with pytest.raises(UserError, match="nothing is left"):
        go("resonance compare", **kept)


def test_r19_d4_d9_archives_of_the_original_load_and_nothing_is_unpickled(here):
    generator = np.random.default_rng(0)

    class Bomb:
        def __reduce__(self):
            return (Path("unpickled").touch, ())

    keys = [f"core_id=the_old_kettle_type=declarative_level={n}" for n in (1, 2)]
    arrays: dict[str, Any] = {key: generator.standard_normal(5).astype(np.float32) for key in keys}
    arrays["core_id=a_type=rhetorical_level=3_sweep=-10"] = np.ones(5, dtype=np.float32)
    arrays["core_id=a_type=rhetorical_level=3_sweep=baseline"] = np.zeros(5, dtype=np.float32)
    bomb = np.empty(1, dtype=object)
    bomb[0] = Bomb()
    np.savez("old.npz", allow_pickle=True, **arrays, __metadata__=bomb)
    rows = open_rows(Path("old.npz"))
    assert rows.columns["core"] == ["the_old_kettle"] * 2 + ["a"] * 2
    assert rows.columns["type"][2] == "rhetorical"
    assert rows.columns["level"] == [1, 2, 3, 3]
    assert rows.columns["condition"] == ["none", "none", "sweep=-10", "none"]
    np.testing.assert_array_equal(rows.values[0], arrays[keys[0]])
    assert not Path("unpickled").exists()
    np.savez("bad.npz", allow_pickle=True, **{keys[0]: bomb})
    with pytest.raises(FormatError, match="pickle") as caught:
        open_rows(Path("bad.npz"))
    assert caught.value.exit_code == 3
    assert not Path("unpickled").exists()
    made = basis("made", kind="one-hot", of=("0,1",), vectors="old.npz")
    assert go(
        "resonance sweep", vectors="old.npz", basis=(made,), transform=("raw",), where="core=the_old_kettle", **QUICK
    )


def test_birds_preset_turns_the_other_way_and_closes_the_circle(here):
    made = basis("made", kind="one-hot", of=("3,4",))
    outcome = go(
        "resonance sweep", vectors=PLANTED, basis=(made,), preset="bird", project=True, csv=True,
        group_by="type", **QUICK,
    )  # fmt: skip
    assert outcome.result.transforms == ("raw",)
    assert outcome.result.n_planes == 2
    curves = table(outcome, "curves").filter(polars.col("plane") == "[3] × [4]")
    assert curves["angle_deg"].unique().sort().to_list() == pytest.approx(np.linspace(0, 360, 100).tolist())
    rows = open_rows(here / PLANTED)
    unit = rows.values / np.linalg.norm(rows.values, axis=1, keepdims=True)
    mine = unit[np.array(rows.columns["type"]) == "loud"].mean(axis=0)
    loud = curves.filter(polars.col("group") == "loud")
    theta = np.radians(loud["angle_deg"].to_numpy())
    np.testing.assert_allclose(loud["mean_similarity"], np.cos(theta) * mine[3] - np.sin(theta) * mine[4], atol=1e-6)
    with next(folder(outcome).glob("csv/*.csv")).open() as file:
        assert next(csv.reader(file)) == ["angle_deg", "mean_similarity", "cone_0.9"]


@pytest.mark.parametrize(
    ("kind", "config", "null"),
    [
        ("pca", {"of": ("3",)}, "gaussian"),
        ("difference", {"of": ("type=loud", "type=plain", "level=1", "level=3")}, "labels"),
        ("difference", {"of": ("type=loud", "type=plain")}, "labels"),
        ("probe", {"of": ("type=loud", "level>=3")}, "labels"),
        ("means", {"of": ("type=loud", "level>=3")}, "labels"),
        ("sum", {"of": ("mean(type=loud,level=3) - mean(level=1)", "mean(type=plain) - 0.5*mean()")}, "labels"),
        ("random", {"of": ("haar", "3")}, "haar"),
        ("random", {"of": ("gaussian 3",)}, "haar"),
        ("random", {"of": ("split 3",)}, "haar"),
        ("decoder", {"of": ("3,4,5",), "dictionary": "dictionary:bundled", "vectors": None}, "pool"),
    ],
)
def test_every_kind_has_its_own_null(here, kind, config, null):
    made = basis("made", kind=kind, **config)
    stored = open_basis(Path(made))
    assert stored.record.null == null
    assert np.isfinite(stored.vectors).all()
    if kind == "decoder":
        return
    outcome = go("resonance sweep", vectors=PLANTED, basis=(made,), group_by="type", **QUICK)
    assert all((row.p is None) == ("split" in str(config["of"])) for row in outcome.result.top)


def test_sum_of_means_is_the_arithmetic_it_says(here):
    made = basis("made", kind="sum", of=("mean(type=loud,level=3) - mean(level=1)", "mean(type=loud)"))
    rows = open_rows(here / PLANTED)
    kinds, levels = np.array(rows.columns["type"]), np.array(rows.columns["level"])
    mean = rows.values[(kinds == "loud") & (levels == 3)].mean(axis=0) - rows.values[levels == 1].mean(axis=0)
    np.testing.assert_allclose(open_basis(Path(made)).vectors[0], mean, atol=1e-5)


def test_same_seed_same_bytes_and_the_bundle_verifies(here):
    made = basis("made", kind="means", by="type")
    outcomes = [
        go("resonance sweep", out=name, vectors=PLANTED, basis=(made,), min_sine=0.01, **QUICK) for name in ("a", "b")
    ]
    one, two = (folder(outcome) / "tables" / "planes.parquet" for outcome in outcomes)
    assert one.read_bytes() == two.read_bytes()
    assert go("verify", run=str(outcomes[0].path)).exit_code == 0
    assert go("verify", run=made).exit_code == 0


def test_streamed_planes_have_the_analytic_p(here):
    made = basis("made", kind="random", of=("haar 40",))
    config = {"vectors": PLANTED, "basis": (made,), "transform": ("raw",), **QUICK}
    streamed, held = go("resonance sweep", **config, memory="100KiB"), go("resonance sweep", **config)
    small, whole = streamed.result, held.result
    assert "streamed" in " ".join(small.notes)
    assert small.n_planes == whole.n_planes == 780
    assert small.top[0].haar_p == pytest.approx(whole.top[0].haar_p, rel=1e-4)
    few, every = table(streamed, "planes"), table(held, "planes")
    assert few["plane"].to_list() == every["plane"].to_list()
    for name in ("r", "mean_r", "energy", "lift", "sup_f_0.1"):
        np.testing.assert_allclose(few[name], every[name], rtol=1e-4)
    np.testing.assert_allclose(few["p"], every["haar_p"], rtol=1e-4)
    assert go("verify", run=str(streamed.path)).exit_code == 0


REFUSED: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("basis", {"kind": "means", "by": "tipe"}, UserError, "type"),
    ("basis", {"kind": "means", "by": "type", "where": "core=core_0"} | {"min_per_group": 4}, Refusal, "plain: 3"),
    ("basis", {"kind": "one-hot", "of": ("3,99",)}, UserError, "0 to 23"),
    ("basis", {"kind": "sum", "of": ("mean(type=loud) - level",)}, UserError, "not a sum"),
    ("basis", {"kind": "means", "by": "type", "where": "level>7"}, Refusal, "loosen"),
    ("basis", {"kind": "pca", "of": ("99",)}, UserError, "1 to 24"),
    ("basis", {"kind": "means", "by": "type", "vectors": "nothing.npz"}, UserError, "nothing.npz"),
    ("sweep", {"vectors": "narrow.safetensors"}, UserError, "another width"),
    ("sweep", {"vectors": PLANTED, "group_by": "nothing"}, UserError, "group by"),
    ("sweep", {"vectors": PLANTED, "site": "mlp_out.9"}, UserError, "mlp_out.3"),
    ("sweep", {"vectors": PLANTED, "where": "level>8"}, Refusal, "loosen"),
    ("compare", {"left": PLANTED, "right": "narrow.safetensors"}, UserError, "another width"),
    ("compare", {"left": PLANTED, "right": "other.safetensors"}, Refusal, "both sides"),
    ("compare", {"left": PLANTED, "right": "silent.safetensors", "left_condition": "x"}, Refusal, "under x"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "config", "error", "says"), REFUSED)
def test_what_cannot_be_used_is_refused_with_its_place(here, verb, config, error, says):
    columns = grid(2)
    written(here / "narrow.safetensors", np.ones((12, 5)), columns)
    columns["core"] = [f"other {c}" for c in columns["core"]]
    written(here / "other.safetensors", np.ones((12, WIDTH)), columns)
    if verb == "basis":
        config = {"vectors": PLANTED} | config
    else:
        config = {"basis": (basis("made", kind="one-hot", of=("3,4",)),)} | config
    if error is Refusal:
        assert says in refused(f"resonance {verb}", **config)
        return
    with pytest.raises(error, match=says) as caught:
        go(f"resonance {verb}", **config)
    assert caught.value.exit_code == 3


def test_rows_that_cannot_be_told_apart_or_read_are_refused(here):
    columns = grid(2)
    columns["type"] = ["plain"] * 12
    written(here / "twice.safetensors", np.ones((12, 5)), columns)
    with pytest.raises(UserError, match="twice"):
        open_rows(here / "twice.safetensors")
    (here / "planted.csv").write_text("core,type\na,b\n")
    with pytest.raises(FormatError, match="differ in length"):
        open_rows(here / PLANTED)
    (here / "planted.csv").write_text("type\nb\n")
    with pytest.raises(FormatError, match="names no core"):
        open_rows(here / PLANTED)
    (here / "planted.csv").unlink()
    with pytest.raises(UserError, match="no table"):
        open_rows(here / PLANTED)
    np.savez("odd.npz", allow_pickle=False, **{"type=x": np.ones(3, dtype=np.float32)})
    with pytest.raises(FormatError, match="core_id"):
        open_rows(Path("odd.npz"))


def test_an_altered_basis_and_intervened_rows_are_noticed(here):
    made = Path(basis("made", kind="one-hot", of=("3,4",)))
    arrays = load_file(made / "basis.safetensors")
    save_file({"vectors": arrays["vectors"] * 2}, made / "basis.safetensors")
    with pytest.raises(FormatError, match="not those of its record"):
        open_basis(made)
    columns = grid(4) | {"condition": ["mlp_out.3[2]:set:1@all"] * 24}
    written(here / "pushed.safetensors", vectors(columns, 1.0), columns)
    said = refused("resonance basis", kind="means", by="type", vectors="pushed.safetensors")
    assert "intervened" in said
    stamped = basis("c", kind="means", by="type", vectors="pushed.safetensors", allow_intervened=True)
    found = go("resonance sweep", vectors="pushed.safetensors", basis=(stamped,), **QUICK).result
    assert all("intervened basis" in row.flags for row in found.top)


def test_rows_without_a_vector_are_left_out_and_counted(here):
    columns = grid(4)
    values = vectors(columns, 1.0)
    values[3, 2] = np.nan
    values[5] = 0
    written(here / "holes.safetensors", values, columns)
    made = basis("made", kind="one-hot", of=("3,4",), vectors="holes.safetensors")
    found = go("resonance sweep", vectors="holes.safetensors", basis=(made,), transform=("raw",), **QUICK).result
    assert found.left_out == 1
    assert any("length zero" in note for note in found.notes)


def test_r10_what_is_written_where_it_is_read_is_a_tautology_and_nothing_else_moves(here):
    site = "mlp_hidden.2"
    go("resonance capture", model="bundled:base", grid="drift", site=(site,), write=(f"{site}[17]:set:100",),
       follow="reference", new_tokens=4, where="level<=2", out="cap")  # fmt: skip
    rows = open_rows(Path("cap"))
    assert set(rows.factors) == {"type", "level"}
    units = ("16,17,18",)
    both = basis("both", kind="one-hot", of=units, vectors="cap")
    kept = go("resonance compare", left="cap", right="cap", basis=(both,), written="keep").result
    assert all("tautological" in row.flags for row in kept.moved)
    assert max(row.displacement for row in kept.moved) > 0.5
    other = basis("other", kind="one-hot", of=("3,4,5",), vectors="cap")
    dropped = go("resonance compare", left="cap", right="cap", basis=(other,), written="drop").result
    assert dropped.kind == "causal"
    assert {row.displacement for row in dropped.moved} == {0.0}
    # The capture says what else differs between the levels of a factor: flagged wherever that factor is contrasted.
    document = json.loads(Path("cap/result.json").read_text()) | {"confounded": {"type": ["type~tokens"]}}
    Path("cap/result.json").write_text(json.dumps(document))
    for by, flagged in (("type", True), ("level", False)):
        found = go("resonance sweep", vectors="cap", basis=(other,), group_by=by, **QUICK).result
        assert all(("confounded: type~tokens" in row.flags) == flagged for row in (*found.top, *found.tests))
    assert {row.row_displacement for row in dropped.moved} == {0.0}


def test_adjusting_takes_out_what_goes_with_a_covariate_and_shows_both(here):
    columns = grid()
    generator = np.random.default_rng(5)
    tokens = [int(n) for n in np.where(np.array(columns["type"]) == "loud", 14, 10) + generator.integers(0, 3, 48)]
    values = vectors(columns, 0.0, 6)
    values[:, 3] += 1.5 * np.array(tokens)
    written(here / "long.safetensors", values, columns | {"n_prompt": tokens})
    made = basis("made", kind="one-hot", of=("3,4",), vectors="long.safetensors")
    outcome = go("resonance sweep", vectors="long.safetensors", basis=(made,), group_by="type", adjust="n_prompt",
                 transform=("centred",), **QUICK)  # fmt: skip
    tests = table(outcome, "tests").filter(statistic="pseudo-F")
    p = dict(zip(tests["basis"], tests["p"], strict=True))
    assert p["one-hot"] < 0.01
    assert p["one-hot, without n_prompt"] > 0.05
    with pytest.raises(UserError, match="no column of numbers"):
        go("resonance sweep", vectors="long.safetensors", basis=(made,), adjust="type", **QUICK)


def test_what_a_third_run_with_the_same_text_shows_is_direct(here):
    made = basis("made", kind="one-hot", of=("3,4",))
    sides = {"left": "silent.safetensors", "right": PLANTED, "basis": (made,)}
    by_text = table(go("resonance compare", **sides, direct="silent.safetensors"), "movements")
    directly = table(go("resonance compare", **sides, direct=PLANTED), "movements")
    assert by_text["directly"].max() == directly["text_mediated"].max() == 0
    np.testing.assert_allclose(by_text["text_mediated"], directly["displacement"])


def test_controls_take_turns_and_set_the_finest_p(here):
    made = basis("made", kind="one-hot", of=("3,4",))
    found = go("resonance sweep", vectors=PLANTED, basis=(made,), transform=("raw",), permutations=9999).result
    assert found.nulls == {"one-hot, raw": "matched"}
    # Ten units alike, the plane's own among them: a hundred pairs, and no p below 1/100 whatever is asked for.
    assert all(row.p is not None and row.p >= 1 / 100 for row in found.top)
