"""MCP over standard input and output, passed on to the owner of the database, which is started where there is none.

An agent terminal starts this with every session, so that only the standard library is imported, and little of it. When
the owner is gone, the next one is introduced to the client, and asked again what has no answer and may be asked twice.
"""

import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Collection, Mapping

from tmws_adapters.local.finding import refusal, silent
from tmws_adapters.local.greeting import Refused, Silent
from tmws_adapters.local.limits import LINE_BYTES, TOO_LONG
from tmws_adapters.local.patience import GRACE_SECONDS
from tmws_adapters.local.place import Place
from tmws_adapters.local.starting import advice
from tmws_mcp.connection import Connection, connect
from tmws_mcp.ids import counted_as, id_at_end, id_in
from tmws_mcp.pipes import Incoming, Outgoing, Overlong
from tmws_mcp.unanswered import INVALID_REQUEST, Unanswered
from tmws_mcp.unanswered import refusal as unanswerable

_CHUNK = 64 * 1024
"""Bytes a read: the capacity of a pipe on Linux."""

_AHEAD = 1024 * 1024
"""Bytes that wait to be written before no more are read."""

_DEATHS = 5
_DEATHS_SECONDS = 60.0
"""So many owners may die within so many seconds; one dies of a crash, all of them of a request or the machine."""

_FAREWELL_SECONDS = 5.0
"""How long the client may take to read why there is no service."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_SHOWN = 60
"""Characters of a method's name in a line for a person."""

_HOW_TO_ASK = (
    'tmws: {method} without an "id" is a notification and gets no answer; ask like this: '
    '{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {{"name": "health_check"}}}}\n'
)


def serve_stdio(place: Place) -> None:
    """Pass lines on in both directions until the input ends, or SIGTERM or SIGINT comes, and all is answered.

    The owner is looked for when the first line has come. A second signal does not wait.

    Raises:
        Refused: there is no owner and none can be started, or it does not want this client; requests have been
            answered with the reason.
    """
    relay = Relay(place, 0, 1)
    for number in _SIGNALS:
        signal.signal(number, relay.interrupt)
    try:
        relay.run()
    finally:
        relay.close()


def refuse_stdio(error: Mapping[str, object]) -> None:
    """Answer whoever asks first that there is no service, and why; return then, or when nobody asks."""
    incoming, unanswered = Incoming(LINE_BYTES), Unanswered()
    while not unanswered.requests and (chunk := os.read(0, _CHUNK)):
        for line in incoming.feed(chunk):
            if isinstance(line, bytes):
                unanswered.take(line)
    for request in unanswered.requests.values():
        os.write(1, request.failed({**error}))


