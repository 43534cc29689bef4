"""The command line as it is used all day: short forms, ids, times, tags, questions, colours and completion."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.shells.command import ROOT, Command
from tests.shells.owners import is_owned, owner_of
from tests.shells.serving import PATIENCE, conversation, environment, request

QUICK = {"TMWS_ONNX_MODEL_DIR": "missing", "TZ": "Europe/Paris", "COLUMNS": "140"}
UNKNOWN = "01900000-0000-7000-8000-000000000000"


@contextmanager
def beside_owner(directory: Path) -> Iterator[Command]:
    """Yield the command beside an owner: each takes a tenth of the time."""
    command = Command(directory).using(**QUICK)
    with conversation(command.home, **QUICK) as terminal:
        terminal.ask(request(1, "ping"))
        yield command


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Yield the command beside an owner whose memories all tests share."""
    with beside_owner(tmp_path_factory.mktemp("daily")) as command:
        yield command


def add(command: Command, *words: str) -> str:
    memory_id: str = command.ok("add", *words, "--json").answer["memory_id"]
    return memory_id


def got(command: Command, memory_id: str) -> Mapping[str, object]:
    memory: Mapping[str, object] = command.ok("memory", "get", memory_id, "--json").answer["memory"]
    return memory


def on_terminal(command: Command, *words: str, typed: str = "", **env: str) -> tuple[int, str]:
    """Run a command on a terminal of its own, and return its exit code and what the terminal showed."""
    controller, terminal = pty.openpty()
    variables = environment(command.home, **{**command.env, "TERM": "xterm", **env})
    with subprocess.Popen(
        [sys.executable, "-m", "tmws_cli", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=command.directory,
        env=variables,
    ) as process:
        os.close(terminal)
        os.write(controller, typed.encode())
        shown = b""
        while chunk := _read(controller):
            shown += chunk
        os.close(controller)
        return process.wait(PATIENCE), shown.decode()


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 4096)
    except OSError:  # Linux says so at the end
        return b""


def test_short_forms_take_words_without_quotes_and_ids_by_their_beginning(command: Command) -> None:
    first = add(command, "Ana", "likes", "short", "answers", "--tags", "people, habits", "--tags", "ana")
    last = add(command, "The printer is upstairs")
    assert got(command, first)["content"] == "Ana likes short answers"
    assert got(command, first)["tags"] == ["people", "habits", "ana"]
    assert first in command.ok("search", "who", "likes", "short", "answers").out
    assert got(command, "last")["memory_id"] == last
    command.ok("memory", "update", last[:30], "--add-tag", "office,first floor", "--importance", "0.9")
    command.ok("memory", "update", "last", "--remove-tag", "office", "--add-tag", "printer")
    assert got(command, last)["tags"] == ["first floor", "printer"]
    listed = command.ok("memory", "list").out.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d CES?T  \S{36}  The printer.*  #first floor  #printer", listed[0])
    both = command.run("memory", "update", "last", "--tags", "x", "--add-tag", "y")
    assert (both.code, "--add-tag" in both.err) == (2, True)
    command.ok("memory", "update", "last", "--tags", "")
    assert got(command, last)["tags"] == []
    assert command.run("memory", "delete", UNKNOWN[:30]).code == 3


def test_last_is_of_the_own_agent_whatever_others_store(command: Command) -> None:
    command.run("agent", "register", "hera")
    mine, hers = add(command, "Mine."), add(command, "Hers.", "--agent-id", "hera")
    shared = command.ok("memory", "share", "last", "mallory")
    assert (shared.out.splitlines()[0], shared.err) == (f"memory_id: {mine}", 'last of default-agent: "Mine."\n')
    command.ok("memory", "update", "last", "Mine, corrected.")
    assert command.ok("agent", "explain-access", "last", "hera").out.splitlines()[0] == f"memory_id: {mine}"
    assert (command.ok("memory", "get", "last").err, got(command, mine)["content"]) == ("", "Mine, corrected.")
    assert command.using(VISUAL="", EDITOR="sed -i s/Mine/My/").ok("edit", "last").out.startswith(f"Changed {mine}")
    command.ok("memory", "delete", "last")
    assert command.run("memory", "get", mine).code == 3
    assert (got(command, hers)["content"], "shared_with" in got(command, hers)) == ("Hers.", False)
    add(command, "Mine again.")
    rows = command.ok("memory", "list", "--limit", "2").out.splitlines()
    assert [row.rpartition("  ")[2] for row in rows[:2]] == ["Mine again.", "@hera"]
    exported = command.ok("export", "-", "--agent-id", "hera").out.splitlines()
    assert [json.loads(line)["memory_id"] for line in exported] == [hers]
    for theirs in (("memory", "get", "last", "--agent-id", "hera"), ("--agent-id", "hera", "memory", "get", "last")):
        assert command.ok(*theirs, "--json").answer["memory"]["memory_id"] == hers
    assert command.using(TMWS_AGENT_ID="hera").ok("memory", "delete", "last").err == 'last of hera: "Hers."\n'


