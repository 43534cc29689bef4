"""The commands that derive from the operations."""

import json
import os
import pty
from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.inside import Inside
from tmws_cli.output import clipped, counted, printable, show


def test_memory_lives_through_all_commands(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    created = command.ok(
        *("memory", "create", "The gateway times out after 30 seconds.", "--importance", "0.8", "--tags", "gateway"),
        *("--tags", "limits", "--metadata", '{"k": 1}', "--occurred-at", "2026-01-31T12:00:00Z", "--json"),
    ).answer
    memory_id = created["memory_id"]
    assert created["success"] is True

    updated = command.ok(
        *("memory", "update", memory_id, "--content", "The gateway times out after 60 seconds."),
        *("--expected-version", "1", "--json"),
    ).answer
    assert updated["version"] == 2
    command.ok("memory", "share", memory_id, "bob", "carol", "--permission", "write")

    found = command.ok("memory", "get", memory_id, "--include-history", "--json").answer
    assert found["memory"]["tags"] == ["gateway", "limits"]
    assert found["memory"]["metadata"] == {"k": 1}
    assert found["memory"]["importance"] == 0.8
    assert [share["agent_id"] for share in found["memory"]["shared_with"]] == ["bob", "carol"]
    assert [former["content"] for former in found["history"]] == ["The gateway times out after 30 seconds."]
    shown = command.ok("memory", "get", memory_id).out.splitlines()
    assert "content: The gateway times out after 60 seconds." in shown
    assert "tags: gateway, limits" in shown

    assert found["memory"]["occurred_at"] == "2026-01-31T12:00:00Z"
    update = ("memory", "update", memory_id, "--session-id", "s1", "--clear", "occurred_at")
    command.ok(*update, "--clear", "expires_at")
    memory = command.ok("memory", "get", memory_id, "--json").answer["memory"]
    assert (memory.get("session_id"), memory.get("occurred_at")) == ("s1", None)
    refused = command.run("memory", "update", memory_id, "--session-id", "s1", "--clear", "session_id")
    assert (refused.code, "session_id" in refused.err) == (2, True)

    command.ok("memory", "delete", memory_id)
    assert command.run("memory", "get", memory_id).code == 3


def test_search_shows_rank_score_id_and_text_and_json_is_the_wire(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    contents = ["Tea is in the\nkitchen " + "and so is much more " * 20, "The printer is on the second floor"]
    lines = "\n".join(json.dumps({"content": content}) for content in contents)
    stored = command.ok("memory", "create-batch", "-", "--json", stdin=lines).answer["results"]

    (row, *_) = command.using(COLUMNS="80").ok("memory", "search", "where is the tea?").out.splitlines()
    assert row.split()[:4] == ["1", "1.000", "fair", stored[0]["memory_id"]]
    assert "Tea is in the kitchen" in row
    assert (len(row), row[-1]) == (80, "…")
    answer = command.ok("--json", "memory", "search", "where is the tea?", "--limit", "1", "--explain").answer
    assert [hit["content"] for hit in answer["results"]] == [contents[0]]
    assert {"success", "search_source", "latency_ms"} <= answer.keys()

    odd = command.ok("memory", "search", "quantum physics of black holes").out.splitlines()
    assert odd[0] == "Nothing surely relevant was found. The closest:"
    assert [row.split()[:2] for row in odd[1:]] == [["1", "weak"], ["2", "weak"]]

    (tmp_path / "batch.json").write_text(json.dumps([{"content": "one more"}]), encoding="utf-8")
    command.ok("memory", "create-batch", "batch.json")
    listed = command.ok("memory", "list", "--limit", "2").out.splitlines()
    assert "one more" in listed[0]
    assert listed[2].startswith("More: --cursor ")
    assert "total: 3" in command.ok("memory", "get-stats").out.splitlines()


def test_dash_stands_for_stdin_and_the_agent_for_whom_it_is_stored(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    text = "一つ目の行\nsecond line\n"
    memory_id = command.ok(
        "--agent-id", "alice", "--namespace", "acme/backend", "memory", "create", "-", "--json", stdin=text
    ).answer["memory_id"]
    memory = command.ok("--home", "home", "memory", "get", "-", "--json", stdin=f"{memory_id}\n").answer["memory"]
    assert memory["content"] == text.rstrip("\n")
    assert (memory["agent_id"], memory["namespace"]) == ("alice", "acme/backend")
    assert not (tmp_path / "home" / "home").exists()


@pytest.mark.embedded("the file is in the directory")
def test_home_option_wins_over_the_environment(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    command.ok("memory", "create", "A note", "--home", "elsewhere")
    assert (tmp_path / "elsewhere" / "tmws.db").exists()
    assert not command.home.exists()


def test_output_is_utf8_whatever_the_locale_says(tmp_path: Path) -> None:
    command = Command(tmp_path).using(LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    command.ok("memory", "create", "-", stdin="覚え書き ✅")
    assert "覚え書き ✅" in command.ok("memory", "list").out


@pytest.mark.parametrize("arguments", [["memory", "get-stats"], ["export", "-"]])
def test_reader_that_goes_away_is_no_error(tmp_path: Path, arguments: list[str]) -> None:
    command = Command(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing", TMWS_LOG_LEVEL="ERROR")
    command.ok("memory", "create", "x" * 60_000)
    with command.start(*arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_terminal_without_arguments_gets_the_help(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    try:
        with Command(tmp_path).start(stdin=terminal) as process:
            assert process.stdout is not None
            assert "Usage: tmws" in process.stdout.read()
    finally:
        os.close(controller)
        os.close(terminal)
    assert process.returncode == 0


def test_clipping_counts_columns_not_characters() -> None:
    assert clipped("日本語の文", 6) == "日本…"
    assert clipped("a\n b", 6) == "a b"


def test_one_of_a_thing_is_counted_in_the_singular() -> None:
    assert [counted(number, "text") for number in (0, 1, 2)] == ["0 texts", "1 text", "2 texts"]
    assert [counted(number, "memory", "memories") for number in (1, 2)] == ["1 memory", "2 memories"]


@pytest.mark.parametrize(
    ("begins", "shown"), [("The weather in the valley stays mild. " * 9, "…"), ("", "The dentist moved to Tuesday.")]
)
def test_a_long_hit_is_shown_from_a_word_of_the_query_on(
    begins: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    content = f"{begins}The dentist moved to Tuesday. {'The river runs low. ' * 9}"
    hit = {"memory_id": "0" * 36, "content": content, "score": 0.5, "relevance": "fair", "tags": []}
    show({"results": [hit], "search_source": "exact", "nothing_relevant": False}, as_json=False, about="a dentist")
    row = capsys.readouterr().out.rstrip()
    assert f"{'0' * 36}  {shown}" in row
    assert "The dentist moved to" in row
    assert len(row) <= 120


def test_of_weak_hits_the_closest_are_shown_without_scores(capsys: pytest.CaptureFixture[str]) -> None:
    hit = {"memory_id": "0" * 36, "content": "Tea.", "score": 1.0, "relevance": "weak", "tags": []}
    answer = {"results": [hit] * 10, "search_source": "exact", "nothing_relevant": True}
    show(answer, as_json=False)
    first, *rows = capsys.readouterr().out.splitlines()
    assert first == "Nothing surely relevant was found. The 3 closest of 10 (--json has all):"
    assert [row.split()[:2] for row in rows] == [["1", "weak"], ["2", "weak"], ["3", "weak"]]
    show(answer, as_json=True)
    assert capsys.readouterr().out.count("Tea.") == 10


def test_terminal_is_never_told_what_to_do() -> None:
    assert printable("a\x9b31mb\u202e\x1bc\n") == "a\ufffd31mb\ufffd\ufffdc\n"
