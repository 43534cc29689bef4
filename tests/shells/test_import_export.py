"""Memories in and out of files: complete, resumable, and nothing twice."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.shells.command import Command
from tests.shells.inside import Inside

ELSEWHERE = {"memory_id", "superseded_by", "created_at", "updated_at", "version", "written_by", "transport"}
"""What may differ between a memory and its copy in another home."""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return the command without an embedder: these tests are about texts, and vectors cost time."""
    return Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")


def lines(*memories: dict[str, Any]) -> str:
    return "".join(json.dumps(memory, ensure_ascii=False) + "\n" for memory in memories)


def exported(command: Command) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command.ok("export", "-").out.removesuffix("\n").split("\n")]


def copies(memories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a copy must keep: replacements by the text of what replaced them, the rest as it is."""
    contents = {memory["memory_id"]: memory["content"] for memory in memories}
    return [
        {name: value for name, value in memory.items() if name not in ELSEWHERE}
        | {"replaced_by": contents.get(memory.get("superseded_by", ""))}
        for memory in memories
    ]


def turns(count: int) -> list[dict[str, Any]]:
    """Return memories in the form of the retrieval evaluation sets."""
    return [
        {
            "key": f"talk-{number % 3}/D1:{number}",
            "content": f"Caroline: this is turn number {number}.",
            "session_id": f"talk-{number % 3}/s1",
            "sequence": number,
            "occurred_at": "2023-05-08T13:56:00+00:00",
            "namespace": f"talk-{number % 3}",
        }
        for number in range(count)
    ]


def wait_for_progress(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    assert any(line.startswith("import: 1000 memories") for line in process.stderr)


def test_evaluation_set_is_imported_as_it_is_and_only_once(command: Command) -> None:
    path = command.directory / "memories.jsonl"
    path.write_text(lines(*turns(205)), encoding="utf-8")
    first = command.ok("import", "memories.jsonl", "--json").answer
    assert (first["stored"], first["already_there"], first["refused"]) == (205, 0, 0)
    assert first["without_vector"] == 205
    assert command.ok("import", "memories.jsonl").out == "Stored 0, already there 205, refused 0\n"
    stored = exported(command)
    assert [memory["content"] for memory in stored] == [turn["content"] for turn in turns(205)]
    assert stored[4]["session_id"] == "talk-1/s1"
    assert stored[4]["namespace"] == "talk-1"
    assert stored[4]["sequence"] == 4
    assert stored[4]["occurred_at"] == "2023-05-08T13:56:00Z"


def test_bad_lines_are_reported_with_their_numbers_and_the_others_are_stored(command: Command) -> None:
    bad = [
        b"no json",
        b'["no object"]',
        b'{"content": "\xff"}',
        b'{"content": ""}',
        b'{"content": "x", "colour": "red"}',
        b'{"content": "' + b"x" * (1024 * 1024) + b'"}',
        b'{"content": "x", "created_at": "yesterday"}',
        b'{"content": "x", "shared_with": ["bob"]}',
    ]
    good = [f'{{"content": "good {number}"}}'.encode() for number in range(len(bad))]
    source = b"\n".join(line for pair in zip(good, bad, strict=True) for line in pair)
    done = command.run("import", "-", stdin=b"\xef\xbb\xbf" + source)
    assert done.code == 1
    assert done.out.splitlines()[0] == f"Stored {len(good)}, already there 0, refused {len(bad)}"
    places = [f"line {2 * number + 2}" for number in range(len(bad))]
    assert done.out.splitlines()[1].startswith("Refused: ")
    reports = [line for line in done.err.splitlines() if line.startswith("error: ")]
    reports.sort(key=lambda report: int(report.split()[2].rstrip(":")))
    assert [report.split(": ")[1] for report in reports] == places
    words = ("JSON", "object", "UTF-8", "content", "colour", "1048576", "created_at", "shared_with")
    assert all(word.lower() in report.lower() for word, report in zip(words, reports, strict=True)), reports

    ignoring = command.ok("import", "-", "--ignore-unknown", "--json", stdin=bad[4]).answer
    assert (ignoring["stored"], ignoring["refused"]) == (1, 0)


def test_strict_import_stops_at_the_first_bad_line(command: Command) -> None:
    source = lines({"content": "one"}) + "bad\n" + lines({"content": "two"})
    done = command.run("import", "-", "--strict", "--json", stdin=source)
    assert (done.code, done.answer["stored"], done.answer["refused"]) == (1, 1, 1)
    assert done.answer["refusals"][0]["place"] == "line 2"


def test_foreign_ids_tell_memories_apart_only_together_with_what_is_said_of_them(command: Command) -> None:
    source = lines(
        {"id": 1, "content": "first dump", "created_at": "2024-01-01T00:00:00Z"},
        {"id": 1, "content": "second dump", "agent_id": None},
        {"id": 1, "content": "first dump", "importance": 1.0},
    )
    answer = command.ok("import", "-", "--json", stdin=source).answer
    assert (answer["stored"], answer["already_there"]) == (3, 0)
    first, second, third = exported(command)
    assert first["occurred_at"] == "2024-01-01T00:00:00Z"
    assert second["content"] == "second dump"
    assert (third["content"], third["importance"]) == ("first dump", 1.0)
    again = command.ok("import", "-", "--json", stdin=source).answer
    assert (again["stored"], again["already_there"]) == (0, 3)


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command in a home with memories that have everything that a copy has to keep."""
    command = Inside(tmp_path_factory.mktemp("original")).using(TMWS_ONNX_MODEL_DIR="missing")
    odd = "\n\n  --- \n# not a heading\r\n```\n\u2028 日本語 😀 'quoted': \"yes\"\x85\n\n"
    source = lines(
        {
            "content": odd,
            "tags": ["a", "b: c"],
            "metadata": {"deep": {"list": [1, 2.5, None, True, "\n---\n", 6.02e23, -1e300]}},
        },
        {"content": "likes tea", "agent_id": "alice", "namespace": "acme/backend", "access_level": "team"},
        {"content": "likes coffee", "agent_id": "alice", "namespace": "acme/backend", "access_level": "public"},
        {"content": "read this", "access_level": "shared", "shared_with": ["bob", "carol"], "importance": 0.9},
        {"content": "for everybody", "access_level": "system", "memory_type": "procedural", "source": "a#b"},
        {"content": "gone", "occurred_at": "2020-01-01T00:00:00.000001Z", "expires_at": "2021-01-01T00:00:00Z"},
        {"content": "session", "session_id": "s", "sequence": 3, "metadata": {"tmws": 1}},
    )
    command.ok("import", "-", "--as-exported", stdin=source)
    _, tea, coffee, shared, *_ = (memory["memory_id"] for memory in exported(command))
    command.ok("memory", "share", shared, "carol", "--permission", "write")
    command.ok("memory", "update", tea, "--superseded-by", coffee)
    again = {"content": "likes tea", "agent_id": "alice", "namespace": "acme/backend", "idempotency_key": "again"}
    command.ok("import", "-", "--as-exported", stdin=lines(again))
    return command


@pytest.mark.parametrize("format_", ["jsonl", "markdown"])
def test_copy_in_a_new_home_is_the_same(one_of_each: Command, command: Command, format_: str) -> None:
    copy = str(command.directory / "copy")
    one_of_each.ok("export", copy, "--format", format_)
    done = command.ok("import", copy, "--as-exported", "--format", format_)
    counts = "3 other agents, 1 public, 1 replaced, 1 shared, 1 system, 1 team"
    assert done.out.splitlines()[-1] == f"As the file says: {counts}"
    original = copies(exported(one_of_each))
    assert len(original) == 8
    assert original[1]["replaced_by"] == "likes coffee"
    assert copies(exported(command)) == original
    repeated = command.ok("import", copy, "--as-exported", "--format", format_, "--json").answer
    assert (repeated["stored"], repeated["already_there"]) == (0, 8)
    assert copies(exported(command)) == original


def test_what_a_file_says_of_agents_and_access_is_shown_before_and_not_believed(command: Command) -> None:
    source = lines({"content": "one", "agent_id": "alice", "access_level": "system"}, {"content": "two"})
    coming = command.ok("import", "-", "--dry-run", stdin=source).out.splitlines()
    assert coming[-1].startswith("Yours and private, though the file says otherwise: 1 other agents, 1 system (")
    done = command.ok("import", "-", "--json", stdin=source).answer
    assert (done["as_exported"], done["claims"]) == (False, {"other_agents": 1, "system": 1})
    one, two = exported(command)
    assert (one["agent_id"], one["access_level"]) == (two["agent_id"], "private")


def test_former_texts_go_along(command: Command) -> None:
    memory_id = command.ok("memory", "create", "The rose blooms in May.", "--json").answer["memory_id"]
    command.ok("memory", "update", memory_id, "--content", "The rose blooms in June.")
    command.ok("memory", "update", memory_id, "--importance", "0.9")
    command.ok("memory", "update", memory_id, "--content", "The rose blooms in July.")
    command.ok("export", "memories.jsonl")
    elsewhere = command.using(TMWS_HOME=str(command.directory / "elsewhere"))

    first = elsewhere.ok("import", "memories.jsonl", "--json").answer
    again = elsewhere.ok("import", "memories.jsonl", "--json").answer

    assert (first["stored"], again["stored"], again["already_there"]) == (1, 0, 1)
    [memory] = exported(elsewhere)
    assert (memory["content"], memory["importance"]) == ("The rose blooms in July.", 0.9)
    assert [each["content"] for each in memory["history"]] == ["The rose blooms in May.", "The rose blooms in June."]


def test_former_texts_that_are_none_are_refused(command: Command) -> None:
    done = command.run("import", "-", stdin=lines({"content": "one", "history": [{"text": "two"}]}))

    assert done.code == 1
    assert "history: is no list of former texts" in done.err


def test_import_that_was_killed_goes_on_and_stores_nothing_twice(command: Command) -> None:
    count = 5000
    (command.directory / "many.jsonl").write_text(lines(*turns(count)), encoding="utf-8")
    with command.start("import", "many.jsonl") as process:
        wait_for_progress(process)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    resumed = command.ok("import", "many.jsonl", "--json").answer
    assert resumed["already_there"] >= 1000
    assert resumed["stored"] > 0
    assert resumed["stored"] + resumed["already_there"] == count
    assert [memory["content"] for memory in exported(command)] == [turn["content"] for turn in turns(count)]


def test_interrupt_ends_quietly_with_130(command: Command) -> None:
    (command.directory / "many.jsonl").write_text(lines(*turns(5000)), encoding="utf-8")
    with command.start("import", "many.jsonl") as process:
        wait_for_progress(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_markdown_folder_becomes_a_memory_a_section(command: Command) -> None:
    folder = command.directory / "handbook"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "page.md").write_text("secret", encoding="utf-8")
    (folder / "on-call.md").write_text(
        "---\ntags: [ops, night]\nnamespace: acme\nreviewed: 2026-01-31\n---\n"
        "# On call\n\n## Empty\n\n## Escalation\n\nPage the lead.\n\n```\n# no heading\n```\n",
        encoding="utf-8",
    )
    (folder / "sub" / "plain.md").write_text("Just text.\n", encoding="utf-8")
    (folder / "broken.md").write_text("---\ntags: [\n---\ntext\n", encoding="utf-8")
    done = command.run("import", "handbook", "--json")
    assert (done.code, done.answer["stored"]) == (1, 3)
    assert done.answer["refusals"][0]["place"] == "broken.md"
    empty, section, plain = exported(command)
    assert empty["content"] == "On call > Empty"
    assert section["content"] == "On call > Escalation\n\nPage the lead.\n\n```\n# no heading\n```"
    assert (section["source"], section["session_id"]) == ("on-call.md#escalation", "on-call.md")
    assert (section["tags"], section["namespace"]) == (["ops", "night"], "acme")
    assert section["metadata"] == {"reviewed": "2026-01-31"}
    assert section["memory_type"] == "semantic"
    assert plain["content"] == "plain\n\nJust text."
    assert plain["session_id"] == "sub/plain.md"
    assert command.run("import", "handbook", "--json").answer["already_there"] == 3
