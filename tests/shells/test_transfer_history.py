"""Memories with long histories, out of a store and into another one: everything that is written can be read."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.licences import UNLIMITED
from tests.shells.command import Command
from tests.shells.inside import Inside
from tests.stacks import stacked
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import load_settings
from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.messages.memory import CreateMemory, UpdateMemory

TEXTS = [f"{number} ".ljust(CONTENT_BYTES, character) for number, character in enumerate('abcdefgh\n"' * 3)]
"""What a memory says one after the other: together longer than a line may be, with what is escaped among it."""

SHORT = [f"short {number}" for number in range(205)]
"""More than a piece has."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command in a home with memories that have been changed often; tests only read it."""
    command = Inside(tmp_path_factory.mktemp("filled")).using(TMWS_ONNX_MODEL_DIR="missing")
    command.home.mkdir()
    environment = stacked({"TMWS_HOME": str(command.home), **UNLIMITED, **command.env})

    async def fill() -> None:
        settings = load_settings(environment, dotenv=None)
        caller = settings.operator()
        async with open_app(settings) as app:
            for texts in (["before"], TEXTS, SHORT, ["behind"]):
                created = await app.call(caller, CreateMemory(content=texts[0]))
                for text in texts[1:]:
                    await app.call(caller, UpdateMemory(memory_id=created.memory_id, content=text))

    anyio.run(fill)
    return command


def told(command: Command) -> list[list[str]]:
    """Return what each memory said, from its first text to its last."""
    memories: dict[str, list[str]] = {}
    last: dict[str, str] = {}
    for line in command.ok("export", "-").out.removesuffix("\n").split("\n"):
        found: dict[str, Any] = json.loads(line)
        memory_id = found.get("history_of") or found["memory_id"]
        memories.setdefault(memory_id, []).extend(text["content"] for text in found.get("history", []))
        last.setdefault(memory_id, found.get("content", ""))
    return [[*former, last[memory_id]] for memory_id, former in memories.items()]


@pytest.mark.parametrize("format_", ["jsonl", "markdown"])
def test_a_memory_with_a_long_history_survives_export_and_import(filled: Command, tmp_path: Path, format_: str) -> None:
    copy = str(tmp_path / "copy")
    filled.ok("export", copy, "--format", format_)
    elsewhere = filled.using(TMWS_HOME=str(tmp_path / "elsewhere"))

    first = elsewhere.ok("import", copy, "--format", format_, "--json").answer
    again = elsewhere.ok("import", copy, "--format", format_, "--json").answer

    assert (first["stored"], first["refused"]) == (4, 0)
    assert (again["stored"], again["already_there"], again["refused"]) == (0, 4, 0)
    assert told(elsewhere) == [["before"], TEXTS, SHORT, ["behind"]]


def test_an_interrupted_history_is_told_to_its_end(filled: Command, tmp_path: Path) -> None:
    lines = filled.ok("export", "-").out.splitlines(keepends=True)
    elsewhere = filled.using(TMWS_HOME=str(tmp_path / "elsewhere"))
    short = [line for line in lines if "short" in line]
    assert len(short) == 3
    bad = '{"history_of": "other", "history": [{"content": "x"}]}\n'

    done = elsewhere.run("import", "-", "--json", stdin=bad + short[0] + "no json\n" + short[1])

    assert (done.answer["stored"], done.answer["refused"]) == (1, 2)
    assert "continues the history of a memory that is not before it" in done.err
    assert told(elsewhere) == [[*SHORT[:200], SHORT[-1]]]
