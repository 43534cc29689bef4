"""JSON Web Tokens (RFC 7519): our own, and those of an issuer that is trusted besides."""

from tmws_adapters.tokens.issuer import ExternalIssuer
from tmws_adapters.tokens.opening import Tokens, open_tokens
from tmws_adapters.tokens.own import OwnTokens

__all__ = ["ExternalIssuer", "OwnTokens", "Tokens", "open_tokens"]
