"""Where Redis is, as TMWS_REDIS_URL says it."""

import ssl
from collections.abc import Mapping
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

from tmws_adapters.trust import Untrusting, blames_key_log, untrusting
from tmws_core.errors import ConfigurationError

SETTING = "TMWS_REDIS_URL"

Kind = Literal["standalone", "sentinel", "cluster"]

Node = tuple[str, int]
"""Host and port."""

_SCHEMES: Mapping[str, tuple[Kind, bool]] = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""What a scheme means: the kind, and whether TLS is spoken."""

_PORTS: Mapping[Kind, int] = {"standalone": 6379, "sentinel": 26379, "cluster": 6379}

_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")

_HIGHEST_PORT = 65535


@attrs.frozen(kw_only=True)
class Address:
    """One Redis: its nodes, or those of its Sentinels; `repr` shows no password.

    `service` is the name that the Sentinels know it by. `tls` says whom to trust, and is None where TLS is not spoken,
    or, as `untrusting` says then, cannot be.
    """

    kind: Kind
    nodes: tuple[Node, ...]
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    database: int = 0
    service: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = attrs.field(default=None, repr=False)
    tls: ssl.SSLContext | None = attrs.field(default=None, eq=lambda context: context is None)
    untrusting: Untrusting | None = None

    @property
    def listed(self) -> str:
        """Return the nodes that the URL names."""
        return ", ".join(f"{host}:{port}" for host, port in self.nodes)

    def __str__(self) -> str:
        return f"the primary {self.service!r} of {self.listed}" if self.kind == "sentinel" else self.listed


def parse_address(url: str) -> Address:
    """Take a URL apart.

    `redis://USER:PASSWORD@HOST:PORT/DATABASE` for one server, `redis+sentinel://HOST:PORT,…/NAME/DATABASE` for those
    whose Sentinels are listed, `redis+cluster://HOST:PORT,…` for a cluster of which some nodes are listed; `rediss`
    instead of `redis` for TLS.

    Raises:
        ConfigurationError: it is none of these, or a file that it names is no certificate. It does not show the URL.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _malformed("is no URL") from None
    if parts.scheme not in _SCHEMES:
        raise _malformed("does not begin with redis://, rediss://, redis+sentinel:// or redis+cluster://")
    kind, encrypted = _SCHEMES[parts.scheme]
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    nodes = tuple(_node(text, _PORTS[kind]) for text in hosts.split(","))
    service, database = _path(kind, parts)
    _check_options(options, kind, encrypted=encrypted)
    if kind == "standalone" and len(nodes) > 1:
        raise _malformed("names several servers", "Give redis+sentinel:// or redis+cluster:// for more than one")
    tls, problem = _context(options) if encrypted else (None, None)
    return Address(
        kind=kind,
        nodes=nodes,
        username=unquote(username) or None,
        password=unquote(password) or None,
        database=database,
        service=service,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=tls,
        untrusting=problem,
    )


def _node(text: str, default_port: int) -> Node:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port or default_port
    except ValueError:
        hint = "Give HOST:PORT, and write / # ? @ and : of a password as %2F %23 %3F %40 and %3A"
        raise _malformed(f"has a port that is no number from 1 to {_HIGHEST_PORT}", hint) from None
    if not parts.hostname:
        raise _malformed("names no host")
    return parts.hostname, port


def _path(kind: Kind, parts: SplitResult) -> tuple[str, int]:
    """Return the name of a service and the number of a database."""
    words = [unquote(word) for word in parts.path.split("/") if word]
    service = words.pop(0) if kind == "sentinel" and words else ""
    if kind == "sentinel" and not service:
        hint = "Give redis+sentinel://HOST:PORT,HOST:PORT/NAME"
        raise _malformed("does not say by which name the Sentinels know the service", hint)
    database = words.pop(0) if words else "0"
    if words or not database.isascii() or not database.isdigit():
        raise _malformed("has a database that is no number", "Give a number behind the host, such as /0")
    if kind == "cluster" and int(database):
        raise _malformed("names a database, and a cluster has none but 0", "Leave it out")
    return service, int(database)


def _check_options(options: Mapping[str, str], kind: Kind, *, encrypted: bool) -> None:
    known = (_TLS_OPTIONS if encrypted else ()) + (_SENTINEL_OPTIONS if kind == "sentinel" else ())
    for name in options:
        if name in known:
            continue
        if name in _TLS_OPTIONS:
            raise _malformed(f"has the option {name}, but not the scheme for TLS", "Begin it with rediss")
        hint = f"Choose from: {', '.join(known)}" if known else "Leave it out"
        raise _malformed(f"has the unknown option {name[:40]!r}", hint)


def _context(options: Mapping[str, str]) -> tuple[ssl.SSLContext | None, Untrusting | None]:
    """Load the certificates once: making a context takes 20 ms, too much for each connection."""
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), password="")
    except (OSError, ValueError) as error:
        if blames_key_log(error):
            return None, untrusting(error)
        reason = getattr(error, "strerror", None) or "it holds no certificate in PEM"
        raise _malformed(f"names a certificate that cannot be read: {reason}", "Name a readable PEM file") from None
    return context, None


def _malformed(reason: str, hint: str = "Give one such as redis://:PASSWORD@127.0.0.1:6379/0") -> ConfigurationError:
    return ConfigurationError(setting=SETTING, reason=reason, hint=hint)
