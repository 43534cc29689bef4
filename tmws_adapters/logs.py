"""Where log lines go and how they look; never to stdout, which belongs to the protocols."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler

from tmws_adapters.private import PRIVATE_FILE, make_directory
from tmws_adapters.settings import Settings
from tmws_core.errors import ConfigurationError

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)  # not on Windows

NOISY = ("httpx", "httpcore", "mcp", "alembic", "uvicorn.access")
"""The loggers of libraries that are asked for warnings alone, or for less where TMWS_LOG_LEVEL says so."""


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _LogFile(WatchedFileHandler):
    """A file that is made for this user alone, and made anew once it was renamed or deleted, as logrotate does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; where the file cannot be opened anew, that is said on stderr, and whoever logs goes on."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        # A pipe without a reader is an error rather than waited for; with one, as behind /dev/stdout, it is written to.
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _AT_ONCE, PRIVATE_FILE)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "w", encoding=self.encoding)


def configure_logging(settings: Settings) -> None:
    """Send the log of this process to stderr or to TMWS_LOG_FILE.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if settings.log_file is not None:
        try:
            make_directory(str(settings.log_file.parent))
            handler = _LogFile(settings.log_file, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                setting="TMWS_LOG_FILE", reason=f"cannot be written: {error.strerror}", hint="Name a writable file"
            ) from None
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if settings.log_format == "json" else text)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
