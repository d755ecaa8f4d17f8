"""Gives flask-cors' answers, asked for once at start, to whatever leaves the app."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask_cors import CORS
from werkzeug.http import parse_list_header

from .log import CorsLog
from .policy import SAFELISTED_METHODS, Policy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

ALLOW_ORIGIN = "Access-Control-Allow-Origin"
LISTS = ("Access-Control-Expose-Headers", "Vary")


class Middleware:
    """Answers preflights, and gives every other response its CORS headers and `Vary`.

    It runs before any hook or route, and sees the errors that Flask does not.
    """

    def __init__(self, app: "WSGIApplication", policy: Policy, flask_cors: CORS) -> None:
        self.app = app
        self.policy = policy
        self.is_public = policy.is_public
        # A response that is the same for every origin does not vary.
        self.to_others = [] if policy.is_public else [("Vary", "Origin")]
        to_request, to_preflight = ask(flask_cors, policy)
        self.to_request = to_request + self.to_others
        self.to_preflight = to_preflight + self.to_others
        self.log = CorsLog(policy)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        allowed = self.is_public or (origin is not None and self.policy.allows(origin))
        if (
            environ["REQUEST_METHOD"] == "OPTIONS"
            and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        ):
            return self.answer_preflight(environ, start_response, allowed)
        if origin is not None:
            self.log.request(environ, allowed)
        ours = self.to_others
        if allowed:
            ours = self.name(origin, self.to_request)

        def start(status: str, headers: Headers, *exc_info: Any) -> Any:
            # Few headers have such an initial: most responses are done with one look.
            if [name for name, _ in headers if name[:1] in "AaVv"]:
                own, others = take_apart(headers)
                self.log.replaced(environ, [name for name, _ in own if name.title() not in LISTS])
                return start_response(status, others + merge(own, ours, allowed), *exc_info)
            return start_response(status, headers + ours, *exc_info)

        return self.app(environ, start)

    def answer_preflight(
        self, environ: "WSGIEnvironment", start_response: "StartResponse", allowed: bool
    ) -> Iterable[bytes]:
        """Answer a CORS-preflight request (Fetch, section 3.3.2), on whatever path.

        An allowed origin is told all that it may do, so that its browser can say which method or
        header is missing. Browsers do not check GET, HEAD and POST against the list: where one
        of these is missing, only the status can say no.
        """
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None:
            self.log.preflight(environ, allowed)
        headers = self.name(origin, self.to_preflight) if allowed else [*self.to_others]
        method = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
        if method in SAFELISTED_METHODS and method not in self.policy.methods:
            start_response("403 FORBIDDEN", [*headers, ("Content-Length", "0")])
        else:
            start_response("204 NO CONTENT", headers)
        return ()

    def name(self, origin: str | None, headers: Headers) -> Headers:
        """Return headers with the one that allows this origin; for every origin it is there."""
        return [*headers] if self.is_public else [(ALLOW_ORIGIN, str(origin)), *headers]


def ask(flask_cors: CORS, policy: Policy) -> tuple[Headers, Headers]:
    """Return the headers with which flask-cors answers an allowed origin, but for its name.

    The first are for a request, the others for a preflight for all that the policy allows.
    """
    app = Flask(__name__, static_folder=None)
    flask_cors.init_app(app)
    asked = {
        "Origin": policy.example(),
        "Access-Control-Request-Method": policy.methods[0],
        "Access-Control-Request-Headers": ", ".join(policy.allow_headers),
    }
    client = app.test_client(use_cookies=False)

    def headers(method: str) -> Headers:
        return [
            (name, value)
            for name, value in client.open(method=method, headers=asked).headers
            if name.startswith("Access-Control-") and value != asked["Origin"]
        ]

    return headers("GET"), headers("OPTIONS")


def take_apart(headers: Headers) -> tuple[Headers, Headers]:
    """Return the CORS headers and `Vary` that a view or Flask set, and the other headers."""
    own: Headers = []
    others: Headers = []
    for header in headers:
        name = header[0].lower()
        (own if name == "vary" or name.startswith("access-control-") else others).append(header)
    return own, others


def merge(own: Headers, ours: Headers, allowed: bool) -> Headers:
    """Return our headers, the two that are lists with the items of a response's own."""
    merged = [(name, value) for name, value in ours if name not in LISTS]
    for name in LISTS if allowed else ("Vary",):
        values = [value for key, value in (*own, *ours) if key.lower() == name.lower()]
        items = {item.lower(): item for item in parse_list_header(", ".join(values))}
        if items:
            merged.append((name, "*" if "*" in items else ", ".join(items.values())))
    return merged
