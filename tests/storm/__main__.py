"""A random time of cancels, kills and nonsense: `python -m tests.storm --minutes 60 --stack sqlite|production`.

Ends with 0 if nothing was lost, leaked or stuck; what it leaves in `--directory` are the logs of its processes. On a
machine that others use, TMWS_STORM_STUCK gives the seconds after which something hangs.
"""

import argparse
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.storm.running import Opening, production, storm, strike_for
from tests.storm.worlds import Embedded

ROUND_SECONDS = 60.0
"""How long clients act before all is checked."""


@contextmanager
def embedded() -> Iterator[Opening]:
    """Yield what needs no server."""
    yield Embedded.open


STACKS = {"sqlite": embedded, "production": production}


def main() -> int:
    """Run one storm, and print what it did and found."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--stack", choices=STACKS, default="sqlite")
    parser.add_argument("--seed", default=str(secrets.randbelow(2**32)))
    parser.add_argument("--directory", type=Path, help="a new one, else a temporary one")
    given = parser.parse_args()
    directory = given.directory or Path(tempfile.mkdtemp(prefix="tmws-storm-"))
    sys.stdout.write(f"seed {given.seed}, logs in {directory}\n")
    sys.stdout.flush()
    with STACKS[given.stack]() as opened:
        model = storm(
            directory,
            given.seed,
            opened,
            minutes=given.minutes,
            strike=partial(strike_for, ROUND_SECONDS),
            told=sys.stdout,
        )
    return 1 if model.violations else 0


if __name__ == "__main__":
    sys.exit(main())
