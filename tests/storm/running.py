"""One storm: clients act and faults strike, round by round, and after each round all is checked."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tests.contracts.ollama_double import ollama_double
from tests.servers.postgres import own_server, room
from tests.servers.redis import PASSWORD, redis_process
from tests.services.conftest import word_counts
from tests.storm.acting import Agent, Gate, Stranger
from tests.storm.commands import Commands
from tests.storm.model import HOSTILE, Model
from tests.storm.ways import STUCK
from tests.storm.worlds import Production, Surroundings, World, settings_of

Opening = Callable[[Surroundings], World]
"""Registers the agents of a storm, and makes its world."""

Strike = Callable[[World, Model, random.Random], None]
"""Strikes for one round, after which all is checked."""

CALM_SECONDS = 2.0
"""How long nothing befalls the store after a fault, at most."""

STOPPED_SECONDS = 14.0
"""How long a process is stopped at most: longer than a request may take."""


def storm(directory: Path, seed: str, opened: Opening, *, minutes: float, strike: Strike, told: IO[str]) -> Model:
    """Run a storm for so many minutes, at least one round, and return what was seen.

    The same seed begins alike, and goes on by what is faster.
    """
    model, chance = Model(), random.Random(seed)
    home = directory / "home"
    home.mkdir(parents=True)
    with ExitStack() as kept:
        log = kept.enter_context((directory / "log").open("ab"))
        ollama = kept.enter_context(ollama_double(model="word-counter", vectors=word_counts))
        embedding = {"TMWS_OLLAMA_BASE_URL": ollama.url, "TMWS_OLLAMA_MODEL": ollama.model}
        around = Surroundings(home, settings_of(embedding), model, chance, log)
        world = opened(around)
        commands = Commands(home, around.settings, model, around.seeded("commands"))
        gate = Gate()
        clients = clients_of(world, around, commands, gate)
        threads = [threading.Thread(target=each, daemon=True) for each in clients.values()]
        agents = [each for each in clients if isinstance(each, Agent)]
        world.heal()
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60 * minutes
        for number in count(1):
            gate.open()
            strike(world, model, chance)
            if not settled(world, model, gate, len(threads)):
                break
            check(world, agents)
            tell(model, told, f"round {number}")
            if time.monotonic() > end:
                break
            commands.check()
        gate.end()
        for thread in threads:
            thread.join(STUCK)
        world.end()
        commands.check()
        check_logs(model, directory)
        tell(model, told, "the end")
    return model


@contextmanager
def production() -> Iterator[Opening]:
    """Run the servers of the production stack for the block."""
    with (
        own_server(room()) as postgres,
        redis_process({"requirepass": PASSWORD}) as redis,
        postgres.database() as url,
    ):
        yield partial(Production.open, redis=redis, url=url, superuser=postgres.superuser_url(urlsplit(url).path[1:]))


def clients_of(
    world: World, around: Surroundings, commands: Commands, gate: Gate
) -> dict[Agent | Stranger | Commands, Callable[[], None]]:
    """Return who acts, and what runs it."""
    model = around.model
    clients: dict[Agent | Stranger | Commands, Callable[[], None]] = {}
    drafting: dict[str, Agent] = {}
    for way in world.ways:
        chance = around.seeded(way.agent)
        client = Stranger(way, model, chance) if way.agent == HOSTILE else Agent(way, model, chance)
        clients[client] = lambda client=client: client.run(gate)  # type: ignore[misc]  # mypy does not see its type
        if isinstance(client, Agent):
            drafting[way.agent] = client
    clients[commands] = lambda: commands.loop(gate, drafting)
    return clients


def strike_for(seconds: float, world: World, model: Model, chance: random.Random) -> None:
    """Let faults strike for so many seconds."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        faults = world.faults
        [name] = chance.choices(list(faults), [weight for _, weight in faults.values()])
        # Most are short; some are longer than any request may take.
        stopped = min(left, STOPPED_SECONDS * chance.random() ** 2)
        if faults[name][0](stopped):
            model.count(f"fault: {name}")
        time.sleep(min(max(0.0, end - time.monotonic()), chance.uniform(0, CALM_SECONDS)))


def settled(world: World, model: Model, gate: Gate, clients: int) -> bool:
    """Heal the stack and wait until nobody acts; false where somebody never ends."""
    world.heal()
    left = gate.close(clients, 3 * STUCK)
    if left:
        model.violate("stuck", f"{left} clients never came to an end")
    return not left


def check(world: World, agents: list[Agent]) -> None:
    """Check what each agent sees, and what the processes hold, while nobody acts."""
    for agent in agents:
        agent.everything()
    world.check()


def check_logs(model: Model, directory: Path) -> None:
    """Check that no process has met what it did not expect."""
    for path in [directory / "log", *(directory / "home").rglob("*.log*")]:
        with suppress(FileNotFoundError):
            text = path.read_text(encoding="utf-8", errors="replace")
            if "Traceback" in text:
                model.violate("internal", f"{path}: {text[text.index('Traceback') :][:1500]}")


def tell(model: Model, told: IO[str], title: str) -> None:
    told.write(f"\n== {time.monotonic():.0f} {title}\n{model.report()}\n")
    told.flush()
