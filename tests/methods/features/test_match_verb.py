"""Planted pairs are found, chance is not, and what cannot be compared says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.evidence.matches import Matches, TransferRecord
from radiograph.methods._match.causal import agreements
from radiograph.methods._match.transfer import judged
from radiograph.methods.match import recompute
from radiograph.runtime import verify
from radiograph.store.interventions import read_interventions
from running import contents, go

PLANTED, FEATURES, ROWS = 8, 40, 200


@pytest.fixture(scope="module")
def tables():
    """Two sides; the first features of the left are, on 85 % of the rows, features 10, 11, … of the right."""
    rng = np.random.default_rng(2)
    shape = (ROWS, FEATURES)
    left, right = (np.where(rng.random(shape) < 0.25, rng.exponential(size=shape) + 0.01, 0.0) for _ in range(2))
    kept = rng.random((ROWS, PLANTED)) < 0.85
    right[:, 10 : 10 + PLANTED] = np.where(kept, left[:, :PLANTED], right[:, 10 : 10 + PLANTED])
    right[:, FEATURES - 1] = 0
    right[:4, FEATURES - 1] = 1
    return left, right


def lines(model, table, order=None, **more):
    """Records of a side in JSON Lines; `more` is a function of the row for each key."""
    for r in range(len(table)) if order is None else order:
        features = {f"{model}#{f}": float(v) for f, v in enumerate(table[r]) if v}
        own = {key: make(r) for key, make in more.items()}
        yield {"model": model, "prompt_id": f"p{r}", "group_id": f"g{r // 2}", "text": f"text {r}", **own} | {
            "features": features
        }


def write(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


@pytest.fixture
def sides(workspace, tables):
    return [write(workspace / f"{n}.jsonl", lines(n, t)) for n, t in zip("AB", tables, strict=True)]


@pytest.fixture(scope="module")
def found(tables, tmp_path_factory):
    """One comparison that several tests look at."""
    folder = tmp_path_factory.mktemp("match")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        names = [write(folder / f"{n}.jsonl", lines(n, t)) for n, t in zip("AB", tables, strict=True)]
        return go("match", out="run", left=names[0], right=names[1], show=3, transfer=["readout"])


def test_y3_13_planted_pairs_are_found_among_all_features_and_noise_is_not(found):
    result = found.result
    assert {(m.left, m.right) for m in result.matches} == {(f"A#{i}", f"B#{10 + i}") for i in range(PLANTED)}
    assert all(m.q <= 0.05 and m.mutual and m.interval[0] < m.score < m.interval[1] for m in result.matches)
    assert result.matches == tuple(sorted(result.matches, key=lambda m: -m.score))
    assert result.shown == 3
    assert len(pl.read_parquet(found.path / "tables" / "matches.parquet")) == FEATURES
    page = (found.path / "report.html").read_text()
    assert page.count('<td class="break"><code>A#') == 3


def test_every_feature_has_a_fate(found):
    table = pl.read_parquet(found.path / "tables" / "features.parquet")
    counts = dict(
        table.group_by("side", "fate")
        .len()
        .sort("side", "fate")
        .select(pl.concat_str("side", pl.lit(" "), "fate"), "len")
        .iter_rows()
    )
    assert counts == {
        "left matched": 8,
        "left left_only": 32,
        "right matched": 8,
        "right right_only": 31,
        "right few_active": 1,
    }
    assert found.result.excluded == {"few_active": (0, 1)}
    assert (found.result.left_only, found.result.right_only) == (32, 31)


def test_z_what_cannot_be_compared_is_null_and_not_a_half(found):
    first = found.result.matches[0].components
    assert set(first) == {"activation", "decoder", "logits", "text", "firing"}
    assert [first[name].value for name in ("decoder", "logits", "text")] == [None] * 3
    assert first["activation"].value == pytest.approx(found.result.matches[0].score)
    assert first["firing"].percentile > 0.95


def test_verify_recomputes_q_matches_and_counts(found, tmp_path):
    assert verify(found.path).status == "intact"
    document = json.loads((found.path / "result.json").read_text())
    assert recompute(document, found.path) == []
    forged = {
        "found": 9,
        "ambiguous": 99,
        "assigned_only": 99,
        "excluded": {"few_active": [7, 7]},
        "null": document["null"] | {"q95": 0.01},
    }
    for name, value in forged.items():
        assert any(name in text for text in recompute({**document, name: value}, found.path)), name
    fewer = {**document, "matches": document["matches"][:1]}
    assert recompute(fewer, found.path) == ["the matches listed are not those of tables/matches.parquet"]
    folder = shutil.copytree(found.path, tmp_path / "copy")
    table = pl.read_parquet(folder / "tables" / "matches.parquet")
    table.with_columns(p=pl.col("p") * 0.5).write_parquet(folder / "tables" / "matches.parquet")
    assert "q does not follow from p" in recompute(document, folder)[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "transfers"),
        ({"shuffled": 0.35}, "fails"),
        ({"acceptable": False}, "not_measured"),
        ({"controls": 18}, "not_measured"),
        ({"own_interval": (-0.1, 0.9)}, "not_measured"),
        ({"kind": "readout", "own_interval": (-0.4, -0.2), "own": -0.3}, "not_measured"),
    ],
)
def test_words_of_transfers_follow_from_their_numbers(changed, said):
    numbers = {"effect": 0.4, "interval": (0.3, 0.5), "own": 0.5, "own_interval": (0.4, 0.6), "p": 0.01, "controls": 20}
    more = {"kind": "steering", "shuffled": 0.1, "acceptable": True, "verdict": "transfers"}
    (made,) = judged([TransferRecord.model_validate(numbers | more | changed)])
    assert made.verdict == said and (made.reason is None) == (said != "not_measured")


def test_one_readout_of_many_by_luck_is_none():
    each = {"kind": "readout", "verdict": "fails", "effect": 0.4, "interval": (0.3, 0.5), "own": 0.4, "controls": 200}
    lucky = [TransferRecord.model_validate(each | {"own_interval": (0.3, 0.5), "p": p}) for p in (0.04, *[0.6] * 9)]
    assert {one.verdict for one in judged(lucky) if one is not None} == {"fails"}


@pytest.mark.slow
def test_y3_12_the_order_of_a_file_changes_nothing(sides, tables, workspace):
    rng = np.random.default_rng(1)
    before = go("match", out="one", left=sides[0], right=sides[1])
    for name, table in zip("AB", tables, strict=True):
        write(workspace / f"{name}.jsonl", lines(name, table, rng.permutation(ROWS)))
    after = go("match", out="two", left=sides[0], right=sides[1])
    same = ("tables/matches.parquet", "tables/features.parquet")
    assert [contents(before.path)[name] for name in same] == [contents(after.path)[name] for name in same]
    assert before.result.matches == after.result.matches


def test_one_side_without_ids_of_the_other_says_so(sides, tables, workspace):
    write(workspace / "B.jsonl", lines("B", tables[1], prompt_id=lambda r: f"other{r}"))
    outcome = go("match", left=sides[0], right=sides[1])
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    assert outcome.result.code == "no_shared_units"
    assert f"{ROWS} texts of them equal under other ids" in outcome.result.text


def test_x9_two_texts_under_one_prompt_id_are_an_error(sides, tables, workspace):
    write(workspace / "B.jsonl", lines("B", tables[1], text=lambda r: f"text {r if r else 'else'}"))
    with pytest.raises(UserError, match="different texts under one prompt id") as error:
        go("match", left=sides[0], right=sides[1])
    assert error.value.got == "p0"
    assert not (workspace / "runs").exists()


def test_x9_a_model_that_no_row_names_is_an_error_with_those_there_are(sides):
    with pytest.raises(UserError, match="holds no records of 'C'") as error:
        go("match", left=sides[0], right=sides[1], right_model="C")
    assert error.value.expected == "one of B"


def test_x9_bad_lines_are_named(sides, workspace):
    (workspace / "B.jsonl").write_text('{"model": "B", "prompt_id": "p", "features": {"a": NaN}}\n')
    with pytest.raises(FormatError, match=r"B\.jsonl:1"):
        go("match", left=sides[0], right=sides[1])


def test_a_few_rows_cannot_match_and_say_so(sides, tables, workspace):
    for name, table in zip("AB", tables, strict=True):
        write(workspace / f"{name}.jsonl", lines(name, table, range(12)))
    outcome = go("match", left=sides[0], right=sides[1])
    assert (outcome.exit_code, outcome.result.code) == (ExitCode.NOT_MEASURED, "few_active")


def test_nothing_found_where_chance_reaches_everything_is_not_measured():
    side = {"ref": "a", "model": "a", "sha256": "0", "features": 5, "compared": 5}
    fields = {
        "kind": "correlational",
        "left": side,
        "right": side,
        "similarity": "pearson",
        "level": 0.05,
        "found": 0,
        "matches": (),
        "left_only": 5,
        "right_only": 5,
        "shown": 20,
    }
    codes = [Matches(**fields, null={"draws": 20, "q95": q}).exit_code for q in (0.3, 0.95)]
    assert codes == [ExitCode.PASS, ExitCode.NOT_MEASURED]


def dump(model, table, **more):
    for f in range(table.shape[1]):
        own = {key: make(f) for key, make in more.items()}
        yield {"feature_id": f"{model}#{f}", "model": model, "activation_signature": table[:, f].tolist()} | {
            "prompt_ids": [f"p{r}" for r in range(len(table))],
            **own,
        }


def test_z_dumps_are_compared_by_their_signatures(workspace, tables):
    names = [
        write(workspace / f"{n}.jsonl", dump(n, t, label=lambda f: f"about thing {f}"))
        for n, t in zip("AB", (tables[0], np.roll(tables[1], -10, axis=1)), strict=True)
    ]
    result = go("match", left=names[0], right=names[1]).result
    assert {(m.left, m.right) for m in result.matches} == {(f"A#{i}", f"B#{i}") for i in range(PLANTED)}
    assert result.matches[0].left_label.startswith("about thing")
    assert result.matches[0].components["text"].value == pytest.approx(1)


def test_x9_signatures_over_other_prompts_are_left_out_not_cut(workspace, tables):
    rows = list(dump("A", tables[0]))
    rows[0] |= {"activation_signature": [1.0], "prompt_ids": ["p0"]}
    rows[1] |= {"prompt_ids": None}
    names = [write(workspace / "A.jsonl", rows), write(workspace / "B.jsonl", dump("B", tables[1]))]
    result = go("match", left=names[0], right=names[1]).result
    assert result.excluded["other_prompts"] == (2, 0)
    assert len(result.matches) == PLANTED - 2


def test_without_shared_prompts_directions_of_one_space_pair_features(workspace):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(12, 6))

    def made(model, table, basis):
        return [
            {"feature_id": f"{model}{i}", "model": model, "decoder_signature": row, "basis": basis}
            for i, row in enumerate(table.tolist())
        ]

    left = write(workspace / "a.jsonl", made("a", rows, "f" * 64))
    right = write(workspace / "b.jsonl", made("b", rows[::-1] * 2 + 0.01, "f" * 64))
    outcome = go("match", left=left, right=right)
    result = outcome.result
    assert (result.kind, result.found, outcome.exit_code) == ("structural", 12, ExitCode.PASS)
    assert {(m.left, m.right) for m in result.matches} == {(f"a{i}", f"b{11 - i}") for i in range(12)}
    assert all(m.p is None and m.q is None and m.interval is None for m in result.matches)
    assert [gap.code for gap in result.not_measured] == ["no_activations"]
    assert verify(outcome.path).status == "intact"
    other = write(workspace / "c.jsonl", made("c", rows, "e" * 64))
    refused = go("match", left=left, right=other)
    assert (refused.exit_code, refused.result.code) == (ExitCode.NOT_MEASURED, "no_activations")


def effects(feature, slope, rng, model):
    for p in range(30):
        for dose in (-2.0, -1.0, 1.0, 2.0):
            change = slope * dose + rng.normal(0, 0.02)
            yield {
                "schema": "radiograph.intervention/1",
                "model": model,
                "feature_id": feature,
                "verb": "steer",
                "dose": {"value": dose, "unit": "sd"},
                "push": 1 if dose > 0 else -1,
                "prompt_id": f"p{p}",
                "outcome": {"name": "logprob", "unit": "nat"},
                "baseline": 0.5,
                "intervened": 0.5 + change,
            }


def test_z_causal_agreement_is_read_from_intervention_rows(sides, workspace):
    rng = np.random.default_rng(0)
    slopes = [(0.3, 0.35), (0.3, 1.2), (0.3, -0.3), (0.3, 0.0), (0.0, 0.0)]
    for name, side in (("A", 0), ("B", 1)):
        rows = [
            row for i, pair in enumerate(slopes) for row in effects(f"{name}#{i + 10 * side}", pair[side], rng, name)
        ]
        write(workspace / f"{name}-effects.jsonl", rows)
    result = go(
        "match",
        left=sides[0],
        right=sides[1],
        left_interventions="A-effects.jsonl",
        right_interventions="B-effects.jsonl",
    ).result
    words = {m.left: m.causal for m in result.matches}
    assert [words[f"A#{i}"] for i in range(6)] == [
        "agrees",
        "same_sign",
        "disagrees",
        "disagrees",
        "untested",
        "untested",
    ]


def test_too_few_groups_say_nothing_of_agreement(workspace):
    few = [f"p{n}" for n in range(5)]
    sides = []
    for name in "AB":
        rows = [row for row in effects(name, 0.3, np.random.default_rng(0), name) if row["prompt_id"] in few]
        sides.append(read_interventions(workspace / write(workspace / f"{name}.jsonl", rows)).table)
    assert agreements(sides[0], sides[1], [("A", "B")], 0) == ["untested"]


def test_y3_5_copies_of_a_text_under_other_ids_are_of_one_group(workspace):
    rng = np.random.default_rng(0)
    for name in "AB":
        few = np.where(rng.random((20, 30)) < 0.4, rng.exponential(size=(20, 30)), 0.0)
        copied = lines(name, np.repeat(few, 20, axis=0), text=lambda r: f"Text  {r // 20}", group_id=lambda r: f"g{r}")
        write(workspace / f"{name}.jsonl", copied)
    result = go("match", left="A.jsonl", right="B.jsonl").result
    assert (result.aligned.groups, result.aligned.units, result.found) == (20, 400, 0)


def test_without_texts_ids_alone_are_shared_and_the_result_says_so(workspace, tables):
    for name, table in zip("AB", tables, strict=True):
        write(workspace / f"{name}.jsonl", lines(name, table, text=lambda _: None))
    notes = go("match", left="A.jsonl", right="B.jsonl").result.notes
    assert any("neither side holds texts" in note for note in notes)


def test_z_a_readout_transfers_where_the_match_reads_the_labels(workspace, tables):
    labels = (tables[0][:, 0] > 0) ^ (np.random.default_rng(5).random(ROWS) < 0.05)
    for name, table in zip("AB", tables, strict=True):
        score = {"criterion_score": lambda r: float(labels[r])} if name == "A" else {}
        write(workspace / f"{name}.jsonl", lines(name, table, **score))
    outcome = go("match", left="A.jsonl", right="B.jsonl", transfer=["readout"])
    found = {m.left: m.transfer[0] for m in outcome.result.matches if m.transfer}
    assert len(found) == 1, "38 others tell one readout from chance"
    first = found.pop("A#0")
    assert (first.verdict, first.controls) == ("transfers", 38)
    assert 0.2 < first.interval[0] < first.effect <= first.own < 0.5 and first.p < 0.05
    assert first.own_interval[0] > 0 and first.q == first.p
    assert verify(outcome.path).status == "intact"
    document = json.loads((outcome.path / "result.json").read_text())
    record = next(pair for pair in document["matches"] if pair["transfer"])["transfer"][0]
    record["own_interval"] = [-0.1, 0.4]
    assert any("readout transfers does not follow" in said for said in recompute(document, outcome.path))


def test_a_readout_without_labels_is_not_measured_and_says_why(found):
    assert not any(m.transfer for m in found.result.matches)
    assert [(gap.code, gap.what) for gap in found.result.not_measured] == [("no_labels", "transfer of readouts")]


def test_ids_with_markup_and_escapes_are_shown_as_they_are(workspace, tables):
    ugly = [np.column_stack([t, t[:, :1]]) for t in tables]
    for name, table in zip("AB", ugly, strict=True):
        rows = [
            {**row, "features": {f"<b>{k}\x1b[31m\u202e": v for k, v in row["features"].items()}}
            for row in lines(name, table)
        ]
        write(workspace / f"{name}.jsonl", rows)
    path = go("match", left="A.jsonl", right="B.jsonl").path
    for page in ("report.html", "report.md"):
        text = (path / page).read_text()
        assert "\x1b" not in text and "\u202e" not in text
    assert "<b>A" not in (path / "report.html").read_text()


def record(folder: Path, model: str, tokens, *, tokenizer: str, offsets: bool = True) -> str:
    """Records of tokens (prompt, text, start, end, values), in order; token 0 of a prompt is BOS and not kept."""
    from radiograph.store.records import Entries, Header, RecordsModel, begin_records, finish_records, write_part

    header = Header(
        model=RecordsModel(ref=model, sha256=f"{model}-hash"),
        tokenizer_sha256=tokenizer,
        sites=("mlp_hidden.0",),
        dictionary_sha256=None,
        features=len(tokens[0][4]),
    )
    begin_records(folder, header)
    table = pl.DataFrame(
        {
            "row": pl.Series(range(len(tokens)), dtype=pl.UInt32),
            "prompt_id": [f"p{p}" for p, *_ in tokens],
            "group_id": [f"p{p}" for p, *_ in tokens],
            "text": [text for _, text, *_ in tokens],
        }
    ).with_columns((pl.int_range(pl.len()).over("prompt_id") + 1).cast(pl.Int32).alias("token"))
    if offsets:
        table = table.with_columns(pl.Series("offsets", [[start, end] for _, _, start, end, _ in tokens]))
    dense = np.array([values for *_, values in tokens])
    row, feature = np.nonzero(dense)
    counts = np.bincount(row, minlength=len(tokens))
    entries = Entries(feature, dense[row, feature], np.concatenate([[0], np.cumsum(counts)]))
    write_part(folder, 0, table, entries, "spec")
    finish_records(folder, 1, "spec")
    return folder.name


@pytest.fixture(scope="module")
def words():
    """60 prompts of 6 words, and 10 values a word."""
    rng = np.random.default_rng(3)
    texts = [" ".join("w" * int(n) for n in rng.integers(2, 7, 6)) for _ in range(60)]
    return texts, np.where(rng.random((60, 6, 10)) < 0.3, rng.exponential(size=(60, 6, 10)) + 0.1, 0)


def cut(words, pieces, scale=1.0):
    """Tokens of at most `pieces` characters; a word's value stands on its last piece, and less on those before."""
    texts, values = words
    for p, text in enumerate(texts):
        at = 0
        for word, value in zip(text.split(" "), values[p], strict=True):
            starts = range(at, at + len(word), pieces)
            for start in starts:
                end = min(start + pieces, at + len(word))
                own = value * scale * (1 if end == at + len(word) else 0.5)
                yield p, text, start, end, own
            at += len(word) + 1


