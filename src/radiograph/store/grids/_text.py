"""The line format of grids: cores, bracket factors, `word: text`.

    >> CORE_ID: name        a new core; bracket factors are forgotten
    >> PROPOSITION: text    its plain statement
    >> COLUMN: register     the factor that the words before the colons are levels of (`type` by default)
    [LEVEL 3]  [TONE dry]   a factor of the prompts that follow, until the next core or another value
    word: text              one prompt

Lines are stripped first; empty ones, and those that start with `#` or `---`, are skipped. What stands before the first
prompt and fits nothing is a preamble; later it becomes a note with its number, as do a core without prompts and a
prompt before its core or, where the file has bracket factors, before any of them.
"""

from __future__ import annotations

import re

from radiograph.core import UserError
from radiograph.evidence import NAME, RESERVED, Grid, GridNote, GridRecord, core_id
from radiograph.store._located import Faults
from radiograph.store.grids._rows import Draft, Row, build

_COMMAND = re.compile(r">>\s*(CORE_ID|PROPOSITION|COLUMN)\s*:\s*(.*)", re.IGNORECASE)
_BRACKET = re.compile(r"\[\s*([A-Z][A-Z0-9_]*|level)\s+([^\]]*?)\s*\]")
_PROMPT = re.compile(r"([^\W\d]+)\s*:(?:\s+|$)(.*)|([^\W\d]+):(\S.*)")
_WHOLE = re.compile(r"[+-]?\d+")
_WORD = re.compile(r"[^\W\d]+")


class _Reader:
    """One pass over the lines."""

    def __init__(self, name: str, faults: Faults, brackets: bool) -> None:
        self.draft = Draft(name, faults)
        self.core: str | None = None
        self.core_line = 0
        self.used = True
        """Whether the core has a prompt."""
        self.column = "type"
        self.factors: dict[str, str] = {}
        self.brackets = brackets

    def read(self, number: int, line: str) -> None:
        if not line or line.startswith(("#", "---")):
            return
        if found := _COMMAND.fullmatch(line):
            self._command(number, found[1].upper(), found[2].strip())
        elif found := _BRACKET.fullmatch(line):
            self._bracket(number, found[1].lower(), found[2])
        elif found := _PROMPT.fullmatch(line):
            self._prompt(number, found[1] or found[3], (found[2] or found[4] or "").strip())
        elif self.draft.rows:
            self._note(number, "neither a core, a factor nor a prompt")

    def end_core(self) -> None:
        if self.core is not None and not self.used:
            self._note(self.core_line, f"core {self.core!r} has no prompts")

    def _command(self, number: int, command: str, value: str) -> None:
        faults = self.draft.faults
        if not value:
            faults.at(number, f"`>> {command}:` has nothing after the colon")
        elif command == "COLUMN":
            if self.draft.rows:
                faults.at(number, "`>> COLUMN:` stands after the first prompt; put it at the top")
            elif not _is_name(value.lower()):
                faults.at(number, f"{value!r} cannot name a factor")
            else:
                self.column = value.lower()
        elif command == "CORE_ID":
            self.end_core()
            self.core, self.core_line, self.used, self.factors = value, number, False, {}
        elif self.core is None:
            self._note(number, "a proposition before any core")
        elif self.draft.propositions.setdefault(core_id(self.core), value) != value:
            faults.at(number, f"core {self.core!r} has another proposition already")

    def _bracket(self, number: int, name: str, value: str) -> None:
        faults = self.draft.faults
        if name == "level" and not _WHOLE.fullmatch(value):
            faults.at(number, f"[LEVEL {value}]: a level is a whole number, as in [LEVEL 3]")
        elif not _is_name(name) or not value:
            faults.at(number, f"[{name.upper()} {value}] names no factor and value that a grid can hold")
        else:
            self.factors[name] = str(int(value)) if name == "level" else value

    def _prompt(self, number: int, word: str, text: str) -> None:
        if self.core is None or (self.brackets and not self.factors):
            missing = "core" if self.core is None else "level"
            self._note(number, f"`{word}:` stands before its {missing}, so it is no prompt")
            return
        self.used = True
        factors = {self.column: word.lower(), **self.factors}
        self.draft.rows.append(Row(line=number, core=self.core, text=text, factors=factors))

    def _note(self, number: int, text: str) -> None:
        self.draft.notes.append(GridNote(line=number, text=text))


def parse_text(text: str, name: str, file: str) -> Grid:
    """A grid in the line format.

    Raises:
        FormatError: no prompts. UserError: every mistake, with its line.
    """
    lines = [line.strip() for line in text.splitlines()]
    faults = Faults(file, what="grid")
    reader = _Reader(name, faults, any(_BRACKET.fullmatch(line) for line in lines))
    for number, line in enumerate(lines, start=1):
        reader.read(number, line)
    reader.end_core()
    return build(reader.draft, text)


def text_of(grid: Grid) -> str:
    """The line format; it is read back, so nothing is lost in silence.

    Raises:
        UserError: the grid holds what this format cannot.
    """
    column = _column(grid)
    cores = {core.id: core for core in grid.cores}
    out: list[str] = [] if column == "type" else [f">> COLUMN: {column}", ""]
    last: GridRecord | None = None
    told: set[str] = set()
    for record in grid.records:
        brackets = {name: value for name, value in record.factors.items() if name != column}
        before = {} if last is None else {name: value for name, value in last.factors.items() if name != column}
        if last is None or last.core != record.core or not set(before) <= set(brackets):
            out += [*([""] if told else []), f">> CORE_ID: {cores[record.core].label}"]
            before = {}
            if record.core not in told and cores[record.core].proposition is not None:
                out.append(f">> PROPOSITION: {cores[record.core].proposition}")
            told.add(record.core)
        out += [f"[{name.upper()} {value}]" for name, value in brackets.items() if before.get(name) != value]
        out.append(f"{record.factors.get(column, '')}: {record.text}")
        last = record
    text = "\n".join(out) + "\n"
    _check(grid, text)
    return text


def _column(grid: Grid) -> str:
    """The factor whose levels stand before the colons."""
    fit = [
        name
        for name in sorted(grid.factors, key=lambda name: name != "type")
        if all(_WORD.fullmatch(str(record.factors.get(name, ""))) for record in grid.records)
    ]
    if not fit:
        raise _unwritable(grid, "no factor has a level of letters alone in every prompt")
    return fit[0]


def _check(grid: Grid, text: str) -> None:
    try:
        again = parse_text(text, grid.name, grid.name).records
    except UserError as error:
        raise _unwritable(grid, error.where or error.message) from error
    for i, record in enumerate(grid.records):
        read = again[i] if i < len(again) else None
        if read is None or read.model_dump(exclude={"line"}) != record.model_dump(exclude={"line"}):
            raise _unwritable(grid, f"prompt {record.id} would come back as another")
    if len(again) != len(grid.records):
        raise _unwritable(grid, "it would come back longer")


def _unwritable(grid: Grid, why: str) -> UserError:
    return UserError(f"{grid.name} cannot be written as text", got=why, fix="write CSV or YAML", code="unwritable")


def _is_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None and name not in RESERVED
