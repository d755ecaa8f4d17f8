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
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from socket import create_server
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from chromium import Certificate, Chromium, serve
from conftest import ROOT, Render

from app.cors.chromium import console_message
from app.cors.fetch import Block, Headers, Request, Response, fetch, readable_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

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

            met: dict[str, int | None] = {"right": None, "judge": None, "Chromium": None}
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


PAGE = "https://app.example.com"
GET, GET_WITH_CREDENTIALS = Request(PAGE), Request(PAGE, credentials=True)
PUT, PUT_WITH_CREDENTIALS = Request(PAGE, "PUT"), Request(PAGE, "PUT", credentials=True)
WATCHED_POST = Request(PAGE, "POST", preflight=True)
WATCHED_PUT = Request(PAGE, "PUT", preflight=True)
TWO_HEADERS = (("X-One", "1"), ("X-Two", "2"))

# Access-Control-Allow-Origin, one item a line, and why a page on PAGE may not read the response.
ALLOW_ORIGIN: list[tuple[list[str], Block | None]] = [
    ([PAGE], None),
    ([f" {PAGE}\t"], None),
    (["*"], None),
    ([], Block.NO_ALLOW_ORIGIN),
    ([""], Block.OTHER_ALLOW_ORIGIN),
    ([f"{PAGE}/"], Block.OTHER_ALLOW_ORIGIN),
    ([f"{PAGE}:443"], Block.OTHER_ALLOW_ORIGIN),
    ([PAGE.upper()], Block.OTHER_ALLOW_ORIGIN),
    (["http://app.example.com"], Block.OTHER_ALLOW_ORIGIN),
    (["https://*.example.com"], Block.OTHER_ALLOW_ORIGIN),
    (["app.example.com"], Block.OTHER_ALLOW_ORIGIN),
    (["null"], Block.OTHER_ALLOW_ORIGIN),
    ([PAGE, PAGE], Block.SEVERAL_ALLOW_ORIGINS),
    (["*", PAGE], Block.SEVERAL_ALLOW_ORIGINS),
    (["*", "*"], Block.SEVERAL_ALLOW_ORIGINS),
    ([f"{PAGE},"], Block.SEVERAL_ALLOW_ORIGINS),
    ([f"https://other.example, {PAGE}"], Block.SEVERAL_ALLOW_ORIGINS),
    ([f"{PAGE} https://other.example"], Block.SEVERAL_ALLOW_ORIGINS),
]

# Access-Control-Allow-Credentials, likewise.
ALLOW_CREDENTIALS: list[tuple[list[str], Block | None]] = [
    (["true"], None),
    ([], Block.NO_ALLOW_CREDENTIALS),
    ([""], Block.NO_ALLOW_CREDENTIALS),
    (["True"], Block.NO_ALLOW_CREDENTIALS),
    (["false"], Block.NO_ALLOW_CREDENTIALS),
    (["true", "true"], Block.NO_ALLOW_CREDENTIALS),
]

# Access-Control-Allow-Methods or -Headers in answer to a preflight, likewise.
ALLOW_METHODS: list[tuple[Request, list[str], Block | None]] = [
    (PUT, ["PUT"], None),
    (PUT, ["GET,,PUT ,"], None),
    (PUT, ["GET", "PUT"], None),
    (PUT, ["*"], None),
    (PUT, [], Block.METHOD),
    (PUT, [""], Block.METHOD),
    (PUT, ["GET, POST"], Block.METHOD),
    (PUT, ["put"], Block.METHOD),
    (PUT, ["GET PUT"], Block.MALFORMED_LIST),
    (PUT, ["GET; PUT"], Block.MALFORMED_LIST),
    (PUT, ['"PUT"'], Block.MALFORMED_LIST),
    (PUT_WITH_CREDENTIALS, ["PUT"], None),
    (PUT_WITH_CREDENTIALS, ["*"], Block.METHOD),
    (Request(PAGE, "put"), ["PUT"], None),
    (Request(PAGE, "PATCH"), ["patch"], Block.METHOD),
    (Request(PAGE, "patch"), ["PATCH"], Block.METHOD),
    (Request(PAGE, "patch"), ["patch"], None),
    (WATCHED_POST, [], None),
    (WATCHED_POST, ["PUT"], None),
    (WATCHED_POST, ["GET PUT"], Block.MALFORMED_LIST),
    (WATCHED_PUT, ["PUT"], None),
    (WATCHED_PUT, ["GET"], Block.METHOD),
]
ALLOW_HEADERS: list[tuple[Request, list[str], Block | None]] = [
    (Request(PAGE, headers=TWO_HEADERS), ["x-one, X-TWO"], None),
    (Request(PAGE, headers=TWO_HEADERS), ["x-one", "x-two"], None),
    (Request(PAGE, headers=TWO_HEADERS), ["*"], None),
    (Request(PAGE, headers=TWO_HEADERS), ["x-one"], Block.HEADER),
    (Request(PAGE, headers=TWO_HEADERS), [], Block.HEADER),
    (Request(PAGE, headers=TWO_HEADERS), ["x-one x-two"], Block.MALFORMED_LIST),
    (Request(PAGE, headers=TWO_HEADERS), ["x-(one|two)"], Block.MALFORMED_LIST),
    (Request(PAGE, headers=TWO_HEADERS, credentials=True), ["x-one, x-two"], None),
    (Request(PAGE, headers=TWO_HEADERS, credentials=True), ["*"], Block.HEADER),
    (Request(PAGE, "POST", JSON), ["content-type"], None),
    (Request(PAGE, "POST", JSON), ["accept"], Block.HEADER),
    (Request(PAGE, headers=AUTHORIZATION), ["authorization"], None),
    (Request(PAGE, headers=AUTHORIZATION), ["x-one"], Block.HEADER),
    (Request(PAGE, headers=AUTHORIZATION, credentials=True), ["*"], Block.HEADER),
    (Request(PAGE, headers=(("Accept", "a(b"),)), [], Block.HEADER),
    (Request(PAGE, headers=(("Accept-Language", "en_GB"),)), [], Block.HEADER),
    (Request(PAGE, "POST", (("Content-Type", "text/plain; a=b"),)), [], None),
    (Request(PAGE, "POST", (("Content-Type", 'text/plain; a="b"'),)), [], Block.HEADER),
    (Request(PAGE, headers=(("Range", "bytes=0-9"),)), [], None),
    (Request(PAGE, headers=(("Range", "bytes=-9"),)), [], Block.HEADER),
    (Request(PAGE, headers=tuple((f"X-{n}", "1") for n in "cab")), ["x-c"], Block.HEADER),
]

