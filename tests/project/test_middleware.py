"""What leaves the app passes the middleware, whoever made it, and keeps what is not CORS."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response, abort
from flask_cors import CORS
from werkzeug.test import Client, EnvironBuilder

from app import cors

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ALLOWED = "https://app.example.com"
STRANGER = "https://evil.example"

CONFIG: dict[str, Any] = {
    "CORS_ORIGINS": [ALLOWED],
    "CORS_METHODS": ["GET", "PUT"],
    "CORS_SUPPORTS_CREDENTIALS": True,
    "CORS_ALLOW_HEADERS": ["Content-Type"],
    "CORS_EXPOSE_HEADERS": ["X-Request-ID"],
    "CORS_MAX_AGE": 600,
}

HEADERS = [
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Allow-Origin", ALLOWED),
    ("Access-Control-Expose-Headers", "X-Request-ID"),
    ("Vary", "Origin"),
]


def put_on(app: "WSGIApplication | None" = None, **config: Any) -> Flask:
    """Return a Flask app with the policy, whose own WSGI app may be replaced."""
    flask = Flask("below")
    if app is not None:
        flask.wsgi_app = app  # type: ignore[method-assign, assignment]
    policy = cors.Policy.from_config({**CONFIG, **config})
    cors.init_app(flask, policy, CORS(**policy.flask_cors_options()))
    return flask


def get(app: Flask, origin: str | None = ALLOWED) -> Any:
    return Client(app, use_cookies=False).get("/", headers={"Origin": origin} if origin else {})


def view(app: Flask, *headers: tuple[str, str]) -> Flask:
    app.add_url_rule("/", "home", lambda: Response("home", headers=list(headers)))
    return app


def cors_headers(response: Any) -> list[tuple[str, str]]:
    return sorted(
        header for header in response.headers if header[0].startswith(("Access-Control-", "Vary"))
    )


def test_what_fails_outside_flask_has_the_headers() -> None:
    def overloaded(environ: Any, start_response: Any) -> list[bytes]:
        start_response("503 SERVICE UNAVAILABLE", [("Retry-After", "10")])
        return [b"later"]

    response = get(put_on(overloaded))
    assert (response.status_code, response.text) == (503, "later")
    assert cors_headers(response) == HEADERS
    assert response.headers["Retry-After"] == "10"


def test_app_may_send_the_same_list_again() -> None:
    """Within a request, as a debugger does (PEP 3333, `exc_info`), and for each request.

    The server gets what is sent last: the headers go out when the first chunk is made.
    """
    same = [("Vary", "Cookie"), ("Content-Type", "text/plain")]
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def fails(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", same)
        start_response("500 INTERNAL SERVER ERROR", same, (None, None, None))
        return []

    app = put_on(fails)
    environ = EnvironBuilder(headers={"Origin": ALLOWED}).get_environ()
    for _ in range(2):
        app.wsgi_app(environ, lambda *start: started.append(start))  # type: ignore[arg-type]
    assert len(started) == 2
    for status, headers in started:
        assert status == "500 INTERNAL SERVER ERROR"
        assert sorted(headers) == [
            *HEADERS[:3],
            ("Content-Type", "text/plain"),
            ("Vary", "Cookie, Origin"),
        ]
    assert same == [("Vary", "Cookie"), ("Content-Type", "text/plain")]


def test_app_cannot_start_again_after_the_first_chunk() -> None:
    """The server is asked, and raises what failed: the answer breaks off (PEP 3333)."""

    def fails_late(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        try:
            raise RuntimeError("late")
        except RuntimeError:
            start_response("500 INTERNAL SERVER ERROR", [], sys.exc_info())
        yield b"looks complete"

    body = iter(put_on(fails_late).wsgi_app(EnvironBuilder().get_environ(), serve))
    assert next(body) == b"first"
    with pytest.raises(RuntimeError, match="late"):
        next(body)


def serve(status: str, headers: Any, exc_info: Any = None) -> Any:
    """Do what a server's `start_response` does once the headers are out."""
    if exc_info:
        raise exc_info[1]


def test_body_passes_through_in_its_chunks() -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"in "
            yield b"parts"

        def close(self) -> None:
            closed.append(True)

    def streams(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [])
        return Body()

    environ = EnvironBuilder(headers={"Origin": ALLOWED}).get_environ()
    for taken in ([], [b"in "], [b"in ", b"parts"]):
        closed.clear()
        body: Any = put_on(streams).wsgi_app(environ, serve)
        assert [next(body) for _ in taken] == taken
        assert not closed  # that is the server's to do
        body.close()
        assert closed == [True]


def test_app_may_write() -> None:
    """Old apps do (PEP 3333, "The write() Callable"); what they write comes before their body."""

    def writes(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"writ")
        write(b"ten, ")
        yield b"then returned"

    def writes_at_once(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])(b"written")
        return []

    for app, text in ((writes, "written, then returned"), (writes_at_once, "written")):
        response = get(put_on(app))
        assert (response.status_code, response.text) == (200, text)
        assert cors_headers(response) == HEADERS


