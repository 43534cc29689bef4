"""What a stdio server makes of its input, line by line, without any client library."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.shells.serving import Conversation, conversation, request, run_stdio, tool

INITIALIZE = request(
    1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "test", "version": "1"}
)
PARSE_ERROR = -32700
INVALID_REQUEST = -32600


def slow(request_id: int) -> bytes:
    """Return a request that takes longer than whatever is sent behind it."""
    return tool(
        request_id, "create_memories", memories=[{"content": f"text {number} of {request_id}"} for number in range(50)]
    )


def test_tool_call_without_introduction_or_end_of_line_is_answered(home: Path) -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"health_check"}}'
    finished = run_stdio(home, line)
    assert finished.code == 0
    [answer] = finished.answers
    assert answer["id"] == 1
    assert answer["result"]["structuredContent"]["status"] == "healthy"


def test_call_without_id_gets_no_answer_but_advice_on_stderr(home: Path) -> None:
    finished = run_stdio(home, b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"health_check"}}\n')
    assert (finished.code, finished.answers) == (0, [])
    [advice] = finished.stderr.splitlines()
    assert "tools/call" in advice
    assert '"id": 1' in advice


def test_no_input_is_no_error_and_opens_no_store(home: Path) -> None:
    finished = run_stdio(home)
    assert (finished.code, finished.answers, finished.stderr) == (0, [], "")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("line", ["TMWS_PORT=abc", "TMWS_LOG_LEVEL=\xff"])
def test_whoever_asks_is_told_why_a_wrong_file_of_settings_lets_nothing_start(home: Path, line: str) -> None:
    (home / ".env").write_text(line, encoding="latin-1")
    done = run_stdio(home, INITIALIZE)
    error = done.answer(1)["error"]
    assert done.code == 2
    assert error["data"]["code"] == "configuration"
    assert error["message"] in done.stderr
    assert run_stdio(home).code == 2


def test_everything_that_was_asked_is_answered_after_the_end_of_input(home: Path) -> None:
    finished = run_stdio(home, slow(1), *(tool(n, "health_check") for n in range(2, 30)))
    assert finished.code == 0
    assert {answer["id"] for answer in finished.answers} == set(range(1, 30))
    assert len(finished.content(1)["results"]) == 50


DEEP = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with conversation(tmp_path_factory.mktemp("home")) as open_conversation:
        yield open_conversation


@pytest.mark.parametrize(
    ("line", "request_id", "code"),
    [
        (b"nonsense", None, PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"', 1, PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}', 1, PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', 1, PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', 1, PARSE_ERROR),
        (b'{"method":"ping","params":{"id":3,"a":"\x01"},"id":"b"}', "b", PARSE_ERROR),
        (b'{"jsonrpc":"2.0","method":"ping","params":{"id":3,"a":"\\"id\\":4"},"x":.5}', None, PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":11,"method":"ping","params":{"a":[' + b"1," * 400_001 + b"1]}}", 11, INVALID_REQUEST),
        (DEEP, 1, PARSE_ERROR),
        (b"[" * 10_000, None, PARSE_ERROR),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None, INVALID_REQUEST),
        (b"3", None, INVALID_REQUEST),
        (b"{}", None, INVALID_REQUEST),
        (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', 7, INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":"seven","method":"ping","params":[1]}', "seven", INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1180591620717411303424,"method":"ping"}', None, INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":8,"method":"no/such"}', 8, -32601),
        (b'{"jsonrpc":"2.0","id":8.0,"method":"no/such"}', 8, -32601),
        (b'{"jsonrpc":"2.0","id":8.0,"method":NaN}', 8, PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":10,"method":"ping","params":{"a":":","a":1}}', 10, INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{}}', 9, -32602),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"' + b"x" * (8 * 1024 * 1024) + b'"}}',
            1,
            INVALID_REQUEST,
        ),
        (
            b'{"method":"ping","params":{"a":"' + b"x" * (8 * 1024 * 1024) + b'"},"jsonrpc":"2.0","id":"last"}',
            "last",
            INVALID_REQUEST,
        ),
        (b'{"method":"ping","params":{"a":"' + b"x" * (8 * 1024 * 1024) + b'","id":3}}', None, INVALID_REQUEST),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
def test_bad_line_is_answered_and_the_next_one_too(
    talk: Conversation, line: bytes, request_id: object, code: int
) -> None:
    answer = talk.ask(line + b"\n")
    assert (answer["id"], answer["error"]["code"]) == (request_id, code)
    assert "Traceback" not in json.dumps(answer)
    assert talk.ask(b"\n  \n" + request("next", "ping")) == {"jsonrpc": "2.0", "id": "next", "result": {}}


def test_a_line_may_begin_with_a_byte_order_mark(talk: Conversation) -> None:
    assert talk.ask(b"\xef\xbb\xbf" + request(12, "ping")) == {"jsonrpc": "2.0", "id": 12, "result": {}}


def test_a_bad_line_does_not_answer_a_request_that_still_runs(talk: Conversation) -> None:
    talk.send(slow(13), b'{"jsonrpc":"2.0","id":13,"method":NaN}\n')
    assert talk.receive()["id"] is None
    assert len(talk.receive()["result"]["structuredContent"]["results"]) == 50


def test_answers_of_the_client_are_ignored(talk: Conversation) -> None:
    talk.send(
        b'{"jsonrpc":"2.0","id":1,"result":{}}\n', b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}\n'
    )
    assert talk.ask(request("still", "ping"))["id"] == "still"


def test_id_in_use_is_refused_and_the_first_request_is_answered(talk: Conversation) -> None:
    talk.send(slow(7), tool(7, "get_memory_stats"), tool("7", "get_memory_stats"))
    refusals = [talk.receive(), talk.receive()]
    assert [(answer["id"], answer["error"]["code"]) for answer in refusals] == [(None, INVALID_REQUEST)] * 2
    answer = talk.receive()
    assert (answer["id"], len(answer["result"]["structuredContent"]["results"])) == (7, 50)


def test_id_is_free_again_once_answered(talk: Conversation) -> None:
    for _ in range(20):
        assert "result" in talk.ask(tool(7, "get_memory_stats"))


def test_cancelled_request_gets_no_answer_and_its_id_is_free_again(talk: Conversation) -> None:
    cancel = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}\n'
    talk.send(slow(2), cancel)
    assert talk.ask(request(3, "ping")) == {"jsonrpc": "2.0", "id": 3, "result": {}}
    assert any("result" in talk.ask(request(2, "ping")) for _ in range(10_000))


def test_client_may_introduce_itself_late(talk: Conversation) -> None:
    assert talk.ask(INITIALIZE)["result"]["protocolVersion"] == "2025-06-18"
    talk.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    assert talk.ask(request(2, "ping"))["id"] == 2


def test_agent_of_the_settings_is_the_caller_and_cannot_act_for_others(home: Path) -> None:
    finished = run_stdio(
        home,
        tool(1, "create_memory", content="mine"),
        tool(2, "create_memory", content="theirs", agent_id="somebody-else"),
        TMWS_AGENT_ID="athena",
    )
    assert finished.content(1)["success"] is True
    assert finished.content(2)["error"]["code"] == "forbidden"
    others = run_stdio(home, tool(1, "list_memories"), TMWS_AGENT_ID="hestia")
    assert others.content(1)["memories"] == []


def test_tools_outside_the_visible_toolsets_do_not_exist(home: Path) -> None:
    finished = run_stdio(
        home,
        request(1, "tools/list"),
        tool(2, "create_memory", content="x"),
        request(3, "resources/list"),
        TMWS_MCP_TOOLSETS="system",
    )
    assert {each["name"] for each in finished.answer(1)["result"]["tools"]} == {"health_check", "get_system_stats"}
    error = finished.content(2)["error"]
    assert error["code"] == "unknown_operation"
    assert "create_memory?" not in error["message"]
    assert finished.answer(3)["result"]["resources"] == []
