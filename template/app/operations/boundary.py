"""The outermost layer but for ProxyFix: it sees every request and every response, refusals too."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .log import current_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]
Notes = dict[str, Any]
RequestLog = Callable[["WSGIEnvironment", Notes, str | None, float], None]

# Where the request's id is in its environ: app/errors.py and the like find it there.
REQUEST_ID = "app.request_id"

# Where the policy's middleware writes what it knows: `is_public`, `verdict` and `route`.
NOTES = "cors.notes"

# Of an id that comes from outside; it goes into headers, logs and problem details.
is_id = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z").match

# HSTS is not among them: it is for a whole host, so the proxy that has its certificate sends it.
SECURITY: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'"),
    # With no-referrer, browsers send `Origin: null` for a form of the API's own, over plain http.
    ("Referrer-Policy", "same-origin"),
]
NO_STORE = ("Cache-Control", "no-store")


def variants(resource_policy: str) -> tuple[Headers, Headers]:
    """Return the headers of a response that may be stored, and of one that may not."""
    stored = [*SECURITY, ("Cross-Origin-Resource-Policy", resource_policy)]
    return stored, [*stored, NO_STORE]


# Of a response that every site may read.
OF_PUBLIC = variants("cross-origin")
NAMES = frozenset(name.lower() for name, _ in OF_PUBLIC[1])


class Boundary:
    """Gives each request an id, each response its security headers, and the log its line.

    `resource_policy` says who may use a response without CORS, as an image (Fetch, section 3.7).
    """

    def __init__(
        self, app: "WSGIApplication", resource_policy: str, log: RequestLog | None
    ) -> None:
        self.app = app
        self.of_others = variants(resource_policy)
        self.log = log

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        request_id = environ.get("HTTP_X_REQUEST_ID")
        if request_id is None or is_id(request_id) is None:
            request_id = os.urandom(16).hex()
        environ[REQUEST_ID] = request_id
        current_id.set(request_id)
        notes = environ[NOTES] = {}
        exchange = Exchange(environ, notes, request_id, start_response, self.of_others, self.log)
        try:
            exchange.body = self.app(environ, exchange.start)
        except Exception:
            exchange.close()
            raise
        return exchange.body if self.log is None else exchange


class Exchange:
    """A request and its response, from the first header to the close of the body."""

    __slots__ = (
        "began",
        "body",
        "environ",
        "log",
        "notes",
        "of_others",
        "request_id",
        "start_response",
        "status",
    )

    def __init__(
        self,
        environ: "WSGIEnvironment",
        notes: Notes,
        request_id: str,
        start_response: "StartResponse",
        of_others: tuple[Headers, Headers],
        log: RequestLog | None,
    ) -> None:
        self.began = perf_counter()
        self.environ = environ
        self.notes = notes
        self.request_id = request_id
        self.start_response = start_response
        self.of_others = of_others
        self.log = log
        self.body: Iterable[bytes] = ()
        self.status: str | None = None

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Any:
        """Send the headers; those that a view has set stay as they are."""
        self.status = status
        environ = self.environ
        own = {name.lower() for name, _ in headers}
        # What a user sees after a log-in is private (RFC 9111, section 3.5, is about the last).
        is_private = "set-cookie" in own or "HTTP_COOKIE" in environ
        unstored = status >= "4" or is_private or "HTTP_AUTHORIZATION" in environ
        ours = (OF_PUBLIC if self.notes.get("is_public") else self.of_others)[unstored]
        if not own.isdisjoint(NAMES):
            ours = [header for header in ours if header[0].lower() not in own]
        sent = [*headers, *ours, ("X-Request-ID", self.request_id)]
        return self.start_response(status, sent, exc_info)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body)

    def close(self) -> None:
        """Log the request: the server calls this when the body has been sent, or cannot be."""
        try:
            if hasattr(self.body, "close"):
                self.body.close()
        finally:
            if self.log is not None:
                self.log(self.environ, self.notes, self.status, perf_counter() - self.began)
