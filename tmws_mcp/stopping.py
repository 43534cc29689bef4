"""How a server is told to stop."""

import signal
import sys

import anyio
import attrs


@attrs.frozen
class Stop:
    """The wish that a server ends: once, and it finishes what runs; again, and it does not."""

    asked: anyio.Event = attrs.field(factory=anyio.Event)
    again: anyio.Event = attrs.field(factory=anyio.Event)

    def ask(self) -> None:
        """Wish it, once more if it was wished before."""
        (self.again if self.asked.is_set() else self.asked).set()


async def heed_signals(stop: Stop) -> None:
    """Take SIGTERM and SIGINT for the wish, for as long as it is let, and SIGHUP where it says that a terminal closes.

    Otherwise it comes from who has renamed the log file, which is made anew without being told.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number != signal.SIGHUP or (sys.stdin is not None and sys.stdin.isatty()):
                stop.ask()
