"""Grids in YAML or JSON: `frames:` that cores are put into by a design, or `prompts:` one by one.

grid: register
design:  {kind: full, variants: 2}          full | latin | balanced_sample (with n and seed)
factors: {register: [serious, comic], strength: {levels: [1, 2, 3], kind: ordinal, markers: {3: [utterly]}}}
cores:   {kettle: "the kettle has been switched on"}
frames:  {serious/1: ["It is worth noting that {core}.", "Note that {core}."], …}
prompts: [{core: kettle, register: serious, strength: 1, text: "…"}]        instead of frames and design
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiograph.core import FormatError
from radiograph.evidence import Grid, GridRecord, core_id, cross_records, read_cores, read_factors
from radiograph.store._located import Faults, hint, load_yaml
from radiograph.store.grids._rows import Draft, Row, build, decoded, no_prompts

_TOP = ("grid", "design", "factors", "cores", "frames", "prompts")
_OWN = ("id", "core", "variant", "split", "text", "proposition")


def parse_yaml(path: Path) -> Grid:
    """A grid in YAML or JSON.

    Raises:
        FormatError: not readable, or no grid. UserError: every mistake, with its line.
    """
    document, faults = load_yaml(path)
    return _grid(document, faults, decoded(path.read_bytes(), path.name))


def yaml_of(grid: Grid) -> str:
    """The same in YAML, one prompt after the other."""
    import yaml

    held = {core.id: core for core in grid.cores}
    factors = {
        name: {
            "levels": list(dict.fromkeys(r.factors[name] for r in grid.records if name in r.factors)),
            "kind": factor.kind,
            **({"markers": {k: list(v) for k, v in factor.markers.items()}} if factor.markers else {}),
        }
        for name, factor in grid.factors.items()
    }
    cores = {
        core.id: core.proposition if core.label == core.id else {"proposition": core.proposition, "label": core.label}
        for core in grid.cores
    }
    prompts = [_prompt(record, held[record.core].proposition) for record in grid.records]
    document = {"grid": grid.name, "factors": factors, "cores": cores, "prompts": prompts}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=None)


def is_grid(document: Any) -> bool:
    """Whether plain data means to be a grid."""
    return isinstance(document, dict) and "grid" in document


def _prompt(record: GridRecord, proposition: str | None) -> dict[str, Any]:
    own: dict[str, Any] = {"id": record.id, "core": record.core, **record.factors, "variant": record.variant}
    if record.split is not None:
        own["split"] = record.split
    if record.proposition != proposition and record.proposition is not None:
        own["proposition"] = record.proposition
    return own | {"text": record.text}


def _grid(document: Any, faults: Faults, head: str) -> Grid:
    faults.what = "grid"
    if not is_grid(document):
        raise FormatError(f"{faults.name} is not a grid", expected="a mapping that begins with grid: NAME")
    faults.unknown((), list(document), _TOP, "grid")
    name = document["grid"]
    if not isinstance(name, str) or not name.strip():
        faults.add(("grid",), f"grid must name the grid, got {name!r}")
    for key in ("factors", "cores"):
        if key not in document:
            faults.add((), f"{key} is missing")
    if ("frames" in document) == ("prompts" in document):
        faults.add((), "a grid has either frames, or prompts")
    faults.raise_if_any()
    levels, factors = read_factors(document["factors"], faults.add)
    cores = read_cores(document["cores"], faults.add)
    if "frames" in document:
        records = cross_records(levels, cores, document["frames"], document.get("design") or {}, faults.add)
        faults.raise_if_any()
        used = {record.core for record in records}
        known = tuple(core for core, _ in cores.values() if core.id in used)
        return Grid(name=name, factors=factors, cores=known, records=tuple(records))
    if "design" in document:
        faults.add(("design",), "a design belongs to frames; prompts stand one by one")
    if not document["prompts"]:
        raise no_prompts(faults.name, head)
    draft = Draft(name, faults, factors=factors)
    draft.propositions = {key: core.proposition for key, (core, _) in cores.items() if core.proposition}
    labels = {core.id: core.label for core, _ in cores.values()}
    prompts = document["prompts"]
    if not isinstance(prompts, list):
        faults.add(("prompts",), "prompts must be a list")
    else:
        for index, row in enumerate(prompts):
            _row(draft, index, row, levels, labels)
    return build(draft, head)


def _row(draft: Draft, index: int, row: Any, levels: Mapping[str, list[Any]], labels: Mapping[str, str]) -> None:
    faults, place = draft.faults, ("prompts", index)
    if not isinstance(row, dict):
        faults.add(place, f"prompts[{index}] must be a mapping, got {row!r}")
        return
    faults.unknown(place, list(row), (*_OWN, *levels), "prompt")
    core = row.get("core")
    if not isinstance(core, str) or core_id(core) not in labels:
        faults.add(place, f"core {core!r} is not among the cores{hint(core, list(labels))}")
        return
    for key in ("text", "id", "split", "proposition"):
        if not (row.get(key) is None or isinstance(row[key], str)):
            faults.add((*place, key), f"{key} must be text, got {row[key]!r}; quote it")
            return
    variant = row.get("variant")
    if variant is not None and (not isinstance(variant, int) or isinstance(variant, bool) or variant < 1):
        faults.add((*place, "variant"), f"variant must be a whole number from 1, got {variant!r}")
        variant = None
    factors: dict[str, Any] = {}
    for name, known in levels.items():
        if row.get(name) is None:
            continue
        if row[name] not in known:
            faults.add((*place, name), f"{name} {row[name]!r} is not a level{hint(row[name], list(map(str, known)))}")
            continue
        factors[name] = row[name]
    draft.rows.append(
        Row(
            line=faults.line(place),
            core=labels[core_id(core)],
            text=row.get("text") or "",
            factors=factors,
            proposition=row.get("proposition"),
            id=row.get("id"),
            variant=variant,
            split=row.get("split"),
        )
    )
