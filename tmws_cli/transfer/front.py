"""The front matter of a Markdown file, YAML or TOML, read with the mistrust that it deserves."""

import math
import re
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import Any

import attrs
import yaml

from tmws_cli.transfer.almost_yaml import DEPTH, in_marks, names_in, quoted
from tmws_core.domain.memory import METADATA_BYTES
from tmws_core.domain.terminal import without_sequences
from tmws_core.errors import InvalidField
from tmws_core.wire import rfc3339

FRONT_BYTES = 1024 * 1024
"""The longest front matter, which takes PyYAML about a second: more than a piece of our own export can need."""

_TOML_BYTES = 64 * 1024
"""The longest front matter in TOML: four times as long as metadata."""

_VALUES = 20_000
"""In one front matter: more than the metadata of a memory can hold."""

_DEEP = re.compile(rf"""(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEPTH}}}""")
"""A name in TOML that is nested too deep: the time that Python takes to read it grows with its square."""

_NUMBER_CHARACTERS = 64
"""The longest number: the time that Python takes to read it grows with the square of that."""

_YAML_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Line breaks to YAML: unless PyYAML escapes all of Unicode, it writes them as they are and reads them as spaces."""

_YAML = "tag:yaml.org,2002:"
_TEXT = f"{_YAML}str"
_NULL = f"{_YAML}null"

_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_BREAKS = re.compile(r"[\x0b\x0c]")

_TAG_LINES = re.compile(r"(?m)^tags?:[ \t]*(?:#.*|\r?(?:\n[ \t]*-.*)+)")
_COMMENT = re.compile(r"(?m)((?:^tags?:|-)[ \t]+)(#\w.*)")
"""Tags as they are written in texts; YAML takes them for comments."""


@attrs.frozen(kw_only=True)
class FrontMatter:
    """What stands above a page.

    `values` are JSON values. `written` holds the scalar, or the scalars of a list, as they were written, by the names
    that have nothing else: `true` and `2024` are texts there. `as_text` names the values that begin as a list or
    other YAML that is no text does, and are no YAML.
    """

    values: Mapping[str, Any] = attrs.field(factory=dict)
    written: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    as_text: Sequence[str] = ()


def readable(text: str) -> str:
    """Return a text that a memory can hold: without colours, page breaks as line breaks, other controls as U+FFFD."""
    text = without_sequences(text)
    return _NO_TEXT.sub("\ufffd", _BREAKS.sub("\n", text)) if _NO_TEXT.search(text) else text


def written_in(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the scalars of JSON values, and their lists of scalars, as texts."""
    return {name: texts for name, value in values.items() if (texts := _texts(value)) is not None}


def _texts(value: Any) -> tuple[str, ...] | None:
    items = value if isinstance(value, list) else [value]
    return tuple(_text(item) for item in items) if all(isinstance(item, str | int | float) for item in items) else None


def _text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else str(value)


def front_matter_in(source: str) -> FrontMatter | None:
    """Return what YAML says, or None if it says no names.

    Lines such as `title: Tides: how they come` or `see: [[one]], [[two]]` are no YAML, but mean one thing only, and are
    read as that, where all is no longer than metadata can be.

    Raises:
        InvalidField: it is no YAML, or larger or deeper than one can be.
    """
    if len(source) > FRONT_BYTES:
        raise InvalidField(name="front matter", reason=f"is longer than {FRONT_BYTES} bytes", hint="Shorten it")
    source = _TAG_LINES.sub(lambda lines: _COMMENT.sub(_quoted_tag, lines[0]), source)
    try:
        return _loaded(source)
    except yaml.MarkedYAMLError as error:
        with suppress(yaml.YAMLError):
            if len(source) <= METADATA_BYTES and (found := _name_by_name(source)) is not None:
                return found
        raise _no_yaml(error.problem or str(error), error.problem_mark) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _no_yaml(str(error), None) from None


def front_matter_in_toml(source: str) -> FrontMatter:
    """Return what TOML says.

    Raises:
        InvalidField: it is no TOML, or too long.
    """
    if len(source) > _TOML_BYTES:
        raise InvalidField(name="front matter", reason=f"is longer than {_TOML_BYTES} bytes", hint="Shorten it")
    if _DEEP.search(source):
        raise InvalidField(name="front matter", reason=f"is no TOML: it is nested more than {DEPTH} levels deep")
    try:
        # Counted in the file, whose first line is one of plus signs.
        values = _json_object(tomllib.loads(f"\n{source}".replace("\r\n", "\n")))
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidField(name="front matter", reason=f"is no TOML: {error}") from None
    return FrontMatter(values=values, written=written_in(values))


def front_matter_of(values: Mapping[str, Any]) -> str:
    """Return the YAML that says it."""
    front = _dumped(values, unicode=True)
    return _dumped(values, unicode=False) if _YAML_BREAKS.search(front) else front


