"""Grids that are made: every core put into the frame of every cell, or into a balanced part of the cells.

- full: all of them
- latin: core i takes the cells whose level indices sum to i modulo the largest number of levels, so that every cell is
  used equally and no core twice with one level of the largest factor; needs a multiple of that many cores
- balanced_sample n: n (core, cell) pairs, each drawn so that the squares of the margins' counts grow least, ties by a
  seeded shuffle. Same seed, same grid.

Frames hold `{core}` (the core's plain statement), the core's other slots and `{NAME}` of any factor.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from radiograph.core import UserError, derive
from radiograph.core.limits import SUITE_PROMPTS
from radiograph.evidence.resonance._grid import RESERVED, Grid, GridCore, GridFactor, GridRecord, Level, record_id

Report = Callable[[tuple[str, ...], str], None]
"""Takes a place (keys) and what is wrong there."""
AnyGrid = TypeVar("AnyGrid", bound=Grid)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SLOT = re.compile(r"\{([^{}]*)\}")
_KINDS = ("full", "latin", "balanced_sample")
_DESIGN = ("kind", "n", "variants", "seed")


def crossed(
    made: type[AnyGrid],
    name: str,
    factors: Mapping[str, Any],
    cores: Mapping[str, Any],
    frames: Mapping[str, Any],
    design: Mapping[str, Any] | None,
) -> AnyGrid:
    """A grid from plain data.

    Raises:
        UserError: every mistake, by its key.
    """
    wrong: list[str] = []

    def report(place: tuple[str, ...], text: str) -> None:
        wrong.append(f"{'.'.join(place)}: {text}")

    levels, known = read_factors(factors, report)
    people = read_cores(cores, report)
    records = cross_records(levels, people, frames, design or {}, report)
    if wrong:
        raise UserError(f"the grid {name} cannot be made", where="\n    ".join(wrong), code="bad_grid")
    return made(name=name, factors=known, cores=tuple(core for core, _ in people.values()), records=tuple(records))


def read_factors(given: Any, report: Report) -> tuple[dict[str, list[Level]], dict[str, GridFactor]]:
    """Levels and kinds; a factor is a list of levels, or a mapping of levels, kind and markers."""
    levels: dict[str, list[Level]] = {}
    known: dict[str, GridFactor] = {}
    if not isinstance(given, Mapping) or not given:
        report(("factors",), "factors must map names to lists of levels")
        return levels, known
    for key, value in cast("Mapping[Any, Any]", given).items():
        place = ("factors", str(key))
        if not isinstance(key, str) or not NAME.fullmatch(key) or key in RESERVED:
            report(place, f"{key!r} cannot name a factor; letters, digits and _, and not one of {', '.join(RESERVED)}")
            continue
        whole = cast("dict[str, Any]", value) if isinstance(value, Mapping) else {"levels": value}
        if unknown := set(whole) - {"levels", "kind", "markers"}:
            report(
                place, f"unknown key {', '.join(map(repr, sorted(map(str, unknown))))}; known: levels, kind, markers"
            )
        own = whole.get("levels")
        if not isinstance(own, list) or not own or not all(map(_is_level, cast("list[Any]", own))):
            report(place, f"levels must be a list of texts or numbers, got {own!r}")
            continue
        listed = cast("list[Level]", own)
        if len(set(map(str, listed))) < len(listed) or len({isinstance(v, str) for v in listed}) > 1:
            report(place, f"levels must differ, and be all texts or all numbers, got {listed!r}")
            continue
        levels[key] = listed
        known[key] = _factor(listed, whole, place, report)
    return levels, known


def read_cores(given: Any, report: Report) -> dict[str, tuple[GridCore, dict[str, str]]]:
    """Cores and what their slots hold: a plain statement, or a mapping with `proposition` and other slots."""
    found: dict[str, tuple[GridCore, dict[str, str]]] = {}
    if not isinstance(given, Mapping) or not given:
        report(("cores",), "cores must map names to plain statements")
        return found
    for key, value in cast("Mapping[Any, Any]", given).items():
        place = ("cores", str(key))
        whole = cast("dict[str, Any]", value) if isinstance(value, Mapping) else {"proposition": value}
        slots = {str(name): text for name, text in whole.items() if text is not None}
        if not isinstance(key, str) or not key.strip():
            report(place, f"the name of a core must be text, got {key!r}; quote it")
        elif not all(isinstance(text, str) and text.strip() for text in slots.values()):
            report(place, f"a core is a plain statement, or a mapping of slots to texts, got {value!r}")
        else:
            label = slots.pop("label", key)
            core = GridCore(id=core_id(key), label=label, proposition=slots.get("proposition"))
            if core.id in found:
                report(place, f"core {key!r} stands twice")
            found[core.id] = core, slots
    return found


def cross_records(
    levels: Mapping[str, list[Level]],
    cores: Mapping[str, tuple[GridCore, dict[str, str]]],
    frames: Any,
    design: Any,
    report: Report,
) -> list[GridRecord]:
    """The records that a design chooses, core by core in the order of the cells."""
    cells = list(itertools.product(*levels.values()))
    texts = _frames(frames, levels, cells, report)
    chosen = _design(design, [len(own) for own in levels.values()], len(cores), texts, cells, report)
    if not chosen or not texts:
        return []
    out: list[GridRecord] = []
    for number, (core, slots) in enumerate(cores.values()):
        for index, cell in enumerate(cells):
            if (number, index) not in chosen:
                continue
            factors = dict(zip(levels, cell, strict=True))
            for variant, frame in enumerate(texts.get(cell, ()), start=1):
                text = _filled(frame, {**factors, **slots}, core, cell, report)
                out.append(
                    GridRecord(
                        id=record_id(core.id, factors, variant),
                        core=core.id,
                        variant=variant,
                        text=text,
                        proposition=core.proposition,
                        factors=factors,
                    )
                )
    if len(out) > SUITE_PROMPTS:
        report(("design",), f"{len(out)} prompts, at most {SUITE_PROMPTS}")
    return out


def core_id(label: str) -> str:
    """Spaces and other characters outside letters, digits, `_` and `-` become `_`."""
    return re.sub(r"[^\w-]", "_", label.strip())


def _factor(levels: list[Level], whole: Mapping[str, Any], place: tuple[str, ...], report: Report) -> GridFactor:
    numbers = not isinstance(levels[0], str)
    kind = whole.get("kind", "ordinal" if numbers else "nominal")
    if kind not in ("nominal", "ordinal") or (kind == "ordinal" and not numbers):
        report((*place, "kind"), f"kind must be nominal, or ordinal where levels are numbers, got {kind!r}")
        kind = "nominal"
    markers: Any = whole.get("markers") or {}
    if not isinstance(markers, Mapping):
        report((*place, "markers"), f"markers must map levels to lists of words, got {markers!r}")
        markers = {}
    clean: dict[str, tuple[str, ...]] = {}
    for level, words in cast("Mapping[Any, Any]", markers).items():
        if str(level) not in map(str, levels):
            report((*place, "markers"), f"{level!r} is not a level; known: {', '.join(map(str, levels))}")
        elif not isinstance(words, list) or not all(isinstance(w, str) and w.strip() for w in cast("list[Any]", words)):
            report((*place, "markers"), f"the markers of {level!r} must be a list of words, got {words!r}")
        else:
            clean[str(level)] = tuple(cast("list[str]", words))
    return GridFactor(kind=kind, markers=clean)


def _is_level(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e300
    return number or (isinstance(value, str) and bool(value.strip()))


def _frames(
    given: Any, levels: Mapping[str, list[Level]], cells: list[tuple[Level, ...]], report: Report
) -> dict[tuple[Level, ...], list[str]]:
    """Texts of each cell; a key is its levels joined by `/`."""
    if not isinstance(given, Mapping) or not given:
        report(("frames",), "frames must map cells such as serious/1 to texts")
        return {}
    keys = {"/".join(map(str, cell)): cell for cell in cells}
    found: dict[tuple[Level, ...], list[str]] = {}
    for key, value in cast("Mapping[Any, Any]", given).items():
        texts: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        if str(key) not in keys:
            report(("frames", str(key)), f"{key!r} is not a cell of {' / '.join(levels)}; cells: {_some(list(keys))}")
        elif not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            report(("frames", str(key)), f"a frame is a text, or a list of texts, got {value!r}")
        elif len(set(texts)) < len(texts):
            report(("frames", str(key)), f"the cell {key!r} has one text twice")
        else:
            found[keys[str(key)]] = texts
    written = {str(key) for key in cast("Mapping[Any, Any]", given)}
    if missing := [key for key, cell in keys.items() if cell not in found and key not in written]:
        report(("frames",), f"no frame for {_some(missing)}")
    return found


def _design(
    given: Any,
    sizes: Sequence[int],
    cores: int,
    texts: Mapping[tuple[Level, ...], list[str]],
    cells: list[tuple[Level, ...]],
    report: Report,
) -> set[tuple[int, int]]:
    """The (core, cell) pairs that are used."""
    if not isinstance(given, Mapping):
        report(("design",), f"design must be a mapping such as {{kind: full, variants: 2}}, got {given!r}")
        return set()
    plan = dict(cast("Mapping[str, Any]", given))
    if "balanced_sample" in plan:
        plan = {"kind": "balanced_sample", "n": plan.pop("balanced_sample"), **plan}
    if unknown := set(plan) - set(_DESIGN):
        report(("design",), f"unknown key {', '.join(map(repr, unknown))}; known: {', '.join(_DESIGN)}")
    kind, variants = plan.get("kind", "full"), plan.get("variants")
    if kind not in _KINDS:
        report(("design", "kind"), f"kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    few = [cell for cell in texts if variants is not None and len(texts[cell]) != variants]
    if few:
        report(
            ("design", "variants"), f"{variants!r} texts a cell are asked for; {_some(list(map(_cell, few)))} differ"
        )
    everything = set(itertools.product(range(cores), range(len(cells))))
    if kind == "latin":
        return _latin(sizes, cores, report)
    if kind == "balanced_sample":
        n, seed = plan.get("n"), plan.get("seed", 0)
        if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= len(everything):
            report(("design", "n"), f"n must be a whole number from 1 to {len(everything)}, got {n!r}")
            return set()
        if not isinstance(seed, int) or isinstance(seed, bool):
            report(("design", "seed"), f"seed must be a whole number, got {seed!r}")
            return set()
        return _balanced(sizes, sorted(everything), n, seed)
    return everything


def _latin(sizes: Sequence[int], cores: int, report: Report) -> set[tuple[int, int]]:
    order = max(sizes, default=1)
    if cores % order:
        report(("design", "kind"), f"latin needs a multiple of {order} cores, got {cores}")
        return set()
    indices = list(itertools.product(*map(range, sizes)))
    return {(i, j) for i in range(cores) for j, cell in enumerate(indices) if sum(cell) % order == i % order}


def _balanced(sizes: Sequence[int], pairs: list[tuple[int, int]], n: int, seed: int) -> set[tuple[int, int]]:
    random.Random(derive(seed, "balanced_sample")).shuffle(pairs)  # noqa: S311
    indices = list(itertools.product(*map(range, sizes)))
    counts: Counter[tuple[object, ...]] = Counter()

    def margins(pair: tuple[int, int]) -> list[tuple[object, ...]]:
        core, cell = pair
        levels = [("factor", f, level) for f, level in enumerate(indices[cell])]
        shared = [("core", core, *level) for level in levels]
        return [("core", core), *levels, *shared, ("cell", cell)]

    chosen: set[tuple[int, int]] = set()
    for _ in range(n):
        best = min(pairs, key=lambda pair: sum(counts[m] for m in margins(pair)))
        pairs.remove(best)
        chosen.add(best)
        counts.update(margins(best))
    return chosen


def _filled(frame: str, slots: Mapping[str, Any], core: GridCore, cell: tuple[Level, ...], report: Report) -> str:
    place = ("frames", "/".join(map(str, cell)))
    values = {**slots, "core": core.proposition}

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if values.get(name) is None:
            known = ", ".join(sorted(key for key, held in values.items() if held is not None))
            report(place, f"slot {{{name}}} is not filled for core {core.id}; known: {known}")
            return ""
        return str(values[name])

    return _SLOT.sub(value, frame)


def _cell(cell: tuple[Level, ...]) -> str:
    return "/".join(map(str, cell))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
