"""The gate around the app: answers preflights, refuses what pages may not do, adds CORS headers.

flask-cors is asked for them at start. So preflights need no log-in, and pages can read every error.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask
from flask_cors import CORS
from werkzeug.http import parse_list_header
from werkzeug.wrappers import Response

from .origins import show
from .policy import Policy, setting

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Start = Callable[..., Any]

logger = logging.getLogger(__name__)

LISTS = {"vary": "Vary", "access-control-expose-headers": "Access-Control-Expose-Headers"}

# RFC 9110, section 5.5: what no header's value may contain.
FORBIDDEN = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


class Answers:
    """The headers that one policy answers with, but for the name of the page's origin."""

    def __init__(self, policy: Policy, path: str, client: Any) -> None:
        self.policy = policy
        asked = {
            "Origin": policy.origins[0].replace(":*", ":1").replace("*", "a"),
            "Access-Control-Request-Method": policy.methods[0],
            "Access-Control-Request-Headers": ", ".join(policy.allow_headers),
        }

        def ask(method: str) -> Headers:
            answer = client.open(path, method=method, headers=asked).headers
            ours = [header for header in answer if header[0].startswith("Access-Control-")]
            its_own = ("Access-Control-Allow-Origin", asked["Origin"])
            return [header for header in ours if header != its_own] + self.to_others

        # What is the same for every origin does not vary.
        is_same = policy.is_public and policy.allows_method("GET")
        self.to_others: Headers = [] if is_same else [("Vary", "Origin")]
        self.to_request, self.to_preflight = ask("GET"), ask("OPTIONS")

    def named(self, headers: Headers, origin: str | None, allowed: bool) -> Headers:
        """Return headers for a page: only its own origin is named, only if it is allowed."""
        named = [] if self.policy.is_public else [("Access-Control-Allow-Origin", str(origin))]
        return named + headers if allowed else self.to_others


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
        paths = policy.paths.items()
        self.paths = [(f"{path}/", Answers(own, path, client)) for path, own in paths]
        self.silent_until = 0.0
        self.dropped = 0

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        answers = self.answers_for(environ["PATH_INFO"]) if self.paths else self.answers
        policy, origin = answers.policy, environ.get("HTTP_ORIGIN")
        allowed = policy.allows(origin)
        environ["cors.is_public"] = policy.is_public
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
        if asked is not None and environ["REQUEST_METHOD"] == "OPTIONS":
            if origin is not None:
                self.note(environ, blocked_preflight(environ, policy, allowed))
            # An allowed page is told all that it may do, so that its browser can say what is
            # missing. It does not look up these three there: only the status can say no.
            refused = asked in ("GET", "HEAD", "POST") and not policy.allows_method(asked)
            ours = answers.named(answers.to_preflight, origin, allowed)
            if refused:
                start_response("403 FORBIDDEN", [*ours, ("Content-Length", "0")])
            else:
                start_response("204 NO CONTENT", [*ours])
            return ()
        ours = answers.named(answers.to_request, origin, allowed)
        if reason := refusal(environ, policy, allowed):
            self.note(environ, reason, "refused")
            return problem(environ, 403, reason, ours)(environ, start_response)
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

        What fails before the first chunk, in a generator too, is a response that a page can read.
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
            return written.append  # PEP 3333, "The write() Callable"

        try:
            body = stream(self.app(environ, start), written, environ)
            next(body)
            if not begun:  # the app has taken the connection over
                return body
            status, headers = begun
            if forbidden := FORBIDDEN.search("".join([value for _, value in headers])):
                raise ValueError(f"the value of a header contains {forbidden[0]!r}")
        except Exception:
            # A WebSocket's connection is not ours any more: gunicorn's ends with StopIteration.
            if self.debugs or is_websocket(environ):
                raise
            logger.exception("%s failed", shown(environ))
            detail = "The server failed to make a response. Its log says why."
            return problem(environ, 500, detail, ours)(environ, start_response)
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
        # Hostile clients cause lines at will: 20 at once are written, then one in 3 seconds.
        now = time.monotonic()
        if now < self.silent_until:
            self.dropped += 1
            return
        self.silent_until = max(self.silent_until, now - 57) + 3
        what = "refused" if verdict == "refused" else "a browser blocks"
        origin = show(environ.get("HTTP_ORIGIN", "another site"))
        more = f" (at most {self.dropped} more lines were dropped)" if self.dropped else ""
        self.dropped = 0
        logger.warning("CORS: %s %s from %s: %s%s", what, shown(environ), origin, reason, more)


