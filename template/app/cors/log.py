"""One log line for each request that the policy makes a browser block, rate-limited."""

import logging
import re
import shlex
import time
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .policy import Policy
from .protection import NOT_ALLOWED, is_foreign, not_listed
from .rules import show

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger(__name__)

# A hostile client can cause lines at will: 20 at once, then one in three seconds.
SECONDS_A_LINE = 3.0
SECONDS_OF_A_BURST = 19 * SECONDS_A_LINE  # between the first of them and the last

# What is longer is not read: a browser asks for a few headers.
MAX_HEADER_NAMES = 4096

# A command is for pasting into a shell: what a hostile client could put into one is left out.
HARMLESS = re.compile(r"[A-Za-z0-9._~:/%\[\]-]{1,120}\Z")


class CorsLog:
    """Says why the policy makes a browser block a request, and which view answers CORS itself."""

    def __init__(self) -> None:
        self.endpoints: set[str | None] = set()
        self.lock = Lock()
        self.silent_until = 0.0  # each line moves it on
        self.dropped = 0

    def preflight(self, environ: "WSGIEnvironment", policy: Policy, allowed: bool) -> bool:
        """Log a preflight of which the policy does not allow the origin, method or a header.

        Return whether there is such a one.
        """
        method = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
        names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        if not allowed:
            reason = NOT_ALLOWED
        elif not policy.allows_method(method):
            reason = not_listed(policy)
        elif (name := missing_header(policy, names)) is not None:
            reason = f"the header {name} is not allowed"
        else:
            return False
        self.blocked(environ, method, reason)
        return True

    def request(self, environ: "WSGIEnvironment", allowed: bool) -> None:
        """Log a request of which the policy does not allow the origin or, if so, its cookies."""
        reason = "credentials are not allowed" if allowed else NOT_ALLOWED
        self.blocked(environ, environ["REQUEST_METHOD"], reason)

    def blocked(self, environ: "WSGIEnvironment", method: str, reason: str) -> None:
        """Log a request unless its browser does not check it.

        It checks what a page fetches in mode "cors" from another origin than the API's own.
        """
        if self.is_silent():
            return
        if environ.get("HTTP_SEC_FETCH_MODE", "cors") == "cors" and is_foreign(environ):
            origin, path = environ["HTTP_ORIGIN"], environ["PATH_INFO"]
            message = "CORS: a browser blocks %s %s from %s: %s"
            command = explain_command(environ, method)
            self.warn(message, method, path, origin, reason, command=command)

    def refused(self, environ: "WSGIEnvironment", reason: str) -> None:
        """Log a request that the API refuses."""
        if not self.is_silent():
            origin = environ.get("HTTP_ORIGIN", "another site")
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            message, command = "CORS: refused %s %s from %s: %s", explain_command(environ, method)
            self.warn(message, method, path, origin, reason, command=command)

    def replaced(self, request: Any, names: list[str]) -> None:
        """Log, once for each endpoint, the CORS headers of its view that are replaced."""
        endpoint = getattr(request, "endpoint", None)
        if endpoint not in self.endpoints and not self.is_silent():
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

    def warn(self, message: str, *arguments: str, command: str = "") -> None:
        with self.lock:
            spent = max(self.silent_until, time.monotonic() - SECONDS_OF_A_BURST)
            self.silent_until = spent + SECONDS_A_LINE
            dropped, self.dropped = self.dropped, 0
        message += f"; to see what to change: {command.replace('%', '%%')}" if command else ""
        if dropped:
            message += f" (at most {dropped} more lines were dropped)"
        logger.warning(message, *map(show, arguments))


def explain_command(environ: "WSGIEnvironment", method: str) -> str:
    """Return what explains a request on a developer's machine, empty if it is an odd one."""
    names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")[:MAX_HEADER_NAMES]
    path = quote(path_of(environ), encoding="latin-1")
    words = [environ.get("HTTP_ORIGIN", ""), method, path]
    for name in filter(None, (name.strip(" \t") for name in names.split(","))):
        words += ["--header", name]
    if not all(map(HARMLESS.match, words)):
        return ""
    words += ["--credentials"] if "HTTP_COOKIE" in environ else []
    command = shlex.join(["flask", "cors", "explain", *words])
    return command if len(command) <= 300 else ""


def path_of(environ: "WSGIEnvironment") -> str:
    """Return the path of a request's URL as Flask routes it: `//x` is `/x`.

    A character of it is a byte (PEP 3333, "Unicode Issues").
    """
    path: str = environ["PATH_INFO"]
    return f"{environ.get('SCRIPT_NAME', '').rstrip('/')}/{path.lstrip('/')}"


def missing_header(policy: Policy, names: str) -> str | None:
    """Return the first header that a preflight asks for and the policy does not allow."""
    for name in names[:MAX_HEADER_NAMES].split(","):
        name = name.strip(" \t")
        if name and not policy.allows_header(name):
            return name
    return None