def test_list_that_is_empty_says_so(tmp_path: Path) -> None:
    command = Command(tmp_path).using(**QUICK)
    assert command.ok("memory", "list").out == "There are no memories.\n"
    assert command.ok("search", "anything").out == "Nothing was found.\n"
    told = "There are none with these filters: agent_id bob (what that agent owns), tags_any.\n"
    assert command.ok("search", "anything", "--agent-id", "bob", "--tags", "x").out == told
    assert command.ok("agent", "list").out == "There are no agents.\n"
    nothing = command.run("memory", "get", "last")
    assert (nothing.code, "tmws add" in nothing.err) == (3, True)


@pytest.mark.embedded("there is no file of a server")
def test_reading_where_there_is_no_store_yet_says_so(tmp_path: Path) -> None:
    command = Command(tmp_path).using(**QUICK)
    first, second = command.ok("memory", "list"), command.ok("memory", "list")
    told = f"warning: there was no store at {command.home}/tmws.db yet; --home or TMWS_HOME names another\n"
    assert (first.out, first.err) == ("There are no memories.\n", told)
    assert (second.out, second.err) == (first.out, "")
    (tmp_path / "empty").mkdir()
    assert command.ok("--home", "empty", "export", "all.jsonl").err.count("there was no store at") == 1
    no_home = f"error: --home: there is no directory {tmp_path}/typo, and a command that only reads makes none. "
    for words in ("memory list", "export -", "audit query", "token list"):
        typo = command.run("--home", "typo", *words.split())
        assert (typo.code, typo.out, typo.err.startswith(no_home)) == (2, "", True), typo
    assert not (tmp_path / "typo").exists()
    assert command.ok("--home", "new", "add", "A note").err == ""


def test_times_are_typed_and_shown_in_the_zone_of_the_machine(command: Command) -> None:
    def expiry(written: str) -> datetime:
        memory_id = add(command, f"until {written}", "--expires-at", written)
        return datetime.fromisoformat(str(got(command, memory_id)["expires_at"]))

    assert expiry("2098-12-31") == datetime(2098, 12, 30, 23, tzinfo=UTC)
    assert expiry("2098-07-01 12:00") == datetime(2098, 7, 1, 10, tzinfo=UTC)
    assert expiry("2098-12-31T12:00:00Z") == datetime(2098, 12, 31, 12, tzinfo=UTC)
    now = datetime.now(UTC)  # noqa: TID251 - the command looks at the same clock
    assert timedelta(days=29) < expiry("30d") - now < timedelta(days=31)
    assert timedelta(0) < expiry("tomorrow") - now < timedelta(days=1)
    assert command.ok("memory", "list", "--created-after", "1h").out.count("until") == 5
    assert (
        command.ok("memory", "list", "--created-before", "1h ago").out
        == "There are none with these filters: created_before.\n"
    )
    shown = command.ok("memory", "get", "last").out
    stats = command.ok("memory", "get-stats").out
    for name, text in ("created_at", shown), ("oldest", stats), ("newest", stats):
        assert re.search(rf"^{name}: \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d CES?T$", text, re.MULTILINE), name
    for unknown in ("some day", "tomorrow 25:00", "999999y"):
        wrong = command.run("memory", "list", "--created-after", unknown)
        assert (wrong.code, wrong.err.startswith(f"error: created_after: '{unknown}' is not a time.")) == (2, True)
        assert "30d, 2h ago, tomorrow, 14:30" in wrong.err


