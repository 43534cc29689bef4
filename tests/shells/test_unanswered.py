"""What a terminal notes of its client's requests is what the owner will answer, and under which id."""

import json

import pytest

from tests.shells.serving import request, tool
from tmws_mcp.unanswered import Unanswered


@pytest.mark.parametrize("line", [b'{"jsonrpc":"2.0","id":%d,"method":"ping"}' % 2**70, b'{"id":1.5,"method":"ping"}'])
def test_what_is_answered_without_an_id_is_not_waited_for(line: bytes) -> None:
    unanswered = Unanswered()
    unanswered.take(line)
    assert unanswered.requests == {}


def test_ids_that_count_as_one_are_waited_for_once() -> None:
    unanswered = Unanswered()
    unanswered.take(request(7, "ping"))
    unanswered.take(request("07", "ping"))
    assert [each.id for each in unanswered.requests.values()] == [7]
    unanswered.settle(b'{"jsonrpc":"2.0","id":"7","result":{}}')
    assert unanswered.requests == {}


@pytest.mark.parametrize("wrong", [{}, [7], None, True, 7.5])
def test_a_cancellation_of_what_is_no_id_is_passed_over(wrong: object) -> None:
    unanswered = Unanswered()
    unanswered.take(request(1, "ping"))
    unanswered.take(json.dumps({"method": "notifications/cancelled", "params": {"requestId": wrong}}).encode())
    assert len(unanswered.requests) == 1


def test_an_answer_under_the_id_of_a_line_that_cannot_be_read_is_the_one_that_is_waited_for() -> None:
    unanswered = Unanswered()
    unanswered.take(b'{"jsonrpc":"2.0","id":"broken","method":NaN}')
    assert list(unanswered.requests) == ["broken"]
    unanswered.settle(json.dumps({"jsonrpc": "2.0", "id": "broken", "error": {}}).encode())
    assert unanswered.requests == {}


@pytest.mark.parametrize(("key", "repeated"), [("a key", True), (" ", False), ("", False), (None, False)])
def test_a_call_is_repeated_if_it_stores_under_a_key(key: str | None, repeated: bool) -> None:  # noqa: FBT001 - a parameter of the test
    unanswered = Unanswered()
    unanswered.take(tool(1, "create_memory", content="x", idempotency_key=key))
    unanswered.take(tool(2, "create_memories", memories=[{"content": "x", "idempotency_key": key}]))
    assert [each.may_be_repeated(()) for each in unanswered.requests.values()] == [repeated] * 2
