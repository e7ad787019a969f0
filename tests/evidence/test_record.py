"""Records are frozen, finite and stamped; readers accept older majors and refuse newer ones by name."""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from radiograph import evidence
from radiograph.core import ExitCode, FormatError
from radiograph.evidence import Document, NewerSchema, Result, canonical_json, document_sha256, pretty_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Note(Document):
    """A document of two fields."""

    SCHEMA: ClassVar[str] = "radiograph.note/2"

    text: str
    value: float = 0.0


def test_a_document_carries_its_schema_first():
    assert list(Note(text="a").model_dump(mode="json")) == ["schema", "text", "value"]


@pytest.mark.parametrize("major", [1, 2])
def test_own_and_older_majors_are_read(major):
    assert Note.read({"schema": f"radiograph.note/{major}", "text": "a"}) == Note(text="a")


class Book(Document):
    """Documents inside a document."""

    SCHEMA: ClassVar[str] = "radiograph.book/1"

    notes: tuple[Note, ...]


def test_documents_inside_a_document_are_read_and_checked_too():
    book = Book(notes=(Note(text="a"),))
    document = json.loads(pretty_json(book))
    assert Book.read(document) == book
    document["notes"][0]["schema"] = "radiograph.note/3"
    with pytest.raises(NewerSchema):
        Book.read(document)


def test_a_newer_major_is_refused_by_name():
    with pytest.raises(NewerSchema, match="newer"):
        Note.read({"schema": "radiograph.note/3", "text": "a"})


@pytest.mark.parametrize(
    "schema", [None, 2, "", "note/2", "radiograph.note", "radiograph.note/x", "radiograph.other/1"]
)
def test_another_schema_is_a_format_error(schema):
    with pytest.raises(FormatError):
        Note.read({"schema": schema, "text": "a"})


@pytest.mark.parametrize("more", [{"extra": 1}, {"value": "x"}, {"text": None}])
def test_what_does_not_validate_names_the_field(more):
    with pytest.raises(FormatError) as caught:
        Note.read({"schema": "radiograph.note/2", "text": "a", **more})
    assert caught.value.where == next(iter(more))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value):
    with pytest.raises(ValidationError):
        Note(text="a", value=value)
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"x": value})


def test_nothing_changes_after_it_is_made():
    with pytest.raises(ValidationError):
        Note(text="a").text = "b"  # type: ignore[misc]


@given(JSON)
def test_equal_documents_have_equal_hashes_whatever_their_order(value):
    def turned(x):
        if isinstance(x, dict):
            return {k: turned(x[k]) for k in reversed(x)}
        return [turned(v) for v in x] if isinstance(x, list) else x

    assert document_sha256(value) == document_sha256(turned(value))
    assert document_sha256(value) == hashlib.sha256(canonical_json(value)).hexdigest()
    assert json.loads(canonical_json(value)) == json.loads(pretty_json(value)) == value


def test_every_schema_is_one_documents_own():
    kinds = [k for k in map(evidence.__getattr__, evidence.__all__) if isinstance(k, type) and issubclass(k, Document)]
    names = [k.SCHEMA for k in kinds if "SCHEMA" in vars(k)]
    assert len(names) == len(set(names)) > 3
    assert all(name.startswith("radiograph.") and name.rpartition("/")[2].isdigit() for name in names)


@pytest.mark.parametrize(
    "kind",
    [k for k in map(evidence.__getattr__, evidence.__all__) if isinstance(k, type) and issubclass(k, evidence.Record)],
    ids=lambda k: k.__name__,
)
def test_every_record_is_frozen_strict_and_described(kind):
    assert kind.model_config["frozen"]
    assert kind.model_config["extra"] == "forbid"
    assert kind.model_config["allow_inf_nan"] is False
    assert kind.__doc__


def test_a_refused_run_is_not_measured():
    refused = evidence.Refused(code="x", text="because")
    assert refused.exit_code is ExitCode.NOT_MEASURED
    assert "because" in refused.headline
    assert Result().exit_code is ExitCode.PASS
