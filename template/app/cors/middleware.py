"""What flask-cors leaves to others: preflights before auth and routing, `Vary`, cookies."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from flask_cors import CORS
from werkzeug.http import parse_list_header

from app.cors.log import BlockedLog
from app.cors.policy import Policy
from app.cors.rules import SAFELISTED_METHODS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def init_app(app: Flask, policy: Policy) -> None:
    """Put the middleware before the app, and send its session cookie where the policy says."""
    app.extensions["cors_policy"] = policy
    app.wsgi_app = CorsMiddleware(app, policy)  # type: ignore[method-assign]

    # Without SameSite=None a browser keeps the session cookie to pages of the same site, and
    # without Partitioned Chromium drops it on another site's.
    if policy.supports_credentials and app.config["SESSION_COOKIE_SAMESITE"] is None:
        app.config.from_mapping(
            SESSION_COOKIE_SAMESITE="None",
            SESSION_COOKIE_SECURE=True,
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_PARTITIONED=True,
        )


class CorsMiddleware:
    """Stands before the app, where no hook, route or error of the app can come in between."""

    def __init__(self, app: Flask, policy: Policy) -> None:
        self.app = app.wsgi_app
        self.preflights = preflight_app(policy)
        self.log = BlockedLog(policy)
        self.varies = not policy.is_public

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        cookie = "HTTP_COOKIE" in environ  # a page asked for credentials: a * will not do
        readable = (origin,) if cookie else (origin, "*")
        is_preflight = (
            environ["REQUEST_METHOD"] == "OPTIONS"
            and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        )

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            found = {name.lower(): value for name, value in headers}
            if origin is not None and (
                found.get("access-control-allow-origin") not in readable
                or (cookie and found.get("access-control-allow-credentials") != "true")
                or (is_preflight and not self.log.foresees(environ))
                or len(found) != len(headers)
            ):
                self.log.judge(environ, status, headers, is_preflight)
            if self.varies:
                if "vary" in found:
                    merge_vary(headers)
                else:
                    headers.append(("Vary", "Origin"))
            return start_response(status, headers, *exc_info)

        if is_preflight:
            return self.preflights(environ.copy(), start)
        return self.app(environ, start)


def preflight_app(policy: Policy) -> Flask:
    """Return an app that answers CORS-preflight requests (Fetch, section 3.3.2) on every path."""
    app = Flask(__name__, static_folder=None)
    CORS(app, **policy.flask_cors_options())
    allow_headers = ", ".join(policy.allow_headers)

    @app.before_request
    def answer() -> Response:
        method = request.headers["Access-Control-Request-Method"]
        # A browser holds every other method against Access-Control-Allow-Methods; to these,
        # only the status can say no.
        refused = method in SAFELISTED_METHODS and method not in policy.methods
        # Asked for what is allowed, flask-cors names all of it: a browser can then say which
        # method or header is missing, and a long list of headers costs nothing.
        request.environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"] = policy.methods[0]
        request.environ["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = allow_headers
        return Response(status=403 if refused else 204)

    return app


def merge_vary(headers: list[tuple[str, str]]) -> None:
    """Add `Origin` to the `Vary` of a view or the session (Fetch, "CORS protocol and HTTP caches")."""
    names = parse_list_header(", ".join(value for name, value in headers if name.lower() == "vary"))
    if not {"*", "origin"} & {name.lower() for name in names}:
        names.append("Origin")
    headers[:] = [header for header in headers if header[0].lower() != "vary"]
    headers.append(("Vary", ", ".join(names)))
