"""A short storm on the stack of the tests, from a fixed seed; and the model, which has to see what a storm is for."""

import io
import math
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest

from tests.faults.journal import ROUNDS
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisProcess
from tests.shells.owners import until
from tests.stacks import PRODUCTION
from tests.storm.model import OPERATOR, Kept, Model, State
from tests.storm.processes import kill, owner_pid
from tests.storm.running import Opening, storm, strike_for
from tests.storm.worlds import Embedded, Production, Surroundings, World

SECONDS = 3.0
"""How long clients act: a storm that is to find something takes an hour, by `python -m tests.storm`."""

KILLS = 2 * ROUNDS
"""A terminal gives up after five deaths within a minute; TMWS_FAULT_ROUNDS=10 makes it twenty."""


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Opening]:
    if not PRODUCTION:
        yield Embedded.open
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    redis: RedisProcess = request.getfixturevalue("redis_server")
    with postgres.database() as url:
        superuser = postgres.superuser_url(urlsplit(url).path[1:])
        yield partial(Production.open, redis=redis, url=url, superuser=superuser)


@pytest.mark.timeout(900)  # by what the model calls stuck, which no busy machine reaches
def test_nothing_is_lost_leaked_or_stuck_in_a_short_storm(tmp_path: Path, opened: Opening) -> None:
    told = io.StringIO()
    model = storm(tmp_path, "a short storm", opened, minutes=0, strike=partial(strike_for, SECONDS), told=told)
    assert model.violations == [], told.getvalue()
    assert model.counts["acknowledged"], told.getvalue()


def has_acknowledged(model: Model, number: int) -> bool:
    return model.counts["acknowledged"] >= number


@attrs.define
class Terminals(Embedded):
    """Terminals alone, which start the owner."""

    @classmethod
    def open(cls, around: Surroundings) -> "Terminals":
        terminals = around.terminals("ada", "ann", "bob", "bea")
        return cls(around, around.server(), terminals, terminals)

    def heal(self) -> None:
        pass

    def kill_owners(self, model: Model, chance: random.Random) -> None:
        """Kill each owner, some while they open the store and some while they work."""
        killed: set[int | None] = {None}
        for _ in range(KILLS):
            until(lambda: owner_pid(self.around.home) not in killed)
            owner = owner_pid(self.around.home)
            more = model.counts["acknowledged"] + chance.randrange(3)
            until(partial(has_acknowledged, model, more))
            if owner is not None and kill(owner, str(self.around.home)):
                model.count("kills")
            killed.add(owner)


@pytest.mark.embedded("a database server has no owner")
@pytest.mark.timeout(900)
def test_owners_that_are_killed_more_often_than_a_terminal_bears_take_nothing_back(tmp_path: Path) -> None:
    worlds: list[Terminals] = []

    def opened(around: Surroundings) -> Terminals:
        worlds.append(Terminals.open(around))
        return worlds[0]

    def strike(_: World, model: Model, chance: random.Random) -> None:
        worlds[0].kill_owners(model, chance)

    told = io.StringIO()
    model = storm(tmp_path, "kills", opened, minutes=0, strike=strike, told=told)
    assert model.violations == [], told.getvalue()
    assert model.counts["kills"], told.getvalue()


PLAN = State("tok0z the plan", "private", frozenset({"bob"}))


def stored(model: Model, state: State = PLAN) -> Kept:
    [kept] = model.create("ada", {"tok0z": state})
    model.settle(kept, done=True)
    return kept


def view_of(state: State, **changes: object) -> dict[str, object]:
    shown = {"content": state.content, "access_level": state.level, "tags": list(state.tags)}
    return {"memory_id": "one", "agent_id": "ada", **shown, **changes}


def kinds(model: Model) -> list[str]:
    return [violation.split()[1] for violation in model.violations]


def test_model_sees_what_is_shown_to_whoever_may_not_see_it() -> None:
    model = Model()
    kept = stored(model)
    now = time.monotonic()
    model.check_view(view_of(PLAN), "ada", now, now)
    assert kinds(model) == []
    model.check_view(view_of(PLAN), "bob", now, now)
    model.check_text("of tok0z", "", "bob", now, now)
    assert kinds(model) == ["leaked:"] * 2
    model.check_text("of tok0z", "tok0z?", "bob", now, now)
    model.change(kept, attrs.evolve(PLAN, level="shared"))
    model.check_text("of tok0z", "", "bob", now, time.monotonic())
    assert kinds(model) == ["leaked:"] * 2


def test_model_sees_what_is_lost_and_what_comes_back() -> None:
    model = Model()
    kept = stored(model)
    now = time.monotonic()
    model.check_all(["tok0z"], OPERATOR, now, now)
    model.check_all([], "bob", now, now)
    assert kinds(model) == []
    model.check_all([], OPERATOR, now, now)
    assert kinds(model) == ["lost:"]
    model.change(kept, None)
    model.check_all([], OPERATOR, now, time.monotonic())
    model.check_view(view_of(PLAN), OPERATOR, now, time.monotonic())
    model.settle(kept, done=True)
    assert kinds(model) == ["lost:"]
    model.check_view(view_of(PLAN), OPERATOR, math.inf, math.inf)
    assert kinds(model) == ["lost:", "torn:"]


def test_model_sees_what_is_not_whole_and_what_is_there_twice() -> None:
    model = Model()
    now = time.monotonic()
    first, _ = model.create("ada", {"tok0z": PLAN, "tok1z": attrs.evolve(PLAN, content="tok1z")})
    model.settle(first, None)
    model.check_all(["tok0z"], OPERATOR, now, time.monotonic())
    assert kinds(model) == []
    model.settle(model.kept["tok1z"], None)
    model.check_all(["tok0z"], OPERATOR, now, time.monotonic())
    model.check_view(view_of(PLAN, tags=["x"]), OPERATOR, now, time.monotonic())
    model.check_view(view_of(PLAN, memory_id="another"), OPERATOR, now, time.monotonic())
    assert kinds(model) == ["torn:", "torn:", "twice:"]
