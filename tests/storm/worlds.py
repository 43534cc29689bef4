"""The two stacks in a storm: what runs in each, and what befalls it."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

import anyio
import attrs
import psycopg

from tests.servers.redis import RedisProcess
from tests.shells.guarded import GUARDED
from tests.shells.owners import POLL, is_owned
from tests.shells.serving import environment
from tests.storm.model import HOSTILE, SPACES, Model
from tests.storm.processes import Server, check_holdings, kill, owner_pid, stop_for
from tests.storm.ways import STUCK, Terminal, Way, Web
from tmws_adapters.authentication import open_credentials
from tmws_adapters.bootstrap import open_parts
from tmws_adapters.settings import load_settings
from tmws_core.domain.agent import Agent, Role

REQUEST_TIMEOUT = "10"
"""Seconds that a request may take in a storm: shorter than some processes are stopped."""

Fault = Callable[[float], bool]
"""Strikes, and takes so many seconds at most; false where there was nothing to strike."""


class World(Protocol):
    """A store, and the processes that serve it."""

    @property
    def ways(self) -> Sequence[Way]: ...

    @property
    def faults(self) -> Mapping[str, tuple[Fault, int]]:
        """Return what may befall it, each with its weight."""
        ...

    def heal(self) -> None:
        """Start what was killed."""
        ...

    def check(self) -> None:
        """Check what its processes hold while nobody acts."""
        ...

    def end(self) -> None:
        """End all, and check that all ends."""
        ...


@attrs.frozen
class Surroundings:
    """What all processes of a storm share."""

    home: Path
    settings: dict[str, str]
    model: Model
    chance: random.Random
    log: IO[bytes]

    def keys(self) -> dict[str, str]:
        """Register the agents, and issue an API key to each."""
        return anyio.run(self._keys)

    def terminals(self, *agents: str) -> list[Terminal]:
        return [Terminal(each, self.home, self.settings, self.model, self.seeded(each), self.log) for each in agents]

    def server(self) -> Server:
        return Server(self.home, self.settings, self.model, self.log)

    def seeded(self, name: str) -> random.Random:
        """Return chance that does not hang on who asks first."""
        return random.Random(f"{self.chance.random()} {name}")

    def web(self, agent: str, servers: Sequence[Server], keys: Mapping[str, str]) -> Web:
        return Web(agent, [each.url for each in servers], keys[agent], self.model, self.seeded(agent))

    async def _keys(self) -> dict[str, str]:
        given = environment(self.home, **self.settings)
        settings = load_settings({name: given[name] for name in given if name.startswith("TMWS_")}, dotenv=None)
        operator = settings.operator()
        async with open_parts(settings) as parts, open_credentials(settings, parts) as opened:
            async with parts.storage.write() as unit:
                now = parts.clock.now()
                for name, space in SPACES.items():
                    agent = Agent(id=name, namespace=space, role=Role.AGENT, created_at=now, updated_at=now)
                    await unit.agents.add(agent)
            return {name: (await opened.issue_key(operator, name, lifetime=None)).text for name in SPACES}


def settings_of(embedding: Mapping[str, str], **more: str) -> dict[str, str]:
    return {**GUARDED, **embedding, "TMWS_REQUEST_TIMEOUT": REQUEST_TIMEOUT, **more}


@attrs.define
class Embedded:
    """Terminals of four agents and an HTTP server on one data directory; whoever comes first starts the owner."""

    around: Surroundings
    server: Server
    terminals: Sequence[Terminal]
    ways: Sequence[Way]

    @classmethod
    def open(cls, around: Surroundings) -> "Embedded":
        keys = around.keys()
        server = around.server()
        terminals = around.terminals(*SPACES)
        webs = [around.web(agent, [server], keys) for agent in ("ada", "bob", HOSTILE)]
        return cls(around, server, terminals, [*terminals, *webs])

    @property
    def faults(self) -> Mapping[str, tuple[Fault, int]]:
        return {
            "owner killed": (self._kill_owner, 4),
            "owner stopped": (self._stop_owner, 3),
            "owner asked to end": (lambda _: self._strike_owner(signal.SIGTERM), 1),
            "server killed": (lambda _: self.server.kill(), 1),
            "server started": (self._start_server, 2),
            "terminal killed": (lambda _: self._strike_terminal(), 1),
            "terminal stopped": (self._stop_terminal, 2),
        }

    def heal(self) -> None:
        """Leave it as it is: terminals and owners are started by who needs them."""
        self.server.wait()

    def check(self) -> None:
        owner = owner_pid(self.around.home)
        pids = {"owner": owner, "server": self.server.process.pid if self.server.process else None}
        pids |= {f"terminal {each.agent}": each.process.pid for each in self.terminals if each.process}
        for name, pid in pids.items():
            if pid is not None:
                check_holdings(self.around.model, name.split()[0], pid)

    def end(self) -> None:
        self.server.terminate()
        for way in self.ways:
            way.close()
        deadline = time.monotonic() + STUCK
        while is_owned(self.around.home) and time.monotonic() < deadline:
            time.sleep(POLL)
        if is_owned(self.around.home):
            self.around.model.violate("stuck", "the owner does not end without a client")

    def _kill_owner(self, _: float) -> bool:
        return self._strike_owner(signal.SIGKILL)

    def _strike_owner(self, number: signal.Signals) -> bool:
        pid = owner_pid(self.around.home)
        return pid is not None and kill(pid, _words(self, pid), number)

    def _stop_owner(self, seconds: float) -> bool:
        pid = owner_pid(self.around.home)
        return pid is not None and stop_for(seconds, pid, _words(self, pid))

    def _start_server(self, _: float) -> bool:
        was_running = self.server.runs
        self.server.start()
        return not was_running

    def _strike_terminal(self) -> bool:
        process = self._terminal()
        return process is not None and kill(process.pid, "tmws_cli")

    def _stop_terminal(self, seconds: float) -> bool:
        process = self._terminal()
        return process is not None and stop_for(seconds, process.pid, "tmws_cli")

    def _terminal(self) -> "subprocess.Popen[bytes] | None":
        return self.around.chance.choice(self.terminals).process


def _words(world: Embedded, pid: int) -> str:
    """Return what the command line of an owner holds: the server's names no directory."""
    is_server = world.server.process is not None and world.server.process.pid == pid
    return "tests.shells.serving" if is_server else str(world.around.home)


