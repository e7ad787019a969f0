"""Models under role names: an investigator sees `ref` and `cand`, never what stands behind them.

1. `real` turns a role into the reference that is loaded; anything else is refused with the known roles
2. `hide` replaces, in a text, whatever would name a model: its reference, each side of `BASE+ADAPTER`, the path as
   given, resolved and relative, its last part, a hub id in its cache spelling; longest first, whatever the case
3. `hidden` does so in every text and key of a document

Over-hiding is harmless, a leak is not: a name is replaced wherever it stands between characters that are neither
letters nor digits. Refuses names of fewer than three characters, which cannot be told from ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from radiograph.core import UserError, visible
from radiograph.store import Workspace


class Roles:
    """The models of an investigation."""

    def __init__(self, models: Mapping[str, str], workspace: Workspace) -> None:
        """Take role to reference.

        Raises:
            UserError: a name that is too short to be hidden.
        """
        self.models = dict(models)
        self._workspace = workspace
        for role, name in ((r, n) for r, real in self.models.items() for n in _names(real, workspace)):
            if len(name) < 3:
                raise UserError(
                    f"the name {visible(name)!r} behind {role} is too short to be kept out of results",
                    expected="names of three characters or more",
                    fix="rename the folder",
                    code="bad_value",
                )

    def real(self, role: str) -> str:
        """The reference behind a role.

        Raises:
            UserError: not a role. It does not repeat what was asked for: hiding a name would confirm a guess.
        """
        if role not in self.models:
            raise UserError(
                "no such model in this investigation",
                expected="one of " + ", ".join(self.models),
                code="unknown_role",
            )
        return self.models[role]

    def hide(self, text: str) -> str:
        """The text with every name replaced by its role."""
        return self._pattern.sub(lambda match: self._roles[match[0].lower()], text)

    def hidden(self, document: Any) -> Any:
        """The document with every name replaced."""
        if isinstance(document, str):
            return self.hide(document)
        if isinstance(document, Mapping):
            return {self.hide(str(k)): self.hidden(v) for k, v in document.items()}
        if isinstance(document, list | tuple):
            return [self.hidden(v) for v in document]
        return document

    @cached_property
    def _roles(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for role, real in self.models.items():
            for name in _names(real, self._workspace):
                found.setdefault(name.lower(), role)
        return found

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        names = "|".join(re.escape(n) for n in sorted(self._roles, key=len, reverse=True))
        return re.compile(f"(?<![A-Za-z0-9])(?:{names})(?![A-Za-z0-9])" if names else r"(?!)", re.IGNORECASE)


def _names(reference: str, workspace: Workspace) -> list[str]:
    found = [reference]
    for side in reference.split("+"):
        found.append(side)
        if ":" in side:
            found.append(side.partition(":")[2])
            continue
        name = side.partition("@")[0].rstrip("/")
        given = workspace.base / Path(name).expanduser()
        for path in (given, given.resolve()):
            found += [str(path), path.name, workspace.label(path)]
        found += [name, PurePosixPath(name).name]
        if name.count("/") == 1:
            found.append("models--" + name.replace("/", "--"))
    return [n for n in dict.fromkeys(found) if n not in ("", ".", "..")]
