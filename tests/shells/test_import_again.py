"""What an import says that it did, and what it does when it is run again."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.shells.command import Command
from tests.shells.inside import Inside
from tests.shells.test_import_export import exported, lines
from tmws_core.messages.memory import ALL

BACKUP = "# Backup\n\nThe backup of the ledger database starts every night at 03:45.\n"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return the command without an embedder: these tests are about texts, and vectors cost time."""
    return Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")


def counts(command: Command, source: str) -> dict[str, int]:
    """Import a path, or lines, and return what was counted, zeros left out."""
    is_path = "\n" not in source
    done = command.run("import", source if is_path else "-", "--json", stdin="" if is_path else source)
    names = ("stored", "already_there", "merged", "superseded", "refused")
    return {name: done.answer[name] for name in names if done.answer[name]}


def current(command: Command) -> list[str]:
    answer = command.ok("memory", "list", "--oldest-first", "--limit", "100", "--max-chars", str(ALL), "--json").answer
    return [memory["content"] for memory in answer["memories"]]


def note(command: Command, text: str, name: str = "notes/backup.md") -> None:
    path = command.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_what_was_deleted_is_imported_again(command: Command) -> None:
    source = lines({"content": "Restore me please"})
    assert counts(command, source) == {"stored": 1}
    [memory] = exported(command)
    command.ok("memory", "delete", memory["memory_id"])
    assert counts(command, source) == {"stored": 1}
    assert counts(command, source) == {"already_there": 1}
    assert current(command) == ["Restore me please"]


def test_equal_texts_are_imported_wholly_and_once(command: Command) -> None:
    said: list[dict[str, Any]] = [
        {"content": "Yes.", "session_id": "a", "sequence": 1},
        {"content": "Yes.", "session_id": "b", "sequence": 1},
        {"content": "Yes.", "session_id": "b", "sequence": 2},
        {"content": "Yes.", "importance": 0.1},
        {"content": "Yes.", "importance": 0.9},
        {"content": "Yes.", "tags": ["polite"]},
        {"content": "Yes.", "occurred_at": "2024-01-01T00:00:00Z"},
        {"id": 7, "content": "Backup done."},
        {"id": 8, "content": "Backup done."},
    ]
    assert counts(command, lines(*said)) == {"stored": 7, "merged": 1, "already_there": 1}
    assert counts(command, lines(*said)) == {"already_there": 9}

    said[8]["content"] = "Backup failed."
    assert counts(command, lines(*said)) == {"stored": 1, "already_there": 8}
    assert counts(command, lines(*said)) == {"already_there": 9}
    assert current(command)[-2:] == ["Backup done.", "Backup failed."]


def test_a_key_that_a_file_gives_to_two_texts_is_refused_for_the_second(command: Command) -> None:
    source = lines({"content": "One.", "idempotency_key": "k"}, {"content": "Two.", "idempotency_key": "k"})
    done = command.run("import", "-", "--json", stdin=source)
    assert (done.code, done.answer["stored"], done.answer["refused"]) == (1, 1, 1)
    [refusal] = done.answer["refusals"]
    assert refusal["place"] == "line 2"
    assert "idempotency_key: was used for memory" in refusal["message"]


def test_an_edited_note_supersedes_the_former_one(command: Command) -> None:
    note(command, "The bank opens at nine.\n", "notes/bank.md")
    note(command, BACKUP)
    assert counts(command, "notes") == {"stored": 2}

    for hour in ("02:15", "04:00", "02:15"):
        note(command, BACKUP.replace("03:45", hour))
        assert counts(command, "notes") == {"stored": 1, "already_there": 1, "superseded": 1}
        assert counts(command, "notes") == {"already_there": 2}
        bank, backup = current(command)
        assert bank.endswith("The bank opens at nine.")
        assert hour in backup
    before, *_, last = [memory for memory in exported(command) if "backup" in memory["content"]]
    assert before["superseded_by"] != last["memory_id"]
    assert "superseded_by" not in last


def test_two_edits_without_an_import_between_leave_the_last_one(command: Command) -> None:
    for hour in ("03:45", "02:15", "04:00"):
        note(command, BACKUP.replace("03:45", hour))
        command.ok("import", "notes")
    assert ["04:00" in text for text in current(command)] == [True]
    done = command.ok("import", "notes")
    assert done.out == "Stored 0, already there 1, refused 0\n"
    note(command, BACKUP)
    assert command.ok("import", "notes").out.splitlines()[1] == "Replaced 1 by what stands in their places now"


