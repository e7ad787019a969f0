"""Seeds depend on every argument, and on nothing else."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from radiograph.core import derive, derive_many

PURPOSE = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x1f")), max_size=3)


@given(st.integers(0, 2**63 - 1), PURPOSE)
def test_a_seed_is_the_hash_of_its_words(seed, words):
    text = "\x1f".join(["radiograph.seed/1", str(seed), *words])
    assert derive(seed, *words) == int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) >> 1
    assert 0 <= derive(seed, *words) < 2**63


@given(st.integers(0, 2**63 - 1), PURPOSE)
def test_many_seeds_are_those_of_each_name(seed, names):
    assert derive_many(seed, "split", names) == [derive(seed, "split", name) for name in names]


@given(PURPOSE, PURPOSE)
def test_different_purposes_have_different_streams(left, right):
    assert (derive(0, *left) == derive(0, *right)) == (left == right)


def test_the_same_in_another_process():
    code = "from radiograph.core import derive; print(derive(7, 'bootstrap', 3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == derive(7, "bootstrap", 3)
