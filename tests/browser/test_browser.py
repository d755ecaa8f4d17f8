"""Browsers, the judge (whycors/browser.py) and the policy as it is meant: one verdict."""

import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from chromium import EXTENSION, Asked, Browser, Certificate, Chromium, serve
from conftest import copy, skip
from servers import gunicorn, render_answers
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

from whycors.browser import (
    Block,
    Headers,
    Outcome,
    PageRequest,
    Response,
    fetch,
    readable_headers,
)
from whycors.consoles import sentences

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

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
    "GET own headers": Call("/own-headers"),
    "own headers with credentials": Call("/own-headers", credentials=True),
    "GET exposing": Call("/exposes"),
}

# No policy can allow these: after a redirect to a third place the origin is null.
NEVER = {
    "GET 302 where the page is named",
    "GET 302 back to the page",
    "GET 302 with a user name",
    "GET 302 to ftp",
    "GET 302 for ever",
}

# What a page on another of the origins does: only the origin can make a difference.
SOME_CALLS = ("GET", "PUT", "PUT with credentials", "GET failing")

# What the first page does that may do nothing.
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
    "GET own headers",
    "own headers with credentials",
)

WITH_CREDENTIALS = {
    "GET with credentials",
    "PUT with credentials",
    "watched with credentials",
    "own headers with credentials",
}
WITH_PUT = {name for name in CALLS if name.startswith("PUT")} | {"watched with credentials"}
WITH_AUTHORIZATION = {"Authorization", "Authorization 302 elsewhere"}


@dataclass(frozen=True)
class Policy:
    """Answers, the pages that they allow, those that they do not, and what does not work.

    What the API refuses, a page can read the refusal of.
    """

    answers: dict[str, Any]
    pages: list[str]
    strangers: list[str]
    blocked: set[str]
    refused: set[str] = field(default_factory=set)
    only_in_chromium: set[str] = field(default_factory=set)


