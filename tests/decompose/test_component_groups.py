"""Groups of components of a real harvest: every number with its chance level, and the same bytes again."""

import numpy as np
import pytest

from decompose.planted import write_planted
from radiograph.core import UserError
from radiograph.methods.decompose.cluster import _stability
from radiograph.runtime import verify
from running import go


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("grouped")
    write_planted(home / "planted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        given = {"decomposition": "planted", "model": "bundled:base", "data": ["world:story#60"]}
        assert go("decompose.harvest", out="harvest", **given).exit_code == 0
    return home


def test_every_number_of_a_group_stands_beside_its_chance(home, monkeypatch):
    monkeypatch.chdir(home)
    outcome = go("decompose.cluster", harvest="harvest", seeds=3, out="groups")
    result = outcome.result
    assert outcome.exit_code == 0 and verify(outcome.path).status == "intact"
    assert len(result.null_merges) == len(result.null_merges_published) == 3 and sum(result.null_merges) == 0
    assert result.distance is not None and result.distance.n == 3 and result.distance_chance.n == 60
    assert all(group.stability is not None and group.stability_chance is not None for group in result.groups)
    alone = go("decompose.cluster", harvest="harvest", seeds=1, out="alone").result
    assert alone.distance is None and all(group.stability is None for group in alone.groups)
    assert [group.members for group in alone.groups] == [group.members for group in result.groups]


def test_stability_is_one_for_the_same_group_and_low_where_members_are_permuted():
    members = np.repeat(np.arange(30), 4)
    luck = np.random.default_rng(0)
    assert _stability(members == 3, np.stack([members + 7, members])) == 1
    permuted = np.stack([luck.permutation(members) for _ in range(20)])
    assert 0.1 < _stability(members == 3, permuted) < 0.3


@pytest.mark.parametrize("until", ["0", "some", "-3"])
def test_bad_input_of_groups_names_what_is_meant(home, monkeypatch, until):
    monkeypatch.chdir(home)
    with pytest.raises(UserError, match="number of groups"):
        go("decompose.cluster", harvest="harvest", until=until)
    with pytest.raises(UserError):
        go("decompose.cluster", harvest="planted")
