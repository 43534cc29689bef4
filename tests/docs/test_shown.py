"""What a page shows is held against what was printed, neither too strictly nor too loosely."""

import pytest

from tests.docs.shown import is_shown

PRINTED = """\
warning: none
  1  1.000  fair  01a201fd-b41a-703f-8d97-623b5e056d9a  Tuesday, 2 doors
  2  0.456  weak  01a201fd-b92e-7fd0-9bc6-9a557a416440  Friday
done
{"id": "01a201fd-b92e-7fd0-9bc6-9a557a416440", "n": 1, "at": "2026-11-29T21:18:33Z", "ms": 2}
"""


@pytest.mark.parametrize(
    "shown",
    [
        "  1  0.900  fair  0198c0de-0000-7000-8000-000000000000  Tuesday, 2 doors\n",
        "  2 0.456 weak … Friday\ndone\n",
        "warning: none\n…\ndone\n",
        '{"id": "0198c0de-0000-7000-8000-000000000000", "n": 1, "at": "2025-01-01T00:00:00Z", "ms": 1.5}',
    ],
)
def test_what_varies_may_be_other(shown: str) -> None:
    assert is_shown(shown, PRINTED)


@pytest.mark.parametrize(
    "shown",
    [
        "  1  0.900  strong  0198c0de-0000-7000-8000-000000000000  Tuesday, 2 doors\n",
        "  1  0.900  fair  0198c0de-0000-7000-8000-000000000000  Tuesday, 3 doors\n",
        "  1  0.900  fair  0198c0de-0000-7000-8000-000000000000  Tuesday\n",
        "warning: none\ndone\n",
        "done\n…\nwarning: none\n",
        '{"id": "0198c0de-0000-7000-8000-000000000000", "n": 2, "at": "2025-01-01T00:00:00Z", "ms": 1.5}',
        '{"id": "0198c0de-0000-7000-8000-000000000000", "n": 1, "ms": 1.5}',
    ],
)
def test_all_else_has_to_be_the_same(shown: str) -> None:
    assert not is_shown(shown, PRINTED)
