"""Organisms with one edited unit: the planted truth shows where the spec says it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from radiograph.core import Site
from radiograph.evidence import Condition, Decoding
from radiograph.harvest.statistics import site_statistics
from radiograph.interventions import Sweep, attribute, bind, parse_write, sweep_rows, unit_controls
from radiograph.models import LanguageModel, load, prompt_ids
from radiograph.models.tail import write_vectors
from radiograph.numerics.units import SiteStatistics, control_test
from radiograph.organisms import Jammed, bundled_path, jammed, loud
from radiograph.organisms.world import World

SITE = Site("mlp_hidden", 2)


def stuck(ids: Sequence[int]) -> bool:
    """One token is most of the text."""
    return bool(ids) and Counter(ids).most_common(1)[0][1] >= 0.75 * len(ids)


@pytest.fixture(scope="module")
def base() -> LanguageModel:
    return load("bundled:base", resolve=bundled_path)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [document.text for document in World().documents("mixture", "test", seed=3, count=40)]


@pytest.fixture(scope="module")
def natural(base: LanguageModel, texts: list[str]) -> SiteStatistics:
    return site_statistics(base, texts, [SITE])[str(SITE)]


@pytest.fixture(scope="module")
def prompts(base: LanguageModel, texts: list[str]) -> list[tuple[int, ...]]:
    return [prompt_ids(base.tokenizer, text)[:6] for text in texts[:20]]


@pytest.fixture(scope="module")
def organism(base: LanguageModel, natural: SiteStatistics, prompts: list[tuple[int, ...]]) -> Jammed:
    return jammed(base, prompts, natural, stuck, new_tokens=16)


def greedy(model: LanguageModel, prompts: list[tuple[int, ...]], *writes: str) -> dict[str, list[tuple[int, ...]]]:
    conditions = bind(model, [Condition(), *(Condition(writes=tuple(parse_write(w))) for w in writes)])
    sweep = Sweep(model, prompts, conditions, Decoding(new_tokens=16), stops=frozenset())
    out: dict[str, list[tuple[int, ...]]] = {}
    for row in sweep_rows(sweep):
        out.setdefault(conditions[row.row.condition].name, []).append(row.ids)
    return out


def test_r16_ablating_the_jammed_unit_gives_the_texts_of_base_without_it(
    base: LanguageModel, organism: Jammed, prompts: list[tuple[int, ...]]
):
    assert organism.collapsed >= 0.8
    write = f"{SITE}[{organism.unit}]:ablate"
    ours, theirs = greedy(organism.model, prompts, write), greedy(base, prompts, write)
    assert ours[f"{write}@all"] == theirs[f"{write}@all"]
    before, after = [stuck(t) for t in ours["none"]], [stuck(t) for t in ours[f"{write}@all"]]
    assert np.mean(before) >= 0.8
    assert np.mean(after) <= 0.2


def test_r16_no_matched_unit_cures_it_and_its_token_heads_the_attribution(
    organism: Jammed, prompts: list[tuple[int, ...]], texts: list[str]
):
    model = organism.model
    statistics = site_statistics(model, texts, [SITE])
    own = statistics[str(SITE)]
    write = parse_write(f"{SITE}[{organism.unit}]:ablate")[0]
    controls = unit_controls(model, write, 40, statistics=statistics, matching=own)
    found = greedy(model, prompts[:10], str(write), *(str(c.condition.writes[0]) for c in controls))
    fine = {name: float(np.mean([not stuck(t) for t in rows])) for name, rows in found.items()}
    test = control_test(fine[str(write)] - fine["none"], [fine[str(c.condition)] - fine["none"] for c in controls])
    assert (test.rank, test.controls) == (1, 40)
    assert test.p is not None
    assert test.p < 0.05
    mean = float(own.mean[organism.unit])
    why = attribute(model, prompts, SITE, organism.unit, 0.0)
    first = why.direct_raised if mean > 0 else why.direct_lowered
    assert first[0].token_id == organism.token
    assert why.lowered[0].token_id == organism.token
    contribution = own.spread * np.linalg.norm(write_vectors(model, SITE), axis=1)
    assert int((contribution > contribution[organism.unit]).sum()) < 0.01 * len(contribution)


def test_a_loud_unit_differs_in_its_column_alone(base: LanguageModel):
    made = loud(base, 2, 7)
    before, after = write_vectors(base, SITE), write_vectors(made, SITE)
    np.testing.assert_allclose(after[7], 10 * before[7], rtol=1e-5)
    np.testing.assert_array_equal(np.delete(after, 7, 0), np.delete(before, 7, 0))
    assert write_vectors(base, SITE).tobytes() == before.tobytes()
    names = [n for n, p in made.parameters().items() if (p != base.parameters()[n]).any()]
    assert names == ["model.layers.2.mlp.down_proj.weight"]
