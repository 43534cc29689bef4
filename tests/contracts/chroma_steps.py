"""What the tests of Chroma's faults do with an index again and again."""

import pytest

from tests.contracts.builders import vector
from tmws_core.errors import IndexUnavailable
from tmws_core.ports.index import DerivedIndex, IndexChange


def changes(*documents: int) -> list[IndexChange]:
    return [IndexChange(document=number, partition="a", vector=vector(1, number / 1000)) for number in documents]


async def found(index: DerivedIndex) -> list[int]:
    return [hit.document for hit in await index.search(["a"], vector(1, 0), 3)]


async def refusal(index: DerivedIndex) -> str:
    with pytest.raises(IndexUnavailable) as caught:
        await found(index)
    assert caught.value.code == "index_unavailable"
    return caught.value.message
