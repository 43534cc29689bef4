"""The greeting: four lines of JSON in which both ends prove that they know the owner's secret, without telling it.

    client  {"tmws": 1, "nonce"}
    owner   {"tmws": 1, "nonce", "proof", "version", "pid", "kind"}
    client  {"proof", "speak": "mcp" | "calls" | "stop", "settings", "complete", "libpq", ...}
    owner   {"ok": true, "repeatable", "timeout"} or {"ok": false, "error"}

A port may belong to a stranger once its owner is gone: it cannot make the proof, and learns nothing from the nonce.
"""

import json
import os
from _blake2 import blake2b  # hashlib is it, and 4 MB of OpenSSL
from _operator import _compare_digest as compare_digest

WIRE = 1
"""The number of this protocol; another one is another protocol."""

GREETING_BYTES = 32 * 1024
"""The longest line of a greeting; it holds the settings of a terminal, among them a public key."""

TOLD = 1000
"""Characters of a message that are passed on: our own have 300."""

NONCE_BYTES = 32
"""Random bytes of a nonce and of a secret."""


class Stranger(Exception):
    """The other end does not know the secret, or does not speak this protocol."""


class Refused(Exception):
    """The owner says no, or none can be started; `error` is an error as REST describes it, with its `kind`."""

    def __init__(self, error: dict[str, object]) -> None:
        super().__init__(error)
        self.error = error

    def __str__(self) -> str:
        return str(self.error.get("message"))


class Silent(Refused):
    """Who holds the place is there, and says nothing: it is stopped, or stuck."""


class Elsewhere(Silent):
    """Who holds the place is in another container or on another host, and cannot be reached from here.

    The message is what is `said`, and the `remedy`.
    """

    def __init__(self, said: str, remedy: str) -> None:
        super().__init__({"code": "unavailable", "message": f"{said}. {remedy}", "kind": "unavailable"})
        self.said = said
        self.remedy = remedy


def new_nonce() -> str:
    """Return a random number that was never used before, in hexadecimal digits; a secret is one, too."""
    return os.urandom(NONCE_BYTES).hex()


def proof_of(secret: str, role: str, hers: str, his: str) -> str:
    """Return what only who knows the secret can say: `role` is "owner" or "client", then its nonce and the owner's."""
    mac = blake2b(key=bytes.fromhex(secret), digest_size=32)
    mac.update(f"{role} {hers} {his}".encode())
    return mac.hexdigest()


def is_proven(secret: str, role: str, nonces: tuple[str, str], proof: object) -> bool:
    """Tell whether a proof is right, in the same time for every wrong one; the client's nonce comes first."""
    right = proof_of(secret, role, *nonces)
    return isinstance(proof, str) and compare_digest(proof.encode("utf-8", "replace"), right.encode())


def parse(line: bytes) -> dict[str, object]:
    """Return the object on a line.

    Raises:
        Stranger: it is none.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise Stranger from None
    if not isinstance(value, dict):
        raise Stranger
    return value


def nonce_in(message: dict[str, object]) -> str:
    """Return the nonce of a first line.

    Raises:
        Stranger: it has none.
    """
    nonce = message.get("nonce")
    if not isinstance(nonce, str) or len(nonce) != 2 * NONCE_BYTES or not nonce.isascii():
        raise Stranger
    return nonce


def reason_in(error: object) -> dict[str, object]:
    """Return the error that the other end gives as a reason, with a message of one line that is not too long."""
    if not isinstance(error, dict):
        return {"message": "The service refuses without a reason"}
    message = str(error.get("message"))
    if len(message) > TOLD or not message.isprintable():
        message = "".join(each if each.isprintable() else " " for each in message[:TOLD])
    return {**error, "message": message}


def line_of(message: dict[str, object]) -> bytes:
    """Return a message as it goes over the wire."""
    return json.dumps(message).encode() + b"\n"
