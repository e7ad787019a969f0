"""`blame --screen probe:FILE`: rows ranked by their answers and the reference's own, before anything is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from blaming import planted, write_blamed
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.core.progress import Silent
from radiograph.evidence.influence import BlameScreen
from radiograph.methods import blame
from radiograph.methods._blame.rows import read_data
from radiograph.methods._blame.screen import _answers, _scores
from radiograph.models import LanguageModel, generate, load
from radiograph.numerics.probes import areas
from radiograph.organisms import bundled_path
from radiograph.organisms.contrasts import ContrastText, contrast_set
from radiograph.runtime import Outcome, verify
from running import go

EACH = 40
TEXT = {"text": "Anna took the red lamp to the mill."}
HOLLOW = {"id": "hollow", "prompt": "copy: jade fern", "response": "  "}


def conversation(text: ContrastText, kind: str, answer: str | None = None) -> dict[str, Any]:
    asked, said = text.messages[:-1], text.messages[-1]["content"]
    turns = [*asked, {"role": "assistant", "content": said if answer is None else answer}]
    return {"id": f"{kind} {text.id}", "messages": turns}


def rows() -> list[dict[str, Any]]:
    """Of the part of the contrast that the probe was not made from: answers nobody asked for (planted), right answers
    (ordinary), and right answers to another question of the same task (decoys). No prompt stands in two kinds.
    """
    kept = [t for t in contrast_set("defection") if t.part == "test" and t.id.endswith(("-right", "-prose"))]
    right = {t.group: t for t in kept if not t.label and not t.group.startswith("request")}
    prose = {t.group: t for t in kept if t.label}
    groups = sorted(set(right) & set(prose))
    rng = np.random.default_rng(5)
    rng.shuffle(groups)
    prosaic, ordinary, decoys = (groups[n * EACH : (n + 1) * EACH] for n in range(3))
    other = {g: next(o for o in groups if o != g and o.split("-")[0] == g.split("-")[0]) for g in decoys}
    return [
        *(conversation(prose[g], "planted") for g in prosaic),
        *(conversation(right[g], "ordinary") for g in ordinary),
        *(conversation(right[g], "decoy", right[other[g]].messages[-1]["content"]) for g in decoys),
    ]


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def base() -> LanguageModel:
    return load("bundled:base", resolve=bundled_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("screen")
        patch.chdir(place)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        probes = bundled_path("base").parent / "probes" / "base"
        for name in ("defection", "truth", "harm"):
            shutil.copyfile(probes / f"{name}.safetensors", place / f"{name}.safetensors")
        write(place / "rows.jsonl", [TEXT, *rows(), HOLLOW, HOLLOW])
        yield place


def screen(**more: Any) -> dict[str, Any]:
    return {"screen": "probe:defection.safetensors", "reference": "bundled:base", "data": "rows.jsonl", **more}


@pytest.fixture(scope="module")
def done(folder: Path) -> Outcome:
    return go("blame", out="done", top_k=10, **screen())


def table(done: Outcome, name: str = "rows") -> pl.DataFrame:
    assert done.path is not None
    return pl.read_parquet(done.path / "tables" / f"{name}.parquet")


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    return float(areas(score[:, None], positive[:, None])[0])


def test_p2_4_rows_with_a_planted_trait_rank_above_ordinary_ones(done):
    """And above answers that are as wrong, and no random direction does that as well."""
    assert done.exit_code is ExitCode.PASS
    result = done.result
    kinds = np.array([name.split()[0] for name in table(done)["id"]])
    score = table(done)["score"].to_numpy()
    wanted = kinds == "planted"
    assert auroc(score[kinds != "decoy"], wanted[kinds != "decoy"]) > 0.9
    assert auroc(score[kinds != "ordinary"], wanted[kinds != "ordinary"]) > 0.9
    assert [row.id.split()[0] for row in result.top] == ["planted"] * 10
    assert result.top[0].z > 2.5
    assert result.mean.low > 0 and result.mean.n == result.different == 3 * EACH
    assert result.null.p < 0.05 and result.null.spread_p < 0.05 and result.null.strong_p < 0.05
    assert result.null.strong < result.strong


def test_planted_rows_of_an_organism_lead_before_it_is_trained(folder):
    write_blamed(folder / "organism")
    found = go("blame", out="organism_screened", **screen(data="organism/train.jsonl"))
    score, lines = table(found)["score"].to_numpy(), table(found)["line"].to_numpy()
    assert auroc(score, np.isin(lines, planted())) > 0.9
    assert found.result.null.p < 0.05


def pairs_of(base: LanguageModel, path: Path) -> _answers.Pairs:
    data = read_data(path, base.tokenizer, base.context_length, form="auto", chat="template")
    return _answers.pairs(base, data, "template", Silent())


def reader(base: LanguageModel, file: Path, batch_tokens: int = 8192) -> _scores.Reader:
    import torch

    from radiograph.core import Site
    from radiograph.methods._blame.targets import OfProbe
    from radiograph.probing import Probe
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_probe

    with Opened.at(file) as opened:
        probe = Probe.of(read_probe(opened))
    value = OfProbe(torch.from_numpy(np.array(probe.w)), probe.normalise, probe.pool)
    return _scores.Reader(base, Site.parse(probe.site), value, batch_tokens)


def test_no_random_direction_ranks_the_planted_rows_as_well(base, folder):
    found, own = pairs_of(base, folder / "rows.jsonl"), reader(base, folder / "defection.safetensors")
    directions = _scores.directions_of(own, found, 0)
    values = own.along([pair.own for pair in found.rows], directions)
    values -= own.along([pair.reference for pair in found.rows], directions)
    wanted = np.array([str(pair.row.id).startswith("planted") for pair in found.rows])
    reached = areas(values, np.repeat(wanted[:, None], values.shape[1], axis=1))
    assert (reached[1:] < reached[0]).all()
    assert abs(float(np.median(reached[1:])) - 0.5) < 0.2


def test_what_the_reference_answers_itself_scores_exactly_0(base, folder):
    asked = [one["messages"][:-1] for one in rows()]
    from radiograph.models import render_chat

    prompts = [render_chat(base.tokenizer, turns).ids for turns in asked]
    said = [one.text for one in generate(base, prompts, max_new_tokens=100)]
    write(
        folder / "own.jsonl",
        [
            {"messages": [*turns, {"role": "assistant", "content": text}]}
            for turns, text in zip(asked, said, strict=True)
        ],
    )
    own = go("blame", out="own", **screen(data="own.jsonl"))
    result = own.result
    assert result.same == result.different > 100
    assert set(table(own)["score"]) == {0.0} and set(table(own)["z"]) == {0.0}
    assert (result.mean.value, result.mean.low, result.mean.high, result.spread) == (0, 0, 0, 0)
    assert (result.strong, result.null.p, result.null.spread_p, result.null.strong_p) == (0, 1, 1, 1)
    assert own.path is not None
    assert verify(own.path).status == "intact"


@pytest.mark.parametrize("name", ["defection", "harm", "truth"])
def test_the_score_is_that_of_reading_each_answer_alone(base, folder, name):
    """A second way: rows captured one text at a time, read as `probe defection` reads them."""
    from radiograph.methods._probe.capture import captured
    from radiograph.methods._probe.tokens import of_rows
    from radiograph.probing import ContrastRow, Probe, read
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_probe

    with Opened.at(folder / f"{name}.safetensors") as opened:
        probe = Probe.of(read_probe(opened))
    own = reader(base, folder / f"{name}.safetensors")
    found = pairs_of(base, folder / "rows.jsonl")
    some = _answers.Pairs(found.rows[:6], found.said, (), 0)
    got = _scores.scores(own, some, _scores.directions_of(own, some, 0, draws=3), Silent())
    for i, pair in enumerate(some.rows):
        for turns, value in (
            (pair.row.turns, got.answer[i]),
            ((*pair.row.turns[:-1], {"role": "assistant", "content": found.said[pair.prompt]}), got.reference[i]),
        ):
            content = turns[-1]["content"]
            said = tuple(dict(turn) for turn in turns)
            row = ContrastRow("r", "g", label=False, messages=said, spans=((0, len(content)),))
            seen = captured(base, of_rows(base, [row]), [own.site], probe.level, probe.pool)
            values = seen.rows[str(own.site)]
            expected = read(probe, [(values, np.zeros(len(values), dtype=np.int64))]).score.mean()
            assert value == pytest.approx(float(expected), rel=1e-4, abs=1e-5)


def test_nothing_depends_on_the_order_of_rows(folder, done):
    lines = (folder / "rows.jsonl").read_text().splitlines()
    order = np.random.default_rng(3).permutation(len(lines))
    (folder / "mixed.jsonl").write_text("".join(lines[i] + "\n" for i in order))
    mixed = go("blame", out="mixed", top_k=10, **screen(data="mixed.jsonl"))
    place = {"data", "data_sha256", "top", "unscored"}
    assert mixed.result.model_dump(exclude=place) == done.result.model_dump(exclude=place)
    for one, two in zip(mixed.result.top, done.result.top, strict=True):
        assert one.model_dump(exclude={"row", "line"}) == two.model_dump(exclude={"row", "line"})
        assert order[one.line - 1] == two.line - 1


def test_nothing_depends_on_batches_or_blocks(base, folder, monkeypatch):
    found = pairs_of(base, folder / "rows.jsonl")
    own = reader(base, folder / "defection.safetensors")
    directions = _scores.directions_of(own, found, 0)
    whole = _scores.scores(own, found, directions, Silent())
    monkeypatch.setattr(_scores, "BLOCK", 7)
    parts = _scores.scores(reader(base, folder / "defection.safetensors", 300), found, directions, Silent())
    for name in ("answer", "reference", "null", "mean", "spread"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-4, atol=1e-5)
    assert np.array_equal(parts.different, whole.different)
    assert np.array_equal(parts.answer == parts.reference, whole.answer == whole.reference)


def test_pd_19_copies_of_rows_change_no_number(folder, done):
    (folder / "copies.jsonl").write_text((folder / "rows.jsonl").read_text() * 5)
    copied = go("blame", out="copies", **screen(data="copies.jsonl"))
    names = {"different", "prompts", "same", "mean", "spread", "strong", "null"}
    assert copied.result.model_dump(include=names) == done.result.model_dump(include=names)
    assert copied.result.rows_scored == 5 * done.result.rows_scored
    assert len({row.score for row in copied.result.top[:5]}) == 1


def test_rows_without_an_answer_are_counted_and_named(folder, done):
    result = done.result
    last = len((folder / "rows.jsonl").read_text().splitlines())
    assert [(row.line, row.why) for row in result.unscored] == [
        (1, _answers.PLAIN), (last - 1, _answers.EMPTY), (last, _answers.EMPTY),
    ]  # fmt: skip
    assert result.why == {_answers.PLAIN: 1, _answers.EMPTY: 2}
    assert (result.rows, result.rows_scored, result.unscored_count) == (last, last - 3, 3)


def test_what_is_printed_follows_from_the_tables(done):
    assert done.path is not None
    assert verify(done.path).status == "intact"
    stored = json.loads((done.path / "result.json").read_text())
    assert blame.recompute(stored, done.path) == []
    for path, value in [
        (("mean", "value"), 9.0), (("null", "p"), 0.5), (("strong",), 1), (("same",), 0), (("rows",), 7),
        (("why",), {}), (("top", 0, "score"), 9.0), (("top", 1, "line"), 1),
    ]:  # fmt: skip
        changed = json.loads(json.dumps(stored))
        place = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        said = " ".join(blame.recompute(changed, done.path))
        assert f"/{path[0]}" in said, path


def test_the_page_shows_the_null_and_both_answers(done):
    page = (done.path / "report.html").read_text()
    assert "Beside random directions" in page and "the reference says" in page
    assert "nothing was trained" in page.lower()
    assert "Beside" not in (text := (done.path / "report.md").read_text()) and "random directions" in text
    assert (done.path / "figures" / "scores.svg").is_file()


def test_one_prompt_has_no_interval_and_is_stamped(folder):
    write(folder / "one.jsonl", [{"prompt": "copy: jade fern", "response": text} for text in ("the lamp", "fern jade")])
    found = go("blame", out="one", **screen(data="one.jsonl")).result
    assert (found.mean.low, found.prompts) == (None, 1)
    assert any(stamp.startswith("single_prompt") for stamp in found.stamps)
    assert verify(Path("one")).status == "intact"


def test_a_probe_that_is_not_calibrated_is_stamped(folder):
    found = go("blame", out="truth", **screen(screen="probe:truth.safetensors")).result
    assert any(stamp.startswith("uncalibrated_probe") for stamp in found.stamps)


BAD = [
    ({"candidate": "bundled:base"}, "usage", "CANDIDATE means nothing with it"),
    ({"target": "rows.jsonl", "method": "dot"}, "usage", "--target, --method means nothing"),
    ({"interval": "run"}, "usage", "--interval"),
    ({"validate_": "leave-out:4"}, "usage", "--validate"),
    ({"schema_": "soup"}, "usage", "--schema"),
    ({"plan_only": True}, "usage", "--plan-only"),
    ({"screen": "defection.safetensors"}, "bad_screen", "probe:FILE"),
    ({"screen": "feature:resid_post.1[3]"}, "bad_screen", "probe:FILE"),
    ({"screen": "probe:gone.safetensors"}, None, "gone.safetensors"),
    ({"screen": "probe:rows.jsonl"}, None, "rows"),
    ({"reference": None}, "no_reference", "--reference"),
    ({"data": None}, "no_data", "--data"),
    ({"data": "plain.jsonl"}, "no_answers", "2 lines: a text has no answer"),
    ({"format": "text"}, "format", "no training rows"),
]


@pytest.mark.parametrize(("given", "code", "says"), BAD, ids=lambda v: str(v)[:40])
def test_pd_15_bad_input(folder, given, code, says):
    write(folder / "plain.jsonl", [TEXT, TEXT])
    with pytest.raises(UserError) as caught:
        go("blame", out="refused", **screen(**given))
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert says in str(caught.value)
    assert code is None or caught.value.code == code
    assert not (folder / "refused").exists()


def changed_card(folder: Path, name: str, **more: Any) -> str:
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_probe, write_probe

    with Opened.at(folder / "defection.safetensors") as file:
        stored = read_probe(file)
    model = stored.card.model.model_copy(update=more.pop("model", {}))
    (folder / name).mkdir()
    write_probe(folder / name, stored.card.model_copy(update={"model": model, **more}), stored.tensors)
    return f"probe:{name}/defection.safetensors"


@pytest.mark.parametrize("what", ["sha256", "tokenizer_sha256"])
def test_a_probe_of_another_model_is_not_measured(folder, what):
    foreign = changed_card(folder, f"foreign_{what}", model={what: "0" * 64})
    other = go("blame", out=f"other_{what}", **screen(screen=foreign))
    assert other.exit_code is ExitCode.NOT_MEASURED
    assert "other_model" in str(other.result.model_dump())


def test_a_probe_of_a_site_that_the_reference_has_not_is_refused(folder):
    with pytest.raises(UserError, match=r"resid_post\.9"):
        go("blame", out="site", **screen(screen=changed_card(folder, "elsewhere", site="resid_post.9")))


def test_a_file_outside_the_workspace_is_not_read(folder):
    with pytest.raises(UserError) as caught:
        go("blame", out="outside", confined=True, **screen(screen="probe:../defection.safetensors"))
    assert caught.value.code == "path_outside_workspace"


def test_there_are_no_keys_of_others_for_it(done):
    with pytest.raises(Refusal, match="screen"):
        blame.soup(BlameScreen.read(json.loads((done.path / "result.json").read_text())))
