"""Sessions that coding agents write down line by line: what was said is imported, turn by turn, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.shells.command import Command
from tests.shells.inside import Inside
from tests.shells.test_other_programs import document, lines, read
from tmws_cli.transfer.elements import ELEMENT_BYTES
from tmws_cli.transfer.lines import NO_TURNS
from tmws_cli.transfer.records import Record, Refusal, Skip
from tmws_cli.transfer.several import in_folder
from tmws_core.messages.memory import CreateMemory

SESSION = "5e55104e-0000-4000-8000-000000000001"


def passed_over(number: int) -> Skip:
    return Skip.of_many(number, ("line", "lines"), NO_TURNS)


def line(number: int, content: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    return {
        "parentUuid": f"u{number - 1}" if number else None,
        "isSidechain": False,
        "cwd": "/home/dana/harbour",
        "sessionId": SESSION,
        "type": role,
        "message": {"role": role, "content": content, **({"model": "m-1"} if role == "assistant" else {})},
        "uuid": f"u{number}",
        "timestamp": f"2024-07-01T13:20:{number:02}.000Z",
        **more,
    }


def text(said: Any) -> dict[str, Any]:
    return {"type": "text", "text": said}


SUMMARY = {"type": "summary", "summary": "Harbour lights", "leafUuid": "u9"}
SNAPSHOT = {"type": "file-history-snapshot", "messageId": "u0", "snapshot": {"text": "x" * 70_000}}
QUEUED = {"type": "queue-operation", "operation": "enqueue", "content": "Why?", "sessionId": SESSION}
ASKED = line(0, "Why do the lights flicker?")
ANSWERED = line(
    1,
    [
        {"type": "thinking", "thinking": "Let me see."},
        text("The relay is loose."),
        {"type": "tool_use", "id": "t", "name": "Edit", "input": {"text": "x"}},
    ],
    "assistant",
)
RESULT = line(2, [{"type": "tool_result", "tool_use_id": "t", "content": "done"}])
LOOKED_AT = [
    line(3, [text("Look at this:"), {"type": "image", "source": {"data": "x" * 2**20}}, text("Is it the one?")])
]
TYPED_MEANWHILE: dict[str, Any] = {"type": "queued_command", "prompt": "And the horn?", "commandMode": "prompt"}
NOTES = [
    line(9, "", "attachment", attachment={**TYPED_MEANWHILE, "origin": {"kind": "peer"}}),
    line(9, "", "attachment", attachment={**TYPED_MEANWHILE, "commandMode": "task-notification"}),
    line(4, "Caveat: mine.", isMeta=True),
    line(5, "An agent was told this.", isSidechain=True),
    line(6, "It went on from here.", isCompactSummary=True),
    line(7, [text("Prompt is too long")], "assistant", isApiErrorMessage=True),
    line(8, "turned", "system"),
    {"type": "pr-link", "sessionId": SESSION, "url": "x"},
]


def said(raw: bytes, program: str) -> tuple[list[CreateMemory], Skip]:
    name, [*items, last] = read(raw)
    assert name == program
    assert all(isinstance(item, Record) for item in items), items
    assert isinstance(last, Skip)
    return [item.request for item in items if isinstance(item, Record)], last


@pytest.mark.parametrize("first", [SUMMARY, SNAPSHOT, QUEUED])
def test_a_session_of_claude_code_is_what_was_said_in_it(first: dict[str, Any]) -> None:
    typed = line(10, "", "attachment", attachment={**TYPED_MEANWHILE, "origin": {"kind": "human"}})
    raw = lines(first, ASKED, ANSWERED, RESULT, *LOOKED_AT, *NOTES, typed)
    [asked, answered, looked, meanwhile], rest = said(raw, "Claude Code")
    assert [each.content for each in (asked, answered, looked, meanwhile)] == [
        "Why do the lights flicker?",
        "The relay is loose.",
        "Look at this:\n\nIs it the one?",
        "And the horn?",
    ]
    assert meanwhile.metadata["role"] == "user"
    assert {each.session_id for each in (asked, answered, looked)} == {f"claude-code/{SESSION}"}
    assert [each.sequence for each in (asked, answered, looked)] == [0, 1, 2]
    assert answered.metadata == {"role": "assistant", "cwd": "/home/dana/harbour", "model": "m-1"}
    assert answered.occurred_at is not None
    assert answered.occurred_at.isoformat() == "2024-07-01T13:20:01+00:00"
    assert rest == passed_over(2 + len(NOTES))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("<command-name>/clear</command-name>\n<command-args></command-args>", ""),
        ("<local-command-stdout>ls\n<bash-input></local-command-stdout>", ""),
        ("[Request interrupted by user for tool use]", ""),
        ("<ide_opened_file>a.py</ide_opened_file> Fix it.", "Fix it."),
        ("Fix it.\n<system-reminder>Be <b>brief</b>.</system-reminder>\n", "Fix it."),
        ("What does <command-name> mean?", "What does <command-name> mean?"),
        ("<system-reminder> is a tag", "<system-reminder> is a tag"),
        ("<command-name>" * 50_000 + "</command-name>" + "<system-reminder>" * 50_000, None),
    ],
)
def test_what_a_program_puts_into_a_text_of_the_user_is_none_of_it(typed: str, kept: str | None) -> None:
    # The last one took minutes where the time grew with the square of the length.
    _, items = read(lines(line(0, typed), line(1, [text(typed)])))
    contents = [item.request.content for item in items if isinstance(item, Record)]
    assert kept is None or contents == [kept] * 2 * bool(kept)


def event(number: int, name: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": f"2024-07-01T13:20:{number:02}Z", "type": name, "payload": payload}


BEGUN = event(0, "session_meta", id=SESSION, cwd="/home/dana/harbour", source="cli", base_instructions="x" * 70_000)
CONTEXT = "# Context from my IDE setup:\n\n## Open tabs:\n- a.py\n\n## My request for Codex:\nFix it."
ROLLOUT = [
    event(1, "response_item", type="message", role="user", content=[{"type": "input_text", "text": "Rules."}]),
    event(2, "event_msg", type="user_message", message="Rules.", kind="user_instructions"),
    event(3, "event_msg", type="user_message", message="Why do the lights flicker?", kind="plain"),
    event(4, "event_msg", type="agent_reasoning", text="Let me see."),
    event(5, "event_msg", type="agent_message", message="The relay is loose."),
    event(6, "event_msg", type="user_message", message=CONTEXT, images=[]),
]


def item(number: int, name: str, content: Any) -> dict[str, Any]:
    return event(number, "event_msg", type="item_completed", item={"type": name, "id": "i", "content": content})


LATER = [
    ROLLOUT[0],
    item(2, "Plan", [text("Look.")]),
    item(3, "UserMessage", [text("Why do the lights flicker?"), {"type": "image", "image_url": "x"}]),
    item(4, "Reasoning", [text("Let me see.")]),
    item(5, "AgentMessage", [{"type": "Text", "text": "The relay is loose."}]),
    item(6, "UserMessage", [text(CONTEXT)]),
]


@pytest.mark.parametrize("rollout", [ROLLOUT, [{**each, "ordinal": 1} for each in LATER]])
def test_a_session_of_codex_is_what_was_said_in_it(rollout: list[dict[str, Any]]) -> None:
    [asked, answered, fix], rest = said(lines(BEGUN, *rollout), "Codex")
    assert [each.content for each in (asked, answered, fix)] == [
        "Why do the lights flicker?",
        "The relay is loose.",
        "Fix it.",
    ]
    assert [each.sequence for each in (asked, answered, fix)] == [0, 1, 2]
    assert (answered.session_id, asked.session_id) == (f"codex/{SESSION}", f"codex/{SESSION}")
    assert answered.metadata == {"role": "assistant", "cwd": "/home/dana/harbour"}
    assert rest == passed_over(4)
    for source in ({"source": {"subagent": "review"}}, {"thread_source": "subagent"}):
        begun = {**BEGUN, "payload": {**BEGUN["payload"], **source}, "ordinal": 0}
        assert said(lines(begun, *rollout), "Codex") == ([], passed_over(7))


@pytest.mark.parametrize("beginning", [ASKED, BEGUN])
def test_whatever_a_line_of_a_session_holds_it_stops_no_other(beginning: dict[str, Any]) -> None:
    wild: list[Any] = [None, 5, "text", [5, {"type": "text", "text": 5}], {"text": "x"}, [[[]]]]
    damaged = [{**beginning, name: value} for name in beginning for value in wild]
    raw = lines(beginning, *damaged, []) + b'{"parentUuid": ' + b"[" * 5000 + b"\n" + b'{"type":"us\n'
    raw += b'{"type": "' + b"x" * ELEMENT_BYTES + b'"}\n' + lines(line(1, "Go on."), *LATER, *ROLLOUT)
    items = read(raw)[1]
    refusals = [item.reason for item in items if isinstance(item, Refusal)]
    assert [reason.partition(":")[0] for reason in refusals[-4:]] == [
        "is no JSON object",
        "is no JSON",
        "is no JSON",
        f"is longer than {ELEMENT_BYTES} bytes",
    ]
    assert not [reason for reason in refusals if "Error" in reason]
    assert any(isinstance(item, Record) and item.request.content in ("Go on.", "Fix it.") for item in items)
    assert isinstance(items[-1], Skip)


OBSERVED = {
    "id": 12,
    "memory_session_id": SESSION,
    "project": "harbour",
    "text": None,
    "type": "bugfix",
    "title": "Relay tightened",
    "subtitle": "It was loose",
    "facts": '["The relay, of 1990, was loose", "Now it is not"]',
    "narrative": "The lights flickered when the ferry came.",
    "concepts": ["gotcha", "what-changed"],
    "files_read": "[]",
    "files_modified": '["lights.py"]',
    "created_at": None,
    "created_at_epoch": 1719840000000,
}
SUMMED_UP = {
    "id": 12,
    "memory_session_id": SESSION,
    "request": "Mend the lights",
    "investigated": "",
    "learned": "Relays age",
    "completed": "Tightened",
    "next_steps": "Buy one",
    "created_at": "2024-07-01T13:20:00Z",
}
HELD = {"id": 1, "memory_session_id": SESSION, "user_prompt": "Why?", "started_at": "2024-07-01T13:20:00Z"}
PROMPTED = {"id": 12, "content_session_id": SESSION, "prompt_number": 2, "prompt_text": "Why do the lights flicker?"}
ARRAYS = {"observations": [OBSERVED], "sessions": [HELD, HELD], "summaries": [SUMMED_UP], "prompts": [PROMPTED]}


@pytest.mark.parametrize("indent", [None, 2])
def test_the_export_of_claude_mem_is_read_whole(indent: int | None) -> None:
    name, items = read(json.dumps({"exportedAt": "2024-07-01", "query": "", **ARRAYS}, indent=indent).encode())
    assert name == "claude-mem"
    seen, *sessions, summary, prompt = items
    assert (
        sessions == [Skip.of_many(1, ("entry", "entries"), "sessions, which hold no text but their first prompt")] * 2
    )
    assert isinstance(seen, Record)
    assert isinstance(summary, Record)
    assert isinstance(prompt, Record)
    assert seen.request.content == (
        "Relay tightened\n\nIt was loose\n\nThe lights flickered when the ferry came.\n\n"
        "- The relay, of 1990, was loose\n- Now it is not"
    )
    assert seen.request.tags == ("bugfix", "gotcha", "what-changed")
    assert (seen.request.metadata["project"], seen.request.metadata["files_modified"]) == ("harbour", ["lights.py"])
    assert "files_read" not in seen.request.metadata
    assert summary.request.content == (
        "Mend the lights\n\nLearned: Relays age\n\nCompleted: Tightened\n\nNext steps: Buy one"
    )
    assert prompt.request.content == "Why do the lights flicker?"
    assert (prompt.request.sequence, prompt.request.metadata["role"]) == (2, "user")
    assert {each.request.session_id for each in (seen, summary, prompt)} == {f"claude-mem/{SESSION}"}
    assert seen.request.occurred_at == summary.request.occurred_at
    assert len({each.request.idempotency_key for each in (seen, summary, prompt)}) == 3


@pytest.mark.parametrize("entry", [OBSERVED, SUMMED_UP, PROMPTED, HELD])
def test_whatever_an_entry_of_claude_mem_holds_it_is_taken_or_too_long(entry: dict[str, Any]) -> None:
    wild: list[Any] = [None, 5, -1, True, "[", "[[5]]", [5, ["x"]], {"text": "x"}, "x" * 70_000]
    items = read(document([{**entry, name: value} for name in entry for value in wild]))[1]
    assert len(items) >= len(entry) * len(wild)
    refusals = [item.reason for item in items if isinstance(item, Refusal)]
    assert not [reason for reason in refusals if not reason.startswith("metadata: has more than")]


def test_lines_of_a_session_in_an_array_are_read_one_by_one() -> None:
    items = read(document([ASKED, ANSWERED]))[1]
    assert [item.request.content for item in items if isinstance(item, Record)] == [
        "Why do the lights flicker?",
        "The relay is loose.",
    ]


def test_the_sessions_in_a_folder_are_imported_once_and_as_they_go_on(tmp_path: Path) -> None:
    command: Command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    project = tmp_path / "projects" / "-home-dana-harbour"
    (project / "memory").mkdir(parents=True)
    (project / "memory" / "MEMORY.md").write_text("The relay is old.\n", encoding="utf-8")
    (project / "a.jsonl").write_bytes(lines(SUMMARY, ASKED, ANSWERED))
    (project / "b.jsonl").write_bytes(lines(BEGUN, *ROLLOUT))
    done = command.ok("import", "projects")
    assert done.out.splitlines() == ["Stored 6, already there 0, refused 0", f"Passed over: 5 lines ({NO_TURNS})"]
    with (project / "a.jsonl").open("ab") as file:
        file.write(lines(RESULT, line(3, "Thanks.")))
    assert command.ok("import", "projects").out.splitlines()[0] == "Stored 1, already there 6, refused 0"
    answer = command.ok("import", "projects/-home-dana-harbour/a.jsonl", "--json").answer
    assert (answer["format"], answer["already_there"], answer["skipped"]) == ("Claude Code", 3, 1)


def test_a_file_is_not_said_to_hold_memories_if_all_of_it_would_be_refused(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(lines(*({"message": {"level": number}} for number in range(30))))
    (tmp_path / "texts.json").write_text(json.dumps([{"name": "large", "memory": "64 GB"}]), encoding="utf-8")
    assert [
        (item.place, item.reason) for item in in_folder(tmp_path, ignore_unknown=False) if isinstance(item, Skip)
    ] == [
        ("texts.json", "1 file that may hold memories: name it by itself to import it"),
        ("log.jsonl", "1 file of another kind"),
    ]
