"""The one module that imports the MCP SDK: the desk behind a server, over stdio or loopback HTTP.

1. verbs run one after another in a worker thread of their own, so that the server answers meanwhile
2. a cancelled call stops at its next word of progress; the server waits for that, so that the transcript is true
3. over stdio, file descriptor 1 carries the protocol alone: whatever else is printed goes to stderr
4. over HTTP the address is 127.0.0.1, Host and Origin are checked, and a body is at most `limits.REQUEST_BYTES`
5. of an investigation, what libraries write on stderr passes through the same hiding as answers
"""

from __future__ import annotations

import asyncio
import io
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from radiograph import __version__
from radiograph.core import MissingExtra, require
from radiograph.core.limits import REQUEST_BYTES
from radiograph.evidence import canonical_json
from radiograph.runtime import RunContext
from radiograph.surfaces.mcp._desk import Desk, Reply, Tool
from radiograph.surfaces.mcp._investigation import read_investigation
from radiograph.surfaces.mcp._watch import Cancelled, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import mcp.types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

MAJOR = 2
_INSTRUCTIONS = (
    "Call session_open first and pass its session_id to every other tool. Every call is kept in a tamper-evident "
    "transcript. Errors are results with a code and a fix. Exit codes of verbs: 0 pass, 2 the gate failed, 4 not "
    "measured or inconclusive."
)


def serve(
    profile: str,
    context: RunContext,
    *,
    transport: Literal["stdio", "http"] = "stdio",
    config: Path | None = None,
    port: int = 0,
) -> None:
    """Serve until the client leaves (stdio) or the process is stopped (HTTP).

    Raises:
        MissingExtra: the SDK is not installed, or of another major version.
        UserError: unknown profile, unusable configuration file.
    """
    _require_sdk()
    desk = Desk(context, profile, read_investigation(config))
    if transport == "stdio":
        asyncio.run(_over_stdio(desk))
        return
    with suppress(KeyboardInterrupt):
        asyncio.run(_over_http(desk, port))


def _require_sdk() -> None:
    require("mcp.server.lowlevel", extra="mcp")
    found = version("mcp")
    if found.partition(".")[0] != str(MAJOR):
        raise MissingExtra(
            "the MCP SDK has another major version",
            expected=f"mcp {MAJOR}.x",
            got=f"mcp {found}",
            fix='pip install "radiograph[mcp]"',
        )


async def _over_stdio(desk: Desk) -> None:
    from mcp.server.stdio import stdio_server

    async with _server(desk) as server, stdio_server() as (reading, writing):
        with redirect_stdout(sys.stderr), _hiding(desk):
            await server.run(reading, writing, server.create_initialization_options())


async def _over_http(desk: Desk, port: int) -> None:
    import uvicorn

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    async with _server(desk) as server:
        app = server.streamable_http_app(host="127.0.0.1", max_request_body_size=REQUEST_BYTES)
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"}) + "\n")
        sys.stdout.flush()
        with _hiding(desk):
            await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listener])


@asynccontextmanager
async def _server(desk: Desk) -> AsyncIterator[Server[Any]]:
    import mcp.types as types
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError

    with ThreadPoolExecutor(1, "verbs") as verbs, ThreadPoolExecutor(4, "quick") as quick:

        async def list_tools(
            ctx: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
        ) -> types.ListToolsResult:
            del ctx, params
            tools = await asyncio.get_running_loop().run_in_executor(quick, lambda: desk.tools)
            return types.ListToolsResult(tools=[_described(tool) for tool in tools.values()])

        async def call_tool(
            ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
        ) -> types.CallToolResult:
            if params.name not in desk.tools:
                raise MCPError(types.INVALID_PARAMS, f"unknown tool {params.name!r}", {"known": list(desk.tools)})
            watch = Watch(_reporter(ctx, desk))
            pool = verbs if desk.slow(params.name) else quick
            return _result(await _answer(desk, pool, params.name, params.arguments or {}, watch))

        yield Server(
            "radiograph",
            version=__version__,
            instructions=_INSTRUCTIONS,
            on_list_tools=list_tools,
            on_call_tool=call_tool,
        )


async def _answer(desk: Desk, pool: ThreadPoolExecutor, tool: str, arguments: dict[str, Any], watch: Watch) -> Reply:
    """Wait for a worker; if the wait is cancelled, tell it, and wait until it has stopped and written that down."""
    import anyio

    work = asyncio.get_running_loop().run_in_executor(pool, _settled, desk, tool, arguments, watch)
    try:
        reply = await asyncio.shield(work)
    except asyncio.CancelledError:
        watch.cancel()
        with anyio.CancelScope(shield=True):
            await work
        raise
    if reply is None:
        raise asyncio.CancelledError
    return reply


def _settled(desk: Desk, tool: str, arguments: dict[str, Any], watch: Watch) -> Reply | None:
    """The reply, or None for a call that was cancelled: no exception has to cross threads."""
    try:
        return desk.call(tool, arguments, watch)
    except Cancelled:
        return None


def _reporter(ctx: ServerRequestContext[Any], desk: Desk) -> Callable[[float, str], None] | None:
    """Progress notifications, from a worker thread, for a client that asked for them."""
    if not ctx.meta or ctx.meta.get("progress_token") is None:
        return None
    loop = asyncio.get_running_loop()

    def report(seconds: float, text: str) -> None:
        asyncio.run_coroutine_threadsafe(ctx.session.report_progress(seconds, message=desk.hide(text)), loop)

    return report


def _described(tool: Tool) -> types.Tool:
    import mcp.types as types

    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
    )


def _result(reply: Reply) -> types.CallToolResult:
    import mcp.types as types

    text = canonical_json(reply.content).decode()
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)],
        structured_content=reply.content,
        is_error=reply.is_error,
    )


@contextmanager
def _hiding(desk: Desk) -> Iterator[None]:
    """While an investigation is served, stderr names no model behind a role."""
    if desk.roles is None:
        yield
        return
    with redirect_stderr(_Hidden(sys.stderr, desk.hide)), redirect_stdout(sys.stderr):
        yield


class _Hidden(io.TextIOBase):
    """A text stream that hides what passes through it."""

    def __init__(self, stream: Any, hide: Callable[[str], str]) -> None:
        self._stream, self._hide = stream, hide

    def write(self, text: str, /) -> int:
        self._stream.write(self._hide(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
