"""The explanation cache: one hash per content, and damage is named."""

from __future__ import annotations

import json
import random
import sqlite3

import pytest

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.store import Binding, ExplanationCache

BINDING = Binding("d" * 64, "resid_post.1", 64)
PLACE = ("gpt", "1-res")


def payloads(n=12):
    return [
        {"index": str(i), "frac_nonzero": i / 100, "pos_str": ["a", "ü"], "unknown": {"kept": i}}
        | ({"explanations": [{"description": f"text {i}", "typeName": "np"}] * (i % 3)} if i % 4 else {})
        for i in range(n)
    ]


def made(path, rows=None, *, vacuum=False):
    with ExplanationCache.create(path) as cache:
        cache.bind(*PLACE, BINDING)
        cache.bind("gpt", "other", BINDING)
        cache.put(*PLACE, payloads() if rows is None else rows)
    if vacuum:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA page_size = 16384")
            connection.execute("VACUUM")
        connection.close()
    return path


def snapshot(path, place=PLACE):
    with ExplanationCache.open(path) as cache:
        return cache.snapshot_sha256(*place)


def test_what_was_put_is_there(tmp_path):
    with ExplanationCache.open(made(tmp_path / "c.sqlite")) as cache:
        assert cache.binding(*PLACE) == BINDING
        assert cache.sources() == [PLACE, ("gpt", "other")]
        features, explanations = cache.features(*PLACE), cache.explanations(*PLACE)
    assert features[5] == {"index": "5", "frac_nonzero": 0.05, "pos_str": ["a", "ü"], "unknown": {"kept": 5}}
    assert sorted(features) == list(range(12))
    assert explanations[2] == [{"description": "text 2", "typeName": "np"}] * 2


def test_asked_and_none_is_not_never_asked(tmp_path):
    with ExplanationCache.open(made(tmp_path / "c.sqlite")) as cache:
        explanations = cache.explanations(*PLACE)
    assert explanations[3] == [] and 4 not in explanations


def test_layout_and_order_do_not_change_the_snapshot(tmp_path):
    rows = payloads()
    shuffled = random.Random(0).sample(rows, len(rows))
    reordered = [dict(reversed(r.items())) for r in shuffled]
    paths = [
        made(tmp_path / "a"),
        made(tmp_path / "b", vacuum=True),
        made(tmp_path / "c", shuffled),
        made(tmp_path / "d", reordered, vacuum=True),
        made(tmp_path / "e", [*rows, *rows[:4]]),
    ]
    with sqlite3.connect(paths[4]) as connection:
        connection.execute("UPDATE feature_cache SET fetched_at = '2024-01-01T00:00:00Z'")
    connection.close()
    assert len({p.read_bytes() for p in paths}) == 4  # vacuum undoes the order of insertion
    assert len({snapshot(p) for p in paths}) == 1


def test_any_word_changes_the_snapshot(tmp_path):
    rows = payloads()
    usual = snapshot(made(tmp_path / "a"))
    assert snapshot(made(tmp_path / "b", rows[:-1])) != usual
    assert snapshot(made(tmp_path / "c", [{**rows[0], "frac_nonzero": 1e-9}, *rows[1:]])) != usual
    assert snapshot(made(tmp_path / "d", [{**rows[0], "explanations": []}, *rows[1:]])) != usual
    assert snapshot(tmp_path / "a", ("gpt", "other")) != usual


def changed(path, statement):
    connection = sqlite3.connect(path)
    connection.executescript(statement)
    connection.close()
    return path


DAMAGE = {
    "not a database": lambda p: p.write_bytes(b"no database at all" * 100),
    "empty": lambda p: p.write_bytes(b""),
    "half of it": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2 + 100]),
    "overwritten pages": lambda p: p.write_bytes(p.read_bytes()[:4096] + b"\x00" * (p.stat().st_size - 4096)),
    "no meta": lambda p: changed(p, "DROP TABLE meta"),
    "no binding": lambda p: changed(p, "DROP TABLE binding"),
    "no explanations": lambda p: changed(p, "DROP TABLE explanation_cache"),
    "not JSON": lambda p: changed(p, "UPDATE explanation_cache SET payload = '{'"),
    "no list": lambda p: changed(p, "UPDATE explanation_cache SET payload = '{}'"),
    "no object": lambda p: changed(p, "UPDATE feature_cache SET payload = '3'"),
    "newer": lambda p: changed(p, "UPDATE meta SET value = '99' WHERE key = 'schema'"),
    "no version": lambda p: changed(p, "UPDATE meta SET value = 'x' WHERE key = 'schema'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_a_format_error(tmp_path, damage):
    path = made(tmp_path / "c.sqlite")
    DAMAGE[damage](path)
    with pytest.raises(FormatError) as caught, ExplanationCache.open(path) as cache:
        cache.binding(*PLACE)
        cache.explanations(*PLACE)
        cache.features(*PLACE)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert "c.sqlite" in caught.value.message
    if damage == "newer":
        assert "99" in caught.value.message and "upgrade" in caught.value.fix


def test_what_is_missing_is_named_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="no explanation cache"):
        ExplanationCache.open(tmp_path / "none.sqlite")
    with ExplanationCache.open(made(tmp_path / "c.sqlite")) as cache, pytest.raises(UserError) as caught:
        cache.binding("gpt", "1-ress")
    assert caught.value.code == "not_found" and "gpt/1-res" in caught.value.fix


def test_reading_leaves_the_file_alone(tmp_path):
    path = made(tmp_path / "c.sqlite")
    path.chmod(0o444)
    before = path.read_bytes()
    snapshot(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["c.sqlite"]
    assert json.loads(json.dumps(payloads())) == payloads()
