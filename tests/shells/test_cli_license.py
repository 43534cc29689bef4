"""Licences from the command line, and what servers and commands do with them."""

import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from tests.licences import FREE_ONLY, KEY_ID, PUBLIC_KEY, UNLICENSED, issued, licensed, unsigned
from tests.shells.command import Command
from tests.shells.inside import Inside
from tests.shells.serving import http_server, request, run_stdio
from tmws_core.domain.license import Tier

TODAY = datetime.now(UTC).date()  # noqa: TID251 - the commands look at the same clock
LAPSED = issued(Tier.STANDARD, TODAY - timedelta(days=8))
IN_GRACE = issued(Tier.STANDARD, TODAY - timedelta(days=3))
GOOD = issued(Tier.STANDARD, TODAY + timedelta(days=90))
UNSIGNED = unsigned(Tier.ENTERPRISE)
PRODUCTION = {"TMWS_ENVIRONMENT": "production", "TMWS_HOST": "127.0.0.1", "TMWS_SECRET_KEY": "s" * 32}


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Inside(tmp_path)


@attrs.frozen
class Issuer:
    """Whoever sells licences: a key pair of its own."""

    command: Command

    def issue(self, *arguments: str) -> str:
        return self.command.ok("license", "issue", "--private-key", "keys/license_private.pem", *arguments).out.strip()


@pytest.fixture
def issuer(command: Command) -> Issuer:
    command.ok("license", "keygen", "--out", "keys")
    return Issuer(command)


def holding(command: Command, key: str) -> Command:
    """Return the command for somebody who has a licence of the issuer."""
    return command.using(
        TMWS_LICENSE_KEY=key, TMWS_LICENSE_PUBLIC_KEY="", TMWS_LICENSE_PUBLIC_KEY_FILE="keys/license_public.pem"
    )


def test_a_licence_is_issued_verified_and_in_force(command: Command, issuer: Issuer) -> None:
    key = issuer.issue("--tier", "ENTERPRISE", "--perpetual")
    assert re.fullmatch(r"TMWS-ENTERPRISE-PERPETUAL-[0-9a-f-]{36}-[0-9A-F]{8}\.[\w-]{86}", key)
    holder = holding(command, key)
    lines = [
        "Tier: ENTERPRISE",
        "Expires: PERPETUAL (never expires)",
        "Features: unlimited_agents,priority_support,custom_integrations",
        "Status: valid",
    ]
    verified = holder.ok("license", "verify", "-", stdin=f"{key}\n").out.splitlines()
    assert verified == ["✅ The licence key is valid", *lines]
    assert holder.ok("license", "show").out.splitlines() == [*lines, "Agents: 0 of any number"]
    assert not command.home.exists()
    for agent in ("ada", "bob"):
        holder.ok("memory", "create", f"I am {agent}.", "--agent-id", agent)
    assert holder.ok("license", "show", "--json").answer == {
        "success": True,
        "tier": "ENTERPRISE",
        "status": "valid",
        "seats": None,
        "seats_used": 2,
        "features": ["unlimited_agents", "priority_support", "custom_integrations"],
        "expires": None,
        "grace_until": None,
        "days_left": None,
    }


def test_a_dated_licence_tells_when_it_ends(command: Command, issuer: Issuer) -> None:
    last_day = TODAY + timedelta(days=10)
    key = issuer.issue("--tier", "standard", "--expires", f"{last_day:%Y%m%d}")
    shown = holding(command, key).ok("license", "show").out
    assert f"Expires: {last_day}T23:59:59Z" in shown
    assert "Agents: 0 of 10" in shown
    assert re.search(r"Warning: the licence expires in (10|9) days", shown)


def test_a_free_key_needs_no_private_key(command: Command) -> None:
    key = command.ok("license", "issue", "--tier", "FREE").out.strip()
    assert command.ok("license", "verify", key, "--json").answer["tier"] == "FREE"


