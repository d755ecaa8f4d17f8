"""What every deployment needs around the API: settings checked, request ids, headers, the log.

Updates change this file: do not edit it.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import IO, Any, cast

import click
import flask
import structlog
from flask import Flask
from flask.cli import FlaskGroup
from flask.helpers import get_debug_flag
from flask.logging import default_handler
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.typing import EventDict
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import is_running_from_reloader
from werkzeug.utils import cached_property
from werkzeug.wsgi import ClosingIterator, LimitedStream

from app.cors.policy import READERS

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Start = Callable[..., Any]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# An id from outside goes into headers and logs.
is_id = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z").match
is_host = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(:[0-9]+)?\Z").match

# HSTS is for a whole host: the proxy that has its certificate sends it.
SECURITY: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'"),
    # With no-referrer, browsers send `Origin: null` for a form of the API's own, over plain http.
    ("Referrer-Policy", "same-origin"),
]

# The id of the request that this thread answers, or answered last.
current_id: ContextVar[str | None] = ContextVar("current_id", default=None)


def init_app(app: Flask) -> None:
    """Put it around the app and its CORS policy; call it last.

    Raises ClickException, which `flask` prints without a traceback, if a setting is wrong.
    """
    config = app.config
    for name, value in (("PROXIES", 0), ("LOG_LEVEL", "INFO"), ("LOG_FORMAT", "json")):
        config.setdefault(name, value)
    if isinstance(hosts := config["TRUSTED_HOSTS"], str):  # from the environment
        config["TRUSTED_HOSTS"] = hosts.replace(",", " ").split()
    check(config)
    if serves() and not config["SECRET_KEY"] and (module := user_of_session(app)):
        raise click.ClickException(
            "SECRET_KEY: set FLASK_SECRET_KEY, or write it into .env (.env.example says how);"
            f" tests take it from tests/conftest.py: {module} uses the session, which it signs"
        )
    app.logger.removeHandler(default_handler)
    log = Log(config["LOG_LEVEL"], as_text=config["LOG_FORMAT"] == "text")
    if app.request_class is Flask.request_class:
        app.request_class = Request
    others = "cross-origin" if config["SESSION_COOKIE_SAMESITE"] == "None" else "same-site"
    app.wsgi_app = Boundary(app.wsgi_app, others, log)  # type: ignore[method-assign]
    # Outside all: the policy, the redirects and the log see what the proxy was asked for.
    if count := config["PROXIES"]:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=count
        )
    if serves():
        policy = app.extensions["cors_policy"]
        for own in (policy, *policy.paths.values()):
            parts = {part: getattr(own, part) for part in ("path", *READERS)}
            lists = {name: cut(", ".join(it)) for name, it in parts.items() if type(it) is tuple}
            structlog.get_logger().info("start", **{**parts, **lists})


def check(config: dict[str, Any]) -> None:
    hosts = config["TRUSTED_HOSTS"]
    are_hosts = isinstance(hosts, (list, tuple)) and hosts and all(map(is_host, map(str, hosts)))
    for name, meant, is_right in (
        ("PROXIES", "how many proxies are in front, such as 1", is_count(config["PROXIES"])),
        ("MAX_CONTENT_LENGTH", "1000000", is_count(config["MAX_CONTENT_LENGTH"] or 0)),
        ("LOG_LEVEL", f"one of {', '.join(LEVELS)}", config["LOG_LEVEL"] in LEVELS),
        ("LOG_FORMAT", "json or text", config["LOG_FORMAT"] in ("json", "text")),
        ("TRUSTED_HOSTS", "api.example.com, or .example.com for all", hosts is None or are_hosts),
    ):
        if not is_right:
            raise click.ClickException(f"{name}: write {meant}, not {config[name]!r}")


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def user_of_session(app: Flask) -> str | None:
    """Return a module of the app's own that has Flask's session, None if none has."""
    package = app.import_name.partition(".")[0]
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] == package and vars(module).get("session") is flask.session:
            return name
    return None


def serves() -> bool:
    """Return whether this process serves requests: that of `flask db upgrade` does not."""
    context = click.get_current_context(silent=True)  # granian, too, has one
    if context is None or not isinstance(context.find_root().command, FlaskGroup):
        return True
    reloads = context.params.get("reload")
    restarts = get_debug_flag() if reloads is None else reloads
    return context.info_name == "run" and (is_running_from_reloader() or not restarts)


class Boundary:
    """Gives each request an id and a line in the log, and each response security headers.

    `others` is who may use a response without CORS, as an image (Fetch, section 3.7).
    """

    def __init__(self, app: Any, others: str, log: "Log") -> None:
        self.app = app
        self.log = log
        # By whether every site may read the response, and whether it may be stored.
        self.headers: dict[tuple[bool, bool], Headers] = {}
        for public in (False, True):
            policy = ("Cross-Origin-Resource-Policy", "cross-origin" if public else others)
            self.headers[public, True] = [*SECURITY, policy]
            self.headers[public, False] = [*SECURITY, policy, ("Cache-Control", "no-store")]
        self.names = {name.lower() for name, _ in self.headers[True, False]}

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        began = time.perf_counter()
        request_id = environ.get("HTTP_X_REQUEST_ID")
        if request_id is None or not is_id(request_id):
            request_id = os.urandom(16).hex()
        environ["app.request_id"] = request_id
        current_id.set(request_id)
        sent: str | None = None

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            """Send the headers: a view's own stay, but for the id, which is that of the log."""
            nonlocal sent
            sent = status
            own = {name.lower() for name, _ in headers}
            # What a user sees after a log-in is private, and errors pass.
            private = "HTTP_COOKIE" in environ or "HTTP_AUTHORIZATION" in environ
            stored = not private and status < "4" and "set-cookie" not in own
            ours = self.headers[environ.get("cors.is_public", False), stored]
            if not own.isdisjoint(self.names):
                ours = [header for header in ours if header[0].lower() not in own]
            if "x-request-id" in own:
                headers = [header for header in headers if header[0].lower() != "x-request-id"]
            sent_headers = [*headers, *ours, ("X-Request-ID", request_id)]
            return start_response(status, sent_headers, exc_info)

        if not self.log.has_requests:
            return self.app(environ, start)  # type: ignore[no-any-return]

        def log() -> None:
            self.log.request(environ, sent, time.perf_counter() - began)

        try:
            return ClosingIterator(self.app(environ, start), log)
        except Exception:
            log()
            raise


