"""How an owner greets whoever connects to its port, and how programs call its operations."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.shells.owners import Raw, is_owned, place_in, raw, until
from tests.shells.serving import PATIENCE, HttpServer, conversation, http_server, request
from tmws_adapters.local import asking
from tmws_adapters.local.asking import ask, running
from tmws_adapters.local.greeting import TOLD, new_nonce, reason_in
from tmws_mcp.clients import CONNECTIONS

pytestmark = pytest.mark.embedded("a server owns the directory")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A home that a server owns; each test brings agents and texts of its own."""
    home = tmp_path_factory.mktemp("greeting") / "home"
    with http_server(home) as running:
        yield home, running
        log = running.stop()
        assert "Traceback" not in log
        assert all(len(line) < 2000 for line in log.splitlines())


@pytest.fixture
def home(place: tuple[Path, HttpServer]) -> Path:
    return place[0]


def test_client_that_knows_the_secret_is_welcome(home: Path) -> None:
    with raw(home) as connection:
        welcome = connection.greet(speak="mcp")
        assert welcome is not None
        assert {"get_memory", "search_memories", "health_check"} <= set(welcome.pop("repeatable"))
        assert welcome == {"ok": True, "timeout": 60.0, "differs": []}
        connection.socket.sendall(request(1, "ping"))
        assert connection.receive() == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_client_with_a_wrong_secret_is_hung_up_on(home: Path) -> None:
    with raw(home) as connection:
        assert connection.greet("00" * 32, speak="mcp") is None


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"{}\n",
        b"[]\n",
        b'{"tmws": 1, "nonce": 7}\n',
        b'{"tmws": 1, "nonce": "' + b"x" * 40_000,
        b'{"tmws": 1, "nonce": "' + b"\\ud800" * 64 + b'"}\n',
        b'{"tmws": 1, "nonce": "' + "é".encode() * 64 + b'"}\n',
        b"[" * 30_000 + b"\n",
        b'{"tmws": ' + b"9" * 20_000 + b', "nonce": 1e400}\n',
        b"\xff\xfe\x00\n",
    ],
    ids=["HTTP", "nothing", "no object", "no nonce", "too long", "halves", "accents", "deep", "digits", "no text"],
)
def test_what_is_no_greeting_is_hung_up_on_without_a_word(home: Path, line: bytes) -> None:
    with raw(home) as connection:
        connection.socket.sendall(line)
        assert connection.receive() is None


def test_client_that_says_nothing_is_hung_up_on(home: Path) -> None:
    with raw(home) as connection:
        assert connection.receive() is None


def test_command_asks_an_owner_of_its_own_version_and_settings_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asks(timeout: str) -> bool:
        link = running(place_in(home), {"TMWS_REQUEST_TIMEOUT": timeout}, PATIENCE)
        return link is not None and ask(link, "health_check", {}) != {}

    assert (asks("60"), asks("30")) == (True, False)
    monkeypatch.setattr(asking, "VERSION", "2.9.9")
    assert not asks("60")


@pytest.mark.parametrize(
    ("wants", "code"),
    [
        ({"speak": "latin"}, "invalid_argument"),
        ({}, "invalid_argument"),
        ({"speak": "mcp", "settings": [1]}, "invalid_argument"),
        ({"speak": "mcp", "settings": {"TMWS_PORT": "high"}}, "configuration"),
        ({"speak": "calls", "agent_id": "no such name!"}, "configuration"),
    ],
)
def test_wish_that_cannot_be_met_is_refused_with_an_error(home: Path, wants: dict[str, Any], code: str) -> None:
    with raw(home) as connection:
        answer = connection.greet(**wants)
    assert answer is not None
    assert (answer["ok"], answer["error"]["code"], answer["error"]["kind"]) == (False, code, "invalid")


