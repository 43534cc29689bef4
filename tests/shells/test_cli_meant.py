"""Command lines that mean something else than they say are refused, and what to type instead is told."""

from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.inside import Inside

SHOP, BLOG = "The shop listens on port 9001.", "The blog listens on port 3000."


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command in a home with a memory in each of two namespaces, which no test changes."""
    command = Inside(tmp_path_factory.mktemp("meant")).using(TMWS_ONNX_MODEL_DIR="missing")
    command.ok("--namespace", "shop", "add", SHOP)
    command.ok("add", BLOG, "--namespace", "blog")
    return command


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("--namespace shop export all.jsonl", "`tmws export … --namespace shop`"),
        ("--agent-id bob search port", "`tmws search … --agent-id bob`"),
        ("--namespace shop memory list", "`tmws memory list … --namespace shop`"),
        ("--agent-id bob audit query", "`tmws audit query … --agent bob`"),
        ("--namespace shop memory get-stats", "Leave it out."),
    ],
)
def test_option_before_a_command_that_it_does_not_narrow_is_refused(command: Command, typed: str, instead: str) -> None:
    refused = command.run(*typed.split())
    assert (refused.code, refused.out, instead in refused.err) == (2, "", True), refused
    assert " before the command says who stores, and changes nothing of `tmws " in refused.err
    assert not (command.directory / "all.jsonl").exists()


def test_environment_of_a_command_that_it_does_not_narrow_is_silent(command: Command) -> None:
    bob = command.using(TMWS_AGENT_ID="bob", TMWS_AGENT_NAMESPACE="shop", COLUMNS="200")
    listed = bob.ok("memory", "list")
    assert (SHOP in listed.out, BLOG in listed.out, listed.err) == (True, True, "")


def test_option_before_a_command_that_it_does_change_is_understood(command: Command) -> None:
    assert command.ok("--namespace", "shop", "agent", "get-current", "--json").answer["namespace"] == "shop"
    assert "agent bob in shop" in command.run("--agent-id", "bob", "--namespace", "shop", "doctor").out
    assert SHOP in command.ok("export", "-", "--namespace", "shop").out
    assert command.ok("--namespace", "shop", "export", "--help").out == command.ok("export", "--help").out


def test_misspelt_filter_replaces_no_export_and_is_told_with_its_like(command: Command) -> None:
    target = command.directory / "shop.jsonl"
    command.ok("export", "shop.jsonl", "--namespace", "shop")
    whole = target.read_bytes()
    told = "There are none with these filters: namespace shp. Namespaces with memories: shop, blog."
    for words in (("shop.jsonl",), ("-",), ("folder", "--format", "markdown")):
        refused = command.run("export", *words, "--namespace", "shp")
        assert (refused.code, refused.out, refused.err) == (1, "", f"error: nothing is written. {told}\n")
    assert (target.read_bytes(), (command.directory / "folder").exists()) == (whole, False)
    assert command.ok("memory", "list", "--namespace", "shp").out == f"{told}\n"
    assert command.ok("search", "port", "--namespace", "shp").out == f"{told}\n"
    other = "There are none with these filters: namespace shop, agent_id bob (what that agent owns).\n"
    assert command.ok("memory", "list", "--namespace", "shop", "--agent-id", "bob").out == other


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("memory update last --namespace blog", "A memory stays in its namespace: "),
        ("add x --file notes.txt", "`tmws add < FILE`"),
        ("add x --title Ports", "A memory has no title: "),
        *((f"add x --{option} y", "") for option in ("team", "force", "id")),
        ("export all.jsonl --force", ""),
        ("add x --tgas y", "Did you mean '--tags'?"),
        ("export all.jsonl --namspace shop", "Did you mean '--namespace'?"),
    ],
)
def test_option_is_proposed_only_where_it_is_shown_and_alike(command: Command, typed: str, told: str) -> None:
    refused = command.run(*typed.split())
    assert (refused.code, told in refused.err) == (2, True), refused
    assert ("Did you mean" in refused.err) == told.startswith("Did"), refused


@pytest.mark.parametrize("word", ["notes.txt", "@notes.txt"])
def test_name_of_a_file_that_is_stored_is_said_to_be_one(tmp_path: Path, word: str) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    (tmp_path / "notes.txt").touch()
    told = "warning: the name is stored; `tmws add < notes.txt` stores what is in the file\n"
    assert command.ok("add", word).err == told
    assert command.ok("add", "read", word).err == command.ok("add", "elsewhere.txt").err == ""


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("config", "`tmws doctor` shows what is set"),
        ("logs", "TMWS_LOG_FILE"),
        ("upgrade", "`uv tool upgrade tmws`"),
        ("export - --namespace shop --namespace blog", "--namespace is given 2 times (shop, blog): give one."),
        ("memory list --agent-id ana --agent-id bob", "--agent-id is given 2 times (ana, bob): give one."),
        ("import x --namespace shop --namespace blog", "--namespace is given 2 times"),
        ("whoami", "Did you mean `tmws agent get-current`?"),
        ("reset", "`tmws memory delete` deletes one"),
        ("move --to ./x.db", "error: --to: the scheme of this URL is not supported"),
        ("add x --namespace caf\u00e9", "of ASCII letters, digits and . _ -"),
    ],
)
def test_what_is_often_typed_is_answered(command: Command, typed: str, told: str) -> None:
    refused = command.run(*typed.split())
    assert (refused.code, told in refused.err) == (2, True), refused
    assert "TMWS_DATABASE_URL" not in refused.err


def test_help_speaks_of_commands_and_not_of_the_operations_that_agents_call(command: Command) -> None:
    assert "`tmws memory get` has the whole" in " ".join(command.ok("search", "--help").out.split())
    assert "next_offset" not in command.ok("memory", "get", "--help").out


@pytest.mark.parametrize("columns", [64, 70])
def test_no_line_of_a_terminal_breaks_a_tag(tmp_path: Path, columns: int) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing", COLUMNS=str(columns))
    tags = [f"development-{number}" for number in range(4)]
    command.ok("add", "The development server listens on port 9001.", "--tags", ",".join(tags))
    listed = command.ok("memory", "list").out.splitlines()
    lines = [line[start : start + columns] for line in listed for start in range(0, len(line), columns)]
    assert all(any(f"#{tag}" in line for line in lines) for tag in tags), lines
