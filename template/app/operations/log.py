"""The log: one line a record on standard error, whether structlog or logging writes it."""

import json
import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog
from flask import Flask
from flask.logging import default_handler
from structlog.dev import ConsoleRenderer
from structlog.processors import format_exc_info
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.typing import EventDict, Processor

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The id of the request that this thread answers, or answered last.
current_id: ContextVar[str | None] = ContextVar("current_id", default=None)

# What is longer is cut: a line up to 4096 bytes is written to a pipe in one piece.
LONGEST_VALUE = 200


class Stderr:
    """Standard error as it is at the time. What it does not take is lost: no request fails.

    It is a file in so far as structlog and logging need one: they write a line and flush.
    """

    def write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
        except (OSError, ValueError):
            return  # The disk is full, or the stream is closed.

    def flush(self) -> None:
        """Do nothing: standard error keeps no whole line back."""


stderr = cast(TextIO, Stderr())


class Format:
    """How a record is written: as JSON, or as text for a terminal."""

    def __init__(self, as_text: bool) -> None:
        self.now = local_time if as_text else utc_time
        self.render = as_text_with(sys.stderr.isatty()) if as_text else as_json

    def stamp(self, _logger: Any, level: str, event: EventDict) -> EventDict:
        what, request_id = event.pop("event"), current_id.get()
        return {"time": self.now(), "level": level, "event": what, "id": request_id, **event}


def configure(level: str, form: Format) -> None:
    """Let structlog and logging write in this format, from a level on."""
    processors: list[Processor] = [form.stamp, format_exc_info, form.render]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.WriteLogger(stderr),
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *processors],
        )
    )
    logging.getLogger().setLevel(level)
    # The lines of servers and of migrations take the same way; their own handlers would write each
    # line once more. What writes to a file, or collects records for tests, is of another type.
    for name in ("", "gunicorn.error", "_granian", "alembic", "sqlalchemy"):
        logger = logging.getLogger(name)
        logger.handlers = [it for it in logger.handlers if type(it) is not logging.StreamHandler]
        logger.propagate = True
    logging.getLogger().addHandler(handler)


def take_over(app: Flask) -> None:
    """Keep Flask and its development server from writing the same lines in their own way."""
    app.logger.removeHandler(default_handler)
    server = logging.getLogger("werkzeug")
    server.propagate = False  # Its banner has several lines, which are for people.
    server.addFilter(is_no_request)


def is_no_request(record: logging.LogRecord) -> bool:
    """Of werkzeug's records of level INFO, only those about requests have arguments."""
    return record.levelno > logging.INFO or not record.args


def requests(
    form: Format,
) -> "Callable[[WSGIEnvironment, dict[str, Any], str | None, float], None] | None":
    """Return what logs a request, None if the level is above INFO."""
    if not logging.getLogger().isEnabledFor(logging.INFO):
        return None
    now, render = form.now, form.render

    def log(
        environ: "WSGIEnvironment", notes: dict[str, Any], status: str | None, seconds: float
    ) -> None:
        """Log a request, without any value of a header or query but the origin's.

        Not by way of structlog's logger, which would copy the record three times.
        """
        route = notes.get("route")
        client, origin = environ.get("REMOTE_ADDR"), environ.get("HTTP_ORIGIN")
        event = {
            "time": now(),
            "level": "info",
            "event": "request",
            "id": current_id.get(),
            "method": environ["REQUEST_METHOD"][:LONGEST_VALUE],
            # Preflights, refusals and what is not found have no route.
            "route": None if route is None else route.rule,
            "path": path_of(environ) if route is None else None,
            "status": None if status is None else int(status[:3]),
            "duration": round(seconds * 1000, 3),
            "client": None if client is None else client[:LONGEST_VALUE],
            "origin": None if origin is None else origin[:LONGEST_VALUE],
            "cors": notes.get("verdict"),
        }
        stderr.write(str(render(None, "info", event)) + "\n")

    return log


def path_of(environ: "WSGIEnvironment") -> str:
    path: str = environ["PATH_INFO"][:LONGEST_VALUE]
    return path.encode("latin-1", "replace").decode(errors="replace")


def utc_time() -> str:
    now = time.time()
    return f"{utc_second(int(now))}.{int(now % 1 * 1000):03}Z"


@lru_cache(maxsize=1)
def utc_second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


def local_time() -> str:
    return time.strftime("%H:%M:%S")


# ASCII only: no character in it ends a line or steers a terminal.
encode = json.JSONEncoder(default=repr, skipkeys=True, separators=(",", ":")).encode


def as_json(_logger: Any, _level: str, event: EventDict) -> str:
    return encode(event)


def as_text_with(colors: bool) -> Processor:
    render = ConsoleRenderer(timestamp_key="time", pad_event_to=0, sort_keys=False, colors=colors)
    return lambda logger, level, event: render(logger, level, readable(event))


def readable(event: EventDict) -> EventDict:
    """Shorten a record for a terminal, which no value in it can steer."""
    if event["event"] == "request" and "duration" in event:
        what = event.pop("route") or event["path"]
        event["event"] = f"{event.pop('method')} {what} {event.pop('status')}"
        event["duration"] = f"{event['duration']}ms"
        del event["path"], event["client"]
    event["id"] = event.pop("id")  # at the end
    exception = event.pop("exception", None)
    event = {name: escaped(value) for name, value in event.items() if value is not None}
    if exception is not None:
        # Indented: a message with a newline in it cannot begin a record.
        event["exception"] = "\n".join(f"  {escaped(line)}" for line in exception.splitlines())
    return event


def escaped(value: Any) -> Any:
    if isinstance(value, str) and not value.isprintable():
        return value.encode("unicode_escape").decode()
    return value
