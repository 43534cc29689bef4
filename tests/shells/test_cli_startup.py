"""How the command line starts: quickly, with all its commands, and as a server where it is asked to be one."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest

from tests.shells.command import ROOT, Command
from tests.stacks import settings_in
from tmws_adapters.bootstrap import open_app, version
from tmws_cli import by_hand
from tmws_cli.commands import root

BY_HAND = {(group, name) for group, names in by_hand.IN_GROUPS.items() for name in names}
"""Commands of a derived group that stand for no operation."""

HEAVY = {"mcp", "chromadb", "numpy", "onnxruntime", "sqlalchemy", "alembic", "starlette", "uvicorn", "httpx"}


def command_names(group: click.Group) -> dict[str, click.Command]:
    context = click.Context(group)
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in commands.items() if command is not None}


def test_help_names_every_command_without_importing_anything_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tmws_cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert set(command_names(root)) >= {"memory", "system", "serve", "demo", "import", "export", "doctor"}
    assert all(re.search(rf"^  {name} ", done.stdout, re.MULTILINE) for name in command_names(root))
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert imported & HEAVY == set()


def test_help_of_a_group_names_every_command_of_it(tmp_path: Path) -> None:
    memory = command_names(root)["memory"]
    assert isinstance(memory, click.Group)
    names = set(command_names(memory))
    assert names >= {"create", "create-batch", "search", "get", "list", "update", "delete", "share", "get-stats"}
    shown = Command(tmp_path).ok("memory", "--help").out
    assert all(re.search(rf"^  {name} ", shown, re.MULTILINE) for name in names)


@pytest.mark.anyio
async def test_every_operation_of_an_open_app_is_a_command_beside_those_of_hand(tmp_path: Path) -> None:
    async with open_app(settings_in(tmp_path)) as app:
        operations = {(operation.group, operation.command) for operation in app.operations.values()}
    derived = {name: group for name, group in command_names(root).items() if name not in by_hand.COMMANDS}
    groups = {name: group for name, group in derived.items() if isinstance(group, click.Group)}
    assert {(group, name) for group in groups for name in command_names(groups[group])} - BY_HAND == operations


def test_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    assert Command(tmp_path).ok("--version").out == f"tmws {version()}\n"


def test_server_command_is_serve_by_another_name(tmp_path: Path) -> None:
    code = "import sys; from tmws_cli.__main__ import serve; sys.argv = ['tmws-mcp-server', '--help']; serve()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert done.stdout.startswith("Usage: tmws serve ")


def test_group_without_a_command_shows_its_help_as_a_mistake(tmp_path: Path) -> None:
    done = Command(tmp_path).run("memory")
    assert (done.code, done.out) == (2, "")
    assert "create-batch" in done.err


def test_without_arguments_and_with_a_pipe_it_speaks_mcp(tmp_path: Path) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "health_check"}}
    done = Command(tmp_path).ok(stdin=json.dumps(call) + "\n")
    assert done.answer["id"] == 1
    assert done.answer["result"]["structuredContent"]["status"] == "healthy"


def test_server_listens_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    with Command(tmp_path).start("serve", "--port", "0") as server:
        assert server.stderr is not None
        url = next(found[0] for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        with urllib.request.urlopen(f"{url}/health/live", timeout=30) as answer:
            assert answer.status == 200
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert server.returncode == 0


def test_port_in_use_is_named_with_its_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = Command(tmp_path).run("serve", "--port", port)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("error: TMWS_PORT: ")
    assert port in done.err.splitlines()[-1]
    assert "--port" in done.err.splitlines()[-1]