def test_keys_are_made_for_their_owner_alone_and_never_overwritten(command: Command, issuer: Issuer) -> None:
    private = command.directory / "keys" / "license_private.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    refused = command.run("license", "keygen", "--out", "keys")
    assert (refused.code, refused.err) == (1, "error: keys/license_private.pem: File exists\n")
    assert private.read_bytes() == before
    private.unlink()
    assert command.run("license", "keygen", "--out", "keys").code == 1
    assert not private.exists()
    assert issuer.command is command


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--tier", "FREE", "--perpetual"), "FREE has no term"),
        (("--tier", "FREE", "--expires", "20300101"), "FREE has no term"),
        (("--tier", "STANDARD"), "STANDARD needs --expires or --perpetual"),
        (("--tier", "ENTERPRISE"), "ENTERPRISE needs --expires or --perpetual"),
        (("--tier", "ENTERPRISE", "--perpetual", "--expires", "20300101"), "ENTERPRISE needs --expires or --perpetual"),
        (("--tier", "STANDARD", "--perpetual"), "STANDARD is not sold without an end"),
        (("--tier", "STANDARD", "--expires", "20300230"), "neither PERPETUAL nor a day"),
        (("--tier", "STANDARD", "--expires", "soon"), "neither PERPETUAL nor a day"),
        (("--tier", "GOLD", "--perpetual"), "'GOLD' is not one of"),
    ],
)
def test_a_licence_that_is_not_sold_is_not_issued(
    command: Command, issuer: Issuer, arguments: tuple[str, ...], reason: str
) -> None:
    refused = command.run("license", "issue", "--private-key", "keys/license_private.pem", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert reason in refused.err
    assert issuer.command is command


def test_a_paid_licence_is_not_issued_without_a_private_key(command: Command, issuer: Issuer) -> None:
    issue = ("license", "issue", "--tier", "ENTERPRISE", "--perpetual")
    assert "needs --private-key" in command.run(*issue).err
    wrong = command.run(*issue, "--private-key", "keys/license_public.pem")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--private-key: it is no unencrypted private key" in wrong.err
    assert command.run(*issue, "--private-key", "nothing.pem").code == 1
    assert issuer.command is command


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("hello", "does not start with TMWS-"),
        (f"{GOOD[:-1]}é", "signature of the licence key is malformed"),
        (GOOD.replace(KEY_ID, KEY_ID[::-1].replace("-", "0")), "no UUID in its place"),
        (GOOD.replace("TMWS-STANDARD-2", "TMWS-STANDARD-3"), "neither PERPETUAL nor a day"),
        (UNSIGNED, "has no signature"),
        (LAPSED, f"expired on {TODAY - timedelta(days=8)}T23:59:59Z"),
    ],
    ids=["prefix", "signature", "uuid", "date", "unsigned", "expired"],
)
def test_verify_says_what_is_wrong(command: Command, key: str, reason: str) -> None:
    done = command.using(**licensed("")).run("license", "verify", key)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert KEY_ID not in done.err


def test_commands_work_with_a_key_that_does_not_hold_and_say_so(command: Command) -> None:
    wrong = command.using(TMWS_LICENSE_KEY=UNSIGNED)
    stored = wrong.ok("memory", "create", "The rose blooms.")
    assert "License validation failed, and FREE limits hold" in stored.err
    assert KEY_ID not in stored.err
    assert "The rose blooms." in wrong.ok("export", "-").out
    second = wrong.run("memory", "create", "I am bob.", "--agent-id", "bob")
    assert second.code == 4
    assert "The FREE licence allows 1 agent, and bob would be one more" in second.err
    shown = wrong.ok("license", "show").out
    assert "Tier: FREE" in shown
    assert "Problem: TMWS_LICENSE_KEY: the licence key has no signature" in shown
    doctor = wrong.run("doctor")
    assert doctor.code == 1
    assert "❌ licence: TMWS_LICENSE_KEY: the licence key has no signature" in doctor.out


def test_reading_works_whatever_the_licence_and_the_environment_say(command: Command) -> None:
    command.ok("memory", "create", "The rose blooms.", "--agent-id", "ada")
    command.ok("memory", "create", "The tulip blooms.", "--agent-id", "bob")
    for strict in (
        {**licensed(LAPSED), "TMWS_LICENSE_STRICT_MODE": "true"},
        {**UNLICENSED, **PRODUCTION},
        licensed("hello"),
    ):
        limited = command.using(**strict)
        assert "The tulip blooms." in limited.ok("memory", "search", "tulip", "--agent-id", "bob").out
        assert limited.ok("export", "-").out.count("blooms") == 2
        assert limited.run("memory", "create", "More.", "--agent-id", "bob").code == 4
        limited.ok("memory", "create", "More.", "--agent-id", "ada")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"TMWS_LICENSE_KEY": UNSIGNED}, "TMWS_LICENSE_KEY: the licence key has no signature"),
        ({"TMWS_LICENSE_PUBLIC_KEY": ""}, "TMWS_LICENSE_PUBLIC_KEY: is not set"),
        ({"TMWS_LICENSE_PUBLIC_KEY": PUBLIC_KEY[1:]}, "TMWS_LICENSE_PUBLIC_KEY: it is neither PEM nor 32 bytes"),
        ({**UNLICENSED, **PRODUCTION}, "TMWS_LICENSE_KEY: is not set, and a server in production needs a licence"),
        ({**licensed(LAPSED), "TMWS_LICENSE_STRICT_MODE": "true"}, "the licence expired on"),
    ],
    ids=["unsigned", "no public key", "malformed public key", "production", "strict"],
)
def test_a_server_does_not_start_with_a_licence_that_does_not_do(
    command: Command, settings: dict[str, str], reason: str
) -> None:
    refused = command.using(TMWS_PORT="0", **settings).run("serve")
    assert (refused.code, refused.out) == (2, "")
    assert reason in refused.err.splitlines()[-1]
    assert KEY_ID not in refused.err