def test_what_was_meant_is_named(command: Command) -> None:
    for typed, meant in {
        "memroy": "tmws memory",
        "add_memory": "tmws add",
        "create_memory": "tmws memory create",
        "serach": "tmws search",
        "ls": "tmws memory list",
    }.items():
        assert f"Did you mean `{meant}`?" in command.run(typed).err
    assert "Did you mean `tmws agent list`?" in command.run("agent", "ls").err
    assert "`tmws memory update last 'two words'`?" in command.run("update", "last", "two words").err
    assert "Did you mean `tmws search --help`?" in command.run("help", "serach").err
    assert "Did you mean `tmws agent update zed --active`?" in command.run("agent", "activate", "zed").err
    assert "Did you mean `tmws agent register zed`?" in command.run("agent", "add", "zed").err
    assert "Did you mean `tmws token issue --agent x`?" in command.run("token", "create", "--agent", "x").err
    for unshare in (("memory", "unshare"), ("memory", "revoke"), ("unshare",)):
        assert "Did you mean `tmws memory share last bob --revoke`?" in command.run(*unshare, "last", "bob").err


@pytest.mark.parametrize(
    "words",
    [
        ("x" * 50,),
        *(("memory", "restore", "last"), ("memory", "undelete", "last"), ("memory", "kill"), ("restore", "last")),
        *(("agent", "rm", "zed"), ("agent", "share"), ("sto_re",), ("memory", "delete", "--tags", "people")),
    ],
)
def test_nothing_is_proposed_of_another_sense(command: Command, words: tuple[str, ...]) -> None:
    refused = command.run(*words)
    assert (refused.code, "Did you mean" in refused.err) == (2, False), refused


def test_what_no_command_does_is_told(command: Command) -> None:
    for word in ("mcp", "stdio", "setup"):
        assert (
            "by giving its client the command `tmws`, such as `claude mcp add tmws -- tmws`." in command.run(word).err
        )
    for words, told in {("uninstall",): "uv tool uninstall tmws", ("memory", "restore"): "--include-history"}.items():
        assert told in command.run(*words).err


def test_help_and_version_are_words_as_well(command: Command) -> None:
    assert command.ok("version").out == command.ok("--version").out
    assert command.ok("help").out == command.ok("--help").out
    usage = "Usage: tmws memory update [OPTIONS] MEMORY_ID [CONTENT]..."
    assert usage in command.ok("help", "memory", "update").out
    assert usage in command.ok("memory", "help", "update").out


def test_a_text_may_begin_with_a_dash_or_come_on_stdin(command: Command) -> None:
    assert got(command, add(command, "-5 degrees", "outside", "--tags", "cold"))["content"] == "-5 degrees outside"
    assert got(command, add(command, "- one\n- two"))["content"] == "- one\n- two"
    piped = command.ok("add", "--tags", "piped", "--json", stdin=b"\xef\xbb\xbfFrom a pipe.\r\n").answer["memory_id"]
    assert (got(command, piped)["content"], got(command, piped)["tags"]) == ("From a pipe.", ["piped"])
    command.ok("memory", "update", "last", "Another", "text")
    assert got(command, piped)["content"] == "Another text"
    both = command.run("memory", "update", "last", "one", "--content", "two")
    assert (both.code, "not both" in both.err) == (2, True)
    assert "out of range" in command.run("memory", "update", "last", "--importance", "-5").err
    nothing = command.run("add")
    assert (nothing.code, nothing.err.startswith("error: content: is empty")) == (2, True)
    code, shown = on_terminal(command, "add")
    assert (code, "Missing argument 'CONTENT...'" in shown) == (2, True)


