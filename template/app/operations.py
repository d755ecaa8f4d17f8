"""Around the API: settings checked, request ids, security headers, the log. Do not edit it."""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import click
import flask
import structlog
from flask import Flask
from flask.cli import FlaskGroup
from flask.helpers import get_debug_flag
from flask.logging import default_handler
from structlog.stdlib import ProcessorFormatter
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import is_running_from_reloader

from app.cors.gate import Environ, Headers, Start
from app.cors.policy import READERS

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
is_host = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(:[0-9]+)?\Z").match
is_id = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z").match  # it goes into headers and logs

# HSTS is for a whole host: the proxy that has its certificate sends it.
SECURITY: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'"),
    # With no-referrer, browsers send `Origin: null` for a form of the API's own, over plain http.
    ("Referrer-Policy", "same-origin"),
]

current_id: ContextVar[str | None] = ContextVar("current_id", default=None)  # of the request


def init_app(app: Flask) -> None:
    """Put it around the app and its policy. Raises ClickException where a setting is wrong."""
    config = app.config
    for name, value in (("PROXIES", 0), ("LOG_LEVEL", "INFO"), ("LOG_FORMAT", "json")):
        config.setdefault(name, value)
    if isinstance(hosts := config["TRUSTED_HOSTS"], str):  # from the environment
        config["TRUSTED_HOSTS"] = hosts.replace(",", " ").split()
    check(app)
    app.logger.removeHandler(default_handler)
    log = Log(config["LOG_LEVEL"], as_text=config["LOG_FORMAT"] == "text")
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
            lists = {part: ", ".join(it)[:200] for part, it in parts.items() if type(it) is tuple}
            structlog.get_logger().info("start", **{**parts, **lists})


def check(app: Flask) -> None:
    config = app.config
    hosts, limit = config["TRUSTED_HOSTS"], config["MAX_CONTENT_LENGTH"]
    are_hosts = isinstance(hosts, (list, tuple)) and hosts and all(map(is_host, map(str, hosts)))
    for name, meant, is_right in (
        ("PROXIES", "how many proxies are in front, such as 1", is_count(config["PROXIES"])),
        ("MAX_CONTENT_LENGTH", "1000000", limit is None or is_count(limit)),
        ("LOG_LEVEL", f"one of {', '.join(LEVELS)}", config["LOG_LEVEL"] in LEVELS),
        ("LOG_FORMAT", "json or text", config["LOG_FORMAT"] in ("json", "text")),
        ("TRUSTED_HOSTS", "api.example.com, or .example.com for all", hosts is None or are_hosts),
    ):
        if not is_right:
            raise click.ClickException(f"{name}: write {meant}, not {config[name]!r}")
    package = f"{app.import_name.partition('.')[0]}."
    own = [module for name, module in [*sys.modules.items()] if f"{name}.".startswith(package)]
    uses_session = any(vars(module).get("session") is flask.session for module in own)
    if uses_session and not config["SECRET_KEY"] and serves():
        raise click.ClickException(
            "SECRET_KEY: set FLASK_SECRET_KEY, or write it into .env (.env.example says how);"
            " tests take it from tests/conftest.py. It signs the session, which the app uses"
        )


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


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

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            """Send the headers: a view's own stay, but for the id, which is that of the log."""
            environ["app.status"] = status[:3]
            own = {name.lower() for name, _ in headers}
            # What a user sees after a log-in is private, and errors pass.
            private = "HTTP_COOKIE" in environ or "HTTP_AUTHORIZATION" in environ
            stored = not private and status < "4" and "set-cookie" not in own
            ours = self.headers[environ.get("cors.is_public", False), stored]
            if not own.isdisjoint(self.names):
                ours = [header for header in ours if header[0].lower() not in own]
            if "x-request-id" in own:
                headers = [header for header in headers if header[0].lower() != "x-request-id"]
            headers = [*headers, *ours, ("X-Request-ID", request_id)]
            return start_response(status, headers, exc_info)

        try:
            return self.app(environ, start)  # type: ignore[no-any-return]
        finally:
            if self.log.has_requests:
                self.log.request(environ, began)


class Log(logging.Formatter):
    """Makes logging and structlog write alike to standard error: a JSON object a line, or text."""

    def __init__(self, level: str, as_text: bool) -> None:
        super().__init__()
        self.as_text = as_text
        self.has_requests = level in ("DEBUG", "INFO") and serves()
        handler = logging.StreamHandler()
        handler.setFormatter(self)
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
        structlog.configure(
            processors=[
                structlog.processors.format_exc_info,
                ProcessorFormatter.wrap_for_formatter,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.stdlib.LoggerFactory(),
        )

    def format(self, record: logging.LogRecord) -> str:
        event = {"event": record.getMessage(), "logger": record.name}
        event = {**record.msg} if isinstance(record.msg, dict) else event  # structlog's
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return self.line(record.levelname.lower(), event)

    def line(self, level: str, event: dict[str, Any]) -> str:
        what = event.pop("event", None)
        if not self.as_text:
            start = {"time": now(), "level": level, "event": what, "id": current_id.get()}
            return encode({**start, **event})
        failure = event.pop("exception", "").splitlines()
        words = [f"{name}={value}" for name, value in event.items() if value is not None]
        first = " ".join([time.strftime("%H:%M:%S"), level, str(what), *words])
        # No value in it can begin a record, or steer a terminal.
        lines = [first, *(f"  {line}" for line in failure)]
        return "\n".join(line.encode("unicode_escape").decode() for line in lines)

    def request(self, environ: Environ, began: float) -> None:
        """Write the line of a request. Of its headers and its query, only the origin is in it.

        Not by way of logging, which would take as long as all the rest of the app. It is written
        when the headers and the first chunk have been made: a stream may go on for hours.
        """
        route = environ.get("cors.route")  # preflights, refusals and what is not found have none
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        line = LINE_OF_REQUEST % (
            now(),
            quoted(current_id.get()),
            quoted(environ["REQUEST_METHOD"]),
            quoted(route.rule if route else None),
            quoted(None if route else path),
            environ.get("app.status", "null"),
            (time.perf_counter() - began) * 1000,
            quoted(environ.get("REMOTE_ADDR")),
            quoted(environ.get("HTTP_ORIGIN")),
            quoted(environ.get("cors.verdict")),
        )
        if self.as_text:
            event = {**json.loads(line), "time": None}
            line = self.line(event.pop("level"), event) + "\n"
        with suppress(OSError, ValueError):  # the disk is full, or the stream is closed
            sys.stderr.write(line)


LINE_OF_REQUEST = (
    '{"time":"%s","level":"info","event":"request","id":%s,"method":%s,"route":%s,"path":%s,'
    '"status":%s,"duration":%.3f,"client":%s,"origin":%s,"cors":%s}\n'
)

# ASCII only: no character in it ends a line or steers a terminal.
encode = json.JSONEncoder(default=repr, skipkeys=True, separators=(",", ":")).encode


def quoted(text: str | None) -> str:
    """Return a text as JSON, shortened: a line up to 4096 bytes reaches a pipe in one piece."""
    return "null" if text is None else json.encoder.encode_basestring_ascii(text[:200])


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:23] + "Z"
