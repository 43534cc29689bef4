"""What a field may hold: attrs validators, from which the JSON Schema is derived too."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from tmws_core.domain.unset import UNSET, Unset
from tmws_core.errors import ContentTooLarge, InvalidField

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""C0 controls and DEL; tab, line feed and carriage return are text."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
UUID_START_PATTERN = r"^[0-9a-f]{8}[0-9a-f-]{0,28}$"

JSON_DEPTH = 32
"""Levels of nesting in a JSON object; parsers and serialisers of clients give up somewhere above 100."""


def check_text(name: str, value: str) -> None:
    """Refuse what is no text: lone surrogates (they have no UTF-8) and control characters."""
    if _SURROGATE.search(value):
        raise InvalidField(name=name, reason="contains a lone surrogate", hint="Send valid Unicode text")
    found = _CONTROL.search(value)
    if found:
        code = f"U+{ord(found.group()):04X}"
        raise InvalidField(name=name, reason=f"contains the control character {code}", hint="Remove it")


@attrs.frozen
class Text:
    """A string of `minimum` to `maximum` characters, at most `maximum_bytes` in UTF-8, matching `pattern`."""

    minimum: int = 0
    maximum: int | None = None
    maximum_bytes: int | None = None
    pattern: str | None = None
    expected: str = ""

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: str | Unset | None) -> None:
        """Raise InvalidField unless there is no value or it fits."""
        if value is not None and value is not UNSET:
            self.check(attribute.name, value)

    def check(self, name: str, value: str) -> None:
        """Raise InvalidField, naming `name`, unless the value fits."""
        if self.maximum is not None and len(value) > self.maximum:
            raise InvalidField(
                name=name,
                reason=f"has {len(value)} characters",
                hint=f"At most {self.maximum} characters are allowed",
            )
        if self.maximum_bytes is not None and len(value) > self.maximum_bytes:
            raise self._too_large(name, f"has {len(value)} characters")
        if len(value.strip()) < self.minimum:
            raise InvalidField(name=name, reason="is empty", hint=f"Give at least {self.minimum} character")
        check_text(name, value)
        size = len(value.encode())
        if self.maximum_bytes is not None and size > self.maximum_bytes:
            raise self._too_large(name, f"has {size} bytes in UTF-8")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise InvalidField(name=name, reason=f"{value[:80]!r} is not {self.expected}")

    def _too_large(self, name: str, reason: str) -> ContentTooLarge:
        hint = f"At most {self.maximum_bytes} bytes are allowed: split the text over several memories"
        return ContentTooLarge(name=name, reason=reason, hint=hint)


@attrs.frozen
class Range:
    """A number from `minimum` to `maximum`; never NaN or infinite."""

    minimum: float | None = None
    maximum: float | None = None

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: float | Unset | None) -> None:
        """Raise InvalidField unless there is no value or it is inside the range."""
        if value is None or value is UNSET:
            return
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if not (low <= value <= high and abs(value) < math.inf):
            raise InvalidField(name=attribute.name, reason=f"{_shown(value)} is out of range", hint=self.accepted())

    def accepted(self) -> str:
        """Say which numbers are inside."""
        if self.minimum is not None and self.maximum is not None:
            return f"Give a number from {self.minimum:.16g} to {self.maximum:.16g}"
        return "Give a finite number" if self.minimum is None else f"Give a number of at least {self.minimum:.16g}"


@attrs.frozen
class Items:
    """A list of `minimum` to `maximum` items, each of which passes `each`."""

    maximum: int
    minimum: int = 0
    each: Text | None = None

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: Sequence[Any] | None) -> None:
        """Raise InvalidField unless the value is None or fits; the item at fault is named by its index."""
        if value is None:
            return
        self.check_number(attribute.name, len(value))
        if self.each is not None:
            for index, item in enumerate(value):
                self.each.check(f"{attribute.name}[{index}]", item)

    def check_number(self, name: str, number: int) -> None:
        """Raise InvalidField unless the list may have as many items: looked at before any of them is."""
        if not self.minimum <= number <= self.maximum:
            raise InvalidField(
                name=name, reason=f"has {number} items", hint=f"Give {self.minimum} to {self.maximum} items"
            )


@attrs.frozen
class JsonObject:
    """A JSON object of at most `maximum_bytes` when written compactly, nested at most JSON_DEPTH levels deep."""

    maximum_bytes: int

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, Any] | None) -> None:
        """Raise InvalidField unless the value is None or fits."""
        if value is None:
            return
        _JsonCheck(attribute.name, self.maximum_bytes).check(value, JSON_DEPTH)
        size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        if size > self.maximum_bytes:
            raise _too_much_json(attribute.name, f"has {size} bytes", self.maximum_bytes)


@attrs.frozen
class Aware:
    """A time with an offset from UTC, that lies in the years 1 to 9999 in UTC as well."""

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: datetime | Unset | None) -> None:
        """Raise InvalidField for a time without an offset, and for one that UTC has no date for."""
        if value is None or value is UNSET:
            return
        if value.utcoffset() is None:
            raise InvalidField(
                name=attribute.name, reason="has no time zone", hint="Give RFC 3339, such as 2026-01-31T12:00:00Z"
            )
        try:
            value.astimezone(UTC)
        except OverflowError:
            raise InvalidField(
                name=attribute.name,
                reason=f"{value.isoformat()} is out of range",
                hint="Give a time in the years 1 to 9999 in UTC",
            ) from None


@attrs.define
class _JsonCheck:
    """Looks through a JSON value, and no further than `maximum_bytes` reach: a value has a byte at least."""

    name: str
    maximum_bytes: int
    _seen: int = attrs.field(default=0, init=False)

    def check(self, value: object, depth: int) -> None:
        """Refuse what is no JSON, is nested more than `depth` levels, or is too much."""
        if depth < 0:
            raise InvalidField(
                name=self.name, reason=f"is nested more than {JSON_DEPTH} levels deep", hint="Flatten it"
            )
        self._count(1)
        match value:
            case None | bool():
                return
            case str():
                self._text(value)
            case int() | float():
                _check_number(self.name, value)
            case dict():
                for key, item in value.items():
                    self._key(key)
                    self.check(item, depth - 1)
            case list() | tuple():
                for item in value:
                    self.check(item, depth - 1)
            case _:
                raise InvalidField(
                    name=self.name, reason=f"holds a {type(value).__name__}", hint="Use JSON values only"
                )

    def _key(self, key: object) -> None:
        if not isinstance(key, str):
            raise InvalidField(name=self.name, reason="has a key that is no string", hint="Use strings as keys")
        self._text(key)

    def _text(self, text: str) -> None:
        self._count(len(text))
        check_text(self.name, text)

    def _count(self, size: int) -> None:
        self._seen += size
        if self._seen > self.maximum_bytes:
            raise _too_much_json(self.name, f"has more than {self.maximum_bytes} bytes", self.maximum_bytes)


def _too_much_json(name: str, reason: str, maximum: int) -> ContentTooLarge:
    return ContentTooLarge(name=name, reason=f"{reason} as JSON", hint=f"At most {maximum} bytes are allowed")


def _check_number(name: str, value: float) -> None:
    if not isinstance(value, int):
        if not math.isfinite(value):
            raise InvalidField(name=name, reason="holds a number that is not finite", hint="Use JSON numbers")
    elif not -(2**63) <= value < 2**64:
        raise InvalidField(name=name, reason="holds an integer of more than 64 bits", hint="Write it as a string")


def _shown(value: float) -> str:
    """Return a number as an error tells it: the digits of an endless integer take time that grows with their square."""
    return "an integer of more than 64 bits" if isinstance(value, int) and abs(value) >= 2**64 else str(value)
