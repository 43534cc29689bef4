"""Memories of a file, ours or another store's, as requests."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from tmws_cli.output import counted
from tmws_cli.transfer.moments import moment_of
from tmws_core.domain.memory import AccessLevel, MemoryType, SharePermission
from tmws_core.errors import InvalidField, TmwsError
from tmws_core.lenient import understood
from tmws_core.messages.memory import CreateMemory, MemoryView
from tmws_core.wire import structure, unstructure

FIELDS = frozenset(field.name for field in attrs.fields(CreateMemory))

_ANSWER_ONLY = frozenset(field.name for field in attrs.fields(MemoryView)) - FIELDS
"""What our own exports say about a memory and a new one cannot have."""

_IDENTITIES = ("memory_id", "id", "key")
"""What stores call the identity of a memory, in the order in which it is looked for."""

_OWN_MARKS = frozenset({"memory_id", "version", "written_by"})
"""What only our own exports have."""

HISTORY_OF, HISTORY_TOTAL = "history_of", "history_total"
"""In our own exports: the memory that former texts belong to, and how many it has, here and behind it."""

_OF_WHOM = frozenset({"agent_id", "access_level", "shared_with", "idempotency_key"})
"""Fields of a request that are not about what the memory says."""

_TIMES = ("occurred_at", "expires_at")
_TYPES = frozenset(each.value for each in MemoryType)

OWN_NAMES = FIELDS | _ANSWER_ONLY | {*_IDENTITIES, HISTORY_OF, HISTORY_TOTAL, "history", "created_at"}
"""All that an object in our own format may have."""

_DIGEST_CHARACTERS = 32
"""Of a SHA-256 in hexadecimal: 128 bits are enough to tell texts apart."""


@attrs.frozen(kw_only=True)
class Record:
    """A memory in a file, checked.

    `place` says where it stands, for people. `identity` is its id in the store that it comes from, `superseded_by` the
    id there of the memory that replaced it, `writers` the agents on its list that may change it, and `former` the texts
    that it had before, oldest first; where it `goes_on`, more of them follow. With a `given_key`, the file names its
    idempotency key itself; otherwise that is made of what the memory is called, or for an `is_edition` of the place in
    a page, whatever stands there now; `page` names it. One that `is_claimed` said that it is another agent's,
    or that others read it, and was not believed. `file` tells files apart that have ids of their own each; Markdown
    pages have them together.
    """

    place: str
    request: CreateMemory
    identity: str | None = None
    superseded_by: str | None = None
    writers: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    goes_on: bool = False
    given_key: bool = False
    is_edition: bool = False
    page: str | None = None
    is_claimed: bool = False
    file: str = ""


@attrs.frozen(kw_only=True)
class Continuation:
    """Former texts that follow those of the memory before it, whose id in the store that it comes from it names."""

    place: str
    identity: str
    former: tuple[str, ...]
    file: str = ""


@attrs.frozen(kw_only=True)
class Refusal:
    """Something in a file that is no memory."""

    place: str
    reason: str


@attrs.frozen(kw_only=True)
class Skip:
    """Something in a file that holds nothing to remember, or what there may be a `number` of, each called by `words`.

    Those of one reason are told of in one: `place` says how many they are.
    """

    place: str
    reason: str
    number: int = 0
    words: tuple[str, str] = ("", "")

    @classmethod
    def of_many(cls, number: int, words: tuple[str, str], reason: str) -> "Skip":
        """Return the one for a number of what is called so, one and several."""
        return cls(place=counted(number, *words), reason=reason, number=number, words=words)


NO_TEXT = "holds no text"
"""Why something is passed over."""

NO_UTF8 = "is no UTF-8 (name its encoding with --encoding)"
"""Why bytes are refused that are no text, and what helps."""

Item = Record | Continuation | Refusal | Skip


def contained(place: str, items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of one place; whatever goes wrong there refuses what is left of it, and nothing else."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - what strangers write into files is not to end an import
        yield Refusal(place=place, reason=reason_of(error))


def reason_of(error: Exception) -> str:
    """Say what is wrong, whatever the error."""
    match error:
        case TmwsError():
            return error.message
        case UnicodeDecodeError():
            line = error.object.count(b"\n", 0, error.start) + 1
            reason = NO_UTF8 if error.encoding == "utf-8" else "is not in the encoding that --encoding names"
            return f"{reason}: line {line}, byte {error.start + 1} of it"
        case OSError():
            return f"cannot be read ({error.strerror or error})"
        case _:
            return f"cannot be taken ({type(error).__name__}: {error})"[:500]


def continuation_of(place: str, fields: Mapping[str, Any]) -> Continuation:
    """Return the former texts that fields with HISTORY_OF describe.

    Raises:
        InvalidField: they do not.
    """
    given = dict(fields)
    identity = given.pop(HISTORY_OF)
    former = _take_former(given)
    if given or not former or not isinstance(identity, str):
        raise InvalidField(name=HISTORY_OF, reason="stands with a history, and with nothing else")
    return Continuation(place=place, identity=identity, former=former)


def record_of(place: str, fields: Mapping[str, Any], *, ignore_unknown: bool, edition_of: str | None = None) -> Record:
    """Return the memory that the fields of a file describe.

    Without an idempotency key it gets one that depends on its identity there and its text, so that importing a file
    again stores nothing twice and a changed text is not taken for the one that was imported first. As the edition of a
    place in a page, its key depends on that place alone.

    Raises:
        InvalidField: a field is unknown or not valid.
    """
    given = dict(fields)
    identity = _identity(given)
    own = given.keys() >= _OWN_MARKS
    if own and given.get("access_level") != AccessLevel.SHARED.value:
        given.pop("shared_with", None)  # a list that was left over when the level changed has no effect
    writers = _take_writers(given)
    former = _take_former(given)
    total = given.pop(HISTORY_TOTAL, None) if own else None
    superseded_by = given.get("superseded_by")
    created_at = given.pop("created_at", None)
    dated = not own and given.get("occurred_at") is None and created_at is not None
    if dated:
        given["occurred_at"] = created_at
    given_key = given.get("idempotency_key") is not None
    if not given_key:
        given["idempotency_key"] = _key(identity, fields) if edition_of is None else f"import:{_digest(edition_of)}"
    dropped = {*_IDENTITIES, *_ANSWER_ONLY} | (given.keys() - FIELDS if ignore_unknown else set())
    wanted = {name: value for name, value in given.items() if name not in dropped and value is not None}
    try:
        request = _request_of(wanted)
    except InvalidField as error:
        raise (attrs.evolve(error, name="created_at") if dated and error.name == "occurred_at" else error) from None
    return Record(
        place=place,
        request=request,
        identity=identity,
        superseded_by=superseded_by if isinstance(superseded_by, str) else None,
        writers=writers,
        former=former,
        goes_on=bool(former) and isinstance(total, int) and total > len(former),
        given_key=given_key,
        is_edition=edition_of is not None,
    )


def exact_key(request: CreateMemory) -> str:
    """Return a key that depends on all that a request says."""
    return f"import:{_digest(unstructure(request))}"


def says_all_of(memory: MemoryView, request: CreateMemory) -> bool:
    """Tell whether a memory says all that a request does, whoever reads it."""
    said = {name: getattr(request, name) for name in FIELDS - _OF_WHOM}
    return all(value in (None, (), {}) or getattr(memory, name) == value for name, value in said.items())


def _request_of(wanted: dict[str, Any]) -> CreateMemory:
    """Return the request that fields stand for, strictly or by what they can only mean; a type of others is metadata.

    Raises:
        InvalidField: they can mean nothing, or more than one thing.
    """
    try:
        return structure(wanted, CreateMemory)
    except InvalidField:
        read = {name: moment_of(value) or value for name, value in wanted.items() if name in _TIMES}
        kind, metadata = wanted.get("memory_type"), wanted.get("metadata", {})
        if isinstance(kind, str) and kind.lower() not in _TYPES and isinstance(metadata, dict):
            read |= {"memory_type": None, "metadata": {"memory_type": kind, **metadata}}
        return structure(understood(wanted | read, CreateMemory), CreateMemory)


def _identity(given: Mapping[str, Any]) -> str | None:
    found = next((given[name] for name in _IDENTITIES if given.get(name) not in (None, "")), None)
    return None if found is None or isinstance(found, dict | list) else str(found)


def _take_writers(given: dict[str, Any]) -> tuple[str, ...]:
    """Bring the list of agents into the form of a request, and return those on it that may write."""
    shares = given.get("shared_with")
    if not isinstance(shares, list) or not all(isinstance(share, dict) and "agent_id" in share for share in shares):
        return ()
    given["shared_with"] = [share["agent_id"] for share in shares]
    return tuple(share["agent_id"] for share in shares if share.get("permission") == SharePermission.WRITE.value)


def _take_former(given: dict[str, Any]) -> tuple[str, ...]:
    history = given.pop("history", None) or []
    listed = history if isinstance(history, list) else [None]
    texts = [each.get("content") if isinstance(each, dict) else None for each in listed]
    if not all(isinstance(text, str) and text for text in texts):
        raise InvalidField(name="history", reason="is no list of former texts")
    return tuple(str(text) for text in texts)


def _key(identity: str | None, fields: Mapping[str, Any]) -> str:
    if identity is None:
        return f"import:{_digest(fields)}"
    return f"import:{_digest([identity, fields.get('namespace'), fields.get('content')])}"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
