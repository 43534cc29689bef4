"""A store that moves while it is written to, and the move that is killed at random moments."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.contracts.stores import STORES
from tests.faults.clients import moment, program
from tests.faults.journal import ROUNDS, Journal, check, note, notes, settings_of
from tests.servers.postgres import PostgresServer
from tests.shells.serving import PATIENCE, environment
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_core.errors import MoveUnfinished
from tmws_core.messages.memory import CreateMemories, CreateMemory

pytestmark = [pytest.mark.anyio, pytest.mark.embedded("each test names its stores itself")]

KILLS = 4
TEXTS = 900
MANY = 100_000
"""More notes than anybody writes before it is killed."""


@attrs.frozen
class House:
    """A store at `source` that moves to a store of the other kind at `target`."""

    home: Path
    source: str
    target: str
    embedding: dict[str, str]

    @property
    def former(self) -> Settings:
        return settings_of(self.home, TMWS_DATABASE_URL=self.source, **self.embedding)

    @property
    def present(self) -> Settings:
        return settings_of(self.home, TMWS_DATABASE_URL=self.target, **self.embedding)

    def start(self) -> "subprocess.Popen[str]":
        """Start to move."""
        words = [sys.executable, "-m", "tmws_cli", "move", "--from", self.source, "--to", self.target, "--json"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(words, cwd=self.home, env=environment(self.home), **pipes)


@pytest.fixture(params=STORES)
def house(
    request: pytest.FixtureRequest, home: Path, tmp_path: Path, postgres: PostgresServer, embedding: dict[str, str]
) -> Iterator[House]:
    with postgres.database() as url:
        places = [f"sqlite:///{tmp_path}/{request.param}/tmws.db", url]
        source, target = places if request.param == "sqlite" else reversed(places)
        yield House(home, source, target, embedding)


async def fill(settings: Settings, journal: Journal) -> None:
    caller = settings.operator()
    async with open_app(settings) as app:
        for first in range(0, TEXTS, 300):
            contents = [note("before", first + number) for number in range(300)]
            request = CreateMemories(memories=tuple(CreateMemory(content=each) for each in contents))
            for result, content in zip((await app.call(caller, request)).results, contents, strict=True):
                journal.acknowledge(result.memory_id, content)


def finished(moving: "subprocess.Popen[str]") -> dict[str, Any]:
    out, said = moving.communicate(timeout=2 * PATIENCE)
    assert moving.returncode == 0, out + said
    answer: dict[str, Any] = json.loads(out)
    return answer


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_a_store_that_moves_under_kills_and_writes_arrives_whole(
    house: House, chance: random.Random, round_: int
) -> None:
    journal, writer = Journal(), f"round{round_}"
    await fill(house.former, journal)
    with program(house.home, writer, MANY, TMWS_DATABASE_URL=house.source, **house.embedding) as writing:
        writing.start()
        for _ in range(KILLS):
            with house.start() as moving:
                # From before it has read anything to well into the copying.
                moment(chance, 5)
                moving.kill()
                moving.communicate()
        with house.start() as moving:
            meanwhile = finished(moving)
        entries = writing.kill()
    for entry in entries:
        journal.acknowledge(entry["id"], note(writer, entry["number"]))

    with house.start() as moving:
        done = finished(moving)

    assert done["settled"]
    assert done["tables"]["memories_v2"]["rows"] >= meanwhile["tables"]["memories_v2"]["rows"] >= TEXTS
    sent = {*journal.entries.values(), *notes(writer, len(entries) + 1)}
    assert await check(house.present, journal, sent, chance) <= 1


async def test_what_a_killed_move_has_left_is_not_served(house: House) -> None:
    await fill(house.former, Journal())
    with house.start() as moving:
        assert moving.stderr
        # It has copied something by the first line that it says.
        assert moving.stderr.readline().startswith("move: 1")
        moving.kill()
        moving.communicate()

    with pytest.raises(MoveUnfinished):
        async with open_app(house.present):
            pass
