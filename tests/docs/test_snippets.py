"""What the documentation tells people to type works.

Blocks of `bash` and `python` run, page by page, in one shell and one directory with a fresh TMWS_HOME.
`localhost:8000` in them stands for a port that is free, and `localhost:11434` for a double of Ollama.

Blocks of `console` (commands that need what is not here, such as Claude Code or Ollama itself) and of `sh` (the two
commands of the README, which `.ci/run` runs) are not run, but their `tmws` commands and options have to exist. Blocks
of `text`, `json` and `ini` are shown only, and JSON has to be JSON.
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
from pathlib import Path

import click
import pytest

from tests.contracts.ollama_double import ollama_double
from tests.docs.pages import ROOT, Block, blocks, languages, name_of, pages
from tmws_cli.commands import root

SHOWN_ONLY = {"text", "json", "ini"}
RUN = {"bash", "python"}
PARSED = {"console", "sh"}

SECONDS = 120
"""How long the blocks of one page may take; the slowest needs about 15."""

TMWS = f"""#!/bin/sh
PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m tmws_cli "$@"
"""

PROGRAMS = ("curl", "sqlite3")
"""What the blocks use besides Python and what every system has."""

RUNNABLE = [page for page in pages() if blocks(page, *RUN)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def script_of(page: Path, directory: Path) -> str:
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for block in blocks(page, *RUN):
        lines.append(f"echo '--- {name_of(page)}:{block.line}' >&2")
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
        "TMWS_HOME": str(directory / "home"),
        "TMWS_OWNER_IDLE_SECONDS": "0",
        "LANG": "C.UTF-8",
    }


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_snippets_of_a_page_run(page: Path, tmp_path: Path) -> None:
    require_programs(page)
    directory = tmp_path / "page"
    programs = tmp_path / "bin"
    directory.mkdir()
    programs.mkdir()
    (programs / "tmws").write_text(TMWS, encoding="utf-8")
    (programs / "tmws").chmod(0o755)
    port = str(free_port())
    with ollama_double() as ollama:
        script = script_of(page, directory)
        script = script.replace("localhost:8000", f"localhost:{port}").replace("http://localhost:11434", ollama.url)
        code, output = run(script, directory, environment(directory, programs) | {"TMWS_PORT": port})
    assert code == 0, output


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


NOT_RUN = [
    pytest.param(words, id=f"{name_of(page)}:{block.line}:{' '.join(words)}")
    for page in pages()
    for block in blocks(page, *PARSED)
    for words in commands_in(block)
]


@pytest.mark.parametrize("words", NOT_RUN)
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
    unknown = {name_of(page): languages(page) - SHOWN_ONLY - RUN - PARSED for page in pages()}
    assert {name: found for name, found in unknown.items() if found} == {}


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page, "json")], ids=name_of)
def test_json_in_the_documentation_is_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block.text)
