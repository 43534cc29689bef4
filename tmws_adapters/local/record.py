"""What an owner writes down about itself, for this user's processes only."""

import json
import os

from tmws_adapters.private import PRIVATE_FILE, Unfit, read_own


class Record:
    """One owner: its process, the port on 127.0.0.1 where it listens, and the secret that proves who is who.

    `kind` is "owner" for one that clients start and that ends by itself, "server" for `tmws serve`, which has a `url`.
    `network` and `processes` tell whether its port and its process id mean the same to who reads them; see
    `whereabouts`.
    """

    __slots__ = ("kind", "network", "pid", "port", "processes", "secret", "url", "version")

    def __init__(
        self,
        *,
        pid: int,
        port: int,
        secret: str,
        version: str,
        kind: str,
        url: str | None = None,
        network: str | None = None,
        processes: str | None = None,
    ) -> None:
        self.pid = pid
        self.port = port
        self.secret = secret
        self.version = version
        self.kind = kind
        self.url = url
        self.network = network
        self.processes = processes


def write(path: str, record: Record) -> None:
    """Write a record; whoever reads meanwhile finds the former one or this one.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = f"{path}.{record.pid}"
    facts = {name: getattr(record, name) for name in Record.__slots__}
    remove(unfinished)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(facts, file)
    os.replace(unfinished, path)


def read(path: str) -> Record | None:
    """Return the record, or None where there is none that makes sense and is ours; its owner may be long gone."""
    try:
        return believed(path)
    except Unfit:
        return None


def believed(path: str) -> Record | None:
    """Return the record as `read` does, of an owner that is going to be told texts and tokens.

    Raises:
        Unfit: another user can have written it.
    """
    try:
        facts = json.loads(read_own(path, secret=True))
        record = Record(**{name: fact for name, fact in facts.items() if name in Record.__slots__})
    except Unfit:
        raise
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return record if _is_sensible(record.port, record.secret) else None


def _is_sensible(port: object, secret: object) -> bool:
    return isinstance(port, int) and 0 < port < 1 << 16 and isinstance(secret, str)


def remove(path: str) -> None:
    """Remove a record if there is one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
