"""Chromium, the rendered app's own judge (app/cors/fetch.py) and the policy as it was meant: one verdict."""

import json
import os
import signal
import ssl
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from chromium import Certificate, Chromium
from conftest import ROOT, Render

from app.cors.fetch import Headers, Request, Response, fetch, readable_headers

API = "api.example.net"

JSON = (("Content-Type", "application/json"),)
AUTHORIZATION = (("Authorization", "Bearer token"),)


@dataclass(frozen=True)
class Call:
    """What a page does, and the status that it gets to see where the policy lets it."""

    path: str = "/api/echo"
    status: int = 200
    method: str = "GET"
    headers: Headers = ()
    body: str | None = None
    credentials: bool = False
    preflight: bool = False


def put(path: str = "/api/echo", status: int = 200, **more: Any) -> Call:
    return Call(path, status, "PUT", JSON, "{}", **more)


CALLS = {
    "GET": Call(),
    "HEAD": Call(method="HEAD"),
    "POST text": Call(method="POST", status=415, body="text"),
    "POST JSON": Call(method="POST", headers=JSON, body="{}"),
    "PUT": put(),
    "PATCH": Call(method="PATCH", headers=JSON, body="{}"),
    "patch": Call(method="patch", headers=JSON, body="{}"),
    "DELETE": Call(method="DELETE"),
    "delete": Call(method="delete"),
    "OPTIONS": Call(method="OPTIONS"),
    "POST watched": Call(method="POST", status=415, body="text", preflight=True),
    "PUT watched": put(preflight=True),
    "safelisted headers": Call(headers=(("Accept", "text/csv"), ("Content-Language", "en"))),
    "long Accept": Call(headers=(("Accept", "a" * 129),)),
    "Authorization": Call(headers=AUTHORIZATION),
    "X-Listed": Call(headers=(("X-Listed", "1"),)),
    "X-Unlisted": Call(headers=(("X-Unlisted", "1"), ("x-listed", "1"))),
    "GET with credentials": Call(credentials=True),
    "PUT with credentials": put(credentials=True),
    "watched with credentials": put(credentials=True, preflight=True),
    "GET unknown path": Call("/unknown", 404),
    "PUT unknown path": put("/unknown", 404),
    "GET failing": Call("/fails", 500),
    "PUT failing": put("/fails", 500),
    "GET private": Call("/private", 401),
    "PUT private": put("/private", 401),
    "POST too large": Call("/api/echo", 413, "POST", JSON, f'"{101 * "x"}"'),
    "GET slash": Call("/slash"),
    "PUT slash": put("/slash"),
    "POST 302": Call("/redirect/302?to=/api/echo", method="POST", body="text"),
    "PUT 303": put("/redirect/303?to=/api/echo"),
    "PUT 307": put("/redirect/307?to=/api/echo"),
    "GET 302 elsewhere": Call("/redirect/302?to={elsewhere}/any"),
    "PUT 307 elsewhere": put("/redirect/307?to={elsewhere}/any"),
    "Authorization 302 elsewhere": Call("/redirect/302?to={elsewhere}/any", headers=AUTHORIZATION),
    "GET 302 where the page is named": Call("/redirect/302?to={elsewhere}/named"),
    "GET 302 back to the page": Call("/redirect/302?to=https://app.example.com/"),
    "GET 302 with a user name": Call("/redirect/302?to=https://me@{api}/api/echo"),
    "GET 302 to ftp": Call("/redirect/302?to=ftp://{api}/"),
    "GET 302 for ever": Call("/loop"),
}

# No policy can allow these: after a redirect to a third place the origin is null.
NEVER = {
    "GET 302 where the page is named",
    "GET 302 back to the page",
    "GET 302 with a user name",
    "GET 302 to ftp",
    "GET 302 for ever",
}

# What a page does that may do nothing.
STRANGER_CALLS = (
    "GET",
    "HEAD",
    "POST text",
    "POST JSON",
    "DELETE",
    "PUT watched",
    "Authorization",
    "PUT with credentials",
    "GET unknown path",
    "GET failing",
    "PUT private",
    "GET slash",
    "PUT 307 elsewhere",
)

