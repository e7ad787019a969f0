"""The errors that reach a person, each with what was expected, what came, where, and what to do next.

A typo, a failed gate and a missing measurement never look alike: every error class carries the exit code
that the command line returns for it.

    0 pass · 1 internal error · 2 the gate failed · 3 bad input or usage · 4 not measured · 130 interrupted
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a run says to the shell that started it."""

    PASS = 0
    INTERNAL = 1
    GATE_FAILED = 2
    BAD_INPUT = 3
    NOT_MEASURED = 4
    INTERRUPTED = 130


class RadiographError(Exception):
    """Base of every error that radiograph raises on purpose."""

    exit_code: ExitCode = ExitCode.INTERNAL


class UserError(RadiographError):
    """The input cannot be used as given (exit 3).

    `where` names the place (file and line, key, option); `fix` says what to do about it.
    """

    exit_code = ExitCode.BAD_INPUT
    code = "bad_input"

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        where: str | None = None,
        fix: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.got = got
        self.where = where
        self.fix = fix
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        lines = [self.message]
        for label, text in (
            ("where", self.where),
            ("expected", self.expected),
            ("got", self.got),
            ("fix", self.fix),
        ):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


class FormatError(UserError):
    """A file is not what its name or schema promises (exit 3)."""

    code = "format"


class MissingExtra(UserError):
    """An optional dependency is not installed, or has the wrong version (exit 3)."""

    code = "missing_extra"


class WorkerLost(RadiographError):
    """Worker processes died at the same piece of work, again and again (exit 1)."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message, said)
        self.message = message
        self.said = said
        """The last lines of the last one's stderr."""

    def __str__(self) -> str:
        return f"{self.message}\n{self.said}"


class Refusal(RadiographError):
    """Nothing can be said, and why: a result, never a pass and never a zero.

    Exit 4; a mismatch that another file would mend (`fixable=True`) is bad input, exit 3.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        fix: str | None = None,
        fixable: bool = False,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.expected = expected
        self.got = got
        self.fix = fix
        self.exit_code = ExitCode.BAD_INPUT if fixable else ExitCode.NOT_MEASURED

    def __str__(self) -> str:
        lines = [f"{self.message} [{self.code}]"]
        for label, text in (("expected", self.expected), ("got", self.got), ("fix", self.fix)):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


def nearest(word: str, known: list[str], n: int = 3) -> list[str]:
    """The `n` known words most like a misspelt one, for the `fix` line of an error."""
    from difflib import get_close_matches

    return get_close_matches(word, known, n=n, cutoff=0.5)
