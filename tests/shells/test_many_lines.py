"""Lines that ask for nothing: however many come at once, others get their turn between them."""

import socket

import anyio
import anyio.lowlevel
import pytest

from tests.shells.serving import PATIENCE
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_mcp.server import mcp_server
from tmws_mcp.session import Session
from tmws_mcp.wire import Wire

pytestmark = pytest.mark.anyio

LINES = 2000


async def opened() -> App:
    raise AssertionError("nothing is asked for")


def nobody(_: object) -> Caller:
    raise AssertionError("nobody asks")


@pytest.mark.parametrize("line", [b"\n", b'{"jsonrpc":"2.0","method":"a"}\n'])
async def test_others_have_their_turn_between_many_lines(line: bytes) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
        theirs.sendall(line * LINES)
        theirs.shutdown(socket.SHUT_WR)
        server = mcp_server(opened, toolsets=("memory",), caller_of=nobody)
        session = Session(wire=Wire(ours.fileno()), server=server, operations={}, timeout=PATIENCE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_turns)
            with anyio.fail_after(PATIENCE):
                await session.run()
            tasks.cancel_scope.cancel()
    assert session.taken == LINES
    assert turns >= LINES
