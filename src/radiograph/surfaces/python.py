"""Verbs as Python functions.

    import radiograph

    found = radiograph.inspect("bundled:base", criterion="world:unit", features=["toy"])
    found.headline, found.exit_code, found.path
    radiograph.steer.contrast("bundled:base", criterion="world:unit", site=["resid_post.1"])

Keywords of the verb's configuration in, a frozen result out; what the command line takes without a name is positional
here too. A verb whose name is a package (`harvest`) is `radiograph.verb("harvest")`. Bad input raises `UserError`; a
refusal is a result, with exit code 4, as it is on the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiograph.core import ExitCode, Progress, Silent, UserError, positional


@dataclass(frozen=True)
class Run:
    """A finished run: its evidence, and where its bundle lies. Fields of the result are attributes."""

    result: Any
    exit_code: ExitCode
    path: Path | None
    """None for verbs about runs, which leave no bundle."""
    seal: str | None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "result":
            raise AttributeError(name)
        return getattr(self.result, name)


@dataclass(frozen=True)
class Verbs:
    """A verb, or the verbs that begin with the same words."""

    words: tuple[str, ...]

    def __call__(
        self,
        *arguments: Any,
        out: str | Path | None = None,
        seed: int = 0,
        device: str = "cpu",
        online: bool = False,
        progress: Progress | None = None,
        **config: Any,
    ) -> Run:
        """Run the verb into a bundle.

        Args:
            arguments: what the command line takes without a name, in its order.
            out: the bundle's folder; by default a new one in `runs`.
            seed: of everything random.
            device: where models run.
            online: whether the network may be used.
            progress: where progress goes; by default nowhere.
            config: the verb's options.

        Raises:
            UserError: no such verb, an unknown option, bad input. Refusal: one that another file would mend.
        """
        from radiograph.runtime import Settings, execute, find, resolve
        from radiograph.surfaces._services import services

        verb = find(".".join(self.words))
        names = positional(verb.config)
        if len(arguments) > len(names):
            raise UserError(
                f"{verb.name} takes {len(names)} arguments without a name",
                expected=", ".join(names) or "none",
                got=str(len(arguments)),
            )
        given = {**dict(zip(names, arguments, strict=False)), **config}
        resolved = resolve(verb, given, environment=False)
        settings = Settings(
            seed=seed,
            device=device,
            out=None if out is None else Path(out),
            progress=progress or Silent(),
            offline=not online,
            services=services(),
            commands=verb.may_command(resolved.origins),
        )
        outcome = execute(verb, resolved, settings)
        return Run(outcome.result, outcome.exit_code, outcome.path, outcome.seal)

    def __getattr__(self, name: str) -> Verbs:
        if name.startswith("_"):
            raise AttributeError(name)
        return _verbs((*self.words, name.rstrip("_").replace("_", "-")), name)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        from radiograph.runtime import catalogue

        verb = catalogue().get(".".join(self.words))
        return verb.doc if verb is not None else f"Verbs of `{' '.join(self.words)}`."

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_next(self.words)]


def verb(name: str) -> Callable[..., Run]:
    """The function of a verb, by its name as typed: `harvest`, `steer contrast`.

    Raises:
        UserError: no such verb; the nearest are named.
    """
    from radiograph.runtime import find

    return Verbs(find(name).words)


def top(name: str) -> Verbs:
    """A verb or a group of verbs, by its first word.

    Raises:
        AttributeError: there is none.
    """
    return _verbs((name.rstrip("_").replace("_", "-"),), name)


def names() -> list[str]:
    """First words of all verbs."""
    return _next(())


def _verbs(words: tuple[str, ...], name: str) -> Verbs:
    from radiograph.runtime import catalogue

    if not any(v.words[: len(words)] == words for v in catalogue().values()):
        raise AttributeError(f"radiograph has no verb {name!r}")
    return Verbs(words)


def _next(words: tuple[str, ...]) -> list[str]:
    from radiograph.runtime import catalogue

    depth = len(words)
    found = {v.words[depth] for v in catalogue().values() if v.words[:depth] == words and len(v.words) > depth}
    return sorted(word.replace("-", "_") for word in found)
