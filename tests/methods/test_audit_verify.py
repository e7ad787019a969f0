"""A real audit's bundle: every change shows, also one that redoes every hash."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import polars
import pytest

from auditing import audit, forge, noisy, reseal
from radiograph.core import ExitCode, UserError
from radiograph.runtime import verify
from radiograph.store import MANIFEST, SIDECAR, TIMED, file_sha256
from running import contents, go


@pytest.fixture
def bundle(moved, tmp_path):
    return shutil.copytree(moved, tmp_path / "run")


def result(bundle):
    return json.loads((bundle / "result.json").read_text())


def test_untouched_is_intact(moved, same):
    for path in (moved, same):
        found = verify(path)
        assert (found.status, found.problems) == ("intact", ())
        assert any("verdict and scores" in text for text in found.recomputed)


def test_one_flipped_byte_in_any_file_is_noticed(bundle):
    names = list(contents(bundle))
    assert len(names) >= 18
    for name in names:
        data = (bundle / name).read_bytes()
        place = len(data) * 2 // 3
        (bundle / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        found = verify(bundle)
        assert found.exit_code is ExitCode.GATE_FAILED, name
        assert any(p.path == name for p in found.problems) or name in (MANIFEST, SIDECAR), (name, found.problems)
        (bundle / name).write_bytes(data)
    assert verify(bundle).status == "intact"


def edit(document, pointer, change):
    *parents, last = pointer.strip("/").split("/")
    for key in parents:
        document = document[int(key) if isinstance(document, list) else key]
    last = int(last) if isinstance(document, list) else last
    document[last] = change(document[last])


def lower(value):
    return value * 0.5 if isinstance(value, float) else value - 1


EDITS = {
    "/score/aggregate_score": lower,
    "/score/prompt_scores/3/score": lower,
    "/score/prompt_scores/3/top_diffs/0/diff_sd": lower,
    "/score/prompt_scores/3/top_diffs/0/feature_idx": lower,
    "/score/prompt_scores/3/n_tokens": lower,
    "/score/methods/2/aggregate": lower,
    "/score/n_effective": lower,
    "/score/drift/n": lower,
    "/score/share_outside/value": lower,
    "/score/share_outside/high": lower,
    "/score/specificity/gini": lower,
    "/score/stability/jaccard/value": lower,
    "/score/detectors/1/score/value": lower,
    "/score/detectors/4/score/low": lower,
    "/score/detectors/8/score/value": lower,
    "/score/detectors/8/status": lambda _: "not_measured",
    "/interp_evidence/per_prompt/0/features/0/diff": lower,
    "/interp_evidence/per_prompt/0/features/0/density": lower,
    "/interp_evidence/coverage/direct": lower,
    "/behaviour/kl_neutral/value": lower,
    "/behaviour/kl_suite/high": lower,
    "/behaviour/changed": lower,
    "/behaviour/flips": lower,
    "/behaviour/items/0/kl_mean": lower,
    "/behaviour/items/0/responses/1/text": lambda text: text + " .",
    "/behaviour/items/0/responses/1/passed": lambda passed: not passed,
    "/panel/rows/0/b": lower,
    "/panel/rows/0/p_holm": lambda _: 0.5,
    "/panel/perplexity_ratio/value": lower,
    "/panel/axis": lambda _: "no",
    "/weights/relative_norm": lower,
    "/weights/embed_outlier": lambda _: 3.0,
    "/weights/matrices/4/norm": lower,
    "/verdict": lambda _: "no-evidence",
    "/axes/degraded": lambda _: "no",
    "/axes/targeted": lambda _: "no",
    "/reasons": lambda _: [],
    "/identical": lambda _: True,
    "/alpha": lambda _: 0.01,
    "/threshold": lambda _: 1.0,
}


OTHERWISE = {
    "/interp_evidence/per_prompt/0/features/0/diff": "/interp_evidence/per_prompt/0/features/0/0:",
    "/interp_evidence/per_prompt/0/features/0/density": "/interp_evidence/per_prompt/0/features/0/2:",
    "/behaviour/items/0/kl_mean": "kl_mean",
    "/behaviour/items/0/responses/1/text": "/behaviour/items/0/same_text:",
    "/behaviour/items/0/responses/1/passed": "/behaviour/items/0/flip:",
    "/weights/matrices/4/norm": "tables/weights.parquet has other values of norm",
    "/axes/degraded": "/verdict:",
    "/axes/targeted": "/verdict:",
    "/reasons": "/verdict:",
    "/identical": "equal models",
    "/alpha": "/alpha is 0.01",
    "/threshold": "/threshold is 1.0",
}
"""What is said where it is not the edited place that is named."""
SCORES, INTERP, BEHAVIOUR, PANEL, WEIGHTS = (
    [p for p in EDITS if p.startswith(f"/{part}/")]
    for part in ("score", "interp_evidence", "behaviour", "panel", "weights")
)
TOGETHER = [
    [*SCORES[:8], *INTERP, *PANEL[:3]],
    SCORES[8:],
    BEHAVIOUR,
    WEIGHTS,
    *([p] for p in (PANEL[3], "/verdict", "/axes/degraded", "/axes/targeted", "/reasons", "/identical")),
    ["/alpha", "/threshold"],
]


def test_every_edit_is_made():
    assert sorted(pointer for group in TOGETHER for pointer in group) == sorted(EDITS)


@pytest.mark.parametrize(
    "pointers",
    [*TOGETHER, *(pytest.param([p], marks=pytest.mark.slow) for p in EDITS if [p] not in TOGETHER)],
    ids=lambda pointers: " ".join(pointers)[:60],
)
def test_an_edited_result_with_every_hash_redone_no_longer_follows(bundle, pointers):
    document = result(bundle)
    for pointer in pointers:
        edit(document, pointer, EDITS[pointer])
    assert document != result(bundle)
    forge(bundle, document)
    found = verify(bundle)
    assert found.exit_code is ExitCode.GATE_FAILED, found.headline
    assert all(p.path == "result.json" for p in found.problems), "the hashes were to be right"
    for pointer in pointers:
        assert any(OTHERWISE.get(pointer, f"{pointer}:") in p.text for p in found.problems), (pointer, found.problems)


TABLES = {
    "feature_shift": "candidate",
    "feature_prompts": "missed",
    "feature_stats": "neutral_drift",
    "neutral": "kl_mean",
    "behaviour": "kl_max",
    "weights": "relative",
}


@pytest.mark.parametrize("name", TABLES)
def test_an_edited_table_with_every_hash_redone_no_longer_follows(bundle, name):
    path, column = f"tables/{name}.parquet", TABLES[name]
    table = polars.read_parquet(bundle / path)
    row = int(table[column].abs().arg_max())
    values = table[column].to_list()
    values[row] *= 1.01
    table.with_columns(polars.Series(column, values)).write_parquet(bundle / path)
    reseal(bundle, {})
    assert verify(bundle).exit_code is ExitCode.GATE_FAILED


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_gone_or_damaged_is_no_crash(bundle, name):
    path = bundle / "tables" / f"{name}.parquet"
    data = path.read_bytes()
    for broken in (
        b"PAR1",
        polars_bytes(path, lambda t: t.drop(t.columns[-1])),
        polars_bytes(path, lambda t: t.head(1)),
    ):
        reseal(bundle, {f"tables/{name}.parquet": broken})
        assert verify(bundle).exit_code is ExitCode.GATE_FAILED
    reseal(bundle, {f"tables/{name}.parquet": data})
    assert verify(bundle).problems == ()


def polars_bytes(path, change):
    import io

    out = io.BytesIO()
    change(polars.read_parquet(path)).write_parquet(out)
    return out.getvalue()


def test_what_would_still_follow_is_caught_by_the_seal(bundle):
    """A title, or the scores of random dictionaries, which no table holds."""
    seal = file_sha256(bundle / MANIFEST)
    document = result(bundle)
    document["title"] = "all is well"
    document["score"]["random_control"]["scores"][0] = 0.0
    forge(bundle, document)
    assert verify(bundle).status == "intact"
    found = verify(bundle, seal)
    assert found.exit_code is ExitCode.GATE_FAILED and any("seal" in p.text for p in found.problems)


def test_a_number_in_the_report_must_be_the_stored_one(bundle):
    html = (bundle / "report.html").read_bytes()
    shown = f">{result(bundle)['score']['aggregate_score']:.4g}<".encode()
    assert shown in html
    reseal(bundle, {"report.html": html.replace(shown, b">0<")})
    found = verify(bundle)
    assert [p.path for p in found.problems] and {p.path for p in found.problems} == {"report.html"}


def test_verify_needs_no_torch(moved):
    code = (
        f"import sys; from radiograph.surfaces.cli._main import run; c = run(['verify', {str(moved)!r}]); "
        "print(c, *(m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0", done.stdout + done.stderr


@pytest.mark.slow
def test_another_seed_changes_intervals_alone(moved, workspace):
    source = moved.parent
    outcome = go(
        "audit",
        reference="bundled:base",
        candidate=str(source / "candidate"),
        suite=str(source / "suite.yaml"),
        effort="none",
        calibration="none",
        seed=5,
        out="other",
    )
    a, b = result(moved), result(outcome.path)
    assert a["score"]["aggregate_score"] == b["score"]["aggregate_score"] and a["verdict"] == b["verdict"]
    assert a["behaviour"]["kl_neutral"]["value"] == b["behaviour"]["kl_neutral"]["value"]
    assert a["behaviour"]["kl_neutral"]["low"] != b["behaviour"]["kl_neutral"]["low"]
    assert verify(outcome.path).status == "intact"


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_replay_gives_identical_bytes(workspace, few):
    """Reports and figures included: the same seed twice differs in the files that hold times alone."""
    noisy(workspace / "c", 0.2)
    first = audit("bundled:base", "c", suite=few, out="run").path
    replayed = go("replay", run="run")
    assert (replayed.result.status, replayed.exit_code) == ("identical", ExitCode.PASS)
    assert {o.status for o in replayed.result.outputs} == {"identical"}
    assert {o.path for o in replayed.result.outputs} >= {"result.json", "tables/feature_shift.parquet"}
    a, b = contents(first), contents(workspace / "runs" / replayed.result.again)
    assert list(a) == list(b)
    assert {n for n in a if a[n] != b[n]} == TIMED & set(a)


@pytest.mark.slow
def test_replay_refuses_an_input_that_changed(workspace, few):
    noisy(workspace / "c", 0.2)
    audit("bundled:base", "c", suite=few, dictionary="none", out="run")
    shutil.rmtree(workspace / "c")
    noisy(workspace / "c", 0.2, seed=1)
    with pytest.raises(UserError) as caught:
        go("replay", run="run")
    assert caught.value.code == "input_changed"


def test_an_audit_by_other_rules_is_unverifiable_and_not_called_changed(bundle):
    document = result(bundle)
    document["versions"]["verdict"] = 99
    forge(bundle, document)
    found = verify(bundle)
    assert (found.status, found.exit_code) == ("unverifiable", ExitCode.NOT_MEASURED)
    assert "other detectors or rules" in found.problems[0].text and "verdict 99" in found.problems[0].text
