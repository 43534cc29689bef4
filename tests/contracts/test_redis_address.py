"""What TMWS_REDIS_URL may say."""

import ssl
from pathlib import Path

import pytest

from tests.servers.certificates import certificates_in
from tmws_adapters.redis.address import Address, parse_address
from tmws_core.errors import ConfigurationError

GOOD = {
    "redis://cache": Address(kind="standalone", nodes=(("cache", 6379),)),
    "redis://:p%40ss%2F@10.0.0.1:7000/3": Address(
        kind="standalone", nodes=(("10.0.0.1", 7000),), password="p@ss/", database=3
    ),
    "redis://ana:pass@[::1]:7000": Address(kind="standalone", nodes=(("::1", 7000),), username="ana", password="pass"),
    "rediss://cache/": Address(kind="standalone", nodes=(("cache", 6379),), tls=ssl.create_default_context()),
    "redis+sentinel://:data@one,two:7/name/2?sentinel_password=watch": Address(
        kind="sentinel",
        nodes=(("one", 26379), ("two", 7)),
        password="data",
        service="name",
        database=2,
        sentinel_password="watch",
    ),
    "redis+cluster://one:1,two:2": Address(kind="cluster", nodes=(("one", 1), ("two", 2))),
    "rediss+cluster://one": Address(kind="cluster", nodes=(("one", 6379),), tls=ssl.create_default_context()),
}

BAD = {
    "": "does not begin with",
    "hunter2": "does not begin with",
    "http://:hunter2@cache": "does not begin with",
    "redis://": "names no host",
    "redis://:hunter2@": "names no host",
    "redis://:hunter2@cache:port": "port",
    "redis://:hunter2@cache:70000": "port",
    "redis://:hunter2/and#more@cache:7": "port",
    "redis://:hunter2@[::1": "is no URL",
    "redis://:hunter2@cache/one": "database",
    "redis://:hunter2@cache/1/2": "database",
    "redis://:hunter2@cache/-1": "database",
    "redis://:hunter2@one,two": "several servers",
    "redis+sentinel://:hunter2@one,two": "by which name",
    "redis+cluster://:hunter2@one/1": "a cluster has none",
    "redis+cluster://:hunter2@one,,two": "names no host",
    "redis://:hunter2@cache?ssl_ca_certs=/ca.pem": "not the scheme for TLS",
    "redis://:hunter2@cache?timeout=3": "unknown option 'timeout'",
    "rediss://:hunter2@cache?sentinel_password=hunter2": "unknown option 'sentinel_password'",
    "redis://:hunter2@cache?hunter2": "is no URL",
    "rediss://:hunter2@cache?ssl_ca_certs=/no/such.pem": "cannot be read: No such file",
}


@pytest.mark.parametrize(("url", "address"), GOOD.items())
def test_a_url_says_where_redis_is(url: str, address: Address) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(("url", "reason"), BAD.items())
def test_a_url_that_is_none_is_refused_without_being_shown(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_address(url)
    assert raised.value.setting == "TMWS_REDIS_URL"
    assert reason in raised.value.problem
    assert raised.value.remedy
    assert "hunter2" not in raised.value.message


def test_certificates_are_read_at_once(tmp_path: Path) -> None:
    files = certificates_in(tmp_path)
    url = f"rediss://cache?ssl_ca_certs={files.authority}&ssl_certfile={files.certificate}&ssl_keyfile={files.key}"
    context = parse_address(url).tls
    assert context is not None
    assert [authority["subject"] for authority in context.get_ca_certs()] == [((("commonName", "an authority"),),)]
    assert context.check_hostname
    (tmp_path / "text.pem").write_text("no certificate")
    for wrong in (
        f"ssl_ca_certs={tmp_path}/text.pem",
        f"ssl_certfile={files.certificate}&ssl_keyfile={files.stranger}",
    ):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            parse_address(f"rediss://cache?{wrong}")


def test_a_password_is_not_shown_by_repr() -> None:
    address = parse_address("redis+sentinel://ana:hunter2@one/name?sentinel_password=hunter3")
    assert "hunter" not in f"{address!r} {address}"
