"""The SDK's own client, driven from plain tests: its event loop runs in a thread."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import CallToolResult

RADIOGRAPH = str(Path(sys.executable).with_name("radiograph"))
VERBS = ("wait", "large", "tell")


def plugin(folder: Path) -> dict[str, str]:
    """Environment in which the verbs of `mcp_verbs` are installed as a plug-in's `test VERB`."""
    info = folder / "mcp_verbs-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mcp-verbs\nVersion: 1\n")
    points = "\n".join(f"test.{name} = mcp_verbs.{name}" for name in VERBS)
    (info / "entry_points.txt").write_text(f"[radiograph.verbs]\n{points}\n")
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(Path(__file__).parent)))}


class Agent:
    """A connection. `with Agent(folder, "--profile", "full") as agent: agent.ok("health")`."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        env: dict[str, str] | None = None,
        mode: str = "auto",
        log: Path | None = None,
        url: str | None = None,
    ) -> None:
        environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **(env or {})}
        self._server = StdioServerParameters(
            command=RADIOGRAPH, args=["mcp", *options], cwd=folder, env=environment, encoding_error_handler="strict"
        )
        self._mode, self._log, self._url = mode, log or Path(os.devnull), url
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> Agent:
        self._thread.start()
        self._ready.result(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with self._log.open("a") as log:
            transport = self._url or stdio_client(self._server, errlog=log)
            try:
                async with Client(transport, mode=self._mode) as self.client:
                    self._ready.set_result(None)
                    await self._stop.wait()
            except BaseException as error:
                if not self._ready.done():
                    self._ready.set_exception(error)
                raise

    def start(self, tool: str, *, progress: list[str] | None = None, **arguments: Any) -> Future[CallToolResult]:
        """A call that is not waited for."""

        async def note(done: float, total: float | None, message: str | None) -> None:
            del done, total
            assert progress is not None
            progress.append(message or "")

        callback = None if progress is None else note
        call = self.client.call_tool(tool, arguments, progress_callback=callback)
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def call(self, tool: str, **arguments: Any) -> CallToolResult:
        return self.start(tool, **arguments).result(120)

    def ok(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a call that must succeed."""
        result = self.call(tool, **arguments)
        assert not result.is_error, result.structured_content
        return self._content(result)

    def error(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The problem of a call that must fail."""
        result = self.call(tool, **arguments)
        assert result.is_error, result.structured_content
        return self._content(result)

    def open(self, **arguments: Any) -> str:
        return self.ok("session_open", **arguments)["session_id"]

    def tools(self) -> dict[str, Any]:
        listed = asyncio.run_coroutine_threadsafe(self.client.list_tools(), self._loop).result(60)
        return {tool.name: tool for tool in listed.tools}

    @staticmethod
    def _content(result: CallToolResult) -> dict[str, Any]:
        (block,) = result.content
        assert json.loads(block.text) == result.structured_content
        return result.structured_content


def session_folder(workspace: Path, session: str) -> Path:
    (folder,) = (workspace / "runs").glob(f"session-*-{session}")
    return folder


def entries(workspace: Path, session: str) -> list[dict[str, Any]]:
    log = session_folder(workspace, session) / "tool_calls.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()]