PREFLIGHT_STATUSES: list[tuple[int, Block | None]] = [
    (200, None),
    (204, None),
    (206, None),
    (299, None),
    *((status, Block.PREFLIGHT_REDIRECT) for status in (301, 302, 303, 307, 308)),
    *((status, Block.PREFLIGHT_STATUS) for status in (300, 304, 400, 401, 403, 404, 405, 500, 502)),
]


def reply(status: int = 200, **lines: list[str]) -> Response:
    """A response with CORS headers: `origin=["*"]` is `Access-Control-Allow-Origin: *`."""
    named = [(f"Access-Control-Allow-{key.title()}", line) for key in lines for line in lines[key]]
    return Response(status, tuple(named))


def odd_replies() -> Iterator[tuple[Request, Response, Response, Block | None]]:
    """Yield requests, the replies to them and to their preflights, and why they are blocked."""
    fine = reply(origin=[PAGE], credentials=["true"], methods=["PUT"])
    for lines, block in ALLOW_ORIGIN:
        yield GET, reply(origin=lines), fine, block
        yield PUT, fine, reply(origin=lines, methods=["PUT"]), block
        yield PUT, fine, reply(404, origin=lines), block or Block.PREFLIGHT_STATUS
        with_credentials = Block.WILDCARD_WITH_CREDENTIALS if lines == ["*"] else block
        lax = reply(origin=lines, credentials=["true"])
        yield GET_WITH_CREDENTIALS, lax, fine, with_credentials
    for lines, block in ALLOW_CREDENTIALS:
        yield GET, reply(origin=[PAGE], credentials=lines), fine, None
        yield GET_WITH_CREDENTIALS, reply(origin=[PAGE], credentials=lines), fine, block
        half = reply(origin=[PAGE], credentials=lines, methods=["PUT"])
        yield PUT_WITH_CREDENTIALS, fine, half, block
    for request, lines, block in ALLOW_METHODS:
        yield request, fine, reply(origin=[PAGE], credentials=["true"], methods=lines), block
    for request, lines, block in ALLOW_HEADERS:
        yield request, fine, reply(origin=[PAGE], credentials=["true"], headers=lines), block
    for status, block in PREFLIGHT_STATUSES:
        preflight = reply(status, origin=[PAGE], methods=["PUT"])
        location = (("Location", "/"),) if block is Block.PREFLIGHT_REDIRECT else ()
        yield PUT, fine, replace(preflight, headers=(*preflight.headers, *location)), block


# Access-Control-Expose-Headers, one item a line, and which of Set-Cookie, X-One and X-Two a page
# may read.
EXPOSE_HEADERS: list[tuple[Request, list[str], set[str]]] = [
    (GET, [], set()),
    (GET, ["X-One"], {"x-one"}),
    (GET, ["x-one", "X-TWO, set-cookie, x-absent"], {"x-one", "x-two"}),
    (GET, ["*"], {"x-one", "x-two"}),
    (GET_WITH_CREDENTIALS, ["X-One"], {"x-one"}),
    (GET_WITH_CREDENTIALS, ["*"], set()),
    (GET, ["x-one x-two"], set()),
]

