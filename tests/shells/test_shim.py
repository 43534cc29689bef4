"""What an agent terminal is: a thin process that passes lines on to the one owner of the data directory."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.owners import is_owned, log_of, owner_of, place_in, until
from tests.shells.serving import PATIENCE, Finished, conversation, environment, request, run_stdio, tool
from tmws_core.messages.memory import ALL

HEAVY = {"click", "attr", "attrs", "anyio", "typing", "pathlib", "subprocess", "hashlib", "threading", "asyncio"}

RSS_KILOBYTES = 15_000
"""What a terminal may hold: a bare interpreter holds 8,700, an agent terminal 11,600."""


def test_terminal_imports_nothing_heavy(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tmws_cli"],
        input=request(1, "ping"),
        capture_output=True,
        check=True,
        cwd=home,
        env=environment(home),
        timeout=PATIENCE,
    )
    assert json.loads(done.stdout)["id"] == 1
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.decode().splitlines()}
    assert "tmws_mcp" in imported
    assert imported & HEAVY == set()


def test_terminal_that_waits_is_small(home: Path) -> None:
    with conversation(home) as first, conversation(home) as second:
        for terminal in (first, second):
            terminal.ask(tool(1, "get_memory_stats"))
        pid = str(second.process.pid)
        resident = subprocess.run(["ps", "-o", "rss=", "-p", pid], capture_output=True, check=True).stdout
    assert int(resident) < RSS_KILOBYTES


def test_twenty_terminals_at_once_share_one_owner(home: Path) -> None:
    def ask(number: int) -> Finished:
        return run_stdio(home, tool(1, "create_memory", content=f"text {number}"), TMWS_OWNER_IDLE_SECONDS="3", **quick)

    quick = {"TMWS_ONNX_MODEL_DIR": "missing"}
    with conversation(home, **quick) as watching:
        with ThreadPoolExecutor(20) as pool:
            finished = list(pool.map(ask, range(20)))
        assert [done.content(1)["success"] for done in finished] == [True] * 20
        answer = watching.ask(tool(1, "get_memory_stats"))
        assert answer["result"]["structuredContent"]["total"] == 20
    until(lambda: not is_owned(home))
    log = log_of(home)
    assert log.count("Database migrated") == 1


def test_owner_ends_with_its_last_terminal_and_starts_again_with_the_next(home: Path) -> None:
    with conversation(home) as one, conversation(home) as other:
        one.ask(tool(1, "create_memory", content="kept"))
        other.ask(request(1, "ping"))
        owner = owner_of(home)
        assert one.process.stdin
        one.process.stdin.close()
        assert one.process.wait(PATIENCE) == 0
        assert other.ask(request(2, "ping"))["id"] == 2
    until(lambda: not is_owned(home))
    assert list((home / "run").iterdir()) == [Path(place_in(home).lock)]
    with conversation(home) as next_one:
        assert next_one.ask(tool(1, "get_memory_stats"))["result"]["structuredContent"]["total"] == 1
        assert owner_of(home).pid != owner.pid


def test_killed_terminal_leaves_nothing_behind(home: Path) -> None:
    slow = tool(2, "create_memories", memories=[{"content": f"text {number}"} for number in range(300)])
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        terminal.send(slow)
    until(lambda: not is_owned(home))


def test_terminals_see_what_their_agents_may(home: Path) -> None:
    with (
        conversation(home, TMWS_AGENT_ID="athena", TMWS_AGENT_NAMESPACE="acme") as athena,
        conversation(home, TMWS_AGENT_ID="hestia", TMWS_AGENT_NAMESPACE="acme") as hestia,
        conversation(home, TMWS_AGENT_ID="loki", TMWS_AGENT_NAMESPACE="other") as loki,
    ):
        athena.ask(tool(1, "create_memory", content="mine alone"))
        athena.ask(tool(2, "create_memory", content="for the team", access_level="team"))
        seen = [
            {
                memory["content"]
                for memory in each.ask(tool(3, "list_memories"))["result"]["structuredContent"]["memories"]
            }
            for each in (athena, hestia, loki)
        ]
    assert seen == [{"mine alone", "for the team"}, {"for the team"}, set()]


def test_large_messages_pass_in_both_directions(home: Path) -> None:
    texts = [f"{number} " + "x" * 60_000 for number in range(100)]
    with conversation(home, TMWS_ONNX_MODEL_DIR="missing") as terminal:
        stored = terminal.ask(tool(1, "create_memories", memories=[{"content": text} for text in texts]))
        assert len(stored["result"]["structuredContent"]["results"]) == 100
        listed = terminal.ask(tool(2, "list_memories", limit=100, max_chars=ALL))["result"]["structuredContent"]
    assert {memory["content"] for memory in listed["memories"]} == set(texts)


def test_long_input_is_answered_to_its_end(home: Path) -> None:
    finished = run_stdio(home, *(request(number, "tools/list") for number in range(500)))
    assert finished.code == 0
    assert {answer["id"] for answer in finished.answers} == set(range(500))


def test_input_that_ends_within_a_line_too_long_is_answered(home: Path) -> None:
    finished = run_stdio(home, b"x" * (8 * 1024 * 1024 + 1))
    assert [answer["error"]["code"] for answer in finished.answers] == [-32600]
    assert not (home / "run").exists()


@pytest.mark.embedded("the directory is named in a file")
def test_settings_from_files_and_options_reach_the_owner_and_a_strangers_file_does_not(tmp_path: Path) -> None:
    command = Command(tmp_path)
    (tmp_path / ".env").write_text("TMWS_AGENT_NAMESPACE=other\nTMWS_HOME=elsewhere\nTMWS_TYPO=1\n", encoding="utf-8")
    (tmp_path / "named").write_text("TMWS_AGENT_NAMESPACE=acme\nTMWS_HOME=elsewhere\n", encoding="utf-8")
    (tmp_path / "agent").write_text("athena\n", encoding="utf-8")
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / ".env").write_text("TMWS_AGENT_NAMESPACE=other\n", encoding="utf-8")
    store = tool(1, "create_memory", content="mine").decode()
    terminal = command.using(TMWS_HOME="", TMWS_AGENT_ID_FILE="agent")
    done = terminal.ok("--home", "third", "--env-file", "named", stdin=store)
    memory = command.using(TMWS_HOME="third").ok("memory", "get", _memory_id(done.out), "--json").answer["memory"]
    assert (memory["agent_id"], memory["namespace"]) == ("athena", "acme")
    assert not (tmp_path / "elsewhere").exists()


def test_owner_refuses_terminals_whose_texts_would_go_elsewhere(home: Path) -> None:
    secret = "http://user:hunter2@127.0.0.1:9"
    with conversation(home, TMWS_OLLAMA_BASE_URL=secret, TMWS_AUDIT_LOG_ENABLED="false") as first:
        first.ask(request(1, "ping"))
        plain = run_stdio(home, request(1, "ping"))
        alike = run_stdio(home, request(1, "ping"), TMWS_OLLAMA_BASE_URL=secret, TMWS_AUDIT_LOG_ENABLED="off")
        assert first.ask(request(2, "ping"))["id"] == 2
        owner = owner_of(home).pid
    assert alike.answer(1)["result"] == {}
    assert plain.code == 2
    error = plain.answer(1)["error"]
    assert error["data"]["code"] == "configuration"
    for name in ("TMWS_AUDIT_LOG_ENABLED", "TMWS_EMBEDDER", "TMWS_OLLAMA_BASE_URL", f"kill {owner}"):
        assert name in error["message"]
    assert "hunter2" not in str(plain)


def test_database_is_found_by_its_url(home: Path) -> None:
    finished = run_stdio(home, tool(1, "get_memory_stats"), TMWS_DATABASE_URL=f"sqlite:///{home}/deep/other.db")
    assert finished.content(1)["total"] == 0
    assert (home / "deep" / "other.db").exists()
    assert (home / "deep" / "run" / "other.db.lock").exists()
    assert not (home / "tmws.db").exists()


def test_misspelt_setting_ends_the_terminal_with_the_nearest_name_whoever_runs(home: Path) -> None:
    expected = "error: TMWS_PROT: is unknown. Did you mean TMWS_PORT?\n"
    cold = run_stdio(home, tool(1, "get_memory_stats"), TMWS_PROT="1")
    with conversation(home) as other:
        other.ask(request(1, "ping"))
        warm = run_stdio(home, tool(1, "get_memory_stats"), TMWS_PROT="1")
        assert other.ask(request(2, "ping"))["id"] == 2
    for finished in (cold, warm):
        assert (finished.code, finished.stderr) == (2, expected)
        error = finished.answer(1)["error"]
        assert (error["data"]["code"], f"error: {error['message']}\n") == ("configuration", expected)


def test_setting_that_the_owner_has_otherwise_is_told_on_stderr(home: Path) -> None:
    with conversation(home, TMWS_SEARCH_RECENCY="0.1", TMWS_PORT="8001") as first:
        first.ask(request(1, "ping"))
        told = run_stdio(home, request(1, "ping"), TMWS_SEARCH_RECENCY="0.2", TMWS_PORT="8002")
        quiet = run_stdio(home, request(1, "ping"), TMWS_SEARCH_RECENCY="0.10", TMWS_AGENT_ID="athena")
    assert told.stderr == "tmws: the running service keeps its own values of TMWS_SEARCH_RECENCY\n"
    assert quiet.stderr == ""


def test_terminal_in_a_file_system_that_cannot_be_written_names_the_remedy(home: Path) -> None:
    (home / "run").write_text("in the way", encoding="utf-8")
    finished = run_stdio(home, request(1, "ping"))
    assert finished.code == 5
    assert f"{home}/run" in finished.stderr
    assert "TMWS_HOME" in finished.stderr


def _memory_id(line: str) -> str:
    memory_id: str = json.loads(line)["result"]["structuredContent"]["memory_id"]
    return memory_id


def test_client_that_does_not_read_stderr_is_not_stopped(home: Path) -> None:
    unasked = json.dumps({"jsonrpc": "2.0", "method": "tools/list"}).encode() + b"\n"
    with conversation(home) as talk:
        talk.send(unasked * 2000, request("last", "ping"))
        assert talk.receive()["id"] == "last"
