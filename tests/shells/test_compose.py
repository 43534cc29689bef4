"""The files of compose/production name settings, files, services and ports that exist, and their programs take them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.servers.certificates import certificates_in
from tests.servers.nginx import CONFIGURATION, configuration, nginx_before, program
from tests.servers.redis import free_port
from tmws_adapters.settings import Settings, load_settings
from tmws_mcp.bodies import BODY_BYTES
from tmws_mcp.hardening import trusted_proxies
from tmws_mcp.listening import check_exposure
from tmws_mcp.protocol import HEAD_BYTES, IDLE_SECONDS

FOLDER = CONFIGURATION.parent
NGINX = CONFIGURATION.read_text()
UNIT = (FOLDER / "tmws.service").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+)(?::-(\w*))?\}")


def example() -> dict[str, str]:
    lines = (FOLDER / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def settings_of(service: str) -> Settings:
    """Return the settings of a server, every secret filled in."""
    filled = {name: value or "0123456789abcdef" * 4 for name, value in example().items()}
    given = {
        name: VARIABLE.sub(lambda found: filled[found[1]], value)
        for name, value in SERVICES[service]["environment"].items()
    }
    return load_settings(given, dotenv=None)


def test_every_variable_is_in_the_example_and_every_one_of_the_example_is_used() -> None:
    used = {found[0] for found in VARIABLE.findall((FOLDER / "docker-compose.yml").read_text())}
    assert used == example().keys()


def test_example_holds_no_secret() -> None:
    assert {name for name, value in example().items() if value} == {"TMWS_PUBLIC_URL", "TMWS_MAX_WORKERS"}


@pytest.mark.parametrize("service", ["tmws-1", "tmws-2"])
def test_servers_get_settings_that_they_can_serve_with(service: str) -> None:
    settings = settings_of(service)
    check_exposure(settings)
    trusted_proxies(settings)
    assert settings.authenticates
    assert settings.uses_postgres
    assert not settings.without_effect


def test_services_name_files_services_and_volumes_that_exist() -> None:
    for name, service in SERVICES.items():
        assert service.keys() & {"image", "build"}, name
        assert set(service.get("depends_on", {})) <= SERVICES.keys(), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            exists = (FOLDER / source).exists() or source == "./certificates"
            assert exists if source.startswith(".") else source in COMPOSE["volumes"], volume
    build = SERVICES["tmws-1"]["build"]
    assert ((FOLDER / build["context"]).resolve() / build["dockerfile"]).exists()
    assert all(re.search(r":[\w.]*\d", service["image"]) for service in SERVICES.values())


def test_servers_reach_one_another_by_the_names_that_they_have() -> None:
    settings = settings_of("tmws-1")
    hosts = re.findall(r"@([\w-]+):", f"{settings.database_url} {settings.database_url_read} {settings.redis_url}")
    assert hosts == ["postgres", "postgres-replica", "redis"]
    assert re.findall(r"server ([\w-]+:\d+) ", NGINX) == [f"tmws-{number}:{settings.port}" for number in (1, 2)]
    assert set(hosts) <= SERVICES.keys()
    [subnet] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert settings.trusted_proxies == (subnet["subnet"],)


def test_connections_of_all_servers_fit_into_the_database() -> None:
    settings = settings_of("tmws-1")
    [allowed] = re.findall(r"max_connections=(\d+)", " ".join(SERVICES["postgres"]["command"]))
    assert 2 * (settings.db_pool_size + settings.db_max_overflow) < int(allowed)


def test_limits_of_nginx_are_those_of_the_servers() -> None:
    facts = dict(re.findall(r"(\w+) +([\d ]+)[smk]?;", re.sub(r"(\d+)k;", r"\1;", NGINX)))
    timeout = int(settings_of("tmws-1").request_timeout)
    number, size = map(int, facts["large_client_header_buffers"].split())
    assert int(facts["client_max_body_size"]) * 1024 * 1024 == BODY_BYTES
    assert number * size * 1024 == HEAD_BYTES
    assert int(facts["client_body_timeout"]) == timeout
    assert int(facts["proxy_read_timeout"]) > timeout
    assert re.search(r"keepalive 64;\n +keepalive_timeout (\d+)s", NGINX)[1] < str(IDLE_SECONDS)  # type: ignore[index] # a miss fails
    assert int(re.search(r"TimeoutStopSec=(\d+)", UNIT)[1]) > timeout  # type: ignore[index] # as above
    assert int(SERVICES["tmws-1"]["stop_grace_period"].removesuffix("s")) > timeout


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    text = configuration(tmp_path, certificates_in(tmp_path), ports, ["127.0.0.1:1", "127.0.0.1:2"])
    (tmp_path / "nginx.conf").write_text(text)
    done = subprocess.run(
        [program(), "-t", "-p", tmp_path, "-c", "nginx.conf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_nginx_sends_plain_requests_to_https() -> None:
    with nginx_before("127.0.0.1:1", "127.0.0.1:2") as nginx:
        answer = httpx.post(f"{nginx.plain_url}/mcp", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (308, "https://127.0.0.1/mcp")


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "tmws.service"
    assert UNIT.count("/opt/tmws/.venv/bin/tmws ") == 1
    unit.write_text(UNIT.replace("/opt/tmws/.venv/bin/tmws ", f"{sys.executable} "))
    done = subprocess.run([verify, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["postgres.sh", "replica.sh"])
def test_scripts_are_bash(name: str) -> None:
    subprocess.run(["bash", "-n", FOLDER / name], check=True)
    assert os.access(FOLDER / name, os.X_OK)
