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
from app.cors import gate
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
    Block.NO_ALLOW_ORIGIN: "the origin is not in CORS_ORIGINS",
    Block.METHOD: "the method is not in CORS_METHODS: ",
    Block.PREFLIGHT_STATUS: "the method is not in CORS_METHODS: ",
    Block.HEADER: "the header ",
    Block.NO_ALLOW_CREDENTIALS: "it has cookies, and CORS_SUPPORTS_CREDENTIALS is false",
    Block.WILDCARD_WITH_CREDENTIALS: "it has cookies, and CORS_SUPPORTS_CREDENTIALS is false",
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
        app.wsgi_app.silent_until = 0  # type: ignore[attr-defined]
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


def test_lines_name_the_cause_and_the_setting(caplog: pytest.LogCaptureFixture) -> None:
    public = {"origins": "any", "methods": ["GET"], "allow_headers": ["X-A"]}
    app = make_app(CORS_PATHS={"/public": public, "/partner": {"origins": ["https://p.example"]}})
    asks = {"Origin": ALLOWED, "Access_Control_Request_Method": "PATCH"}
    ask(app, "OPTIONS", "/items", **asks)
    ask(app, "OPTIONS", "/public", **asks)
    asks |= {"Access_Control_Request_Method": "PUT"}
    ask(app, "OPTIONS", "/items", **asks, Access_Control_Request_Headers="content-type,x-other")
    asks |= {"Access_Control_Request_Method": "GET"}
    ask(app, "OPTIONS", "/public", **asks, Access_Control_Request_Headers="x-a,x-other")
    ask(app, "POST", "/items", Origin=ALLOWED, Cookie="a=1")
    ask(app, "GET", "/public", Origin=ALLOWED, Cookie="a=1")
    ask(app, "GET", "/items", Origin=STRANGER)
    ask(app, "GET", "/partner", Origin=ALLOWED)
    ask(app, "POST", "/items", Origin=STRANGER)
    ask(app, "POST", "/items", Sec_Fetch_Site="cross-site")
    ask(app, "GET", "/items", Origin=ALLOWED)
    ask(app, "GET", "/items", Origin=STRANGER, Upgrade="websocket")
    method, header = "the method is not in", "the header x-other is not in"
    cookies, origin = "it has cookies, and", "the origin is not in"
    assert caplog.messages == [
        f"CORS: {what}: {reason}"
        for what, reason in (
            (f"a browser blocks PATCH /items from {ALLOWED}", f"{method} CORS_METHODS: POST, PUT"),
            (
                f"a browser blocks PATCH /public from {ALLOWED}",
                f"{method} CORS_PATHS['/public']['methods']: GET",
            ),
            (
                f"a browser blocks PUT /items from {ALLOWED}",
                f"{header} CORS_ALLOW_HEADERS: Content-Type, X-Token",
            ),
            (
                f"a browser blocks GET /public from {ALLOWED}",
                f"{header} CORS_PATHS['/public']['allow_headers']: X-A",
            ),
            (
                f"a browser blocks POST /items from {ALLOWED}",
                f"{cookies} CORS_SUPPORTS_CREDENTIALS is false",
            ),
            (
                f"a browser blocks GET /public from {ALLOWED}",
                f"{cookies} CORS_PATHS['/public']['supports_credentials'] is false",
            ),
            (f"a browser blocks GET /items from {STRANGER}", f"{origin} CORS_ORIGINS"),
            (
                f"a browser blocks GET /partner from {ALLOWED}",
                f"{origin} CORS_PATHS['/partner']['origins']",
            ),
            (f"refused POST /items from {STRANGER}", f"{origin} CORS_ORIGINS"),
            ("refused POST /items from another site", f"{origin} CORS_ORIGINS"),
            (f"refused GET /items from {ALLOWED}", f"{method} CORS_METHODS: POST, PUT"),
            (f"refused GET /items from {STRANGER}", f"{origin} CORS_ORIGINS"),
        )
    ]
    assert {(record.name, record.levelname) for record in caplog.records} == {
        ("app.cors.gate", "WARNING")
    }


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
    assert line == f"CORS: refused POST / from {STRANGER}: the origin is not in CORS_ORIGINS"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_flood_of_lines_is_cut(
    method: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lines about what browsers block, and about what the app refuses."""
    now = 1000.0
    monkeypatch.setattr(gate.time, "monotonic", lambda: now)
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
