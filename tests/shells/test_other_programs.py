"""Files of other programs: told apart by what they hold, and imported whole, entry by entry."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.shells.inside import Inside
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.recognising import Stream
from tmws_cli.transfer.records import Item, Record, Refusal, Skip
from tmws_core.messages.memory import CreateMemory

DAY = "2024-07-01T13:20:00+00:00"
UUID = "0f6b1a2c-1111-4222-8333-44445555666"


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def document(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def read(raw: bytes, format_: str = "auto", encoding: str | None = None) -> tuple[str, list[Item]]:
    stream = Stream(None, io.BytesIO(raw), len(raw), ignore_unknown=False, encoding=encoding)
    found = stream.recognised(format_)
    return found.format, list(found.source)


def memories(raw: bytes, program: str) -> list[CreateMemory]:
    name, items = read(raw)
    assert name == program
    assert all(isinstance(item, Record) for item in items), items
    return [item.request for item in items if isinstance(item, Record)]


ADA = {
    "type": "entity",
    "name": "Ada",
    "entityType": "person",
    "observations": ["likes tea", {"content": "plays chess"}],
}
BOX = {"type": "entity", "name": "Box", "entityType": "thing", "observations": []}
OWNS = {"type": "relation", "from": "Ada", "to": "Box", "relationType": "looks_after"}


@pytest.mark.parametrize("raw", [lines(ADA, BOX, OWNS), document({"entities": [ADA, BOX], "relations": [OWNS]})])
def test_a_graph_of_server_memory_is_observations_and_relations(raw: bytes) -> None:
    tea, chess, box, owns = memories(raw, "MCP server-memory")
    assert [each.content for each in (tea, chess, box, owns)] == [
        "Ada: likes tea",
        "Ada: plays chess",
        "Box (thing)",
        "Ada looks after Box",
    ]
    assert (tea.tags, tea.metadata) == (("person",), {"entity": "Ada", "entity_type": "person"})
    assert owns.metadata == {"from": "Ada", "to": "Box", "relation_type": "looks_after"}


CHEESE = {
    "id": f"{UUID}6",
    "memory": "Likes cheese",
    "hash": "ab12",
    "metadata": {"topic": "food"},
    "categories": ["food", "likes"],
    "created_at": "2024-07-01T06:20:00.000000-07:00",
    "updated_at": None,
    "expiration_date": "2030-01-01",
    "user_id": "u1",
    "agent_id": "Cook #1",
    "run_id": "r1",
}


@pytest.mark.parametrize(
    "raw",
    [
        lines(CHEESE),
        document([CHEESE]),
        document({"count": 1, "next": None, "previous": None, "results": [CHEESE]}),
        document({"kind": "export", "data": {"memories": [CHEESE]}}),
        document({"u1": [CHEESE]}),
        lines({"results": [CHEESE]}),
    ],
)
def test_mem0_is_read_in_each_of_its_shapes(raw: bytes) -> None:
    [cheese] = memories(raw, "mem0")
    assert (cheese.content, cheese.tags, cheese.session_id) == ("Likes cheese", ("food", "likes"), "r1")
    assert cheese.agent_id is None
    assert cheese.metadata["topic"] == "food"
    assert (cheese.metadata["user_id"], cheese.metadata["agent_id"]) == ("u1", "Cook #1")
    assert cheese.occurred_at is not None
    assert cheese.occurred_at.isoformat() == DAY
    assert cheese.expires_at is not None
    assert cheese.expires_at.year == 2030


def test_points_and_relations_of_mem0_are_read() -> None:
    point = {"id": f"{UUID}7", "payload": {"data": "Speaks Finnish", "user_id": "u"}, "vector": [0.1, 0.2]}
    [finnish] = memories(lines(point), "mem0")
    assert (finnish.content, finnish.metadata) == ("Speaks Finnish", {"id": f"{UUID}7", "user_id": "u"})
    relation = {"source": "ada", "relationship": "lives_in", "destination": "london"}
    raw = document({"results": [CHEESE], "relations": [relation]})
    assert memories(raw, "mem0")[1].content == "ada lives in london"


def test_the_export_of_mcp_memory_service_keeps_types_that_we_do_not_have() -> None:
    docker = {
        "content": "Uses Docker",
        "content_hash": "ab" * 32,
        "tags": ["a", "b"],
        "memory_type": "note",
        "created_at": 1719840000.0,
        "updated_at": 1719840001.5,
        "metadata": {"k": 1},
    }
    vim = {"content": "Uses vim", "content_hash": "cd" * 32, "tags": "x, y", "memory_type": "semantic"}
    raw = document({"export_metadata": {"source_machine": "m"}, "memories": [docker, vim]})
    first, second = memories(raw, "mcp-memory-service")
    assert (first.tags, second.tags) == (("a", "b"), ("x", "y"))
    assert first.occurred_at is not None
    assert first.occurred_at.isoformat() == DAY
    assert (first.metadata["memory_type"], first.metadata["k"], first.memory_type) == ("note", 1, None)
    assert second.memory_type is not None
    assert second.memory_type.value == "semantic"


def message(role: str, text: Any, moment: float | None = None, **more: Any) -> dict[str, Any]:
    content = text if isinstance(text, dict) else {"content_type": "text", "parts": [text]}
    return {"author": {"role": role}, "content": content, "create_time": moment, **more}


def node(parent: str | None, said: dict[str, Any] | None) -> dict[str, Any]:
    return {"parent": parent, "message": said, "children": []}


PICTURE = {"content_type": "multimodal_text", "parts": [{"asset_pointer": "x"}, "What is this?", {"text": "spoken"}]}
CHAT: dict[str, Any] = {
    "title": "Certificates",
    "create_time": 1719840000,
    "conversation_id": "c0ffee00-0000-4000-8000-000000000001",
    "current_node": "e",
    "mapping": {
        "r": node(None, None),
        "s": node("r", message("user", "Of the app.", metadata={"is_visually_hidden_from_conversation": True})),
        "a": node("s", message("user", {"text": "Where are they?"}, 1719840000.5, recipient="all")),
        "b": node("a", message("assistant", "", metadata={"model_slug": "m-1"}) | {"content": "In the vault."}),
        "old": node("a", message("assistant", "Nowhere.")),
        "t": node("b", message("assistant", {"content_type": "code", "text": "look()"}, recipient="python")),
        "u": node("t", message("assistant", {"content_type": "thoughts", "parts": ["They ask again."]})),
        "e": node("u", message("user", PICTURE, 1719840100)),
    },
}


def test_a_chat_is_the_branch_that_it_ended_with_turn_by_turn() -> None:
    asked, answered, last = memories(document([CHAT]), "ChatGPT")
    assert [each.content for each in (asked, answered, last)] == [
        "Where are they?",
        "In the vault.",
        "What is this?\n\nspoken",
    ]
    assert {each.session_id for each in (asked, answered, last)} == {f"chatgpt/{CHAT['conversation_id']}"}
    assert [each.sequence for each in (asked, answered, last)] == [0, 1, 2]
    assert answered.metadata == {"role": "assistant", "title": "Certificates", "model": "m-1"}
    assert answered.occurred_at == asked.occurred_at
    assert asked.occurred_at is not None
    assert asked.occurred_at.isoformat() == "2024-07-01T13:20:00.500000+00:00"


@pytest.mark.parametrize(
    "change",
    [
        {"current_node": None},
        {"current_node": "gone"},
        {"current_node": ["e"]},
        {
            "current_node": None,
            "mapping": {name: {**each, "children": ["e"]} for name, each in CHAT["mapping"].items()},
        },
        {"title": None, "create_time": None},
        {"mapping": {**CHAT["mapping"], "r": node("e", None)}},
        {"mapping": {**CHAT["mapping"], "r": 5, "s": node("gone", {"author": 1, "content": [], "metadata": 5})}},
    ],
)
def test_a_damaged_chat_keeps_what_was_said(change: dict[str, Any]) -> None:
    said = memories(document([{**CHAT, **change}]), "ChatGPT")
    assert [each.content for each in said][:2] == ["Where are they?", "In the vault."]


def test_claude_is_read_with_what_was_attached_and_without_tools() -> None:
    blocks = [{"type": "text", "text": "Read this"}, {"type": "tool_use", "name": "t", "input": {}}, None]
    attached = [{"file_name": "a.txt", "extracted_content": "Text of a file"}, {"file_name": "b.png"}]
    chat = {
        "uuid": "c0ffee00-0000-4000-8000-000000000002",
        "name": "Tea",
        "account": {"uuid": "x"},
        "created_at": "2024-07-01T13:20:00Z",
        "chat_messages": [
            {"uuid": "m1", "sender": "human", "text": "old", "content": blocks, "attachments": attached},
            {"uuid": "m2", "sender": "assistant", "text": "Done.", "created_at": "2024-07-01T13:20:01.5Z"},
        ],
    }
    project = {"uuid": "p", "name": "Plan", "docs": [{"uuid": "d", "filename": "x.md", "content": "Facts"}]}
    asked, file, answered, doc = memories(document([chat, project]), "Claude")
    assert [each.content for each in (asked, file, answered, doc)] == [
        "Read this",
        "a.txt\n\nText of a file",
        "Done.",
        "x.md\n\nFacts",
    ]
    assert (asked.metadata["role"], answered.metadata["role"]) == ("user", "assistant")
    assert asked.occurred_at is not None
    assert asked.occurred_at.isoformat() == DAY
    assert (asked.session_id, answered.session_id, answered.sequence) == (file.session_id, asked.session_id, 2)


def test_a_message_that_is_too_long_for_one_memory_is_several() -> None:
    text = "\n\n".join(["word " * 2000] * 20)
    chat = {**CHAT, "current_node": None, "mapping": {"a": node(None, message("user", text))}}
    said = memories(document([chat]), "ChatGPT")
    assert len(said) == 4
    assert [each.sequence for each in said] == [0, 1, 2, 3]
    assert "".join(each.content for each in said).split() == text.split()


LONG = "\n".join(f"a line with the number {number:05}" for number in range(6000))


@pytest.mark.parametrize(
    ("raw", "program"),
    [
        (document([{"hash": "ab12", **CHEESE, "memory": LONG}]), "mem0"),
        (lines({"type": "entity", "name": "Log", "observations": [LONG]}), "MCP server-memory"),
        (document({"memories": [{"content_hash": "ab" * 32, "content": LONG}]}), "mcp-memory-service"),
        (lines({"id": 7, "text": LONG}), "another program"),
        (document([{"id": "7", "text": LONG}]), "another program"),
        (lines({"content": LONG}), "TMWS"),
        (lines({"content": LONG, "idempotency_key": "mine"}), "TMWS"),
        (f'id,text\n0123456789abcdef,"{LONG}"\n'.encode(), "CSV"),
    ],
)
def test_any_text_that_is_too_long_for_one_memory_is_several(raw: bytes, program: str) -> None:
    said = memories(raw, program)
    assert len(said) == 3
    assert "\n".join(each.content for each in said).removeprefix("Log: ") == LONG
    assert len({each.idempotency_key for each in said}) == 3


@pytest.mark.parametrize(
    "raw",
    [
        lines({"content": "\x1b[31mred\x1b[0m"}),
        lines({"id": 1, "text": "\x1b[31mred\x1b[0m"}),
        b"text,tags\n\x1b[31mred\x1b[0m,a\n",
    ],
)
def test_colours_are_no_part_of_a_text(raw: bytes) -> None:
    [item] = read(raw)[1]
    assert isinstance(item, Record)
    assert item.request.content == "red"


def test_an_entry_without_a_text_is_passed_over_and_named() -> None:
    empty = [{**CHEESE, "memory": None}, {**CHEESE, "memory": " \n"}]
    assert read(document([*empty, CHEESE]))[1][:2] == [
        Skip(place=place, reason="holds no text") for place in ("entry 1", "entry 2")
    ]


NOTE = """---
title: Coffee
type: note
permalink: coffee
---
# Coffee

