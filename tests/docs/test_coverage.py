"""The page for people who come from interp-lab names verbs and options that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from radiograph.core import positional
from radiograph.runtime import catalogue

PAGE = Path(__file__).parents[2] / "docs/guides/coming-from-interp-lab.md"
COMMANDS = [
    text for text in re.findall(r"`(radiograph [^`]+)`", PAGE.read_text()) if not text.startswith("radiograph.")
]
SHARED = {"--out", "--json", "--seed", "--device", "--online", "--config"}


@pytest.mark.parametrize("command", COMMANDS)
def test_z_every_command_of_the_page_is_one(command):
    words = shlex.split(command)[1:]
    verb = max((v for v in catalogue().values() if tuple(words[: len(v.words)]) == v.words), key=lambda v: len(v.words))
    rest = words[len(verb.words) :]
    fields = verb.config.model_fields
    options = {f"--{name.rstrip('_').replace('_', '-')}" for name in fields}
    flags = {word for word in rest if word.startswith("--")}
    assert flags <= options | {f"--no-{o[2:]}" for o in options} | SHARED
    values = [w for i, w in enumerate(rest) if not w.startswith("--") and not (i and rest[i - 1].startswith("--"))]
    assert len(values) <= max(1, len(positional(verb.config)))
    required = {name for name in positional(verb.config) if fields[name].is_required()}
    assert len(values) >= len(required)
