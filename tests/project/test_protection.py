"""Requests that the policy does not allow are refused before the app sees them."""

import json
import logging
import threading
from itertools import product
from typing import Any

import pytest
from flask import Flask, Response, request
from flask_cors import CORS
from flask_sock import Sock
from simple_websocket import Client, ConnectionError
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import make_server
from werkzeug.test import create_environ

from app import cors

POLICY: dict[str, Any] = {
    "CORS_ORIGINS": ["https://app.example.com", "https://pr-*.example.com"],
    "CORS_METHODS": ["GET", "POST"],
    "CORS_SUPPORTS_CREDENTIALS": False,
    "CORS_ALLOW_HEADERS": ["Content-Type"],
    "CORS_EXPOSE_HEADERS": [],
    "CORS_MAX_AGE": 600,
}

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "QUERY")
SITES = (None, "same-origin", "none", "same-site", "cross-site", "same-origin, cross-site", "")
MODES = (None, "cors", "no-cors", "navigate")
ORIGINS = {
    None: "none",
    "https://api.example.com": "own",
    "http://api.example.com": "own",
    "https://app.example.com": "allowed",
    "https://pr-7.example.com": "allowed",
    "https://evil.example": "stranger",
    "https://api.example.com:8443": "stranger",
    "https://api.example.com@evil.example": "stranger",
    "https://x@api.example.com": "stranger",
    "https://app.example.com, https://app.example.com": "stranger",
    "null": "stranger",
    "": "stranger",
}
HOSTS = ("api.example.com", "api.example.com:443", "API.example.com:80")


def guarded(**settings: Any) -> Flask:
    """Return an app whose view notes what runs, behind a policy."""
    app = Flask("guarded")
    app.extensions["ran"] = ran = []

    @app.route("/", defaults={"path": ""}, methods=METHODS, provide_automatic_options=False)
    @app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
    def act(path: str) -> str:
        ran.append(request.method)
        return "acted"

    policy = cors.Policy.from_config(POLICY | settings)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return app


ENVIRON = create_environ("/")


def send(app: Flask, method: str, path: str = "/", **headers: str | None) -> tuple[bool, Any]:
    """Return whether the view ran, and the response."""
    named = {f"HTTP_{name}": value for name, value in headers.items() if value is not None}
    environ = {**ENVIRON, "REQUEST_METHOD": method, "PATH_INFO": path, **named}
    begun: list[Any] = []
    app.extensions["ran"].clear()
    body = b"".join(app(environ, lambda *start: begun.extend(start)))  # type: ignore[arg-type]
    return bool(app.extensions["ran"]), Response(body, begun[0], begun[1])


def may_run(
    method: str, site: str | None, origin: str, mode: str | None, public: bool, methods: set[str]
) -> bool:
    """Say in one's own words what issue and policy say: the oracle."""
    if site in ("same-origin", "none"):
        return True  # the API's own page, or the user's own hand
    if site is None and origin in ("none", "own"):
        return True  # no browser, or the API's own page where browsers do not say so
    trusted = public or origin == "allowed"
    listed = method in methods or (method == "HEAD" and "GET" in methods)
    if method in ("GET", "HEAD", "OPTIONS"):
        readable = origin != "none" and mode in (None, "cors") and trusted
        return listed or not readable
    return trusted and listed


POLICIES = {
    "GET and POST": ({}, False, {"GET", "POST"}),
    "write only": ({"CORS_METHODS": ["PUT"]}, False, {"PUT"}),
    "public": ({"CORS_ORIGINS": "any"}, True, {"GET", "POST"}),
    "public, no GET": ({"CORS_ORIGINS": "any", "CORS_METHODS": ["POST"]}, True, {"POST"}),
}


@pytest.mark.parametrize("name", POLICIES)
def test_every_kind_of_request(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "app.cors.gate")
    settings, public, methods = POLICIES[name]
    app = guarded(**settings)
    refused = 0
    for method, site, (origin, kind), mode in product(METHODS, SITES, ORIGINS.items(), MODES):
        headers = {"SEC_FETCH_SITE": site, "SEC_FETCH_MODE": mode, "ORIGIN": origin}
        ran, response = send(app, method, HOST="api.example.com", **headers)
        expected = may_run(method, site, kind, mode, public, methods)
        assert ran is expected, (method, headers)
        if not ran:
            refused += 1
            assert response.status_code == 403
            assert response.mimetype == "application/problem+json"
            readable = "*" if public else origin if kind == "allowed" else None
            assert response.headers.get("Access-Control-Allow-Origin") == readable
        assert ("Origin" in response.headers.get("Vary", "")) is (
            not public or "GET" not in methods
        )
    assert refused > 100