POLICIES = {
    "one-origin": Policy(
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
            EXTENSION,
            "null",
        ],
        {"patch", "OPTIONS", "X-Listed", "X-Unlisted", "long Accept", *WITH_CREDENTIALS},
    ),
    "with-credentials": Policy(
        {
            "frontend_origins": "https://app.example.com, https://admin.example.com:8443, "
            f"http://localhost:3000, chrome-extension://{32 * 'a'}",
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
            EXTENSION,
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
    "previews": Policy(
        {
            "frontend_origins": "https://pr-*.example.com, https://*--shop.example.org",
            "allow_credentials": True,
        },
        [
            "https://pr-7.example.com",
            "https://pr-log-in.example.com",
            "https://deploy-preview-7--shop.example.org",
        ],
        [
            "https://pr-7.evil.example",
            "https://pr-7.example.com.evil.example",
            "https://pr-.example.com",
            "https://pr-a.b.example.com",
            "https://xpr-7.example.com",
            "https://x.pr-7.example.com",
            "https://pr7.example.com",
            "https://pr-7.example.com:8443",
            "http://pr-7.example.com",
            "https://shop.example.org",
            "https://--shop.example.org",
            "https://a.b--shop.example.org",
            "https://a--myshop.example.org",
        ],
        {"patch", "OPTIONS", "X-Listed", "X-Unlisted", "long Accept"},
    ),
    "extension": Policy(
        {"frontend_origins": f"capacitor://localhost, {EXTENSION}"},
        [EXTENSION],
        ["https://app.example.com", "http://localhost", "null"],
        {"patch", "OPTIONS", "X-Listed", "X-Unlisted", "long Accept", *WITH_CREDENTIALS},
    ),
    "any": Policy(
        {"frontend_origins": "any", "allowed_headers": "any", "exposed_headers": "any"},
        ["https://anything.example", "http://anything.example:8080", EXTENSION, "null"],
        [],
        {"patch", "OPTIONS", *WITH_CREDENTIALS, *WITH_AUTHORIZATION},
        # The standard does not let * stand for Authorization; Chromium still does.
        only_in_chromium=WITH_AUTHORIZATION,
    ),
    "put-and-delete": Policy(
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
        refused={
            "HEAD",
            "POST text",
            "POST 302",
            "PUT 303",
            "safelisted headers",
            *(title for title in CALLS if title.startswith("GET")),
        },
    ),
    "only-get": Policy(
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
        refused={"POST text", "POST 302"},
    ),
    "everything": Policy(
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


# Answers for one test each.
OTHERS: dict[str, dict[str, Any]] = {
    "cached": {"frontend_origins": "https://app.example.com"},
    "cached-any": {"frontend_origins": "any"},
    "no-vary": {"frontend_origins": "https://app.example.com"},
    "cookies": {
        "frontend_origins": "https://app.example.com",
        "allow_credentials": True,
        "frontends_share_site": False,
    },
    "no-cookies": {"frontend_origins": "https://app.example.com"},
    "local": {"frontend_origins": "https://app.example.com, http://localhost:5173"},
    **{
        f"max-age-{seconds}": {
            "frontend_origins": "https://app.example.com",
            "preflight_max_age": seconds,
        }
        for seconds in (600, 1, 0, -1)
    },
}


@dataclass(frozen=True)
class Sent:
    """A request as it came in at the server, with None for what it does not have."""

    host: str
    method: str
    path: str
    query: str
    origin: str | None
    asked_method: str | None
    asked_headers: str | None
    cookie: str | None

    @property
    def case(self) -> str:
        return parse_qs(self.query).get("case", [""])[0]

    @property
    def name(self) -> str:
        return self.host.partition(".")[0]


@dataclass(frozen=True)
class Apis:
    """The apps of detours.py, one for each policy."""

    project: Path
    port: int

    def host(self, name: str) -> str:
        return f"{name}.example.net:{self.port}"

    def requests(self) -> list[Sent]:
        """Return each request that has come in."""
        lines = (self.project / "requests.log").read_text().splitlines()
        return [Sent(*json.loads(line)) for line in lines]


@pytest.fixture(scope="session")
def apis(
    template: Path, tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[Apis]:
    """Serve the apps over TLS. Their answers are rendered as Copier does it."""
    project = tmp_path_factory.mktemp("apis") / "project"
    copy(template, project, {})
    policies = {name: policy.answers for name, policy in POLICIES.items()}
    render_answers(template, project, policies | OTHERS)
    with gunicorn(project, "detours:app", certificate) as port:
        yield Apis(project, port)


# After a redirect these engines depart from the standard; the judge does not. Both ask once more
# whether they may. Firefox then names the page's origin, where the request itself has `null`, and
# WebKit keeps the header that is to go (Fetch, section 4.4).
AFTER_REDIRECT = {
    "chromium": set(),
    "firefox": {"PUT 303", "PUT 307 elsewhere", "Authorization 302 elsewhere"},
    "webkit": {"PUT 303", "Authorization 302 elsewhere"},
}


@pytest.mark.parametrize("name", POLICIES)
def test_browsers_the_judge_and_the_policy_agree(engine: Browser, apis: Apis, name: str) -> None:
    policy = POLICIES[name]
    checks = list(to_check(policy, engine))
    places = {"elsewhere": f"https://{apis.host('elsewhere')}", "api": apis.host(name)}
    asked: list[Asked] = []
    for number, (page, title) in enumerate(checks):
        call = CALLS[title]
        path = call.path.format(**places)
        query = f"{'&' if '?' in path else '?'}case={name}-{engine.name}-{number}"
        request = PageRequest(page, call.method, call.headers, call.credentials, call.preflight)
        asked.append((f"https://{apis.host(name)}{path}{query}", request, call.body))
    answers = engine.fetch_all([(f"{url}-browser", request, body) for url, request, body in asked])
    wire = Wire(engine)
    differences = []
    for (page, title), (url, request, body), answer in zip(checks, asked, answers, strict=True):
        wire.body = body
        outcome = fetch(f"{url}-judge", request, wire)
        met: dict[str, int | None] = {"right": None, "judge": None, "browser": None}
        if page in policy.pages and title not in policy.blocked:
            if title in policy.refused:
                met["right"] = 403
            elif title not in NEVER:
                met["right"] = CALLS[title].status
        if outcome.allowed:
            met["judge"] = outcome.response.status
        if answer.response:
            met["browser"] = answer.response.status
        if title in AFTER_REDIRECT[engine.name] and met["browser"] is None:
            del met["browser"]
        elif title in policy.only_in_chromium and met["browser"] == CALLS[title].status:
            met["browser"] = None
        elif answer.response and outcome.allowed:
            readable = {key.lower() for key, _ in readable_headers(request, outcome.response)}
            if readable != answer.response.headers.keys():
                differences.append(f"{page} {title}: {readable} {answer.response.headers}")
        if len(set(met.values())) != 1:
            differences.append(f"{page} {title}: {met} {outcome.verdict} {answer.console}")
    differences += different_requests(apis, name, engine, checks)
    assert not differences, "\n".join(differences)


def to_check(policy: Policy, engine: Browser) -> Iterator[tuple[str, str]]:
    """Yield pages, with the title of a call that each makes."""
    for pages, calls in ((policy.pages, list(CALLS)), (policy.strangers, STRANGER_CALLS)):
        pages = [page for page in pages if page != EXTENSION or engine.name == "chromium"]
        for page in pages[:1]:
            yield from ((page, title) for title in calls)
        for page in pages[1:]:
            yield from ((page, title) for title in SOME_CALLS)


def different_requests(
    apis: Apis, name: str, engine: Browser, checks: list[tuple[str, str]]
) -> list[str]:
    """Return where a browser and the judge sent other requests, or with other CORS headers."""
    sent: dict[str, list[Sent]] = defaultdict(list)
    for request in apis.requests():
        sent[request.case].append(replace(request, query=""))
    cases = [f"{name}-{engine.name}-{number}" for number in range(len(checks))]
    return [
        f"{page} {title}: {sent[f'{case}-browser']} {sent[f'{case}-judge']}"
        for case, (page, title) in zip(cases, checks, strict=True)
        if sent[f"{case}-browser"] != sent[f"{case}-judge"]
        and title not in POLICIES[name].only_in_chromium | AFTER_REDIRECT[engine.name]
    ]


PAGE = "https://app.example.com"
GET, GET_WITH_CREDENTIALS = PageRequest(PAGE), PageRequest(PAGE, credentials=True)
PUT, PUT_WITH_CREDENTIALS = PageRequest(PAGE, "PUT"), PageRequest(PAGE, "PUT", credentials=True)
WATCHED_POST = PageRequest(PAGE, "POST", preflight=True)
WATCHED_PUT = PageRequest(PAGE, "PUT", preflight=True)
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
ALLOW_METHODS: list[tuple[PageRequest, list[str], Block | None]] = [
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
    (PageRequest(PAGE, "put"), ["PUT"], None),
    (PageRequest(PAGE, "PATCH"), ["patch"], Block.METHOD),
    (PageRequest(PAGE, "patch"), ["PATCH"], Block.METHOD),
    (PageRequest(PAGE, "patch"), ["patch"], None),
    (WATCHED_POST, [], None),
    (WATCHED_POST, ["PUT"], None),
    (WATCHED_POST, ["GET PUT"], Block.MALFORMED_LIST),
    (WATCHED_PUT, ["PUT"], None),
    (WATCHED_PUT, ["GET"], Block.METHOD),
]
ALLOW_HEADERS: list[tuple[PageRequest, list[str], Block | None]] = [
    (PageRequest(PAGE, headers=TWO_HEADERS), ["x-one, X-TWO"], None),
    (PageRequest(PAGE, headers=TWO_HEADERS), ["x-one", "x-two"], None),
    (PageRequest(PAGE, headers=TWO_HEADERS), ["*"], None),
    (PageRequest(PAGE, headers=TWO_HEADERS), ["x-one"], Block.HEADER),
    (PageRequest(PAGE, headers=TWO_HEADERS), [], Block.HEADER),
    (PageRequest(PAGE, headers=TWO_HEADERS), ["x-one x-two"], Block.MALFORMED_LIST),
    (PageRequest(PAGE, headers=TWO_HEADERS), ["x-(one|two)"], Block.MALFORMED_LIST),
    (PageRequest(PAGE, headers=TWO_HEADERS, credentials=True), ["x-one, x-two"], None),
    (PageRequest(PAGE, headers=TWO_HEADERS, credentials=True), ["*"], Block.HEADER),
    (PageRequest(PAGE, "POST", JSON), ["content-type"], None),
    (PageRequest(PAGE, "POST", JSON), ["accept"], Block.HEADER),
    (PageRequest(PAGE, headers=AUTHORIZATION), ["authorization"], None),
    (PageRequest(PAGE, headers=AUTHORIZATION), ["x-one"], Block.HEADER),
    (PageRequest(PAGE, headers=AUTHORIZATION, credentials=True), ["*"], Block.HEADER),
    (PageRequest(PAGE, headers=(("Accept", "a(b"),)), [], Block.HEADER),
    (PageRequest(PAGE, headers=(("Accept-Language", "en_GB"),)), [], Block.HEADER),
    (PageRequest(PAGE, "POST", (("Content-Type", "text/plain; a=b"),)), [], None),
    (PageRequest(PAGE, "POST", (("Content-Type", 'text/plain; a="b"'),)), [], Block.HEADER),
    (PageRequest(PAGE, headers=(("Range", "bytes=0-9"),)), [], None),
    (PageRequest(PAGE, headers=(("Range", "bytes=-9"),)), [], Block.HEADER),
    (PageRequest(PAGE, headers=tuple((f"X-{n}", "1") for n in "cab")), ["x-c"], Block.HEADER),
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


def odd_replies() -> Iterator[tuple[PageRequest, Response, Response, Block | None]]:
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
EXPOSE_HEADERS: list[tuple[PageRequest, list[str], set[str]]] = [
    (GET, [], set()),
    (GET, ["X-One"], {"x-one"}),
    (GET, ["x-one", "X-TWO, set-cookie, x-absent"], {"x-one", "x-two"}),
    (GET, ["*"], {"x-one", "x-two"}),
    (GET_WITH_CREDENTIALS, ["X-One"], {"x-one"}),
    (GET_WITH_CREDENTIALS, ["*"], set()),
    (GET, ["x-one x-two"], set()),
]

# Where Chromium 156 departs from the standard, the judge does not.
DEPARTURES: list[tuple[PageRequest, Response, Block | None]] = [
    (WATCHED_PUT, reply(origin=[PAGE]), None),
    (PageRequest(PAGE, headers=AUTHORIZATION), reply(origin=[PAGE], headers=["*"]), Block.HEADER),
]


class Scripted:
    """A server that replies to `/NUMBER` by the pair of that number, a preflight by its second."""

    def __init__(self, replies: list[tuple[Response, Response]]) -> None:
        self.replies = replies

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        response, preflight = self.replies[int(environ["PATH_INFO"][1:])]
        chosen = preflight if environ["REQUEST_METHOD"] == "OPTIONS" else response
        length = [] if chosen.status in (204, 304) else [("Content-Length", "0")]
        start_response(f"{chosen.status} Said", [*chosen.headers, *length])
        return []


def judge(url: str, request: PageRequest, response: Response, preflight: Response) -> Outcome:
    """Return what the judge makes of the replies of a scripted server."""
    return fetch(url, request, lambda method, *_: preflight if method == "OPTIONS" else response)


def test_the_judge_knows_why_chromium_blocks_and_what_it_says(browser: Chromium) -> None:
    cases = list(odd_replies())
    differences = []
    server = Scripted([(response, preflight) for _, response, preflight, _ in cases])
    with serve(server, browser.certificate) as port:
        asked = [
            (
                f"https://api.example.net:{port}/{number}",
                request,
                "body" if request.method in ("POST", "PUT") else None,
            )
            for number, (request, *_) in enumerate(cases)
        ]
        answers = browser.fetch_all(asked)
    for (url, *_), (request, response, preflight, block), answer in zip(
        asked, cases, answers, strict=True
    ):
        outcome = judge(url, request, response, preflight)
        said = answer.console[0] if answer.console else None
        foretold = sentences(request, url, outcome).get("Chrome")
        right = outcome.verdict.block is block and answer.allowed is (block is None)
        if not right or (block is not None and said != foretold):
            differences.append(
                f"{request} {response} {preflight}: {block} {outcome.verdict}\n"
                f"  {said}\n  {foretold}"
            )
    assert not differences, "\n".join(differences)


def test_the_judge_knows_what_a_page_may_read(browser: Chromium) -> None:
    own = (("Set-Cookie", "a=1"), ("X-One", "1"), ("X-Two", "2"))
    allowed = reply(origin=[PAGE], credentials=["true"])
    responses = []
    for _, lines, _ in EXPOSE_HEADERS:
        exposed = (("Access-Control-Expose-Headers", line) for line in lines)
        responses.append(replace(allowed, headers=(*allowed.headers, *exposed, *own)))
    differences = []
    with serve(Scripted([(one, one) for one in responses]), browser.certificate) as port:
        asked = [
            (f"https://api.example.net:{port}/{number}", request, None)
            for number, (request, *_) in enumerate(EXPOSE_HEADERS)
        ]
        answers = browser.fetch_all(asked)
    for (request, lines, names), response, answer in zip(
        EXPOSE_HEADERS, responses, answers, strict=True
    ):
        judged = {name.lower() for name, _ in readable_headers(request, response)}
        for seen in (judged, set(answer.response.headers) if answer.response else set()):
            if seen & {"set-cookie", "x-one", "x-two"} != names:
                differences.append(f"{request} {lines}: {names} {judged} {answer}")
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize(("request_", "preflight", "block"), DEPARTURES)
def test_the_judge_keeps_to_the_standard(
    request_: PageRequest, preflight: Response, block: Block | None
) -> None:
    outcome = judge("https://api.example.net/", request_, reply(origin=["*"]), preflight)
    assert outcome.verdict.block is block


def test_no_page_on_https_reaches_plain_http(browser: Chromium, apis: Apis) -> None:
    """But for the machine's own addresses; and a redirect to another scheme makes Origin null."""
    secure, plain = "https://app.example.com", "http://localhost:5173"
    with gunicorn(apis.project, "detours:app") as http:
        https_api, http_api = f"https://{apis.host('local')}", f"http://local.example.net:{http}"
        to_http = f"/redirect/302?to={http_api}/api/echo"
        to_https = f"/redirect/308?to={https_api}/api/echo"
        cases: list[tuple[str, str, Block | None]] = [
            (secure, f"{http_api}/api/echo?", Block.MIXED_CONTENT),
            (secure, f"http://localhost:{http}/api/echo?", None),
            (secure, f"http://127.0.0.1:{http}/api/echo?", None),
            (secure, f"http://[::1]:{http}/api/echo?", None),
            (secure, f"http://api.localhost:{http}/api/echo?", None),
            (secure, f"{https_api}{to_http}&", Block.MIXED_CONTENT),
            (plain, f"{http_api}/api/echo?", None),
            (plain, f"{https_api}{to_http}&", Block.NO_ALLOW_ORIGIN),
            (plain, f"{http_api}{to_https}&", Block.NO_ALLOW_ORIGIN),
        ]
        asked: list[Asked] = []
        for number, (page, url, _) in enumerate(cases):
            asked.append((f"{url}case={number}-GET", PageRequest(page), None))
            asked.append((f"{url}case={number}-PUT", PageRequest(page, "PUT", JSON), "{}"))
        answers = [browser.fetch(*one) for one in asked]
        wire = Wire(browser, "{}")
        outcomes = [fetch(url, request, wire) for url, request, _ in asked]
    differences = []
    blocks = [block for _, _, block in cases for _ in range(2)]
    for (url, request, _), answer, outcome, block in zip(
        asked, answers, outcomes, blocks, strict=True
    ):
        said = answer.console[0] if answer.console else None
        foretold = sentences(request, url, outcome).get("Chrome")
        right = outcome.verdict.block is block and answer.allowed is (block is None)
        if not right or said != foretold:
            differences.append(
                f"{request} {url}: {outcome.verdict} {answer}\n  {said}\n  {foretold}"
            )
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize(
    ("name", "origins", "allowed"),
    [
        ("cached", [None, PAGE], True),
        ("cached-any", [None], True),
        ("no-vary", [None], False),
    ],
)
def test_a_cached_response_keeps_no_page_out(
    browser: Chromium, apis: Apis, name: str, origins: list[str | None], allowed: bool
) -> None:
    """What `<script src>` has put into the cache, without Origin, a page may fetch afterwards.

    Without Vary it may not, or this test could not fail.
    """
    url = f"https://{apis.host(name)}/script.js"
    browser.open(PAGE)
    browser.load_script(url)
    assert browser.fetch(url, GET).allowed is allowed
    assert [sent.origin for sent in apis.requests() if sent.name == name] == origins


@pytest.mark.parametrize("name", ["cookies", "no-cookies"])
def test_session_cookie_comes_back_where_credentials_may(
    browser: Chromium, apis: Apis, name: str
) -> None:
    """From a page of another site, that is: the cookie must be `SameSite=None; Secure`."""
    credentials = name == "cookies"
    api = f"https://{apis.host(name)}"
    log_in, its_own, stranger = browser.fetch_all(
        [
            (f"{api}/log-in", GET_WITH_CREDENTIALS, None),
            (f"{api}/user", GET_WITH_CREDENTIALS, None),
            (f"{api}/user?", GET, None),
        ]
    )
    assert log_in.allowed is its_own.allowed is credentials
    users = [answer.response and json.loads(answer.response.text) for answer in (its_own, stranger)]
    assert users == [{"user": "Ada"} if credentials else None, {"user": None}]
    sent = [one.cookie or "" for one in apis.requests() if one.name == name]
    assert [cookie.startswith("session=") for cookie in sent] == [False, credentials, False]


@pytest.mark.parametrize(("max_age", "preflights"), [(600, 1), (1, 1), (0, 2), (-1, 2)])
def test_preflight_is_remembered_for_max_age(
    browser: Chromium, apis: Apis, max_age: int, preflights: int
) -> None:
    name = f"max-age-{max_age}"
    put = (f"https://{apis.host(name)}/api/echo", PageRequest(PAGE, "PUT", JSON), "{}")
    assert all(answer.allowed for answer in browser.fetch_all([put, put]))
    sent = [one.method for one in apis.requests() if one.name == name]
    assert sent.count("OPTIONS") == preflights


@pytest.mark.parametrize(
    ("name", "names"),
    [("one-origin", {"x-page", "x-request-id"}), ("any", {"x-page", "x-request-id", "x-internal"})],
)
def test_a_view_exposes_headers_beside_the_policys(
    browser: Chromium, apis: Apis, name: str, names: set[str]
) -> None:
    response = browser.fetch(f"https://{apis.host(name)}/exposes", GET).response
    assert response
    assert response.headers.keys() & {"x-page", "x-request-id", "x-internal"} == names


def test_requests_outlive_the_network_interfaces_of_containers(browser: Chromium) -> None:
    """Other tests start containers meanwhile, and each interface that came ended requests."""
    if os.geteuid() or not shutil.which("ip"):
        skip("run as root, with iproute2 (Debian: apt install iproute2)")
    permitted = Response(200, (("Access-Control-Allow-Origin", "*"),))
    server = Scripted([(permitted, permitted)])
    script = """
        for i in $(seq 20); do
            ip link add whycors0 type veth peer name whycors1
            ip address add 192.0.2.1/24 dev whycors0
            ip link set whycors0 up
            ip link set whycors1 up
            sleep 0.02
            ip link delete whycors0
        done
    """
    with serve(server, browser.certificate) as port, subprocess.Popen(["sh", "-ec", script]) as ip:
        url = f"https://api.example.com:{port}/0"
        while ip.poll() is None:
            assert all(answer.allowed for answer in browser.fetch_all([(url, GET, None)] * 10))
    assert ip.returncode == 0


class Wire:
    """Sends the judge's requests over HTTP, with a body if their method may have one."""

    def __init__(self, browser: Browser, body: str | None = None) -> None:
        self.servers = browser.servers
        self.authority = str(browser.certificate.authority)
        self.body = body
        self.pools: dict[tuple[str, int], HTTPConnectionPool] = {}

    def __call__(self, method: str, url: str, headers: Headers) -> Response:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        port = self.servers.get(port, port)
        body = None if method in ("GET", "HEAD", "OPTIONS") else self.body
        response = self.pool(parts.scheme, port).urlopen(
            method,
            f"{parts.path}?{parts.query}",
            body,
            {**dict(headers), "Host": parts.netloc},
            redirect=False,
            retries=False,
        )
        return Response(response.status, tuple(response.headers.iteritems()))

    def pool(self, scheme: str, port: int) -> HTTPConnectionPool:
        if (scheme, port) not in self.pools:
            pool = (
                HTTPSConnectionPool(
                    "127.0.0.1", port, ca_certs=self.authority, assert_hostname=False
                )
                if scheme == "https"
                else HTTPConnectionPool("127.0.0.1", port)
            )
            self.pools[scheme, port] = pool
        return self.pools[scheme, port]
