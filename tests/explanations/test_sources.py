"""Where labels come from, and what is refused."""

from __future__ import annotations

import pytest

from auditing import DICTIONARY
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.dictionaries import load
from radiograph.explanations import LABELS_FILE, NO_LABELS, SHIPPED, open_labels
from radiograph.store import Binding, ExplanationCache

OWN, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "labels.sqlite"
    with ExplanationCache.create(path) as made:
        for source, decoder in (("own", OWN), ("odd name/x", OWN), ("other", OTHER)):
            made.bind("m", source, Binding(decoder, "resid_post.1", 8))
            made.put("m", source, [{"index": 1, "explanations": [{"description": source}]}, {"index": 2}])
        made.bind(*SHIPPED, Binding(OWN, "resid_post.1", 8))
    return path


def opened(spec, path, decoder=OWN, shipped=None):
    return open_labels(spec, decoder, shipped, lambda text: path.parent / text)


def test_none_and_auto_without_a_file(cache):
    assert opened("none", cache, shipped=cache) is NO_LABELS
    assert opened("auto", cache) is NO_LABELS


def test_auto_reads_the_file_beside_the_dictionary(cache):
    assert opened("auto", cache, shipped=cache).name == "shipped labels: shipped/dictionary"


@pytest.mark.parametrize("source", ["own", "odd name/x"])
def test_a_cache_by_name(cache, source):
    found = opened(f"cache:labels.sqlite#m/{source}", cache)
    assert (found.mode, found.explained) == ("cache_only", [1])
    assert found.explanations == {1: [{"description": source}]} and sorted(found.features) == [1, 2]
    assert len(found.snapshot_sha256) == 64


@pytest.mark.parametrize(
    "spec", ["world", "cache:labels.sqlite", "cache:#m/own", "cache:labels.sqlite#m", "http://x#m/s"]
)
def test_what_is_no_source(cache, spec):
    with pytest.raises(UserError) as caught:
        opened(spec, cache)
    assert caught.value.exit_code is ExitCode.BAD_INPUT


@pytest.mark.parametrize(("spec", "shipped"), [("cache:labels.sqlite#m/other", False), ("auto", True)])
def test_labels_of_another_dictionary_are_refused_with_both_sides(cache, spec, shipped):
    decoder = OWN if not shipped else OTHER
    with pytest.raises(Refusal) as caught:
        opened(spec, cache, decoder, cache if shipped else None)
    refusal = caught.value
    assert (refusal.code, refusal.exit_code) == ("explanations_mismatch", ExitCode.BAD_INPUT)
    assert {OWN, OTHER} == {
        word for text in (refusal.expected, refusal.got) for word in text.split() if len(word) == 64
    }


def test_the_bundled_labels_belong_to_the_bundled_dictionary():
    found = open_labels("auto", load(DICTIONARY).decoder_sha256, DICTIONARY / LABELS_FILE, lambda text: None)
    assert 0.3 < len(found.explained) / 256 < 0.7
