"""Around the API: settings checked, request ids, security headers, the log. Do not edit it."""

import asyncio
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from typing import Any

import click
import flask
import structlog
from flask import Flask, abort, request
from flask.cli import FlaskGroup
from flask.helpers import get_debug_flag
from flask.logging import default_handler
from structlog.processors import format_exc_info
from structlog.stdlib import ProcessorFormatter
from werkzeug.exceptions import RequestTimeout
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import is_running_from_reloader

from app.cors.gate import Environ, Headers, Start
from app.cors.origins import LOOPBACK, host_of
from app.cors.policy import READERS, Policy

current_id: ContextVar[str | None] = ContextVar("current_id", default=None)  # of the request
is_id = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z").match  # it goes into headers and logs

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# HSTS is for a whole host: the proxy that has its certificate sends it.
SECURITY: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", NOTHING),
    # With no-referrer, browsers send `Origin: null` for a form of the API's own, over plain http.
    ("Referrer-Policy", "same-origin"),
]

BODY_SECONDS = 30

HOST = r"'\.?[\w-]+(\.[\w-]+)*(:\d+)?'"
# Each setting: its default, the `repr` of what it may be, and what to write instead.
SETTINGS: dict[str, tuple[Any, str, str]] = {
    "PROXIES": (0, r"\d+", "how many proxies are in front, such as 1"),
    "PREFIX_PROXIES": (0, r"\d+", "how many of them set X-Forwarded-Prefix, such as 1"),
    "MAX_CONTENT_LENGTH": (None, r"\d+|None", "a number of bytes, such as 1000000"),
    "TRUSTED_HOSTS": (None, rf"[\[(]{HOST}(, {HOST})*,?[\])]|None", "api.example.com"),
    "LOG_FORMAT": ("json", "'(json|text)'", "json or text"),
    "LOG_LEVEL": ("INFO", "'(DEBUG|INFO|WARNING|ERROR|CRITICAL)'", "a level, such as INFO"),
}


def init_app(app: Flask) -> None:
    """Put it around the app and its policy. Raises ClickException where a setting is wrong."""
    config = app.config
    if isinstance(hosts := config["TRUSTED_HOSTS"], str):  # from the environment
        config["TRUSTED_HOSTS"] = hosts.replace(",", " ").split()
    for name, (default, pattern, meant) in SETTINGS.items():
        if not re.fullmatch(pattern, repr(config.setdefault(name, default)), re.ASCII):
            raise click.ClickException(f"{name}: write {meant}, not {config[name]!r}")
    check_key(app)
    app.async_to_sync = run_async  # type: ignore[method-assign]
    if command() and serves() and not config["TRUSTED_HOSTS"]:
        app.before_request_funcs.setdefault(None, []).insert(0, refuse_other_hosts)
    app.logger.removeHandler(default_handler)
    log = Log(config["LOG_LEVEL"], as_text=config["LOG_FORMAT"] == "text")
    others = "cross-origin" if config["SESSION_COOKIE_SAMESITE"] == "None" else "same-site"
    app.wsgi_app = Boundary(app.wsgi_app, others, log)  # type: ignore[method-assign]
    # Outside all: the policy, the redirects and the log see what the proxy was asked for.
    count, prefix = config["PROXIES"], config["PREFIX_PROXIES"]
    if count or prefix:
        fixed = ProxyFix(app.wsgi_app, count, count, count, x_prefix=prefix)
        app.wsgi_app = fixed  # type: ignore[method-assign]
    if serves():
        tell(app, app.extensions["cors_policy"])


def tell(app: Flask, policy: Policy) -> None:
    """Log the policy in force, and what of it is probably a mistake."""
    for each in (policy, *policy.paths.values()):
        parts = {part: getattr(each, part) for part in ("path", *READERS)}
        lists = {part: ", ".join(it)[:200] for part, it in parts.items() if type(it) is tuple}
        structlog.get_logger().info("start", **{**parts, **lists})
    rules = [rule.rule.split("/") for rule in app.url_map.iter_rules()]
    for path in policy.paths:
        own = path.split("/")
        pairs = [zip(own, rule, strict=False) for rule in rules if len(rule) >= len(own)]
        if not any(all(a == b or "<" in b for a, b in pair) for pair in pairs):
            app.logger.warning("CORS_PATHS: write %r as Flask routes it: no route is there", path)
    hosts = {host_of(origin) for origin in policy.origins if policy.supports_credentials}
    if {"localhost", "127.0.0.1"} <= hosts:
        app.logger.warning("CORS_ORIGINS: write localhost or 127.0.0.1: they share no cookie")


