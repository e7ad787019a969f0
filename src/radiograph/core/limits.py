"""Every size limit in one table, so that nobody invents a second one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from radiograph.core.errors import UserError, nearest
from radiograph.core.sizes import read_bytes, read_count

SUITE_BYTES: Final = 8 * 2**20
SUITE_PROMPTS: Final = 20_000
YAML_ALIASES: Final = 100
WORKFLOW_BYTES: Final = 1 * 2**20
DOCUMENT_VALUES: Final = 100_000
WORKFLOW_STEPS: Final = 1_000
ID_CHARACTERS: Final = 80
REPORT_CHARACTERS: Final = 1_200
TOOL_RESULT_BYTES: Final = 64 * 10**3
REQUEST_BYTES: Final = 2**20
PATTERN_CHARACTERS: Final = 500
JSON_LINE_BYTES: Final = 8 * 2**20
CHAT_REPLY_BYTES: Final = 16 * 2**20
DICTIONARY_CONFIG_BYTES: Final = 8 * 2**20
DICTIONARY_JSON_BYTES: Final = 512 * 2**20
DICTIONARY_BYTES: Final = 256 * 2**30

RAISABLE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "tokens": 10**9,
        "features": 4_000_000,
        "width": 65_536,
        "json-bytes": 2**30,
        "losses-bytes": 16 * 2**20,
        "dictionary-bytes": 64 * 2**30,
        "dictionary-tensors": 256,
        "top-k": 10_000,
        "adapters": 16,
        "name-characters": 256,
        "extras": 256,
        "rows": 10_000_000,
        "checkpoints": 4_096,
        "log-bytes": 2**20,
    }
)
"""Limits on what a person hands over, which the same person may raise: `--limit NAME=VALUE` on a command line."""


@dataclass(frozen=True)
class Limits:
    """The raisable limits of a run."""

    raised: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def parse(cls, given: Iterable[str]) -> Limits:
        """Read `NAME=VALUE`, the value as counts or sizes are written.

        Raises:
            UserError: no such limit, no such number, or one given twice.
        """
        raised: dict[str, int] = {}
        for text in given:
            name, equals, value = text.partition("=")
            if name not in RAISABLE or not equals or name in raised:
                close = nearest(name, list(RAISABLE))
                raise UserError(
                    f"limit {text!r}" if name not in raised else f"limit {name} is given twice",
                    expected="NAME=VALUE with one of " + ", ".join(RAISABLE),
                    fix=f"did you mean {', '.join(close)}?" if close else None,
                    code="unknown_limit",
                )
            raised[name] = read_bytes(value) if name.endswith("bytes") else read_count(value)
        return cls(raised)

    def __getitem__(self, name: str) -> int:
        return self.raised.get(name, RAISABLE[name])

    def check(self, name: str, value: int, what: str, where: str | None = None) -> None:
        """Hold a number to its limit; `what` says of what it is the number.

        Raises:
            UserError: `over_limit`, with limit, value and flag.
        """
        if value > self[name]:
            raise UserError(
                f"{what}: more than the limit {name}",
                expected=f"at most {self[name]:,}",
                got=f"{value:,}",
                where=where,
                fix=f"raise it with --limit {name}={value} if you trust the file",
                code="over_limit",
            )
