"""What the driver need not say: that a call was given up, which happens all the time and is no fault."""

import logging

_GIVEN_UP = "query cancellation interrupted"
"""How psycopg 3.3 begins to say that a task which was cancelled did not wait for the server to end its statement, as no
scope of anyio lets it wait: the connection is closed, and replaced."""


def silence() -> None:
    """Let the driver's log leave out calls that were given up; whatever else it says is said."""
    logging.getLogger("psycopg").addFilter(_is_told)  # once, however often


def _is_told(record: logging.LogRecord) -> bool:
    return not (str(record.msg).startswith(_GIVEN_UP) and record.args == ("CancelledError",))
