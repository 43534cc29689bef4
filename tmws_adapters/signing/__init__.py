"""Signatures by Ed25519, and the files and settings that its keys are kept in."""

from tmws_adapters.signing.ed25519 import Ed25519Signer, Ed25519Verifier
from tmws_adapters.signing.keys import KeyPair, new_key_pair, signer_of, verifier_of

__all__ = ["Ed25519Signer", "Ed25519Verifier", "KeyPair", "new_key_pair", "signer_of", "verifier_of"]
