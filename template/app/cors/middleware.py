"""The gate before the app: preflights, refusals, and CORS headers on whatever leaves it."""

import json
import logging
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask_cors import CORS

from .headers import Answers, Headers, add, client_of
from .log import CorsLog, path_of
from .policy import SAFELISTED_METHODS, Policy, longest_prefix
from .protection import is_foreign, is_websocket, refusal
from .rules import show

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

REFUSED = "Refused by the CORS policy"
FAILED = "The server failed to make a response. Its log says why."


class Middleware:
    """Runs before any hook or route, and sees what fails in any of them.

    `propagates` is whether exceptions are left to the server, as for a debugger.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        policy: Policy,
        flask_cors: CORS,
        propagates: bool = False,
    ) -> None:
        self.app = app
        client = client_of(flask_cors)
        self.answers = Answers(policy, "/", client)
        self.paths = {path: Answers(part, path, client) for path, part in policy.paths.items()}
        self.propagates = propagates
        self.log = CorsLog()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        answers = self.answers
        if self.paths:
            path = path_of(environ).encode("latin-1").decode(errors="replace")  # as Flask does
            answers = longest_prefix(self.paths, path) or answers
        origin = environ.get("HTTP_ORIGIN")
        method = environ["REQUEST_METHOD"]
        allowed = answers.allows(origin)
        # For a request log around this, if there is one.
        notes = environ.get("cors.notes", {})
        notes["is_public"] = answers.is_public
        if method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            return self.preflight(environ, start_response, answers, allowed)
        ours = answers.named(answers.to_request, origin, allowed)
        is_plain_get = method == "GET" and answers.allows_get and "HTTP_UPGRADE" not in environ
        if not is_plain_get and (reason := refusal(environ, answers.policy, allowed)):
            self.log.refused(environ, reason)
            notes["verdict"] = "refused"
            return problem(environ, start_response, HTTPStatus.FORBIDDEN, reason, ours)
        if origin is not None:
            notes["verdict"] = "allowed"
            may = allowed and ("HTTP_COOKIE" not in environ or answers.policy.supports_credentials)
            if not may:
                notes["verdict"] = "denied" if is_foreign(environ) else "same-origin"
                self.log.request(environ, allowed)
        return self.respond(environ, start_response, ours, allowed)

    def preflight(
        self,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
        answers: Answers,
        allowed: bool,
    ) -> Iterable[bytes]:
        """Answer a CORS-preflight request (Fetch, section 3.3.2), on whatever path.

        An allowed origin is told all that it may do, so that its browser can say which method or
        header is missing. Browsers do not check GET, HEAD and POST against the list: where one
        of these is missing, only the status can say no.
        """
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None:
            blocked = self.log.preflight(environ, answers.policy, allowed)
            environ.get("cors.notes", {})["verdict"] = "denied" if blocked else "allowed"
        headers = answers.named(answers.to_preflight, origin, allowed)
        method = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
        if method in SAFELISTED_METHODS and not answers.policy.allows_method(method):
            start_response("403 FORBIDDEN", [*headers, ("Content-Length", "0")])
        else:
            start_response("204 NO CONTENT", [*headers])
        return ()

    def respond(
        self,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
        ours: Headers,
        allowed: bool,
    ) -> Iterable[bytes]:
        """Return the app's response with our headers, or problem details if it fails.

        The first chunk is made before the headers are sent: what fails until then, in a hook or
        a generator, can still be a response that the page can read.
        """
        begun: list[Any] = []
        sent = False

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            if sent:  # The server raises what failed (PEP 3333, "The start_response() Callable").
                return start_response(status, headers, exc_info)
            # Flask takes its request out of environ when it is done.
            begun[:] = status, headers, environ.get("werkzeug.request")

        try:
            body = stream(self.app(environ, start), environ)
            next(body)
            status, headers, request = begun
            "".join([value for _, value in headers]).encode("latin-1")  # as the server will
            environ.get("cors.notes", {})["route"] = getattr(request, "url_rule", None)
        except Exception:
            # A WebSocket's connection is not ours any more: gunicorn's ends with StopIteration.
            if self.propagates or is_websocket(environ):
                raise
            logger.exception("%s %s failed", *shown(environ))
            return problem(environ, start_response, HTTPStatus.INTERNAL_SERVER_ERROR, FAILED, ours)
        headers, replaced = add(headers, ours, allowed)
        if replaced:
            self.log.replaced(request, replaced)
        start_response(status, headers)
        sent = True
        return body


def stream(body: Iterable[bytes], environ: "WSGIEnvironment") -> Iterator[bytes]:
    """Yield nothing as soon as the first chunk has been made, then this chunk and the others."""
    begun = False
    try:
        chunks = iter(body)
        chunk: bytes | None = next(chunks, None)
        while chunk == b"":
            chunk = next(chunks, None)
        yield b""
        begun = True
        while chunk is not None:
            yield chunk
            chunk = next(chunks, None)
    except Exception:
        if begun:
            logger.error("%s %s broke off", *shown(environ))
        raise
    finally:
        if hasattr(body, "close"):
            body.close()


def shown(environ: "WSGIEnvironment") -> tuple[str, str]:
    """Return a request's method and path as they can be in a log."""
    return show(environ["REQUEST_METHOD"]), show(environ["PATH_INFO"])


def problem(
    environ: "WSGIEnvironment",
    start_response: "StartResponse",
    status: HTTPStatus,
    detail: str,
    ours: Headers,
) -> Iterable[bytes]:
    """Answer with problem details (RFC 9457), as app/errors.py does."""
    title = REFUSED if status == HTTPStatus.FORBIDDEN else status.phrase
    about = {"title": title, "status": status, "detail": detail}
    if request_id := environ.get("app.request_id"):
        about["request_id"] = request_id
    body = json.dumps(about).encode()
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase.upper()}", [*headers, *ours])
    return () if environ["REQUEST_METHOD"] == "HEAD" else (body,)