def test_options_are_known_by_their_names_in_other_programs(command: Command) -> None:
    first = add(command, "Ten gulls.", "--tag", "gull", "--label", "bird", "--type", "semantic", "--date", "2026-01-31")
    assert got(command, first)["tags"] == ["gull", "bird"]
    assert (got(command, first)["memory_type"], got(command, first)["occurred_at"]) == (
        *("semantic", "2026-01-30T23:00:00Z"),
    )
    for option in ("-n", "-k", "--top-k"):
        assert command.ok("memory", "list", option, "1").out.count("Ten gulls.") == 1
    assert first in command.ok("search", "gulls", "--tags", "gull").out
    for typed, told in (
        (("--tags", "a,b"), "--tags-any a,b (one of them) or --tags-all a,b (all)"),
        (("--since", "1d"), "--created-after (stored at this time or later) or --occurred-after (happened"),
        (("--query", "x"), "Write the query without it"),
        (("--user-id", "ana"), "Memories belong to the agent that calls"),
        (("--min-importance", "8"), "from 0 to 1\n"),
    ):
        refused = command.run("search", "gulls", *typed)
        assert (refused.code, told in refused.err) == (2, True), refused
    listed = add(command, "Two gulls.", "--tags", "['gull', \"it's\"]", "--tags", "{bird,bird}")
    assert got(command, listed)["tags"] == ["gull", "it's", "bird"]
    assert "tags: begins as a list does, and is none" in command.run("add", "Gull.", "--tags", "['gull'").err


def test_delete_asks_on_a_terminal_alone(command: Command) -> None:
    kept, asked, unasked, piped = (add(command, f"Number {number}") for number in range(4))
    code, shown = on_terminal(command, "memory", "delete", kept, typed="n\n")
    assert (code, 'Delete "Number 0"?' in shown) == (1, True)
    assert got(command, kept)["content"] == "Number 0"
    assert on_terminal(command, "memory", "delete", asked, typed="y\n")[0] == 0
    code, shown = on_terminal(command, "memory", "delete", unasked, "--yes")
    assert (code, "?" in shown) == (0, False)
    command.ok("memory", "delete", piped)
    listed = command.ok("memory", "list").out
    assert ("Number 0" in listed, listed.count("Number")) == (True, 1)


def test_colours_are_for_terminals_that_want_them(command: Command) -> None:
    add(command, "Tea is in the kitchen", "--tags", "food")
    assert "\x1b[" in on_terminal(command, "memory", "list")[1]
    assert "\x1b[" in on_terminal(command, "memroy")[1]
    assert "\x1b[" not in on_terminal(command, "memory", "list", NO_COLOR="1")[1]
    assert "\x1b[" not in on_terminal(command, "memory", "list", TERM="dumb")[1]
    assert "\x1b[" not in command.ok("search", "tea").out


def test_best_hit_is_whole_on_a_terminal_and_all_are_in_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # several processes of pytest have it
    command = Command(tmp_path).using(**{name: value for name, value in QUICK.items() if name != "COLUMNS"})
    text = " ".join(f"gorse{number}" for number in range(30))
    add(command, text, "--tags", "shrub")
    assert f"  {text}  #shrub\n" in command.ok("search", "gorse7").out
    assert f"  {text}  #shrub\n" in command.ok("memory", "list").out
    row, *below = on_terminal(command, "search", "gorse7", NO_COLOR="1", COLUMNS="80")[1].split("\r\n")
    assert re.fullmatch(r" +1  1\.000  \w+ +\S{36}    #shrub", row)
    wrapped = [line for line in below if "gorse" in line]
    assert (" ".join(line.strip() for line in wrapped), max(map(len, wrapped)) <= 80) == (text, True)
    add(command, f"{text} " * 9)
    shown = on_terminal(command, "search", "gorse7", NO_COLOR="1", COLUMNS="80")[1]
    assert [line.strip()[-1] for line in shown.split("\r\n") if line.startswith("     gorse")][4:] == ["…"]
    for words in (("memory", "list"), ("search", "gorse7")):
        detailed = command.ok(*words, "--details", "--limit", "1").out
        assert "     agent_id: default-agent\n" in detailed
        assert "     content: gorse0 gorse1" in detailed


def test_search_explains_itself_in_words(command: Command) -> None:
    add(command, "Tea is in the kitchen")
    hit, why = command.ok("search", "tea", "--explain").out.splitlines()[:2]
    assert "Tea is in the kitchen" in hit
    assert re.fullmatch(r" +by words number 1 \(score \d+\.\d\d\).*; seen as owner", why)