@pytest.mark.parametrize("host", HOSTS)
def test_default_ports_do_not_make_a_page_foreign(host: str) -> None:
    app = guarded()
    assert send(app, "DELETE", HOST=host, ORIGIN="https://api.example.com")[0]
    assert not send(app, "DELETE", HOST=host, ORIGIN="https://api.example.com.evil.example")[0]


def test_refusal_names_the_cause_and_the_setting(caplog: pytest.LogCaptureFixture) -> None:
    app = guarded(
        CORS_PATHS={
            "/items/public": {"methods": "GET, PUT"},
            "/saml": {"origins": "https://a.test"},
        }
    )
    ours, stranger = "https://app.example.com", "https://evil.example"
    for method, path, origin, reason in (
        ("DELETE", "/items/1", ours, "the method is not in CORS_METHODS: GET, POST"),
        ("POST", "/items", stranger, "the origin is not in CORS_ORIGINS"),
        ("POST", "/items", None, "the origin is not in CORS_ORIGINS"),
        (
            "POST",
            "/items/public/1",
            ours,
            "the method is not in CORS_PATHS['/items/public']['methods']: GET, PUT",
        ),
        ("POST", "/saml", ours, "the origin is not in CORS_PATHS['/saml']['origins']"),
    ):
        caplog.clear()
        headers = {"HOST": "api", "ORIGIN": origin, "SEC_FETCH_SITE": "cross-site"}
        _, response = send(app, method, path, **headers)
        about = {"title": "Refused by the CORS policy", "status": 403, "detail": reason}
        assert json.loads(response.data) == about
        who = origin or "another site"
        assert caplog.messages == [f"CORS: refused {method} {path} from {who}: {reason}"]


def test_protection_can_be_switched_off() -> None:
    stranger = {"ORIGIN": "https://evil.example", "HOST": "api"}
    assert send(guarded(CORS_PROTECTION=False), "POST", **stranger)[0]
    app = guarded(CORS_PATHS={"/saml": {"protection": False}})
    assert send(app, "POST", "/saml/return", **stranger)[0]
    assert not send(app, "POST", "/samly", **stranger)[0]


def test_preflight_lists_head_with_get() -> None:
    app = guarded()
    asked = {"ORIGIN": "https://app.example.com", "ACCESS_CONTROL_REQUEST_METHOD": "HEAD"}
    assert send(app, "OPTIONS", **asked)[1].status_code == 204


@pytest.mark.parametrize("inside", [False, True])
def test_proxy_fix_is_around_the_policy(inside: bool) -> None:
    """Inside, the API's own page would look foreign: app/operations.py puts it around."""
    app = guarded()
    if inside:
        gate = app.wsgi_app
        gate.app = ProxyFix(gate.app, x_host=1)  # type: ignore[attr-defined]
    else:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
    own = {"ORIGIN": "https://api.example.com", "X_FORWARDED_HOST": "api.example.com"}
    assert send(app, "DELETE", HOST="127.0.0.1:8000", **own)[0] is not inside


@pytest.mark.parametrize(
    ("origin", "opens"),
    [
        ("https://app.example.com", True),
        ("https://evil.example", False),
        ("null", False),
        (None, True),
    ],
)
def test_websocket_of_a_stranger_is_refused(origin: str | None, opens: bool) -> None:
    app = guarded()

    @Sock(app).route("/socket")
    def socket(ws: Any) -> None:
        ws.send("hello")

    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        headers = {"Origin": origin} if origin else {}
        try:
            client = Client(f"ws://127.0.0.1:{server.server_port}/socket", headers=headers)
        except ConnectionError:
            assert not opens
        else:
            assert opens and client.receive(timeout=5) == "hello"
    finally:
        server.shutdown()