WITH_CREDENTIALS = {"GET with credentials", "PUT with credentials", "watched with credentials"}
WITH_PUT = {name for name in CALLS if name.startswith("PUT")} | {"watched with credentials"}
WITH_AUTHORIZATION = {"Authorization", "Authorization 302 elsewhere"}


@dataclass(frozen=True)
class Policy:
    """Answers, the pages that they allow, those that they do not, and what stays blocked."""

    answers: dict[str, Any]
    pages: list[str]
    strangers: list[str]
    blocked: set[str]
    only_in_chromium: set[str] = field(default_factory=set)


POLICIES = {
    "one origin": Policy(
        {"frontend_origins": "https://app.example.com"},
        ["https://app.example.com"],
        [
            "https://app.example.com.evil.example",
            "https://evilapp.example.com",
            "https://evil-app.example.com",
            "https://sub.app.example.com",
            "https://example.com",
            "https://appxexample.com",
            "https://app.example.com:8443",
            "http://app.example.com",
            "http://app.example.com:8080",
            "null",
        ],
        {"patch", "OPTIONS", "X-Listed", "X-Unlisted", "long Accept", *WITH_CREDENTIALS},
    ),
    "several, with credentials": Policy(
        {
            "frontend_origins": "https://app.example.com, https://admin.example.com:8443, "
            "http://localhost:3000",
            "allow_credentials": True,
            "allowed_headers": "Content-Type, X-Listed",
        },
        ["https://app.example.com", "https://admin.example.com:8443", "http://localhost:3000"],
        [
            "https://admin.example.com",
            "https://app.example.com:8443",
            "http://localhost:5173",
            "http://localhost",
            "http://127.0.0.1:3000",
            "http://app.localhost:3000",
            "null",
        ],
        {"patch", "OPTIONS", "X-Unlisted", "long Accept", *WITH_AUTHORIZATION},
    ),
    "wildcards": Policy(
        {"frontend_origins": ["https://*.example.com", "http://localhost:*"]},
        [
            "https://a.example.com",
            "https://a.b-c.example.com",
            "http://localhost",
            "http://localhost:5173",
        ],
        [
            "https://example.com",
            "https://xexample.com",
            "https://a.example.com.evil.example",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://localhost",
            "http://a.localhost:5173",
            "http://127.0.0.1:5173",
            "null",
        ],
        {"patch", "OPTIONS", "X-Listed", "X-Unlisted", "long Accept", *WITH_CREDENTIALS},
    ),
    "any": Policy(
        {"frontend_origins": "any", "allowed_headers": "any", "exposed_headers": "any"},
        ["https://anything.example", "http://anything.example:8080", "null"],
        [],
        {"patch", "OPTIONS", *WITH_CREDENTIALS, *WITH_AUTHORIZATION},
        # The standard does not let * stand for Authorization; Chromium still does.
        only_in_chromium=WITH_AUTHORIZATION,
    ),
    "only PUT and DELETE": Policy(
        {
            "frontend_origins": "http://intranet.example:8080",
            "allowed_methods": ["PUT", "DELETE"],
            "allowed_headers": "Content-Type, X-Listed",
        },
        ["http://intranet.example:8080"],
        ["http://intranet.example", "http://intranet.example:3000", "https://intranet.example"],
        {
            "POST JSON",
            "PATCH",
            "patch",
            "OPTIONS",
            "POST watched",
            "long Accept",
            "X-Listed",
            "X-Unlisted",
            "POST too large",
            *WITH_AUTHORIZATION,
            *WITH_CREDENTIALS,
        },
    ),
    "only GET, no headers": Policy(
        {
            "frontend_origins": ["http://[::1]:3000", "http://127.0.0.1:5173"],
            "allowed_methods": ["GET"],
            "allowed_headers": [],
            "exposed_headers": [],
            "preflight_max_age": -1,
        },
        ["http://[::1]:3000", "http://127.0.0.1:5173"],
        ["http://localhost:3000", "http://[::1]:5173", "http://127.0.0.2:5173"],
        {
            "POST JSON",
            "PATCH",
            "patch",
            "DELETE",
            "delete",
            "OPTIONS",
            "POST watched",
            "long Accept",
            "X-Listed",
            "X-Unlisted",
            "POST too large",
            *WITH_PUT,
            *WITH_AUTHORIZATION,
            *WITH_CREDENTIALS,
        },
    ),
    "every method and header": Policy(
        {
            "frontend_origins": "https://app.example.com",
            "allowed_methods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
            "allow_credentials": True,
            "allowed_headers": "content-type, AUTHORIZATION, x-listed, X-Unlisted, Accept",
        },
        ["https://app.example.com"],
        ["https://app.example.com:8443", "http://app.example.com"],
        {"patch"},
    ),
}