def test_tokens_of_other_tokenizers_meet_in_words(workspace, words):
    left = record(workspace / "a", "a", list(cut(words, 100)), tokenizer="1")
    right = record(workspace / "b", "b", list(cut(words, 2, 3.0)), tokenizer="2")
    result = go("match", left=left, right=right).result
    assert (result.aligned.by, result.aligned.units, result.aligned.prompts) == ("words", 360, 60)
    assert {(m.left, m.right) for m in result.matches} == {(f"mlp_hidden.0[{i}]",) * 2 for i in range(10)}
    assert all(m.score == pytest.approx(1, abs=1e-6) for m in result.matches)
    prompts = go("match", left=left, right=right, align="prompts").result
    assert (prompts.aligned.by, prompts.aligned.units) == ("prompts", 60)
    with pytest.raises(UserError, match="tokenizers differ"):
        go("match", left=left, right=right, align="tokens")


@pytest.mark.slow
def test_tokens_of_one_tokenizer_meet_by_their_place(workspace, words):
    left = record(workspace / "a", "a", list(cut(words, 2)), tokenizer="1", offsets=False)
    fewer = [token for n, token in enumerate(cut(words, 2)) if n % 50]
    right = record(workspace / "b", "b", list(cut(words, 2))[: len(fewer)], tokenizer="1", offsets=False)
    result = go("match", left=left, right=right).result
    assert (result.aligned.by, result.aligned.units) == ("tokens", len(fewer))
    assert result.found == 10


