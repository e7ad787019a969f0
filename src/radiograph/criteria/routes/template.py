"""Sentences with slots, filled once per kind: matched sets that differ in what the criterion is about alone.

    templates: ["The {tool} is {number} {thing} long.", {text: "…", factors: {form: question}}]
    slots: {tool: [rope, ladder], number: ["3", "12"]}           the same in every row of a set
    fillers:                                                     what makes the kind
      positive: {thing: [metres, feet]}
      near_miss: {thing: [steps, rungs]}
      negative: {thing: [words, songs]}                          `neutral` means the same
    factors: [tool]        slots that are factors        sets: 200        a seeded part of all sets
    targets: [" metres"]   foils: [" steps"]

1. a set is a template, one value of every slot that it uses, and one place in the lists of fillers: the third positive
   filler stands beside the third near miss
2. one set is one group, so that a comparison inside groups holds everything else fixed

Refuses unknown keys and slots, lists of fillers of unequal length, fewer than two kinds.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from radiograph.core import FormatError, UserError, derive, nearest, visible
from radiograph.core.limits import SUITE_PROMPTS
from radiograph.criteria._parts import Drawn, Parts
from radiograph.criteria._rows import KINDS, Row
from radiograph.evidence import RowKind

_KEYS = ("templates", "slots", "fillers", "factors", "sets", "targets", "foils", "schema", "text")
_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
Lists = dict[str, list[str]]
_MOST_SETS = 1_000_000


def lacks(parts: Parts) -> str | None:
    """A template."""
    return None if parts.template is not None else "--template FILE (YAML: templates, slots, fillers)"


def draw(parts: Parts, seed: int) -> Drawn:
    """Every set, or a seeded part of them.

    Raises:
        FormatError: the template cannot be read; all mistakes are named.
    """
    assert parts.template is not None
    plan = _Plan(parts.template.document, parts.template.name)
    wanted = min(plan.count, parts.template.document.get("sets", plan.count))
    if wanted * len(plan.fillers) > SUITE_PROMPTS or plan.count > _MOST_SETS:
        raise UserError(
            f"the template makes {plan.count:,} sets of {len(plan.fillers)} rows",
            expected=f"at most {SUITE_PROMPTS:,} rows, of at most {_MOST_SETS:,} sets",
            where=parts.template.name,
            fix="keep a seeded part of the sets with `sets: N`, or give slots fewer values",
        )
    sets = list(plan.sets())
    if wanted < len(sets):
        kept = sorted(range(len(sets)), key=lambda i: derive(seed, "template set", sets[i].name))[:wanted]
        sets = [sets[i] for i in sorted(kept)]
    return Drawn([row for found in sets for row in plan.rows(found)], parts.template.sha256)


@dataclass(frozen=True, slots=True)
class _Set:
    """One matched set."""

    name: str
    template: int
    shared: dict[str, str]
    place: int
    """In the lists of fillers."""


class _Plan:
    """A template that has been read."""

    def __init__(self, document: Mapping[str, Any], name: str) -> None:
        self._wrong: list[str] = []
        for key in document:
            if key not in _KEYS:
                close = nearest(str(key), list(_KEYS))
                self._wrong.append(f"unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        self.templates = self._templates(document.get("templates"))
        self.slots = self._lists(document.get("slots", {}), "slots")
        self.fillers = self._fillers(document.get("fillers"))
        self.factors = self._texts(document.get("factors", []), "factors")
        self.targets = tuple(self._texts(document.get("targets", []), "targets"))
        self.foils = tuple(self._texts(document.get("foils", []), "foils"))
        sets = document.get("sets", 1)
        if type(sets) is not int or sets < 1:
            self._wrong.append(f"sets must be a whole number from 1, got {sets!r}")
        self._consistent()
        if self._wrong:
            shown = [f"{name}: {visible(text, 160)}" for text in self._wrong[:5]]
            more = [f"and {len(self._wrong) - 5} more"] if len(self._wrong) > 5 else []
            raise FormatError(f"{name} is no template", where="\n    ".join([*shown, *more]), code="bad_template")

    @property
    def count(self) -> int:
        """How many sets there are."""
        return sum(math.prod(len(self.slots[s]) for s in self._used(text)) for text, _ in self.templates) * self._length

    def sets(self) -> Iterator[_Set]:
        """Every matched set, in order."""
        for number, (text, _) in enumerate(self.templates):
            used = self._used(text)
            for places in itertools.product(*(range(len(self.slots[slot])) for slot in used)):
                shared = {slot: self.slots[slot][i] for slot, i in zip(used, places, strict=True)}
                for place in range(self._length):
                    name = "-".join(["set", *map(str, (number, *places, place))])
                    yield _Set(name, number, shared, place)

    def rows(self, found: _Set) -> list[Row]:
        """The rows of a set, one a kind."""
        text, factors = self.templates[found.template]
        own = factors | {slot: found.shared[slot] for slot in self.factors if slot in found.shared}
        return [self._row(found, text, kind, own) for kind in self.fillers]

    def _row(self, found: _Set, text: str, kind: RowKind, factors: dict[str, Any]) -> Row:
        filled = found.shared | {slot: values[found.place] for slot, values in self.fillers[kind].items()}
        return Row(
            prompt_id=f"{found.name}-{kind}",
            text=_SLOT.sub(lambda match: filled[match[1]], text),
            kind=kind,
            source_group=found.name,
            targets=self.targets,
            foils=self.foils,
            factors=factors,
            route="template",
        )

    @property
    def _length(self) -> int:
        return len(next(iter(next(iter(self.fillers.values())).values())))

    def _used(self, text: str) -> list[str]:
        return [slot for slot in dict.fromkeys(_SLOT.findall(text)) if slot in self.slots]

    def _templates(self, given: Any) -> list[tuple[str, dict[str, Any]]]:
        out: list[tuple[str, dict[str, Any]]] = []
        for item in given if isinstance(given, list) else []:
            text, factors = (item.get("text"), item.get("factors", {})) if isinstance(item, dict) else (item, {})
            if not isinstance(text, str) or not text.strip() or not isinstance(factors, dict):
                self._wrong.append(f"a template is a text, or {{text, factors}}, got {item!r}")
            else:
                out.append((text, factors))
        if not out and not self._wrong:
            self._wrong.append("templates: a list of texts is needed")
        return out

    def _lists(self, given: Any, what: str) -> Lists:
        if not isinstance(given, dict):
            self._wrong.append(f"{what} must map names to lists, got {given!r}")
            return {}
        return {str(name): self._texts(values, f"{what}.{name}", empty=False) for name, values in given.items()}

    def _texts(self, given: Any, what: str, *, empty: bool = True) -> list[str]:
        plain = isinstance(given, list) and all(
            isinstance(v, str | int | float) and not isinstance(v, bool) for v in given
        )
        if not plain or not (given or empty):
            self._wrong.append(f"{what} must be a list of texts, got {given!r} (quote words such as no, on, off)")
            return []
        return [str(value) for value in given]

    def _fillers(self, given: Any) -> dict[RowKind, Lists]:
        if not isinstance(given, dict):
            self._wrong.append("fillers: a map of kinds (positive, near_miss, negative) is needed")
            return {}
        out: dict[RowKind, Lists] = {}
        for kind, lists in given.items():
            if kind not in KINDS or KINDS[kind] in out:
                self._wrong.append(f"fillers: {kind!r} is no kind, or stands twice; kinds: {', '.join(KINDS)}")
            else:
                out[KINDS[kind]] = self._lists(lists, f"fillers.{kind}")
        return out

    def _consistent(self) -> None:
        """What each part says fits the others."""
        if self._wrong:
            return
        if "positive" not in self.fillers or len(self.fillers) < 2:
            self._wrong.append("fillers need the kind positive, and near_miss or negative")
            return
        wanted = set(self.fillers["positive"])
        lengths = {f"{k}.{s}": len(values) for k, lists in self.fillers.items() for s, values in lists.items()}
        if not wanted:
            self._wrong.append("fillers.positive names no slot")
        self._wrong += [
            f"fillers.{k} fills other slots than positive does" for k, v in self.fillers.items() if set(v) != wanted
        ]
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {n}" for name, n in lengths.items())
            self._wrong.append(f"lists of fillers must be equally long, since they are matched one by one: {said}")
        self._wrong += [f"slot {slot!r} is both shared and filled by kind" for slot in wanted & set(self.slots)]
        for text, _ in self.templates:
            unknown = set(_SLOT.findall(text)) - wanted - set(self.slots)
            self._wrong += [f"{text!r} uses the unknown slot {slot!r}" for slot in sorted(unknown)]
            if not wanted & set(_SLOT.findall(text)):
                self._wrong.append(f"{text!r} uses no slot that is filled by kind")
        self._wrong += [f"factor {slot!r} is no shared slot" for slot in self.factors if slot not in self.slots]