@pytest.mark.parametrize("name", POLICIES)
def test_chromium_the_judge_and_the_policy_agree(
    browser: Chromium, render: Render, name: str
) -> None:
    policy = POLICIES[name]
    checks = [(page, call) for page in policy.pages for call in CALLS]
    checks += [(page, call) for page in policy.strangers for call in STRANGER_CALLS]
    differences = []
    project = render(**policy.answers)
    with gunicorn(project, browser.certificate) as port:
        places = {"elsewhere": f"https://elsewhere.example.net:{port}", "api": f"{API}:{port}"}
        for number, (page, title) in enumerate(checks):
            call = CALLS[title]
            path = call.path.format(**places)
            url = f"https://{API}:{port}{path}{'&' if '?' in path else '?'}case={number}"
            request = Request(page, call.method, call.headers, call.credentials, call.preflight)

            answer = browser.fetch(f"{url}-chromium", request, call.body)
            outcome = fetch(f"{url}-judge", request, Wire(browser.servers, call.body))

            met = {"right": None, "judge": None, "Chromium": None}
            if page in policy.pages and title not in policy.blocked | NEVER:
                met["right"] = call.status
            if outcome.allowed:
                met["judge"] = outcome.response.status
            if answer.response:
                met["Chromium"] = answer.response.status
            if title in policy.only_in_chromium and met["Chromium"] == call.status:
                met["Chromium"] = None
            elif answer.response and outcome.allowed:
                readable = {key.lower() for key, _ in readable_headers(request, outcome.response)}
                if readable != answer.response.headers.keys():
                    differences.append(f"{page} {title}: {readable} {answer.response.headers}")
            if len(set(met.values())) != 1:
                differences.append(f"{page} {title}: {met} {outcome.verdict} {answer.console}")
    differences += different_requests(project, checks, policy)
    assert not differences, "\n".join(differences)


@dataclass(frozen=True)
class Sent:
    """A request as it came in at the server, what it had not as `-`."""

    method: str
    path: str
    origin: str
    asked_method: str
    asked_headers: str
    cookie: str


def recorded(project: Path) -> list[tuple[str, Sent]]:
    """Return each request that a project's app has had, with its query."""
    lines = (project / "requests.log").read_text().splitlines()
    return [
        (query, Sent(*line.split(" ", 5)))
        for line, _, query in (text.partition(" ?") for text in lines)
    ]


def different_requests(project: Path, checks: list[tuple[str, str]], policy: Policy) -> list[str]:
    """Return where Chromium and the judge sent other requests, or with other CORS headers."""
    sent: dict[str, list[Sent]] = defaultdict(list)
    for query, request in recorded(project):
        sent[parse_qs(query)["case"][0]].append(request)
    return [
        f"{page} {title}: {sent[f'{number}-chromium']} {sent[f'{number}-judge']}"
        for number, (page, title) in enumerate(checks)
        if sent[f"{number}-chromium"] != sent[f"{number}-judge"]
        and title not in policy.only_in_chromium
    ]


