"""The gate around the app: answers preflights, refuses what pages may not do, adds CORS headers.

flask-cors is asked at start for its headers; the gate sends them with whatever leaves the app. So a
preflight needs no log-in, and a page can read every error.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_cors import CORS
from werkzeug.http import parse_list_header
from werkzeug.wrappers import Response

from .origins import show
from .policy import Policy, setting

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Start = Callable[..., Any]

logger = logging.getLogger(__name__)

ALLOW_ORIGIN = "Access-Control-Allow-Origin"
LISTS = {"vary": "Vary", "access-control-expose-headers": "Access-Control-Expose-Headers"}

# A browser sends these without asking first (Fetch, section 2.2.1, "CORS-safelisted method").
SAFELISTED_METHODS = ("GET", "HEAD", "POST")

# RFC 9110, section 5.5: what no header's value may contain.
FORBIDDEN = re.compile(r"[^\t\x20-\x7e\x80-\xff]")

# Hostile clients cause log lines at will: 20 at once, then one in three seconds.
SECONDS_A_LINE = 3.0
SECONDS_OF_A_BURST = 19 * SECONDS_A_LINE


class Answers:
    """The headers that one policy answers with, but for the name of the page's origin."""

    def __init__(self, policy: Policy, path: str, client: FlaskClient) -> None:
        self.policy = policy
        self.is_public = policy.is_public
        self.allows_get = policy.allows_method("GET")
        # What is the same for every origin does not vary.
        self.to_others: Headers = []
        if not (policy.is_public and self.allows_get):
            self.to_others = [("Vary", "Origin")]
        self.to_request = self.ask(client, "GET", path) + self.to_others
        self.to_preflight = self.ask(client, "OPTIONS", path) + self.to_others

    def ask(self, client: FlaskClient, method: str, path: str) -> Headers:
        """Return flask-cors' headers for a page that is allowed, which asks for everything."""
        asked = {
            "Origin": self.policy.origins[0].replace(":*", ":1").replace("*", "a"),
            "Access-Control-Request-Method": self.policy.methods[0],
            "Access-Control-Request-Headers": ", ".join(self.policy.allow_headers),
        }
        return [
            (name, value)
            for name, value in client.open(path, method=method, headers=asked).headers
            if name.startswith("Access-Control-") and value != asked["Origin"]
        ]

    def named(self, headers: Headers, origin: str | None, allowed: bool) -> Headers:
        """Return headers for a page: only its own origin is named, only if it is allowed."""
        if not allowed:
            return self.to_others
        return headers if self.is_public else [(ALLOW_ORIGIN, str(origin)), *headers]


