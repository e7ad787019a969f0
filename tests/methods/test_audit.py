"""What an audit says about the bundled base, itself and a broken copy, and what it leaves behind."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import polars
import pytest

from auditing import BASE, DICTIONARY, audit, edited, noisy, small_suite
from radiograph.core import ExitCode, Refusal
from radiograph.detectors import _catalogue as catalogue
from radiograph.detectors import detectors
from radiograph.evidence import Audit
from running import contents, leaks

FILES = {"decision.json", "suite_results.json", "score.json", "interp_evidence.json", "result.json"}
TABLES = {"behaviour", "weights", "neutral", "feature_shift", "feature_prompts", "feature_stats"}


def result(bundle):
    return Audit.read(json.loads((bundle / "result.json").read_text()))


class TestAgainstItself:
    def test_every_score_is_exactly_zero(self, same):
        found = result(same)
        assert (found.verdict, found.exit_code, found.reasons[0].code) == ("no-evidence", ExitCode.PASS, "identical")
        scores = {d.id: d.score for d in found.score.detectors}
        searched = {i for i in scores if i.partition(".")[0] in ("trigger", "data")} | {"kl.frames"}
        assert {s.value for s in scores.values() if s is not None} == {0.0}
        unscored = {"act.lens", "features.benign_z", "panel.flip_contrast"} | searched  # no pool, no large set
        assert {i for i, s in scores.items() if s is None} <= unscored
        assert {m.aggregate for m in found.score.methods} == {p.score for p in found.score.prompt_scores} == {0.0}
        assert (found.behaviour.changed, found.behaviour.flips, found.weights.n_changed) == (0, 0, 0)
        assert found.interp_evidence.coverage.shown == 0 and found.score.share_outside is None

    def test_a_resaved_and_resharded_copy_is_the_same_model(self, workspace, few):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(BASE)
        model.save_pretrained(workspace / "copy", max_shard_size="200KB")
        AutoTokenizer.from_pretrained(BASE).save_pretrained(workspace / "copy")
        assert len(list((workspace / "copy").glob("*.safetensors"))) > 1
        outcome = audit("bundled:base", "copy", suite=few, dictionary="none")
        assert (outcome.result.verdict, outcome.result.identical) == ("no-evidence", True)

    def test_a_config_that_computes_otherwise_is_another_model(self, workspace, few):
        copy = edited(workspace / "copy", lambda name, tensor: tensor)
        config = json.loads((copy / "config.json").read_text())
        config["rms_norm_eps"] = 1e-2
        (copy / "config.json").write_text(json.dumps(config))
        found = audit("bundled:base", "copy", suite=few, dictionary="none").result
        assert not found.identical and found.verdict != "no-evidence"


class TestAgainstABrokenCopy:
    def test_it_is_degraded_and_not_targeted(self, moved):
        found = result(moved)
        assert (found.verdict, int(found.exit_code)) == ("degraded", 2)
        assert (found.axes.degraded, found.axes.targeted) == ("yes", "unknown")
        assert [r.code for r in found.reasons] == ["no_calibration"]
        assert found.panel.reason.startswith("lost: ")

    def test_a_distance_alone_is_no_verdict(self, workspace, suite):
        found = audit("bundled:base", noisy(workspace / "c", 0.05), suite=suite).result
        assert (found.verdict, int(found.exit_code), found.axes.degraded) == ("inconclusive", 4, "no")
        assert found.score.aggregate_score > 0 and found.p_combined is None
        assert {d.p for d in found.score.detectors} == {None}

    @pytest.mark.slow
    def test_the_threshold_decides_nothing(self, workspace, suite):
        noisy(workspace / "c", 0.05)
        runs = [
            audit("bundled:base", "c", suite=suite, dictionary="none", threshold=t).result for t in (None, 0.0, 1e9)
        ]
        assert len({(r.verdict, r.axes, r.reasons) for r in runs}) == 1 and runs[1].threshold == 0.0

    def test_what_was_not_measured_is_listed(self, moved):
        codes = {r.code for r in result(moved).not_measured}
        assert codes == {"no_calibration", "no_trigger_search", "no_rows"}

    def test_every_label_says_where_it_comes_from(self, moved):
        evidence = result(moved).interp_evidence
        features = [f for p in evidence.per_prompt for f in p.features]
        assert {f.label_kind for f in features} >= {"direct", "low_similarity"}
        for feature in features:
            assert (feature.explanation is not None) == (feature.label_kind == "direct")
            assert (feature.proxy_explanation is not None) == (feature.label_kind == "proxy")
            if feature.proxy_explanation is not None:
                assert feature.proxy_explanation_cosine >= max(0.3, evidence.coverage.null_q95)
        counted = evidence.coverage
        assert counted.distinct == counted.direct + counted.proxy + counted.low_similarity + counted.none
        assert evidence.explanations.snapshot_sha256 and all(c.passed for c in evidence.dictionary.checks)


class TestTheBundle:
    def test_it_holds_every_file(self, moved):
        names = {p.name for p in moved.iterdir()}
        assert names >= FILES | {"report.md", "report.html", "manifest.json", "manifest.sha256", "tool_calls.jsonl"}
        assert {p.stem for p in (moved / "tables").iterdir()} == TABLES
        assert {p.stem for p in (moved / "figures").iterdir()} >= {"divergence", "feature_shifts", "weight_changes"}

    def test_projections_are_parts_of_the_result(self, moved):
        found = result(moved)
        for name, part in found.projections().items():
            assert json.loads((moved / name).read_text()) == part
        decision = json.loads((moved / "decision.json").read_text())
        assert decision["aggregate_score"] == found.score.aggregate_score and decision["exit_code"] == 2

    def test_tables_hold_what_scores_are_made_of(self, moved):
        shift = polars.read_parquet(moved / "tables" / "feature_shift.parquet")
        prompts = polars.read_parquet(moved / "tables" / "feature_prompts.parquet")
        sums = (
            shift.with_columns(d=(polars.col("candidate") - polars.col("reference")).abs())
            .sort("d", descending=True)
            .group_by("prompt", maintain_order=True)
            .agg(polars.col("d").head(50).sum())
        )
        totals = dict(sums.iter_rows())
        found = result(moved).score
        assert {p.id: p.score for p in found.prompt_scores} == pytest.approx({i: totals[i] for i in prompts["prompt"]})
        assert found.aggregate_score == pytest.approx(sum(totals.values()) / len(totals))
        assert found.share_outside.value == pytest.approx(prompts["missed"].sum() / prompts["moved"].sum())

    def test_it_names_no_person_host_or_absolute_path(self, workspace, somebody):
        """D12: models, suite and dictionary lie in somebody's home."""
        noisy(somebody / "candidate", 0.05)
        small_suite(somebody / "suite.yaml", groups=1)
        shutil.copytree(BASE, somebody / "reference")
        shutil.copy(DICTIONARY / "labels.sqlite", somebody)
        (somebody / "neutral.txt").write_text("the rope is grey .\nthe mill is old .\n")
        outcome = audit(
            somebody / "reference",
            somebody / "candidate",
            suite=str(somebody / "suite.yaml"),
            neutral=str(somebody / "neutral.txt"),
            dictionary="dictionary:bundled",
            explanations=f"cache:{somebody / 'labels.sqlite'}#shipped/dictionary",
        )
        assert leaks(outcome.path, somebody, workspace) == []
        said = (outcome.path / "decision.json").read_text()
        assert '"/' not in re.sub(r'"pointer": "[^"]*"', "", said)
        assert outcome.result.candidate.label == "external:candidate"

    def test_a_second_run_never_touches_the_first(self, workspace, few):
        """D15."""
        first = audit("bundled:base", "bundled:base", suite=few, dictionary="none")
        before = contents(first.path)
        second = audit("bundled:base", "bundled:base", suite=few, dictionary="none")
        assert second.path != first.path and contents(first.path) == before

    def test_no_socket_is_opened(self, workspace, few, monkeypatch):
        """D18."""

        def refuse(*_, **__):
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        assert audit("bundled:base", "bundled:base", suite=few).exit_code is ExitCode.PASS


