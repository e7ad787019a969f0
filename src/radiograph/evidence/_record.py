"""The base of everything that leaves a process: frozen, strict, finite, and stamped with a schema version.

A `Record` is a part of a `Document`, which carries `schema: "radiograph.NAME/MAJOR"`. A `Result` is the document that a
verb returns: it says in one line what was found and knows the exit code that follows. Readers accept every major up to
their own and refuse newer ones by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import to_json

from radiograph.core import ExitCode, FormatError


class Record(BaseModel):
    """A frozen part of a document. Unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class RefusalRecord(Record):
    """What was not measured, and why. Never a zero, never a pass."""

    code: str
    text: str
    what: str = ""
    """The part of the run that is missing."""
    fix: str | None = None


class Document(Record):
    """A record that stands alone in a file: it carries its schema."""

    SCHEMA: ClassVar[str] = "radiograph.document/1"

    @model_serializer(mode="wrap")
    def _stamp(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"schema": self.SCHEMA, **handler(self)}

    @model_validator(mode="before")
    @classmethod
    def _unstamp(cls, data: Any) -> Any:
        """A document inside a document brings its own stamp, which must fit too."""
        if not isinstance(data, dict) or "schema" not in data:
            return cast(Any, data)
        stamped = cast("dict[str, Any]", data)
        check_schema(stamped["schema"], cls.SCHEMA, cls.__name__)
        return {k: v for k, v in stamped.items() if k != "schema"}

    @classmethod
    def read(cls, document: dict[str, Any], where: str = "result.json") -> Self:
        """Validate a document against this schema.

        Raises:
            FormatError: another schema, a newer major, or a field that does not validate.
        """
        given = document.get("schema")
        check_schema(given, cls.SCHEMA, where)
        try:
            return cls.model_validate({k: v for k, v in document.items() if k != "schema"})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(p) for p in first["loc"])
            raise FormatError(f"{where} does not follow {cls.SCHEMA}", where=place, got=first["msg"]) from error


class Result(Document):
    """What a verb found. Subclasses say it in one line and know the exit code that follows."""

    SCHEMA: ClassVar[str] = "radiograph.result/1"

    @property
    def headline(self) -> str:
        """One line for a person in a hurry."""
        return self.SCHEMA

    @property
    def exit_code(self) -> ExitCode:
        """What the run says to the shell."""
        return ExitCode.PASS


class NewerSchema(FormatError):
    """The file was written by a later version than this one can read."""

    code = "newer_schema"


class OtherVersions(FormatError):
    """Detectors or rules of other versions made this: what it says cannot be derived again here."""

    code = "other_versions"

    def __init__(self, where: str, stored: Mapping[str, int], own: Mapping[str, int]) -> None:
        names = sorted(n for n in {**stored, **own} if stored.get(n) != own.get(n))
        theirs, ours = (", ".join(f"{n} {side.get(n, 'absent')}" for n in names) for side in (stored, own))
        super().__init__(
            f"{where} was made by other detectors or rules",
            expected=theirs,
            got=ours,
            fix="verify it with the version of radiograph that its manifest names",
        )


def check_versions(stored: Mapping[str, int], own: Mapping[str, int], where: str) -> None:
    """Evidence of other versions of rules can be read, but not derived again.

    Raises:
        OtherVersions: they differ.
    """
    if dict(stored) != dict(own):
        raise OtherVersions(where, stored, own)


def check_schema(given: object, own: str, where: str) -> None:
    """Accept every major of `own` up to its own; refuse other names and newer majors.

    Raises:
        NewerSchema: the major is newer than ours.
        FormatError: the schema is absent or another one.
    """
    name, major = own.rsplit("/", 1)
    text = given if isinstance(given, str) else ""
    given_name, _, given_major = text.rpartition("/")
    if given_name != name or not given_major.isdigit():
        raise FormatError(f"{where} is not a {name} document", expected=own, got=repr(given))
    if int(given_major) > int(major):
        raise NewerSchema(
            f"{where} was written by a newer radiograph",
            expected=f"{name}/<= {major}",
            got=text,
            fix="upgrade radiograph",
        )


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: the bytes that hashes are taken over."""
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def document_sha256(value: object) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def pretty_json(value: object) -> str:
    """JSON for people: keys in the order given, one space of indent, a final newline."""
    if not isinstance(value, BaseModel):
        json.dumps(value, allow_nan=False)  # plain data has not been validated: a non-finite number stops here
    return to_json(value, indent=1).decode() + "\n"


def _plain(value: object) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
