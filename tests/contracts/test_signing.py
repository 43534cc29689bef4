"""Signatures, and the forms in which their keys are given."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from tmws_adapters.secret import derived
from tmws_adapters.signing import Ed25519Signer, Ed25519Verifier, KeyPair, new_key_pair, signer_of, verifier_of
from tmws_core.ports.signing import Signer, Verifier

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]
"""Seed, public key, message and signature: the tests 1 and 3 of section 7.1."""

SEED = bytes(range(32))


@pytest.fixture
def signer() -> Signer:
    return Ed25519Signer.of(SEED)


@pytest.fixture
def verifier(signer: Signer) -> Verifier:
    return Ed25519Verifier.of(signer.public_key)


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_the_standard(seed: str, public: str, message: str, signature: str) -> None:
    signer = Ed25519Signer.of(bytes.fromhex(seed))
    assert signer.public_key.hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    assert Ed25519Verifier.of(bytes.fromhex(public)).verify(bytes.fromhex(message), bytes.fromhex(signature))


@given(message=st.binary(max_size=64), place=st.integers(0, 511))
def test_a_signature_with_one_bit_changed_does_not_hold(message: bytes, place: int) -> None:
    signer = Ed25519Signer.of(SEED)
    signature = bytearray(signer.sign(message))
    signature[place // 8] ^= 1 << place % 8
    assert not Ed25519Verifier.of(signer.public_key).verify(message, bytes(signature))


def test_a_signature_holds_for_its_message_and_its_key_alone(signer: Signer, verifier: Verifier) -> None:
    other = Ed25519Signer.of(bytes(32))
    signature = signer.sign(b"message")
    assert verifier.verify(b"message", signature)
    assert not verifier.verify(b"another", signature)
    assert not verifier.verify(b"message", other.sign(b"message"))
    assert other.verify(b"message", signature, signer.public_key)
    assert not signer.verify(b"message", signature, other.public_key)


@pytest.mark.parametrize("signature", [b"", b"short", bytes(63), bytes(64), bytes(65)])
def test_what_is_no_signature_does_not_hold(verifier: Verifier, signature: bytes) -> None:
    assert not verifier.verify(b"message", signature)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_nobody_holds_what_is_no_key(signer: Signer, key: bytes) -> None:
    assert not signer.verify(b"message", signer.sign(b"message"), key)


def test_a_public_key_can_be_given_as_pem_and_as_base64(signer: Signer) -> None:
    pem = KeyPair.of(Ed25519PrivateKey.from_private_bytes(SEED)).public.decode()
    signature = signer.sign(b"message")
    for given_ in (pem, pem.strip().replace("\n", "\\n"), base64.b64encode(signer.public_key).decode() + "\n"):
        assert verifier_of(given_).verify(b"message", signature), given_


def test_a_key_pair_is_new_each_time_and_belongs_together() -> None:
    first, second = new_key_pair(), new_key_pair()
    assert first.private != second.private
    signature = signer_of(first.private).sign(b"message")
    assert verifier_of(first.public.decode()).verify(b"message", signature)
    assert not verifier_of(second.public.decode()).verify(b"message", signature)


FOREIGN = ec.generate_private_key(ec.SECP256R1())
FOREIGN_PUBLIC = FOREIGN.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
FOREIGN_PRIVATE = FOREIGN.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LOCKED = Ed25519PrivateKey.from_private_bytes(SEED).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither PEM nor 32 bytes"),
        ("AAAA", "neither PEM nor 32 bytes"),
        ("ключ", "neither PEM nor 32 bytes"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no public key in PEM"),
        (FOREIGN_PUBLIC, "not of Ed25519"),
    ],
)
def test_what_is_no_public_key_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        verifier_of(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no unencrypted private key"),
        (b"secret", "no unencrypted private key"),
        (LOCKED, "no unencrypted private key"),
        (FOREIGN_PRIVATE, "not of Ed25519"),
        (new_key_pair().public, "no unencrypted private key"),
    ],
    ids=["empty", "text", "encrypted", "foreign", "public"],
)
def test_what_is_no_private_key_is_refused_without_repeating_it(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        signer_of(text)
    assert "secret" not in str(caught.value)


def test_a_private_key_is_not_shown() -> None:
    pair = KeyPair.of(Ed25519PrivateKey.from_private_bytes(SEED))
    assert "PRIVATE" not in repr(pair)
    assert repr(Ed25519Signer.of(SEED)) == "Ed25519Signer()"


@given(st.text(), st.text())
def test_keys_are_derived_from_the_secret_by_hkdf(secret: str, purpose: str) -> None:
    known = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())

    assert derived(secret, purpose) == known
