"""`tmws audit`, and what the doctor says of the log, as real processes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.test_doctor import check_named, free_port
from tests.stacks import change, rows, settings_in

OLD = "2020-01-01T00:00:00.000000Z"

SEED = """
    SELECT timestamp, event_type, agent_id, details
    FROM security_audit_logs
    ORDER BY timestamp DESC
    LIMIT 10;
"""
"""As administrators type it."""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    command = Command(tmp_path).using(TMWS_PORT=free_port())
    lines = "\n".join(json.dumps({"content": content}) for content in ("The rose blooms.", "Trains leave at noon."))
    command.ok("memory", "create-batch", "-", stdin=lines)
    command.using(TMWS_AGENT_ID="grace").ok("memory", "search", "rose", "--mode", "lexical")
    return command


def age(command: Command) -> None:
    """Make the log that of a service that has run since 2020, as the program itself would have written it."""
    settings = settings_in(command.home)
    change(settings, "DELETE FROM security_audit_logs")
    if not settings.uses_postgres:
        change(settings, "DELETE FROM sqlite_sequence WHERE name = 'security_audit_logs'")
    change(settings, "UPDATE audit_head SET last = 0, hash = ?", bytes(32))
    row = f"('{OLD}', 'memory.created', 'ada', '{{}}')"
    for _ in range(3):
        change(settings, f"INSERT INTO security_audit_logs (timestamp, event_type, agent_id, details) VALUES {row}")
    command.ok("memory", "list")


def test_query_shows_the_newest_first(command: Command) -> None:
    lines = command.ok("audit", "query").out.splitlines()
    answer = command.ok("audit", "query", "--json").answer

    assert [event["event_type"] for event in answer["events"]] == ["memory.read", "memory.created", "memory.created"]
    assert [event["id"] for event in answer["events"]] == [3, 2, 1]
    assert answer["events"][0]["details"] == {"operation": "search_memories", "results": 1, "transport": "cli"}
    assert len(answer["events"][0]["hash"]) == 64
    assert len(lines) == 3
    assert "  memory.read  grace  " in lines[0]


def test_query_narrows_by_type_agent_and_time(command: Command) -> None:
    def found(*options: str) -> list[int]:
        return [event["id"] for event in command.ok("audit", "query", "--json", *options).answer["events"]]

    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # noqa: TID251 - when the events were recorded
    assert found("--event", "memory.created", "--limit", "1") == [2]
    assert found("--agent", "grace") == [3]
    assert found("--since", "2020-01-01T00:00:00+02:00", "--until", tomorrow) == [3, 2, 1]
    assert found("--since", tomorrow) == []
    assert found("--before", "3") == [2, 1]
    assert command.ok("audit", "query", "--agent", "nobody").out == "Nothing like that was recorded.\n"


@pytest.mark.parametrize("time", ["yesterday", "2026-01-31T12:00:00"])
def test_a_time_that_is_none_is_a_mistake(tmp_path: Path, time: str) -> None:
    done = Command(tmp_path).run("audit", "query", "--since", time)
    assert (done.code, done.out) == (2, "")
    assert time in done.err


def test_the_log_can_be_read_with_sql(command: Command) -> None:
    assert [(row[1], row[2]) for row in rows(settings_in(command.home), SEED)] == [
        ("memory.read", "grace"),
        ("memory.created", "default-agent"),
        ("memory.created", "default-agent"),
    ]


def test_verify_is_content_with_what_was_written(command: Command) -> None:
    done = command.ok("audit", "verify")
    answer = command.ok("audit", "verify", "--json").answer

    assert done.out.startswith("The audit log is what was written: 3 rows, the last one 3.\nHash: ")
    assert done.out.endswith("Signed up to row: none\n")
    assert (answer["success"], answer["rows"], answer["breach"], answer["signed_up_to"]) == (True, 3, None, 0)


def test_verify_names_the_first_wrong_row_and_fails(command: Command) -> None:
    change(settings_in(command.home), "UPDATE security_audit_logs SET agent_id = 'mallory' WHERE id = 2")
    done = command.run("audit", "verify")
    answer = command.run("audit", "verify", "--json")
    doctor = command.run("doctor", "--deep", "--json")

    assert done.code == answer.code == doctor.code == 1
    assert done.out.startswith("Row 2 was changed, moved or inserted.\nThe 1 rows before it")
    assert answer.answer["success"] is False
    assert answer.answer["breach"] == {"id": 2, "reason": "was changed, moved or inserted"}
    assert check_named(doctor, "audit log")["state"] == "broken"
    assert check_named(command.ok("doctor", "--json"), "audit log")["state"] == "ok"


def test_prune_deletes_what_is_too_old_and_the_rest_verifies(command: Command) -> None:
    age(command)

    assert command.ok("audit", "prune", "--json").answer == {"success": True, "deleted": 3, "days": 365}

    events = command.ok("audit", "query", "--json").answer["events"]
    assert [event["event_type"] for event in events] == ["audit.pruned", "memory.read", "audit.adopted"]
    verified = command.ok("audit", "verify", "--json").answer
    assert (verified["rows"], verified["last_row"], verified["signed_up_to"]) == (3, 6, 6)
    assert "signed up to row 6 on 20" in check_named(command.ok("doctor", "--json"), "audit log")["detail"]


def test_prune_keeps_what_the_settings_or_the_option_say(command: Command) -> None:
    age(command)

    kept = command.using(TMWS_AUDIT_LOG_RETENTION_DAYS="0").ok("audit", "prune").out
    young = command.ok("audit", "prune", "--days", "100000").out
    old = command.using(TMWS_AUDIT_LOG_RETENTION_DAYS="0").ok("audit", "prune", "--days", "30").out

    assert kept == "Deleted nothing: the log is kept for ever.\n"
    assert young == "Deleted 0 rows that were older than 100000 days.\n"
    assert old == "Deleted 3 rows that were older than 30 days.\n"


def test_a_broken_log_is_not_pruned(command: Command) -> None:
    age(command)
    change(settings_in(command.home), "DELETE FROM security_audit_logs WHERE id = 4")

    done = command.run("audit", "prune", "--json")

    assert (done.code, done.answer["error"]["code"]) == (1, "audit_broken")
    assert "row 4 is missing" in done.answer["error"]["message"]


def test_what_an_unknown_secret_has_signed_is_told_with_a_remedy(command: Command) -> None:
    first, second = "a" * 32, "b" * 32
    command.using(TMWS_SECRET_KEY=first).ok("audit", "prune")

    unknown = command.using(TMWS_SECRET_KEY=second).ok("audit", "verify")
    doctor = command.using(TMWS_SECRET_KEY=second).ok("doctor", "--deep", "--json")
    known = command.using(TMWS_SECRET_KEY=second, TMWS_SECRET_KEY_PREVIOUS=first).ok("audit", "verify")

    assert "another secret has signed the checkpoints of rows 3. Set TMWS_SECRET_KEY_PREVIOUS" in unknown.err
    assert check_named(doctor, "audit log")["state"] == "warning"
    assert known.err == ""
    assert "Signed up to row: 3\n" in known.out


def test_production_needs_the_secret_to_sign_but_not_to_read(command: Command) -> None:
    production = command.using(TMWS_ENVIRONMENT="production")

    assert production.ok("audit", "verify").code == 0
    done = production.run("audit", "prune")

    assert done.code == 2
    assert "TMWS_SECRET_KEY: secret key not set" in done.err
