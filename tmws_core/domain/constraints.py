"""What a field may hold: attrs validators, from which the JSON Schema is derived too."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from tmws_core.errors import ContentTooLarge, InvalidField

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""C0 controls and DEL; tab, line feed and carriage return are text."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

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

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: str | None) -> None:
        """Raise InvalidField unless the value is None or fits."""
        if value is not None:
            self.check(attribute.name, value)

    def check(self, name: str, value: str) -> None:
        """Raise InvalidField, naming `name`, unless the value fits."""
        if len(value.strip()) < self.minimum:
            raise InvalidField(name=name, reason="is empty", hint=f"Give at least {self.minimum} character")
        if self.maximum is not None and len(value) > self.maximum:
            raise InvalidField(
                name=name,
                reason=f"has {len(value)} characters",
                hint=f"At most {self.maximum} characters are allowed",
            )
        check_text(name, value)
        size = len(value.encode())
        if self.maximum_bytes is not None and size > self.maximum_bytes:
            raise ContentTooLarge(
                name=name,
                reason=f"has {size} bytes in UTF-8",
                hint=f"At most {self.maximum_bytes} bytes are allowed: split the text over several memories",
            )
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise InvalidField(name=name, reason=f"{value[:80]!r} is not {self.expected}")


@attrs.frozen
class Range:
    """A number from `minimum` to `maximum`; never NaN or infinite."""

    minimum: float | None = None
    maximum: float | None = None

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
        """Raise InvalidField unless the value is None or inside the range."""
        if value is None:
            return
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if not math.isfinite(value) or not low <= value <= high:
            raise InvalidField(name=attribute.name, reason=f"{value} is out of range", hint=self._accepted())

    def _accepted(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f"Give a number from {self.minimum:g} to {self.maximum:g}"
        return "Give a finite number" if self.minimum is None else f"Give a number of at least {self.minimum:g}"


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
        if not self.minimum <= len(value) <= self.maximum:
            raise InvalidField(
                name=attribute.name,
                reason=f"has {len(value)} items",
                hint=f"Give {self.minimum} to {self.maximum} items",
            )
        if self.each is not None:
            for index, item in enumerate(value):
                self.each.check(f"{attribute.name}[{index}]", item)


@attrs.frozen
class JsonObject:
    """A JSON object of at most `maximum_bytes` when written compactly, nested at most JSON_DEPTH levels deep."""

    maximum_bytes: int

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, Any] | None) -> None:
        """Raise InvalidField unless the value is None or fits."""
        if value is None:
            return
        _check_json(attribute.name, value, JSON_DEPTH)
        size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        if size > self.maximum_bytes:
            raise ContentTooLarge(
                name=attribute.name,
                reason=f"has {size} bytes as JSON",
                hint=f"At most {self.maximum_bytes} bytes are allowed",
            )


@attrs.frozen
class Aware:
    """A time with an offset from UTC."""

    def __call__(self, _instance: object, attribute: "attrs.Attribute[Any]", value: datetime | None) -> None:
        """Raise InvalidField for a time without an offset."""
        if value is not None and value.tzinfo is None:
            raise InvalidField(
                name=attribute.name, reason="has no time zone", hint="Give RFC 3339, such as 2026-01-31T12:00:00Z"
            )


def _check_json(name: str, value: object, depth: int) -> None:
    if depth < 0:
        raise InvalidField(name=name, reason=f"is nested more than {JSON_DEPTH} levels deep", hint="Flatten it")
    match value:
        case None | bool():
            return
        case str():
            check_text(name, value)
        case int() | float():
            _check_number(name, value)
        case Mapping():
            for key, item in value.items():
                _check_key(name, key)
                _check_json(name, item, depth - 1)
        case list() | tuple():
            for item in value:
                _check_json(name, item, depth - 1)
        case _:
            raise InvalidField(name=name, reason=f"holds a {type(value).__name__}", hint="Use JSON values only")


def _check_key(name: str, key: object) -> None:
    if not isinstance(key, str):
        raise InvalidField(name=name, reason="has a key that is no string", hint="Use strings as keys")
    check_text(name, key)


def _check_number(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise InvalidField(name=name, reason="holds a number that is not finite", hint="Use JSON numbers")
    if value == int(value) and not -(2**63) <= int(value) < 2**64:
        raise InvalidField(name=name, reason="holds an integer of more than 64 bits", hint="Write it as a string")
