"""The grids that come with the package: full, even in length, and fit to compare with; one is bad on purpose."""

from __future__ import annotations

from collections import defaultdict

import pytest

from radiograph.numerics.design import words
from radiograph.organisms import bundled_path
from radiograph.store.grids import csv_of, read_grid, shipped_grids, shipped_path
from running import go

SIZES = {
    "certainty": (8, {"type": 4, "level": 5}, 2),
    "thesis": (1, {"type": 4, "level": 5}, 1),
    "antithesis": (1, {"type": 4, "level": 5}, 1),
    "drift": (1, {"type": 4, "level": 5}, 1),
    "process": (1, {"type": 4, "level": 5}, 1),
    "register": (8, {"register": 2, "strength": 3}, 2),
    "lens": (8, {"lens": 3, "strength": 3}, 2),
    "courtesy": (8, {"courtesy": 2, "strength": 3}, 2),
    "valence": (8, {"valence": 2, "strength": 3}, 2),
    "stories": (8, {"type": 3, "level": 3}, 2),
    "shuffled": (8, {"type": 4, "level": 5}, 2),
    "confounded": (8, {"type": 2, "level": 3}, 2),
}


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(bundled_path("base"), local_files_only=True)


def test_every_grid_is_known():
    assert set(shipped_grids()) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_cells_are_full_and_even_in_length(name, tokenizer):
    grid = read_grid(shipped_path(name))
    cores, levels, variants = SIZES[name]
    cells: dict = defaultdict(int)
    lengths: dict = defaultdict(set)
    for record in grid.records:
        cells[record.cell] += 1
        own = (record.core, next(iter(record.factors.values())))
        lengths["words", *own].add(len(words(record.text)))
        lengths["tokens", *own].add(len(tokenizer.tokenize(record.text)))
    expected = cores
    for count in levels.values():
        expected *= count
    assert len(cells) == expected and set(cells.values()) == {variants}
    assert {name: len({r.factors[name] for r in grid.records}) for name in grid.factors} == levels
    assert max(max(found) - min(found) for found in lengths.values()) <= 2


def test_stories_are_told_in_words_that_the_bundled_model_knows(tokenizer):
    grid = read_grid(shipped_path("stories"))
    assert not [r.id for r in grid.records if tokenizer.unk_token in tokenizer.tokenize(r.text)]


def test_shuffled_holds_the_words_of_certainty_in_another_order():
    ordered, shuffled = (read_grid(shipped_path(name)) for name in ("certainty", "shuffled"))
    for one, other in zip(ordered.records, shuffled.records, strict=True):
        assert (one.core, one.factors, one.variant) == (other.core, other.factors, other.variant)
        assert one.text != other.text and sorted(one.text.split()) == sorted(other.text.split())


@pytest.mark.parametrize("name", sorted(set(SIZES) - {"confounded"}))
def test_r2_shipped_grids_pass(name, workspace):
    done = go("suite check", suite=name, model="bundled:base", out="out")
    assert done.exit_code == 0, done.result.headline


def test_r2_the_planted_covariate_is_named_on_its_factor_alone(workspace):
    done = go("suite check", suite="confounded", model="bundled:base", out="out")
    assert done.exit_code == 2
    named = {issue.what for issue in done.result.problems}
    assert {"type~tokens", "type~words", "type~characters"} == named
    warned = {issue.what for issue in done.result.warnings if issue.code == "covariate"}
    assert not any(name.startswith("level") for name in named | warned)


def test_r2_words_in_another_order_leak_as_much_and_no_cell_repeats_another(workspace):
    """The leak counts words, so that `shuffled` cannot differ from `certainty`; near duplicates go by characters."""
    found = {name: go("suite check", suite=name).result for name in ("certainty", "shuffled", "confounded")}
    leaks = {name: {w.factor: w.balanced_accuracy for w in one.wording} for name, one in found.items()}
    assert leaks["certainty"] == leaks["shuffled"] and set(leaks["confounded"]) == {"type", "level"}
    assert all(w.leaks and w.balanced_accuracy > w.chance + 0.15 for one in found.values() for w in one.wording)
    assert {name: one.near_duplicates.pairs for name, one in found.items()} == dict.fromkeys(found, 0)


def test_r2_a_sentence_that_was_hardly_changed_is_found(workspace):
    grid = read_grid(shipped_path("confounded"))
    first, *others = grid.records
    texts = {other.id: other.text for other in others if other.cell != first.cell and other.core == first.core}
    copied = next(iter(texts))
    rows = [r if r.id != copied else r.model_copy(update={"text": first.text + "!"}) for r in grid.records]
    (workspace / "g.csv").write_text(csv_of(grid.model_copy(update={"records": tuple(rows)})))
    (pair,) = go("suite check", suite="g.csv").result.near_duplicates.shown
    assert {pair.first, pair.second} == {first.id, copied}