class _Loader(yaml.SafeLoader):
    """Makes plain values only, and refuses aliases, by which a few lines can stand for gigabytes."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs say nothing of it
        self._values += 1
        problem = ""
        if isinstance(event, yaml.AliasEvent):
            problem = "aliases are not supported"
        elif self._depth == DEPTH:
            problem = f"it is nested more than {DEPTH} levels deep"
        elif self._values > _VALUES:
            problem = f"it holds more than {_VALUES} values"
        if problem:
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    problem = f"{key.value[:80]!r} is there twice"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
                names.add(key.value)
                key.tag = _TEXT
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _kind, _written, _first in (
    ("null", r"(?:~|null|)\Z", ["~", "n", ""]),
    ("bool", r"(?:true|false)\Z", list("tf")),
    ("int", r"-?[0-9]+\Z", list("-0123456789")),
    ("float", r"-?[0-9]+\.[0-9]+(?:e[-+][0-9]+)?\Z", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"{_YAML}{_kind}", re.compile(_written), _first)
# All else is text, and so are numbers that would be written otherwise: PyYAML follows YAML 1.1, to which the telephone
# number 01234567 is 342391, the time 10:00 is 600, and the country NO is false.


def _as_text_otherwise(construct: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Let a number that would be written otherwise, or that JSON or Python does not have, stay the text that it is."""

    def constructed(loader: Any, node: Any) -> Any:
        if len(node.value) <= _NUMBER_CHARACTERS:
            with suppress(ValueError, OverflowError):
                value = construct(loader, node)
                if _is_json(value) and _REPRESENTER.represent_data(value).value == node.value:
                    return value
        return loader.construct_scalar(node)

    return constructed


def _is_json(value: Any) -> bool:
    match value:
        case int():
            return -(2**63) <= value < 2**64
        case float():
            return math.isfinite(value)
        case _:
            return True


_REPRESENTER = yaml.representer.SafeRepresenter()

for _kind in ("int", "float"):
    _construct = getattr(yaml.SafeLoader, f"construct_yaml_{_kind}")
    _Loader.add_constructor(f"{_YAML}{_kind}", _as_text_otherwise(_construct))
_as_text: Any = yaml.SafeLoader.construct_yaml_str
_Loader.add_constructor(f"{_YAML}timestamp", _as_text)  # where a tag says that it is one


def _quoted_tag(tag: re.Match[str]) -> str:
    return tag[1] + in_marks(tag[2].rstrip(" \t\r"))


def _name_by_name(source: str) -> FrontMatter | None:
    """Return what is said of each name: by YAML, or else by a text that means one thing only; or None.

    Raises:
        yaml.YAMLError: neither says what is meant.
    """
    values: dict[str, Any] = {}
    written: dict[str, tuple[str, ...]] = {}
    as_text: list[str] = []
    for name, said in names_in(textwrap.dedent(source)):
        try:
            front = _loaded(name + said)
        except yaml.MarkedYAMLError:
            plain, is_odd = quoted(said)
            front = _loaded(f"{in_marks(name)}{plain}")
            as_text += [name] if is_odd else []
        if front is None or not values.keys().isdisjoint(front.values):
            return None
        values |= front.values
        written |= front.written
    return FrontMatter(values=values, written=written, as_text=as_text) if values else None


def _loaded(source: str) -> FrontMatter | None:
    loader = _Loader(source)
    try:
        node = loader.get_single_node()
        if node is None or node.tag == _NULL:
            return FrontMatter()
        if not isinstance(node, yaml.MappingNode):
            return None
        written = {
            readable(str(key.value)): scalars
            for key, value in node.value
            if isinstance(key, yaml.ScalarNode) and (scalars := _scalars(value)) is not None
        }
        values = loader.construct_document(node)
    finally:
        loader.dispose()
    if not isinstance(values, dict):  # by a tag such as !!set
        raise InvalidField(name="front matter", reason="is no mapping", hint="Write `name: value` lines")
    return FrontMatter(values=_json_object(values), written=written)


def _scalars(node: yaml.Node) -> tuple[str, ...] | None:
    """Return the scalars of a node as they are written, empty ones left out, or None if it has anything else."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(each, yaml.ScalarNode) for each in nodes):
        return None
    return tuple(readable(each.value) for each in nodes if each.tag != _NULL)


def _no_yaml(problem: str, mark: Any) -> InvalidField:
    # Counted in the file, whose first line is one of hyphens.
    where = "" if mark is None else f"line {mark.line + 2}: "
    return InvalidField(name="front matter", reason=f"is no YAML: {where}{' '.join(problem.split())}")


def _dumped(values: Mapping[str, Any], *, unicode: bool) -> str:
    return yaml.safe_dump(dict(values), allow_unicode=unicode, sort_keys=False, width=1_000_000)


def _json_object(values: Mapping[Any, Any]) -> dict[str, Any]:
    found = {readable(str(name)): _json_value(value) for name, value in values.items()}
    if len(found) < len(values):
        raise InvalidField(name="front matter", reason="has two names that are the same text")
    return found


def _json_value(value: Any) -> Any:
    match value:
        case str():
            return readable(value)
        case dict():
            return _json_object(value)
        case set():
            return sorted((_json_value(item) for item in value), key=str)
        case list() | tuple():
            return [_json_value(item) for item in value]
        case _:
            return _json_scalar(value)


def _json_scalar(value: Any) -> Any:
    match value:
        case datetime():
            return rfc3339(_aware(value))
        case date() | time():
            return value.isoformat()
        case int() | float() if not _is_json(value):
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return value


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
