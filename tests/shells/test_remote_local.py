"""The Python client of the owner of a database on this machine, with real owners."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.licences import UNLIMITED
from tests.shells.serving import PATIENCE, ROOT
from tests.shells.test_rest import UNKNOWN_ID
from tests.stacks import stacked
from tmws_adapters.local.place import Place
from tmws_adapters.local.record import read, write
from tmws_adapters.remote import OutcomeUnknown, RemoteApp, ServiceUnreachable, open_remote, open_running
from tmws_adapters.settings import Settings, load_settings
from tmws_core.errors import (
    ConfigurationError,
    InvalidField,
    MemoryNotFound,
    RequestTimedOut,
    RequestTooLarge,
    StorageCorrupt,
)
from tmws_core.messages.memory import ALL, CreateMemories, CreateMemory, GetMemory, GetMemoryStats, ListMemories
from tmws_core.messages.system import GetSystemStats

pytestmark = pytest.mark.anyio

NO_MODEL = "no-model"
"""Where there is no embedding model, an owner starts faster, and texts of any length are stored at once."""


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of a store, which are those of this process; its owner ends with its last client."""
    for name in [name for name in os.environ if name.startswith("TMWS_")]:
        monkeypatch.delenv(name)
    own = {"TMWS_HOME": str(home), "TMWS_ONNX_MODEL_DIR": NO_MODEL, "TMWS_OWNER_IDLE_SECONDS": "0"}
    for name, value in stacked(own | UNLIMITED | {"TMWS_REQUEST_TIMEOUT": "30", "PYTHONPATH": str(ROOT)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(home)
    chosen = load_settings()
    yield chosen
    wait_for_the_end(chosen)


def place_of(settings: Settings) -> Place:
    return Place(str(settings.place))


def wait_for_the_end(settings: Settings) -> None:
    """Return when no owner holds the lock any more."""
    try:
        descriptor = os.open(place_of(settings).lock, os.O_RDWR)
    except FileNotFoundError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.close(descriptor)


def pid_of_owner(settings: Settings) -> int:
    record = read(place_of(settings).record)
    assert record is not None
    return record.pid


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process do nothing within the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def count(app: RemoteApp) -> int:
    return (await app.call(GetMemoryStats())).total


async def test_owner_is_started_and_ends_with_its_last_client(settings: Settings) -> None:
    async with open_remote(settings) as first:
        stored = await first.call(CreateMemory(content="The ferry leaves at nine."))
        owner = pid_of_owner(settings)
        async with open_remote() as second:
            found = await second.call(GetMemory(memory_id=stored.memory_id))
            assert found.memory.content == "The ferry leaves at nine."
            assert pid_of_owner(settings) == owner
    await anyio.to_thread.run_sync(wait_for_the_end, settings)
    assert read(place_of(settings).record) is None


async def test_operator_acts_for_any_agent_and_an_agent_for_itself(settings: Settings) -> None:
    settings = attrs.evolve(settings, agent_id="olga", agent_namespace="acme")
    async with (
        open_remote(settings) as operator,
        open_remote(settings, agent_id="ana") as ana,
        open_remote(settings, agent_id="ben", namespace="other") as ben,
    ):
        own = await operator.call(CreateMemory(content="Mine."))
        given = await operator.call(CreateMemory(content="Yours.", agent_id="ana"))
        assert (await operator.call(GetMemory(memory_id=own.memory_id))).memory.agent_id == "olga"
        found = (await ana.call(GetMemory(memory_id=given.memory_id))).memory
        assert (found.agent_id, found.written_by, found.namespace) == ("ana", "olga", "acme")
        with pytest.raises(MemoryNotFound) as caught:
            await ben.call(GetMemory(memory_id=given.memory_id))
        assert caught.value.memory_id == given.memory_id
        stored = await ben.call(CreateMemory(content="Ben's."))
        assert (await ben.call(GetMemory(memory_id=stored.memory_id))).memory.namespace == "other"


async def test_calls_at_once_on_one_connection_get_their_own_answers(settings: Settings) -> None:
    found: dict[int, str] = {}
    async with open_remote(settings) as app:
        batch = await app.call(CreateMemories(memories=tuple(CreateMemory(content=f"text {n}") for n in range(300))))

        async def get(number: int) -> None:
            answer = await app.call(GetMemory(memory_id=batch.results[number].memory_id))
            found[number] = answer.memory.content

        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(get, number)
    assert found == {number: f"text {number}" for number in range(300)}


async def test_requests_and_answers_of_several_megabytes_pass_and_larger_ones_are_refused(settings: Settings) -> None:
    memories = tuple(CreateMemory(content=f"{n} " + "x" * 65_000) for n in range(130))
    async with open_remote(settings) as app:
        await app.call(CreateMemories(memories=memories[:70]))
        listed = await app.call(ListMemories(limit=100, max_chars=ALL))
        assert {memory.content for memory in listed.memories} == {memory.content for memory in memories[:70]}
        with pytest.raises(RequestTooLarge) as caught:
            await app.call(CreateMemories(memories=memories))
        assert caught.value.limit == 8 * 1024 * 1024
        assert await count(app) == 70


async def test_cancelled_call_leaves_the_connection_as_it_was(settings: Settings) -> None:
    large = CreateMemories(memories=tuple(CreateMemory(content=f"{n}" + "x" * 65_000) for n in range(100)))
    async with open_remote(settings) as app:
        owner = pid_of_owner(settings)
        with stopped(owner):
            # The second is more than the sockets hold, and is cancelled in the middle of its line.
            for request in (GetMemoryStats(), large, large):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(app.call, request)
                    await anyio.wait_all_tasks_blocked()
                    tasks.cancel_scope.cancel()
        with anyio.fail_after(PATIENCE):
            while await count(app) < 100:
                assert pid_of_owner(settings) == owner
        assert await count(app) == 100


async def test_owner_that_died_unnoticed_is_replaced_before_a_change_is_sent(settings: Settings) -> None:
    async with open_remote(settings) as app:
        await app.call(CreateMemory(content="before"))
        former = pid_of_owner(settings)
        os.kill(former, signal.SIGKILL)
        wait_for_the_end(settings)  # blocks, so that the client has no time to notice
        await app.call(CreateMemory(content="after"))
        assert await count(app) == 2
        assert pid_of_owner(settings) != former


async def test_reading_is_repeated_when_the_owner_dies_and_a_change_is_not(settings: Settings) -> None:
    counts: list[int] = []
    refusals: list[OutcomeUnknown] = []
    async with open_remote(settings) as app:

        async def read_all() -> None:
            counts.append(await count(app))

        async def change() -> None:
            with pytest.raises(OutcomeUnknown) as caught:
                await app.call(CreateMemory(content="perhaps"))
            refusals.append(caught.value)

        await app.call(CreateMemory(content="for sure"))
        owner = pid_of_owner(settings)
        async with anyio.create_task_group() as tasks:
            with stopped(owner):
                for each in (read_all, read_all, change, read_all):
                    tasks.start_soon(each)
                await anyio.wait_all_tasks_blocked()
                os.kill(owner, signal.SIGKILL)
        assert [error.operation for error in refusals] == ["create_memory"]
        assert counts == [1, 1, 1]
        assert await count(app) == 1


async def test_owner_that_hangs_is_given_up_a_little_after_the_request_timeout(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMWS_REQUEST_TIMEOUT", "0.5")
    async with open_remote(settings) as app:
        with stopped(pid_of_owner(settings)), pytest.raises(RequestTimedOut) as caught:
            await count(app)
        assert caught.value.seconds == pytest.approx(2.5)
        assert await count(app) == 0


@pytest.mark.embedded("the file is damaged")
async def test_store_that_cannot_be_opened_is_the_error_that_it_is(settings: Settings) -> None:
    settings.sqlite_path.write_bytes(b"not a database, but long enough to have a header " * 100)
    with pytest.raises(StorageCorrupt) as caught:
        async with open_remote(settings):
            pass
    assert (caught.value.part, caught.value.reason) == ("sqlite", "the file is no SQLite database (SQLITE_NOTADB)")


async def test_owner_of_another_store_than_the_environment_names_is_not_started(settings: Settings) -> None:
    elsewhere = attrs.evolve(settings, home=settings.home / "elsewhere")
    with pytest.raises(ConfigurationError, match="The settings name"):
        async with open_remote(elsewhere):
            pass


async def test_what_the_block_raises_comes_out_as_it_is(settings: Settings) -> None:
    with pytest.raises(ExceptionGroup) as group:
        async with open_remote(settings):
            raise ExceptionGroup("two", [ValueError(), KeyError()])
    assert group.value.message == "two"
    with pytest.raises(InvalidField):
        async with open_remote(settings) as app:
            await app.call_wire("get_memory", {"memory_id": "7"})


async def test_closed_connection_stays_closed(settings: Settings) -> None:
    async with open_remote(settings) as app:
        pass
    with pytest.raises(ServiceUnreachable, match="was closed"):
        await app.call(GetMemory(memory_id=UNKNOWN_ID))


async def test_only_a_running_owner_of_the_same_version_and_settings_is_used_where_none_may_be_started(
    settings: Settings, home: Path
) -> None:
    given = {"TMWS_AGENT_ID": "ana", "TMWS_ONNX_MODEL_DIR": NO_MODEL}
    with pytest.raises(ServiceUnreachable, match="nobody serves"):
        async with open_running(settings, given):
            pass
    assert os.listdir(home) == []  # noqa: PTH208
    with anyio.fail_after(PATIENCE):
        async with open_remote(settings) as app, open_running(settings, given) as running:
            stored = await running.call(CreateMemory(content="By the one that runs."))
            assert (await app.call(GetMemory(memory_id=stored.memory_id))).memory.agent_id == "ana"
            assert (await app.call(GetSystemStats())).operations["create_memory"].calls == 1
            with pytest.raises(ServiceUnreachable):
                async with open_running(settings, {"TMWS_SEARCH_RECENCY": "0.5"}):
                    pass
            record = read(place_of(settings).record)
            assert record is not None
            record.version = "2.9"
            write(place_of(settings).record, record)
            with pytest.raises(ServiceUnreachable):
                async with open_running(settings, given):
                    pass
