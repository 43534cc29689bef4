"""`tmws token`: issue, list and revoke, also beside a server that runs."""

import json
import re
from pathlib import Path

import pytest

from tests.licences import UNLIMITED
from tests.shells.command import Command
from tests.shells.guarded import GUARDED, bearer
from tests.shells.inside import Inside
from tests.shells.serving import http_server


@pytest.fixture
def command(tmp_path: Path) -> Command:
    told = Inside(tmp_path).using(**UNLIMITED, **GUARDED)
    told.ok("agent", "register", "ada", "--namespace", "acme")
    return told


def test_key_is_printed_alone_and_listed_without_its_secret(command: Command) -> None:
    issued = command.ok("token", "issue", "--agent", "ada", "--name", "lap\ttop", "--days", "1.5")
    [key] = issued.out.splitlines()
    assert re.fullmatch(r"tmws_[0-9a-f]{16}_[0-9a-f]{64}_[0-9a-f]{8}", key)
    assert "shown only now" in issued.err
    key_id = key.split("_")[1]
    assert key_id in issued.err
    [line] = command.ok("token", "list").out.splitlines()
    assert line.startswith(f"{key_id}  ada  lap")
    assert re.search(r"expires 20\S+ \S+ \w+  not used yet", line)
    listed = command.ok("token", "list", "--json", "--agent", "ada").answer
    assert [(row["id"], row["agent_id"], row["revoked_at"]) for row in listed["keys"]] == [(key_id, "ada", None)]
    assert "digest" not in json.dumps(listed)
    assert command.ok("token", "list", "--json", "--agent", "bob").answer == {"success": True, "keys": []}


def test_token_is_issued_for_a_day(command: Command) -> None:
    issued = command.ok("token", "issue", "--agent", "ada", "--kind", "jwt", "--json").answer
    assert issued["token"].count(".") == 2
    assert (issued["kind"], issued["agent_id"]) == ("jwt", "ada")
    assert command.ok("token", "list").out == "There is no API key.\n"


def test_revocation_is_felt_by_a_running_server_at_once(command: Command) -> None:
    with http_server(command.home, **GUARDED) as server:
        for kind in ("api-key", "jwt"):
            issued = command.ok("token", "issue", "--agent", "ada", "--kind", kind, "--json").answer

            def status(credential: str = issued["token"]) -> int:
                asked = server.client.post("/mcp/tools/get_current_agent", headers=bearer(credential), json={})
                return asked.status_code

            assert status() == 200
            assert command.ok("token", "revoke", issued["id"]).out == f"Revoked the {kind} {issued['id']}.\n"
            assert status() == 401
        server.stop()


def test_credential_is_revoked_over_stdin_and_one_on_the_command_line_is_warned_of(command: Command) -> None:
    for kind in ("api-key", "jwt"):
        issued = command.ok("token", "issue", "--agent", "ada", "--kind", kind, "--json").answer
        over_stdin = command.ok("token", "revoke", "-", stdin=f"{issued['token']}\n")
        assert (over_stdin.out, over_stdin.err) == (f"Revoked the {kind} {issued['id']}.\n", "")
        assert command.ok("token", "revoke", issued["id"]).err == ""
        shown = command.ok("token", "revoke", issued["token"])
        assert shown.out == f"Revoked the {kind} {issued['id']}.\n"
        assert "ID_OR_TOKEN is a secret" in shown.err
        assert issued["token"] not in shown.err
    for odd, said in ((b"\xff", "UTF-8"), (b"x" * 20_000, "bytes on stdin"), (b"", "no such API key")):
        assert said in command.run("token", "revoke", "-", stdin=odd).err


def test_other_secrets_on_a_command_line_are_warned_of(command: Command) -> None:
    secret = "postgresql://ada:a-password@127.0.0.1:1/none"
    for arguments in (
        ("move", "--to", secret),
        ("move", "--from", secret, "--to", "x"),
        ("license", "verify", "TMWS-X"),
    ):
        done = command.run(*arguments)
        assert done.code != 0
        assert "is a secret" in done.err
        assert "a-password" not in done.err
    assert "is a secret" not in command.run("move", "--to", "postgresql://ada@127.0.0.1:1/none").err
    assert "is a secret" not in command.run("license", "verify", "-", stdin="TMWS-X").err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("issue", "--agent", "bob"), 3, "tmws agent register bob"),
        (("issue",), 2, "--agent"),
        (("issue", "--agent", "ada", "--days", "0"), 2, "--days"),
        (("issue", "--agent", "ada", "--kind", "jwt", "--days", "366"), 2, "365"),
        (("issue", "--agent", "ada", "--kind", "jwt", "--name", "x"), 2, "no name"),
        (("issue", "--agent", "ada", "--name", "x" * 129), 2, "name"),
        (("issue", "--agent", "ada", "--kind", "cookie"), 2, "cookie"),
        (("revoke", "0" * 16), 3, "no such API key"),
        (("revoke", "nonsense"), 3, "no such API key"),
        (("revoke", "a.b.c"), 4, "malformed"),
    ],
)
def test_mistake_is_named(command: Command, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = command.run("token", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    as_json = command.run("token", *arguments, "--json")
    assert as_json.code == code
    assert as_json.answer["success"] is False


def test_tokens_need_a_secret_key_in_production(command: Command) -> None:
    done = command.using(TMWS_SECRET_KEY="", TMWS_ENVIRONMENT="production").run("token", "issue", "--agent", "ada")
    assert done.code == 2
    assert "secret key not set" in done.err


def test_secret_key_is_made_for_its_user_alone_where_none_is_set(command: Command) -> None:
    own = command.using(TMWS_SECRET_KEY="")
    token = own.ok("token", "issue", "--agent", "ada", "--kind", "jwt").out.strip()
    file = command.home / "secret_key"
    assert file.stat().st_mode & 0o777 == 0o600
    with http_server(command.home, **(GUARDED | {"TMWS_SECRET_KEY": ""})) as server:
        asked = server.client.post("/mcp/tools/get_current_agent", headers=bearer(token), json={})
        assert asked.json()["agent_id"] == "ada"
        assert file.read_text() not in server.stop()


def test_short_secret_key_is_refused(command: Command) -> None:
    done = command.using(TMWS_SECRET_KEY="x" * 31).run("serve", "--port", "0")
    assert done.code == 2
    assert "TMWS_SECRET_KEY" in done.err
    assert "32" in done.err
