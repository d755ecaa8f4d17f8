"""What every deployment needs around the API: settings checked, request ids, headers, the log.

Updates change this file: do not edit it.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import click
import flask
import structlog
from flask import Flask
from flask.cli import FlaskGroup
from flask.helpers import get_debug_flag
from flask.logging import default_handler
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.typing import EventDict, Processor
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
            parts = {part: str(getattr(own, part))[:200] for part in ("path", *READERS)}
            structlog.get_logger().info("start", **parts)


def check(app: Flask) -> None:
    config, hosts = app.config, app.config["TRUSTED_HOSTS"]
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
    package = f"{app.import_name.partition('.')[0]}."
    own = [module for name, module in sys.modules.items() if f"{name}.".startswith(package)]
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
        sent = ""

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
            headers = [*headers, *ours, ("X-Request-ID", request_id)]
            return start_response(status, headers, exc_info)

        if not self.log.has_requests:
            return self.app(environ, start)  # type: ignore[no-any-return]

        def log() -> None:
            self.log.request(environ, sent, time.perf_counter() - began)

        try:
            return Logged(self.app(environ, start), log)
        except Exception:
            log()
            raise


class Logged:
    """The body of a response; the server closes it when it has sent it, or cannot."""

    def __init__(self, body: Iterable[bytes], log: Callable[[], None]) -> None:
        self.body = body
        self.log = log

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body)

    def close(self) -> None:
        try:
            if hasattr(self.body, "close"):
                self.body.close()
        finally:
            self.log()


class Log:
    """Makes logging and structlog write alike to standard error: a JSON object a line, or text."""

    def __init__(self, level: str, as_text: bool) -> None:
        self.as_text = as_text
        self.has_requests = level in ("DEBUG", "INFO")
        processors: list[Processor] = [
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            lambda _logger, level, event: self.line(level, event),
        ]
        formatter = ProcessorFormatter(processors=processors, foreign_pre_chain=[add_logger_name])
        handler = logging.StreamHandler()
        handler.setFormatter(formatter)
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

    def request(self, environ: Environ, status: str, seconds: float) -> None:
        """Write the line of a request. Of its headers and its query, only the origin is in it.

        Not by way of logging, which would take as long as all the rest of the app.
        """
        route = environ.get("cors.route")  # preflights, refusals and what is not found have none
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        line = (TEXT_OF_REQUEST if self.as_text else JSON_OF_REQUEST) % {
            "time": self.now(),
            "id": quoted(current_id.get()),
            "method": quoted(environ["REQUEST_METHOD"]),
            "target": quoted(route.rule if route else path),
            "route": quoted(route.rule if route else None),
            "path": quoted(None if route else path),
            "status": status[:3] or "null",
            "duration": f"{seconds * 1000:.3f}",
            "client": quoted(environ.get("REMOTE_ADDR")),
            "origin": quoted(environ.get("HTTP_ORIGIN")),
            "cors": quoted(environ.get("cors.verdict")),
        }
        with suppress(OSError, ValueError):  # the disk is full, or the stream is closed
            sys.stderr.write(line)

    def now(self) -> str:
        now = time.time()
        return (
            time.strftime("%H:%M:%S")
            if self.as_text
            else f"{utc(int(now))}.{int(now % 1 * 1000):03}Z"
        )

    def line(self, level: str, event: EventDict) -> str:
        """Return a record of logging or structlog as a line."""
        about = {"time": self.now(), "level": level, "event": event.pop("event")}
        if not self.as_text:
            return encode({**about, "id": current_id.get(), **event})
        failure = event.pop("exception", "").splitlines()
        words = [*about.values(), *(f"{name}={value}" for name, value in event.items())]
        lines = [" ".join(map(str, words)), *(f"  {line}" for line in failure)]
        # No value in it can begin a record, or steer a terminal.
        return "\n".join(line.encode("unicode_escape").decode() for line in lines)


JSON_OF_REQUEST = (
    '{"time":"%(time)s","level":"info","event":"request","id":%(id)s,"method":%(method)s,'
    '"route":%(route)s,"path":%(path)s,"status":%(status)s,"duration":%(duration)s,'
    '"client":%(client)s,"origin":%(origin)s,"cors":%(cors)s}\n'
)
TEXT_OF_REQUEST = (
    "%(time)s info %(method)s %(target)s %(status)s %(duration)s ms"
    " origin=%(origin)s cors=%(cors)s id=%(id)s\n"
)

# ASCII only: no character in it ends a line or steers a terminal.
encode = json.JSONEncoder(default=repr, skipkeys=True, separators=(",", ":")).encode


def quoted(text: str | None) -> str:
    """Return a text as JSON, shortened: a line up to 4096 bytes reaches a pipe in one piece."""
    return "null" if text is None else json.encoder.encode_basestring_ascii(text[:200])


@lru_cache(maxsize=1)
def utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
