"""One log line for each request that the policy makes a browser block, rate-limited."""

import logging
import time
from threading import Lock
from typing import TYPE_CHECKING

from .policy import Policy
from .rules import show

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger(__name__)

# A hostile client can cause lines at will: 20 at once, then one in three seconds.
SECONDS_A_LINE = 3.0
SECONDS_OF_A_BURST = 19 * SECONDS_A_LINE  # between the first of them and the last

# What is longer is not read: a browser asks for a few headers.
MAX_HEADER_NAMES = 4096


class CorsLog:
    """Says why the policy makes a browser block a request, and which view answers CORS itself."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.header_names = {name.lower() for name in policy.allow_headers}
        self.endpoints: set[str | None] = set()
        self.lock = Lock()
        self.silent_until = 0.0  # each line moves it on
        self.dropped = 0

    def preflight(self, environ: "WSGIEnvironment", allowed: bool) -> None:
        """Log a preflight of which the policy does not allow the origin, method or a header."""
        method = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
        names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        if not allowed:
            reason = "the origin is not allowed"
        elif method not in self.policy.methods:
            reason = f"the method is not among {', '.join(self.policy.methods)}"
        elif (name := self.missing_header(names)) is not None:
            reason = f"the header {name} is not allowed"
        else:
            return
        self.blocked(environ, method, reason)

    def request(self, environ: "WSGIEnvironment", allowed: bool) -> None:
        """Log a request of which the policy does not allow the origin or the credentials."""
        if not allowed:
            reason = "the origin is not allowed"
        elif "HTTP_COOKIE" in environ and not self.policy.supports_credentials:
            reason = "credentials are not allowed"
        else:
            return
        self.blocked(environ, environ["REQUEST_METHOD"], reason)

    def missing_header(self, names: str) -> str | None:
        """Return the first header that a preflight asks for and the policy does not allow."""
        for name in names[:MAX_HEADER_NAMES].split(","):
            name = name.strip(" \t")
            listed = name in self.header_names
            if name and not listed and ("*" not in self.header_names or name == "authorization"):
                return name
        return None

    def blocked(self, environ: "WSGIEnvironment", method: str, reason: str) -> None:
        """Log a request unless its browser does not check it.

        It checks what a page fetches in mode "cors" from another origin than the API's own.
        """
        if self.is_silent():
            return
        origin = environ["HTTP_ORIGIN"]
        if (
            environ.get("HTTP_SEC_FETCH_MODE", "cors") == "cors"
            and environ.get("HTTP_SEC_FETCH_SITE") != "same-origin"
            and origin.partition("://")[2] != environ.get("HTTP_HOST")
        ):
            path = environ["PATH_INFO"]
            self.warn("CORS: a browser blocks %s %s from %s: %s", method, path, origin, reason)

    def replaced(self, environ: "WSGIEnvironment", names: list[str]) -> None:
        """Log, once for each endpoint, the CORS headers of its view that are replaced."""
        endpoint = getattr(environ.get("werkzeug.request"), "endpoint", None)
        if names and endpoint not in self.endpoints and not self.is_silent():
            self.endpoints.add(endpoint)
            message = "CORS: remove %s from the view %s: the policy's headers replace what it sets"
            self.warn(message, ", ".join(dict.fromkeys(names)), str(endpoint))

    def is_silent(self) -> bool:
        """Return whether no line may be written now, and count the line that would be.

        A logging.Filter would come too late: a record takes longer to make than all that the
        middleware does.
        """
        if time.monotonic() < self.silent_until:
            self.dropped += 1
            return True
        return False

    def warn(self, message: str, *arguments: str) -> None:
        with self.lock:
            spent = max(self.silent_until, time.monotonic() - SECONDS_OF_A_BURST)
            self.silent_until = spent + SECONDS_A_LINE
            dropped, self.dropped = self.dropped, 0
        if dropped:
            message += f" (at most {dropped} more lines were dropped)"
        logger.warning(message, *map(show, arguments))
