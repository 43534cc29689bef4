"""The official TypeScript client, and the command line of the inspector, over real stdio and real HTTP."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.shells.serving import PATIENCE, STDIO, HttpServer, environment, run_stdio, tool

SOURCES = Path(__file__).parent / "typescript"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the SDK and return the client's script."""
    npm = shutil.which("npm")
    if npm is None:
        if os.environ.get("CI"):
            pytest.fail("npm is missing")
        pytest.skip("npm is missing")
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        timeout=5 * PATIENCE,
        check=True,
    )
    return folder / "client.mjs"


def answer_of(home: Path, *command: str) -> dict[str, Any]:
    """Run a client, and return the JSON that it prints."""
    done = subprocess.run(command, capture_output=True, cwd=home, env=environment(home), timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("way", ["stdio", "http"])
def test_typescript_client_lists_stores_and_searches(client: Path, way: str, server: HttpServer, home: Path) -> None:
    target = [f"{server.url}/mcp"] if way == "http" else STDIO
    seen = answer_of(home, "node", str(client), way, *target)
    text = f"Over {way}, the gardener prunes the pear tree in March."
    assert seen["server"] == "tmws"
    assert {"create_memory", "search_memories", "health_check"} <= set(seen["tools"])
    assert (seen["created"]["success"], seen["created"]["embedding_generated"]) == (True, True)
    assert seen["found"] == [text]
    assert seen["refused"] == {"isError": True, "code": "not_found"}
    assert seen["resource"] == text


@pytest.mark.parametrize("way", ["stdio", "http"])
def test_command_line_of_the_inspector_stores_and_finds(client: Path, way: str, server: HttpServer, home: Path) -> None:
    # It starts a server with none of its own variables but HOME, PATH and the like.
    given = [f"{name}={value}" for name, value in environment(home).items() if name.startswith(("TMWS_", "PYTHONPATH"))]
    started = [*STDIO, *(word for each in given for word in ("-e", each))]
    target = ["--transport", "http", "--server-url", f"{server.url}/mcp"] if way == "http" else started
    inspector = ("node", str(client.parent / "node_modules" / ".bin" / "mcp-inspector"), "--cli", *target)

    def call(tool: str, *words: str) -> dict[str, Any]:
        answer = answer_of(home, *inspector, "--method", "tools/call", "--tool-name", tool, *words)
        found: dict[str, Any] = answer["structuredContent"]
        return found

    text = f"Over {way}, the beekeeper feeds the bees in October."
    created = call("create_memory", "--tool-arg", f"content={text}", 'tags=["bees"]', "importance=0.7")
    found = call("search_memories", "--tool-arg", "query=When are the bees fed?", "limit=5", 'tags_any=["bees"]')
    assert created["memory_id"] in [hit["memory_id"] for hit in found["results"]]
    if way == "stdio":  # and it is in this home, not in that of the user
        assert run_stdio(home, tool(1, "get_memory", memory_id=created["memory_id"])).content(1)["success"]
    assert answer_of(home, *inspector, "--method", "prompts/list") == {"prompts": []}
