"""How commands fail: one line that says what to do, and an exit code that says what sort of failure it was."""

import json
import uuid
from pathlib import Path

import attrs
import pytest

from tests.shells.command import Command, without_the_rights_of_root
from tmws_cli.failures import EXIT_CODES, failure_of
from tmws_core.errors import Kind

UNKNOWN_ID = str(uuid.UUID(int=7))

BAD_INPUT = {
    "no content": (["memory", "create"], "content: is empty"),
    "empty content": (["memory", "create", " "], "content: is empty"),
    "unknown option": (["memory", "create", "x", "--color", "red"], "--color"),
    "importance out of range": (["memory", "create", "x", "--importance", "2"], "importance: 2.0 is out of range"),
    "importance not a number": (["memory", "create", "x", "--importance", "nan"], "importance: must be a finite"),
    "metadata no JSON": (["memory", "create", "x", "--metadata", "{"], "metadata: is no JSON"),
    "metadata no object": (["memory", "create", "x", "--metadata", "[1]"], "metadata: must be a JSON object"),
    "no time": (["memory", "create", "x", "--occurred-at", "2026-01-32"], "occurred_at: '2026-01-32'"),
    "unknown choice": (["memory", "create", "x", "--memory-type", "vague"], "vague"),
    "malformed id": (["memory", "get", "7"], "memory_id: '7' is not a memory id"),
    "control character": (["memory", "create", "a\x07b"], "U+0007"),
}


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command in a home that the tests of this module share; it stores nothing but texts."""
    return Command(tmp_path_factory.mktemp("failures")).using(TMWS_ONNX_MODEL_DIR="missing")


@pytest.mark.parametrize(("arguments", "expected"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_that_names_the_field(command: Command, arguments: list[str], expected: str) -> None:
    done = command.run(*arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert expected in line


def test_text_on_stdin_may_be_no_longer_than_a_memory_and_must_be_text(command: Command) -> None:
    assert "more than 65536 bytes on stdin" in command.run("memory", "create", "-", stdin="語" * 30_000).err
    assert "UTF-8" in command.run("memory", "create", "-", stdin=b"\xff").err
    command.ok("memory", "create", "-", stdin="x" * 65536 + "\n")


def test_an_argument_must_be_text(command: Command) -> None:
    for arguments in (("add", "Z\udcfcrich"), ("add", "Zurich", "--tags", "Z\udcfcrich"), ("search", "Z\udcfcrich")):
        done = command.run(*arguments)
        assert done.code == 2
        assert "is no UTF-8 on the command line. Convert it to UTF-8" in done.err


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_stream_loses_what_was_said_and_nothing_else(command: Command, stream: str) -> None:
    closing = 'exec "$@" >&-' if stream == "stdout" else 'exec "$@" 2>&-'
    done = attrs.evolve(command, prefix=("sh", "-c", closing, "sh")).run("add", f"Said without {stream}.")
    assert (done.code, done.err) == (0, "")
    assert f"Said without {stream}." in command.ok("memory", "list").out
    refused = attrs.evolve(command, prefix=("sh", "-c", closing, "sh")).run("add", "a\x07b")
    assert (refused.code, "U+0007" in refused.err) == (2, stream == "stdout")


def test_json_errors_are_an_object_on_stdout(command: Command) -> None:
    command.ok("add", "Reading before there is a store warns.")
    done = command.run("memory", "get", UNKNOWN_ID, "--json")
    assert (done.code, done.err) == (3, "")
    assert done.answer["success"] is False
    assert done.answer["error"]["code"] == "not_found"
    assert done.answer["error"]["field"] == "memory_id"
    usage = command.run("memory", "get", "--json")
    assert (usage.code, usage.answer["error"]["code"]) == (2, "usage")


def test_stale_version_is_a_failure(command: Command) -> None:
    memory_id = command.ok("memory", "create", "x", "--json").answer["memory_id"]
    done = command.run("memory", "update", memory_id, "--importance", "1", "--expected-version", "9")
    assert done.code == 1
    assert "is at version 1, not 9" in done.err


def test_unknown_variable_is_refused_with_the_nearest_name(command: Command) -> None:
    done = command.using(TMWS_HOMES="x").run("memory", "list")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: TMWS_HOMES: is unknown. Did you mean TMWS_HOME?\n"


@pytest.mark.embedded("the file cannot be written")
def test_home_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    done = without_the_rights_of_root(Command(tmp_path)).run("memory", "create", "x")
    tmp_path.chmod(0o755)
    assert done.code == 5
    (line,) = done.err.splitlines()
    assert line.startswith("error: sqlite: the database cannot be written by this user")
    assert "Give the user" in line


@pytest.mark.embedded("the file is damaged")
def test_damaged_database_is_named_with_a_remedy(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.home.mkdir()
    (command.home / "tmws.db").write_bytes(b"not a database, but long enough to have a header " * 100)
    done = command.run("memory", "list", "--json")
    assert (done.code, done.answer["error"]["code"]) == (5, "storage_corrupt")


def test_full_disk_behind_stdout_is_a_failure(command: Command) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = command.start("--version", stdout=full.fileno())
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "error: No space left on device\n")


def test_unexpected_exception_is_one_line_with_a_hint() -> None:
    failure = failure_of(RuntimeError("two\nlines"))
    assert failure.exit_code == 1
    assert failure.message == "RuntimeError: two\nlines (set TMWS_LOG_LEVEL=DEBUG to see where)"


def test_debug_level_shows_where_it_failed(command: Command) -> None:
    done = command.using(TMWS_LOG_LEVEL="DEBUG").run("memory", "get", UNKNOWN_ID)
    assert done.code == 3
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("error: ")


def test_every_kind_of_error_has_an_exit_code() -> None:
    assert EXIT_CODES.keys() == set(Kind)


def test_nested_json_that_never_ends_is_refused(command: Command) -> None:
    deep = "[" * 10_000 + "]" * 10_000
    done = command.run("memory", "create", "x", "--metadata", json.dumps({"a": 1})[:-1] + f', "b": {deep}}}')
    assert done.code == 2
    assert done.err.startswith("error: metadata: ")
