"""Intervention records: what was moved, by how much, on which prompt, and what came of it."""

from radiograph.store.interventions._columns import COLUMNS, SCHEMA, column_types, in_order
from radiograph.store.interventions._parse import FOREIGN_CONTROLS
from radiograph.store.interventions._read import Interventions, folded, read_interventions, write_interventions

__all__ = [
    "COLUMNS",
    "FOREIGN_CONTROLS",
    "SCHEMA",
    "Interventions",
    "column_types",
    "folded",
    "in_order",
    "read_interventions",
    "write_interventions",
]
