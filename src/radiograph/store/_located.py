r"""Plain data from YAML or JSON, with the line of every key and item, so that a mistake deep inside has its place.

1. size, aliases and nesting are bounded before anything is built; no tags, no custom types
2. the node tree is walked as written: lines of all keys, and keys that stand twice in one mapping
3. a `.json` file is read by a JSON parser (YAML 1.1 reads `1e3` and `\ud83d` differently); its lines come from YAML

`Faults` collects what is wrong and raises everything at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from radiograph.core import FormatError, UserError, nearest
from radiograph.core.limits import DOCUMENT_VALUES, SUITE_BYTES, YAML_ALIASES

Place = tuple[str | int, ...]
_DEPTH = 50
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


@dataclass
class Faults:
    """Collects mistakes; a place is a path of keys and indices into the document."""

    name: str
    lines: dict[Place, int] = field(default_factory=dict)
    found: dict[tuple[int, str], None] = field(default_factory=dict)
    what: str = "suite"
    """What is being read, as its mistakes call it."""

    def line(self, place: Place) -> int:
        """The nearest known line; 0 where the document has none."""
        return next((self.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.lines), 0)

    def add(self, place: Place, text: str) -> None:
        """Record one mistake; the same one from each prompt of a template counts once."""
        self.at(self.line(place), text)

    def at(self, line: int, text: str) -> None:
        """Record one mistake on a line; 0 where the document has none."""
        self.found[line, text] = None

    def unknown(self, place: Place, keys: Iterable[Any], known: Sequence[str], what: str) -> None:
        """Record every key that is not known, with the nearest one that is."""
        for key in keys:
            if key not in known:
                self.add((*place, key), f"unknown {what} key {key!r}{hint(key, known)}")

    def raise_if_any(self) -> None:
        """Raise one error that lists everything.

        Raises:
            UserError: `bad_suite` (or `bad_grid`), one line a mistake, in the order of the file.
        """
        if not self.found:
            return
        shown = [f"{self.name}:{line}: {text}" if line else f"{self.name}: {text}" for line, text in sorted(self.found)]
        raise UserError(
            f"{len(shown)} mistake{'s' if len(shown) > 1 else ''} in the {self.what}",
            where="\n    ".join(shown),
            fix="mend them and run `radiograph suite check` again",
            code=f"bad_{self.what}",
        )


def hint(word: object, known: Sequence[str]) -> str:
    """What was probably meant: known words that begin so, else the nearest, else all of them."""
    begun = [k for k in known if k.startswith(str(word))]
    close = begun[:3] or nearest(str(word), list(known))[:1]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else f"; known: {', '.join(known)}"


def load_yaml(path: Path) -> tuple[Any, Faults]:
    """Plain data, and where to record mistakes in it; keys that stand twice are recorded already.

    Raises:
        UserError: not a file. FormatError: not readable within the limits.
    """
    if not path.is_file():
        raise UserError(f"{path.name} is not a file", expected="a YAML or JSON file", code="not_found")
    if path.stat().st_size > SUITE_BYTES:
        raise FormatError(f"{path.name} is larger than {SUITE_BYTES // 2**20} MiB", where=path.name)
    data = path.read_bytes()
    try:
        if path.suffix.lower() == ".json":
            return _json(data, path.name)
        return _yaml(data, path.name)
    except RecursionError as error:
        raise _too_deep(path.name) from error


def _json(data: bytes, name: str) -> tuple[Any, Faults]:
    def refuse(constant: str) -> NoReturn:
        raise FormatError(f"{name} is not valid JSON", got=f"{constant}, which is no JSON number", where=name)

    try:
        document = json.loads(data, parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise FormatError(f"{name} is not text", where=_at_byte(name, data, error.start), got=error.reason) from error
    except json.JSONDecodeError as error:
        raise FormatError(f"{name} is not valid JSON", where=f"{name}:{error.lineno}", got=error.msg) from error
    try:  # for its lines alone: what YAML would stumble over is replaced, line breaks stay
        _, faults = _yaml(_SURROGATE.sub(rb"\\u003f", data).replace(b"\t", b" "), name)
    except FormatError:
        faults = Faults(name)
    return document, faults


def _yaml(data: bytes, name: str) -> tuple[Any, Faults]:
    import yaml

    loader_type: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    faults = Faults(name)
    try:
        aliases = b"*" in data and sum(isinstance(e, yaml.AliasEvent) for e in yaml.parse(data, Loader=loader_type))
        if aliases > YAML_ALIASES:
            raise FormatError(f"{name} has {aliases} aliases", expected=f"at most {YAML_ALIASES}", where=name)
        loader = loader_type(data)
        node = loader.get_single_node()
        if node is None:
            return None, faults
        _Walk(faults).enter(node, ())
        return loader.construct_document(node), faults
    except yaml.reader.ReaderError as error:
        place = _at_byte(name, data, error.position)
        raise FormatError(f"{name} is not text", where=place, got=error.reason, expected="UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error)
        raise FormatError(f"{name} is not valid YAML", where=where, got=str(problem)) from error
    except (ValueError, OverflowError) as error:  # a date or number that matches YAML's pattern and does not exist
        raise FormatError(f"{name} holds a value that cannot be read", where=name, got=str(error)) from error


class _Walk:
    """One pass over the nodes, aliases followed, with a bound on what they unfold to."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.seen: set[int] = set()
        self.unfolded = 0

    def enter(self, node: Any, place: Place) -> None:
        """Record the lines of a node and of what it holds."""
        if len(place) > _DEPTH:
            raise _too_deep(self.faults.name)
        self.unfolded += id(node) in self.seen
        if self.unfolded > DOCUMENT_VALUES:
            raise FormatError(
                f"the aliases of {self.faults.name} unfold to more than {DOCUMENT_VALUES} values",
                where=self.faults.name,
                fix="write it without aliases",
            )
        self.seen.add(id(node))
        self.faults.lines.setdefault(place, node.start_mark.line + 1)
        if node.id == "mapping":
            self._mapping(node, place)
        elif node.id == "sequence":
            for index, value in enumerate(node.value):
                self.enter(value, (*place, index))

    def _mapping(self, node: Any, place: Place) -> None:
        first: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            self.faults.lines[(*place, name)] = line
            if key.id == "scalar" and name in first and name != "<<":
                self.faults.add((*place, name), f"key {name!r} stands twice, first on line {first[name]}; keep one")
            first.setdefault(name, line)
            self.enter(value, (*place, name))


def _too_deep(name: str) -> FormatError:
    return FormatError(
        f"{name} is nested too deep", expected=f"at most {_DEPTH} levels, no alias of itself", where=name
    )


def _at_byte(name: str, data: bytes, position: int) -> str:
    line = data.count(b"\n", 0, position) + 1
    return f"{name}:{line}"
