"""Making and checking signatures (RFC 8032)."""

from typing import Self

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


@attrs.frozen
class Ed25519Verifier:
    """A Verifier that knows one public key."""

    _key: Ed25519PublicKey

    @classmethod
    def of(cls, public_key: bytes) -> Self:
        """Return the verifier for a public key of 32 bytes; ValueError if it has another length."""
        return cls(Ed25519PublicKey.from_public_bytes(public_key))

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the holder of the key has signed the message."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@attrs.frozen
class Ed25519Signer:
    """A Signer that holds one private key."""

    _key: Ed25519PrivateKey = attrs.field(repr=False)

    @classmethod
    def of(cls, seed: bytes) -> Self:
        """Return the signer whose private key is these 32 bytes; ValueError if there are more or fewer."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public_key(self) -> bytes:
        """Return the 32 bytes that its signatures are verified with."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message: 64 bytes."""
        return self._key.sign(message)

    def verify(self, message: bytes, signature: bytes, public_key: bytes) -> bool:
        """Tell whether the holder of a key has signed the message; no key is held by nobody."""
        try:
            return Ed25519Verifier.of(public_key).verify(message, signature)
        except ValueError:
            return False
