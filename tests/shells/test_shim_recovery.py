"""What a terminal makes of the death of its owner: the session goes on, and nobody is told what is not true."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.shells.owners import is_owned, kill_owner, owner_of, place_in, scripted_owner, until
from tests.shells.serving import PATIENCE, Conversation, conversation, request, run_stdio, tool
from tests.stacks import rows, settings_in
from tmws_adapters.local.limits import LINE_BYTES
from tmws_adapters.local.record import read
from tmws_mcp.unanswered import REPLAYED

INITIALIZE = request(
    0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "test", "version": "1"}
)
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


@contextmanager
def unheard(home: Path) -> Iterator[None]:
    """Let the owner take what is sent meanwhile without doing anything about it, and kill it then."""
    os.kill(owner_of(home).pid, signal.SIGSTOP)
    yield
    kill_owner(home)


def answers(terminal: Conversation, number: int) -> dict[Any, dict[str, Any]]:
    received = [terminal.receive() for _ in range(number)]
    return {answer["id"]: answer for answer in received}


def content(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["result"]["structuredContent"]
    return found


def stored(home: Path) -> list[str]:
    return sorted(content for (content,) in rows(settings_in(home), "SELECT content FROM memories_v2"))


def test_a_line_too_long_does_not_answer_a_request_that_still_runs(home: Path) -> None:
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        owner = owner_of(home).pid
        os.kill(owner, signal.SIGSTOP)
        try:
            terminal.send(request(13, "ping"), b'{"jsonrpc":"2.0","id":"13","method":"' + b"x" * LINE_BYTES + b'"}\n')
            refused = terminal.receive()
        finally:
            os.kill(owner, signal.SIGCONT)
        assert (refused["id"], refused["error"]["code"]) == (None, -32600)
        assert terminal.receive() == {"jsonrpc": "2.0", "id": 13, "result": {}}


def test_session_goes_on_with_another_owner(home: Path) -> None:
    with conversation(home) as terminal:
        assert terminal.ask(INITIALIZE)["result"]["protocolVersion"] == "2025-06-18"
        terminal.send(INITIALIZED)
        terminal.ask(tool(1, "create_memory", content="kept"))
        former = owner_of(home)
        for number in range(2, 4):
            kill_owner(home)
            assert content(terminal.ask(tool(number, "get_memory_stats")))["total"] == 1
        assert owner_of(home).pid != former.pid


def test_what_may_be_repeated_is_answered_by_the_next_owner_and_the_rest_is_called_unknown(home: Path) -> None:
    keyed = [{"content": "in a batch", "idempotency_key": "two"}]
    half_keyed = [{"content": "a", "idempotency_key": "three"}, {"content": "b", "idempotency_key": "null"}]
    with conversation(home) as terminal:
        terminal.ask(INITIALIZE)
        terminal.send(INITIALIZED)
        memory_id = content(terminal.ask(tool(1, "create_memory", content="first")))["memory_id"]
        with unheard(home):
            terminal.send(
                request(2, "tools/list"),
                tool(3, "get_memory", memory_id=memory_id),
                tool(4, "create_memory", content="one", idempotency_key="one"),
                tool(5, "create_memories", memories=keyed),
                tool(6, "create_memory", content="no key", idempotency_key="undefined"),
                tool("seven", "create_memories", memories=half_keyed),
                tool(8, "delete_memory", memory_id=memory_id),
                request(9, "ping"),
            )
        got = answers(terminal, 8)
        assert terminal.ask(request(10, "ping"))["id"] == 10
    assert got.keys() == {2, 3, 4, 5, 6, "seven", 8, 9}
    assert got[2]["result"]["tools"]
    assert content(got[3])["memory"]["content"] == "first"
    assert content(got[4])["success"] is content(got[5])["success"] is True
    for unknown in (6, "seven", 8):
        assert got[unknown]["result"]["isError"] is True
        assert content(got[unknown])["error"]["code"] == "outcome_unknown"
        assert "idempotency_key" in content(got[unknown])["error"]["message"]
    assert stored(home) == ["first", "in a batch", "one"]


def test_repeated_write_that_was_stored_already_answers_with_the_first_result(home: Path) -> None:
    with conversation(home) as terminal:
        first = terminal.ask(tool(1, "create_memory", content="once", idempotency_key="key"))
        with unheard(home):
            terminal.send(tool(2, "create_memory", content="once", idempotency_key="key"))
        assert content(terminal.receive())["memory_id"] == content(first)["memory_id"]
    assert stored(home) == ["once"]


def test_client_is_introduced_to_the_next_owner_as_it_has_introduced_itself(home: Path) -> None:
    with conversation(home) as terminal:
        terminal.ask(INITIALIZE)
        terminal.send(INITIALIZED)
        terminal.ask(request(1, "ping"))
        kill_owner(home)
        with scripted_owner(home) as owner:
            terminal.send(request(2, "ping"))
            introduction = owner.receive()
            assert introduction is not None
            assert introduction.pop("id") not in (0, 1, 2)
            expected = json.loads(INITIALIZE)
            del expected["id"]
            assert introduction == expected
            owner.send({"jsonrpc": "2.0", "id": REPLAYED, "result": {}})
            assert owner.receive() == json.loads(INITIALIZED)
            assert owner.receive() == json.loads(request(2, "ping"))
            owner.send({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            owner.send({"id": 2, "result": {"in": "another order"}, "jsonrpc": "2.0"})
            assert terminal.receive()["method"] == "notifications/message"
            assert terminal.receive()["result"] == {"in": "another order"}


def test_introduction_that_was_never_answered_is_asked_again_as_it_was(home: Path) -> None:
    with conversation(home) as terminal, scripted_owner(home) as owner:
        terminal.send(INITIALIZE, request(1, "ping"))
        for _ in range(2):
            assert owner.receive() == json.loads(INITIALIZE)
            assert owner.receive() == json.loads(request(1, "ping"))
            owner.hang_up()
        owner.receive()
        owner.send({"jsonrpc": "2.0", "id": 0, "result": {}})
        assert terminal.receive() == {"jsonrpc": "2.0", "id": 0, "result": {}}


def test_owner_that_does_not_know_a_client_again_is_not_waited_for_for_ever(home: Path) -> None:
    with conversation(home) as terminal, scripted_owner(home, timeout=0.5) as owner:
        terminal.send(INITIALIZE)
        owner.receive()
        owner.send({"jsonrpc": "2.0", "id": 0, "result": {}})
        terminal.receive()
        owner.hang_up()
        terminal.send(request(1, "ping"))
        assert owner.receive() is not None  # the introduction, which gets no answer
        answer = terminal.receive()
        assert answer["id"] == 1
        assert "within 2.5 seconds" in answer["error"]["message"]


def test_cancelled_request_is_not_asked_again(home: Path) -> None:
    cancel = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n'
    with conversation(home) as terminal:
        terminal.ask(request(0, "ping"))
        with unheard(home):
            terminal.send(tool(1, "create_memory", content="never mind"), cancel, request(2, "ping"))
        assert terminal.receive()["id"] == 2


def test_modern_client_gets_the_form_of_answers_that_it_knows(home: Path) -> None:
    with conversation(home) as terminal:
        known = terminal.ask(request(1, "tools/call", name="get_memory_stats", arguments={}, _meta=MODERN))
        assert known["result"]["resultType"] == "complete"
        with unheard(home):
            call = {"name": "create_memory", "arguments": {"content": "x"}}
            terminal.send(request(2, "tools/call", **call, _meta=MODERN))
        unknown = terminal.receive()
    assert unknown["result"]["resultType"] == "complete"
    assert content(unknown)["error"]["code"] == "outcome_unknown"


@pytest.mark.parametrize("round_", range(3))
def test_owner_that_is_asked_to_end_leaves_no_outcome_unknown(home: Path, round_: int) -> None:
    batches = [
        tool(number, "create_memories", memories=[{"content": f"text {number} {each}"} for each in range(10)])
        for number in range(1, 21)
    ]
    with conversation(home, TMWS_ONNX_MODEL_DIR="missing") as terminal:
        terminal.ask(request("first", "ping"))
        former = owner_of(home)
        terminal.send(*batches[: 5 * round_ + 1])
        os.kill(former.pid, signal.SIGTERM)
        terminal.send(*batches[5 * round_ + 1 :])
        got = answers(terminal, len(batches))
    assert all(content(answer)["success"] for answer in got.values())
    assert len(stored(home)) == 200


def test_nothing_acknowledged_is_lost_and_nothing_is_stored_twice_while_owners_die_under_load(home: Path) -> None:
    requests = [
        tool(
            number,
            "create_memory",
            content=f"text {number}",
            **({"idempotency_key": f"{number}"} if number % 2 else {}),
        )
        for number in range(400)
    ]
    got: dict[Any, dict[str, Any]] = {}
    with conversation(home, TMWS_ONNX_MODEL_DIR="missing") as terminal:
        terminal.ask(request("first", "ping"))
        terminal.send(*requests)
        for _ in range(3):
            got |= answers(terminal, 60)
            until(lambda: is_owned(home) and read(place_in(home).record))
            kill_owner(home)
        got |= answers(terminal, 400 - 3 * 60)
    assert [answer for answer in got.values() if "error" in answer] == []
    unknown = {number for number, answer in got.items() if answer["result"]["isError"]}
    assert {content(got[number])["error"]["code"] for number in unknown} <= {"outcome_unknown"}
    assert all(number % 2 == 0 for number in unknown)
    texts = stored(home)
    assert len(texts) == len(set(texts))
    assert set(texts) >= {f"text {number}" for number in got.keys() - unknown}


def test_requests_behind_the_end_of_input_survive_the_death_of_the_owner(home: Path) -> None:
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        with unheard(home):
            terminal.send(tool(2, "get_memory_stats"))
            assert terminal.process.stdin
            terminal.process.stdin.close()
        assert content(terminal.receive())["total"] == 0
        assert terminal.process.wait(PATIENCE) == 0


def test_request_that_many_owners_have_not_survived_is_asked_no_more(home: Path) -> None:
    with conversation(home) as terminal, scripted_owner(home) as owner:
        terminal.send(request(1, "ping"))
        for _ in range(6):
            assert owner.receive() == json.loads(request(1, "ping"))
            # It ends as it should, so that the terminal does not take it for dead.
            owner.send({"tmws": 1, "taken": 0})
            owner.hang_up()
        assert "6 owners ended" in terminal.receive()["error"]["message"]
        terminal.send(request(2, "ping"))
        assert owner.receive() == json.loads(request(2, "ping"))


def test_owners_that_die_one_after_the_other_end_the_terminal_with_the_reason(home: Path) -> None:
    with conversation(home) as terminal:
        for number in range(5):
            assert terminal.ask(request(number, "ping"))["id"] == number
            kill_owner(home)
        error = terminal.ask(request(5, "ping"))["error"]
        assert terminal.process.wait(PATIENCE) == 5
        assert terminal.process.stderr
        said = terminal.process.stderr.read().decode()
    assert said.split() == ["error:", *error["message"].split()]
    assert "died 5 times" in said
    assert place_in(home).log in said
    assert error["data"]["code"] == "unavailable"
    until(lambda: not is_owned(home))


def test_owner_that_dies_while_nobody_asks_is_not_started_again(home: Path) -> None:
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        kill_owner(home)
        assert terminal.process.stdin
        terminal.process.stdin.close()
        assert terminal.process.wait(PATIENCE) == 0
    assert not is_owned(home)


@pytest.mark.embedded("the file is damaged")
def test_damage_that_comes_to_light_with_the_next_owner_is_told(home: Path) -> None:
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        kill_owner(home)
        for file in home.glob("tmws.db*"):
            file.unlink()
        (home / "tmws.db").write_bytes(b"this is no database" * 1000)
        error = terminal.ask(tool(2, "get_memory_stats"))["error"]
        assert error["data"]["code"] == "storage_corrupt"
        assert terminal.process.wait(PATIENCE) == 5
    finished = run_stdio(home, request(1, "ping"))
    assert finished.answer(1)["error"] == error


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process, as somebody who looks at it does, and let it go on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def silence(answer: dict[str, Any], pid: int) -> str:
    """Return the code of an error that says that the owner does not answer."""
    error = answer["error"]
    assert f"Process {pid} holds" in error["message"]
    assert "does not answer" in error["message"]
    assert f"kill -9 {pid}" in error["message"]
    return str(error["data"]["code"])


def test_terminal_answers_for_an_owner_that_is_stopped_and_goes_on_with_it_later(home: Path) -> None:
    with conversation(home, TMWS_REQUEST_TIMEOUT="5", TMWS_ONNX_MODEL_DIR="missing") as terminal:
        terminal.ask(INITIALIZE)
        terminal.send(INITIALIZED)
        memory_id = content(terminal.ask(tool(1, "create_memory", content="first")))["memory_id"]
        owner = owner_of(home).pid
        with stopped(owner):
            terminal.send(
                tool(2, "get_memory", memory_id=memory_id),
                tool(3, "create_memory", content="no key"),
                tool(4, "create_memory", content="keyed", idempotency_key="key"),
                request("five", "ping"),
            )
            got = answers(terminal, 4)
            codes = {id_: silence(answer, owner) for id_, answer in got.items()}
            assert codes == {2: "unavailable", 3: "outcome_unknown", 4: "unavailable", "five": "unavailable"}
        assert content(terminal.ask(tool(7, "get_memory", memory_id=memory_id)))["memory"]["content"] == "first"
        assert terminal.ask(request(8, "ping"))["id"] == 8
        assert terminal.process.poll() is None


def test_terminal_goes_on_with_another_owner_when_the_stopped_one_is_killed(home: Path) -> None:
    with conversation(home, TMWS_REQUEST_TIMEOUT="5") as terminal:
        terminal.ask(request(1, "ping"))
        with stopped(owner_of(home).pid):
            terminal.ask(request(2, "ping"))
            kill_owner(home)
        assert terminal.ask(request(3, "ping")) == {"jsonrpc": "2.0", "id": 3, "result": {}}


def test_terminal_that_starts_beside_a_stopped_owner_says_so_and_ends_with_its_input(home: Path) -> None:
    with conversation(home) as first:
        first.ask(request(1, "ping"))
        owner = owner_of(home).pid
        with stopped(owner):
            finished = run_stdio(home, INITIALIZE, TMWS_REQUEST_TIMEOUT="0.1")
        assert silence(finished.answer(0), owner) == "unavailable"
        assert finished.code == 5
        assert finished.stderr.count("\n") == 1
        assert first.ask(request(2, "ping"))["id"] == 2


def test_terminal_that_was_stopped_itself_takes_what_has_come_meanwhile(home: Path) -> None:
    with conversation(home) as terminal, scripted_owner(home, timeout=1) as owner:
        terminal.send(request(1, "ping"))
        assert owner.receive() == json.loads(request(1, "ping"))
        with stopped(terminal.process.pid):
            owner.send({"jsonrpc": "2.0", "id": 1, "result": {"in": "time"}})
            begun = time.monotonic()
            until(lambda: time.monotonic() > begun + 4)
        assert terminal.receive()["result"] == {"in": "time"}
