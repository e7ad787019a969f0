"""The verbs there are, read from the files they live in.

1. Every `methods/**/NAME.py` that does not start with an underscore is a verb; its path is its name
   (`methods/weights/diff.py` is `weights diff`), and a trailing underscore is dropped (`import_.py` is `import`).
2. Its first docstring line is read from the source, so that listing verbs imports none of them.
3. The module is imported only when its configuration or its `run` is needed; it must not import torch at its top.
4. `ALIASES = ("adapters bisect",)` in a verb's file are former names of it: they work when typed, are listed nowhere
   and are read from the source, too.
5. Other packages join through the entry-point group `radiograph.verbs`: name `weights.diff`, value the module.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from radiograph.core import Config, UserError, nearest

if TYPE_CHECKING:
    from radiograph.evidence import Result

GROUP = "radiograph.verbs"
ALIASES = "ALIASES"


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its words, where it lives, and, on demand, what it takes and does."""

    words: tuple[str, ...]
    module_name: str
    source: Path

    @property
    def name(self) -> str:
        """As typed: `weights diff`."""
        return " ".join(self.words)

    @property
    def key(self) -> str:
        """In workflows and folder names: `weights.diff`."""
        return ".".join(self.words)

    @property
    def tool(self) -> str:
        """As an MCP tool: `weights_diff`."""
        return "_".join(self.words).replace("-", "_")

    @property
    def doc(self) -> str:
        """The module docstring, read without importing."""
        return ast.get_docstring(ast.parse(self.source.read_text(encoding="utf-8"))) or ""

    @property
    def summary(self) -> str:
        """Its first line."""
        return self.doc.partition("\n")[0]

    @property
    def module(self) -> ModuleType:
        """The imported file."""
        return import_module(self.module_name)

    @property
    def config(self) -> type[Config]:
        """Its configuration class."""
        return self.module.Config

    @property
    def run(self) -> Callable[[Any, Any], Any]:
        """Its function."""
        return self.module.run

    @property
    def results(self) -> list[type[Result]]:
        """What `run` says it returns. A verb names it without importing it, so it is looked up where the file does."""
        named = inspect.get_annotations(self.run)["return"]
        if isinstance(named, type):
            return [named]
        tree = ast.parse(self.source.read_text(encoding="utf-8"))
        homes = {a.asname or a.name: n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
        words = [node.id for node in ast.walk(ast.parse(named)) if isinstance(node, ast.Name)]
        return [getattr(import_module(homes.get(word) or self.module_name), word) for word in words]

    @property
    def rules(self) -> dict[str, int]:
        """Versions of what a run's conclusions follow from (`RULES = {"shift": 2}`): `verify` derives no others again.
        Empty: the verb keeps none, or its result does.
        """
        return dict(getattr(self.module, "RULES", {}))

    @property
    def serves(self) -> bool:
        """True for verbs that run until they are stopped (`SERVES = True`): never a tool, never a step."""
        return getattr(self.module, "SERVES", False)

    @property
    def limits(self) -> tuple[str, ...]:
        """Raisable limits that a run holds its input to (`LIMITS = ("tokens", "width")`)."""
        return tuple(getattr(self.module, "LIMITS", ()))

    @property
    def downloads(self) -> bool:
        """Whether a run may fetch a listed file where a person types so (`DOWNLOADS = True`)."""
        return getattr(self.module, "DOWNLOADS", False)

    @property
    def commands(self) -> tuple[str, ...] | None:
        """Options that name a program to run (`COMMANDS = ("eval_",)`): one that was typed may run, one of a file with
        `--allow-commands`. Empty: only what a file names. None: no such option.
        """
        return getattr(self.module, "COMMANDS", None)

    def may_command(self, origins: Mapping[str, str]) -> bool:
        """Whether every program that the configuration names was typed."""
        named = [origins.get(name, "default") for name in self.commands or ()]
        return bool(named) and all(origin in ("command line", "default") for origin in named)

    @property
    def writes_bundle(self) -> bool:
        """False for verbs about runs or surfaces, which say so with `BUNDLE = False`."""
        return getattr(self.module, "BUNDLE", True)

    def leaves_bundle(self, config: Config) -> bool:
        """Whether a run with this configuration leaves one: a verb may look at itself with `leaves_bundle(config)`."""
        own = getattr(self.module, "leaves_bundle", None)
        return self.writes_bundle if own is None else bool(own(config))


@cache
def catalogue() -> dict[str, Verb]:
    """Every verb by key, sorted."""
    import radiograph.methods as methods

    verbs: dict[str, Verb] = {}
    for root in methods.__path__:
        for path in sorted(Path(root).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if any(p.startswith("_") for p in parts):
                continue
            words = tuple(p.rstrip("_").replace("_", "-") for p in parts)
            verb = Verb(words, ".".join((methods.__name__, *parts)), path)
            verbs[verb.key] = verb
    for point in entry_points(group=GROUP):
        spec = find_spec(point.value)
        if spec is None or spec.origin is None:
            continue
        verb = Verb(tuple(point.name.split(".")), point.value, Path(spec.origin))
        if verb.key in verbs:
            raise UserError(
                f"the verb {verb.name!r} exists twice",
                where=f"entry point {point.name} = {point.value}",
                fix="rename the plug-in's verb",
            )
        verbs[verb.key] = verb
    return dict(sorted(verbs.items()))


def aliases() -> dict[str, Verb]:
    """Former names, with dots, and the verbs that they are now."""
    found: dict[str, Verb] = {}
    for verb in catalogue().values():
        text = verb.source.read_text(encoding="utf-8")
        if f"\n{ALIASES} = " not in text:
            continue
        for node in ast.parse(text).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(t, ast.Name) and t.id == ALIASES for t in targets):
                names: tuple[str, ...] = ast.literal_eval(node.value)  # type: ignore[union-attr]
                found |= {name.replace(" ", "."): verb for name in names}
    return {name: verb for name, verb in found.items() if name not in catalogue()}


def find(name: str) -> Verb:
    """The verb of a name written with blanks, dots or underscores.

    Raises:
        UserError: no such verb; the nearest are named.
    """
    verbs = catalogue()
    wanted = name.replace(" ", ".")
    for verb in verbs.values():
        if wanted == verb.key or name == verb.tool:
            return verb
    close = nearest(wanted, list(verbs))
    raise UserError(
        f"no verb {name!r}",
        expected="one of " + ", ".join(verbs),
        fix=f"did you mean {', '.join(close)}?" if close else "see `radiograph --help`",
        code="unknown_verb",
    )


def find_line(words: Sequence[str]) -> Verb:
    """The verb that a command line begins with: as many of its words as make one, a former name too.

    Raises:
        UserError: no such verb; the nearest are named.
    """
    verbs = catalogue() | aliases()
    for count in range(len(words), 0, -1):
        if (verb := verbs.get(".".join(words[:count]))) is not None:
            return verb
    first = [word for word in words[:2] if not word.startswith("-") and "{" not in word]
    known = {name.partition(".")[0] for name in verbs}
    return find(" ".join(first if first[:1] and first[0] in known else first[:1]))
