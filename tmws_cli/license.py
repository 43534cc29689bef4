"""The commands for licences: those of whoever has one, and those of whoever issues them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import attrs
import click

from tmws_adapters.bootstrap import open_parts
from tmws_adapters.licensing import issued_key, key_pair, keyless_license, license_now, lines_of, verified_key
from tmws_adapters.private import make_directory
from tmws_adapters.settings import Settings
from tmws_cli.options import NOBODY, invocation_of, with_common_options
from tmws_cli.secret import given_secret
from tmws_core.domain.license import FREE, SOLD, License, Tier, instant
from tmws_core.domain.license_key import end_of, expired
from tmws_core.errors import LicenseInvalid

PRIVATE, PUBLIC = "license_private.pem", "license_public.pem"
"""The files of a key pair."""


@click.group("license", no_args_is_help=True)
def license_() -> None:
    """Look at the licence, and issue licences."""


@license_.command("show")
@click.pass_context
def show(context: click.Context) -> None:
    """Tell which licence is in force, until when, and how many of its seats are taken."""
    shown, used, problem = anyio.run(_show, invocation_of(context).settings())
    seats = "any number" if shown.seats is None else str(shown.seats)
    notes = [f"Warning: the licence {shown.warning}"] if shown.warning else []
    notes += [f"Problem: {problem.message}"] if problem else []
    _answer(
        context,
        {**_facts(shown), "seats_used": used, **({"problem": problem.message} if problem else {})},
        [*_lines(shown), f"Agents: {used} of {seats}", *notes],
    )


@license_.command("verify")
@click.argument("key", metavar="KEY")
@click.pass_context
def verify(context: click.Context, key: str) -> None:
    """Check a licence key (`-` reads it from stdin) against TMWS_LICENSE_PUBLIC_KEY."""
    settings = invocation_of(context).settings()
    verified = license_now(verified_key(given_secret("KEY", key), settings.license_public_key))
    if verified.status == "expired":
        raise expired(verified)
    _answer(context, _facts(verified), ["✅ The licence key is valid", *_lines(verified)])


@license_.command("keygen")
@click.option("--out", "folder", default=".", metavar="DIR", help="Where to put the files, instead of here.")
@click.pass_context
def keygen(context: click.Context, folder: str) -> None:
    """Make the key pair that licences are signed and verified with; no file is overwritten."""
    private, public = Path(folder) / PRIVATE, Path(folder) / PUBLIC
    make_directory(folder)
    pair = key_pair()
    with _new_file(private, 0o600) as secret, _new_file(public, 0o644) as open_:
        secret.write(pair.private)
        open_.write(pair.public)
    _answer(
        context,
        {"private_key": str(private), "public_key": str(public)},
        [
            f"Private key: {private} (keep it secret: who has it can issue licences)",
            f"Public key: {public} (TMWS_LICENSE_PUBLIC_KEY_FILE of every server)",
        ],
    )


@license_.command("issue")
@click.option("--tier", required=True, type=click.Choice([tier.value for tier in SOLD], case_sensitive=False))
@click.option("--expires", metavar="YYYYMMDD", help="The last day, in UTC.")
@click.option("--perpetual", is_flag=True, help="It never expires.")
@click.option("--private-key", metavar="FILE", help="The private key of `tmws license keygen`; FREE needs none.")
@click.pass_context
def issue(context: click.Context, tier: str, expires: str | None, *, perpetual: bool, private_key: str | None) -> None:
    """Write a new licence key to stdout."""
    sold = Tier(tier)
    if sold is Tier.FREE and (expires or perpetual):
        raise click.UsageError("FREE has no term: give neither --expires nor --perpetual.")
    if sold is not Tier.FREE and bool(expires) == perpetual:
        raise click.UsageError(f"{sold.value} needs --expires or --perpetual.")
    if sold is not Tier.FREE and private_key is None:
        raise click.UsageError(f"{sold.value} needs --private-key.")
    pem = None if private_key is None else Path(private_key).read_bytes()
    key = issued_key(sold, end_of(expires) if expires else None, pem)
    _answer(context, {"license_key": key}, [key])


for _command in license_.commands.values():
    with_common_options(_command, NOBODY)


async def _show(settings: Settings) -> tuple[License, int, LicenseInvalid | None]:
    """Return the licence, the agents that take a seat, and what is wrong with the key; no database is created."""
    if settings.uses_postgres or settings.sqlite_path.exists():
        async with open_parts(attrs.evolve(settings, vector_backend="exact")) as parts:
            async with parts.storage.read() as snapshot:
                used = await snapshot.agents.count()
            return await parts.license.current(), used, parts.license.problem
    try:
        key = verified_key(settings.license_key, settings.license_public_key) if settings.license_key else None
    except LicenseInvalid as error:
        return FREE, 0, error
    return license_now(key) if key else keyless_license(settings), 0, None


@contextmanager
def _new_file(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Open a file that was not there, and remove it where the block fails."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        try:
            yield file
        except BaseException:
            path.unlink()
            raise


def _lines(shown: License) -> list[str]:
    return [*lines_of(shown), f"Status: {shown.status}"]


def _facts(shown: License) -> dict[str, Any]:
    return {
        "tier": shown.tier.value,
        "status": shown.status,
        "seats": shown.seats,
        "features": list(shown.features),
        "expires": None if shown.expires is None else instant(shown.expires),
        "grace_until": None if shown.grace_until is None else instant(shown.grace_until),
        "days_left": shown.days_left,
    }


def _answer(context: click.Context, facts: dict[str, Any], lines: list[str]) -> None:
    as_json = invocation_of(context).as_json
    print(json.dumps({"success": True, **facts}, ensure_ascii=False) if as_json else "\n".join(lines))
