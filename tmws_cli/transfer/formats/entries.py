"""What the entries of all other programs have in common on their way to a memory."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from tmws_cli.transfer.front import readable, written_in
from tmws_cli.transfer.labels import distinct_tags, told_fields
from tmws_cli.transfer.markdown import pieces
from tmws_cli.transfer.moments import moment_of
from tmws_cli.transfer.records import FIELDS, NO_TEXT, Item, Record, Skip, record_of
from tmws_core.domain.memory import CONTENT_BYTES

_ENTRIES = ("entry", "entries")
_LABEL_CHARACTERS = 256
_LASTING_CHARACTERS = 16
"""From this length on, the id of an entry is nobody else's, and a changed text is an edition of it."""

MEANT = frozenset({"importance", "memory_type", "occurred_at", "expires_at"})
"""Fields that are the same elsewhere; what others call by the names of the rest is something else, most of all who may
read it."""

TITLES = ("title", "name", "subject")
"""What programs call the heading of a text, in the order in which it is looked for."""


@attrs.frozen(kw_only=True)
class Entry:
    """An entry of another program: its text, what else is said of it, and the fields that follow from where it stands.

    `identity` is its id there; that of a program that is not known is one in its file alone. Of `told`, what no field
    can be becomes metadata, and so does what is not `meant`. `aside` says why many like it have no text, if they do.
    """

    program: str
    content: Any
    identity: str | None = None
    is_known: bool = True
    told: Mapping[str, Any] = attrs.field(factory=dict)
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    meant: frozenset[str] = MEANT
    aside: str = ""

    def items(self, place: str, file: str | None) -> Iterator[Item]:
        """Yield it as a memory, or several if its text is too long; `file` tells its file from others, None if nothing.

        Raises:
            InvalidField: it has a text that no memory can have.
        """
        content = self.content
        texts = cut(readable(content)) if isinstance(content, str) else [] if content is None else [content]
        if not texts:
            yield Skip.of_many(1, _ENTRIES, self.aside) if self.aside else Skip(place=place, reason=NO_TEXT)
        for number, text in enumerate(texts):
            yield self._record(place, file, text, f"/{number}" if number else "")

    def _record(self, place: str, file: str | None, text: Any, piece: str) -> Record:
        told = {name: value for name, value in self.told.items() if value is not None}
        known = told_fields(told, written=written_in(told), not_meant=FIELDS - self.meant)
        tags = distinct_tags((*known.get("tags", ()), *self.fields.get("tags", ())))[0]
        fields = known | {name: value for name, value in self.fields.items() if value is not None}
        fields |= {"content": text, "tags": tags, "source": label(fields.get("source") or self.program)}
        within = "" if self.is_known else file
        identity = None if self.identity is None else f"{self.identity}{piece}"
        if self.identity is None or within is None or len(self.identity) < _LASTING_CHARACTERS:
            return record_of(place, fields | {"memory_id": identity}, ignore_unknown=False)
        spot = "\0".join(filter(None, (self.program, within, identity)))
        return record_of(place, fields, ignore_unknown=False, edition_of=spot)


@attrs.frozen(kw_only=True)
class Turn:
    """What somebody said in a conversation; `moment` is a time in any form, or None."""

    identity: str
    role: str
    text: str
    moment: Any = None
    told: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Conversation:
    """Turns of one session, in order."""

    program: str
    identity: str
    title: str
    begun: Any

    def entries(self, turns: Iterable[Turn], number: int = 0) -> Iterator[Entry]:
        """Yield one entry a turn, or more where its text is too long for one memory; the first one has the number.

        A turn without a time has that of the one before it.
        """
        moment = moment_of(self.begun)
        for turn in turns:
            moment = moment_of(turn.moment) or moment
            for piece, text in enumerate(cut(turn.text)):
                yield Entry(
                    program=self.program,
                    content=text,
                    identity=f"{self.identity}/{turn.identity}/{piece}",
                    told={"role": turn.role, "title": self.title or None, **turn.told},
                    fields={
                        "session_id": label(f"{self.program}/{self.identity}"),
                        "sequence": number,
                        "occurred_at": moment,
                        "source": f"{self.program}: {self.title}" if self.title else None,
                    },
                )
                number += 1


@attrs.define
class Turns:
    """A session that a program has written down line by line: `entries` takes the lines in their order.

    `_turn_of` returns what somebody said in a line, or None; a turn without an id has the number of its line. It notes
    the `identity` of the session, what is `told` of all of it, and whether it `is_aside`: that of an agent within one.
    """

    _program: str
    _turn_of: Callable[["Turns", Mapping[str, Any]], Turn | None]
    identity: str = attrs.field(default="", init=False)
    told: Mapping[str, Any] = attrs.field(factory=dict, init=False)
    is_aside: bool = attrs.field(default=False, init=False)
    _line: int = attrs.field(default=0, init=False)
    _number: int = attrs.field(default=0, init=False)
    _moment: str | None = attrs.field(default=None, init=False)

    def entries(self, values: Mapping[str, Any]) -> Iterator[Entry]:
        """Yield what was said in the next line: nothing in most, one entry, or several if it is too long for one."""
        self._line += 1
        turn = self._turn_of(self, values)
        if turn is None:
            return
        self.identity = self.identity or digest_of(turn.moment, turn.text)
        self._moment = moment_of(turn.moment) or self._moment
        whole = Conversation(program=self._program, identity=self.identity, title="", begun=self._moment)
        named = turn if turn.identity else attrs.evolve(turn, identity=f"line {self._line}")
        for entry in whole.entries([named], self._number):
            self._number += 1
            yield entry


def below_title(text: Any, told: dict[str, Any]) -> Any:
    """Return a text below its title, as a section stands below its heading, where search finds it.

    The title is taken out of what is `told` of the text. One that the text begins with already does not stand there
    twice; where there is no text, it is the text.
    """
    name = name_of_text(told, TITLES)
    if name is None or not isinstance(text, str | None):
        return text
    title = told.pop(name).strip()
    if text is None or not text.strip():
        return title
    first = text.lstrip("# \t\r\n").partition("\n")[0].rstrip()
    return text if first == title else f"{title}\n\n{text}"


def cut(text: str) -> list[str]:
    """Return a text in pieces that a memory can hold, cut as `pieces` are; none if it is blank."""
    whole = len(text.encode("utf-8", "replace")) <= CONTENT_BYTES
    return [piece for piece in ([text] if whole else pieces(text, CONTENT_BYTES)) if piece.strip()]


def label(text: str) -> str:
    """Return a text as a session id or a source."""
    line = " ".join(readable(text).split())
    return line if len(line) <= _LABEL_CHARACTERS else f"{line[: _LABEL_CHARACTERS - 1]}…"


def digest_of(*facts: Any) -> str:
    """Return what tells a conversation without an id from others."""
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:32]


def name_of_text(values: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first of the names under which there is a text, blank ones passed over; None if there is none."""
    return next((name for name in names if text_of(values.get(name)).strip()), None)


def first_text(values: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the text under that name, or the empty one."""
    name = name_of_text(values, names)
    return "" if name is None else text_of(values[name])


def identity_of(values: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first id under one of the names, which is a text or a number, or None."""
    given = (values.get(name) for name in names)
    return next((str(each) for each in given if isinstance(each, str | int) and str(each).strip()), None)


def text_of(value: Any) -> str:
    """Return a value as a text, and what is none as the empty one."""
    return value if isinstance(value, str) else ""


def objects_in(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list, or nothing where there is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
