"""The process that owns a database for all clients on this machine: `python -m tmws_mcp.owner DATABASE`.

It detaches itself from whoever starts it, says on one line of stdout that it listens or why it does not, and ends when
nobody has been connected for a while.
"""

import os
import signal
import sys
from contextlib import suppress

from tmws_adapters.local.finding import refusal
from tmws_adapters.local.greeting import Refused, line_of
from tmws_adapters.local.holding import Holding, hold
from tmws_adapters.local.place import Place


def main() -> None:
    """Leave a child behind that owns the database, if nobody does."""
    if os.fork():
        os._exit(0)
    os.setsid()
    sys.exit(own(Place(sys.argv[1])))


def own(place: Place) -> int:
    """Own a place until nobody needs it any more, and return the exit code."""
    try:
        with hold(place) as holding:
            if holding is None:
                _tell({"ok": True})
                return 0
            return _serve_or_say_why_not(place, holding)
    except Refused as refused:
        _tell({"ok": False, "error": refused.error})
        return 1


def _serve_or_say_why_not(place: Place, holding: Holding) -> int:
    """Serve; whatever goes wrong is in the log before the lock is free, and a client sees that it is."""
    try:
        return _serve(place, holding)
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence
        sys.excepthook(type(error), error, error.__traceback__)
        return 1


def _serve(place: Place, holding: Holding) -> int:
    """Serve once the settings are read; what takes long to import is imported when clients can connect already."""
    from tmws_adapters.logs import configure_logging  # noqa: PLC0415 - whoever loses the race needs none of this
    from tmws_adapters.settings import load_settings  # noqa: PLC0415
    from tmws_core.errors import TmwsError  # noqa: PLC0415

    try:
        settings = load_settings()
        configure_logging(settings)
        database = Place(str(settings.place)).database
    except TmwsError as error:
        told = {"code": error.code, "message": error.message, "field": error.field, "kind": error.kind.value}
        raise Refused({**told}) from None
    if database != place.database:
        raise refusal("configuration", f"The settings name {database}, not {place.database}", "invalid")
    _tell({"ok": True})

    from tmws_mcp.interpreter import undisturbed  # noqa: PLC0415

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it belongs to no terminal
    with undisturbed():
        import anyio  # noqa: PLC0415 - a second, with the SDK

        from tmws_mcp.owning import log_to, serve_clients  # noqa: PLC0415

    if settings.log_file is None:
        log_to(place.log)
    anyio.run(serve_clients, settings, holding)
    return 0


def _tell(report: dict[str, object]) -> None:
    """Tell whoever has started this process, who waits for one line; what is printed later goes to the log."""
    with suppress(BrokenPipeError):  # that process is gone, and others may need the owner
        os.write(1, line_of(report))
    os.dup2(2, 1)


if __name__ == "__main__":
    main()
