"""The command `tmws stop`: ending the owner process of a database."""

import json
import time

import click

from tmws_adapters.local.finding import knock, refusal, silent
from tmws_adapters.local.greeting import Refused, Stranger
from tmws_adapters.local.lock import is_taken
from tmws_adapters.local.patience import GRACE_SECONDS, told_here
from tmws_adapters.local.record import Record
from tmws_cli.options import invocation_of

_POLL_SECONDS = 0.02
"""How often to look whether it has ended."""


@click.command("stop")
@click.pass_context
def stop(context: click.Context) -> None:
    """End the owner process of the database, which finishes what it is doing.

    A terminal that is connected starts another one with its next request. A server is ended by a signal to its process.
    """
    invocation = invocation_of(context)
    place, variables = invocation.place()
    seconds = told_here(variables) + 2 * GRACE_SECONDS
    link = knock(place, seconds) if is_taken(place.lock) else None
    if link is None and is_taken(place.lock):
        raise silent(place, seconds)
    if link is not None:
        try:
            if link.record.kind != "owner":
                raise _served(link.record)
            link.speak({"speak": "stop"}, seconds)
        except (OSError, Stranger):
            raise refusal("unavailable", f"Process {link.record.pid} hung up before it had ended. Try again") from None
        finally:
            link.socket.close()
        deadline = time.monotonic() + seconds
        while is_taken(place.lock):
            if time.monotonic() > deadline:
                raise silent(place, seconds)
            time.sleep(_POLL_SECONDS)
    pid = None if link is None else link.record.pid
    if invocation.as_json:
        print(json.dumps({"success": True, "stopped": pid}))
    else:
        print("Nothing is running" if pid is None else f"Stopped process {pid}")


def _served(record: Record) -> Refused:
    """Return what to tell who wants to stop a server."""
    who = f"Process {record.pid} at {record.url} is a server that somebody started with `tmws serve`"
    return refusal("forbidden", f"{who}: end it with `kill {record.pid}`, or Ctrl-C where it runs", "forbidden")