def test_an_agent_terminal_hears_why_its_owner_does_not_start(home: Path) -> None:
    done = run_stdio(home, request(1, "tools/list"), TMWS_LICENSE_KEY=UNSIGNED)
    assert "the licence key has no signature" in f"{done.answers} {done.stderr}"
    assert KEY_ID not in f"{done.answers} {done.stderr}"


@pytest.mark.parametrize(
    ("key", "status", "health", "headline"),
    [
        (GOOD, "valid", "healthy", "✅ License validated successfully"),
        (IN_GRACE, "grace", "degraded", "⚠️ License validated, but it expired on"),
        (LAPSED, "expired", "degraded", "⚠️ License validated, but it expired on"),
    ],
    ids=["valid", "grace", "expired"],
)
def test_a_server_tells_its_licence_at_its_start_and_in_its_health(
    home: Path, key: str, status: str, health: str, headline: str
) -> None:
    with http_server(home, **licensed(key)) as server:
        report = server.client.get("/health").json()
        assert (report["license"], report["status"]) == (status, health)
        log = server.stop().splitlines()
    first = next(index for index, line in enumerate(log) if "License" in line)
    shown = [line.partition("tmws: ")[2] for line in log[first : first + 4]]
    assert shown[0].startswith(headline)
    assert shown[1] == "   Tier: STANDARD"
    assert re.fullmatch(r"   Expires: \d{4}-\d\d-\d\dT23:59:59Z", shown[2])
    assert shown[3] == f"   Features: {'core' if status == 'expired' else 'core,email_support'}"


def test_a_second_agent_is_refused_over_http_and_reads_on(home: Path) -> None:
    with http_server(home, **FREE_ONLY) as server:
        stored = server.call("create_memory", content="I am ada.", agent_id="ada", access_level="public")
        refused = server.call("create_memory", content="I am bob.", agent_id="bob")
        assert refused.status_code == 403
        error = refused.json()["error"]
        assert (error["code"], error["field"]) == ("license_limit", "agent_id")
        assert "FREE licence allows 1 agent" in error["message"]
        read = server.call("get_memory", memory_id=stored.json()["memory_id"], agent_id="bob")
        assert read.json()["memory"]["content"] == "I am ada."


def test_in_development_nobody_needs_a_key_and_in_production_a_server_does(command: Command) -> None:
    keyless = command.using(**UNLICENSED)
    assert keyless.ok("license", "show").out.splitlines()[-2:] == ["Status: development", "Agents: 0 of any number"]
    for agent in ("ada", "bob"):
        keyless.ok("memory", "create", f"I am {agent}.", "--agent-id", agent)
    shown = keyless.ok("license", "show", "--json").answer
    assert (shown["tier"], shown["status"], shown["seats"], shown["seats_used"]) == (
        "DEVELOPMENT",
        "development",
        None,
        2,
    )
    assert "✅ licence: DEVELOPMENT, development, 2 of any number of agents" in keyless.run("doctor").out
    assert keyless.ok("system", "health-check", "--json").answer["license"] == "development"
    staging = keyless.using(TMWS_ENVIRONMENT="staging")
    assert staging.ok("license", "show").out.splitlines()[-1] == "Agents: 2 of 1"
    assert "The FREE licence allows 1 agent" in staging.run("memory", "create", "I am eve.", "--agent-id", "eve").err


def test_the_doctor_tells_how_many_seats_are_taken(command: Command) -> None:
    for agent in ("ada", "bob"):
        command.ok("memory", "create", f"I am {agent}.", "--agent-id", agent)
    unlimited, free = command.run("doctor"), command.using(**FREE_ONLY).run("doctor")
    production = command.using(**UNLICENSED, **PRODUCTION).run("doctor")
    assert "❌ licence: TMWS_LICENSE_KEY: is not set, and a server in production needs a licence" in production.out
    assert "✅ licence: ENTERPRISE, valid, 2 of any number of agents" in unlimited.out
    assert "⚠️ licence: FREE, free, 2 of 1 agents: the first 1 may write, the others only read" in free.out
