"""A double of an OAuth issuer, on a real loopback socket: its metadata and its keys; tests sign tokens with these."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "https://tmws.example/mcp"

PRIVATE_KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}

ALGORITHMS: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def public_key(algorithm: str, key_id: str | None, private: Any = None, **more: str) -> dict[str, Any]:
    """Return a public key as the issuer shows it."""
    key = PRIVATE_KEYS[algorithm] if private is None else private
    shown: dict[str, Any] = json.loads(ALGORITHMS[algorithm].to_jwk(key.public_key()))
    return shown | ({} if key_id is None else {"kid": key_id}) | {"use": "sig"} | more


class IssuerDouble:
    """Answers what is in `pages`, by path; `asked` holds the paths it was asked for, in order."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        self.status = 200
        self.delay = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.show("k1")

    def show(self, *key_ids: str | None, algorithm: str = "RS256") -> None:
        """Show these keys, and where they are."""
        self.pages["/jwks"] = {"keys": [public_key(algorithm, key_id) for key_id in key_ids]}
        self.pages["/.well-known/oauth-authorization-server"] = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}

    def token(self, key_id: str | None = "k1", *, algorithm: str = "RS256", private: Any = None, **claims: Any) -> str:
        """Sign a token; a claim that is None is left out."""
        now = int(time.time())  # noqa: TID251 - what an issuer does
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600, "jti": "t1"} | claims
        told = {name: value for name, value in said.items() if value is not None}
        headers = {} if key_id is None else {"kid": key_id}
        return jwt.encode(told, PRIVATE_KEYS[algorithm] if private is None else private, algorithm, headers)

    def start(self) -> None:
        """Answer."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Answer no more: connections are refused."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double.asked.append(self.path)
                time.sleep(double.delay)
                page = double.pages.get(self.path)
                body = page if isinstance(page, bytes) else json.dumps(page).encode()
                self.send_response(404 if page is None else double.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@contextmanager
def issuer_double() -> Iterator[IssuerDouble]:
    """Run a double that shows one RSA key, `k1`."""
    double = IssuerDouble()
    double.start()
    try:
        yield double
    finally:
        double.stop()
