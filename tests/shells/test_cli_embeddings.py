"""`tmws embeddings`, and what the other commands do with a store of another model."""

import json
from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.inside import Inside
from tests.stacks import SOURCE
from tmws_adapters.onnx.files import find_files

BUNDLED = find_files(None).name


@pytest.fixture
def command(tmp_path: Path) -> Command:
    command = Inside(tmp_path).using(TMWS_PORT="0")
    lines = "\n".join(json.dumps({"content": content}) for content in ("The rose blooms.", "Trains leave at noon."))
    command.ok("memory", "create-batch", "-", stdin=lines)
    return command


@pytest.fixture
def other(command: Command) -> Command:
    """Return the command with the bundled model under another name, which makes it another model."""
    folder = command.directory / "other-model"
    folder.mkdir()
    files = find_files(None)
    for file in (files.weights, files.tokenizer):
        (folder / file.path.name).symlink_to(file.path)
    return command.using(TMWS_ONNX_MODEL_DIR=str(folder))


def test_status_tells_the_model_and_the_counts(command: Command) -> None:
    status = command.ok("embeddings", "status", "--json").answer
    lines = command.ok("embeddings", "status").out.splitlines()

    assert (status["model"]["name"], status["model"]["dimension"]) == (BUNDLED, 384)
    assert (status["memories"], status["embedded"], status["waiting"]) == (2, 2, 0)
    assert (status["migration"], status["former"]) == (None, None)
    assert status["embedder"] == {"model": BUNDLED, "up": True, "reason": ""}
    assert lines[0].startswith(f"Model: {BUNDLED}, 384 values, digest ")
    assert lines[1:] == ["Memories: 2, 0 of them wait for a vector", f"Embedder: {BUNDLED}"]


def test_status_of_an_empty_store_names_no_model(tmp_path: Path) -> None:
    assert Inside(tmp_path).ok("embeddings", "status").out.startswith("Model: none yet\n")
    assert "Nothing to change" in Inside(tmp_path).ok("embeddings", "migrate").out


def test_a_store_of_another_model_is_read_listed_and_exported_but_not_searched(other: Command) -> None:
    listed = other.ok("memory", "list", "--json").answer["memories"]
    other.ok("memory", "get", listed[0]["memory_id"])
    other.ok("export", "memories.jsonl")
    status = other.ok("embeddings", "status", "--json").answer

    assert len((other.directory / "memories.jsonl").read_text(encoding="utf-8").splitlines()) == len(listed) == 2
    assert (status["model"]["name"], status["embedder"]["up"]) == (BUNDLED, False)
    for refused in (["memory", "search", "rose"], ["memory", "create", "A tulip."], ["serve"]):
        done = other.run(*refused)
        assert (done.code, done.out) == (5, "")
        assert f"made by {BUNDLED} (384 values), not by other-model" in done.err
        assert "Run `tmws embeddings migrate`" in done.err
    assert other.run("doctor").code == 1
    assert "tmws embeddings migrate" in other.run("doctor").out


def test_migrate_changes_the_model_and_the_rollback_changes_it_back(command: Command, other: Command) -> None:
    done = other.ok("embeddings", "migrate")
    assert done.out.splitlines()[0] == f"Changed from {BUNDLED} to other-model; 2 texts embedded now."
    assert "Restart every running TMWS" in done.out
    assert f"Former model: {BUNDLED}" in done.out
    found = other.ok("memory", "search", "rose", "--mode", "semantic", "--json").answer
    assert (found["results"][0]["content"], found["search_source"]) == ("The rose blooms.", SOURCE)
    assert command.run("memory", "search", "rose").code == 5

    back = other.ok("embeddings", "migrate", "--rollback", "--json").answer

    assert (back["model"]["name"], back["former"]["model"]["name"]) == (BUNDLED, "other-model")
    assert command.ok("memory", "search", "rose", "--json").answer["search_source"] == SOURCE
    assert command.ok("doctor", "--deep", "--json").answer["success"]
    recorded = command.ok("audit", "query", "--event", "embeddings.", "--json").answer["events"]
    assert [(event["event_type"], event["details"]["model"]) for event in recorded] == [
        ("embeddings.rolled_back", BUNDLED),
        ("embeddings.migrated", "other-model"),
    ]


def test_forget_deletes_what_a_rollback_would_need(other: Command) -> None:
    other.ok("embeddings", "migrate", "--throttle", "50", "--json")

    assert other.ok("embeddings", "migrate", "--forget").out == "Deleted 2 vectors of the former model.\n"

    done = other.run("embeddings", "migrate", "--rollback", "--json")
    assert (done.code, done.answer["error"]["code"]) == (1, "no_former_model")
    assert other.ok("embeddings", "status", "--json").answer["former"] is None


@pytest.mark.parametrize(
    "options", [["--rollback", "--forget"], ["--throttle", "5", "--forget"], ["--throttle", "0"]], ids=" ".join
)
def test_options_that_exclude_each_other_are_a_mistake(tmp_path: Path, options: list[str]) -> None:
    assert Inside(tmp_path).run("embeddings", "migrate", *options).code == 2


def test_a_model_that_is_missing_changes_nothing(command: Command) -> None:
    done = command.using(TMWS_ONNX_MODEL_DIR="missing").run("embeddings", "migrate")

    assert done.code == 5
    assert "is missing" in done.err
    assert command.ok("embeddings", "status", "--json").answer["migration"] is None
