"""API keys as text: what is read back, and what is none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.domain.credential import SECRET_BYTES, digest_of, parsed_key, written_key

IDS = st.binary(min_size=8, max_size=8).map(bytes.hex)
SECRETS = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)

KEY = written_key("0123456789abcdef", bytes(range(32)))


@given(IDS, SECRETS)
def test_written_key_is_read_back_without_its_secret(key_id: str, secret: bytes) -> None:
    text = written_key(key_id, secret)
    parsed = parsed_key(text)
    assert parsed is not None
    assert (parsed.id, parsed.digest) == (key_id, digest_of(secret))
    assert secret.hex() not in repr(parsed)


@given(st.integers(0, len(KEY) - 1), st.characters(codec="utf-8"))
def test_key_with_any_one_character_changed_is_none(place: int, character: str) -> None:
    changed = KEY[:place] + character + KEY[place + 1 :]
    assert (parsed_key(changed) is None) == (changed != KEY)


@given(st.integers(0, len(KEY) - 2))
def test_key_with_two_characters_swapped_is_none(place: int) -> None:
    swapped = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
    assert (parsed_key(swapped) is None) == (swapped != KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tmws_",
        KEY.upper(),
        KEY.removeprefix("tmws_"),
        f"sk-{KEY}",
        f"{KEY} ",
        f"{KEY}\n",
        KEY[:-1],
        f"{KEY}0",
        KEY.replace("_", "-"),
        re.sub(r"\d", "\N{ARABIC-INDIC DIGIT ONE}", KEY),
        "\x00" * len(KEY),
        "tmws_" * 100_000,
    ],
)
def test_text_that_is_no_key_is_none(text: str) -> None:
    assert parsed_key(text) is None
