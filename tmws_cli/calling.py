"""Running an operation: the owner of the database is asked where there is one, or else the database is opened."""

import gc
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tmws_adapters.local.asking import Lost, TooLong, ask, running
from tmws_adapters.local.patience import told_here
from tmws_cli.descriptions import described
from tmws_cli.options import Invocation

if TYPE_CHECKING:
    from tmws_adapters.settings import Settings


def tell_of_no_store(settings: "Settings") -> None:
    """Say on stderr that there is no database yet where one is to be read: its path may be a wrong one."""
    if not settings.uses_postgres and not settings.place.exists():
        print(
            f"warning: there was no store at {settings.place} yet; --home or TMWS_HOME names another", file=sys.stderr
        )


def call(invocation: Invocation, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run an operation by its name in the operator's name, and return its answer as JSON values.

    What only reads is asked again where the connection broke.

    Raises:
        Refused: the owner does not do it.
        TmwsError: see `App.call_wire`, and OutcomeUnknown.
    """
    place, variables = invocation.place()
    reads = described()[name].effect == "read"
    for _ in range(2 if reads else 1):
        link = running(place, variables, told_here(variables))
        if link is None:
            break
        try:
            return ask(link, name, arguments)
        except ValueError:
            break  # the checks of this process say what is wrong with them
        except (Lost, TooLong, TimeoutError) as error:
            if not (reads and isinstance(error, Lost)):
                from tmws_cli.opening import failure  # noqa: PLC0415 - see below

                raise failure(error, name, link) from None
    # What opens a database takes 0.3 s to import, and whoever asks the owner has no use for it.
    gc.disable()  # what is imported stays, and the process ends after this: a tenth less of the CPU
    from tmws_cli.opening import run  # noqa: PLC0415

    settings = invocation.settings(reads=reads)
    if reads:
        tell_of_no_store(settings)
    answer = run(settings, name, arguments)
    gc.freeze()  # or the end of the process looks through everything that it has, for 50 ms
    return answer
