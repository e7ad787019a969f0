"""Grid files by their kind, and the grids that come with the package."""

from __future__ import annotations

from pathlib import Path

from radiograph.core import FormatError, UserError, nearest
from radiograph.core.limits import SUITE_BYTES
from radiograph.evidence import Grid
from radiograph.store.grids._csv import csv_of, parse_csv
from radiograph.store.grids._rows import decoded
from radiograph.store.grids._text import parse_text, text_of
from radiograph.store.grids._yaml import parse_yaml, yaml_of

SHIPPED = Path(__file__).parent / "shipped"
_YAML = (".yaml", ".yml", ".json")
_WRITERS = {".txt": text_of, ".csv": csv_of, ".yaml": yaml_of, ".yml": yaml_of}


def read_grid(path: Path) -> Grid:
    """A grid file: CSV and YAML by their endings, anything else in the line format.

    Raises:
        FormatError: not a grid, or not readable. UserError: every mistake, with its line.
    """
    if not path.is_file():
        raise UserError(f"{path.name} is not a file", expected="a grid: text, CSV or YAML", code="not_found")
    if path.stat().st_size > SUITE_BYTES:
        raise FormatError(f"{path.name} is larger than {SUITE_BYTES // 2**20} MiB", where=path.name)
    ending = path.suffix.lower()
    if ending in _YAML:
        return parse_yaml(path)
    parse = parse_csv if ending == ".csv" else parse_text
    return parse(decoded(path.read_bytes(), path.name), path.stem, path.name)


def write_grid(grid: Grid, path: Path) -> None:
    """Write a grid in the format of the ending: `.txt`, `.csv`, `.yaml`.

    Raises:
        UserError: another ending, or a grid that the line format cannot hold.
    """
    from radiograph.store._atomic import write_whole

    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UserError(f"{path.name}: no format for {path.suffix!r}", expected=", ".join(_WRITERS), code="bad_value")
    data = writer(grid).encode()
    write_whole(path, [data], len(data))


def shipped_grids() -> tuple[str, ...]:
    """Names of the grids that come with the package."""
    return tuple(sorted(path.stem for path in SHIPPED.iterdir() if path.suffix in (".yaml", ".csv")))


def shipped_path(name: str) -> Path:
    """The file of a grid that comes with the package.

    Raises:
        UserError: no such grid; the nearest names.
    """
    known = shipped_grids()
    if name not in known:
        close = nearest(name, list(known))
        raise UserError(
            f"no grid {name!r}",
            expected=f"a file, or one of {', '.join(known)}",
            fix=f"did you mean {' or '.join(close)}?" if close else None,
            code="not_found",
        )
    return next(path for path in SHIPPED.iterdir() if path.stem == name)
