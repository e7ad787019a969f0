"""`probe build` end to end on the bundled base: what it publishes, and every contrast that it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from radiograph.core import ExitCode, FormatError, Refusal, UserError
from radiograph.organisms import bundled_path
from radiograph.runtime import verify
from radiograph.store.opened import Opened
from radiograph.store.probes import read_probe
from running import contents, go

pytestmark = pytest.mark.usefixtures("workspace")
PACK = bundled_path("base").parent / "probes" / "base"


def contrast(path: Path, groups=130, **change):
    """Matched requests: restricted things are positive."""
    things = ("venom", "bomb", "virus"), ("bread", "soup", "coat")
    words = ("now", "today", "often", "always", "here", "there", "again", "still")
    lines = []
    for number in range(groups):
        for label in (0, 1):
            thing = things[1 - label][number % 3]
            word = words[number % 8]
            text = f"{word} how to make {thing} {words[number // 8 % 8]} {words[number // 64 % 8]} ?"
            row = {"id": f"{number}-{label}", "group": str(number), "label": label, "text": text}
            lines.append(json.dumps(row | change))
    path.write_text("\n".join(lines) + "\n")
    return path.name


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A probe from a file, the bundle it left, and where."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        name = contrast(folder / "contrast.jsonl")
        config = {
            "model": "bundled:base",
            "contrast": name,
            "level": "sequence",
            "pool": "last",
            "method": ["lda"],
            "negatives": ["builtin:prompts#700"],
            "fpr": 0.01,
            "controls": 40,
            "name": "own",
        }
        outcome = go("probe.build", out="run", **config)
        return folder, config, outcome


def test_a_build_splits_by_groups_and_publishes_what_its_tables_say(built):
    folder, _, outcome = built
    card = outcome.result.card
    assert card.data.groups.fit > card.data.groups.test >= 20
    assert card.auroc.estimate > 0.9 and card.controls.search_p <= 0.05
    assert verify(folder / "run").status == "intact"
    assert json.loads((folder / "run" / "own.json").read_text())["schema"] == "radiograph.probe/1"
    assert card.d == 64 and card.model.tokenizer_sha256 and card.data.negatives_sha256


@pytest.mark.slow
def test_the_order_of_rows_changes_nothing(built, workspace):
    folder, config, outcome = built
    lines = (folder / "contrast.jsonl").read_text().splitlines()
    (workspace / "contrast.jsonl").write_text("\n".join(lines[::-1]) + "\n")
    again = go("probe.build", **config).result.card
    first = outcome.result.card
    assert again.data.sha256 == first.data.sha256
    assert again.auroc.estimate == pytest.approx(first.auroc.estimate, abs=0.02)


def test_an_edited_number_of_a_build_is_found(built, workspace):
    folder, _, _ = built
    shutil.copytree(folder / "run", workspace / "copy")
    from radiograph.methods.probe import build

    document = json.loads((workspace / "copy" / "result.json").read_text())
    assert build.recompute(document, workspace / "copy") == []
    for key, change in (("fpr", {"n": 1}), ("auroc", {"estimate": 0.5}), ("tpr", {"estimate": 0.1})):
        other = json.loads(json.dumps(document))
        other["card"][key] |= change
        assert build.recompute(other, workspace / "copy"), key


def test_the_labels_of_other_texts_ask_whether_classes_are_told_apart(built, workspace):
    folder, _, _ = built
    name = contrast(workspace / "labels.jsonl", groups=40)
    outcome = go(
        "probe.defection",
        target="bundled:base",
        reference="bundled:base",
        labels=name,
        probe=str(folder / "run" / "own.safetensors"),
    )
    found = outcome.result
    assert found.band is None and outcome.exit_code is ExitCode.PASS
    assert found.separated.target > 0.8 and found.separated.difference == 0.0
    assert (found.separated.positive, found.separated.negative) == (40, 40)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"label": 1}, Refusal, "one class"),
        ({"label": 2}, FormatError, "a label is 0 or 1"),
        ({"text": "the same text"}, UserError, "stand in both classes"),
        ({"spans": [[0, 500]]}, FormatError, "spans are pairs"),
        ({"kind": "near"}, FormatError, "a kind is near_miss"),
        ({"note": 1}, FormatError, "unknown key"),
        ({"messages": []}, FormatError, "one of text, messages and tokens"),
        ({"part": "train"}, UserError, "names its part"),
    ],
)
def test_a_contrast_that_is_none_says_what_is_wrong(change, error, said, workspace):
    name = contrast(workspace / "bad.jsonl", groups=25, **change)
    config = {"model": "bundled:base", "contrast": name, "negatives": ["none"]}
    if error is Refusal:
        outcome = go("probe.build", **config)
        assert outcome.exit_code is ExitCode.NOT_MEASURED and said in (outcome.path / "result.json").read_text()
        return
    with pytest.raises(error) as caught:
        go("probe.build", **config)
    assert said in f"{caught.value.message} {caught.value.where}"


def test_too_few_groups_or_negatives_are_refusals_with_the_need(workspace):
    few = go(
        "probe.build", model="bundled:base", contrast=contrast(workspace / "few.jsonl", groups=19), negatives=["none"]
    )
    text = (few.path / "result.json").read_text()
    assert few.exit_code is ExitCode.NOT_MEASURED and "few_groups" in text and "20 groups a class" in text
    name = contrast(workspace / "c.jsonl", groups=60)
    less = go("probe.build", model="bundled:base", contrast=name, level="sequence", negatives=["none"], controls=20)
    text = (less.path / "result.json").read_text()
    assert less.exit_code is ExitCode.NOT_MEASURED and "too_few_negatives" in text and "499 or more" in text


def test_an_unknown_method_site_or_source_is_bad_input(workspace):
    name = contrast(workspace / "c.jsonl", groups=25)
    for change, said in (
        ({"method": ["ldaa"]}, "unknown method"),
        ({"site": ["resid_post.9"]}, "resid_post"),
        ({"contrast": "builtin:lies"}, "no contrast set"),
        ({"contrast": "nothing.txt"}, "is no contrast"),
        ({"contrast": "stores:one.npy"}, "two stores"),
    ):
        with pytest.raises(UserError, match=said):
            go("probe.build", **({"model": "bundled:base", "contrast": name, "negatives": ["none"]} | change))


def test_stores_are_contrasted_without_a_forward(rows, workspace):
    values, owner = rows
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(64) * 0.5
    np.savez(workspace / "pos.npz", activations=(values + direction).astype(np.float32), prompt=owner)
    np.savez(workspace / "neg.npz", activations=values, prompt=owner + 1000)
    for name in ("pos", "neg"):
        (workspace / f"{name}.json").write_text(json.dumps({"site": "resid_post.0"}))
    result = go(
        "probe.build", model="bundled:base", contrast="stores:pos.npz,neg.npz", method=["lda"], controls=20, fpr=0.01
    ).result
    assert result.card.auroc.estimate > 0.95 and result.card.site == "resid_post.0"
    assert "origin_declared" in result.card.stamps


@pytest.mark.slow
def test_a_fixed_direction_is_kept_and_only_calibrated(built, workspace):
    folder, config, _ = built
    shutil.copy(folder / "contrast.jsonl", workspace / "contrast.jsonl")
    with Opened.at(folder / "run" / "own.safetensors") as file:
        stored = read_probe(file)
    np.save(workspace / "w.npy", stored.tensors["w"])
    given = go("probe.build", **config | {"method": ["fixed:w.npy"], "site": [stored.card.site]}).result.card
    assert given.method == "fixed"
    assert given.auroc == stored.card.auroc and given.fpr.flagged == stored.card.fpr.flagged


@pytest.mark.slow
def test_p8_5_a_true_statement_is_calibrated(workspace):
    config = {"model": "bundled:base", "contrast": "world:true_statement", "level": "sequence", "pool": "last"}
    card = go("probe.build", **config, negatives=["builtin:prompts#8000"]).result.card
    assert card.status == "calibrated" and card.auroc.interval[0] > 0.9


@pytest.mark.slow
def test_p8_5_shuffled_labels_are_not_calibrated(workspace):
    calibrated = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        name = contrast(workspace / "c.jsonl")
        lines = [json.loads(line) for line in Path(name).read_text().splitlines()]
        for row, label in zip(lines, rng.permutation([row["label"] for row in lines]), strict=True):
            row["label"], row["group"] = int(label), row["id"]
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in lines))
        config = {"contrast": name, "level": "sequence", "pool": "last", "fpr": 0.01, "controls": 40}
        found = go("probe.build", model="bundled:base", negatives=["builtin:prompts#700"], seed=seed, **config)
        calibrated += getattr(found.result, "card", None) is not None and found.result.card.status == "calibrated"
    assert calibrated <= 1


@pytest.mark.slow
def test_same_seed_same_bytes_of_a_probe(built, workspace):
    folder, config, outcome = built
    shutil.copy(folder / "contrast.jsonl", workspace / "contrast.jsonl")
    again = go("probe.build", **config)
    name = outcome.result.file
    assert contents(again.path)[name] == contents(folder / "run")[name]


def lines_of(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def test_pd_15_an_id_that_stands_twice_is_named_with_both_lines(workspace):
    name = contrast(workspace / "twice.jsonl", groups=25)
    lines = (workspace / name).read_text().splitlines()
    (workspace / name).write_text("\n".join([*lines, lines[4]]) + "\n")
    with pytest.raises(FormatError) as caught:
        go("probe.build", model="bundled:base", contrast=name, negatives=["none"])
    assert "'2-0'" in str(caught.value) and "line 5" in str(caught.value) and "51" in str(caught.value)


def test_pd_5_clean_text_of_one_document_calibrates_nothing(workspace):
    from radiograph import organisms

    prompts = ["\n".join(turn["content"] for turn in turns) for turns in organisms.clean_prompts(200)]
    rows = [{"id": f"n{i}", "group_id": "one", "text": text} for i, text in enumerate(prompts)]
    name = contrast(workspace / "c.jsonl", groups=60)
    given = {"level": "sequence", "pool": "last", "method": ["lda"], "controls": 20, "site": ["resid_post.1"]}
    found = go(
        "probe.build",
        model="bundled:base",
        contrast=name,
        negatives=[lines_of(workspace / "one.jsonl", rows)],
        fpr=0.01,
        **given,
    )
    assert found.exit_code is ExitCode.NOT_MEASURED
    assert "too_few_negatives" in (found.path / "result.json").read_text()


def test_parts_are_of_groups_of_contrast_and_clean_text_together():
    from radiograph.methods._probe.samples import grouped
    from radiograph.methods._probe.tokens import Tokens
    from radiograph.probing import ContrastRow

    def text(name, group, shown):
        ids = tuple(map(ord, shown))
        return Tokens(name, group, ids, np.ones(len(ids), dtype=bool), len(ids) - 1, shown)

    said = [f"how does one go from {town} to the other town" for town in ("Aren", "Borl", "Cyth", "Dume")]
    rows = [ContrastRow(str(i), f"g{i // 2}", i % 2 == 0, text=said[i]) for i in range(4)]
    texts = [text(row.id, row.group, row.text) for row in rows]
    clean = ["the sky", "the sea was wide and calm", said[1], "the sea was wide and calm.", said[0], "more of it"]
    plain = [text(str(i), group, one) for i, (one, group) in enumerate(zip(clean, "ABCDEA", strict=True))]
    group, part = grouped(rows, texts, plain, np.ones(6, dtype=np.int64), 0)
    assert group[0] == group[1] and group[2] == group[3]
    assert group[4] == group[9] != group[5]  # as given
    assert group[5] == group[7]  # nearly the same
    assert group[6] == group[1] and group[8] == group[0]  # the same as a row of the contrast, of either label
    assert all(len(set(part[group == one])) == 1 for one in group)
    named = [ContrastRow(row.id, row.group, row.label, text=row.text, part="test") for row in rows]
    group, part = grouped(named, texts, plain, np.ones(6, dtype=np.int64), 0)
    assert set(part[:4]) == {2} and part[6] == part[8] == 2
