"""The contract of Credentials and of Holders: API keys, revoked tokens, and who holds them."""

from datetime import timedelta
from typing import Any

import anyio
import attrs
import pytest

from tests.contracts.builders import DAY, NOON
from tests.contracts.stores import Store, open_at
from tmws_core.domain.agent import Agent, Role
from tmws_core.domain.credential import ApiKey, digest_of
from tmws_core.errors import StorageUnavailable
from tmws_core.ports.holders import Holder

pytestmark = pytest.mark.anyio

ADA = Agent(id="ada", namespace="acme", role=Role.READER, created_at=DAY, updated_at=DAY)
BOB = Agent(id="bob", namespace="globex", created_at=DAY, updated_at=DAY)


@pytest.fixture
async def store(opened: Store) -> Store:
    async with opened.storage.write() as unit:
        await unit.agents.add(ADA)
        await unit.agents.add(BOB)
    return opened


def key(number: int, **changes: Any) -> ApiKey:
    fields: dict[str, Any] = {
        "id": f"{number:016x}",
        "agent_id": "ada",
        "digest": digest_of(bytes([number])),
        "created_at": DAY + timedelta(seconds=number),
    }
    return ApiKey(**(fields | changes))


async def add(store: Store, *keys: ApiKey) -> None:
    async with store.storage.write() as unit:
        for each in keys:
            await unit.credentials.add(each)


async def found(store: Store, key_id: str) -> ApiKey | None:
    async with store.storage.read() as snapshot:
        return await snapshot.credentials.find(key_id)


async def test_key_comes_back_as_it_was_stored(store: Store) -> None:
    whole = key(1, name="laptop", expires_at=NOON, revoked_at=NOON + timedelta(microseconds=1), last_used_at=NOON)
    await add(store, whole, key(2))
    assert await found(store, whole.id) == whole
    assert await found(store, key(2).id) == key(2)
    assert await found(store, key(3).id) is None


async def test_keys_are_listed_newest_first(store: Store) -> None:
    await add(store, key(1), key(3), key(2, agent_id="bob"))
    async with store.storage.read() as snapshot:
        assert [each.id for each in await snapshot.credentials.keys(None)] == [key(3).id, key(2).id, key(1).id]
        assert [each.id for each in await snapshot.credentials.keys("ada")] == [key(3).id, key(1).id]
        assert await snapshot.credentials.keys("zoe") == []


async def test_first_revocation_stays(store: Store) -> None:
    await add(store, key(1))
    for moment in (NOON, NOON + timedelta(hours=1)):
        async with store.storage.write() as unit:
            assert await unit.credentials.revoke(key(1).id, moment)
            assert not await unit.credentials.revoke(key(2).id, moment)
    assert await found(store, key(1).id) == key(1, revoked_at=NOON)


async def test_latest_use_stays_and_unknown_keys_are_passed_over(store: Store) -> None:
    await add(store, key(1))
    for moment in (NOON, DAY):
        async with store.storage.write() as unit:
            await unit.credentials.note_uses({key(1).id: moment, key(9).id: moment})
    assert await found(store, key(1).id) == key(1, last_used_at=NOON)


async def test_agent_of_a_key_has_to_be_registered(store: Store) -> None:
    with pytest.raises(StorageUnavailable):
        await add(store, key(1, agent_id="zoe"))
    assert await found(store, key(1).id) is None


async def test_revoked_token_is_forgotten_once_it_would_have_expired(store: Store) -> None:
    async with store.storage.write() as unit:
        await unit.credentials.revoke_token("t1", DAY)
        await unit.credentials.revoke_token("t1", NOON)
        await unit.credentials.revoke_token("t2", NOON)
    async with store.storage.write() as unit:
        await unit.credentials.forget_tokens(DAY + timedelta(seconds=1))
    assert not (await store.holders.of_token("ada", "t1"))[1]
    assert (await store.holders.of_token("ada", "t2"))[1]


async def test_rolled_back_key_and_revocation_are_gone(store: Store) -> None:
    async def change() -> None:
        async with store.storage.write() as unit:
            await unit.credentials.add(key(1))
            await unit.credentials.revoke_token("t1", NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change()
    assert await store.holders.of_key(key(1).id) is None
    assert (await store.holders.of_token("ada", "t1"))[1] is False


async def test_holder_of_a_key_is_its_agent_as_registered(store: Store) -> None:
    await add(store, key(1, expires_at=NOON), key(2, agent_id="bob"))
    ada = Holder(agent_id="ada", namespace="acme", role=Role.READER, active=True)
    assert await store.holders.of_key(key(1).id) == (key(1, expires_at=NOON), ada)
    assert await store.holders.of_key(key(2).id) == (
        key(2, agent_id="bob"),
        Holder(agent_id="bob", namespace="globex", role=Role.AGENT, active=True),
    )
    assert await store.holders.of_key("0" * 16) is None


async def test_holder_of_a_token_is_told_with_its_revocation(store: Store) -> None:
    async with store.storage.write() as unit:
        await unit.credentials.revoke_token("t1", NOON)
    ada = Holder(agent_id="ada", namespace="acme", role=Role.READER, active=True)
    assert await store.holders.of_token("ada", "t1") == (ada, True)
    assert await store.holders.of_token("ada", "t2") == (ada, False)
    assert await store.holders.of_token("ada", None) == (ada, False)
    assert await store.holders.of_token("zoe", "t1") == (None, True)


async def test_holders_see_at_once_what_another_process_has_committed(store: Store, place: str) -> None:
    await add(store, key(1))
    assert await store.holders.of_key(key(1).id) is not None
    async with open_at(place) as other:
        async with other.storage.write() as unit:
            await unit.credentials.revoke(key(1).id, NOON)
            await unit.agents.replace(attrs.evolve(ADA, active=False, role=Role.ADMIN, namespace="new"))
        seen = await store.holders.of_key(key(1).id)
    assert seen is not None
    assert seen[0].revoked_at == NOON
    assert seen[1] == Holder(agent_id="ada", namespace="new", role=Role.ADMIN, active=False)


async def test_holders_answer_any_number_of_tasks(store: Store) -> None:
    await add(store, key(1), key(2, agent_id="bob"))
    answers: list[tuple[str, str]] = []

    async def ask(number: int, agent_id: str) -> None:
        seen = await store.holders.of_key(key(number).id)
        assert seen is not None
        answers.append((seen[1].agent_id, agent_id))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask, 1, "ada")
            tasks.start_soon(ask, 2, "bob")
    assert len(answers) == 100
    assert all(told == asked for told, asked in answers)