def test_one_client_too_many_is_hung_up_on_and_the_others_stay(home: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(raw(home))
        assert first.greet(speak="calls") is not None
        crowd = [stack.enter_context(raw(home)) for _ in range(CONNECTIONS - 1)]
        with raw(home) as late:
            late.send({"tmws": 1, "nonce": new_nonce()})
            assert late.receive() is None
        assert first.ask({"id": 1, "operation": "get_memory_stats"})["id"] == 1
        assert all(isinstance(each.socket, socket.socket) for each in crowd)


def call(connection: Raw, id_: object, operation: str, **arguments: object) -> dict[str, Any]:
    return connection.ask({"id": id_, "operation": operation, "arguments": arguments})


def test_program_calls_as_the_operator(home: Path) -> None:
    with raw(home) as connection:
        connection.greet(speak="calls")
        stored = call(connection, 1, "create_memory", content="for ada", agent_id="ada", access_level="private")
        memory = call(connection, 2, "get_memory", memory_id=stored["result"]["memory_id"])["result"]["memory"]
    assert (memory["agent_id"], memory["transport"]) == ("ada", "python")


def test_program_calls_as_the_agent_that_it_names(home: Path) -> None:
    with raw(home) as connection:
        connection.greet(speak="calls", agent_id="bob", namespace="acme/calls")
        stored = call(connection, 1, "create_memory", content="mine")
        memory = call(connection, 2, "get_memory", memory_id=stored["result"]["memory_id"])["result"]["memory"]
        refused = call(connection, 3, "create_memory", content="theirs", agent_id="ada")
    assert (memory["agent_id"], memory["namespace"]) == ("bob", "acme/calls")
    assert (refused["id"], refused["error"]["code"]) == (3, "forbidden")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"id": "a", "operation": "no_such_operation"}, "unknown_operation"),
        ({"id": "a", "operation": "get_memory", "arguments": {"memory_id": "x"}}, "invalid_argument"),
        ({"id": "a", "operation": "get_memory", "arguments": [1]}, "invalid_argument"),
        ({"id": "a", "operation": 7}, "malformed_request"),
        ({"id": "a"}, "malformed_request"),
    ],
)
def test_call_that_fails_has_the_error_of_rest(home: Path, message: dict[str, Any], code: str) -> None:
    with raw(home) as connection:
        connection.greet(speak="calls")
        answer = connection.ask(message)
        assert answer["id"] == "a"
        assert answer["error"]["code"] == code
        assert answer["error"]["message"]
        connection.socket.sendall(b"no json\n")
        refused = connection.receive()
        assert refused is not None
        assert (refused["id"], refused["error"]["code"]) == (None, "malformed_request")
        assert refused["error"]["facts"]["reason"] in refused["error"]["message"]
        assert "result" in call(connection, 1, "health_check")


def test_calls_run_at_once_and_are_answered_in_any_order(home: Path) -> None:
    slow = {"memories": [{"content": f"slow {number}"} for number in range(60)]}
    with raw(home) as connection:
        connection.greet(speak="calls", agent_id="carla")
        connection.send({"id": "slow", "operation": "create_memories", "arguments": slow})
        connection.send({"id": "quick", "operation": "get_memory_stats"})
        assert (connection.receive() or {})["id"] == "quick"
        connection.socket.shutdown(socket.SHUT_WR)
        assert len((connection.receive() or {})["result"]["results"]) == 60
        assert connection.receive() is None


def test_many_programs_call_at_once(home: Path) -> None:
    def run(number: int) -> int:
        with raw(home) as connection:
            connection.greet(speak="calls", agent_id=f"crowd-{number}")
            for each in range(5):
                call(connection, each, "create_memory", content=f"{number} {each}")
            total: int = call(connection, 9, "get_memory_stats")["result"]["total"]
            return total

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(run, range(10))) == [5] * 10


def test_program_keeps_an_owner_alive_and_may_stop_it(tmp_path: Path) -> None:
    home = tmp_path / "own"
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        with raw(home) as program, raw(home) as stopping:
            program.greet(speak="calls")
            assert terminal.process.stdin
            terminal.process.stdin.close()
            assert terminal.process.wait(PATIENCE) == 0
            assert "result" in call(program, 1, "health_check")
            assert stopping.greet(speak="stop") == {"ok": True}
            assert program.receive() is None
    until(lambda: not is_owned(home))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"code": "x", "message": "a\n\x1b[2Jb" * 5000}, "a  [2Jb"),
        ({"code": "x", "message": ["a"] * 3}, "['a', 'a', 'a']"),
        ("no object", "The service refuses without a reason"),
        (None, "The service refuses without a reason"),
        ({"message": "One line."}, "One line."),
    ],
)
def test_reason_of_the_other_end_is_one_line_of_bounded_length(error: object, message: str) -> None:
    said = str(reason_in(error)["message"])
    assert said.startswith(message)
    assert len(said) <= TOLD
    assert said.isprintable()