def test_further_texts_under_one_id_are_no_editions(command: Command) -> None:
    head, python, rust = "key,value\n", "favourite-language,Ana: Python\n", "favourite-language,Bob: Rust\n"
    note(command, head + python + rust, "said.csv")
    assert counts(command, "said.csv") == {"stored": 2}
    assert counts(command, "said.csv") == {"already_there": 2}
    note(command, head + rust + python, "said.csv")
    assert counts(command, "said.csv") == {"stored": 1, "already_there": 1, "superseded": 1}
    note(command, head + python.replace("Python", "Go") + rust, "said.csv")
    assert counts(command, "said.csv") == {"stored": 2, "superseded": 1}
    assert sorted(current(command)) == ["Ana: Go", "Ana: Python", "Bob: Rust"]


def test_equal_sections_of_a_page_are_two_and_are_edited_one_by_one(command: Command) -> None:
    page = "# Log\n\n## Day\n\nAll quiet.\n\n## Day\n\nAll quiet.\n"
    note(command, page)
    assert counts(command, "notes") == {"stored": 2}
    note(command, page.replace("quiet.\n", "well.\n", 1))
    assert counts(command, "notes") == {"stored": 1, "already_there": 1, "superseded": 1}
    assert counts(command, "notes") == {"already_there": 2}
    assert [text.rsplit("\n", 1)[1] for text in current(command)] == ["All quiet.", "All well."]


def test_pages_of_one_name_in_two_folders_do_not_supersede_each_other(tmp_path: Path) -> None:
    command = Command(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    note(command, "# Setup\n\nRun make.\n", "one/README.md")
    note(command, "# Setup\n\nRun cargo.\n", "two/README.md")
    assert counts(command, "one") == {"stored": 1}
    assert counts(command, "two") == {"stored": 1}
    assert counts(command, "one") == {"already_there": 1}
    assert len(current(command)) == 2


def test_an_edit_of_the_front_matter_is_no_loss(command: Command) -> None:
    note(command, f"---\ntags: [ops]\n---\n{BACKUP}")
    assert counts(command, "notes") == {"stored": 1}
    note(command, f"---\ntags: [ops, night]\n---\n{BACKUP}")
    assert counts(command, "notes") == {"merged": 1}
    note(command, f"---\ntags: [ops, night]\nimportance: 0.9\n---\n{BACKUP}")
    assert counts(command, "notes") == {"stored": 1, "superseded": 1}
    [memory] = command.ok("memory", "list", "--details", "--json").answer["memories"]
    assert (memory["tags"], memory["importance"]) == (["ops", "night"], 0.9)


def test_an_export_with_equal_texts_and_expired_ones_is_the_same_elsewhere(command: Command) -> None:
    source = lines(
        {"content": "Yes.", "session_id": "a"},
        {"content": "Yes.", "session_id": "b", "metadata": {"n": 1}},
        {"content": "Yes.", "session_id": "b", "metadata": {"n": 2}},
        {"content": "Yes.", "session_id": "b", "metadata": {"n": 2}, "expires_at": "2021-01-01T00:00:00Z"},
    )
    assert counts(command, source) == {"stored": 4}
    command.ok("export", "copy.jsonl")
    elsewhere = command.using(TMWS_HOME=str(command.directory / "elsewhere"))
    assert counts(elsewhere, "copy.jsonl") == {"stored": 4}
    assert counts(elsewhere, "copy.jsonl") == {"already_there": 4}

    def facts(of: Command) -> list[str]:
        kept = ("content", "session_id", "metadata", "expires_at")
        return [json.dumps({name: memory.get(name) for name in kept}) for memory in exported(of)]

    assert facts(elsewhere) == facts(command)


def test_an_export_comes_back_to_its_own_store_without_a_second_of_anything(command: Command) -> None:
    stored = command.ok("memory", "create", "The first text", "--json").answer["memory_id"]
    command.ok("memory", "update", stored, "--content", "The last text")
    command.ok("memory", "create", "For a moment", "--expires-at", "2020-01-01T00:00:00Z")
    command.ok("memory", "create", "For long", "--expires-at", "2999-01-01T00:00:00Z")
    command.ok("export", "all.jsonl")
    before = command.ok("memory", "list", "--include-expired", "--json").answer

    assert counts(command, "all.jsonl") == {"already_there": 3}
    assert command.ok("memory", "list", "--include-expired", "--json").answer == before