class Gate:
    """Runs before any hook or route, and sees what fails in any of them.

    What it finds out is in the environ, for a log around it: `cors.verdict`, `cors.is_public` and
    `cors.route`. With `debugs`, exceptions are left to the server, as for a debugger.
    """

    def __init__(self, app: Any, policy: Policy, flask_cors: CORS, debugs: bool = False) -> None:
        self.app = app
        self.debugs = debugs
        asked = Flask(__name__, static_folder=None)
        flask_cors.init_app(asked)
        client = asked.test_client(use_cookies=False)
        self.answers = Answers(policy, "/", client)
        self.paths = [
            (f"{path}/", Answers(own, path, client)) for path, own in policy.paths.items()
        ]
        self.silent_until = 0.0
        self.dropped = 0

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        answers = self.answers_for(environ["PATH_INFO"]) if self.paths else self.answers
        policy, origin = answers.policy, environ.get("HTTP_ORIGIN")
        method = environ["REQUEST_METHOD"]
        allowed = policy.allows(origin)
        environ["cors.is_public"] = answers.is_public
        if method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            if origin is not None:
                self.note(environ, blocked_preflight(environ, policy, allowed))
            ours = answers.named(answers.to_preflight, origin, allowed)
            return answer_preflight(environ, start_response, policy, ours)
        ours = answers.named(answers.to_request, origin, allowed)
        is_plain_get = method == "GET" and answers.allows_get and "HTTP_UPGRADE" not in environ
        if not is_plain_get and (reason := refusal(environ, policy, allowed)):
            self.note(environ, reason, "refused")
            about = {"title": "Refused by the CORS policy", "status": 403, "detail": reason}
            return problem(environ, start_response, about, ours)
        if origin is not None:
            self.note(environ, blocked_request(environ, policy, allowed))
        return self.respond(environ, start_response, ours, allowed)

    def answers_for(self, path: str) -> Answers:
        """Return those of a path as Flask routes it: `//x` is `/x`; a character is a byte."""
        path = f"/{path.lstrip('/')}/".encode("latin-1").decode(errors="replace")
        return next((own for start, own in self.paths if path.startswith(start)), self.answers)

    def respond(
        self, environ: Environ, start_response: Start, ours: Headers, allowed: bool
    ) -> Iterable[bytes]:
        """Return the app's response with our headers, or problem details if it fails.

        The first chunk is made before the headers are sent: what fails until then, in a hook or
        a generator, can still be a response that the page can read.
        """
        begun: list[Any] = []
        written: list[bytes] = []
        sent = False

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            if sent:  # the server raises what failed (PEP 3333, "The start_response() Callable")
                return start_response(status, headers, exc_info)
            # Flask takes its request out of the environ when it is done.
            environ["cors.route"] = getattr(environ.get("werkzeug.request"), "url_rule", None)
            begun[:] = status, headers
            return written.append

        try:
            body = stream(self.app(environ, start), written, environ)
            next(body)
            if not begun:  # the app has taken the connection over
                return body
            status, headers = begun
            if forbidden := FORBIDDEN.search("".join([value for _, value in headers])):
                raise ValueError(f"a header's value contains {forbidden[0]!r}")
        except Exception:
            # A WebSocket's connection is not ours any more: gunicorn's ends with StopIteration.
            if self.debugs or is_websocket(environ):
                raise
            logger.exception("%s failed", shown(environ))
            detail = "The server failed to make a response. Its log says why."
            about = {"title": "Internal Server Error", "status": 500, "detail": detail}
            return problem(environ, start_response, about, ours)
        start_response(status, merged(headers, ours, allowed))
        sent = True
        return body

    def note(self, environ: Environ, reason: str | None, verdict: str = "denied") -> None:
        """Note the verdict on a request, and log why a page does not get what it asks for."""
        if reason is None or not is_foreign(environ):
            environ["cors.verdict"] = "same-origin" if reason else "allowed"
            return
        environ["cors.verdict"] = verdict
        # A browser does not check what no script fetches, such as a link.
        if verdict == "denied" and environ.get("HTTP_SEC_FETCH_MODE", "cors") != "cors":
            return
        now = time.monotonic()
        if now < self.silent_until:
            self.dropped += 1
            return
        self.silent_until = max(self.silent_until, now - SECONDS_OF_A_BURST) + SECONDS_A_LINE
        dropped, self.dropped = self.dropped, 0
        logger.warning(
            "CORS: %s %s from %s: %s%s",
            "refused" if verdict == "refused" else "a browser blocks",
            shown(environ),
            show(environ.get("HTTP_ORIGIN", "another site")),
            reason,
            f" (at most {dropped} more lines were dropped)" if dropped else "",
        )


def stream(body: Iterable[bytes], written: list[bytes], environ: Environ) -> Iterator[bytes]:
    """Yield nothing as soon as the first chunk has been made, then this chunk and the others.

    `written` is what the app wrote instead (PEP 3333, "The write() Callable").
    """
    begun = False
    try:
        chunks = iter(body)
        first = next(filter(None, chunks), b"")
        yield b""
        begun = True
        if written or first:
            yield b"".join([*written, first])
        yield from chunks
    except Exception:
        if begun:
            logger.error("%s broke off", shown(environ))
        raise
    finally:
        if hasattr(body, "close"):
            body.close()


def merged(headers: Headers, ours: Headers, allowed: bool) -> Headers:
    """Return a response's headers with ours in place of its own; the items of lists are kept."""
    # Few headers have such an initial: most responses are done with one look.
    if not [name for name, _ in headers if name[:1] in "AaVv"]:
        return headers + ours
    kept = [it for it in headers if not it[0].lower().startswith(("access-control-", "vary"))]
    kept += [it for it in ours if it[0].lower() not in LISTS]
    for name, written in LISTS.items():
        values = [value for key, value in headers + ours if key.lower() == name]
        items = {item.lower(): item for item in parse_list_header(", ".join(values))}
        if items and (allowed or name == "vary"):
            kept.append((written, "*" if "*" in items else ", ".join(items.values())))
    return kept


