"""What can be wrong with Redis is told with what to do about it, and never with a password."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio
import attrs
import pytest
import redis

from tests.contracts.redis_steps import KINDS, local, running, url_of
from tests.servers.certificates import Certificates
from tests.servers.redis import PASSWORD, QUOTED, Options, RedisProcess, free_port, redis_process, until
from tests.servers.redis_groups import SERVICE, Cluster, SentinelGroup
from tmws_adapters.redis import redis_at
from tmws_adapters.redis.errors import RIGHTS
from tmws_core.errors import PartUnavailable
from tmws_core.ports.limits import Rate

pytestmark = pytest.mark.anyio

SECRET = "hunter2-hunter2"


@attrs.frozen
class Servers:
    """The servers of the session, started when they are asked for."""

    request: pytest.FixtureRequest

    @property
    def guarded(self) -> RedisProcess:
        server = self.request.getfixturevalue("redis_server")
        assert isinstance(server, RedisProcess)
        return server

    @property
    def encrypted(self) -> RedisProcess:
        server = self.request.getfixturevalue("redis_tls")
        assert isinstance(server, RedisProcess)
        return server

    @property
    def sentinels(self) -> SentinelGroup:
        group = self.request.getfixturevalue("redis_sentinels")
        assert isinstance(group, SentinelGroup)
        return group

    @property
    def cluster(self) -> Cluster:
        group = self.request.getfixturevalue("redis_cluster")
        assert isinstance(group, Cluster)
        return group


Case = Callable[[Servers], AbstractContextManager[str]]


@contextmanager
def wrong_password(servers: Servers) -> Iterator[str]:
    yield f"redis://:{SECRET}@{servers.guarded.where}"


@contextmanager
def wrong_user(servers: Servers) -> Iterator[str]:
    yield f"redis://nobody:{QUOTED}@{servers.guarded.where}"


@contextmanager
def no_password(servers: Servers) -> Iterator[str]:
    yield f"redis://{servers.guarded.where}"


@contextmanager
def needless_password(servers: Servers) -> Iterator[str]:
    yield f"rediss://:{SECRET}@{servers.encrypted.where}/?ssl_ca_certs={_files(servers).authority}"


@contextmanager
def no_encryption(servers: Servers) -> Iterator[str]:
    yield f"redis://:{SECRET}@{servers.encrypted.where}"


@contextmanager
def needless_encryption(servers: Servers) -> Iterator[str]:
    yield f"rediss://:{QUOTED}@{servers.guarded.where}"


@contextmanager
def wrong_authority(servers: Servers) -> Iterator[str]:
    yield f"rediss://{servers.encrypted.where}/?ssl_ca_certs={_files(servers).stranger}"


@contextmanager
def wrong_name(servers: Servers) -> Iterator[str]:
    yield f"rediss://localhost:{servers.encrypted.port}/?ssl_ca_certs={_files(servers).authority}"


@contextmanager
def certificate_wanted(servers: Servers) -> Iterator[str]:
    server = servers.encrypted
    server.send("CONFIG", "SET", "tls-auth-clients", "yes")
    try:
        yield server.url
    finally:
        files = _files(servers)
        with redis.Redis(
            host="127.0.0.1",
            port=server.port,
            ssl=True,
            ssl_ca_certs=str(files.authority),
            ssl_certfile=str(files.certificate),
            ssl_keyfile=str(files.key),
        ) as client:
            client.config_set("tls-auth-clients", "no")


@contextmanager
def unknown_host(_servers: Servers) -> Iterator[str]:
    yield f"redis://:{SECRET}@no-such-host.invalid"


@contextmanager
def nobody_there(_servers: Servers) -> Iterator[str]:
    yield f"redis://:{SECRET}@127.0.0.1:{free_port()}"


@contextmanager
def nobody_there_of_a_cluster(_servers: Servers) -> Iterator[str]:
    yield f"redis+cluster://:{SECRET}@127.0.0.1:{free_port()},127.0.0.1:{free_port()}"


@contextmanager
def no_answer(_servers: Servers) -> Iterator[str]:
    with redis_process() as server, server.frozen():
        yield server.url


@contextmanager
def replica(servers: Servers) -> Iterator[str]:
    yield f"redis://{servers.sentinels.servers[1].where}"


@contextmanager
def loading(_servers: Servers) -> Iterator[str]:
    slow: Options = {
        "rdbcompression": "no",
        "key-load-delay": 50_000,
        "loading-process-events-interval-bytes": 1024,
    }
    with redis_process(slow) as server, server.client() as client:
        for number in range(200):
            client.set(str(number), "x" * 2000)
        server.send("SAVE")
        server.stop()
        server.launch()
        until(lambda: _is_loading(server), "it is loading")
        yield server.url


@contextmanager
def full(_servers: Servers) -> Iterator[str]:
    with redis_process({"maxmemory": "1"}) as server:
        yield server.url


@contextmanager
def cannot_save(_servers: Servers) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as above:
        directory = Path(above, "gone")
        directory.mkdir()
        with redis_process({"save": "3600 1000", "enable-protected-configs": "yes"}) as server:
            server.send("CONFIG", "SET", "dir", str(directory))
            server.send("BGSAVE")
            until(lambda: b"bgsave_in_progress:0" in _persistence(server), "the first copy is saved")
            (directory / "dump.rdb").unlink()
            directory.rmdir()
            server.send("BGSAVE")
            until(lambda: b"bgsave_status:err" in _persistence(server), "saving has failed")
            yield server.url


@contextmanager
def no_such_database(servers: Servers) -> Iterator[str]:
    yield f"redis://:{QUOTED}@{servers.guarded.where}/999"


@contextmanager
def no_room(_servers: Servers) -> Iterator[str]:
    with redis_process({"maxclients": 1}) as server, server.client() as client:
        client.ping()
        yield server.url


@contextmanager
def no_rights(servers: Servers) -> Iterator[str]:
    servers.guarded.send("ACL", "SETUSER", "reader", "on", f">{SECRET}", "~tmws:*", "+@read", "+@connection", "+eval")
    yield f"redis://reader:{SECRET}@{servers.guarded.where}"


@contextmanager
def no_script(servers: Servers) -> Iterator[str]:
    servers.guarded.send("ACL", "SETUSER", "writer", "on", f">{SECRET}", "~tmws:*", "+@read", "+@write")
    yield f"redis://writer:{SECRET}@{servers.guarded.where}"


@contextmanager
def node_of_a_cluster(servers: Servers) -> Iterator[str]:
    nodes = servers.cluster.nodes[:3]
    keeper = servers.cluster.primary_of("tmws:probe")
    yield f"redis://{next(node for node in nodes if node is not keeper).where}"


@contextmanager
def database_of_a_cluster(servers: Servers) -> Iterator[str]:
    yield f"redis://{servers.cluster.nodes[0].where}/3"


@contextmanager
def no_cluster(servers: Servers) -> Iterator[str]:
    yield f"redis+cluster://:{QUOTED}@{servers.guarded.where}"


@contextmanager
def incomplete_cluster(_servers: Servers) -> Iterator[str]:
    with redis_process({"cluster-enabled": "yes", "cluster-port": free_port()}) as node:
        node.send("CLUSTER", "ADDSLOTSRANGE", 0, 5000)
        yield f"redis+cluster://{node.where}"


@contextmanager
def unknown_service(servers: Servers) -> Iterator[str]:
    yield servers.sentinels.url.replace(SERVICE, "another")


@contextmanager
def no_sentinel(_servers: Servers) -> Iterator[str]:
    yield f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/{SERVICE}"


@contextmanager
def guarded_sentinel(_servers: Servers) -> Iterator[str]:
    with redis_process({"requirepass": PASSWORD}, "--sentinel") as sentinel:
        yield f"redis+sentinel://:{SECRET}@{sentinel.where}/{SERVICE}"


@contextmanager
def former_primary(_servers: Servers) -> Iterator[str]:
    with (
        redis_process() as primary,
        redis_process({"replicaof": f"127.0.0.1 {primary.port}"}) as demoted,
        redis_process({}, "--sentinel") as sentinel,
    ):
        sentinel.send("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", demoted.port, 2)
        yield f"redis+sentinel://{sentinel.where}/{SERVICE}"


CASES: tuple[tuple[Case, str, str], ...] = (
    (wrong_password, "refuses the user name or the password", "Correct them in TMWS_REDIS_URL"),
    (wrong_user, "refuses the user name or the password", "Correct them"),
    (no_password, "asks for a password", "Give it in TMWS_REDIS_URL"),
    (needless_password, "has no password, but one is given", "Leave the password out"),
    (no_encryption, "closed the connection", "speaks TLS only, begin TMWS_REDIS_URL with rediss"),
    (needless_encryption, "does not answer in time", "with redis instead of rediss"),
    (wrong_authority, "the certificate of 127.0.0.1", "?ssl_ca_certs="),
    (wrong_name, "the certificate of localhost", "the host as in it"),
    (certificate_wanted, "127.0.0.1", "?ssl_certfile="),
    (unknown_host, "a host of no-such-host.invalid:6379 is unknown", "Check the host"),
    (nobody_there, "refuses connections", "Start Redis"),
    (nobody_there_of_a_cluster, "refuses connections", "Start Redis"),
    (no_answer, "does not answer in time", "Check its host"),
    (replica, "is a replica", "Name the primary"),
    (loading, "is loading its data", "Wait"),
    (full, "the memory of 127.0.0.1", "maxmemory"),
    (cannot_save, "cannot save to its disk", "Free its disk"),
    (no_such_database, "has no database 999", "lower number"),
    (no_room, "127.0.0.1", "maxclients"),
    (no_rights, "the user may not do", "ACL SETUSER"),
    (no_script, "the user may not do", "ACL SETUSER"),
    (node_of_a_cluster, "is a node of a cluster", "redis+cluster"),
    (database_of_a_cluster, "is a node of a cluster", "redis+cluster"),
    (no_cluster, "is no cluster", "not redis+cluster"),
    (incomplete_cluster, "has no primary", "cluster info"),
    (unknown_service, "know no primary 'another'", "sentinel masters"),
    (no_sentinel, "refuses connections", "Start Redis"),
    (guarded_sentinel, "refuse the password", "?sentinel_password="),
    (former_primary, "is not the primary yet", "Wait until"),
)


@pytest.mark.parametrize(("case", "reason", "hint"), CASES, ids=[case.__name__ for case, *_ in CASES])
async def test_each_thing_that_is_wrong_is_one_error_with_its_remedy(
    case: Case, reason: str, hint: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with case(Servers(request)) as url:
        redis_ = redis_at(url, local(), pool_size=1)
        with pytest.raises(PartUnavailable) as raised:
            await redis_.server.examine()
    assert raised.value.part == "redis"
    assert reason in raised.value.problem
    assert hint in raised.value.remedy
    shown = f"{raised.value.message} {raised.value!r} {raised.value.__cause__!r} {redis_!r} {caplog.text}"
    assert not [secret for secret in (SECRET, PASSWORD, QUOTED) if secret in shown]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_rights_that_the_remedy_names_are_enough(kind: str, request: pytest.FixtureRequest) -> None:
    url, started = url_of(request, kind), request.getfixturevalue(kind)
    servers: tuple[RedisProcess, ...] = (
        (started,) if isinstance(started, RedisProcess) else getattr(started, "servers", ()) or started.nodes
    )
    for server in servers:
        server.send("ACL", "SETUSER", "tmws", "on", f">{SECRET}", *RIGHTS.split())
    scheme, _, rest = url.partition("://")
    async with running(f"{scheme}://tmws:{SECRET}@{rest.rpartition('@')[2]}") as redis:
        with anyio.fail_after(60):
            await redis.bus.connected()
        await redis.limiter.counted("a", Rate(requests=1, seconds=1))
        await redis.cache.put("a", b"1")
        await redis.health()


def _files(servers: Servers) -> Certificates:
    files = servers.encrypted.files
    assert files is not None
    return files


def _persistence(server: RedisProcess) -> bytes:
    with server.client() as client:
        client.set_response_callback("INFO", bytes)
        answer = client.execute_command("INFO", "persistence")
        assert isinstance(answer, bytes)
        return answer


def _is_loading(server: RedisProcess) -> bool:
    try:
        server.send("GET", "0")
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.exceptions.ConnectionError:
        return False
    return False