def test_words_without_offsets_are_not_measured(workspace, words):
    left = record(workspace / "a", "a", list(cut(words, 2)), tokenizer="1", offsets=False)
    right = record(workspace / "b", "b", list(cut(words, 3)), tokenizer="2")
    refused = go("match", left=left, right=right)
    assert (refused.exit_code, refused.result.code) == (ExitCode.NOT_MEASURED, "no_offsets")


@pytest.mark.slow
def test_z_a_push_is_mapped_to_the_other_model_and_judged_there(workspace):
    for name in ("left", "right"):
        go(
            "records.export",
            out=name,
            model="bundled:base",
            features=["units:resid_post.2"],
            text=["world:mixture#120"],
        )
    outcome = go(
        "match", left="left", right="right", transfer=["steering"], criterion="world:next_unit", dose="-0.2,0.2"
    )
    first, *rest = outcome.result.matches
    assert first.left == first.right and not any(pair.transfer for pair in rest)
    (record,) = first.transfer
    # On so few prompts the right feature's own push moves nothing for sure, and nothing is said of the mapped one.
    assert (record.kind, record.verdict) == ("steering", "not_measured") and "own push" in record.reason
    assert record.controls == 20 and record.p >= 1 / 21
    assert record.explained > 0.5, "the map of a model onto itself"
    assert record.effect == pytest.approx(record.own, rel=0.5, abs=0.05)
    assert verify(outcome.path).status == "intact"
    with pytest.raises(UserError, match="has no match"):
        go("match", left="left", right="right", transfer=["steering"], steer=["resid_post.2[999]"])
