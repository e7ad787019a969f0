"""Calibrations as files, what binds them, and pools as tables: everything comes back, and every mismatch is named."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars
import pytest

from benchmarking import binding_of
from radiograph.core import ExitCode, FormatError, Refusal, UserError
from radiograph.detectors import Pool, detectors, independence, judged, pool_from, pool_of, pool_tables, rules
from radiograph.evidence import Binding, Calibration, CalibrationModel, Device, Manifest, pretty_json
from radiograph.methods._audit.benign import Benign, check, find
from radiograph.methods._audit.place import check_apart, check_binding
from radiograph.methods.calibrate import recompute
from radiograph.organisms import MODEL
from radiograph.store import SIDECAR, BundleWriter, Workspace, evidence_sha256
from radiograph.store.calibration import (
    SHIPPED,
    SUMMARIES,
    StoredCalibration,
    array_sha256,
    fitting_calibration,
    read_calibration,
    summaries_bytes,
    write_shipped,
)

PLAIN = [name for name, d in detectors().items() if not d.fitted and name != "data.loss_drop"]
NUISANCE = ("relative_norm", "kl_neutral", "drift_first", "drift_middle", "drift_last", "changed_share")
BOUND = binding_of(versions={name: d.version for name, d in detectors().items()}, rows_sha256="e" * 64)


def model(rng, number, **scores):
    return CalibrationModel(
        id=f"m{number}",
        family=f"f{number % 3}",
        kind="adapter",
        tensors_sha256=f"{number:064d}",
        scores={**{name: float(np.exp(rng.normal())) for name in PLAIN}, "data.loss_drop": None, **scores},
        nuisance={name: float(np.exp(rng.normal())) for name in NUISANCE} | {"effective_rank": 4.0},
        flips=(0.1, None),
        triggers={"gain": float(rng.gamma(2)), "success": 0.05},
        stability={"paraphrases.jaccard": float(rng.random())},
        controls=(1.0, 2.0),
        aggregate=float(rng.gamma(2)),
    )


def calibration(n=19, seed=0):
    rng = np.random.default_rng(seed)
    summaries = {
        "act.lens": rng.normal(size=(n, 3, 4)).astype(np.float32),
        "features.benign_z": rng.gamma(2, size=(n, 12)).astype(np.float32),
    }
    models = tuple(model(rng, i) for i in range(n))
    record = Calibration(
        binding=BOUND,
        reference="bundled:base",
        suite="world:suite",
        rules=rules(models, summaries, "abs_diff_topk"),
        sets=("group=a in policy/", "group=b in policy/"),
        models=models,
        summaries={name: array_sha256(array) for name, array in summaries.items()},
    )
    return record, summaries


def placed(record, summaries, seed=99):
    rng = np.random.default_rng(seed)
    kept = {name: rng.normal(size=a.shape[1:]).astype(np.float32) ** 2 for name, a in summaries.items()}
    return pool_of(record, summaries, model(rng, 777), kept)


def written(folder, record, summaries, **config):
    """A finished run of `calibrate`."""
    writer = BundleWriter(folder.parent, folder.name)
    writer.json("result.json", record)
    writer.data(SUMMARIES, summaries_bytes(summaries))
    known: dict[str, Any] = {"tool_version": "0", "verb": "calibrate", "method": "conformal, max", "status": "done"}
    known |= {"exit_code": 0, "run_id": "0", "config": config, "config_origins": {}, "seed": 0, "started": ""}
    known |= {"finished": "", "packages": {}, "device": Device(type="cpu", threads=1, machine="x"), "inputs": ()}
    outputs = writer.outputs()
    writer.seal(Manifest(**known, outputs=outputs, evidence_sha256=evidence_sha256(outputs)))
    return folder


def test_files_come_back(tmp_path):
    record, summaries = calibration()
    found = read_calibration(written(tmp_path / "c", record, summaries), "c")
    assert found.record == record and all((found.summaries[k] == v).all() for k, v in summaries.items())


def test_a_run_that_was_edited_or_did_not_end_calibrates_nothing(tmp_path):
    record, summaries = calibration()
    folder = written(tmp_path / "c", record, summaries)
    louder = record.models[0].model_copy(update={"scores": dict.fromkeys(record.models[0].scores, 99.0)})
    edited = record.model_copy(update={"models": (louder, *record.models[1:])})
    (folder / "result.json").write_text(pretty_json(edited))
    with pytest.raises(FormatError, match="not what the run wrote") as caught:
        read_calibration(folder, "c")
    assert caught.value.exit_code == ExitCode.BAD_INPUT and "verify" in str(caught.value.fix)
    with pytest.raises(FormatError, match="not what the run wrote"):
        fitting_calibration([("c", folder)], BOUND.reference_sha256)
    half = written(tmp_path / "half", record, summaries)
    (half / SIDECAR).unlink()
    with pytest.raises(UserError, match="not complete"):
        read_calibration(half, "half")
    with pytest.raises(UserError, match="not complete"):
        read_calibration(folder.rename(tmp_path / "c.partial"), "c.partial")


FORGED = {
    "/n_effective": {"n_effective": 199.0},
    "/correlation": {"correlation": 0.0},
    "/n_families": {"n_families": 19},
    "/fitted/act.lens": {"fitted": {"act.lens": (9.0,) * 19}},
}


def test_a_calibration_follows_from_its_models(tmp_path):
    record, summaries = calibration()
    kin = independence(Pool((*record.models, record.models[-1]), record.rules, "max", summaries))
    whole = record.model_copy(
        update={"n_families": kin.families, "n_effective": kin.n_effective, "correlation": max(kin.correlation, 0.0)}
    )

    def said(name, own):
        return recompute(own.model_dump(mode="json"), written(tmp_path / name, own, summaries))

    assert said("whole", whole) == []
    for number, (pointer, update) in enumerate(FORGED.items()):
        if getattr(whole, pointer.split("/")[1]) != next(iter(update.values())):
            assert any(text.startswith(pointer) for text in said(f"f{number}", whole.model_copy(update=update))), (
                pointer
            )
    silenced = tuple(r.model_copy(update={"frozen": False}) if r.id == "kl.neutral" else r for r in whole.rules)
    assert any(t.startswith("/rules") for t in said("rules", whole.model_copy(update={"rules": silenced})))
    twice = tuple(m.model_copy(update={"tensors_sha256": "0" * 64}) for m in whole.models)
    assert any("are the same" in t for t in said("twice", whole.model_copy(update={"models": twice})))


def test_an_array_of_another_run_is_refused(tmp_path):
    record, summaries = calibration()
    folder = written(tmp_path / "c", record, {k: v + 1 for k, v in summaries.items()})
    with pytest.raises(FormatError, match=r"act\.lens"):
        read_calibration(folder, "c")
    (folder / SUMMARIES).write_bytes(b"nonsense")
    with pytest.raises(FormatError):
        read_calibration(folder, "c")
    with pytest.raises(UserError) as caught:
        read_calibration(tmp_path, "nothing")
    assert caught.value.code == "calibration_not_found"


def test_what_ships_is_small_and_gives_nearly_the_same(tmp_path):
    record, summaries = calibration(199)
    write_shipped(tmp_path / "shipped", StoredCalibration("c", record, summaries, ""))
    assert sum(p.stat().st_size for p in (tmp_path / "shipped").iterdir()) < 1_500_000
    found = read_calibration(tmp_path / "shipped", "shipped")
    assert found.record.n == 199 and (tmp_path / "shipped" / SHIPPED).is_file()
    exact, rounded = (judged(placed(r, s), "c", "") for r, s in ((record, summaries), (found.record, found.summaries)))
    assert abs(exact.p_combined - rounded.p_combined) <= 2 / 200


def test_a_score_that_ties_goes_on_tying_in_what_ships(tmp_path):
    record, summaries = calibration(19)
    third = tuple(m.model_copy(update={"scores": dict.fromkeys(m.scores, 1 / 3)}) for m in record.models)
    record = record.model_copy(update={"models": third})
    write_shipped(tmp_path / "shipped", StoredCalibration("c", record, summaries, ""))
    assert read_calibration(tmp_path / "shipped", "shipped").record.models == third


def test_a_candidate_that_is_in_the_calibration_does_not_judge_itself():
    record, summaries = calibration()
    stored = StoredCalibration("runs/c", record, summaries, "")
    check_apart(stored, "0f" * 32)
    with pytest.raises(Refusal, match="judge itself") as caught:
        check_apart(stored, record.models[3].tensors_sha256)
    assert (caught.value.code, caught.value.exit_code) == ("calibration_mismatch", ExitCode.BAD_INPUT)


@pytest.mark.parametrize(("share", "frozen"), [(None, True), (0.5, True), (0.6, False)])
def test_a_dictionary_that_is_blind_to_benign_shifts_has_no_say(share, frozen):
    record, summaries = calibration()
    models = [m.model_copy(update={"share_outside": share}) for m in record.models[:10]]
    models += [m.model_copy(update={"share_outside": 0.1}) for m in record.models[10:]]
    found = rules(models, summaries, "abs_diff_topk")
    assert any(r.frozen for r in found if r.id.startswith("features.")) is frozen
    assert any(r.frozen for r in found if r.id == "act.lens")
    asked = rules(models, summaries, "abs_diff_topk", ["features.benign_z"])
    assert [r.id for r in asked if r.frozen] == ["features.benign_z"]


def test_auto_takes_the_first_of_this_reference(tmp_path):
    record, summaries = calibration()
    other = record.model_copy(update={"binding": BOUND.model_copy(update={"reference_sha256": "e" * 64})})
    places = [(n, written(tmp_path / n, r, summaries)) for n, r in (("other", other), ("own", record))]
    assert fitting_calibration(places, "a" * 64).name == "own"
    assert fitting_calibration(places, "f" * 64) is None


@pytest.mark.parametrize("name", [n for n in Binding.model_fields if n != "versions"])
def test_every_mismatch_is_refused_with_both_sides(name):
    record, summaries = calibration()
    value = getattr(BOUND, name)
    other = (not value) if isinstance(value, bool) else value + 1 if isinstance(value, int) else "0f" * 32
    with pytest.raises(Refusal) as caught:
        check_binding(StoredCalibration("runs/c", record, summaries, ""), BOUND.model_copy(update={name: other}))
    assert (caught.value.code, caught.value.exit_code) == ("calibration_mismatch", ExitCode.BAD_INPUT)
    assert str(other)[:16] in caught.value.got and caught.value.expected and caught.value.fix


def test_rows_bind_only_where_benign_models_were_asked_about_them():
    record, summaries = calibration()
    bare = record.model_copy(update={"binding": BOUND.model_copy(update={"rows_sha256": None})})
    check_binding(StoredCalibration("runs/c", bare, summaries, ""), BOUND)
    with pytest.raises(Refusal, match="rows"):
        check_binding(StoredCalibration("runs/c", record, summaries, ""), bare.binding)


def test_another_detector_version_is_named():
    record, summaries = calibration()
    other = BOUND.model_copy(update={"versions": {**BOUND.versions, "kl.neutral": 7}})
    with pytest.raises(Refusal) as caught:
        check_binding(StoredCalibration("runs/c", record, summaries, ""), other)
    assert "kl.neutral 1" in caught.value.expected and "kl.neutral 7" in caught.value.got


class TestBenign:
    MODELS = tuple(Benign(f"m{i}", f"m{i}", "", "full", f"{i:064d}") for i in range(9))

    def test_nine_are_enough(self):
        check(self.MODELS, "a" * 64)

    @pytest.mark.parametrize(
        ("models", "code"),
        [
            (MODELS[:8], "too_few_models"),
            ((*MODELS, MODELS[3]), "duplicate_model"),
            ((*MODELS[:8], dataclasses.replace(MODELS[8], tensors_sha256="a" * 64)), "duplicate_model"),
            ((), "too_few_models"),
        ],
        ids=["d19_few", "d19_copy", "d3_reference", "none"],
    )
    def test_d3_d19_what_cannot_calibrate(self, models, code):
        with pytest.raises(UserError) as caught:
            check(models, "a" * 64)
        assert caught.value.code == code and caught.value.exit_code is ExitCode.BAD_INPUT and caught.value.fix


class TestPool:
    def test_a8_tables_give_the_same_to_the_last_bit(self, tmp_path):
        pool = placed(*calibration())
        tables = {}
        for name, columns in pool_tables(pool).items():
            polars.DataFrame(dict(columns), strict=True).write_parquet(tmp_path / name)
            tables[name] = {c.name: c.to_list() for c in polars.read_parquet(tmp_path / name)}
        assert judged(pool_from(tables), "c", "") == judged(pool, "c", "")

    def test_a_candidate_without_a_frozen_score_has_no_p(self):
        record, summaries = calibration()
        rng = np.random.default_rng(0)
        whole = {name: a[0] for name, a in summaries.items()}
        without = model(rng, 9, **{"kl.neutral": None})
        found = judged(pool_of(record, summaries, without, whole), "c", "")
        assert (found.p_combined, found.missing) == (None, ("kl.neutral",))
        found = judged(pool_of(record, summaries, model(rng, 9), {"act.lens": whole["act.lens"]}), "c", "")
        assert (found.p_combined, found.missing) == (None, ("features.benign_z",))

    @pytest.mark.parametrize("name", ["act.lens", "features.benign_z"])
    def test_d4_a_fitted_detector_that_fails_is_missing(self, monkeypatch, name):
        from radiograph.detectors import _calibrated

        def fail(_):
            raise RuntimeError("injected")

        found = {k: dataclasses.replace(d, pool=fail) if k == name else d for k, d in detectors().items()}
        pool = placed(*calibration())
        monkeypatch.setattr(_calibrated, "detectors", lambda: found)
        place = judged(pool, "c", "")
        assert place.missing == (name,) and place.p_combined is None
        assert name not in {d.id for d in place.detectors}

    def test_equal_models_get_one(self):
        record, summaries = calibration()
        zero = model(np.random.default_rng(0), 5).model_copy(update={"scores": dict.fromkeys(PLAIN, 0.0)})
        found = judged(pool_of(record, summaries, zero, {k: v[0] * 0 for k, v in summaries.items()}), "c", "")
        plain = {d.id: d.p for d in found.detectors if d.id in PLAIN}
        assert set(plain.values()) == {1.0} and found.p_combined == 1.0

    def test_without_neutral_text_support_is_not_measured(self):
        record, summaries = calibration()
        bare = model(np.random.default_rng(0), 5).model_copy(update={"nuisance": {"relative_norm": 0.1}})
        found = judged(pool_of(record, summaries, bare, {k: v[0] for k, v in summaries.items()}), "c", "")
        assert found.support is None and found.stratum is None and found.p_combined is not None


class TestRules:
    def test_one_reading_of_the_features_counts(self):
        record, _ = calibration()
        assert {f for f in record.frozen if f.startswith("features.")} == {
            "features.abs_diff_topk",
            "features.benign_z",
        }
        assert "data.loss_drop" not in record.frozen

    def test_unknown_and_unmeasured_detectors(self):
        record, summaries = calibration()
        with pytest.raises(UserError, match="unknown detector"):
            rules(record.models, summaries, "abs_diff_topk", ["kl.natural"])
        with pytest.raises(UserError, match=r"data\.loss_drop cannot"):
            rules(record.models, summaries, "abs_diff_topk", ["data.loss_drop"])
        assert [r.id for r in rules(record.models, summaries, "abs_diff_topk", ["kl.neutral"]) if r.frozen] == [
            "kl.neutral"
        ]


def test_a_list_of_models_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ctx: Any = SimpleNamespace(locate=Workspace.current(False).resolve)
    (tmp_path / "list.txt").write_text("list.txt\tkin\n")
    with pytest.raises(FormatError, match="cannot hold another list"):
        find(["list.txt"], "bundled:base", ctx)
    (tmp_path / "weights.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="no list of models"):
        find(["weights.bin"], "bundled:base", ctx)
    for name in ("with space/one", "two", "c++/three"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / MODEL).touch()
    (tmp_path / "list.txt").write_text("# mine\n\nwith space/one\ntwo\tkin\ntwo  kin\n")
    found = find(["list.txt"], "bundled:base", ctx)
    assert [(m.name, m.family) for m in found] == [("one", ""), ("two", "kin"), ("two", "kin")]
    (plus,) = find(["c++/three"], "bundled:base", ctx)
    assert (plus.name, plus.kind) == ("three", "full")
