"""The app's log: a line for each request that a browser blocks or the app refuses, and no other."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from flask import Flask, Response
from flask_cors import CORS

from app import cors
from app.cors import log
from whycors.browser import Block, Headers, PageRequest, fetch
from whycors.browser import Response as Received

ALLOWED = "https://app.example.com"
STRANGER = "https://evil.example"

CONFIG: dict[str, Any] = {
    "CORS_ORIGINS": [ALLOWED, "https://*.example.net"],
    "CORS_METHODS": ["POST", "PUT"],
    "CORS_SUPPORTS_CREDENTIALS": False,
    "CORS_ALLOW_HEADERS": ["Content-Type", "X-Token"],
    "CORS_EXPOSE_HEADERS": [],
    "CORS_MAX_AGE": 600,
}

POLICIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "credentials": {"CORS_SUPPORTS_CREDENTIALS": True},
    "any": {"CORS_ORIGINS": "any", "CORS_ALLOW_HEADERS": "*"},
    "any-authorized": {"CORS_ORIGINS": "any", "CORS_ALLOW_HEADERS": "*, Authorization"},
    "no-headers": {"CORS_ALLOW_HEADERS": [], "CORS_METHODS": ["GET"]},
}

REASONS = {
    Block.NO_ALLOW_ORIGIN: "the origin is not allowed",
    Block.METHOD: "the method is not among ",
    Block.PREFLIGHT_STATUS: "the method is not among ",
    Block.HEADER: "the header ",
    Block.NO_ALLOW_CREDENTIALS: "credentials are not allowed",
    Block.WILDCARD_WITH_CREDENTIALS: "credentials are not allowed",
}


def make_app(**config: Any) -> Flask:
    app = Flask("logs")
    methods = ["GET", "POST", "PUT", "PATCH"]
    app.add_url_rule("/", "home", dict, methods=methods)
    policy = cors.Policy.from_config({**CONFIG, **config})
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return app


def ask(app: Flask, method: str = "GET", path: str = "/", **headers: str) -> None:
    """Send a request; `Sec_Fetch_Mode` stands for the header `Sec-Fetch-Mode`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    app.test_client(use_cookies=False).open(path, method=method, headers=named)


