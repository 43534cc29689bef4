"""The documentation is complete and does not point into the void."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import get_args, get_type_hints

import attrs
import click
import pytest

from tests.docs.pages import ROOT, anchors, links, name_of, pages
from tmws_adapters.settings import RESERVED, Settings, known_names, load_settings
from tmws_cli.commands import root
from tmws_cli.output import TIMES
from tmws_core.app import SERVICES
from tmws_core.errors import TmwsError
from tmws_core.operation import operations_described_by

REFERENCE = ROOT / "docs" / "reference"


def generate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(REFERENCE / "generate.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
    )


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


def codes(cls: type[TmwsError]) -> Iterator[str]:
    yield cls.code
    for below in cls.__subclasses__():
        yield from codes(below)


def reference(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_the_generated_pages_are_what_the_code_says() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stderr


def test_every_operation_is_documented() -> None:
    names = operations_described_by(SERVICES)
    assert names
    assert [name for name in names if f"\n## {name}\n" not in reference("operations.md")] == []
    assert [name for name in names if f"POST /mcp/tools/{name}`" not in reference("http.md")] == []


def test_every_setting_is_documented() -> None:
    names = [*known_names(), *RESERVED]
    assert [name for name in names if f"| `{name}` |" not in reference("settings.md")] == []
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert [name for name in known_names() if f"\n#{name}=" not in example] == []


def test_the_example_file_holds_the_defaults(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    file = tmp_path / ".env"
    file.write_text(example.replace("\n#TMWS_", "\nTMWS_"), encoding="utf-8")
    assert load_settings({}, dotenv=file) == Settings()


def test_every_command_is_documented() -> None:
    assert [path for path, _ in commands(root, "tmws") if f"\n## {path}\n" not in reference("commands.md")] == []


def test_every_error_code_is_documented() -> None:
    assert [code for code in codes(TmwsError) if f"| `{code}` |" not in reference("errors.md")] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_no_command_takes_an_agent_or_a_namespace_that_changes_nothing() -> None:
    taking = {
        name: {path for path, command in commands(root, "tmws") if any(name in each.opts for each in command.params)}
        for name in ("--agent-id", "--namespace")
    }
    who = {
        "tmws",
        "tmws agent get-current",
        "tmws agent import",
        "tmws doctor",
        "tmws import",
        "tmws memory create-batch",
        "tmws serve",
    }
    narrowed = {"tmws export", "tmws search", "tmws memory list", "tmws memory search"}
    of_agents = {"tmws agent register", "tmws agent update"}
    stored = {"tmws add", "tmws memory create"}
    assert taking["--namespace"] == {*who, *narrowed, *of_agents, *stored, "tmws agent list"}
    recorded = {"tmws audit", "tmws audit prune", "tmws audit sign", "tmws embeddings", "tmws embeddings migrate"}
    recorded |= {"tmws token", "tmws token issue", "tmws token revoke"}
    agents = {"tmws agent deactivate", "tmws agent explain-access"}
    picked = {f"tmws memory {name}" for name in ("delete", "edit", "get", "get-stats", "share", "update")}
    assert taking["--agent-id"] == {*who, *narrowed, *of_agents, *stored, *recorded, *agents, *picked, "tmws edit"}


def times_in(cls: type, seen: set[type]) -> Iterator[str]:
    """Yield the names of the fields that are times, of a class and of those that it holds."""
    seen.add(cls)
    for name, hint in get_type_hints(cls).items():
        kinds = [hint]
        for kind in kinds:
            kinds += get_args(kind)
            if kind is datetime:
                yield name
            elif isinstance(kind, type) and attrs.has(kind) and kind not in seen:
                yield from times_in(kind, seen)


def test_every_time_in_an_answer_is_shown_in_the_zone_of_the_machine() -> None:
    names = {name for each in operations_described_by(SERVICES).values() for name in times_in(each.answer, set())}
    assert {name for name in names if not name.endswith("_at")} == TIMES
