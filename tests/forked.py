"""A process of its own without the seconds that importing torch takes: a fork of a server that has loaded the package.

The server is a clean process, not the one that runs tests: thread pools (polars, tokenizers) do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["everything"])


class Child:
    """A running child; the part of `subprocess.Popen` that tests use."""

    def __init__(self, call: Callable[..., object], arguments: tuple[Any, ...], output: Path | None):
        self._process = SERVER.Process(target=_run, args=(call, arguments, Path.cwd(), output))
        self._process.start()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"process {self.pid} does not end"
        return code


def fork(call: Callable[..., object], *arguments: Any, output: Path | None = None) -> Child:
    """Run `call` in a child in this folder, in a session of its own; its exit code is that of a script.

    What it prints goes to `output`, or nowhere.
    """
    return Child(call, arguments, output)


def _run(call: Callable[..., object], arguments: tuple[Any, ...], folder: Path, output: Path | None) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sink = os.open(output or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.chdir(folder)
    call(*arguments)