def test_app_may_take_the_connection_over(caplog: pytest.LogCaptureFixture) -> None:
    """As for a WebSocket: it answers on the socket itself, and never starts a response."""

    def takes_over(environ: Any, start_response: Any) -> list[bytes]:
        return []

    environ = EnvironBuilder(headers={"Origin": ALLOWED}).get_environ()
    body = put_on(takes_over).wsgi_app(environ, pytest.fail)  # type: ignore[arg-type]
    assert b"".join(body) == b""
    assert not caplog.messages


def test_what_a_websocket_raises_is_left_to_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """The connection is not ours any more; flask-sock ends that of gunicorn in this way."""

    def ends(environ: Any, start_response: Any) -> list[bytes]:
        raise StopIteration

    environ = EnvironBuilder(headers={"Upgrade": "websocket"}).get_environ()
    with pytest.raises(StopIteration):
        put_on(ends).wsgi_app(environ, pytest.fail)  # type: ignore[arg-type]
    assert not caplog.messages


@pytest.mark.parametrize("value", ["a\x00b", "a\x1b[31mb", "\x7f", "a\x0bb", "\N{SNOWMAN}"])
def test_page_can_read_that_a_header_cannot_be_sent(value: str) -> None:
    """What HTTP forbids in a value: a server would answer without CORS, or cut the connection."""

    def sends(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Name", value)])
        return [b"fine"]

    response = get(put_on(sends))
    assert (response.status_code, response.mimetype) == (500, "application/problem+json")
    assert cors_headers(response) == HEADERS and "X-Name" not in response.headers


@pytest.mark.parametrize("value", ["", "a\tb", "caf\xe9", "a~b", "\x80"])
def test_header_that_can_be_sent_is(value: str) -> None:
    def sends(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Name", value)])
        return [b"fine"]

    response = get(put_on(sends))
    assert (response.status_code, response.headers["X-Name"]) == (200, value)


@pytest.mark.parametrize("origin", [None, ALLOWED, STRANGER])
@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_environ_is_left_alone_but_for_notes(origin: str | None, method: str) -> None:
    def reads(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [])
        return []

    headers = {"Access-Control-Request-Method": "GET"} if method == "OPTIONS" else {}
    if origin:
        headers["Origin"] = origin
    environ = EnvironBuilder(method=method, headers=headers).get_environ()
    before = dict(environ)
    put_on(reads).wsgi_app(environ, lambda status, headers, exc_info=None: print)
    noted = {name: environ.pop(name) for name in [*environ] if name.startswith("cors.")}
    assert environ == before
    verdict = {None: None, ALLOWED: "allowed", STRANGER: "denied"}[origin]
    if (method, origin) == ("PUT", STRANGER):
        verdict = "refused"
    assert noted.get("cors.verdict") == verdict


@pytest.mark.parametrize("origin", [None, ALLOWED, STRANGER])
def test_cors_headers_of_a_view_are_replaced(origin: str | None) -> None:
    own = [
        ("Access-Control-Allow-Origin", "*"),
        ("access-control-allow-origin", STRANGER),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Allow-Methods", "*"),
        ("Access-Control-Max-Age", "1"),
        ("X-Request-ID", "7"),
        ("A", "kept"),
    ]
    response = get(view(put_on(), *own), origin)
    assert cors_headers(response) == (HEADERS if origin == ALLOWED else [("Vary", "Origin")])
    assert (response.headers["X-Request-ID"], response.headers["A"]) == ("7", "kept")


@pytest.mark.parametrize(
    ("own", "policys", "together"),
    [
        (["X-One, X-Two"], ["X-Request-ID"], "X-One, X-Two, X-Request-ID"),
        (["X-One", "x-request-id"], ["X-Request-ID"], "X-One, X-Request-ID"),
        (["X-One"], [], "X-One"),
        (["*"], [], "*"),
        (["X-One", "*"], ["X-Request-ID"], "*"),
        (["", " , "], ["X-Request-ID"], "X-Request-ID"),
    ],
)
def test_exposed_headers_are_merged_into_one_line(
    own: list[str], policys: list[str], together: str
) -> None:
    app = put_on(CORS_EXPOSE_HEADERS=policys)
    view(app, *(("Access-Control-Expose-Headers", value) for value in own))
    lines = get(app).headers.getlist("Access-Control-Expose-Headers")
    assert lines == [together]
    assert not get(app, STRANGER).headers.getlist("Access-Control-Expose-Headers")


@pytest.mark.parametrize(
    ("own", "together"),
    [
        ([], "Origin"),
        (["Accept-Language", "Cookie"], "Accept-Language, Cookie, Origin"),
        (["origin"], "Origin"),
        (["Cookie, ORIGIN"], "Cookie, Origin"),
        (["*"], "*"),
    ],
)
@pytest.mark.parametrize("origin", [None, ALLOWED, STRANGER])
def test_vary_is_merged_into_one_line(origin: str | None, own: list[str], together: str) -> None:
    app = view(put_on(), *(("Vary", value) for value in own))
    assert get(app, origin).headers.getlist("Vary") == [together]


def test_public_policy_does_not_vary() -> None:
    app = view(put_on(CORS_ORIGINS=["any"], CORS_SUPPORTS_CREDENTIALS=False))
    for origin in (None, ALLOWED, "null"):
        response = get(app, origin)
        assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        assert "Vary" not in response.headers


@pytest.mark.parametrize("name", ["a", "X-A"])
def test_public_policy_lists_headers_by_whatever_name(name: str) -> None:
    config: dict[str, Any] = {"CORS_ORIGINS": ["any"], "CORS_SUPPORTS_CREDENTIALS": False}
    app = put_on(CORS_ALLOW_HEADERS=[name], CORS_EXPOSE_HEADERS=[name], **config)
    asked = {"Origin": ALLOWED, "Access-Control-Request-Method": "PUT"}
    preflight = Client(app).options("/", headers=asked)
    assert preflight.headers["Access-Control-Allow-Headers"] == name
    assert get(app).headers["Access-Control-Expose-Headers"] == name


def test_public_policy_without_get_varies() -> None:
    """A GET that a page makes is refused, one that a person makes is not: caches must know."""
    app = view(put_on(CORS_ORIGINS=["any"], CORS_METHODS=["PUT"], CORS_SUPPORTS_CREDENTIALS=False))
    for origin, status in ((None, 200), (ALLOWED, 403), ("null", 403)):
        response = get(app, origin)
        assert response.status_code == status
        assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        assert response.headers.getlist("Vary") == ["Origin"]


def test_hooks_and_handlers_do_not_see_preflights() -> None:
    app = view(put_on())
    app.before_request(lambda: abort(401))
    asked = {"Origin": ALLOWED, "Access-Control-Request-Method": "PUT"}
    response = Client(app).options("/", headers=asked)
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Length" not in response.headers  # RFC 9110, section 8.6: not in a 204
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize(
    ("origin", "method"), [(ALLOWED, "POST"), (STRANGER, "PUT"), ("null", "POST"), ("", "POST")]
)
def test_hooks_and_handlers_do_not_see_what_is_refused(origin: str, method: str) -> None:
    app = view(put_on())
    seen: list[str] = []

    def note(*_: Any) -> Response:
        seen.append("hook or handler")
        return Response()

    app.before_request(note)
    app.after_request(note)
    app.register_error_handler(403, note)
    response = Client(app).open("/", method=method, headers={"Origin": origin})
    assert (response.status_code, response.mimetype) == (403, "application/problem+json")
    assert json.loads(response.data)["title"] == "Refused by the CORS policy"
    assert cors_headers(response) == (HEADERS if origin == ALLOWED else [("Vary", "Origin")])
    assert not seen


def test_answer_to_head_has_no_body() -> None:
    """RFC 9110, section 9.3.2: a server such as gunicorn sends what it is given."""

    def fails(environ: Any, start_response: Any) -> list[bytes]:
        raise RuntimeError

    refuses, errs = put_on(CORS_METHODS=["PUT"]), put_on(fails)
    for app, status in ((refuses, "403 FORBIDDEN"), (errs, "500 INTERNAL SERVER ERROR")):
        started: list[Any] = []
        environ = EnvironBuilder(method="HEAD", headers={"Origin": ALLOWED}).get_environ()
        body = app.wsgi_app(environ, lambda *start, to=started: to.extend(start))
        assert (started[0], b"".join(body)) == (status, b"")


@pytest.mark.parametrize(("seconds", "sent"), [(600, "600"), (0, "0"), (-1, "0")])
def test_preflight_may_be_remembered_for_as_long_as_set(seconds: int, sent: str) -> None:
    """Without the header, a browser remembers it for five seconds."""
    asked = {"Origin": ALLOWED, "Access-Control-Request-Method": "PUT"}
    response = Client(put_on(CORS_MAX_AGE=seconds)).options("/", headers=asked)
    assert response.headers["Access-Control-Max-Age"] == sent


@pytest.mark.parametrize(
    ("methods", "headers", "status"),
    [
        (["GET", "OPTIONS"], {}, 200),
        (["GET"], {}, 403),
        (["GET"], {"Sec-Fetch-Site": "same-origin"}, 200),
        (["GET"], {"Origin": STRANGER}, 200),
    ],
)
def test_options_that_is_no_preflight_reaches_the_app(
    methods: list[str], headers: dict[str, str], status: int
) -> None:
    """But for a page that is allowed, without that method."""
    headers = {"Origin": ALLOWED, **headers}
    response = Client(view(put_on(CORS_METHODS=methods))).options("/", headers=headers)
    assert response.status_code == status
    assert ("GET" in response.headers.get("Allow", "")) is (status == 200)
    allowed = headers["Origin"] == ALLOWED
    assert cors_headers(response) == (HEADERS if allowed else [("Vary", "Origin")])
