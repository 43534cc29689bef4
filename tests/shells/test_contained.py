"""What a request is answered that does not come to its end."""

import asyncio
import contextlib
import json

import pytest
from starlette.types import Message, Receive, Scope, Send

from tmws_mcp.contained import Contained


@pytest.mark.anyio
async def test_request_that_is_cut_off_by_the_end_of_the_server_is_told_so() -> None:
    begun = asyncio.Event()
    sent: list[Message] = []

    async def endless(_: Scope, __: Receive, ___: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp/tools/create_memory", "headers": []}
    request = asyncio.create_task(Contained(endless)(scope, receive, send))
    await begun.wait()
    request.cancel()  # as uvicorn does
    with contextlib.suppress(asyncio.CancelledError):
        await request
    assert request.cancelled()
    start, body = sent
    assert start["status"] == 503
    assert json.loads(body["body"])["error"]["code"] == "outcome_unknown"