class Relay:
    """One client on two file descriptors, and the connection to the owner while there is one."""

    def __init__(self, place: Place, source: int, sink: int) -> None:
        self._place = place
        self._source = source
        self._sink = sink
        self._input = Incoming(LINE_BYTES)
        self._ended = False
        self._output = Outgoing()
        self._gone = False
        self._unanswered = Unanswered()
        self._told = False
        self._waiting: list[bytes] = []
        self._line: Connection | None = None
        self._was_connected = False
        self._deaths: deque[float] = deque(maxlen=_DEATHS)
        self._patience: float | None = None
        self._progress = 0.0
        self._heard = 0.0
        self._unheard: Silent | None = None
        self._woken, self._waker = os.pipe()

    def run(self) -> None:
        """Pass lines on until the client has gone, or all is answered behind the end of its input.

        Raises:
            Refused: see `serve_stdio`.
        """
        try:
            while not self._is_done():
                if self._line is None and self._waiting:
                    self._connect()
                self._end_sending()
                self._pass_on()
            if self._unheard is not None:
                raise self._unheard
        except Refused as refused:
            for request in self._unanswered.requests.values():
                self._output.put(request.failed(refused.error))
            self._say_farewell()
            raise

    def close(self) -> None:
        """Close what was opened here."""
        if self._line is not None:
            self._line.close()
        os.close(self._woken)
        os.close(self._waker)

    def interrupt(self, *_: object) -> None:
        """Read no more; what was asked is answered, unless it is the second time. A handler of signals."""
        if self._ended or not (self._unanswered.requests or self._output.size):
            # Further ones would meet an interpreter that ends.
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            raise SystemExit(0)
        self._ended = True
        os.write(self._waker, b"!")

    def _is_done(self) -> bool:
        if self._gone or self._left() == 0:
            return True
        return self._ended and self._line is None and not self._waiting and not self._output.size

    def _left(self) -> float | None:
        """Return how many more seconds to wait for something to happen, or None for ever."""
        if self._patience is None:
            return None
        return max(0.0, self._progress + self._patience - time.monotonic())

    def _silence(self) -> float | None:
        """Return how many more seconds the owner may say nothing while it owes an answer, or None for ever.

        One that works answers each request within the time that it may take, so that this is no bound on how many a
        client asks at once.
        """
        line = self._line
        oldest = next(iter(self._unanswered.requests.values()), None)
        if line is None or oldest is None:
            return None
        return max(0.0, max(self._heard, oldest.since) + line.timeout + GRACE_SECONDS - time.monotonic())

    def _give_up_on_silence(self, line: Connection) -> None:
        """Answer for an owner that owes answers and says nothing for too long; what it says later reaches nobody."""
        if self._silence() == 0:
            self._line = None
            line.close()
            self._wait_no_more(silent(self._place, line.timeout + GRACE_SECONDS), line.repeatable)

    def _wait_no_more(self, reason: Silent, repeatable: Collection[str] = ()) -> None:
        """Tell all who wait that the owner does not answer, and go on: it may, later."""
        self._waiting.clear()
        for answer in self._unanswered.give_up(reason.error, repeatable):
            self._output.put(answer)
        self._unheard = reason

    def _pass_on(self) -> None:
        """Wait until something can be read or written, and do that."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        line = self._line
        if not self._ended and (line is None or line.outgoing.size < _AHEAD):
            poll.register(self._source, select.POLLIN)
        if self._output.size:
            poll.register(self._sink, select.POLLOUT)
        if line is not None and (events := self._events(line)):
            poll.register(line.descriptor, events)
        left = min((each for each in (self._left(), self._silence()) if each is not None), default=None)
        ready = dict(poll.poll(None if left is None else 1000 * left))
        if self._woken in ready:
            os.read(self._woken, _CHUNK)
        if self._source in ready and not self._ended:
            self._read()
        if self._sink in ready:
            self._write()
        if line is not None and line.descriptor in ready:
            self._exchange(line, ready[line.descriptor])
        elif line is not None:
            self._give_up_on_silence(line)

    def _events(self, line: Connection) -> int:
        reading = select.POLLIN if self._output.size < _AHEAD else 0
        if not reading:
            self._heard = time.monotonic()  # it may say a lot, and nobody listens
        return reading | (select.POLLOUT if line.outgoing.size else 0)

    def _read(self) -> None:
        try:
            chunk = os.read(self._source, _CHUNK)
        except BlockingIOError:
            return
        self._ended = not chunk
        for line in self._input.feed(chunk) if chunk else self._input.end():
            self._take(line)

    def _take(self, line: bytes | Overlong) -> None:
        if isinstance(line, Overlong):
            named = id_in(line.begin)
            request_id = id_at_end(line.end) if named is None else named
            waited_for = counted_as(request_id) in self._unanswered.requests
            self._output.put(unanswerable(INVALID_REQUEST, TOO_LONG, None if waited_for else request_id))
        elif line.strip():
            unasked = self._unanswered.take(line)
            if unasked is not None and not self._told:
                self._told = True  # once: not every client reads stderr, and a full pipe would stop everything
                sys.stderr.write(_HOW_TO_ASK.format(method=ascii(unasked[:_SHOWN])))
            self._send(line)

    def _send(self, line: bytes) -> None:
        if self._line is None:
            self._waiting.append(line)
            return
        number = self._line.outgoing.put(line)
        for request in self._unanswered.requests.values():
            if request.line is line:
                request.number = number

    def _write(self) -> None:
        try:
            # What is writable takes PIPE_BUF bytes without blocking; more might block.
            self._output.write(self._sink, select.PIPE_BUF)
            self._progress = time.monotonic()
        except BlockingIOError:
            return
        except OSError:  # nobody reads answers any more
            self._gone = True

    def _exchange(self, line: Connection, events: int) -> None:
        try:
            if events & select.POLLOUT:
                line.send()
            if events & ~select.POLLOUT:
                self._receive(line)
        except BlockingIOError:
            return
        except OSError:
            self._lose(line)

    def _receive(self, line: Connection) -> None:
        received = line.receive()
        self._progress = self._heard = time.monotonic()
        if received is None:
            self._lose(line)
            return
        for answer in received:
            self._unanswered.settle(answer)
            self._output.put(answer)

    def _end_sending(self) -> None:
        """Tell the owner that no more comes: it answers what it has, for as long as it lets a request take."""
        line = self._line
        if self._ended and line is not None and not line.outgoing.size and not line.is_ended:
            line.end()
            self._patience = line.timeout + 2 * GRACE_SECONDS
            self._progress = time.monotonic()

    def _connect(self) -> None:
        if len(self._deaths) == _DEATHS and time.monotonic() - self._deaths[0] < _DEATHS_SECONDS:
            problem = f"The service died {_DEATHS} times within {_DEATHS_SECONDS:g} seconds"
            raise refusal("unavailable", f"{problem}. {advice(self._place)}")
        introduction = self._unanswered.introduction()
        try:
            line = connect(self._place, introduction, replace=not self._was_connected)
        except Silent as reason:
            self._wait_no_more(reason)
            return
        if line is None:
            self._deaths.append(time.monotonic())
            return
        if not self._was_connected and line.differing:
            sys.stderr.write(f"tmws: the running service keeps its own values of {', '.join(line.differing)}\n")
        self._was_connected = True
        self._unheard = None
        self._line = line
        self._heard = time.monotonic()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._send(each)

    def _lose(self, line: Connection) -> None:
        """Sort what is unanswered: ask again what was never taken or may be repeated, and tell that of the rest."""
        self._line = None
        line.close()
        if line.taken is None:
            self._deaths.append(time.monotonic())
        again = []
        for key, request in list(self._unanswered.requests.items()):
            if request.number > line.outgoing.written:
                continue
            taken = line.taken is None or request.number <= line.taken
            if taken and line.taken is not None and line.is_ended:
                del self._unanswered.requests[key]  # the owner has cut it off: it took too long
            elif taken and not request.may_be_repeated(line.repeatable):
                del self._unanswered.requests[key]
                self._output.put(request.unknown())
            elif (answer := request.outlived()) is None:
                again.append(request.line)
            else:
                del self._unanswered.requests[key]
                self._output.put(answer)
        self._waiting = again + line.outgoing.unwritten()
        if self._waiting:
            self._patience = None

    def _say_farewell(self) -> None:
        deadline = time.monotonic() + _FAREWELL_SECONDS
        poll = select.poll()
        poll.register(self._sink, select.POLLOUT)
        while self._output.size and not self._gone and time.monotonic() < deadline:
            if poll.poll(1000 * _FAREWELL_SECONDS):
                self._write()
