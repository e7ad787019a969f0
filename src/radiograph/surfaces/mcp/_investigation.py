"""The file behind `--config`: the only models there are, under role names, and what a session may spend.

    title: "what did the fine-tune change?"
    models: {ref: "bundled:base", cand: "bundled:base+adapters/a1"}
    budgets: {calls: 50, seconds: 600, bytes: 2000000}

Without `models` the server is a workbench, where plain references are accepted. `${NAME}` comes from the environment.
Local models must lie in the workspace; a file that names another file is refused, as every unknown key is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from radiograph.core import Config, FormatError
from radiograph.runtime import Roles, expand_environment, read_mapping
from radiograph.store import Workspace

Role = Annotated[str, Field(pattern=r"^(ref|cand(_[2-9])?)$")]


class Budgets(Config):
    """What a session may spend; None is no limit."""

    calls: int | None = Field(default=None, ge=1)
    """Calls of verbs."""
    seconds: float | None = Field(default=None, gt=0)
    """Working time of all calls together; a call under way is stopped when it is spent."""
    bytes: int | None = Field(default=None, ge=1)
    """Size of all results that were sent."""


class Investigation(Config):
    """What a server was set up for."""

    title: str = ""
    models: dict[Role, str] = Field(default_factory=dict)
    budgets: Budgets = Budgets()

    def roles(self, workspace: Workspace) -> Roles | None:
        """The models by role, or None on a workbench.

        Raises:
            UserError: a model outside the workspace, or one whose name is too short to be hidden.
        """
        for reference in self.models.values():
            workspace.confine(reference)
        return Roles(self.models, workspace) if self.models else None


def read_investigation(path: Path | None) -> Investigation:
    """Read and validate the file; None is a workbench without budgets.

    Raises:
        FormatError: not such a file, with the key that is wrong. UserError: an undefined `${NAME}`.
    """
    if path is None:
        return Investigation()
    document: Any = expand_environment(read_mapping(path), path.name)
    try:
        return Investigation.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise FormatError(f"{path.name} is not an investigation", where=place, got=first["msg"]) from error