class Log:
    """Makes structlog and logging write alike to standard error: a JSON object a line, or text."""

    def __init__(self, level: str, as_text: bool) -> None:
        self.as_text = as_text
        self.has_requests = level in ("DEBUG", "INFO")
        self.console = structlog.dev.ConsoleRenderer(
            timestamp_key="time", pad_event_to=0, sort_keys=False, colors=sys.stderr.isatty()
        )
        handler = logging.StreamHandler()
        handler.setFormatter(
            ProcessorFormatter(
                foreign_pre_chain=[add_logger_name],
                processors=[
                    ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    self.render,
                ],
            )
        )
        structlog.configure(
            processors=[ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.stdlib.LoggerFactory(),
        )
        # The handlers of servers and of migrations would write each line once more. What writes
        # to a file, or collects records for tests, is of another type.
        for name in ("", "gunicorn.error", "_granian", "alembic", "sqlalchemy"):
            logger = logging.getLogger(name)
            others = [it for it in logger.handlers if type(it) is not logging.StreamHandler]
            logger.handlers = others if name else [*others, handler]
            logger.propagate = True
        logging.getLogger().setLevel(level)
        server = logging.getLogger("werkzeug")
        server.propagate = False  # its banner has several lines, which are for people
        server.addFilter(lambda record: record.levelno > logging.INFO or not record.args)

    def request(self, environ: Environ, status: str | None, seconds: float) -> None:
        """Write the line of a request, in which no value of a header or query is but the origin's.

        Not by way of logging, which would take as long as the rest of the request.
        """
        route = environ.get("cors.route")  # preflights, refusals and what is not found have none
        path = None if route else environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        event: EventDict = {
            "event": "request",
            "method": cut(environ["REQUEST_METHOD"]),
            "route": route and route.rule,
            "path": cut(path),
            "status": status and int(status[:3]),
            "duration": round(seconds * 1000, 3),
            "client": cut(environ.get("REMOTE_ADDR")),
            "origin": cut(environ.get("HTTP_ORIGIN")),
            "cors": environ.get("cors.verdict"),
        }
        with suppress(OSError, ValueError):  # the disk is full, or the stream is closed
            sys.stderr.write(f"{self.render(None, 'info', event)}\n")

    def render(self, _logger: Any, level: str, event: EventDict) -> str:
        now, what = time.time(), event.pop("event")
        if not self.as_text:
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f"{now % 1:.3f}Z"[1:]
            start = {"time": at, "level": level, "event": what, "id": current_id.get()}
            return encode({**start, **event})
        if what == "request":
            target = event.pop("route") or event.pop("path")
            what = (
                f"{event.pop('method')} {target} {event.pop('status')} {event.pop('duration')} ms"
            )
        about = {"event": what, **event, "id": current_id.get()}
        shown = {name: printable(value) for name, value in about.items() if value is not None}
        if failure := event.get("exception"):
            # Indented: a message with a newline in it cannot begin a record.
            shown["exception"] = "\n".join(f"  {printable(line)}" for line in failure.splitlines())
        return str(self.console(None, level, {"time": time.strftime("%H:%M:%S"), **shown}))


# ASCII only: no character in it ends a line or steers a terminal.
encode = json.JSONEncoder(default=repr, skipkeys=True, separators=(",", ":")).encode


def printable(value: Any) -> Any:
    is_text = isinstance(value, str) and not value.isprintable()
    return value.encode("unicode_escape").decode() if is_text else value


def cut(text: str | None) -> str | None:
    """Shorten a value: a line up to 4096 bytes is written to a pipe in one piece."""
    return text and text[:200]


class Request(flask.Request):
    @cached_property
    def stream(self) -> IO[bytes]:
        """The body; reading it raises BadRequest or RequestEntityTooLarge."""
        stream = super().stream
        if self.content_length is None and isinstance(stream, LimitedStream):
            whole = WholeStream(self.environ["wsgi.input"], stream.limit, is_max=True)
            return cast(IO[bytes], whole)
        return stream


class WholeStream(LimitedStream):
    """A chunked body. Werkzeug would pass as much as the limit allows as if it were the whole."""

    def readinto(self, buffer: Any) -> int | None:
        try:
            return super().readinto(buffer)
        except HTTPException:
            raise
        except Exception as error:  # each server has its own
            raise BadRequest("The body has a malformed chunk.") from error

    def readall(self) -> bytes:
        body = super().readall()
        if self.is_exhausted and self._stream.read(1):
            raise RequestEntityTooLarge
        return body
