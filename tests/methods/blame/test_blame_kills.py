"""A run that is killed anywhere, and gone on with, leaves the bytes of one that was not."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from forked import fork
from running import contents, go

from .conftest import asked

POINTS = 10
SHARD_ROWS = 6


def killed(number: int, share: float) -> None:
    """`blame`, killed in the middle of the write of one of its shards."""
    from radiograph.store.gradients import _files

    real, seen = _files._safetensors.write, [0]

    def write(path: Path, tensors: object) -> object:
        if seen[0] == number:
            whole = path.with_suffix(".whole")
            real(whole, tensors)  # type: ignore[arg-type]
            data = whole.read_bytes()
            whole.unlink()
            path.write_bytes(data[: int(share * len(data))])
            os.kill(os.getpid(), signal.SIGKILL)
        seen[0] += 1
        return real(path, tensors)  # type: ignore[arg-type]

    _files._safetensors.write = write  # type: ignore[assignment]
    go("blame", out=f"kill-{number}", keep_gradients=True, shard_rows=SHARD_ROWS, **asked(method="datainf"))


@pytest.mark.slow
def test_p8_10_killed_at_ten_random_points_and_resumed_gives_equal_bytes(place):
    whole = go("blame", out="whole", keep_gradients=True, shard_rows=SHARD_ROWS, **asked(method="datainf"))
    told = {k: v for k, v in contents(whole.path).items() if k.startswith(("gradients/", "tables/"))}
    points = random.Random(2).sample(range(POINTS), POINTS)
    for number in points:
        child = fork(killed, number, random.Random(number).random())
        assert child.wait(120) == -signal.SIGKILL
        again = go(
            "blame",
            out=f"again-{number}",
            keep_gradients=True,
            shard_rows=SHARD_ROWS,
            **asked(method="datainf", resume=f"kill-{number}.partial"),
        )
        ours = {k: v for k, v in contents(again.path).items() if k.startswith(("gradients/", "tables/"))}
        assert ours == told, number
        shutil.rmtree(again.path)
