"""Floor 3: a criterion in words becomes labelled rows, grouped, split in halves, and checked for what their form shows.

    parts = Parts(text="mentions of physical units", prompts=read_prompts(path))
    compiled = compile_criterion(parts, seed=0)
    write_compiled(compiled, folder)

Records that carry activations already go through `prepare_records`: columns in, columns out.
"""

from radiograph.criteria._compile import Compiled, columns, compile_criterion
from radiograph.criteria._find import Route, available, routes
from radiograph.criteria._parts import Document, Drawn, Parts, Position, World
from radiograph.criteria._prompts import Prompts, Template, prompts_of_suite, read_prompts, read_template
from radiograph.criteria._records import Prepared, Records, check_texts, kinds_of, prepare_records
from radiograph.criteria._rows import Row
from radiograph.criteria._split import split_of_rows
from radiograph.criteria._stored import ROWS, from_columns, read_compiled, read_split, write_compiled

__all__ = [
    "ROWS",
    "Compiled",
    "Document",
    "Drawn",
    "Parts",
    "Position",
    "Prepared",
    "Prompts",
    "Records",
    "Route",
    "Row",
    "Template",
    "World",
    "available",
    "check_texts",
    "columns",
    "compile_criterion",
    "from_columns",
    "kinds_of",
    "prepare_records",
    "prompts_of_suite",
    "read_compiled",
    "read_prompts",
    "read_split",
    "read_template",
    "routes",
    "split_of_rows",
    "write_compiled",
]