@attrs.define
class Production:
    """Two HTTP servers on one PostgreSQL and one Redis server, and two clients of each agent."""

    around: Surroundings
    redis: RedisProcess
    superuser: str
    servers: Sequence[Server]
    ways: Sequence[Way]

    @classmethod
    def open(cls, around: Surroundings, *, redis: RedisProcess, url: str, superuser: str) -> "Production":
        around.settings.update(TMWS_DATABASE_URL=url, TMWS_REDIS_URL=redis.url, TMWS_MAX_WORKERS="1")
        keys = around.keys()
        servers = [around.server(), around.server()]
        ways = [around.web(agent, servers, keys) for agent in (*SPACES, "ada", "bob")]
        return cls(around, redis, superuser, servers, ways)

    @property
    def faults(self) -> Mapping[str, tuple[Fault, int]]:
        return {
            "server killed": (lambda _: self._server().kill(), 3),
            "server stopped": (self._stop_server, 3),
            "server asked to end": (self._end_server, 1),
            "servers started": (self._start_servers, 6),
            "backends terminated": (self._terminate, 3),
            "backend killed": (lambda _: self._strike_backend(), 1),
            "backend stopped": (self._stop_backend, 3),
            "redis stopped": (self._stop_redis, 1),
            "redis started again": (self._restart_redis, 1),
        }

    def heal(self) -> None:
        for each in self.servers:
            each.wait()

    def check(self) -> None:
        for number, each in enumerate(self.servers):
            if each.process is not None:
                check_holdings(self.around.model, f"server {number}", each.process.pid)
        left: object = None
        deadline = time.monotonic() + STUCK
        while time.monotonic() < deadline:
            left = self._left()
            if not left:
                return
            time.sleep(POLL)
        self.around.model.violate("stuck", f"in the database {left}")

    def end(self) -> None:
        for each in self.servers:
            each.terminate()
        for way in self.ways:
            way.close()
        if rows := self._query("SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database()"):
            others = [row for row in rows if "pg_stat_activity" not in str(row[2])]
            if others:
                self.around.model.violate("stuck", f"connections of nobody: {others}")

    def _left(self) -> list[tuple[object, ...]]:
        """Return the transactions that do nothing, and the locks that idle connections hold."""
        idle = "SELECT pid, state, query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        locks = (
            "SELECT a.pid, l.locktype, l.mode, a.query FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE a.datname = current_database() AND a.state = 'idle' AND l.locktype <> 'advisory'"
        )
        return [*self._query(idle), *self._query(locks)]

    def _query(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def _server(self) -> Server:
        return self.around.chance.choice(self.servers)

    def _stop_server(self, seconds: float) -> bool:
        process = self._server().process
        return process is not None and stop_for(seconds, process.pid, "tests.shells.serving")

    def _end_server(self, _: float) -> bool:
        server = self._server()
        if not server.runs:
            return False
        server.terminate()
        return True

    def _start_servers(self, _: float) -> bool:
        stopped = [each for each in self.servers if not each.runs]
        for each in stopped:
            each.start()
        return bool(stopped)

    def _terminate(self, _: float) -> bool:
        mine = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        some = f"{mine} WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"
        with suppress(psycopg.OperationalError):
            return bool(self._query(some)[0][0])
        return False

    def _backend(self) -> int | None:
        busy = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with suppress(psycopg.OperationalError):
            found = self._query(f"{busy} ORDER BY state = 'active' DESC, random() LIMIT 1")
            return int(str(found[0][0])) if found else None
        return None

    def _strike_backend(self) -> bool:
        """Kill a process of the server, which then starts all others anew."""
        pid = self._backend()
        return pid is not None and kill(pid, "postgres")

    def _stop_backend(self, seconds: float) -> bool:
        pid = self._backend()
        return pid is not None and stop_for(seconds, pid, "postgres")

    def _stop_redis(self, seconds: float) -> bool:
        with self.redis.frozen():
            time.sleep(seconds)
        return True

    def _restart_redis(self, seconds: float) -> bool:
        self.redis.stop()
        time.sleep(seconds / 4)
        self.redis.start()
        return True
