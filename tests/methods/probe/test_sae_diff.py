"""`probe sae-diff`: one small planted pair looked at in many ways, and everything that is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from radiograph.core import ExitCode, Refusal, UserError
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run as command
from shifting import DIRECTIONS, GROUPS, PLANTED, PROMPTS, WEIGHTS, D, F, N, X, Y, shift, written


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = written(tmp_path_factory.mktemp("shift"))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def full(place):
    return shift(depth="full", out="full")


@pytest.fixture(scope="module")
def standard(place):
    return shift(out="standard")


def test_p8_1_planted_features_are_carried_and_nothing_else(full, standard):
    for done in (full, standard):
        found = {c.feature: c for c in done.result.carried}
        assert set(found) == set(PLANTED)
        for feature, amount in PLANTED.items():
            one = found[feature]
            assert one.coefficient == pytest.approx(amount, abs=0.02)
            assert one.interval[0] <= one.coefficient <= one.interval[1]
            assert one.state == ("raised" if amount > 0 else "suppressed")
            assert one.q <= 0.05
        assert done.result.moved.count > 300 and done.result.moved.sham <= 5
        assert done.result.shares.carried > 0.99 and done.exit_code is ExitCode.PASS
    one, two = ([(c.feature, c.coefficient, c.share) for c in d.result.carried] for d in (standard, full))
    assert one == two


def test_p8_2_every_number_of_the_table_by_a_second_derivation(full):
    table = {c.name: c.to_numpy() for c in pl.read_parquet(full.path / "tables/features.parquet")}
    codes = [np.maximum(side @ WEIGHTS["W_enc"] + WEIGHTS["b_enc"], 0) for side in (X, Y)]
    pre = [(side @ WEIGHTS["W_enc"]).astype(np.float64) for side in (X, Y)]
    change = pre[1] - pre[0]
    np.testing.assert_allclose(table["shift"], change.mean(0), atol=1e-5)
    np.testing.assert_allclose(table["effect"], change.mean(0) / pre[0].std(0), rtol=1e-3, atol=1e-5)
    sums = np.array([change[g == PROMPTS].sum(0) for g in range(GROUPS)])
    n = np.bincount(PROMPTS)
    variance = GROUPS / (GROUPS - 1) * ((sums - n[:, None] * change.mean(0)) ** 2).sum(0) / N**2
    np.testing.assert_allclose(table["t"], change.mean(0) / np.sqrt(variance), rtol=1e-3)
    for name, expected in (
        ("rate_ref", (codes[0] > 0).mean(0)),
        ("rate_cand", (codes[1] > 0).mean(0)),
        ("mean_ref", codes[0].mean(0)),
        ("delta", codes[1].mean(0) - codes[0].mean(0)),
        ("turned_on", ((codes[1] > 0) & (codes[0] == 0)).sum(0)),
    ):
        np.testing.assert_allclose(table[name], expected, atol=1e-4)
    moved = codes[1].astype(np.float64).mean(0) - codes[0].mean(0)
    assert full.result.l2.drift == pytest.approx(np.linalg.norm(moved), rel=1e-4)
    delta = (Y.astype(np.float64) - X).mean(0)
    seen = 1 - np.square(delta - moved @ DIRECTIONS).sum() / np.square(delta).sum()
    assert full.result.shares.seen == pytest.approx(seen, rel=1e-3)
    assert full.result.l2.floor_median < full.result.l2.drift and full.result.l2.p < 0.05
    assert len(full.result.shares.outside_random) == 3


def test_codes_of_the_reported_features_are_those_of_all(full, standard):
    both = {r.feature: r for r in full.result.shown}
    for row in standard.result.shown:
        if row.feature in both:
            assert row.rate_ref == both[row.feature].rate_ref
            assert row.delta == pytest.approx(both[row.feature].delta, abs=1e-6)
    assert standard.result.l2 is None and standard.result.n.sample == 64
    assert {g.what for g in standard.result.not_measured} == {"l2, share_seen", "share_outside"}


@pytest.mark.parametrize("kind", ["npy", "safetensors", "parquet", "json"])
def test_p8_2_formats_agree(kind, standard):
    done = shift(reference=f"ref.{kind}", candidate=f"cand.{kind}", clusters="block:30")
    ours = {c.feature: c.coefficient for c in standard.result.carried}
    assert {c.feature: pytest.approx(c.coefficient, abs=1e-6) for c in done.result.carried} == ours
    assert ("pairing_assumed" in done.result.stamps) == (kind == "npy")


def test_p8_2_the_memory_that_is_allowed_changes_no_byte(standard):
    small = shift(memory=2**20)
    for name in ("features", "groups", "sample"):
        ours, theirs = ((d.path / f"tables/{name}.parquet").read_bytes() for d in (standard, small))
        assert ours == theirs
    assert small.result.model_dump(exclude={"stamps"}) == standard.result.model_dump(exclude={"stamps"})


def test_a_few_rows_at_a_time_are_enough_and_many_groups_are_merged(place):
    np.savez("a.npz", activations=X, prompt=np.arange(N))
    np.savez("b.npz", activations=Y, prompt=np.arange(N))
    done = shift(reference="a.npz", candidate="b.npz", memory=2**17)
    assert "groups_merged" in done.result.stamps and done.result.n.groups == 128
    assert {c.feature for c in done.result.carried} == set(PLANTED)


def test_other_tokens_on_both_sides(place):
    other = np.random.default_rng(9).standard_normal((N - 100, D)).astype(np.float32)
    np.savez("o.npz", activations=other + (Y - X)[: N - 100], prompt=PROMPTS[: N - 100])
    done = shift(candidate="o.npz", paired="off", depth="full")
    assert "unpaired" in done.result.stamps
    assert {c.feature for c in done.result.carried} == set(PLANTED)
    assert done.result.shares.outside is None and done.result.shown[0].turned_on is None
    assert verify(done.path).status == "intact"


def test_blocks_that_nobody_asked_for_are_as_long_as_rows_are_alike(place):
    """Rows without ids, in documents of 100: blocks of 32 are no groups."""
    rng = np.random.default_rng(3)
    own = rng.standard_normal((60, D)).repeat(100, 0).astype(np.float32)
    first = rng.standard_normal((6_000, D)).astype(np.float32)
    np.save("long-ref.npy", first)
    np.save("long.npy", first + own + 0.3 * rng.standard_normal((6_000, D)).astype(np.float32))
    done = shift(reference="long-ref.npy", candidate="long.npy")
    size = int(done.result.n.clusters.removeprefix("block:"))
    assert "clusters_assumed" in done.result.stamps and size >= 128
    assert done.result.n.groups == -(-6_000 // size)
    assert verify(done.path).status == "intact"
    asked = shift(reference="long-ref.npy", candidate="long.npy", clusters="block:32", out="asked")
    assert asked.result.n.clusters == "block:32" and "clusters_assumed" not in asked.result.stamps


@pytest.mark.parametrize(
    ("demand", "code"), [("carried<=3", 0), ("carried<3", 2), ("l2_excess<9", 4), ("share_carried>0.9", 0)]
)
def test_a_demand_decides_the_exit_code(demand, code, place):
    done = shift(require=[demand])
    assert int(done.exit_code) == code
    assert done.result.requirements[0].met is {0: True, 2: False, 4: None}[code]


def scaled_rows(factor, dtype=np.float32):
    for name, side in (("ref", X), ("cand", Y)):
        np.savez(f"scaled_{name}.npz", activations=(side.astype(np.float64) * factor).astype(dtype), prompt=PROMPTS)
    return {"reference": "scaled_ref.npz", "candidate": "scaled_cand.npz"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exponent", [100, -60])
def test_pd_1_rows_of_any_size_have_the_same_effects_and_no_zeros(exponent, place, standard):
    factor = 2.0**exponent
    found, own = shift(**scaled_rows(factor)).result, standard.result
    assert found.effect_rms == pytest.approx(own.effect_rms, rel=1e-6)
    assert found.activation_drift == pytest.approx(own.activation_drift, rel=1e-6)
    assert [c.feature for c in found.carried] == [c.feature for c in own.carried]
    assert [c.coefficient / factor for c in found.carried] == pytest.approx([c.coefficient for c in own.carried])
    assert found.shares.carried == pytest.approx(own.shares.carried)


def test_pd_1_values_beyond_float32_are_bad_input(place):
    with pytest.raises(UserError, match="too large") as caught:
        shift(**scaled_rows(1e200, np.float64))
    assert (caught.value.code, caught.value.where) == ("too_large", "scaled_ref.npz: row 0, column 0")


def test_pd_5_a_reference_that_does_not_vary_has_no_drift(place):
    np.save("flat.npy", np.ones((N, D), np.float32))
    done = shift(reference="flat.npy", candidate="cand.npy", require=["activation_drift<0.1"])
    assert done.result.activation_drift is None and done.exit_code is ExitCode.NOT_MEASURED
    assert "NOT MEASURED" in done.result.lines[0] and "all the same" in done.result.lines[0]


@pytest.mark.parametrize("depth", ["standard", "full"])
@pytest.mark.parametrize("count", [1, 20])
def test_pd_15_one_group_is_too_few_and_no_error(depth, count, place):
    np.save("few_a.npy", X[:count])
    np.save("few_b.npy", Y[:count])
    done = shift(reference="few_a.npy", candidate="few_b.npy", depth=depth)
    assert "few_groups" in done.result.stamps and done.result.n.groups == 1
    assert {(row.t, row.p, row.t_rate) for row in done.result.shown} == {(None, None, None)}
    assert not {row.state for row in done.result.shown} & {"recruited", "silenced"}
    assert "1 group" in done.result.headline and verify(done.path).status == "intact"


def test_a_demand_says_what_it_found_and_what_would_measure_it(place, capsys):
    assert shift(require=["effect_rms<0.001"]).exit_code is ExitCode.GATE_FAILED
    line = shift(require=["effect_rms<0.001"]).result.lines[0]
    assert line.startswith("demand effect_rms<0.001: NOT MET, effect_rms is ")
    assert "(--depth full)" in shift(require=["l2_excess<0.1"]).result.lines[0]


def test_pd_16_transposed_rows_are_asked_about(place):
    np.save("turned.npy", np.ascontiguousarray(X.T))
    with pytest.raises(UserError, match="not of one width") as caught:
        shift(reference="ref.npy", candidate="turned.npy")
    assert "transposed" in caught.value.fix
    with pytest.raises(UserError, match="another width") as caught:
        shift(reference="turned.npy", candidate="turned.npy")
    assert "transposed" in caught.value.fix and str(D) in caught.value.fix


def test_a_published_name_without_its_configuration_asks_for_the_nonlinearity(place):
    (place / "sae.safetensors").write_bytes((place / "d.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not say its nonlinearity") as caught:
        shift(dictionary="sae.safetensors", activation=None)
    assert "--activation" in caught.value.fix
    with pytest.raises(UserError, match="clusters") as caught:
        shift(clusters="column:nope")
    assert caught.value.fix == "--clusters column:prompt"


def test_pd_5_too_few_groups_are_not_measured(place):
    done = shift(clusters="block:200")
    assert "few_groups" in done.result.stamps and done.result.moved.count is None
    assert done.result.carried == () and done.result.rest is None and done.result.shown[0].p is None


def test_p8_4_soup_keys_and_values(place, capsys):
    assert command([*PLAIN, "--schema", "soup", "--json", "--output", "soup.json", "--quiet", "--top-k", "5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(Path("soup.json").read_text())
    codes = [np.maximum(side @ WEIGHTS["W_enc"] + WEIGHTS["b_enc"], 0).astype(np.float64).mean(0) for side in (X, Y)]
    delta = codes[1] - codes[0]
    top = np.argsort(-np.abs(delta))[:5]
    assert sorted(found) == ["changes", "l2_drift", "num_features", "num_tokens"]
    assert (found["num_features"], found["num_tokens"]) == (F, N)
    assert found["l2_drift"] == pytest.approx(np.linalg.norm(delta), abs=1e-5)
    assert [c["feature_id"] for c in found["changes"]] == top.tolist()
    for change in found["changes"]:
        j = change["feature_id"]
        assert change["pre_mean"] == pytest.approx(codes[0][j], abs=1e-5)
        assert change["post_mean"] == pytest.approx(codes[1][j], abs=1e-5)


PLAIN = ["probe", "sae-diff", "d.safetensors", "ref.npz", "cand.npz"]


def test_relu_is_assumed_for_soup_alone_and_said(place, capsys):
    assert command([*PLAIN, "--quiet"]) == 3
    assert "--activation relu" in capsys.readouterr().err
    assert "relu assumed" in shift(activation=None, schema_="soup").result.notes[0]


def nan(row, column):
    broken = Y.copy()
    broken[row, column] = np.nan
    np.savez("nan.npz", activations=broken, prompt=PROMPTS)
    return {"candidate": "nan.npz"}


def saved(name, **arrays):
    np.savez(name, **arrays)
    return name


WRONG = [
    (lambda: nan(77, 5), r"nan.npz: row 77, column 5"),
    (lambda: {"candidate": saved("w.npz", activations=Y[:, :30], prompt=PROMPTS)}, "not of one width"),
    (lambda: {"candidate": saved("r.npz", activations=Y[:99], prompt=PROMPTS[:99])}, "different numbers of rows"),
    (lambda: {"candidate": saved("p.npz", activations=Y, prompt=np.roll(PROMPTS, 3))}, "other prompts from row 0"),
    (lambda: {"dictionary": "missing.npz"}, "nothing at"),
    (lambda: {"reference": "missing.npy"}, "nothing at"),
    (lambda: {"dictionary": saved("v.npz", **{**WEIGHTS, "W_enc": WEIGHTS["W_enc"][:30]})}, "another width"),
    (lambda: {"dictionary": saved("j.npz", **WEIGHTS), "activation": "jumprelu"}, "threshold"),
    (lambda: {"data": ["world:mixture#3"]}, "--data is of models"),
    (lambda: {"candidate": "bundled:base"}, "one side is stored activations"),
    (lambda: {"require": ["speed<1"]}, "no metric"),
    (lambda: {"clusters": "sentence"}, "prompt, block:N or column:NAME"),
    (lambda: {"top_k": 20_000}, "--limit top-k"),
]


@pytest.mark.parametrize(("make", "said"), WRONG, ids=[said for _, said in WRONG])
def test_pd_15_bad_input_is_named_and_leaves_nothing(make, said, place):
    before = sorted(p.name for p in Path("runs").iterdir()) if Path("runs").is_dir() else []
    with pytest.raises((UserError, Refusal), match=said) as error:
        shift(**make())
    assert error.value.exit_code is ExitCode.BAD_INPUT
    assert before == (sorted(p.name for p in Path("runs").iterdir()) if Path("runs").is_dir() else [])


def test_sites_tokenizers_and_dictionaries_of_other_places_are_refused(place):
    for name, site, tokenizer in (("s1", "resid_post.1", "aa"), ("s2", "resid_post.2", "aa"), ("s3", None, "bb")):
        np.save(f"{name}.npy", X)
        beside = {"site": site, "tokenizer_sha256": tokenizer}
        Path(f"{name}.json").write_text(json.dumps({k: v for k, v in beside.items() if v}))
    for one, two, said in (("s1", "s2", "one site"), ("s1", "s3", "one tokenizer")):
        with pytest.raises(UserError, match=said):
            shift(reference=f"{one}.npy", candidate=f"{two}.npy")


@pytest.mark.parametrize("name", ["threshold", "k", "b_dec"])
def test_pd_2_what_decides_the_codes_changes_the_result(name, full, place):
    extra = {"threshold": np.full(F, 1.0, np.float32)} if name == "threshold" else {}
    extra |= {"b_dec": np.full(D, 0.5, np.float32)} if name == "b_dec" else {}
    activation = {"threshold": "jumprelu", "k": "topk:5", "b_dec": "relu"}[name]
    file = saved(f"{name}.npz", **WEIGHTS, **extra)
    done = shift(dictionary=file, activation=activation, depth="full")
    if name == "b_dec":
        assert done.result.fvu != full.result.fvu
    else:
        assert done.result.l2.drift != pytest.approx(full.result.l2.drift, rel=1e-3)
    assert {c.feature for c in done.result.carried} == set(PLANTED)


def test_pd_2_a_dictionary_on_which_nothing_fires_has_no_rates(place):
    file = saved("dead.npz", **WEIGHTS, threshold=np.full(F, 1e6, np.float32))
    done = shift(dictionary=file, activation="jumprelu", depth="full")
    assert done.result.l2.drift == 0 and all(c.delta == 0 for c in done.result.changes)
    assert all(r.rate_ref == r.rate_cand == 0 and r.active_ref is None for r in done.result.shown)
    assert done.result.shown[0].bound == pytest.approx(3 / N)


def test_a_dictionary_without_decoder_still_tests_features(place):
    file = saved("enc.npz", W_enc=WEIGHTS["W_enc"], b_enc=WEIGHTS["b_enc"])
    done = shift(dictionary=file)
    assert done.result.moved.count > 300 and done.result.rest is None and done.result.fvu is None
    assert {g.code for g in done.result.not_measured} >= {"no_decoder"}


def test_a_bad_reconstruction_of_an_unknown_dictionary_is_said_not_used(place):
    file = saved("loud.npz", **{**WEIGHTS, "b_enc": np.zeros(F, np.float32)})
    done = shift(dictionary=file, depth="full")
    assert "unchecked_dictionary" in done.result.stamps
    assert done.result.fvu is None and done.result.shares.seen is None
    assert {c.feature for c in done.result.carried} == set(PLANTED)


def test_units_and_directions_are_dictionaries(place):
    done = shift(dictionary="units:resid_post.1", activation=None)
    assert done.result.features == D and done.result.activation == "identity"
    save_file({"planted": DIRECTIONS[7], "other": DIRECTIONS[8]}, "dirs.safetensors")
    done = shift(dictionary="direction:dirs.safetensors", activation=None)
    assert [c.name for c in done.result.carried] == ["planted"]
    assert done.result.carried[0].effect > 1


def test_pd_11_names_of_files_and_features_are_spelled_out(place):
    name = "\x1b[31mred\u202e[red]x[red].safetensors"
    save_file({"<u>\x1b[1mbold": DIRECTIONS[7]}, name)
    done = shift(dictionary=f"direction:{name}", activation=None)
    for page in ("report.html", "report.md"):
        text = (done.path / page).read_text()
        assert "\x1b" not in text and "\u202e" not in text and "<u>" not in text


def test_store_mode_imports_no_torch(place):
    code = (
        "import sys\nfrom radiograph.surfaces.cli._main import run\n"
        "code = run(['probe', 'sae-diff', 'd.safetensors', 'ref.npz', 'cand.npz', '--activation', 'relu', '--quiet',"
        " '--depth', 'full'])\nprint(code, [m for m in ('torch', 'matplotlib', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_path_that_could_be_both_is_refused(place):
    Path("both").mkdir()
    (Path("both") / "config.json").write_text("{}")
    (Path("both") / "index.json").write_text("{}")
    with pytest.raises(UserError, match="could be a model"):
        shift(reference="both")