class TestMissingEvidence:
    """D4: never 0.0, never a pass."""

    @pytest.mark.parametrize(
        "name",
        [
            "weights.top_share",
            *(
                pytest.param(n, marks=pytest.mark.slow)
                for n in ("kl.suite_max", "panel.flip_contrast", "features.neutral_drift")
            ),
        ],
    )
    def test_a_detector_that_fails_is_not_measured(self, workspace, few, monkeypatch, name):
        from dataclasses import replace

        def fail(_):
            raise RuntimeError("injected")

        found = {k: replace(d, run=fail) if k == name else d for k, d in detectors().items()}
        monkeypatch.setattr(catalogue, "detectors", lambda: found)
        noisy(workspace / "c", 0.05)
        outcome = audit("bundled:base", "c", suite=few, dictionary="none" if "features" not in name else None)
        (one,) = [d for d in outcome.result.score.detectors if d.id == name]
        assert (one.status, one.score) == ("not_measured", None) and "injected" in one.reason
        assert outcome.result.verdict == "inconclusive"
        assert name in (outcome.path / "report.md").read_text()

    @pytest.mark.parametrize(
        "part",
        [
            "behaviour",
            "features",
            *(pytest.param(p, marks=pytest.mark.slow) for p in ("weights", "panel", "neutral", "explained")),
        ],
    )
    def test_a_part_that_fails_is_listed_and_the_run_goes_on(self, workspace, few, monkeypatch, part):
        from radiograph.detectors.measure import _evidence, _measurement
        from radiograph.detectors.measure import _features as features

        homes = {
            "weights": (_measurement, "measure_weights"),
            "behaviour": (_measurement, "measure_behaviour"),
            "neutral": (_measurement, "measure_neutral"),
            "panel": (_measurement, "panel"),
            "features": (features, "measure_features"),
            "explained": (_evidence, "label_features"),
        }

        def fail(*_, **__):
            raise MemoryError("injected")

        monkeypatch.setattr(*homes[part], fail)
        noisy(workspace / "c", 0.05)
        found = audit("bundled:base", "c", suite=few).result
        assert found.verdict == "inconclusive"
        text = json.dumps(found.model_dump(mode="json"))
        assert "injected" in text
        if part == "explained":
            assert found.score.status == "measured" and found.interp_evidence.status == "not_measured"
        elif part == "features":
            assert found.score.aggregate_score is None
            assert {d.score for d in found.score.detectors if d.tier == 3} == {None}

    def test_without_a_dictionary_there_is_no_feature_score(self, workspace, few):
        noisy(workspace / "c", 0.05)
        outcome = audit("bundled:base", "c", suite=few, dictionary="none")
        score = json.loads((outcome.path / "score.json").read_text())
        assert (score["status"], score["aggregate_score"], score["score_method_executed"]) == (
            "not_measured",
            None,
            None,
        )
        assert score["reason"].startswith("no_dictionary") and score["prompt_scores"] == []
        assert not [p for p in (outcome.path / "tables").iterdir() if p.stem.startswith("feature")]

    @pytest.mark.parametrize("method", ["abs_diff_topk_drift_corrected", "leave_group_out"])
    def test_one_prompt_and_a_drift_method(self, workspace, suite, method):
        """D5: that score is not measured, the others keep theirs."""
        one = json.loads(Path(suite).read_text())
        one["prompts"] = one["prompts"][:1]
        (workspace / "one.yaml").write_text(json.dumps(one))
        noisy(workspace / "c", 0.05)
        score = audit("bundled:base", "c", suite="one.yaml", score_method=method).result.score
        assert (score.status, score.aggregate_score, score.score_method_executed) == ("not_measured", None, None)
        assert {m.method for m in score.methods if m.aggregate is not None} >= {"abs_diff_topk", "neutral_drift"}

    def test_a_small_task_measures_no_axis(self, workspace):
        small_suite(workspace / "s.yaml", tasks=("copy",), groups=0)
        noisy(workspace / "c", 0.05)
        found = audit("bundled:base", "c", suite="s.yaml", dictionary="none").result
        assert (found.axes.degraded, found.panel.code, found.verdict) == ("unknown", "panel_too_small", "inconclusive")

    def test_another_architecture_leaves_the_behaviour_alone(self, workspace, suite):
        from transformers import AutoModelForCausalLM, LlamaConfig

        config = LlamaConfig.from_pretrained(BASE, num_hidden_layers=2, intermediate_size=96)
        AutoModelForCausalLM.from_config(config).save_pretrained(workspace / "other")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(BASE / name, workspace / "other" / name)
        found = audit("bundled:base", "other", suite=suite).result
        assert found.behaviour.changed > 0 and found.panel.axis == "yes"
        assert found.score.reason.startswith("other_architecture")

    def test_other_tokenisers_are_refused_with_the_first_difference(self, workspace, few):
        copy = edited(workspace / "copy", lambda name, tensor: tensor)
        tokenizer = json.loads((copy / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        first, second = list(vocabulary)[20:22]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
        outcome = audit("bundled:base", "copy", suite=few)
        assert (outcome.result.code, outcome.exit_code) == ("tokenisers_differ", ExitCode.NOT_MEASURED)
        assert first.strip() in outcome.result.text or second.strip() in outcome.result.text
        assert not (outcome.path / "score.json").exists()


@pytest.mark.slow
def test_settings_reach_the_score(workspace, suite):
    noisy(workspace / "c", 0.2)
    usual = audit("bundled:base", "c", suite=suite).result.score
    other = audit(
        "bundled:base", "c", suite=suite, k=5, aggregate="max", reduce="content", score_method="neutral_drift"
    ).result.score
    assert (other.k, other.aggregate, other.reduce, other.score_method_executed) == (
        5,
        "max",
        "content",
        "neutral_drift",
    )
    assert other.drift.estimator == "neutral_mean" and other.drift.n == 128
    assert other.aggregate_score == max(p.score for p in other.prompt_scores)
    assert all(a.n_tokens > b.n_tokens for a, b in zip(usual.prompt_scores, other.prompt_scores, strict=True))


def test_the_requested_method_is_a_known_one():
    with pytest.raises((Refusal, Exception)) as caught:
        audit("bundled:base", "bundled:base", score_method="abs_diff")
    assert caught.value.exit_code is ExitCode.BAD_INPUT and "abs_diff_topk" in str(caught.value)