@pytest.mark.parametrize(
    ("origins", "query", "requests", "allowed"),
    [
        ("https://app.example.com", "", ["-", "https://app.example.com"], True),
        ("any", "", ["-"], True),
        ("https://app.example.com", "?without-vary", ["-"], False),
    ],
)
def test_a_cached_response_keeps_no_page_out(
    browser: Chromium,
    render: Render,
    origins: str,
    query: str,
    requests: list[str],
    allowed: bool,
) -> None:
    """What `<script src>` has put into the cache, without Origin, a page may fetch afterwards."""
    project = render(frontend_origins=origins)
    with gunicorn(project, browser.certificate) as port:
        url = f"https://{API}:{port}/script.js{query}"
        browser.open("https://app.example.com")
        browser.load_script(url)
        assert browser.fetch(url, Request("https://app.example.com")).allowed is allowed
    assert [sent.origin for _, sent in recorded(project)] == requests


@pytest.mark.parametrize("credentials", [True, False])
def test_session_cookie_comes_back_where_credentials_may(
    browser: Chromium, render: Render, credentials: bool
) -> None:
    """From a page of another site, that is: the cookie must be `SameSite=None; Secure`."""
    page = "https://app.example.com"
    project = render(frontend_origins=page, allow_credentials=credentials)
    with gunicorn(project, browser.certificate) as port:
        for path in ("/log-in", "/user"):
            answer = browser.fetch(f"https://{API}:{port}{path}", Request(page, credentials=True))
            assert answer.allowed is credentials
        user = answer.response and json.loads(answer.response.text)
        stranger = browser.fetch(f"https://{API}:{port}/user", Request(page)).response
    assert user == ({"user": "Ada"} if credentials else None)
    assert stranger and json.loads(stranger.text) == {"user": None}
    came_back = [sent.cookie.startswith("session=") for _, sent in recorded(project)]
    assert came_back == [False, credentials, False]


@pytest.mark.parametrize(("max_age", "preflights"), [(600, 1), (1, 1), (0, 2), (-1, 2)])
def test_preflight_is_remembered_for_max_age(
    browser: Chromium, render: Render, max_age: int, preflights: int
) -> None:
    project = render(frontend_origins="https://app.example.com", preflight_max_age=max_age)
    with gunicorn(project, browser.certificate) as port:
        for _ in range(2):
            request = Request("https://app.example.com", "PUT", JSON)
            assert browser.fetch(f"https://{API}:{port}/api/echo", request, "{}").allowed
    assert [sent.method for _, sent in recorded(project)].count("OPTIONS") == preflights


class Wire:
    """Sends the judge's requests over HTTP, each on a connection of its own."""

    def __init__(self, servers: dict[int, int], body: str | None) -> None:
        self.servers = servers
        self.body = body

    def __call__(self, method: str, url: str, headers: Headers) -> Response:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        port = self.servers.get(port, port)
        connection: HTTPConnection
        if parts.scheme == "https":
            unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
            connection = HTTPSConnection("127.0.0.1", port, context=unverified, timeout=10)
        else:
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
        body = None if method in ("GET", "HEAD", "OPTIONS") else self.body
        target = f"{parts.path}?{parts.query}"
        connection.request(method, target, body, {**dict(headers), "Host": parts.netloc})
        response = connection.getresponse()
        connection.close()
        return Response(response.status, tuple(response.getheaders()))


@contextmanager
def gunicorn(project: Path, certificate: Certificate | None = None) -> Iterator[int]:
    """Serve a project's app, with the routes of detours.py, until the block ends."""
    with create_server(("127.0.0.1", 0)) as listener:
        options = ["--bind", f"fd://{listener.fileno()}", "--worker-class=gthread", "--threads=8"]
        options += ["--log-level=error", "--pythonpath", str(ROOT / "tests")]
        if certificate:
            options += ["--certfile", str(certificate.path)]
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "detours:app"],
            cwd=project,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        try:
            yield listener.getsockname()[1]
        finally:
            # At once, workers and all: Chromium keeps its connections open.
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
