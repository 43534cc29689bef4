"""What clients send is taken as what it can only mean; what is refused is told at once, with an example."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from tmws_core.domain.nearest import ALIASES
from tmws_core.errors import InvalidField
from tmws_core.lenient import IGNORED, known_names, request_of, understood
from tmws_core.messages.agents import GetAgent, RegisterAgent
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    GetMemory,
    GetMemoryStats,
    ListMemories,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories
from tmws_core.schema import schema_of
from tmws_core.wire import structure

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MEMORY = "0198c0de-0000-7000-8000-00000000000a"

RED = "\x1b[1;31mred\x1b(B\x1b[m \x1b]8;;https://example.org\x1b\\link\x1b]8;;\x07"

TAKEN: list[tuple[type, dict[str, Any], dict[str, Any]]] = [
    (SearchMemories, {"query": "x", "session_id": ""}, {"query": "x"}),
    (SearchMemories, {"query": "x", "namespace": " ", "agent_id": None, "tags_any": None}, {"query": "x"}),
    (SearchMemories, {"query": "x", "session_id": "undefined", "memory_type": "None"}, {"query": "x"}),
    (SearchMemories, {"query": "x", "namespace": "none"}, {"query": "x", "namespace": "none"}),
    (SearchMemories, {"query": "null", "tags_any": ["null"]}, {"query": "null", "tags_any": ["null"]}),
    (UpdateMemory, {"memory_id": MEMORY, "content": "None"}, {"memory_id": MEMORY, "content": "None"}),
    (GetMemory, {"memory_id": f"memory://{MEMORY}", "cursor": "null"}, {"memory_id": MEMORY}),
    (SearchMemories, {"query": "x", "limit": None, "mode": None, "explain": None}, {"query": "x"}),
    (SearchMemories, {"query": "x", "limit": "5"}, {"query": "x", "limit": 5}),
    (SearchMemories, {"query": "x", "limit": 5.0}, {"query": "x", "limit": 5}),
    (SearchMemories, {"query": "x", "limit": " 5.0 "}, {"query": "x", "limit": 5}),
    (SearchMemories, {"query": "x", "explain": "true"}, {"query": "x", "explain": True}),
    (SearchMemories, {"query": "x", "include_expired": "False"}, {"query": "x", "include_expired": False}),
    (SearchMemories, {"query": "x", "explain": 1}, {"query": "x", "explain": True}),
    (SearchMemories, {"query": "x", "mode": "Semantic"}, {"query": "x", "mode": "semantic"}),
    (SearchMemories, {"query": "x", "memory_type": "EPISODIC "}, {"query": "x", "memory_type": "episodic"}),
    (SearchMemories, {"query": "x", "min_importance": "0.5"}, {"query": "x", "min_importance": 0.5}),
    (SearchMemories, {"query": "x", "min_similarity": "-1e-1"}, {"query": "x", "min_similarity": -0.1}),
    (SearchMemories, {"query": "x", "tags_any": "python"}, {"query": "x", "tags_any": ["python"]}),
    (SearchMemories, {"query": "x", "tags_all": '["a", "b"]'}, {"query": "x", "tags_all": ["a", "b"]}),
    (SearchMemories, {"q": "x", "top_k": 3}, {"query": "x", "limit": 3}),
    (SearchMemories, {"text": "x", "n_results": "3"}, {"query": "x", "limit": 3}),
    (SearchMemories, {"query": "x", "tag": "a"}, {"query": "x", "tags_any": ["a"]}),
    (SearchMemories, {"query": "x", "tags": ["a"]}, {"query": "x", "tags_any": ["a"]}),
    (SearchMemories, {"query": "x", "type": "semantic"}, {"query": "x", "memory_type": "semantic"}),
    (SearchMemories, {"query": "x", "minSimilarity": 0.5}, {"query": "x", "min_similarity": 0.5}),
    (
        SearchMemories,
        {"query": "x", "occurred_after": "2026-01-31"},
        {"query": "x", "occurred_after": "2026-01-31T00:00:00+00:00"},
    ),
    (SearchMemories, {"query": "x", "as_of": "2026-01-31T10:00"}, {"query": "x", "as_of": "2026-01-31T10:00:00+00:00"}),
    (
        SearchMemories,
        {"query": "x", "as_of": "2026-01-31t10:00:00z"},
        {"query": "x", "as_of": "2026-01-31T10:00:00+00:00"},
    ),
    (SearchMemories, {"query": "x", "toolCallId": "call_1", "sessionId": "7", "_meta": {}}, {"query": "x"}),
    (CreateMemory, {"content": "x", "tags": '["a"]'}, {"content": "x", "tags": ["a"]}),
    (CreateMemory, {"content": "x", "tags": "a, b"}, {"content": "x", "tags": ["a", "b"]}),
    *(
        (CreateMemory, {"content": "x", "tags": written}, {"content": "x", "tags": ["a", "it's"]})
        for written in ("""['a', "it's"]""", "[a, it's]", "{a,it's}", '["a", "it\'s",]', """('a', "it's")""")
    ),
    (CreateMemory, {"content": "x", "shared_with": "['bob']"}, {"content": "x", "shared_with": ["bob"]}),
    (SearchMemories, {"query": "x", "tags_all": "'a', 'b'"}, {"query": "x", "tags_all": ["a", "b"]}),
    (RegisterAgent, {"agent_id": "bob", "capabilities": "[a]"}, {"agent_id": "bob", "capabilities": ["a"]}),
    (CreateMemory, {"content": "x", "tags": ["a", 7]}, {"content": "x", "tags": ["a", "7"]}),
    (CreateMemory, {"content": "x", "tags": ""}, {"content": "x"}),
    (CreateMemory, {"content": "x", "metadata": '{"a": [1]}'}, {"content": "x", "metadata": {"a": [1]}}),
    (CreateMemory, {"content": RED, "tags": RED}, {"content": "red link", "tags": ["red link"]}),
    (CreateMemory, {"content": "x", "tags": [RED]}, {"content": "x", "tags": ["red link"]}),
    (CreateMemory, {"content": "x", "metadata": {"a": [RED]}}, {"content": "x", "metadata": {"a": ["red link"]}}),
    (CreateMemories, {"memories": [RED, {"content": RED}]}, {"memories": [{"content": "red link"}] * 2}),
    (SearchMemories, {"query": RED}, {"query": "red link"}),
    (CreateMemory, {"content": "x", "session_id": 42}, {"content": "x", "session_id": "42"}),
    (
        CreateMemory,
        {"content": "x", "occurred_at": 1769860800},
        {"content": "x", "occurred_at": "2026-01-31T12:00:00Z"},
    ),
    (CreateMemory, {"content": "x", "date": "1769860800000"}, {"content": "x", "occurred_at": "2026-01-31T12:00:00Z"}),
    (
        CreateMemory,
        {"content": "x", "occurred_at": "2026-01-30T24:00"},
        {"content": "x", "occurred_at": "2026-01-31T00:00:00+00:00"},
    ),
    (CreateMemory, {"text": "x", "memoryType": "Procedural"}, {"content": "x", "memory_type": "procedural"}),
    (CreateMemory, {"memory": "x", "access-level": "team"}, {"content": "x", "access_level": "team"}),
    (CreateMemory, {"content": "x", "shared_with": "bob"}, {"content": "x", "shared_with": ["bob"]}),
    (CreateMemories, {"memories": '[{"content": "x"}]'}, {"memories": [{"content": "x"}]}),
    (CreateMemories, {"memories": {"text": "x", "tags": "a"}}, {"memories": [{"content": "x", "tags": ["a"]}]}),
    (
        CreateMemories,
        {"memories": [{"content": "null", "idempotency_key": "null", "source": "None"}]},
        {"memories": [{"content": "null"}]},
    ),
    (CreateMemories, {"memories": ["x", "[y]"]}, {"memories": [{"content": "x"}, {"content": "[y]"}]}),
    (CreateMemories, {"memories": '{"content": "x"}'}, {"memories": [{"content": "x"}]}),
    (ListMemories, {"sessionId": "s"}, {"session_id": "s"}),
    (
        UpdateMemory,
        {"memory_id": MEMORY, "importance": 1, "session": None, "expiry": ""},
        {"memory_id": MEMORY, "importance": 1},
    ),
    (
        UpdateMemory,
        {"memory_id": MEMORY, "importance": 1, "expirationDate": None},
        {"memory_id": MEMORY, "importance": 1},
    ),
    (UpdateMemory, {"memory_id": MEMORY, "expiresAt": None}, {"memory_id": MEMORY, "expires_at": None}),
    (GetMemory, {"id": MEMORY.upper()}, {"memory_id": MEMORY}),
    (GetMemory, {"id": f" {MEMORY[:12].upper()} "}, {"memory_id": MEMORY[:12]}),
    (GetMemory, {"memory_id": f" {{{MEMORY}}}", "history": "yes"}, {"memory_id": MEMORY, "include_history": True}),
    (DeleteMemory, {"memoryId": f"urn:uuid:{MEMORY}"}, {"memory_id": MEMORY}),
    (DeleteMemory, {"memory_id": MEMORY.replace("-", "")}, {"memory_id": MEMORY}),
    (
        ShareMemory,
        {"memory_id": MEMORY, "shared_with": "bob,carl"},
        {"memory_id": MEMORY, "shared_with": ["bob", "carl"]},
    ),
    (UpdateMemory, {"memory_id": MEMORY, "content": "", "tags": []}, {"memory_id": MEMORY, "tags": []}),
    (UpdateMemory, {"memory_id": MEMORY, "source": None}, {"memory_id": MEMORY, "source": None}),
    *(
        (CreateMemory, {"content": "x", **given}, {"content": "x", "expires_at": meant})
        for given, meant in (
            ({"expires_at": "in 3 days"}, "2026-02-03T12:00:00Z"),
            ({"expires_at": " 3 Days "}, "2026-02-03T12:00:00Z"),
            ({"expires_at": "30d"}, "2026-03-02T12:00:00Z"),
            ({"expires_at": "tomorrow"}, "2026-02-01T00:00:00Z"),
            ({"expires": "a month"}, "2026-02-28T12:00:00Z"),
            ({"expiry": "+2h"}, "2026-01-31T14:00:00Z"),
            ({"ttl": "90 min"}, "2026-01-31T13:30:00Z"),
            ({"ttl_seconds": 3600}, "2026-01-31T13:00:00Z"),
            ({"expiresInDays": "7"}, "2026-02-07T12:00:00Z"),
        )
    ),
    (
        CreateMemories,
        {"memories": [{"content": "x", "ttl": "1 year"}]},
        {"memories": [{"content": "x", "expires_at": "2027-01-31T12:00:00Z"}]},
    ),
    (UpdateMemory, {"memory_id": MEMORY, "ttl": "1w"}, {"memory_id": MEMORY, "expires_at": "2026-02-07T12:00:00Z"}),
    (CreateMemory, {"content": "x", "date": "Yesterday"}, {"content": "x", "occurred_at": "2026-01-30T00:00:00Z"}),
    (
        SearchMemories,
        {"query": "x", "created_after": "today"},
        {"query": "x", "created_after": "2026-01-31T00:00:00Z"},
    ),
    (CreateMemory, {"content": "x", "type": "Fact"}, {"content": "x", "memory_type": "semantic"}),
    (SearchMemories, {"query": "x", "kind": "how-to"}, {"query": "x", "memory_type": "procedural"}),
    (SearchMemories, {"query": "x", "mode": "keyword"}, {"query": "x", "mode": "lexical"}),
    (ListMemories, {"page_size": "7", "next_cursor": ""}, {"limit": 7}),
    (GetAgent, {"agent": "bob"}, {"agent_id": "bob"}),
    (RegisterAgent, {"agent_id": "bob", "role": "AGENT"}, {"agent_id": "bob", "role": "agent"}),
    (GetMemoryStats, {"random_string": "dummy", "tool_call_id": 1}, {}),
]

REFUSED: list[tuple[type, dict[str, Any], str]] = [
    (SearchMemories, {"query": "", "limit": "five"}, "limit"),
    (SearchMemories, {"query": "x", "limit": 5.5}, "limit"),
    (SearchMemories, {"query": "x", "limit": True}, "limit"),
    (SearchMemories, {"query": "x", "tags": ["a", "b"]}, "tags"),
    (SearchMemories, {"query": "x", "mode": "sematic"}, "mode"),
    (SearchMemories, {"query": "x", "explain": "maybe"}, "explain"),
    (SearchMemories, {"query": "x", "explain": 2}, "explain"),
    (SearchMemories, {"query": "x", "as_of": "soon"}, "as_of"),
    (SearchMemories, {"query": "x", "q": "y"}, "q"),
    (CreateMemory, {"content": "x", "occurred_at": "2026"}, "occurred_at"),
    (CreateMemory, {"content": "x", "occurred_at": True}, "occurred_at"),
    (CreateMemory, {"content": "x", "expires": 3600}, "expires_at"),
    (CreateMemory, {"content": "x", "ttl": 3600}, "expires_at"),
    (CreateMemory, {"content": "x", "expires_at": "3m"}, "expires_at"),
    (CreateMemory, {"content": "x", "expires_at": "today"}, "expires_at"),
    (CreateMemory, {"content": "x", "expires_at": "3 days ago"}, "expires_at"),
    (CreateMemory, {"content": "x", "expires_at": "999999999 years"}, "expires_at"),
    (CreateMemory, {"content": "x", "occurred_at": "3 days"}, "occurred_at"),
    (SearchMemories, {"query": "x", "created_after": "7d"}, "created_after"),
    (CreateMemory, {"content": "x", "importance": 8}, "importance"),
    (CreateMemory, {"content": "x", "type": "note"}, "memory_type"),
    (CreateMemory, {"content": "x", "user_id": "ana"}, "user_id"),
    (CreateMemory, {"content": "x", "expiry": "86400"}, "expires_at"),
    (CreateMemory, {"content": "x", "date": 2024}, "occurred_at"),
    (CreateMemory, {"content": "x", "date": 20240131}, "occurred_at"),
    (SearchMemories, {"query": "x", "occurred_after": 2024.0}, "occurred_after"),
    (CreateMemories, {"memories": ["x", '{"content": "y", "access_level": "public"}']}, "memories[1]"),
    (UpdateMemory, {"memory_id": MEMORY, "tag": "a"}, "tag"),
    (ListMemories, {"_agent_id": "bob"}, "_agent_id"),
    (ListMemories, {"limit" + " " * 59 + "zzz": 3}, "limit" + " " * 59 + "zzz"),
    (CreateMemory, {"content": "x", "metadata": '{"a": 1, "a": 2}'}, "metadata"),
    (CreateMemory, {"content": "x", "metadata": "about tea"}, "metadata"),
    *(
        (CreateMemory, {"content": text}, "content")
        for text in ("\x1b", "\x1b[31", "\x1b]8;;\na\x07", "\x1b[0m\x08", "\x1b[m")
    ),
    *(
        (CreateMemory, {"content": "x", "tags": written}, "tags")
        for written in ("['a', 'b'", "{a: b}", '{"a": 1}', "['a'] b", "[[a]]", "['a' 'b']", "[a], [b]")
    ),
    (CreateMemory, {"content": "x", "importance": "high"}, "importance"),
    (CreateMemory, {"content": "x", "colour": "red"}, "colour"),
    (CreateMemory, {"content": True}, "content"),
    (GetMemory, {"memory_id": MEMORY[:7]}, "memory_id"),
    (DeleteMemory, {"memory_id": MEMORY[:-1]}, "memory_id"),
    (UpdateMemory, {"memory_id": MEMORY, "source": ""}, "source"),
]


@pytest.mark.parametrize(
    ("cls", "sent", "meant"), TAKEN, ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else ""
)
def test_what_can_mean_one_thing_is_taken_as_that(cls: type, sent: dict[str, Any], meant: dict[str, Any]) -> None:
    jsonschema.validate(meant, schema_of(cls))
    assert understood(sent, cls, NOW) == meant
    assert request_of(sent, cls, NOW) == structure(meant, cls)


@pytest.mark.parametrize(
    ("cls", "sent", "field"), REFUSED, ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else ""
)
def test_what_can_mean_two_things_or_none_is_refused(cls: type, sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        request_of(sent, cls, NOW)

    assert f"{field}: " in refused.value.message
    example = refused.value.message.partition("For example: ")[2]
    structure(json.loads(example), cls)


@pytest.mark.parametrize(
    ("cls", "sent", "told"),
    [
        (CreateMemory, {"importance": "high"}, "Give a number from 0 to 1; For example"),
        (CreateMemory, {"type": "note"}, "semantic, procedural, working. Other words are for tags or metadata"),
        (CreateMemory, {"ttl": 3600}, 'A span such as "30d" or "3600 seconds" will do'),
        (CreateMemory, {"user_id": "ana"}, "Memories belong to the agent that calls: leave it out"),
        (SearchMemories, {"limit": 500}, 'Give a number from 1 to 100; For example: {"query": "word", "limit": 10}'),
        (SearchMemories, {"tags": ["a", "b"]}, "Did you mean tags_any or tags_all?"),
        (ListMemories, {"sort": "newest"}, "sort: is unknown. Known are: "),
        (ListMemories, {"since": "2026-01-31"}, "Did you mean created_after or occurred_after?"),
    ],
)
def test_a_refusal_says_what_is_taken(cls: type, sent: dict[str, Any], told: str) -> None:
    text = {CreateMemory: {"content": "x"}, SearchMemories: {"query": "x"}}.get(cls, {})
    with pytest.raises(InvalidField) as refused:
        request_of({**text, **sent}, cls, NOW)
    assert told in refused.value.message


def test_a_span_is_no_time_where_nobody_knows_from_when_on() -> None:
    with pytest.raises(InvalidField, match="expires_at"):
        request_of({"content": "x", "expires_at": "30d"}, CreateMemory)


@pytest.mark.parametrize("arguments", [[], "", " ", "{}", None])
def test_no_arguments_are_the_empty_object(arguments: object) -> None:
    assert request_of(arguments, ListMemories, NOW) == ListMemories()
    with pytest.raises(InvalidField, match="content: is missing"):
        request_of(arguments, CreateMemory, NOW)


@pytest.mark.parametrize("name", [1, None, ("content",)])
def test_what_is_no_name_in_python_is_refused(name: object) -> None:
    with pytest.raises(InvalidField, match="is no string"):
        request_of({"content": "x", name: 2}, CreateMemory)
    with pytest.raises(InvalidField, match=r"memories\[0\].*is no string"):
        request_of({"memories": [{"content": "x", name: 2}]}, CreateMemories)


def test_all_that_is_wrong_is_told_at_once() -> None:
    sent = {"limit": "many", "mode": "both", "colour": "red", "tags_any": ["ok", False], "min_importance": 2}

    with pytest.raises(InvalidField) as refused:
        request_of(sent, SearchMemories)

    assert refused.value.field == "limit"
    for name in ("limit", "mode", "colour", "tags_any[1]", "min_importance", "query"):
        assert f"{name}: " in refused.value.message


def test_all_that_is_wrong_in_a_batch_is_told_by_its_place() -> None:
    with pytest.raises(InvalidField) as refused:
        request_of({"memories": [{"content": "x"}, {"content": "", "importance": 3}, 7]}, CreateMemories)

    for name in ("memories[1].content", "memories[1].importance", "memories[2]"):
        assert f"{name}: " in refused.value.message


def test_of_very_much_that_is_wrong_some_is_told() -> None:
    with pytest.raises(InvalidField, match="and more") as refused:
        request_of({"memories": [{"content": 1.5}] * 1000}, CreateMemories)

    assert len(refused.value.message) < 1500


def test_every_alias_is_for_a_field_that_there_is_and_is_none_itself() -> None:
    classes = (CreateMemory, CreateMemories, SearchMemories, ListMemories, GetMemory, GetAgent, RegisterAgent)
    names = {name for cls in classes for name in schema_of(cls)["properties"]}

    assert {name for names in ALIASES.values() for name in names} <= names
    assert not (IGNORED & ALIASES.keys())
    assert not (names & (IGNORED | ALIASES.keys()))


def test_a_given_field_is_never_replaced_by_another_name_of_it() -> None:
    assert known_names({"query": "x", "text": "y"}, SearchMemories) == {"query": "x", "text": "y"}


@pytest.mark.parametrize(
    "sent",
    [
        {"memories": "[" * 300_000},
        {"memories": "[" + "{}," * 80_000 + "{}]"},
        {"memories": ["x"] * 400_000},
        {"memories": [{"content": "x", "tags": "a," * 1_000_000}]},
        {"memories": [{"content": "x", "tags": "['" * 16_000}] * 100},
        {"memories": [{"content": "x", "metadata": "{" * 200_000}]},
        {"memories": [{"content": "x", "occurred_at": "9" * 1_000_000}]},
        {"memories": [{"content": "x", "importance": "9" * 1_000_000}]},
        {"memories": [{"content": "x", "sequence": "9" * 1_000_000}]},
    ],
    ids=lambda value: str(value)[:40],
)
def test_reading_is_bounded(sent: dict[str, Any]) -> None:
    before = time.thread_time()
    with pytest.raises(InvalidField):
        request_of(sent, CreateMemories)
    assert time.thread_time() - before < 2


@pytest.mark.parametrize(
    "sent", [{f"k{n}": 1 for n in range(190_000)}, {"tag": "ab," * 2_700_000}], ids=["names", "words"]
)
def test_looking_at_names_is_bounded(sent: dict[str, Any]) -> None:
    """They are looked at on the event loop, to see how much room an answer needs."""
    before = time.thread_time()
    known_names(sent, ListMemories)
    assert time.thread_time() - before < 0.1
