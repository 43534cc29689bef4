"""What goes wrong with Redis, as one error that says what to do about it."""

import socket
import ssl
from collections.abc import Callable, Iterator

import attrs
from redis import exceptions as driver

from tmws_adapters.redis.address import SETTING, Address
from tmws_core.errors import PartUnavailable

PART = "redis"
"""The name of the part in `/health`."""


class SentinelFailure(Exception):
    """The Sentinels do not say who is the primary."""


class NoPrimary(SentinelFailure):
    """No Sentinel knows a primary by the name."""


class NotPrimary(SentinelFailure):
    """The server that the Sentinels name is none yet, or no longer."""


class SentinelRefused(SentinelFailure):
    """A Sentinel asks for another password, or for none."""


class NoSentinel(SentinelFailure):
    """No Sentinel answers; `failure` is what one of them did instead."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__()
        self.failure = failure


FAILURES = (
    driver.RedisError,
    driver.RedisClusterException,  # is no RedisError
    OSError,
    TimeoutError,
    AttributeError,  # a connection that another task of the cluster's driver has just closed
    SentinelFailure,
)
"""What goes wrong in the driver."""

RIGHTS = "~tmws:* +@read +@write +@scripting +@connection +time +role +cluster +command"
"""What a user of Redis has to be allowed, as ACL SETUSER takes it; the last three for Sentinel and Cluster."""

_Explained = tuple[str, str]
"""What is wrong, and what to do about it."""

_SHOWN = 200
"""Characters of a server's own words."""


