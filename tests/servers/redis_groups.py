"""Groups of Redis servers that fail over: three Sentinels around a primary and a replica, and a cluster of six."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import attrs

from tests.servers.certificates import Certificates
from tests.servers.redis import Options, RedisProcess, free_port, redis_process, until

SERVICE = "tmws-primary"
DOWN_AFTER = 500
"""Milliseconds after which three Sentinels take a primary that does not answer for dead."""

NODE_TIMEOUT = 1000
"""Milliseconds after which the nodes of a cluster do."""

PRIMARIES = 3
_SLOTS = 16_384


@attrs.frozen
class SentinelGroup:
    """Servers of which the Sentinels know who is the primary."""

    servers: tuple[RedisProcess, ...]
    sentinels: tuple[RedisProcess, ...]

    @property
    def url(self) -> str:
        listed = ",".join(sentinel.where for sentinel in self.sentinels)
        return _url("sentinel", f"{listed}/{SERVICE}", self.sentinels[0].files)

    def names(self, server: RedisProcess) -> bool:
        """Tell whether one of the Sentinels names a server as the primary."""
        return any(
            int(sentinel.send("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]) == server.port
            for sentinel in self.sentinels
        )

    def ready(self) -> bool:
        """Tell whether each Sentinel knows the others and the replica."""
        return all(
            len(sentinel.send("SENTINEL", "SENTINELS", SERVICE)) == len(self.sentinels) - 1
            and len(sentinel.send("SENTINEL", "REPLICAS", SERVICE)) == len(self.servers) - 1
            for sentinel in self.sentinels
        ) and all(b"master_link_status:up" in _replication(server) for server in self.servers[1:])


@attrs.frozen
class Cluster:
    """Six servers: three primaries, and a replica of each in the same order."""

    nodes: tuple[RedisProcess, ...]

    @property
    def url(self) -> str:
        return _url("cluster", ",".join(node.where for node in self.nodes), self.nodes[0].files)

    def primary_of(self, key: str) -> RedisProcess:
        """Return the node that keeps a key at first."""
        slot = int(self.nodes[0].send("CLUSTER", "KEYSLOT", key))
        return self.nodes[slot * PRIMARIES // _SLOTS]

    def ready(self) -> bool:
        """Tell whether all nodes agree that the cluster is complete."""
        return all(
            b"cluster_state:ok" in (answer := node.send("CLUSTER", "INFO")) and b"known_nodes:6" in answer
            for node in self.nodes
        ) and all(b"master_link_status:up" in _replication(node) for node in self.nodes[PRIMARIES:])


@contextmanager
def sentinel_group(files: Certificates | None = None) -> Iterator[SentinelGroup]:
    """Start a primary, a replica and three Sentinels for the block."""
    with ExitStack() as stack:
        quick: Options = {"repl-diskless-sync-delay": 0}
        primary = stack.enter_context(redis_process(quick, files=files))
        replica = stack.enter_context(redis_process({**quick, "replicaof": f"127.0.0.1 {primary.port}"}, files=files))
        sentinels = [stack.enter_context(redis_process({}, "--sentinel", files=files)) for _ in range(3)]
        for sentinel in sentinels:
            sentinel.send("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", primary.port, 2)
            sentinel.send("SENTINEL", "SET", SERVICE, "down-after-milliseconds", DOWN_AFTER)
            sentinel.send("SENTINEL", "SET", SERVICE, "failover-timeout", 2000)
        group = SentinelGroup((primary, replica), tuple(sentinels))
        until(group.ready, "the Sentinels know one another")
        yield group


@contextmanager
def cluster(files: Certificates | None = None) -> Iterator[Cluster]:
    """Start a cluster for the block."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(_node(files)) for _ in range(2 * PRIMARIES)]
        for number, node in enumerate(nodes):
            node.send("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < PRIMARIES:
                first, last = (-(-_SLOTS * at // PRIMARIES) for at in (number, number + 1))
                node.send("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            for other in nodes[:number]:
                node.send("CLUSTER", "MEET", "127.0.0.1", other.port, other.options["cluster-port"])
        until(lambda: all(b"known_nodes:6" in node.send("CLUSTER", "INFO") for node in nodes), "the nodes have met")
        for primary, replica in zip(nodes[:PRIMARIES], nodes[PRIMARIES:], strict=True):
            name = primary.send("CLUSTER", "MYID").decode()
            until(lambda: name.encode() in replica.send("CLUSTER", "NODES"), "the replica has met its primary")  # noqa: B023
            replica.send("CLUSTER", "REPLICATE", name)
        group = Cluster(tuple(nodes))
        until(group.ready, "the cluster is complete")
        yield group


def _node(files: Certificates | None) -> AbstractContextManager[RedisProcess]:
    options: Options = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": NODE_TIMEOUT,
        "cluster-port": free_port(),
        "repl-diskless-sync-delay": 0,
    }
    return redis_process({**options, "tls-cluster": "yes"} if files else options, files=files)


def _url(kind: str, rest: str, files: Certificates | None) -> str:
    return f"rediss+{kind}://{rest}?ssl_ca_certs={files.authority}" if files else f"redis+{kind}://{rest}"


def _replication(server: RedisProcess) -> bytes:
    with server.client() as client:
        client.set_response_callback("INFO", bytes)
        answer = client.execute_command("INFO", "replication")
        assert isinstance(answer, bytes)
        return answer