def test_text_is_edited_and_what_cannot_be_stored_is_kept(command: Command) -> None:
    memory_id = add(command, "Tea is in the kitchen")
    editor = command.using(VISUAL="", EDITOR="sed -i s/kitchen/cellar/")
    assert editor.ok("edit", "last").out == f"Changed {memory_id}, version 2\n"
    assert got(command, memory_id)["content"] == "Tea is in the cellar"
    assert editor.ok("memory", "edit", memory_id).out == "Nothing was changed\n"
    typed = "Tea is\r\nin\ufeff the kitchen"
    memory_id = command.ok("memory", "create", "-", "--json", stdin=typed).answer["memory_id"]
    editor.ok("edit", memory_id)
    assert got(command, memory_id)["content"] == typed.replace("kitchen", "cellar")
    spoilt = command.using(VISUAL="", EDITOR="sed -i 's/cellar/\\xff/'").run("edit", memory_id)
    assert (spoilt.code, spoilt.err.splitlines()[1]) == (2, "error: What the editor saved is no UTF-8")
    Path(spoilt.err.splitlines()[0].removeprefix("The text that you wrote is in ")).unlink()
    overtaken = command.directory / "overtaken"
    meanwhile = f"{sys.executable} -m tmws_cli memory update {memory_id} --content other >/dev/null"
    overtaken.write_text(f"#!/bin/sh\n{meanwhile}\necho mine >$1\n", encoding="utf-8")
    overtaken.chmod(0o755)
    refused = command.using(VISUAL="", EDITOR=str(overtaken)).run("edit", memory_id)
    assert refused.code == 1
    kept = refused.err.splitlines()[0].removeprefix("The text that you wrote is in ")
    assert Path(kept).read_text(encoding="utf-8") == "mine"
    Path(kept).unlink()
    assert got(command, memory_id)["content"] == "other"


@pytest.mark.embedded("a server of PostgreSQL needs no owner")
def test_stop_ends_the_owner(tmp_path: Path) -> None:
    with beside_owner(tmp_path) as command:
        pid = owner_of(command.home).pid
        assert command.ok("stop", "--json").answer == {"success": True, "stopped": pid}
        assert not is_owned(command.home)
        assert command.ok("stop").out == "Nothing is running\n"


def test_shells_complete_commands_and_options(tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "tmws").write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tmws_cli "$@"\n', encoding="utf-8"
    )
    (bin_ / "tmws").chmod(0o755)
    command = Command(tmp_path)
    variables = {**environment(command.home), "PATH": f"{bin_}:{os.environ['PATH']}"}

    def said(*words: str, **more: str) -> str:
        done = subprocess.run(words, capture_output=True, check=True, env=variables | more, stdin=subprocess.PIPE)
        return done.stdout.decode()

    line = 'eval "$(tmws completion bash)"; COMP_WORDS=(tmws memory cre); COMP_CWORD=2; _tmws_completion tmws'
    assert said("bash", "-c", f'{line}; echo "${{COMPREPLY[@]}}"').split() == ["create", "create-batch"]
    classic = line.replace("tmws completion bash", "_TMWS_COMPLETE=bash_source tmws")
    assert said("bash", "-c", f'{classic}; echo "${{COMPREPLY[@]}}"').split() == ["create", "create-batch"]
    for shell in ("zsh", "fish"):
        script = said("tmws", "completion", shell)
        assert f"_TMWS_COMPLETE={shell}_complete" in script
        if shutil.which(shell):
            said(
                shell,
                "-c",
                "tmws completion fish | source" if shell == "fish" else "autoload -U compinit; compinit; " + script,
            )
    zsh = said("tmws", _TMWS_COMPLETE="zsh_complete", COMP_WORDS="tmws memory search --expl", COMP_CWORD="3")
    assert "--explain" in zsh
    fish = said("tmws", _TMWS_COMPLETE="fish_complete", COMP_WORDS="tmws memory", COMP_CWORD="se")
    assert fish.startswith("plain,search")
    assert not command.home.joinpath("tmws.db").exists()
    assert json.loads(said("tmws", "--json", "memory", "get-stats"))["total"] == 0