@pytest.mark.parametrize("name", POLICIES)
def test_line_for_each_blocked_request(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """But for a preflight's that is blocked for its credentials: it does not show them.

    What needs no preflight reaches the app, which refuses it where it could change something or
    where a page that is allowed uses a method that is not.
    """
    app = make_app(**POLICIES[name])
    policy = app.extensions["cors_policy"]
    refused = 0
    client = app.test_client(use_cookies=False)
    origins = [ALLOWED, "https://a.example.net", STRANGER, "null"]
    methods = ["GET", "POST", "PUT", "PATCH"]
    headers: list[Headers] = [
        (),
        (("Content-Type", "application/json"),),
        (("X-Token", "1"), ("X-Other", "1")),
        (("Authorization", "Bearer 1"),),
    ]
    for origin, method, more, credentials in product(origins, methods, headers, (False, True)):
        request = PageRequest(origin, method, more, credentials)

        def send(
            method: str, url: str, headers: Headers, request: PageRequest = request
        ) -> Received:
            sent = [*headers, ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Site", "cross-site")]
            if method != "OPTIONS" and request.credentials:
                sent.append(("Cookie", "session=1"))
            response = client.open(url, method=method, headers=sent)
            return Received(response.status_code, tuple(response.headers))

        caplog.clear()
        app.wsgi_app.log.silent_until = 0  # type: ignore[attr-defined]
        outcome = fetch("http://localhost/", request, send)
        verdict, lines = outcome.verdict, caplog.messages
        last = outcome.exchanges[-1]
        trusted = policy.is_public or origin not in (STRANGER, "null")
        may = method in policy.methods if trusted else method == "GET"
        if last.method != "OPTIONS":
            assert last.response.status == (200 if may else 403), request
        if last.method != "OPTIONS" and not may:
            (line,) = lines
            start = f"CORS: refused {method} / from {origin}: "
            reason = REASONS[Block.METHOD if trusted else Block.NO_ALLOW_ORIGIN]
            assert line.startswith(start + reason), (request, line)
            refused += 1
        elif verdict.block is None:
            assert not lines, (request, lines)
        elif not (verdict.during_preflight and credentials):
            (line,) = lines
            start = f"CORS: a browser blocks {method} / from {origin}: "
            assert line.startswith(start + REASONS[verdict.block]), (request, line)
    assert refused


def test_lines_name_what_to_change(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    asks = {"Origin": ALLOWED, "Access_Control_Request_Method": "PATCH"}
    ask(app, "OPTIONS", "/items", **asks)
    asks |= {"Access_Control_Request_Method": "PUT"}
    ask(app, "OPTIONS", "/items", **asks, Access_Control_Request_Headers="content-type,x-other")
    ask(app, "POST", "/items", Origin=ALLOWED, Cookie="a=1")
    ask(app, "GET", "/items", Origin=STRANGER)
    ask(app, "POST", "/items", Origin=STRANGER)
    ask(app, "POST", "/items", Sec_Fetch_Site="cross-site")
    ask(app, "GET", "/items", Origin=ALLOWED)
    ask(app, "GET", "/items", Origin=STRANGER, Upgrade="websocket")
    lines = [line.partition("; to see what to change: ") for line in caplog.messages]
    assert [line for line, _, _ in lines] == [
        f"CORS: a browser blocks PATCH /items from {ALLOWED}: the method is not among POST, PUT",
        f"CORS: a browser blocks PUT /items from {ALLOWED}: the header x-other is not allowed",
        f"CORS: a browser blocks POST /items from {ALLOWED}: credentials are not allowed",
        f"CORS: a browser blocks GET /items from {STRANGER}: the origin is not allowed",
        f"CORS: refused POST /items from {STRANGER}: the origin is not allowed",
        "CORS: refused POST /items from another site: the origin is not allowed",
        f"CORS: refused GET /items from {ALLOWED}: the method is not among POST, PUT",
        f"CORS: refused GET /items from {STRANGER}: the origin is not allowed",
    ]
    assert [command for _, _, command in lines] == [
        f"flask cors explain {ALLOWED} PATCH /items",
        f"flask cors explain {ALLOWED} PUT /items --header content-type --header x-other",
        f"flask cors explain {ALLOWED} POST /items --credentials",
        f"flask cors explain {STRANGER} GET /items",
        f"flask cors explain {STRANGER} POST /items",
        "",
        f"flask cors explain {ALLOWED} GET /items",
        f"flask cors explain {STRANGER} GET /items",
    ]
    assert {(record.name, record.levelname) for record in caplog.records} == {
        ("app.cors.log", "WARNING")
    }


def test_command_in_a_line_is_harmless(caplog: pytest.LogCaptureFixture) -> None:
    """And runs as it is: the path is percent-encoded."""
    app = make_app()
    ask(app, path="/a b/ä", Origin="http://[::1]:3000")
    for origin in ("https://a.example;reboot", "https://$(reboot)", "https://a.example`b`", "'"):
        ask(app, Origin=origin)
    lines = [line.partition("; to see what to change: ") for line in caplog.messages]
    commands = [command for _, _, command in lines]
    assert commands == ["flask cors explain 'http://[::1]:3000' GET /a%20b/%C3%A4", *[""] * 4]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://localhost:443", "Host": "localhost"},
        {"Origin": "https://localhost", "Host": "localhost"},  # behind a proxy that speaks TLS
        {"Origin": STRANGER, "Sec_Fetch_Site": "same-origin"},
    ],
)
def test_no_line_for_the_apis_own_pages(
    method: str, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    ask(make_app(), method, **headers)
    assert not caplog.messages


@pytest.mark.parametrize("origin", [ALLOWED, STRANGER])
@pytest.mark.parametrize("mode", ["navigate", "no-cors", "websocket"])
def test_no_line_for_what_browsers_do_not_check(
    origin: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """But for what may change something: it is refused in every mode, as a form's navigation."""
    app = make_app()
    ask(app, "GET", Origin=origin, Sec_Fetch_Mode=mode)
    ask(app, "POST", Origin=ALLOWED, Sec_Fetch_Mode=mode)
    assert not caplog.messages
    ask(app, "POST", Origin=STRANGER, Sec_Fetch_Mode=mode)
    (line,) = caplog.messages
    assert line.startswith(f"CORS: refused POST / from {STRANGER}: the origin is not allowed; ")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_flood_of_lines_is_cut(
    method: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lines about what browsers block, and about what the app refuses."""
    now = 1000.0
    monkeypatch.setattr(log.time, "monotonic", lambda: now)
    app = make_app()
    for _ in range(500):
        ask(app, method, Origin=STRANGER)
    assert 20 <= len(caplog.messages) <= 21
    caplog.clear()
    now += 3.1
    for _ in range(100):
        ask(app, method, Origin=STRANGER)
    (line,) = caplog.messages
    assert re.search(r" \(at most (479|480) more lines were dropped\)\Z", line)
    caplog.clear()
    now += 3600
    for _ in range(100):
        ask(app, method, Origin=STRANGER)
    assert 20 <= len(caplog.messages) <= 21


@pytest.mark.parametrize("hostile", ["https://a\x1b[2J.example", "\x85\u2028", "a" * 5000, '"', ""])
def test_line_cannot_be_forged(hostile: str, caplog: pytest.LogCaptureFixture) -> None:
    hostile = hostile.encode().decode("latin-1")
    environ = {
        "HTTP_ORIGIN": hostile,
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": hostile,
        "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": hostile,
    }
    app = make_app()
    client = app.test_client(use_cookies=False)
    client.options("/", environ_overrides=environ)
    client.options("/", environ_overrides={**environ, "HTTP_ORIGIN": ALLOWED})
    asks = {"HTTP_ORIGIN": ALLOWED, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
    client.options("/", environ_overrides={**environ, **asks})
    request = {"HTTP_ORIGIN": hostile, "PATH_INFO": f"/{hostile}\r\nx"}
    client.get("/", environ_overrides=request)
    client.post("/", environ_overrides=request)
    client.open("/", environ_overrides={**request, "REQUEST_METHOD": hostile})
    assert len(caplog.messages) >= 5
    for line in caplog.messages:
        assert line.isprintable() and len(line) < 600, line


@pytest.mark.parametrize("hostile", ["https://a\x1b[2J.example", "\x85\u2028", "a" * 5000, '"', ""])
def test_line_about_a_failure_cannot_be_forged(
    hostile: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails_late() -> Iterator[str]:
        yield "first"
        raise RuntimeError

    hostile = hostile.encode().decode("latin-1")
    fails_early: Iterator[Any] = map(int, ["no number"])
    for chunks, said in ((fails_early, " failed"), (fails_late(), " broke off")):
        app = make_app()
        app.before_request(lambda chunks=chunks: Response(chunks))
        environ = {"REQUEST_METHOD": f"GET{hostile}", "PATH_INFO": f"/{hostile}\r\nx"}
        caplog.clear()
        with suppress(RuntimeError):
            app.test_client().get("/", environ_overrides=environ, buffered=True)
        (line,) = caplog.messages
        assert line.isprintable() and len(line) < 600 and line.endswith(said), line


def test_view_that_sets_cors_headers_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(CORS_METHODS=["GET"])
    own = {"Access-Control-Allow-Origin": "*", "Access-Control-Max-Age": "1", "Vary": "Cookie"}
    app.add_url_rule("/own", "sets_them", lambda: Response(headers=own))
    exposes = {"Access-Control-Expose-Headers": "ETag", "Accept-Ranges": "none"}
    app.add_url_rule("/exposes", "exposes", lambda: Response(headers=exposes))
    for _ in range(3):
        ask(app, path="/own", Origin=ALLOWED)
        ask(app, path="/own")
        ask(app, path="/exposes", Origin=ALLOWED)
        ask(app, path="/none", Origin=ALLOWED)
    (line,) = caplog.messages
    assert line == (
        "CORS: remove Access-Control-Allow-Origin, Access-Control-Max-Age from the view sets_them:"
        " the policy's headers replace what it sets"
    )
