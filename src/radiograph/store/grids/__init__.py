"""Grid files: the line format, CSV, YAML, and the grids that come with the package."""

from radiograph.store.grids._csv import csv_of, parse_csv
from radiograph.store.grids._files import read_grid, shipped_grids, shipped_path, write_grid
from radiograph.store.grids._text import parse_text, text_of
from radiograph.store.grids._yaml import is_grid, parse_yaml, yaml_of

__all__ = [
    "csv_of",
    "is_grid",
    "parse_csv",
    "parse_text",
    "parse_yaml",
    "read_grid",
    "shipped_grids",
    "shipped_path",
    "text_of",
    "write_grid",
    "yaml_of",
]
