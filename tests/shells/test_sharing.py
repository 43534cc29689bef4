"""What all who ask over HTTP make the server hold: each waits for its own, and the others do not notice."""

from contextlib import ExitStack
from functools import partial

import anyio
import attrs
import pytest
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.shells.serving import PATIENCE
from tmws_adapters.local.limits import LINE_BYTES
from tmws_core.domain.agent import Caller
from tmws_core.errors import Overloaded, RateLimited, TmwsError
from tmws_mcp.bodies import BODY_BYTES, SMALL, read_body
from tmws_mcp.limiting import Places
from tmws_mcp.room import CALLS, ROOM
from tmws_mcp.sharing import BODIES, SHARES, SPARE, UNTIL_READ, Claims, claim_of

pytestmark = pytest.mark.anyio

SOME = SPARE + 1
"""Memories in an answer that is not small."""


@attrs.define
class Asked:
    """Requests for so many memories: the agents whose requests have begun, and when their answers are ready."""

    begun: list[str] = attrs.field(factory=list)
    ready: dict[str, anyio.Event] = attrs.field(factory=dict)

    async def serve(self, scope: Scope, _: Receive, send: Send) -> None:
        await claim_of(Request(scope)).answer(scope["memories"])
        agent = scope["state"]["caller"].agent_id
        self.begun.append(agent)
        if agent in self.ready:
            await self.ready[agent].wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(scope["size"])})


async def nothing() -> Message:
    raise AssertionError


async def nowhere(_: Message) -> None:
    """Send nothing."""


def scope_of(agent: str, **more: object) -> Scope:
    caller = Caller(agent_id=agent, namespace="acme")
    return {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {"caller": caller}, **more}


async def ask(app: ASGIApp, agent: str, memories: int, size: int = LINE_BYTES) -> ExitStack:
    """Ask for an answer of so many bytes, and return what ends when it is read."""
    unread = ExitStack()
    scope = scope_of(agent, memories=memories, size=size)
    scope["state"][UNTIL_READ] = unread
    await app(scope, nothing, nowhere)
    return unread


async def refusal(app: ASGIApp, agent: str, memories: int) -> type[TmwsError]:
    with pytest.raises((RateLimited, Overloaded)) as caught:
        await ask(app, agent, memories)
    return caught.type


async def test_an_agent_that_does_not_read_keeps_only_itself_waiting() -> None:
    asked = Asked()
    app = Claims(asked.serve, PATIENCE)
    async with anyio.create_task_group() as tasks:
        unread = await ask(app, "ada", ROOM)
        for _ in range(3):
            tasks.start_soon(ask, app, "ada", SOME, 0)
        await ask(app, "bob", ROOM)
        await ask(app, "ada", 0)
        await anyio.wait_all_tasks_blocked()
        assert asked.begun == ["ada", "bob", "ada"]
        unread.close()
    assert asked.begun.count("ada") == 5


