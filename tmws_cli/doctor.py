"""The doctor: what works, what does not, why, and what to do about it."""

import errno
import os
import platform
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Literal
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import attrs

from tmws_adapters.auditing import POSITIONS
from tmws_adapters.bootstrap import Parts, open_parts, shared, version
from tmws_adapters.local.finding import PROOF_SECONDS, Link, knock, unheard
from tmws_adapters.local.greeting import Elsewhere, Refused, Stranger
from tmws_adapters.local.lock import is_taken
from tmws_adapters.local.place import Place
from tmws_adapters.local.record import read
from tmws_adapters.private import Unfit, check_regular, read_own
from tmws_adapters.secret import problem_of
from tmws_adapters.settings import Settings
from tmws_adapters.settings.files import NAME
from tmws_cli.audit import examine_log
from tmws_cli.database import remedy_of
from tmws_cli.index import loaded
from tmws_cli.output import counted
from tmws_cli.times import shown_time
from tmws_core.errors import IndexUnavailable, PartUnavailable, TmwsError

State = Literal["ok", "warning", "broken"]

PACKAGES = ("mcp", "onnxruntime", "tokenizers", "numpy", "numkong", "click")
"""The dependencies whose versions matter most when something is reported."""

FREE_BYTES = 200 * 1024 * 1024
"""Below it there is a warning: room for about 50,000 memories with their vectors."""

ANSWER_SECONDS = 10.0
"""How long an owner may take to say how it is; each of its parts has five seconds."""

_MEBIBYTE = 1024 * 1024


@attrs.frozen
class Check:
    """One thing that was looked at: how it is, and what to do about it where there is something to do."""

    name: str
    state: State
    detail: str
    remedy: str = ""


async def examine(load: Callable[[], Settings], *, deep: bool) -> list[Check]:
    """Look at everything, and go on where something is broken; with `deep` the whole database is read.

    Nothing is created: a database that is not there stays away.
    """
    checks = [_versions()]
    try:
        settings = load()
        path = settings.place
    except TmwsError as error:
        rest = Check("everything else", "warning", "not looked at", "Set the settings right first")
        return [*checks, _broken("settings", error), rest]
    checks += [_settings(settings), _directory(path.parent), *_files(settings)]
    seconds = min(PROOF_SECONDS, settings.request_timeout)
    owner, served = await anyio.to_thread.run_sync(_owner, Place(str(path)), seconds)
    checks.append(owner)
    alone = attrs.evolve(settings, redis_url="")
    checks += [check async for check in _store(alone, path, deep=deep)]
    if settings.redis_url:
        checks.append(await _redis(settings))
    return [*checks, _port(settings, served)]


def _versions() -> Check:
    try:
        packages = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    except metadata.PackageNotFoundError as error:
        return Check("versions", "broken", f"the package {error.name} is missing", "Install tmws with pip again")
    return Check("versions", "ok", f"tmws {version()}, Python {platform.python_version()}, {packages}")


def _settings(settings: Settings) -> Check:
    if settings.without_effect:
        names = ", ".join(settings.without_effect)
        return Check("settings", "warning", f"without effect in this version: {names}", "Remove them")
    read = f"from {', '.join(map(str, settings.files))} and the environment" if settings.files else "from no file"
    detail = f"{settings.environment}, agent {settings.agent_id} in {settings.agent_namespace}; {read}"
    stranger = Path(NAME)
    if os.path.lexists(stranger) and stranger.absolute() not in settings.files:
        detail += f"; {NAME} in the working directory is there and ignored, see --env-file"
    return Check("settings", "ok", detail)