def unavailable(error: BaseException, address: Address) -> PartUnavailable:
    """Return the error for something that the driver raised; nothing that it says shows a password."""
    for cause in _causes(error):
        for kind, explain in _TABLE:
            if isinstance(cause, kind):
                explained = explain(cause, address)
                if explained is not None:
                    return PartUnavailable(part=PART, reason=explained[0], hint=explained[1])
    return PartUnavailable(
        part=PART,
        reason=f"{address} cannot be used ({type(error).__name__}: {str(error)[:_SHOWN]})",
        hint=f"Check {SETTING} and the server",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error comes from, the innermost first: it knows most."""
    below = error.__cause__ or error.__context__
    if below is not None:
        yield from _causes(below)
    yield error


def _certificate(error: BaseException, address: Address) -> _Explained:
    message = getattr(error, "verify_message", "") or "it cannot be verified"
    return (
        f"the certificate of {address} is refused: {message}",
        f"Name the authority that signed it with ?ssl_ca_certs=/path/ca.pem in {SETTING}, and the host as in it",
    )


def _tls(error: BaseException, address: Address) -> _Explained:
    reason = (getattr(error, "reason", None) or type(error).__name__).lower().replace("_", " ")
    if "certificate required" in reason or "handshake failure" in reason:
        return f"{address} asks for a certificate", f"Give ?ssl_certfile=/path&ssl_keyfile=/path in {SETTING}"
    return f"{address} speaks no TLS ({reason})", f"Begin {SETTING} with redis instead of rediss, or name its TLS port"


def _unknown_host(_error: BaseException, address: Address) -> _Explained:
    return f"a host of {address} is unknown", f"Check the host in {SETTING}"


def _refused(_error: BaseException, address: Address) -> _Explained:
    return f"{address} refuses connections", f"Start Redis, or correct host and port in {SETTING}"


def _authentication(error: BaseException, address: Address) -> _Explained:
    words = str(error)
    if "without any password" in words or "no password is set" in words:
        return f"{address} has no password, but one is given", f"Leave the password out of {SETTING}"
    if address.password is None:
        return f"{address} asks for a password", f"Give it in {SETTING}, such as redis://:PASSWORD@HOST:PORT"
    return f"{address} refuses the user name or the password", f"Correct them in {SETTING}"


def _permission(_error: BaseException, address: Address) -> _Explained:
    return (
        f"the user may not do at {address} what TMWS has to",
        f"Allow it with: ACL SETUSER NAME {RIGHTS}",
    )


def _read_only(_error: BaseException, address: Address) -> _Explained:
    return (
        f"{address} is a replica, which cannot be written",
        f"Name the primary in {SETTING}, or use redis+sentinel://",
    )


def _loading(_error: BaseException, address: Address) -> _Explained:
    return f"{address} is loading its data", "Wait until it has started"


def _cluster_down(_error: BaseException, address: Address) -> _Explained:
    return f"the cluster at {address} is down: a part of its slots has no primary", "See `redis-cli cluster info`"


def _moved(_error: BaseException, address: Address) -> _Explained:
    return f"{address} is a node of a cluster", f"Begin {SETTING} with redis+cluster"


def _cluster(error: BaseException, address: Address) -> _Explained | None:
    words = str(error)
    if "not enabled" in words:
        return f"{address} is no cluster", f"Begin {SETTING} with redis, not redis+cluster"
    if "not covered" in words:
        return _cluster_down(error, address)
    return None


def _out_of_memory(_error: BaseException, address: Address) -> _Explained:
    return f"the memory of {address} is full", "Give it more with maxmemory, or set maxmemory-policy to allkeys-lru"


def _response(error: BaseException, address: Address) -> _Explained | None:
    words = str(error)
    if "DB index is out of range" in words:
        return f"{address} has no database {address.database}", f"Give a lower number in {SETTING}"
    if "SELECT is not allowed in cluster mode" in words:
        return _moved(error, address)
    if "NOPERM" in words or "can't run this command" in words or "can't access" in words:
        return _permission(error, address)
    if words.startswith("MISCONF"):
        return f"{address} cannot save to its disk, and takes no writes", "Free its disk, or see the log of Redis"
    return None


def _no_sentinel(error: BaseException, address: Address) -> _Explained | None:
    if not isinstance(error, NoSentinel):
        return None
    inner = unavailable(error.failure, attrs.evolve(address, kind="standalone"))
    return inner.reason, inner.hint


def _no_primary(_error: BaseException, address: Address) -> _Explained:
    return (
        f"the Sentinels at {address.listed} know no primary {address.service!r} that is up",
        f"Check the name in {SETTING}, and `redis-cli sentinel masters`",
    )


def _not_primary(_error: BaseException, address: Address) -> _Explained:
    return f"what the Sentinels at {address.listed} name is not the primary yet", "Wait until they have failed over"


def _sentinel_refused(_error: BaseException, address: Address) -> _Explained:
    option = "sentinel_password=…"
    return (
        f"the Sentinels at {address.listed} refuse the password",
        f"Give theirs as ?{option} in {SETTING}, or leave it out",
    )


def _late(_error: BaseException, address: Address) -> _Explained:
    hint = "" if address.tls is None else f"; if it speaks no TLS, begin {SETTING} with redis instead of rediss"
    return f"{address} does not answer in time", f"Check its host, the network and its load{hint}"


def _connection(error: BaseException, address: Address) -> _Explained | None:
    words = str(error)
    if "max number of clients" in words:
        return f"{address} has no room for another client", "Raise maxclients, or lower TMWS_REDIS_POOL_SIZE"
    if any(word in words.lower() for word in ("closed", "reset", "lost")):
        encrypted = "if it asks for a certificate, give ?ssl_certfile=/path&ssl_keyfile=/path"
        plain = f"if it speaks TLS only, begin {SETTING} with rediss"
        hint = f"See the log of Redis, and its maxclients; {plain if address.tls is None else encrypted}"
        return f"{address} closed the connection", hint
    return None


_TABLE: tuple[tuple[type[BaseException], Callable[[BaseException, Address], _Explained | None]], ...] = (
    (NoSentinel, _no_sentinel),
    (NoPrimary, _no_primary),
    (NotPrimary, _not_primary),
    (SentinelRefused, _sentinel_refused),
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (socket.gaierror, _unknown_host),
    (ConnectionRefusedError, _refused),
    (ConnectionResetError, _connection),
    (driver.AuthenticationError, _authentication),
    (driver.AuthenticationWrongNumberOfArgsError, _authentication),
    (driver.NoPermissionError, _permission),
    (driver.ReadOnlyError, _read_only),
    (driver.BusyLoadingError, _loading),
    (driver.ClusterDownError, _cluster_down),
    (driver.SlotNotCoveredError, _cluster_down),
    (driver.MovedError, _moved),
    (driver.RedisClusterException, _cluster),
    (driver.OutOfMemoryError, _out_of_memory),
    (driver.ResponseError, _response),
    (driver.ConnectionError, _connection),
    (driver.TimeoutError, _late),
    (TimeoutError, _late),
)
"""What an error means; an explanation of None leaves it to the next row."""
