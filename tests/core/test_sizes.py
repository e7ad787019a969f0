"""Counts and sizes: what is read, what is refused, what is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiograph.core import Config, UserError
from radiograph.core.sizes import (
    BYTES,
    COUNTS,
    ByteSize,
    Count,
    binary_text,
    bytes_text,
    count_text,
    exact_text,
    finite_number,
    read_bytes,
    read_count,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("500", 500), ("20k", 20_000), ("1.5M", 1_500_000), ("1B", 10**9), ("1T", 10**12), ("1_000", 1000), (" 7 ", 7)],
)
def test_counts(text, value):
    assert read_count(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4096", 4096),
        ("1B", 1),
        ("64kB", 64_000),
        ("1.5GB", 1_500_000_000),
        ("2 TB", 2 * 10**12),
        ("256MiB", 256 * 2**20),
        ("64GiB", 64 * 2**30),
        ("1PiB", 2**50),
        ("0.5KiB", 512),
    ],
)
def test_sizes(text, value):
    assert read_bytes(text) == value


@pytest.mark.parametrize("text", ["64GBs", "0", "-1", "0k", "", "k", "1.5", "1e9", "1 k M", "1K", "nan", "1,5M", True])
def test_counts_that_nobody_can_mean(text):
    with pytest.raises(UserError, match="cannot read") as error:
        read_count(text)
    assert "1.5M" in str(error.value.expected)


@pytest.mark.parametrize("text", ["64GBs", "0", "-1GB", "0B", "64gb", "64G", "1.0001kiB", "0.3B"])
def test_sizes_that_nobody_can_mean(text):
    with pytest.raises(UserError, match="cannot read") as error:
        read_bytes(text)
    assert "64GiB" in str(error.value.expected)


@given(st.integers(1, 10**6), st.sampled_from(sorted(COUNTS)))
def test_every_unit_of_counts_is_its_factor(number, unit):
    assert read_count(f"{number}{unit}") == number * COUNTS[unit]


@given(st.integers(1, 10**6), st.sampled_from(sorted(BYTES)))
def test_every_unit_of_bytes_is_its_factor(number, unit):
    assert read_bytes(f"{number}{unit}") == number * BYTES[unit]


def test_written_forms():
    assert [exact_text(v, "count") for v in (7, 1501, 1_500_000, 10**9)] == ["7", "1501", "1500k", "1B"]
    assert [exact_text(v, "bytes") for v in (1000, 256 * 2**20, 2**36)] == ["1000", "256MiB", "64GiB"]
    assert bytes_text(262.2e12) == "262.2 TB (238.5 TiB)"
    assert bytes_text(512) == "512 B"
    assert binary_text(256 * 2**20) == "256 MiB"
    assert [count_text(v) for v in (7, 1500, 2_000_000, 3.28e10, 10**12)] == ["7", "1.5k", "2M", "32.8B", "1T"]


@given(st.integers(1, 10**16))
def test_the_exact_form_is_read_back_as_it_was(value):
    assert read_count(exact_text(value, "count")) == value
    assert read_bytes(exact_text(value, "bytes")) == value


class Sample(Config):
    """A configuration with both."""

    tokens: Count | None = None
    shard: ByteSize = 256 * 2**20


def test_fields_read_both_forms_and_say_what_they_accept():
    read = Sample.model_validate({"tokens": "1B", "shard": "64MiB"})
    assert (read.tokens, read.shard) == (10**9, 64 * 2**20)
    assert Sample.model_validate({"tokens": 12}).tokens == 12
    for wrong in ("64GBs", 0, -3, 2.5, True):
        with pytest.raises(ValueError, match=r"1\.5M|integer"):
            Sample.model_validate({"tokens": wrong})
    assert "256MiB" in str(Sample.model_json_schema()["properties"]["shard"])


def test_pd_15_a_number_of_a_document_is_a_float_or_none():
    assert [finite_number(v) for v in (1, -2.5, 0, 10**300)] == [1.0, -2.5, 0.0, 1e300]
    none = (True, None, "1", [1], float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 1j)
    assert [finite_number(v) for v in none] == [None] * len(none)