# Where Chromium 156 departs from the standard, the judge does not.
DEPARTURES: list[tuple[Request, Response, Block | None]] = [
    (WATCHED_PUT, reply(origin=[PAGE]), None),
    (Request(PAGE, headers=AUTHORIZATION), reply(origin=[PAGE], headers=["*"]), Block.HEADER),
]


class Scripted:
    """A server that replies as it is told, which the rendered app never would."""

    def __init__(self) -> None:
        self.response = self.preflight = reply()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        chosen = self.preflight if environ["REQUEST_METHOD"] == "OPTIONS" else self.response
        length = [] if chosen.status in (204, 304) else [("Content-Length", "0")]
        start_response(f"{chosen.status} Said", [*chosen.headers, *length])
        return []


def test_the_judge_knows_why_chromium_blocks_and_what_it_says(browser: Chromium) -> None:
    server = Scripted()
    differences = []
    with serve(server, browser.certificate) as port:
        for number, (request, response, preflight, block) in enumerate(odd_replies()):
            server.response, server.preflight = response, preflight
            url = f"https://{API}:{port}/{number}"
            body = "body" if request.method in ("POST", "PUT") else None
            answer = browser.fetch(url, request, body)
            outcome = fetch(url, request, Wire(browser.servers, body))
            api = "XMLHttpRequest" if request.preflight else "fetch"
            said = answer.console[0] if answer.console else None
            foretold = console_message(PAGE, url, outcome, api)
            right = outcome.verdict.block is block and answer.allowed is (block is None)
            if not right or (block is not None and said != foretold):
                differences.append(
                    f"{request} {response} {preflight}: {block} {outcome.verdict}\n"
                    f"  {said}\n  {foretold}"
                )
    assert not differences, "\n".join(differences)


def test_the_judge_knows_what_a_page_may_read(browser: Chromium) -> None:
    server = Scripted()
    own = (("Set-Cookie", "a=1"), ("X-One", "1"), ("X-Two", "2"))
    differences = []
    with serve(server, browser.certificate) as port:
        url = f"https://{API}:{port}/"
        for request, lines, names in EXPOSE_HEADERS:
            allowed = reply(origin=[PAGE], credentials=["true"])
            exposed = (("Access-Control-Expose-Headers", line) for line in lines)
            server.response = replace(allowed, headers=(*allowed.headers, *exposed, *own))
            read = browser.fetch(url, request).response
            response = fetch(url, request, Wire(browser.servers, None)).response
            judged = {name.lower() for name, _ in readable_headers(request, response)}
            for seen in (judged, set(read.headers) if read else set()):
                if seen & {"set-cookie", "x-one", "x-two"} != names:
                    differences.append(f"{request} {lines}: {names} {judged} {read}")
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize(("request_", "preflight", "block"), DEPARTURES)
def test_the_judge_keeps_to_the_standard(
    request_: Request, preflight: Response, block: Block | None
) -> None:
    server = Scripted()
    server.response, server.preflight = reply(origin=["*"]), preflight
    with serve(server) as port:
        outcome = fetch(f"http://localhost:{port}/", request_, Wire({}, None))
    assert outcome.verdict.block is block


def test_no_page_on_https_reaches_plain_http(browser: Chromium, render: Render) -> None:
    """But for the machine's own addresses; and a redirect to another scheme makes Origin null."""
    project = render(frontend_origins="https://app.example.com, http://localhost:5173")
    secure, plain = "https://app.example.com", "http://localhost:5173"
    differences = []
    with gunicorn(project, browser.certificate) as https, gunicorn(project) as http:
        to_http = f"/redirect/302?to=http://{API}:{http}/api/echo"
        to_https = f"/redirect/308?to=https://{API}:{https}/api/echo"
        cases: list[tuple[str, str, Block | None]] = [
            (secure, f"http://{API}:{http}/api/echo?", Block.MIXED_CONTENT),
            (secure, f"http://localhost:{http}/api/echo?", None),
            (secure, f"http://127.0.0.1:{http}/api/echo?", None),
            (secure, f"http://[::1]:{http}/api/echo?", None),
            (secure, f"http://api.localhost:{http}/api/echo?", None),
            (secure, f"https://{API}:{https}{to_http}&", Block.MIXED_CONTENT),
            (plain, f"http://{API}:{http}/api/echo?", None),
            (plain, f"https://{API}:{https}{to_http}&", Block.NO_ALLOW_ORIGIN),
            (plain, f"http://{API}:{http}{to_https}&", Block.NO_ALLOW_ORIGIN),
        ]
        for number, (page, url, block) in enumerate(cases):
            for request in (Request(page), Request(page, "PUT", JSON)):
                answer = browser.fetch(
                    f"{url}case={number}", request, "{}" if request.headers else None
                )
                verdict = fetch(f"{url}case={number}", request, Wire(browser.servers, "{}")).verdict
                if not (verdict.block is block and answer.allowed is (block is None)):
                    differences.append(f"{request} {url}: {verdict} {answer}")
    assert not differences, "\n".join(differences)


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
    browser.tab.context.clear_cookies()
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
