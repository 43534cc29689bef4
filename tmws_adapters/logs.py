"""Where log lines go and how they look; never to stdout, which belongs to the protocols."""

import json
import logging
import sys
from datetime import UTC, datetime

from tmws_adapters.private import make_directory
from tmws_adapters.settings import Settings
from tmws_core.errors import ConfigurationError


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


def configure_logging(settings: Settings) -> None:
    """Send the log of this process to stderr or to TMWS_LOG_FILE.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if settings.log_file is not None:
        try:
            make_directory(str(settings.log_file.parent))
            handler = logging.FileHandler(settings.log_file, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                setting="TMWS_LOG_FILE", reason=f"cannot be written: {error.strerror}", hint="Name a writable file"
            ) from None
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if settings.log_format == "json" else text)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "mcp", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