async def test_an_answer_counts_as_what_it_is_once_it_is_there() -> None:
    app = Claims(Asked().serve, patience=0)
    await ask(app, "ada", ROOM, size=LINE_BYTES // 2)
    await ask(app, "ada", ROOM // 2, size=LINE_BYTES)
    assert await refusal(app, "ada", SOME) is RateLimited


async def test_small_answers_pass_beside_a_large_one_that_is_not_read() -> None:
    app = Claims(Asked().serve, patience=0)
    await ask(app, "ada", ROOM)
    assert await refusal(app, "ada", SOME) is RateLimited
    (await ask(app, "ada", SPARE)).close()
    unread = [await ask(app, "ada", 1) for _ in range(SPARE)]
    assert await refusal(app, "ada", 1) is RateLimited
    unread[0].close()
    await ask(app, "ada", 1)


async def test_all_together_are_bounded_and_one_that_waits_in_vain_is_told() -> None:
    app = Claims(Asked().serve, patience=0)
    unread = [await ask(app, f"agent-{number}", ROOM, size=5 * LINE_BYTES) for number in range(SHARES)]
    assert await refusal(app, "agent-0", SOME) is RateLimited
    assert await refusal(app, "bob", 1) is Overloaded
    unread[0].close()
    await ask(app, "bob", 1, size=0)
    await ask(app, "agent-0", ROOM)


async def test_no_more_wait_than_a_line_has_places() -> None:
    app = Claims(Asked().serve, PATIENCE)
    unread = await ask(app, "ada", ROOM)
    async with anyio.create_task_group() as tasks:
        for _ in range(CALLS):
            tasks.start_soon(ask, app, "ada", SOME, 0)
        await anyio.wait_all_tasks_blocked()
        assert await refusal(app, "ada", SOME) is RateLimited
        unread.close()


async def test_what_waits_has_no_place_among_what_runs() -> None:
    asked = Asked()
    app = Places(Claims(asked.serve, PATIENCE), limit=1)
    unread = await ask(app, "ada", ROOM)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, app, "ada", SOME)
        await anyio.wait_all_tasks_blocked()
        await ask(app, "bob", 1)
        unread.close()
    assert asked.begun == ["ada", "bob", "ada"]


async def test_what_has_waited_is_refused_where_all_places_are_taken_meanwhile() -> None:
    asked = Asked()
    app = Places(Claims(asked.serve, PATIENCE), limit=1)
    unread = await ask(app, "ada", ROOM)
    async with anyio.create_task_group() as tasks:
        told = anyio.Event()
        tasks.start_soon(until_refused, app, told)
        await anyio.wait_all_tasks_blocked()
        asked.ready["bob"] = anyio.Event()
        tasks.start_soon(ask, app, "bob", 0)
        await anyio.wait_all_tasks_blocked()
        unread.close()
        await told.wait()
        asked.ready["bob"].set()
    assert asked.begun == ["ada", "bob"]


async def until_refused(app: ASGIApp, refused: anyio.Event) -> None:
    assert await refusal(app, "ada", SOME) is Overloaded
    refused.set()


@attrs.define
class Sent:
    """Bodies that agents send, whose have arrived, and when they have been worked on."""

    arrived: list[str] = attrs.field(factory=list)
    done: anyio.Event | None = None

    async def serve(self, scope: Scope, receive: Receive, _: Send) -> None:
        body = await read_body(Request(scope, receive), PATIENCE)
        self.arrived.append(f"{scope['state']['caller'].agent_id} {len(body)}")
        if self.done is not None:
            await self.done.wait()


async def send_body(
    app: ASGIApp, agent: str, size: int, end: anyio.Event | None = None, *, chunks: bool = False
) -> None:
    """Send a body, the last byte of it when that may come."""
    headers = [] if chunks else [(b"content-length", str(size).encode())]
    parts = [bytes(size - 1), b"x"]

    async def receive() -> Message:
        if len(parts) == 1 and end is not None:
            await end.wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    await app(scope_of(agent, headers=headers), receive, nowhere)


async def test_large_bodies_of_an_agent_come_one_by_one_and_small_ones_always() -> None:
    sent = Sent()
    app = Claims(sent.serve, PATIENCE)
    end = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_body, app, "ada", BODY_BYTES, end)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(send_body, app, "ada", SMALL + 1)
        tasks.start_soon(partial(send_body, app, "ada", SMALL + 2, chunks=True))
        await send_body(app, "bob", SMALL + 1)
        await send_body(app, "ada", SMALL)
        await send_body(app, "ada", SMALL, chunks=True)
        await anyio.wait_all_tasks_blocked()
        assert sent.arrived == [f"bob {SMALL + 1}", f"ada {SMALL}", f"ada {SMALL}"]
        end.set()
    assert sorted(sent.arrived[3:]) == sorted(f"ada {size}" for size in (BODY_BYTES, SMALL + 1, SMALL + 2))


async def test_bodies_in_chunks_count_as_what_they_are_once_they_are_there() -> None:
    done, end = anyio.Event(), anyio.Event()
    sent = Sent(done=done)
    app = Claims(sent.serve, PATIENCE)
    async with anyio.create_task_group() as tasks:
        for _ in range(BODIES + 8):
            tasks.start_soon(partial(send_body, app, "ada", SMALL + 2, end, chunks=True))
        await anyio.wait_all_tasks_blocked()
        assert sent.arrived == []
        end.set()
        tasks.start_soon(send_body, app, "ada", BODY_BYTES // 2)
        await anyio.wait_all_tasks_blocked()
        assert sorted(sent.arrived) == sorted([f"ada {SMALL + 2}"] * (BODIES + 8) + [f"ada {BODY_BYTES // 2}"])
        done.set()


async def test_bodies_in_chunks_that_grow_do_not_wait_for_each_other_for_ever() -> None:
    sent = Sent()
    app = Claims(sent.serve, PATIENCE)
    end = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(partial(send_body, app, "ada", BODY_BYTES, end, chunks=True))
        await anyio.wait_all_tasks_blocked()
        end.set()
    assert sent.arrived == [f"ada {BODY_BYTES}"] * 3


async def test_bodies_of_all_together_are_bounded() -> None:
    sent = Sent()
    app = Claims(sent.serve, PATIENCE)
    end = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for number in range(SHARES + BODIES):
            tasks.start_soon(send_body, app, f"agent-{number}", BODY_BYTES, end)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await send_body(app, "bob", SMALL + 1)
        await send_body(app, "bob", SMALL)
        end.set()
    assert len(sent.arrived) == SHARES + BODIES + 1
