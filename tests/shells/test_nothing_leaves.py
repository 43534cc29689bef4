"""Nothing leaves the machine, and nothing is written but where it belongs, whichever way TMWS is used."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import httpx
import pytest

from tests.shells.serving import request, tool
from tests.shells.traced import RECORDERS, Watched, python
from tmws_cli.commands import root

TMWS = ("-m", "tmws_cli")

ID = "0198f2a4-7c11-7d3e-9a55-5b0c1de27f6a"

LINES = b'{"content": "The tide turns at six.", "tags": ["sea"]}\n'

WITHOUT_EMBEDDER: tuple[str, ...] = (
    "agent register ada",
    "agent get ada",
    "agent update ada --display-name Ada",
    "agent list",
    "agent get-current",
    "agent import",
    f"agent explain-access {ID} ada",
    "agent deactivate ada",
    "memory get-stats",
    "memory list",
    f"memory get {ID}",
    f"memory update {ID} --importance 0.5",
    f"memory share {ID} ada",
    f"memory edit {ID}",
    f"edit {ID}",
    f"memory delete {ID}",
    "system get-stats",
    "audit query",
    "audit verify",
    "audit prune",
    "audit sign",
    "db analyze",
    "db check",
    "db current",
    "db downgrade",
    "db integrity",
    "db reindex",
    "db upgrade",
    "db vacuum",
    "completion bash",
    "stop",
    "license keygen",
    "license issue --tier free",
    "license show",
    "license verify word",
    "token issue --agent ada",
    "token list",
    "token revoke word",
    "export out.jsonl",
    "export out --format markdown",
    "index status",
)
"""Commands that need no vector; whether they succeed does not matter here."""

WITH_EMBEDDER: tuple[str, ...] = (
    "import -",
    "add word",
    "search tide",
    "memory create word",
    'memory create-batch [{"content":"two"}]',
    "memory search tide",
    "system health-check",
    "embeddings status",
    "embeddings migrate",
    "doctor --deep",
    "move --to sqlite:///OUTPUT/moved.db",
)

WITH_CHROMA: tuple[str, ...] = ("index init", "index rebuild", "index status", "memory search tide")

COMMANDS = """
import sys
from tmws_cli.program import run

for line in sys.argv[1:]:
    print(f"\\nended with {run(line.split())}", flush=True)
"""
"""Runs commands in one process, which imports everything once."""

LIBRARY = """
import anyio
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import load_settings
from tmws_core.messages.memory import CreateMemory
from tmws_core.messages.search import SearchMemories

async def main():
    settings = load_settings()
    async with open_app(settings) as app:
        caller = settings.agent()
        created = await app.call(caller, CreateMemory(content="The tide turns at six."))
        assert created.embedding_generated
        assert (await app.call(caller, SearchMemories(query="tide"))).results

anyio.run(main)
"""


def leaves(command: click.Command, words: Sequence[str] = ()) -> Iterator[str]:
    """Yield the names of all commands."""
    if not isinstance(command, click.Group):
        yield " ".join(words)
        return
    for name in command.list_commands(click.Context(command)):
        found = command.get_command(click.Context(command), name)
        assert found is not None
        yield from leaves(found, [*words, name])


def test_every_command_is_watched() -> None:
    watched = [*WITHOUT_EMBEDDER, *WITH_EMBEDDER, *WITH_CHROMA, "demo", "serve"]
    assert [name for name in leaves(root) if not any(f"{line} ".startswith(f"{name} ") for line in watched)] == []


@pytest.mark.parametrize("recorder", RECORDERS)
def test_whoever_looks_up_connects_or_writes_is_seen(tmp_path: Path, recorder: str) -> None:
    watched = Watched(tmp_path, recorder)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
import os, socket, subprocess, sys
from pathlib import Path
Path.home().joinpath("opened").write_text("x")
Path.home().joinpath("made").mkdir()
os.rename(Path.home() / "opened", Path.home() / "renamed")
socket.create_connection(("127.0.0.1", {port}))
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.connect(("192.0.2.7", 9))
resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
resolver.connect(("127.0.0.1", 53))
subprocess.run([sys.executable, "-c", "open(sys.argv[1], 'w')" .replace("sys", "__import__('sys')"), "child"])
"""
        code_, said, seen = watched.run(python("-c", code))
    assert code_ == 0, said
    assert {"opened", "made", "renamed"} <= {path.name for path in seen.outside(watched.output)}
    assert watched.output / "child" in seen.written
    assert seen.strangers == {("192.0.2.7", 9)}
    assert ("127.0.0.1", port) in seen.connections
    assert seen.lookups == {"port 53 of 127.0.0.1"}


def test_agent_terminal_and_its_owner_keep_to_themselves(watched: Watched) -> None:
    lines = request(1, "tools/list"), tool(2, "create_memory", content="The tide turns."), tool(3, "health_check")
    code, said, seen = watched.run(python(*TMWS), b"".join(lines))
    assert code == 0, said
    assert '"embedding_generated":true' in said.replace(" ", "")
    watched.check(seen)


def test_program_that_uses_the_library_keeps_to_itself_whatever_the_environment_says(watched: Watched) -> None:
    code, said, seen = watched.run(python("-c", LIBRARY), ORT_DISABLE_TELEMETRY="0", ANONYMIZED_TELEMETRY="True")
    assert code == 0, said
    watched.check(seen)


def test_server_over_http_keeps_to_itself(watched: Watched) -> None:
    with (
        watched.started(python("-m", "tests.shells.serving"), TMWS_PORT="0", TMWS_VECTOR_BACKEND="chroma") as process,
        httpx.Client(trust_env=False, timeout=60) as client,
    ):
        assert process.stdout
        url = process.stdout.readline().strip()
        created = client.post(f"{url}/mcp/tools/create_memory", json={"content": "The tide turns at six."})
        assert created.json()["embedding_generated"], created.text
        assert client.post(f"{url}/mcp/tools/search_memories", json={"query": "tide"}).json()["results"]
        assert client.get(f"{url}/health").status_code == 200
    watched.check(watched.seen())


@pytest.mark.parametrize(
    ("lines", "backend"), [(WITHOUT_EMBEDDER, "exact"), (WITH_EMBEDDER, "exact"), (WITH_CHROMA, "chroma")]
)
def test_commands_keep_to_themselves(watched: Watched, lines: tuple[str, ...], backend: str) -> None:
    words = [line.replace("OUTPUT", str(watched.output)) for line in lines]
    code, said, seen = watched.run(python("-c", COMMANDS, *words), LINES, TMWS_VECTOR_BACKEND=backend)
    assert code == 0, said
    assert said.count("\nended with ") == len(lines), said
    assert "(set TMWS_LOG_LEVEL=DEBUG" not in said
    watched.check(seen)
