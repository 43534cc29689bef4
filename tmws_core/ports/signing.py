"""Signatures: proofs that only the holder of a key can make."""

from typing import Protocol


class Verifier(Protocol):
    """Knows one public key."""

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the holder of the key has signed the message."""
        ...


class Signer(Protocol):
    """Holds one private key."""

    @property
    def public_key(self) -> bytes:
        """Return the 32 bytes that its signatures are verified with."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message: 64 bytes, Ed25519 (RFC 8032)."""
        ...

    def verify(self, message: bytes, signature: bytes, public_key: bytes) -> bool:
        """Tell whether the holder of a key has signed the message."""
        ...
