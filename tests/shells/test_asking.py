"""One operation asked over a socket: what comes back, and what it means when nothing does."""

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from tmws_adapters.local.asking import Lost, TooLong, ask
from tmws_adapters.local.finding import Link
from tmws_adapters.local.greeting import Refused
from tmws_adapters.local.limits import LINE_BYTES
from tmws_adapters.local.patience import GRACE_SECONDS, LONGEST, TIMEOUT, told_here
from tmws_adapters.local.place import Place
from tmws_adapters.local.record import Record
from tmws_adapters.remote import OutcomeUnknown
from tmws_cli import calling
from tmws_cli.options import Invocation

Peer = Callable[[socket.socket], object]


@contextmanager
def linked(peer: Peer, timeout: float = 60) -> Iterator[tuple[Link, "Future[object]"]]:
    """Yield a connection to an owner that does what `peer` does, and what that returns."""
    here, there = socket.socketpair()
    link = Link(here, Record(pid=1, port=1, secret="", version="", kind="owner"))
    link.welcome = {"timeout": timeout}

    def serve() -> object:
        with there:
            return peer(there)

    with ThreadPoolExecutor(1) as pool, here:
        yield link, pool.submit(serve)


def asked(there: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (chunk := there.recv(65536)):
        line += chunk
    return line


def answering(*pieces: bytes) -> Peer:
    def peer(there: socket.socket) -> object:
        line = asked(there)
        for piece in pieces:
            there.sendall(piece)
        return json.loads(line)

    return peer


def test_answer_comes_in_any_number_of_pieces() -> None:
    with linked(answering(b'{"id":1,"result":{"a"', b':"' + b"x" * 200_000, b'"}}\n')) as (link, said):
        assert ask(link, "get_memory", {"memory_id": "é"}) == {"a": "x" * 200_000}
        assert said.result() == {"id": 1, "operation": "get_memory", "arguments": {"memory_id": "é"}}


def test_error_is_what_the_owner_says() -> None:
    with (
        linked(answering(b'{"id":1,"error":{"code":"not_found","message":"no","kind":"not_found"}}\n')) as (link, _),
        pytest.raises(Refused) as refusal,
    ):
        ask(link, "get_memory", {})
    assert refusal.value.error["kind"] == "not_found"


@pytest.mark.parametrize("pieces", [(), (b'{"id":1,"res',), (b"no JSON\n",)], ids=["nothing", "half", "garbage"])
def test_connection_that_breaks_leaves_the_outcome_open(pieces: tuple[bytes, ...]) -> None:
    with linked(answering(*pieces)) as (link, _), pytest.raises(Lost):
        ask(link, "create_memory", {"content": "x"})


def never_ending(there: socket.socket) -> None:
    with suppress(ConnectionError):
        while True:
            there.sendall(b" ")


def test_owner_that_says_nothing_or_comes_to_no_end_is_not_waited_for_longer_than_a_request_may_take() -> None:
    for peer in (lambda there: (asked(there), asked(there)), never_ending):
        with linked(peer, timeout=0.05 - GRACE_SECONDS) as (link, _), pytest.raises(TimeoutError):
            ask(link, "create_memory", {"content": "x"})


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("0.5", 0.5), ("90", 90), ("1e9", LONGEST), ("0", TIMEOUT), ("-1", TIMEOUT), ("nan", TIMEOUT), ("soon", TIMEOUT)],
)
def test_time_that_a_request_may_take_is_what_is_set_where_that_is_sensible(said: str, seconds: float) -> None:
    assert told_here({"TMWS_REQUEST_TIMEOUT": said}) == seconds


def test_what_cannot_be_sent_is_not_sent() -> None:
    room = LINE_BYTES - len(json.dumps({"id": 1, "operation": "create_memory", "arguments": {"content": ""}})) - 1
    for arguments, error in (
        ({"content": "\udc80"}, ValueError),
        ({"importance": float("nan")}, ValueError),
        ({"content": "x" * (room + 1)}, TooLong),
    ):
        with linked(asked) as (link, said):
            with pytest.raises(error):
                ask(link, "create_memory", arguments)
            assert said.result() == b""
    with linked(answering(b'{"id":1,"result":{}}\n')) as (link, _):
        assert ask(link, "create_memory", {"content": "x" * room}) == {}


def test_what_changes_something_is_never_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("nowhere/tmws.db")
    monkeypatch.setattr(Invocation, "place", lambda _: (place, {}))
    with linked(answering()) as (link, _):
        monkeypatch.setattr(calling, "running", lambda *_: link)
        with pytest.raises(OutcomeUnknown, match="before it answered delete_memory"):
            calling.call(Invocation(), "delete_memory", {})


def test_what_only_reads_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("nowhere/tmws.db")
    monkeypatch.setattr(Invocation, "place", lambda _: (place, {}))
    with linked(answering()) as (broken, _), linked(answering(b'{"id":1,"result":{"total":7}}\n')) as (sound, _):
        links = iter([broken, sound])
        monkeypatch.setattr(calling, "running", lambda *_: next(links))
        assert calling.call(Invocation(), "get_memory_stats", {}) == {"total": 7}
