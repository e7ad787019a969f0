"""Rows for criteria: half positive, near misses alike in surface, and exact probabilities for what comes next."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.organisms.world import ATTRIBUTES, World, rows

world = World()


@pytest.mark.parametrize(
    "attribute", ["unit", "quantity", "restricted", "carry", "question", "next_unit", "next_colour"]
)
def test_rows_are_balanced_labelled_and_independent(attribute):
    found = rows(attribute, 40, seed=1)
    name, ahead = attribute.removeprefix("next_"), attribute.startswith("next_")
    assert [row.label for row in found].count(True) == 20 and len(found) == 40
    assert len({row.document.id for row in found}) == 40
    for row in found:
        assert (name in row.document.labels[row.position + ahead]) == row.label
        assert (row.probability is None) != ahead
    assert found == rows(attribute, 40, seed=1)


def test_near_misses_share_their_surface_with_positives():
    found = rows("next_unit", 60)
    keys = {row.document.ids[row.position] for row in found if row.label}
    near = [row for row in found if row.kind == "near_miss"]
    assert len(near) >= 10
    assert all(row.document.ids[row.position] in keys for row in near)


def test_probabilities_rank_the_rows_and_are_calibrated():
    found = rows("next_unit", 200)
    p, label = np.array([row.probability for row in found]), np.array([row.label for row in found])
    assert p[label].min() > 0 and p[~label].max() < 1
    assert p[label].mean() > p[~label].mean() + 0.4


def test_every_attribute_has_rows():
    assert len(ATTRIBUTES) == 25
    for attribute in ATTRIBUTES:
        assert len(rows(attribute, 6)) == 6


def test_unknown_and_rare_attributes_are_refused():
    with pytest.raises(UserError, match="unknown attribute"):
        rows("colours", 10)
