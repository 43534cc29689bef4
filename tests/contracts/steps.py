"""What the contracts do with a store again and again."""

from collections.abc import Sequence

from tests.contracts.builders import EVERYTHING, MODEL, scope
from tmws_core.domain.memory import Memory
from tmws_core.ports.storage import NewMemory, Storage, UsedKey


async def store(storage: Storage, *memories: NewMemory, keys: Sequence[UsedKey] = ()) -> None:
    async with storage.write() as unit:
        await unit.use_model(MODEL)
        await unit.changes.add(memories)
        await unit.changes.remember(keys)


async def replace(storage: Storage, former: Memory, changed: NewMemory) -> None:
    async with storage.write() as unit:
        await unit.changes.replace(former, changed)


async def get(storage: Storage, memory_id: str) -> Memory:
    async with storage.read() as snapshot:
        return await snapshot.memories.get(memory_id, EVERYTHING)


async def documents(storage: Storage) -> list[int]:
    async with storage.read() as snapshot:
        return (await snapshot.memories.searchable(scope())).documents.tolist()
