"""Commands beside an owner: they ask it, and import nothing that takes long."""

import subprocess
import sys
from pathlib import Path

from tests.shells.command import Command
from tests.shells.owners import owner_of
from tests.shells.serving import PATIENCE, conversation, environment, request, tool

HEAVY = {
    "alembic",
    "anyio",
    "asyncio",
    "attr",
    "attrs",
    "cattrs",
    "chromadb",
    "dotenv",
    "httpx",
    "mcp",
    "numpy",
    "onnxruntime",
    "orjson",
    "pathlib",
    "pydantic",
    "sqlalchemy",
    "sqlite3",
    "tokenizers",
    "tmws_core.errors",
    "yaml",
}


def imported(home: Path, *words: str, code: int = 0) -> set[str]:
    """Run a command and return the modules that it has imported, and their packages."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tmws_cli", *words],
        capture_output=True,
        check=False,
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    assert done.returncode == code, done
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("import time:")]
    modules = {line.rpartition("|")[2].strip() for line in lines}
    return modules | {module.partition(".")[0] for module in modules}


def test_command_beside_an_owner_imports_nothing_heavy(home: Path) -> None:
    with conversation(home) as terminal:
        stored = terminal.ask(tool(1, "create_memory", content="Tea is in the kitchen."))
        memory_id = stored["result"]["structuredContent"]["memory_id"]
        for words in (
            ("memory", "list"),
            ("memory", "search", "tea"),
            ("memory", "create", "The printer is upstairs.", "--tags", "office", "--json"),
            ("memory", "update", memory_id, "--importance", "0.9"),
            ("memory", "get", memory_id, "--include-history"),
            ("system", "health-check"),
            ("--help",),
            ("memory", "--help"),
        ):
            found = imported(home, *words)
            assert "tmws_adapters" in found
            assert found & HEAVY == set(), words
        assert terminal.ask(tool(2, "get_memory_stats"))["result"]["structuredContent"]["total"] == 2


def test_refusals_are_the_same_beside_an_owner_and_without_one(tmp_path: Path) -> None:
    refused = (
        ("memory", "create", "a\udc80b"),
        ("memory", "list", "--min-importance", "nan"),
        ("memory", "create", "x", "--metadata", '{"k": 1e999}'),
        ("memory", "get", "7"),
        ("memory", "list", "--cursor", "made up"),
        ("memory", "delete", "01900000-0000-7000-8000-000000000000"),
    )
    command = Command(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    command.ok("memory", "create", "Reading before there is a store warns.")
    alone = [command.run(*words, "--json") for words in refused]
    with conversation(command.home, TMWS_ONNX_MODEL_DIR="missing") as terminal:
        terminal.ask(request(1, "ping"))
        assert [command.run(*words, "--json") for words in refused] == alone
    assert [done.code for done in alone] == [2, 2, 2, 2, 2, 3]
    assert all(done.answer["success"] is False and done.answer["error"]["message"] for done in alone)


def test_owner_is_found_by_settings_in_files_too(home: Path) -> None:
    (home / ".env").write_text("TMWS_AGENT_ID=athena\n", encoding="utf-8")
    (home / ".env").chmod(0o600)
    with conversation(home) as terminal:
        terminal.ask(tool(1, "create_memory", content="Tea is in the kitchen."))
        owner = owner_of(home)
        found = imported(home, "memory", "list")
        assert owner_of(home).pid == owner.pid
    assert "dotenv" in found
    assert found & {"anyio", "cattrs", "sqlite3"} == set()
