"""Work that is dealt to processes survives them, and an error in one reaches the parent as it was."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from radiograph.core import Refusal, UserError, WorkerLost
from radiograph.core.work.process import deal


def square_but_die(folder: Path, number: int) -> int:
    """Kills itself the first time at 2, always at 13; cannot do 99."""
    if number == 99:
        raise UserError("no such number", where="input 99", code="bad_number")
    if number == 98:
        raise Refusal("not_squared", "cannot say")
    mark = folder / str(number)
    if number == 13 or (number == 2 and not mark.exists()):
        mark.touch()
        sys.stderr.write(f"about to die at {number}\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_dead_worker_costs_nothing_but_time(tmp_path):
    found = dict(deal(partial(square_but_die, tmp_path), [1, 2, 3, 4], 2))
    assert found == {0: 1, 1: 4, 2: 9, 3: 16}
    assert (tmp_path / "2").exists()


def test_what_dies_every_time_stops_with_its_last_words(tmp_path):
    with pytest.raises(WorkerLost, match="lost 3 processes, the last with exit code -9") as error:
        list(deal(partial(square_but_die, tmp_path), [13], 2))
    assert "about to die at 13" in str(error.value)


@pytest.mark.parametrize(("number", "kind"), [(99, UserError), (98, Refusal)])
def test_errors_arrive_whole(tmp_path, number, kind):
    with pytest.raises(kind) as error:
        list(deal(partial(square_but_die, tmp_path), [1, number], 2))
    assert error.value.code in ("bad_number", "not_squared")
    assert "number" in str(error.value) or "cannot say" in str(error.value)
