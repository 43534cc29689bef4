"""What the documentation tells people to type works, and prints what the documentation shows.

Blocks of `bash` and `python` run, page by page, in one shell and one home directory that is new, without any setting of
TMWS. What stands in for the world is in `standing_in`: a free port for `localhost:8000`, a double of Ollama, servers of
the tests for those at `example.com`.

A block of `output` is what the nearest such block before it has printed: see `shown.py`. Blocks of `console` (what
needs something that is not here, such as Claude Code) and of `sh` (the two commands of the README, which `.ci/run`
runs) are not run, but their `tmws` commands and options have to exist, and the page is named in `NOT_RUN` with the
reason. Blocks of `text`, `json`, `sql` and `ini` are shown only, and JSON has to be JSON.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import pytest

from tests.contracts.ollama_double import ollama_double
from tests.docs.pages import ROOT, Block, blocks, languages, name_of, pages
from tests.docs.picture import PICTURE, pictured
from tests.docs.shown import is_shown, split
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisProcess
from tmws_adapters.onnx.files import find_files
from tmws_cli.commands import root

SHOWN_ONLY = {"text", "json", "sql", "ini"}
RUN = {"bash", "python"}
COMPARED = {"output"}
PARSED = {"console", "sh"}

NOT_RUN = {
    "README.md": "the lines that install are run by `.ci/run`, or would fetch packages; Claude Code is not here",
    "docs/how-to/authenticate.md": "Claude Code is not here",
    "docs/how-to/connect-a-client.md": "Claude Code is not here",
    "docs/how-to/run-several-servers.md": "Docker is not here; the files are checked by tests/shells/test_compose.py",
    "docs/how-to/run-the-server.md": "systemd is not here; `alembic` is run by tests/migrations",
    "docs/how-to/uninstall.md": "Claude Code and systemd are not here, and nothing is installed for the test",
    "docs/how-to/use-ollama.md": "Ollama is not here: a double answers in its place",
    "docs/how-to/use-postgresql.md": "replicas, failover and PgBouncer have tests of their own in tests/contracts",
}
"""The pages of the tutorial and the how-tos with commands that are not run, or with none, and why."""

SECONDS = 120
"""How long the blocks of one page may take; the slowest needs about 15."""

TMWS = f"""#!/bin/sh
PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m tmws_cli "$@"
"""

PROGRAMS = ("curl", "sqlite3")
"""What the blocks use besides Python and what every system has."""

WITH_OWNER = {"manage-agents.md", "use-the-command-line.md"}
"""Pages of many commands that ask an owner process where one runs, as beside a client: it takes a third of the time."""

OWNER = """\
export TMWS_OWNER_IDLE_SECONDS=120
trap 'tmws stop' EXIT
echo '{"jsonrpc":"2.0","id":1,"method":"ping"}' | tmws
"""

POSTGRESQL = re.compile(r"postgresql://[^' ]*@db\.example\.com/[^' ]*")
REDIS = "redis://:PASSWORD@redis.example.com:6379/0"

RUNNABLE = [page for page in pages() if blocks(page, *RUN)]
GUIDES = [page for page in pages() if page.name == "README.md" or page.parent.name in ("tutorial", "how-to")]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def script_of(page: Path, directory: Path) -> str:
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    if page.name in WITH_OWNER:
        lines.append(OWNER)
    for block in blocks(page, *RUN):
        lines.append(f"echo '{mark(page, block)}' >&2")
        if block.language == "bash":
            lines.append(block.text)
        else:
            program = directory / f"line_{block.line}.py"
            program.write_text(block.text, encoding="utf-8")
            lines.append(f"{shlex.quote(sys.executable)} {program.name}")
    return "\n".join(lines)


def environment(directory: Path, programs: Path) -> dict[str, str]:
    return {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT),
        "TMWS_OWNER_IDLE_SECONDS": "0",
        "LANG": "C.UTF-8",
    }


@contextmanager
def standing_in(text: str, port: int, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a text whose addresses lead to what stands in for them: servers that are started for it, and no others."""
    with ExitStack() as stack:
        text = text.replace("localhost:8000", f"localhost:{port}")
        if "http://localhost:11434" in text:
            text = text.replace("http://localhost:11434", stack.enter_context(ollama_double()).url)
        if POSTGRESQL.search(text):
            postgres = request.getfixturevalue("postgres")
            assert isinstance(postgres, PostgresServer)
            text = POSTGRESQL.sub(stack.enter_context(postgres.database("template1")), text)
        if REDIS in text:
            redis = request.getfixturevalue("redis_server")
            assert isinstance(redis, RedisProcess)
            text = text.replace(REDIS, redis.url)
        yield text


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_snippets_of_a_page_run_and_print_what_it_shows(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    require_programs(page)
    directory = tmp_path / "page"
    programs = tmp_path / "bin"
    directory.mkdir()
    programs.mkdir()
    (programs / "tmws").write_text(TMWS, encoding="utf-8")
    (programs / "tmws").chmod(0o755)
    bring_model(directory)
    port = free_port()
    with standing_in(script_of(page, directory), port, request) as script:
        code, output = run(script, directory, environment(directory, programs) | {"TMWS_PORT": str(port)})
    assert code == 0, output
    for block, printed in compared(page, output):
        assert is_shown(block.text, printed), f"line {block.line} shows\n{block.text}\nprinted was\n{printed}"
    for command, printed in pictured() if PICTURE.name in page.read_text(encoding="utf-8") else ():
        assert f"\n{command}\n" in script
        assert is_shown(printed, output), f"the picture shows\n{printed}\nprinted was\n{output}"


def bring_model(home: Path) -> None:
    """Put a model where the page about models of one's own has it."""
    bundled = find_files(None)
    folder = home / "models" / "multilingual-e5-small"
    folder.mkdir(parents=True)
    (folder / "model.onnx").symlink_to(bundled.weights.path)
    (folder / "tokenizer.json").symlink_to(bundled.tokenizer.path)


def compared(page: Path, output: str) -> Iterator[tuple[Block, str]]:
    """Return the blocks that show an output, each with what the nearest block before it has printed."""
    parts = split(output, [mark(page, block) for block in blocks(page, *RUN)])
    printed = ""
    for block in blocks(page, *RUN, *COMPARED):
        if block.language in COMPARED:
            yield block, printed
        else:
            printed = parts[mark(page, block)]


def mark(page: Path, block: Block) -> str:
    return f"--- {name_of(page)}:{block.line}"


def require_programs(page: Path) -> None:
    """Skip the test where a program is missing that the page uses; fail in CI."""
    text = "\n".join(block.text for block in blocks(page, "bash"))
    missing = [name for name in PROGRAMS if re.search(rf"^{name} ", text, re.MULTILINE) and not shutil.which(name)]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI needs {', '.join(missing)}")
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")


def run(script: str, directory: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Return the exit code of a shell script, and what it wrote; whatever it started is gone then."""
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    ) as shell:
        try:
            output, _ = shell.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            output, _ = shell.communicate()
            pytest.fail(f"not finished after {SECONDS} seconds:\n{output}")
    return shell.returncode, output


def commands_in(block: Block) -> list[list[str]]:
    """Return the words of every `tmws` command in a block, without the program itself."""
    found = []
    for line in block.text.splitlines():
        for part in re.split(r"&&|\|", line.removeprefix("$ ")):
            words = [word for word in shlex.split(part) if not re.fullmatch(r"[A-Z_]+=.*", word)]
            if words and Path(words[0]).name == "tmws":
                found.append(words[1:])
    return found


PARSED_ONLY = [
    pytest.param(words, id=f"{name_of(page)}:{block.line}:{' '.join(words)}")
    for page in pages()
    for block in blocks(page, *PARSED)
    for words in commands_in(block)
]


@pytest.mark.parametrize("words", PARSED_ONLY)
def test_commands_that_are_not_run_exist(words: list[str]) -> None:
    command: click.Command = root
    context = click.Context(root, info_name="tmws")
    while isinstance(command, click.Group):
        name, command_found, words = command.resolve_command(context, words)
        assert name is not None
        assert command_found is not None
        command = command_found
    command.make_context(name, words, parent=context, resilient_parsing=False).close()


def test_every_block_says_how_it_is_checked() -> None:
    unknown = {name_of(page): languages(page) - SHOWN_ONLY - RUN - COMPARED - PARSED for page in pages()}
    assert {name: found for name, found in unknown.items() if found} == {}


def test_a_page_with_commands_that_are_not_run_is_named_with_the_reason() -> None:
    assert {name_of(page) for page in GUIDES if blocks(page, *PARSED) or not blocks(page, *RUN)} == NOT_RUN.keys()


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page, "json")], ids=name_of)
def test_json_in_the_documentation_is_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block.text)
