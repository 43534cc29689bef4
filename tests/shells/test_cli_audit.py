"""`tmws audit`, and what the doctor says of the log."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.inside import Inside
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
    command = Inside(tmp_path).using(TMWS_PORT=free_port())
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
    command.ok("audit", "sign")


def test_query_shows_the_newest_first(command: Command) -> None:
    lines = command.ok("audit", "query").out.splitlines()
    answer = command.ok("audit", "query", "--json").answer

    assert [event["event_type"] for event in answer["events"]] == ["memory.read", "memory.created", "memory.created"]
    assert [event["id"] for event in answer["events"]] == [3, 2, 1]
    assert answer["events"][0]["details"] == {"operation": "search_memories", "results": 1, "transport": "cli"}
    assert len(answer["events"][0]["hash"]) == 64
    assert len(lines) == 3
    assert re.match(r" +3  \S+ [\d:]{8} \w+  memory\.read  grace  ", lines[0])


def test_query_narrows_by_type_agent_and_time(command: Command) -> None:
    def found(*options: str) -> list[int]:
        return [event["id"] for event in command.ok("audit", "query", "--json", *options).answer["events"]]

    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # noqa: TID251 - when the events were recorded
    assert found("--event", "memory.created", "--limit", "1") == [2]
    assert found("--agent", "grace") == [3]
    assert found("--since", "2020-01-01T00:00:00+02:00", "--until", tomorrow) == [3, 2, 1]
    assert found("--since", tomorrow) == []
    assert found("--since", "yesterday", "--until", "tomorrow") == found("--since", "2h") == [3, 2, 1]
    assert found("--before", "3") == [2, 1]
    assert command.ok("audit", "query", "--agent", "nobody").out == "Nothing like that was recorded.\n"


@pytest.mark.parametrize("time", ["some day", "2026-13-31"])
def test_a_time_that_is_none_is_a_mistake(tmp_path: Path, time: str) -> None:
    done = Inside(tmp_path).run("audit", "query", "--since", time)
    assert (done.code, done.out) == (2, "")
    assert time in done.err


def test_the_log_can_be_read_with_sql(command: Command) -> None:
    assert [(row[1], row[2]) for row in rows(settings_in(command.home), SEED)] == [
        ("memory.read", "grace"),
        ("memory.created", "default-agent"),
        ("memory.created", "default-agent"),
    ]


def test_verify_is_content_with_what_was_written_and_signed(command: Command) -> None:
    signed = command.ok("audit", "sign")
    done = command.ok("audit", "verify")
    answer = command.ok("audit", "verify", "--json").answer

    assert signed.out.startswith("Signed up to row 3, hash ")
    assert "audit-signed.json" in signed.out
    assert done.out.startswith("The audit log is what was written: 4 rows, the last one 4.\nHash: ")
    assert done.out.endswith("Signed up to row: 3\n")
    assert (answer["success"], answer["rows"], answer["breach"], answer["doubt"]) == (True, 4, None, None)
    assert answer["signed_up_to"] == 3


def test_a_log_that_nothing_proves_is_told_and_is_no_success(command: Command) -> None:
    unsigned = command.run("audit", "verify")
    answer = command.run("audit", "verify", "--json")
    unpruned = command.run("audit", "prune", "--json")

    assert (unsigned.code, answer.code) == (5, 5)
    assert "no checkpoint of it was ever signed" in unsigned.err
    assert "is what was written:" not in unsigned.out
    assert (answer.answer["success"], answer.answer["doubt"]) == (False, "nothing_signed")
    assert (unpruned.code, unpruned.answer["error"]["code"]) == (1, "audit_unproven")


def test_a_log_that_was_emptied_with_its_checkpoints_is_broken(command: Command) -> None:
    command.ok("audit", "sign")
    settings = settings_in(command.home)
    change(settings, "DELETE FROM audit_checkpoints")
    change(settings, "DELETE FROM security_audit_logs")
    change(settings, "UPDATE audit_head SET last = 0, hash = ?", bytes(32))

    done = command.run("audit", "verify")

    assert done.code == 1
    assert "Row 1 is missing, and every one behind it" in done.out
    assert check_named(command.run("doctor", "--json"), "audit log")["state"] == "broken"
    assert command.run("audit", "sign").code == 1
    command.ok("audit", "sign", "--accept")
    command.ok("audit", "verify")


def test_verify_names_the_first_wrong_row_and_fails(command: Command) -> None:
    change(settings_in(command.home), "UPDATE security_audit_logs SET agent_id = 'mallory' WHERE id = 2")
    done = command.run("audit", "verify")
    answer = command.run("audit", "verify", "--json")
    doctor = command.run("doctor", "--deep", "--json")

    assert done.code == answer.code == doctor.code == 1
    assert done.out.startswith("Row 2 was changed, moved or inserted.\nThe chain before it holds: 1 row, up to row 1.")
    assert answer.answer["success"] is False
    assert answer.answer["breach"] == {"id": 2, "reason": "was changed, moved or inserted"}
    assert check_named(doctor, "audit log")["state"] == "broken"
    assert check_named(command.ok("doctor", "--json"), "audit log")["state"] == "ok"


def test_prune_deletes_what_is_too_old_and_the_rest_verifies(command: Command) -> None:
    age(command)

    assert command.ok("audit", "prune", "--json").answer == {"success": True, "deleted": 3, "days": 365}

    events = command.ok("audit", "query", "--json").answer["events"]
    kept = ["audit.pruned", "audit.signed", "memory.read", "audit.adopted"]
    assert [event["event_type"] for event in events] == ["audit.signed", *kept]
    verified = command.ok("audit", "verify", "--json").answer
    assert (verified["rows"], verified["last_row"], verified["signed_up_to"]) == (5, 8, 7)
    told = check_named(command.ok("doctor", "--json"), "audit log")["detail"]
    assert "signed up to row 7 on 20" in told
    assert "whether that holds, `tmws audit verify` tells" in told


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
    command.using(TMWS_SECRET_KEY=first).ok("audit", "sign")

    unknown = command.using(TMWS_SECRET_KEY=second).run("audit", "verify")
    doctor = command.using(TMWS_SECRET_KEY=second).ok("doctor", "--deep", "--json")
    known = command.using(TMWS_SECRET_KEY=second, TMWS_SECRET_KEY_PREVIOUS=first).ok("audit", "verify")

    assert unknown.code == 5
    assert "another secret has signed the checkpoints of rows 3. Set TMWS_SECRET_KEY_PREVIOUS" in unknown.err
    assert check_named(doctor, "audit log")["state"] == "warning"
    assert known.err == ""
    assert "Signed up to row: 3\n" in known.out


def test_production_needs_the_secret_to_sign_but_not_to_read(command: Command) -> None:
    production = command.using(TMWS_ENVIRONMENT="production")

    assert production.run("audit", "verify").code == 5
    assert production.ok("audit", "query").code == 0
    done = production.run("audit", "sign")

    assert done.code == 2
    assert "TMWS_SECRET_KEY: secret key not set" in done.err
