"""Hub datasets: `hf:NAME[:CONFIG]@REVISION#SPLIT`, streamed row by row, never run as code.

The revision pins what is read, so it is required. `SPLIT` may say how many rows, as in `train[:10000]`: a subset by
hash (`--max-prompts`) has to see every id. NAME may be a folder of files; its revision is then the word `local`, so
that nobody takes it for a pinned one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from radiograph.core import UserError, require

FORM = "hf:NAME[:CONFIG]@REVISION#SPLIT"
_FORM = re.compile(
    r"hf:(?P<name>[^:@#]+)(?::(?P<config>[^@#]+))?@(?P<revision>[^#]+)#(?P<split>[\w.-]+)(?:\[:(?P<rows>[1-9]\d*)\])?"
)
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A parsed source."""

    name: str
    config: str | None
    revision: str
    split: str
    limit: int | None = None

    @classmethod
    def parse(cls, text: str) -> Dataset:
        """Read a source string.

        Raises:
            UserError: another form; no revision.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            fix = None if "@" in text else "name the revision: @COMMIT, since a branch may change under you"
            raise UserError(f"not a dataset source: {text!r}", expected=FORM, fix=fix, code="no_revision")
        rows = match["rows"]
        return cls(match["name"], match["config"], match["revision"], match["split"], int(rows) if rows else None)

    @property
    def folder(self) -> Path | None:
        """The folder that it is, if it is one."""
        return Path(self.name) if Path(self.name).is_dir() else None

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row of the split, as it comes.

        Raises:
            UserError: no such dataset, revision or split; the network is down.
            MissingExtra: `datasets` is not installed.
        """
        library = require("datasets", "datasets")
        if (self.folder is not None) != (self.revision == LOCAL):
            raise UserError(
                f"{self.name} is {'a folder here' if self.folder else 'no folder here'}",
                expected=f"revision {LOCAL!r} for a folder, a commit for a dataset of the hub",
                got=self.revision,
                code="no_revision",
            )
        pinned = {} if self.folder else {"revision": self.revision}
        try:
            found = library.load_dataset(self.name, self.config, split=self.split, streaming=True, **pinned)
            yield from islice(found, self.limit)
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # the library's and the network's own errors derive from them
            raise UserError(
                f"cannot read {self.name}", got=str(error).splitlines()[0][:300], code="dataset_unreadable"
            ) from error
