"""Certificates for servers under test, from an authority of their own."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
TERM = timedelta(days=365 * 30)


@attrs.frozen(kw_only=True)
class Certificates:
    """PEM files: an authority, what it has signed for 127.0.0.1, and an authority that has signed nothing."""

    authority: Path
    certificate: Path
    key: Path
    stranger: Path


def certificates_in(directory: Path) -> Certificates:
    """Make certificates in a directory."""
    signing, authority = _authority("an authority")
    _, stranger = _authority("a stranger")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("127.0.0.1", authority.subject, key)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    files = Certificates(
        authority=directory / "authority.pem",
        certificate=directory / "certificate.pem",
        key=directory / "key.pem",
        stranger=directory / "stranger.pem",
    )
    files.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files.stranger.write_bytes(stranger.public_bytes(Encoding.PEM))
    return files


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, _named(name), key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return key, builder.sign(key, hashes.SHA256())


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + TERM)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
