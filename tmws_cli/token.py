"""The commands for what agents prove with over HTTP who they are: API keys and tokens."""

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import anyio
import attrs
import click

from tmws_adapters.authentication import open_credentials
from tmws_adapters.bootstrap import open_parts
from tmws_adapters.settings import Settings
from tmws_cli.groups import Group
from tmws_cli.options import NOBODY, RECORDED, invocation_of, with_common_options
from tmws_cli.output import printable
from tmws_cli.secret import given_secret
from tmws_cli.times import shown_time
from tmws_core.domain.agent import Caller
from tmws_core.domain.credential import ApiKey, is_token, parsed_key
from tmws_core.services.credentials import TOKEN_DAYS, Credentials

Answer = tuple[dict[str, Any], list[str]]
"""The facts for --json, and the lines for people."""

Work = Callable[[Credentials, Caller], Awaitable[Answer]]

_MOST_DAYS = 36_500
"""A hundred years: a longer time is a mistake, or no expiry."""


@click.group("token", cls=Group, no_args_is_help=True)
def token() -> None:
    """Look after what agents prove with over HTTP who they are."""


@token.command("issue")
@click.option("--agent", required=True, metavar="ID", help="Whose it is; the agent has to be registered.")
@click.option("--kind", type=click.Choice(["api-key", "jwt"]), default="api-key", show_default=True)
@click.option(
    "--days",
    type=click.FloatRange(min=0, max=_MOST_DAYS, min_open=True),
    metavar="N",
    help=f"How long it is good; without it a key is good until it is revoked, and a jwt for {TOKEN_DAYS:g} day.",
)
@click.option("--name", metavar="TEXT", help="What you know a key by in the list.")
@click.pass_context
def issue(context: click.Context, agent: str, kind: str, days: float | None, name: str | None) -> None:
    """Issue an API key, or a token (JWT), and show it this once."""
    if kind == "jwt" and name is not None:
        raise click.UsageError("A jwt is not listed, and has no name.")

    async def work(credentials: Credentials, caller: Caller) -> Answer:
        lifetime = None if days is None else timedelta(days=days)
        if kind == "jwt":
            issued = await credentials.issue_token(caller, agent, lifetime=lifetime or timedelta(days=TOKEN_DAYS))
        else:
            issued = await credentials.issue_key(caller, agent, name=name, lifetime=lifetime)
        until = _until(issued.expires_at)
        print(
            f"{agent}'s, shown only now; {until}. Revoke it with: tmws token revoke {issued.id}",
            file=sys.stderr,  # stdout is for what a script keeps
        )
        told = {"kind": kind, "id": issued.id, "agent_id": agent, "expires_at": _written(issued.expires_at)}
        return {**told, "token": issued.text}, [issued.text]

    _run(context, work)


@token.command("list")
@click.option("--agent", metavar="ID", help="Only this agent's.")
@click.pass_context
def list_(context: click.Context, agent: str | None) -> None:
    """List the API keys, the newest first; a token (JWT) is kept nowhere."""

    async def work(credentials: Credentials, _: Caller) -> Answer:
        keys = await credentials.keys(agent)
        return {"keys": [_facts(key) for key in keys]}, [_line(key) for key in keys] or ["There is no API key."]

    _run(context, work, reads=True)


@token.command("revoke")
@click.argument("what", metavar="ID_OR_TOKEN")
@click.pass_context
def revoke(context: click.Context, what: str) -> None:
    """Revoke an API key or a token at once: by its id, or by itself on stdin with `-`."""
    text = given_secret("ID_OR_TOKEN", what, is_secret=parsed_key(what.strip()) is not None or is_token(what))

    async def work(credentials: Credentials, caller: Caller) -> Answer:
        revoked = await credentials.revoke(caller, text)
        return {"kind": revoked.kind, "id": revoked.id}, [f"Revoked the {revoked.kind} {revoked.id}."]

    _run(context, work)


for _command in token.commands.values():
    with_common_options(_command, NOBODY if _command.name == "list" else RECORDED)


def _run(context: click.Context, work: Work, *, reads: bool = False) -> None:
    invocation = invocation_of(context)
    facts, lines = anyio.run(_with_credentials, invocation.settings(reads=reads), work)
    if invocation.as_json:
        print(json.dumps({"success": True, **facts}, ensure_ascii=False))
    else:
        print(printable("\n".join(lines)))


async def _with_credentials(settings: Settings, work: Work) -> Answer:
    # The approximate index is not needed, and another process may have it open.
    exact = attrs.evolve(settings, vector_backend="exact")
    async with open_parts(exact) as parts, open_credentials(settings, parts) as credentials:
        return await work(credentials, settings.operator(transport="cli"))


def _facts(key: ApiKey) -> dict[str, Any]:
    times = {name: _written(getattr(key, name)) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {"id": key.id, "agent_id": key.agent_id, "name": key.name, **times}


def _line(key: ApiKey) -> str:
    used = f"last used {_shown(key.last_used_at)}" if key.last_used_at else "not used yet"
    state = f"revoked {_shown(key.revoked_at)}" if key.revoked_at else _until(key.expires_at)
    return "  ".join([key.id, key.agent_id, *([key.name] if key.name else []), state, used])


def _until(moment: datetime | None) -> str:
    return "does not expire" if moment is None else f"expires {_shown(moment)}"


def _shown(moment: datetime) -> str:
    return shown_time(moment.isoformat())


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
