"""What is meant by a name that there is not."""

import pytest

from tmws_core.app import SERVICES
from tmws_core.domain.nearest import nearest
from tmws_core.operation import operations_described_by


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("remember", "create_memory"),
        ("add_memory", "create_memory"),
        ("save-memory", "create_memory"),
        ("store_memories", "create_memory"),
        ("recall", "search_memories"),
        ("memory_search", "search_memories"),
        ("forget", "delete_memory"),
        ("get_memry", "get_memory"),
        ("get_agnet", "get_agent"),
        ("memory", "get_memory"),
        ("xyzzy", None),
        ("remember" * 100, None),
    ],
)
def test_a_name_of_others_or_with_a_slip_is_understood(word: str, meant: str | None) -> None:
    assert nearest(word, operations_described_by(SERVICES)) == meant