def stream(body: Iterable[bytes], written: list[bytes], environ: Environ) -> Iterator[bytes]:
    """Yield nothing once the first chunk is made, then what the app wrote, and all chunks."""
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


def refusal(environ: Environ, policy: Policy, allowed: bool) -> str | None:
    """Return why a request is refused, None if it is not.

    A form on any site makes an API act, with the user's cookies; CORS only hides the answer. The
    rule is that of Go's `http.CrossOriginProtection`, which trusts here what the policy allows.
    """
    method = environ["REQUEST_METHOD"]
    reads = method in ("GET", "HEAD", "OPTIONS")
    permitted = policy.allows_method(method) if allowed else reads  # which shows others nothing
    if reads and "HTTP_UPGRADE" in environ and is_websocket(environ):
        permitted = allowed
    elif reads and not permitted:  # a link and an image send no Origin, and get their answer
        is_fetch = environ.get("HTTP_SEC_FETCH_MODE", "cors") == "cors"
        permitted = not is_fetch or "HTTP_ORIGIN" not in environ
    if permitted or not policy.protection or not is_foreign(environ):
        return None
    part, what = ("methods", "the method") if allowed else ("origins", "the origin")
    return not_in(policy, part, what)


def blocked_preflight(environ: Environ, policy: Policy, allowed: bool) -> str | None:
    """Return why a browser will not send the request that a preflight asks about."""
    if not allowed:
        return not_in(policy, "origins", "the origin")
    if not policy.allows_method(environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]):
        return not_in(policy, "methods", "the method")
    for name in environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")[:4096].split(","):
        name = name.strip(" \t")
        if name and not policy.allows_header(name):
            return not_in(policy, "allow_headers", f"the header {show(name)}")
    return None


def blocked_request(environ: Environ, policy: Policy, allowed: bool) -> str | None:
    """Return why a browser will withhold the response from the page."""
    if not allowed:
        return not_in(policy, "origins", "the origin")
    if "HTTP_COOKIE" in environ and not policy.supports_credentials:
        return f"it has cookies, and {setting('supports_credentials', policy.path)} is false"
    return None


def not_in(policy: Policy, part: str, what: str) -> str:
    listed = "" if part == "origins" else f": {', '.join(getattr(policy, part))}"
    return f"{what} is not in {setting(part, policy.path)}{listed}"


def is_websocket(environ: Environ) -> bool:
    """CORS does not apply to it, and a page can read what it gets (RFC 6455, section 4.1)."""
    return str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"


def is_foreign(environ: Environ) -> bool:
    """Return whether a page on another origin made a request (Fetch Metadata, section 2.3).

    Browsers say so to https and localhost. Elsewhere the hosts count; a proxy hides the scheme.
    """
    if (site := environ.get("HTTP_SEC_FETCH_SITE")) is not None:
        return site not in ("same-origin", "none")
    if (origin := environ.get("HTTP_ORIGIN")) is None:
        return False
    hosts = (origin.partition("://")[2].lower(), environ.get("HTTP_HOST", "").lower())
    return len({host.removesuffix(":443").removesuffix(":80") for host in hosts}) > 1


def shown(environ: Environ) -> str:
    """Return the method and path of a request as they can be in a log."""
    method = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD") or environ["REQUEST_METHOD"]
    return f"{show(method)} {show(environ['PATH_INFO'])}"


def problem(environ: Environ, status: int, detail: str, ours: Headers) -> Response:
    """Return problem details (RFC 9457), as app/errors.py does."""
    title = "Refused by the CORS policy" if status == 403 else "Internal Server Error"
    about = {"title": title, "status": status, "detail": detail}
    if request_id := environ.get("app.request_id"):
        about["request_id"] = request_id
    response = Response(json.dumps(about), status, content_type="application/problem+json")
    response.headers.extend(ours)
    return response