def _directory(path: Path) -> Check:
    name = "home directory"
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir():
        return Check(name, "broken", f"{existing} is no directory", "Set TMWS_HOME to a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = "Give this user the right to write there, or set TMWS_HOME to another directory"
        return Check(name, "broken", f"{existing} cannot be written", remedy)
    free = shutil.disk_usage(existing).free
    detail = f"{path}, {free // _MEBIBYTE} MiB free"
    if free < FREE_BYTES:
        return Check(name, "warning", detail, "Free some space, or set TMWS_HOME to a larger disk")
    return Check(name, "ok", detail if existing == path else f"{detail}; it is created on first use")


def _files(settings: Settings) -> Iterator[Check]:
    """Look for files of the data directory that are not used for what they are, or for who can have written them."""
    problem = None if settings.environment == "production" else problem_of(settings.secret_key, settings.home)
    if problem is not None:
        yield _broken("secret key", problem)
    positions = settings.home / POSITIONS
    try:
        read_own(str(positions))
    except FileNotFoundError:
        return
    except Unfit as error:
        yield Check("signed positions", "warning", f"{positions} {error.reason} and is not believed", error.remedy)
    except OSError as error:
        remedy = "Give this user the right to read it"
        yield Check("signed positions", "warning", f"{positions} cannot be read ({error.strerror})", remedy)


def _owner(place: Place, seconds: float) -> tuple[Check, str | None]:
    """Look for the process behind the agent terminals, and the URL that it serves; none is started.

    It has so many seconds to answer.
    """
    name = "owner process"
    try:
        link = knock(place, seconds)
        stuck = link is None and is_taken(place.lock)
        if link is None:
            check_regular(place.log)
    except (Elsewhere, OSError) as error:
        return _out_of_reach(name, place, error), None
    if link is not None:
        record = link.record
        where = f"serves {record.url} and terminals" if record.url else "serves terminals"
        detail = f"process {record.pid}, version {record.version}, {where} on port {record.port}"
        problem = _problem_of(link)
        if problem:
            return Check(name, "broken", f"{detail}; {problem}", f"End it by SIGTERM: kill {record.pid}"), record.url
        return Check(name, "ok", detail), record.url
    record_left = read(place.record)
    process = f"process {record_left.pid}" if record_left else "a process"
    if stuck:
        return Check(name, "broken", *unheard(place)), None
    died = f"; {process} has died" if record_left else ""
    return Check(name, "ok", f"none is running{died}; an agent terminal starts one"), None


def _out_of_reach(name: str, place: Place, error: Elsewhere | OSError) -> Check:
    if isinstance(error, Elsewhere):
        return Check(name, "warning", error.said, error.remedy)
    if isinstance(error, Unfit):
        return Check(name, "broken", f"{error.filename} {error.reason}", error.remedy)
    remedy = f"Give this user the right to use {Path(place.lock).parent}"
    return Check(name, "broken", f"{place.lock} cannot be opened ({error.strerror})", remedy)


def _problem_of(link: Link) -> str:
    """Ask an owner why it cannot store anything; the connection is closed."""
    try:
        link.speak({"speak": "calls", "transport": "cli"})
        answer = link.ask({"id": 1, "operation": "health_check"}, ANSWER_SECONDS).get("result")
    except (OSError, Stranger):
        return ""  # it ends, or is too old to be asked
    except Refused as refused:
        return f"it refuses: {refused}"
    finally:
        link.socket.close()
    if not isinstance(answer, dict) or answer.get("status") != "unhealthy":
        return ""
    reasons = (part.get("reason") for part in answer["components"].values() if part["status"] == "down")
    return "; ".join(str(reason) for reason in reasons)


async def _store(settings: Settings, path: Path, *, deep: bool) -> AsyncIterator[Check]:
    """Look at the database and the embedder; without a usable database the embedder is tried beside an empty one."""
    if settings.uses_postgres or await anyio.Path(path).exists():
        try:
            async with open_parts(settings) as parts:
                async for check in _database(parts, settings.store_name, deep=deep):
                    yield check
                yield await _license(settings, parts)
                yield await _embedder(parts)
        except TmwsError as error:
            yield _broken("database", error)
        else:
            return
    else:
        yield Check("database", "ok", f"there is none yet at {path}; the first memory creates it")
    with TemporaryDirectory(prefix="tmws-doctor-") as home:
        try:
            elsewhere = attrs.evolve(settings, home=Path(home), database_url="", vector_backend="exact")
            async with open_parts(elsewhere) as parts:
                yield await _license(settings, parts)
                yield await _embedder(parts)
        except TmwsError as error:
            yield _broken("embedder", error)


async def _database(parts: Parts, name: str, *, deep: bool) -> AsyncIterator[Check]:
    health = await parts.storage.health()
    size = health.bytes_on_disk / _MEBIBYTE
    held = counted(health.memories, "memory", "memories")
    yield Check("database", "ok", f"{name}, schema {health.version}, {held}, {size:.1f} MiB")
    for replica, ask in parts.beside.items():
        yield await _replica(replica, ask)
    if health.caution:
        yield Check("row security", "warning", health.caution.reason, health.caution.remedy)
    if deep:
        flaws = await parts.storage.integrity()
        if flaws:
            detail = "; ".join(each.problem for each in flaws[:5])
            yield Check("integrity", "broken", detail, remedy_of(flaws))
        else:
            yield Check("integrity", "ok", "the whole database is sound")
    yield Check("audit log", *await examine_log(parts, deep=deep))
    if health.unembedded:
        remedy = "They get theirs while a server runs, once the embedder works"
        detail = f"{counted(health.unembedded, 'text waits', 'texts wait')} for a vector"
        if health.waiting_since:
            oldest = shown_time(health.waiting_since.isoformat(), seconds=False)
            detail += f", of which the oldest was stored or changed at {oldest}"
        yield Check("vectors", "warning", detail, remedy)
    else:
        yield Check("vectors", "ok", "every text has one")
    if parts.follower is not None:
        try:
            standing = await loaded(parts.follower.standing)
        except IndexUnavailable as error:
            yield Check("vector index", "warning", f"{error.problem}; searches are exact meanwhile", error.remedy)
        else:
            documents = sum(standing.index.partitions.values())
            held, waiting = counted(documents, "document"), counted(standing.waiting, "waits", "wait")
            yield Check("vector index", "ok", f"{held}, {waiting}")


async def _replica(name: str, ask: Callable[[], Awaitable[int | None]]) -> Check:
    try:
        behind = await ask()
    except PartUnavailable as error:
        return Check(name, "warning", error.reason, error.remedy)
    return Check(name, "ok", f"up, {counted(behind or 0, 'byte')} behind the primary")


async def _license(settings: Settings, parts: Parts) -> Check:
    name = "licence"
    refusal = await parts.license.refusal(required=settings.needs_license, strict=settings.license_strict_mode)
    if refusal is not None:
        return _broken(name, refusal)
    licence = await parts.license.current()
    async with parts.storage.read() as snapshot:
        used = await snapshot.agents.count()
    seats = "any number of" if licence.seats is None else str(licence.seats)
    detail = f"{licence.tier.value}, {licence.status}, {used} of {seats} agents"
    if licence.warning:
        return Check(name, "warning", f"{detail}; it {licence.warning}", "Set TMWS_LICENSE_KEY to the new key")
    if licence.seats is not None and used > licence.seats:
        remedy = "Deactivate agents, or set TMWS_LICENSE_KEY to a larger tier"
        return Check(name, "warning", f"{detail}: the first {seats} may write, the others only read", remedy)
    return Check(name, "ok", detail)


async def _embedder(parts: Parts) -> Check:
    started = perf_counter()
    try:
        vector = await parts.embedder.query("word")
        model = await parts.embedder.model()
    except TmwsError as error:
        return _broken("embedder", error)
    milliseconds = (perf_counter() - started) * 1000
    return Check("embedder", "ok", f"{model.name}, {vector.dimension} values, first word after {milliseconds:.0f} ms")


async def _redis(settings: Settings) -> Check:
    name, started = "redis", perf_counter()
    try:
        redis = shared(settings).redis
        if redis is None:
            return Check(name, "ok", "none is used")
        await redis.server.examine()
    except TmwsError as error:
        return _broken(name, error)
    milliseconds = (perf_counter() - started) * 1000
    return Check(name, "ok", f"{redis.server.address.kind}, {redis.server.address}, after {milliseconds:.0f} ms")


def _port(settings: Settings, served: str | None) -> Check:
    """Look whether a server can listen; `served` is the URL of the one that has been found already."""
    if served is not None and urlsplit(served).port == settings.port:
        return Check("port", "ok", f"{settings.port} is that of the process above")
    for host in settings.listen_hosts:
        address = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
        try:
            _bind(host, settings.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = "Choose another with TMWS_PORT, unless that is another server of yours"
                return Check("port", "warning", f"{address} is in use", remedy)
            if host == settings.listen_hosts[0]:
                remedy = "Set TMWS_HOST and TMWS_PORT to an address of this machine"
                return Check("port", "broken", f"{address} cannot be listened on ({error.strerror})", remedy)
    return Check("port", "ok", f"{settings.listen_host}:{settings.port} is free")


def _bind(host: str, port: int) -> None:
    family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _broken(name: str, error: TmwsError) -> Check:
    return Check(name, "broken", error.problem, error.remedy)


def lines(checks: list[Check]) -> Iterator[str]:
    """Yield a line a check."""
    signs = {"ok": "✅", "warning": "⚠️", "broken": "❌"}
    for check in checks:
        yield f"{signs[check.state]} {check.name}: {check.detail}{f' → {check.remedy}' if check.remedy else ''}"
