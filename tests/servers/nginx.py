"""nginx as compose/production has it, before servers on free ports of this machine."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import httpx
import pytest

from tests.servers.certificates import Certificates, certificates_in
from tests.servers.redis import ATTEMPTS, free_port, until

CONFIGURATION = Path(__file__).parents[2] / "compose" / "production" / "nginx.conf"
PATIENCE = 20


@attrs.frozen
class Nginx:
    """A running nginx, and the authority of its certificate."""

    url: str
    plain_url: str
    authority: Path


def program() -> str:
    """Return the server; without one the test is skipped, in CI it fails."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if path:
        return path
    if os.environ.get("CI"):
        pytest.fail("nginx is not installed")
    pytest.skip("nginx is not installed")


def configuration(directory: Path, files: Certificates, ports: tuple[int, int], servers: Sequence[str]) -> str:
    """Return the configuration with other addresses and paths, and nothing else changed."""
    plain, secure = ports
    changes = {
        "server tmws-1:8000": f"server {servers[0]}",
        "server tmws-2:8000": f"server {servers[1]}",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
        "/etc/nginx/certificates/fullchain.pem": str(files.certificate),
        "/etc/nginx/certificates/privkey.pem": str(files.key),
    }
    text = CONFIGURATION.read_text()
    for former, new in changes.items():
        assert text.count(former) == 1, former
        text = text.replace(former, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = "".join(f"    {kind}_temp_path {directory / kind};\n" for kind in kinds)
    text = text.replace("http {\n", f"http {{\n{own}", 1)
    return f"pid {directory / 'pid'};\nerror_log {directory / 'log'};\n{text}"


@contextmanager
def nginx_before(*servers: str) -> Iterator[Nginx]:
    """Start it before two servers, each a host and a port, for the block."""
    with tempfile.TemporaryDirectory(prefix="tmws-nginx-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        files = certificates_in(directory)
        for _ in range(ATTEMPTS):
            ports = (free_port(), free_port())
            (directory / "nginx.conf").write_text(configuration(directory, files, ports, servers))
            process = subprocess.Popen(
                [program(), "-p", name, "-c", "nginx.conf", "-e", str(directory / "log"), "-g", "daemon off;"]
            )
            nginx = Nginx(f"https://127.0.0.1:{ports[1]}", f"http://127.0.0.1:{ports[0]}", files.authority)
            until(lambda: process.poll() is not None or _answers(nginx), "nginx answers")  # noqa: B023
            if process.poll() is None:
                break
        else:
            raise ChildProcessError((directory / "log").read_text())
        try:
            yield nginx
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _answers(nginx: Nginx) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(nginx.plain_url, trust_env=False).is_redirect
    return False