def answer_preflight(
    environ: Environ, start_response: Start, policy: Policy, headers: Headers
) -> Iterable[bytes]:
    """Answer a CORS-preflight request (Fetch, section 3.3.2), on whatever path.

    An allowed page is told all that it may do, so that its browser can say what is missing.
    Browsers do not check the safelisted methods against the list: only the status can say no.
    """
    method = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
    if method in SAFELISTED_METHODS and not policy.allows_method(method):
        start_response("403 FORBIDDEN", [*headers, ("Content-Length", "0")])
    else:
        start_response("204 NO CONTENT", [*headers])
    return ()


def refusal(environ: Environ, policy: Policy, allowed: bool) -> str | None:
    """Return why a request is refused, None if it is not.

    A form on any site makes an API act, with the user's cookies; CORS only hides the answer. The
    rule is that of Go's `http.CrossOriginProtection`, which trusts here what the policy allows.
    """
    if not policy.protection:
        return None
    method = environ["REQUEST_METHOD"]
    if method in ("GET", "HEAD", "OPTIONS"):
        if is_websocket(environ):
            return None if allowed or not is_foreign(environ) else not_allowed(policy)
        # These only read. No other page sees the answer, and links and images send no Origin.
        is_fetch = environ.get("HTTP_SEC_FETCH_MODE", "cors") == "cors"
        if not allowed or not is_fetch or "HTTP_ORIGIN" not in environ:
            return None
    if (allowed and policy.allows_method(method)) or not is_foreign(environ):
        return None
    return not_listed(policy) if allowed else not_allowed(policy)


def blocked_preflight(environ: Environ, policy: Policy, allowed: bool) -> str | None:
    """Return why a browser will not send the request that a preflight asks about."""
    if not allowed:
        return not_allowed(policy)
    if not policy.allows_method(environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]):
        return not_listed(policy)
    names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")[:4096].split(",")
    for name in filter(None, (name.strip(" \t") for name in names)):
        if not policy.allows_header(name):
            return f"the header {show(name)} is not in {listed(policy, 'allow_headers')}"
    return None


def blocked_request(environ: Environ, policy: Policy, allowed: bool) -> str | None:
    """Return why a browser will withhold the response from the page."""
    if not allowed:
        return not_allowed(policy)
    if "HTTP_COOKIE" in environ and not policy.supports_credentials:
        return f"it has cookies, and {setting('supports_credentials', policy.path)} is false"
    return None


def not_allowed(policy: Policy) -> str:
    return f"the origin is not in {setting('origins', policy.path)}"


def not_listed(policy: Policy) -> str:
    return f"the method is not in {listed(policy, 'methods')}"


def listed(policy: Policy, part: str) -> str:
    return f"{setting(part, policy.path)}: {', '.join(getattr(policy, part))}"


def is_websocket(environ: Environ) -> bool:
    """CORS does not apply to it, and a page can read what it gets (RFC 6455, section 4.1)."""
    return str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"


def is_foreign(environ: Environ) -> bool:
    """Return whether a page on another origin made a request (Fetch Metadata, section 2.3).

    Browsers say so to https and localhost. Elsewhere the origin's host and port are compared with
    the request's; the scheme is not, since a proxy may hide it.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site not in ("same-origin", "none")
    origin, host = environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", "")
    return origin is not None and bare(origin.partition("://")[2]) != bare(host)


def bare(host: str) -> str:
    return host.lower().removesuffix(":443").removesuffix(":80")


def shown(environ: Environ) -> str:
    """Return the method and path of a request as they can be in a log."""
    method = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD") or environ["REQUEST_METHOD"]
    return f"{show(method)} {show(environ['PATH_INFO'])}"


def problem(
    environ: Environ, start_response: Start, about: dict[str, Any], ours: Headers
) -> Iterable[bytes]:
    """Answer with problem details (RFC 9457), as app/errors.py does."""
    if request_id := environ.get("app.request_id"):
        about["request_id"] = request_id
    response = Response(json.dumps(about), about["status"], content_type="application/problem+json")
    response.headers.extend(ours)
    return response(environ, start_response)
