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
import re
from collections.abc import Iterator, Mapping
from typing import Any

from radiograph.core import FormatError, UserError, derive, nearest, visible
from radiograph.core.limits import SUITE_PROMPTS
from radiograph.criteria._parts import Drawn, Parts
from radiograph.criteria._rows import Row
from radiograph.evidence import RowKind

_KEYS = ("templates", "slots", "fillers", "factors", "sets", "targets", "foils", "schema", "text")
_KINDS: dict[str, RowKind] = {
    "positive": "positive",
    "near_miss": "near_miss",
    "negative": "negative",
    "neutral": "negative",
}
_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
Lists = dict[str, list[str]]


def lacks(parts: Parts) -> str | None:
    """A template."""
    return None if parts.template is not None else "--template FILE (YAML: templates, slots, fillers)"


def draw(parts: Parts, seed: int) -> Drawn:
    """Every set, or a seeded part of them.

    Raises:
        FormatError: the template cannot be read; all mistakes are named.
    """
    assert parts.template is not None
    plan = _Plan(parts.template, parts.template_name)
    sets = list(plan.sets())
    wanted = parts.template.get("sets", len(sets))
    kept = sorted(range(len(sets)), key=lambda i: (derive(seed, "template set", sets[i][0]), i))[:wanted]
    rows = [row for i in sorted(kept) for row in sets[i][1]]
    if len(rows) > SUITE_PROMPTS:
        raise UserError(
            f"the template makes {len(rows):,} rows",
            expected=f"at most {SUITE_PROMPTS:,}",
            where=parts.template_name,
            fix="keep a seeded part of the sets with `sets: N`",
        )
    return Drawn(rows, parts.template_sha256)


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

    def sets(self) -> Iterator[tuple[str, list[Row]]]:
        """Name and rows of each matched set."""
        for number, (text, factors) in enumerate(self.templates):
            used = [slot for slot in dict.fromkeys(_SLOT.findall(text)) if slot in self.slots]
            for values in itertools.product(*(self.slots[slot] for slot in used)):
                shared = dict(zip(used, values, strict=True))
                own = factors | {slot: shared[slot] for slot in self.factors if slot in shared}
                for place in range(self._length):
                    name = "-".join(
                        ["set", str(number), *(str(self.slots[s].index(v)) for s, v in shared.items()), str(place)]
                    )
                    yield name, [self._row(name, text, kind, shared, place, own) for kind in self.fillers]

    @property
    def _length(self) -> int:
        return len(next(iter(next(iter(self.fillers.values())).values())))

    def _row(
        self, name: str, text: str, kind: RowKind, shared: dict[str, str], place: int, factors: dict[str, Any]
    ) -> Row:
        filled = shared | {slot: values[place] for slot, values in self.fillers[kind].items()}
        return Row(
            prompt_id=f"{name}-{kind}",
            text=_SLOT.sub(lambda match: filled[match[1]], text),
            kind=kind,
            source_group=name,
            targets=self.targets,
            foils=self.foils,
            factors=factors,
            route="template",
        )

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
            if kind not in _KINDS or _KINDS[kind] in out:
                self._wrong.append(f"fillers: {kind!r} is no kind, or stands twice; kinds: {', '.join(_KINDS)}")
            else:
                out[_KINDS[kind]] = self._lists(lists, f"fillers.{kind}")
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