def check_key(app: Flask) -> None:
    """Raise ClickException where the app's own code has the session, and no key is fit for it."""
    key, package = app.config["SECRET_KEY"], f"{app.import_name.partition('.')[0]}."
    own = [module for name, module in [*sys.modules.items()] if f"{name}.".startswith(package)]
    uses_session = any(vars(module).get("session") is flask.session for module in own)
    least = 1 if app.testing or command() else 32
    if uses_session and serves() and not (isinstance(key, (str, bytes)) and len(key) >= least):
        raise click.ClickException(
            "SECRET_KEY: set FLASK_SECRET_KEY to a text of 32 characters or more, or write it into"
            " .env (.env.example says how); tests take it from tests/conftest.py"
        )


def command() -> click.Context | None:
    """Return the command of `flask` that this process runs, None if a server loads the app."""
    context = click.get_current_context(silent=True)  # granian, too, has one
    return context if context and isinstance(context.find_root().command, FlaskGroup) else None


def serves() -> bool:
    """Return whether this process serves requests: that of `flask db upgrade` does not."""
    if (context := command()) is None:
        return True
    reloads = context.params.get("reload")
    restarts = get_debug_flag() if reloads is None else reloads
    return context.info_name == "run" and (is_running_from_reloader() or not restarts)


def refuse_other_hosts() -> None:
    """Keep `flask run` from pages that point a name of theirs to this machine (DNS rebinding)."""
    if not LOOPBACK.fullmatch(host := re.sub(r":\d+\Z", "", request.host)):
        abort(400, f'Set FLASK_TRUSTED_HOSTS="localhost, {host}" to have flask run answer by it')


def gevent() -> Any:
    """Return gevent where it serves, None elsewhere."""
    monkey = sys.modules.get("gevent.monkey")
    return sys.modules["gevent"] if monkey and monkey.is_module_patched("socket") else None


def run_async(func: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """Run an `async def` view by asyncio: where gevent serves, in a thread of its pool."""

    async def result(*arguments: Any, **options: Any) -> Any:
        return await asyncio.gather(func(*arguments, **options), return_exceptions=True)

    def run(*arguments: Any, **options: Any) -> Any:
        context, served = copy_context(), gevent()
        if served and request:
            request.get_data()  # no other thread can wait for it
        running = result(*arguments, **options)
        if served:
            (value,) = served.get_hub().threadpool.apply(context.run, (asyncio.run, running))
        else:
            (value,) = context.run(asyncio.run, running)
        if isinstance(value, BaseException):  # raised in that thread, gevent would print it
            raise value
        return value

    return run


class Body:
    """A request's body, of which a read that waits for longer than BODY_SECONDS is answered 408."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.stream, name)

        def read(*arguments: Any) -> Any:
            with gevent().Timeout(BODY_SECONDS, RequestTimeout()):
                return method(*arguments)

        return read

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


class Boundary:
    """Gives each request an id and a line in the log, and each response security headers.

    `others` is who may use a response without CORS, as an image (Fetch, section 3.7).
    """

    def __init__(self, app: Any, others: str, log: "Log") -> None:
        self.app = app
        self.log = log
        # By whether every site may read the response, and whether it may be stored.
        self.headers: dict[tuple[bool, bool], Headers] = {}
        for public, who in ((False, others), (True, "cross-origin")):
            stored = [*SECURITY, ("Cross-Origin-Resource-Policy", who)]
            self.headers[public, True] = stored
            self.headers[public, False] = [*stored, ("Cache-Control", "no-store")]
        self.names = {name.lower() for name, _ in self.headers[True, False]}

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        began = time.perf_counter()
        request_id = environ.get("HTTP_X_REQUEST_ID")
        if request_id is None or not is_id(request_id):
            request_id = os.urandom(16).hex()
        environ["app.request_id"] = request_id
        if gevent():
            environ["wsgi.input"] = Body(environ["wsgi.input"])
        current_id.set(request_id)
        if "CONTENT_LENGTH" in environ:  # else Werkzeug takes a form of the largest size for larger
            environ.pop("wsgi.input_terminated", None)

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
            processors=[format_exc_info, ProcessorFormatter.wrap_for_formatter],
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
        """Write the line of a request, when its first chunk is made: a stream may last for hours.

        Of its headers and query, only the origin is in it. Logging would take ten times as long.
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
