"""`intervene`, killed at any moment and gone on with, leaves the bytes of one that ran through."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from forked import Child, fork
from moved import plant, write_prompts
from radiograph.core import UserError
from radiograph.methods._intervene.prepare import FOLDER
from radiograph.runtime import verify
from radiograph.store import REPORTS, TIMED
from running import contents, go

from .test_intervene import ASKED

KILLS = 20


def once(out: str, more: dict[str, Any]) -> None:
    go("intervene", out=out, **ASKED, **more)


def gone_on(number: int) -> Path:
    """Run to its end what was killed, from what is left of it."""
    left, out = Path(f"killed-{number}.partial"), f"again-{number}"
    if Path(f"killed-{number}").is_dir():
        return Path(f"killed-{number}")
    try:
        once(out, {"resume": left.name} if left.is_dir() else {})
    except UserError as problem:  # killed before it had begun to write what can be gone on with
        assert problem.code == "no_run", problem
        once(out, {})
    return Path(out)


def measured(out: str, child: Child) -> None:
    """Wait until it measures, or has ended."""
    place = Path(f"{out}.partial") / FOLDER
    while child.poll() is None and not any(place.glob("**/0*.json")):
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_x5_8_twenty_kills_end_with_the_uninterrupted_bytes(workspace):
    plant(workspace / "planted")
    write_prompts(workspace / "prompts.jsonl")
    assert fork(once, "whole", {}).wait(120) == 0
    same, began = fork(once, "same", {}), time.monotonic()
    measured("same", same)
    before = time.monotonic() - began
    assert same.wait(120) == 0
    after = time.monotonic() - began - before
    whole = contents(Path("whole"))
    moments, killed, begun = random.Random(0), 0, 0
    for number in range(KILLS):
        out = f"killed-{number}"
        child = fork(once, out, {})
        if number % 4:  # most of them while it measures and writes, whatever the machine does meanwhile
            measured(out, child)
            time.sleep(moments.uniform(0, after))
        else:
            time.sleep(moments.uniform(0, before))
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
        killed += child.wait(120) == -signal.SIGKILL
        left = Path(f"{out}.partial")
        if left.is_dir():
            begun += any((left / FOLDER).glob("**/0*.json"))
            assert verify(left).status == "incomplete"
        path = gone_on(number)
        found = contents(path)
        assert found.keys() == whole.keys(), number
        assert {name for name in whole if found[name] != whole[name]} <= TIMED | REPORTS, number
        assert verify(path).status == "intact"
    assert killed >= KILLS // 2 and begun >= KILLS // 4
