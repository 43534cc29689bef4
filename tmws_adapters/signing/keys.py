"""Keys as people keep them: PEM files, and settings in PEM or base64."""

import base64
import binascii
from typing import Self

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tmws_adapters.signing.ed25519 import Ed25519Signer, Ed25519Verifier


@attrs.frozen
class KeyPair:
    """A private key and its public one, each in PEM (PKCS#8 and SubjectPublicKeyInfo)."""

    private: bytes = attrs.field(repr=False)
    public: bytes

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> Self:
        """Return a key and its public one."""
        return cls(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        )


def new_key_pair() -> KeyPair:
    """Return a key pair that nobody else has."""
    return KeyPair.of(Ed25519PrivateKey.generate())


def signer_of(private: bytes) -> Ed25519Signer:
    """Return the signer for a private key in PEM; ValueError, which does not repeat it, if it is none of Ed25519."""
    try:
        key = load_pem_private_key(private, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it is no unencrypted private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("it is a private key, but not of Ed25519")  # noqa: TRY004 - the text is at fault, not the type
    return Ed25519Signer(key)


def verifier_of(public: str) -> Ed25519Verifier:
    """Return the verifier for a public key in PEM, or its 32 bytes in base64; ValueError if it is neither."""
    if "-----BEGIN" in public:
        return Ed25519Verifier(_public_key(public))
    try:
        return Ed25519Verifier.of(base64.b64decode(public.strip(), validate=True))
    except (ValueError, binascii.Error):
        raise ValueError("it is neither PEM nor 32 bytes in base64") from None


def _public_key(pem: str) -> Ed25519PublicKey:
    # A line break in a .env file or a compose file often arrives as these two characters.
    text = pem.replace("\\n", "\n")
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is no public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is a public key, but not of Ed25519")  # noqa: TRY004 - as in signer_of
    return key