- [x] a\u2028task
```
- [code] is none
```

## Observations
- [method] Pour over is clearer #brewing
- [site](https://example.org) is a link

## Relations
- relates_to [[Beans]]
- requires [[Grinding|grinders]] (maybe)
"""


def test_observations_of_basic_memory_are_memories_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "coffee.md").write_text(NOTE, encoding="utf-8")
    found = [item.request for item in MarkdownPages.at(tmp_path, ignore_unknown=False) if isinstance(item, Record)]
    task, link, method, relations = found
    assert task.content.endswith("- [x] a\u2028task\n```\n- [code] is none\n```")
    assert link.content.endswith("- [site](https://example.org) is a link")
    assert method.content == "Coffee > Observations\n\n[method] Pour over is clearer #brewing"
    assert (method.tags, method.metadata["category"]) == (("brewing",), "method")
    assert relations.metadata["links"] == ["Beans", "Grinding"]
    assert [each["type"] for each in relations.metadata["relations"]] == ["relates_to", "requires"]


TABLE = (
    'Content,Tags,Created At,importance,city\r\n"Buy ""milk"",\r\nnow",a;b,1719840000,0.9,Oslo\r\n\r\nTea,,,high\r\n'
)


@pytest.mark.parametrize(
    "raw",
    [
        TABLE.encode(),
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.encode("utf-16"),
        TABLE.replace(",", "\t").replace("\t\r\nnow", ",\r\nnow").encode(),
    ],
)
def test_a_table_is_a_memory_a_row(raw: bytes) -> None:
    milk, tea = memories(raw, "CSV")
    assert (milk.content, milk.tags, milk.importance) == ('Buy "milk",\r\nnow', ("a", "b"), 0.9)
    assert milk.metadata == {"created_at": "1719840000", "city": "Oslo"}
    assert milk.occurred_at is not None
    assert milk.occurred_at.isoformat() == DAY
    assert (tea.content, tea.metadata) == ("Tea", {"importance": "high"})


def test_a_row_of_a_table_is_refused_by_itself() -> None:
    raw = 'text;agent_id\n;x\nZürich ist "groß";me\na\n'.encode() + b"long;" + b"x" * 20_000 + b"\n\xfc;\nlast;\n"
    name, items = read(raw)
    assert name == "CSV"
    assert [item.place for item in items if isinstance(item, Refusal)] == ["line 5", "line 6"]
    assert [item.place for item in items if isinstance(item, Skip)] == ["line 2"]
    said = [item.request for item in items if isinstance(item, Record)]
    assert [each.content for each in said] == ['Zürich ist "groß"', "a", "last"]
    assert (said[0].agent_id, said[0].metadata) == (None, {"agent_id": "me"})


def test_dumps_of_unknown_programs_are_read_if_they_have_a_text() -> None:
    [fact] = memories(lines({"id": 7, "text": "A fact", "timestamp": 1719840000123, "type": "x"}), "another program")
    assert (fact.content, fact.metadata["type"]) == ("A fact", "x")
    assert fact.occurred_at is not None
    [vim] = memories(
        lines({"id": "a", "content": "Uses vim", "kind": "taste", "access_level": "public"}), "another program"
    )
    assert vim.access_level.value == "private"
    one, two = memories(document([{"content": "one"}, {"content": "two", "colour": "red"}]), "TMWS")
    assert (one.content, one.metadata, two.content, two.metadata) == ("one", {}, "two", {"colour": "red"})
    [named] = memories(lines({"content": "x", "memory_type": "fact", "created_at": 1719840000}), "TMWS")
    assert (named.memory_type, named.metadata) == (None, {"memory_type": "fact"})
    assert named.occurred_at is not None
    assert named.occurred_at.isoformat() == DAY
    [refusal] = read(lines({"content": "x", "colour": "red"}))[1]
    assert isinstance(refusal, Refusal)


def test_an_id_of_an_unknown_program_is_one_of_its_file_alone() -> None:
    moment = "2024-01-15T10:00:00"
    for raw in (
        b"id,note\n" + moment.encode() + b",a\n",
        lines({"id": moment, "text": "a"}),
        document([{"id": moment, "text": "a"}]),
    ):
        found = [
            record
            for path in (Path("one/x"), Path("two/x"), Path("two/x"), None)
            for record in Stream(path, io.BytesIO(raw), len(raw), ignore_unknown=False).recognised("auto").source
            if isinstance(record, Record)
        ]
        assert [record.is_edition for record in found] == [True, True, True, False]
        one, two, again, piped = (record.request.idempotency_key for record in found)
        assert two == again
        assert len({one, two, piped}) == 3


def test_an_import_of_chats_is_seen_before_and_done_once(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    path = tmp_path / "export.bin"
    path.write_bytes(document([CHAT]))
    coming = command.ok("import", "export.bin", "--dry-run", "--json").answer
    assert (coming["format"], coming["memories"], len(coming["examples"])) == ("ChatGPT", 3, 3)
    assert not command.home.exists() or not list(command.home.glob("*.db"))
    shown = command.ok("import", "-", "--dry-run", stdin=path.read_bytes()).out.splitlines()
    assert shown[0] == "ChatGPT: 3 memories would come, refused 0; nothing is stored"
    assert "2024-07-01" in shown[1]
    assert "Where are they?" in shown[1]
    assert command.ok("import", "export.bin", "--json").answer["stored"] == 3
    changed = {**CHAT["mapping"], "a": node("s", message("user", "Where are they now?", 1719840000.5))}
    path.write_bytes(document([{**CHAT, "mapping": changed}]))
    again = command.ok("import", "export.bin", "--json").answer
    assert (again["stored"], again["already_there"], again["superseded"]) == (1, 2, 1)
    refused = command.run("import", "/bin/ls")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.splitlines() == ["error: path: /bin/ls holds no memories: it is no text"]
