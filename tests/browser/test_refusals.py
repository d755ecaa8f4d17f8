"""What pages in three engines can make the API execute, and what it refuses.

A view notes what runs, and as whom. Every page does every act of helpers/acts.js: without a
cookie, and where credentials are allowed once more after the user, Ada, has logged in.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import pytest
from chromium import Browser, Certificate
from conftest import copy
from relay import tls_front
from servers import gunicorn, render_answers

HELPERS = Path(__file__).parent.parent / "helpers"
SCRIPT = (HELPERS / "acts.js").read_text()

# How long a browser may take to do an act, in seconds: only a failing test waits for so long.
PATIENCE = 10

# These acts leave the page.
LEAVING = ("top form", "link")


@dataclass(frozen=True)
class Case:
    """Answers, where pages are, and a table of how their acts end.

    read     a view runs, and the page reads its answer
    ran      a view runs
    told     the API refuses, and the page can read why
    refused  the API refuses
    blocked  the browser sends nothing, or a preflight and no more

    In capitals, the view runs as Ada, if she has logged in. `departures` says what ends otherwise
    in one engine, with a dash for what does not. A page without an origin is the API's own. An act
    that is redirected goes by both places of `by`, one that is bounced by the first.
    """

    answers: dict[str, Any]
    pages: dict[str, str]
    ends: str
    by: tuple[str, str] = ("https://app.example.com", "https://evil.example.org")
    sessions: tuple[bool, ...] = (False,)
    settings: str = ""
    departures: str = ""
    path: str = "/act"

    def expected(self, engine: str) -> dict[tuple[str, str], str]:
        """Return how each act ends on each page."""
        found = dict(self.rows(self.ends))
        for line in self.departures.strip().splitlines():
            name, _, row = line.strip().partition(" ")
            if name == engine:
                found |= {key: end for key, end in self.rows(row) if end != "-"}
        return found

    def rows(self, table: str) -> Iterator[tuple[tuple[str, str], str]]:
        for line in table.strip().splitlines():
            words = line.split()
            if tuple(words) != tuple(self.pages):  # the head
                act = " ".join(words[: -len(self.pages)])
                ends = words[-len(self.pages) :]
                yield from (((act, page), end) for page, end in zip(self.pages, ends, strict=True))


SITES = {
    "own": "",
    "app": "https://app.example.com",
    "sibling": "https://blog.example.com",
    "stranger": "https://evil.example.org",
    "null": "null",
}

CASES = {
    "shared": Case(
        {
            "frontend_origins": "https://app.example.com",
            "allowed_methods": ["GET", "POST", "DELETE"],
            "allow_credentials": True,
            "frontends_share_site": True,
        },
        SITES,
        """
                                   own      app      sibling  stranger null
        form                       RAN      RAN      refused  refused  refused
        multipart form             RAN      RAN      refused  refused  refused
        plain form                 RAN      RAN      refused  refused  refused
        top form                   RAN      RAN      refused  refused  refused
        sandboxed form             refused  refused  refused  refused  refused
        bounced form               refused  refused  refused  refused  refused
        redirected form            refused  refused  refused  refused  refused
        no-cors POST               READ     RAN      refused  refused  refused
        cors POST                  READ     READ     refused  refused  refused
        XHR POST                   READ     READ     refused  refused  refused
        JSON POST                  READ     READ     blocked  blocked  blocked
        PUT                        READ     blocked  blocked  blocked  blocked
        DELETE                     READ     READ     blocked  blocked  blocked
        bounced POST               refused  READ     refused  refused  refused
        redirected POST            refused  refused  refused  refused  refused
        redirected no-cors POST    refused  refused  refused  refused  refused
        beacon                     RAN      RAN      refused  refused  refused
        JSON beacon                RAN      RAN      blocked  blocked  blocked
        WebSocket                  READ     READ     refused  refused  refused
        GET                        READ     READ     RAN      ran      ran
        HEAD                       READ     READ     RAN      ran      ran
        no-cors GET                READ     RAN      RAN      ran      ran
        redirected GET             RAN      RAN      RAN      ran      ran
        image                      RAN      RAN      RAN      ran      ran
        link                       RAN      RAN      RAN      RAN      RAN
        """,
        sessions=(False, True),
        # A form that its own page's origin redirects to another has the origin null, but not in
        # Firefox. Where a foreign site redirects, Firefox and WebKit keep back a cookie that is
        # Lax. WebKit sends one from a page with the origin null.
        departures="""
        firefox bounced form       -        RAN      -        -        -
        firefox redirected GET     ran      ran      ran      -        -
        webkit redirected GET      -        ran      ran      -        RAN
        webkit GET                 -        -        -        -        RAN
        webkit HEAD                -        -        -        -        RAN
        webkit no-cors GET         -        -        -        -        RAN
        webkit image               -        -        -        -        RAN
        """,
    ),
    "apart": Case(
        {
            "frontend_origins": "https://app.example.net",
            "allowed_methods": ["GET", "POST", "DELETE"],
            "allow_credentials": True,
            "frontends_share_site": False,
        },
        {
            "own": "",
            "app": "https://app.example.net",
            "neighbour": "https://blog.example.net",
            "sibling": "https://blog.example.com",
            "stranger": "https://evil.example.org",
            "null": "null",
        },
        """
                                   own      app      neighbour sibling  stranger null
        form                       RAN      RAN      refused   refused  refused  refused
        multipart form             RAN      RAN      refused   refused  refused  refused
        plain form                 RAN      RAN      refused   refused  refused  refused
        top form                   RAN      RAN      refused   refused  refused  refused
        sandboxed form             refused  refused  refused   refused  refused  refused
        bounced form               refused  refused  refused   refused  refused  refused
        redirected form            refused  refused  refused   refused  refused  refused
        no-cors POST               READ     RAN      refused   refused  refused  refused
        cors POST                  READ     READ     refused   refused  refused  refused
        XHR POST                   READ     READ     refused   refused  refused  refused
        JSON POST                  READ     READ     blocked   blocked  blocked  blocked
        PUT                        READ     blocked  blocked   blocked  blocked  blocked
        DELETE                     READ     READ     blocked   blocked  blocked  blocked
        redirected POST            refused  refused  refused   refused  refused  refused
        redirected no-cors POST    refused  refused  refused   refused  refused  refused
        beacon                     RAN      RAN      refused   refused  refused  refused
        JSON beacon                RAN      RAN      blocked   blocked  blocked  blocked
        WebSocket                  READ     READ     refused   refused  refused  refused
        GET                        READ     READ     RAN       RAN      ran      ran
        HEAD                       READ     READ     RAN       RAN      ran      ran
        no-cors GET                READ     RAN      RAN       RAN      ran      ran
        redirected GET             RAN      RAN      RAN       RAN      ran      ran
        image                      RAN      RAN      RAN       RAN      ran      ran
        link                       RAN      RAN      RAN       RAN      RAN      RAN
        """,
        sessions=(True,),
        by=("https://app.example.net", "https://evil.example.org"),
        # WebKit has no `Partitioned`: the cookie goes with requests of every site, if no tracking
        # prevention is on, as it is in Safari.
        departures="""
        firefox bounced form       -        RAN      -         -        -        -
        webkit GET                 -        -        -         -        RAN      RAN
        webkit HEAD                -        -        -         -        RAN      RAN
        webkit no-cors GET         -        -        -         -        RAN      RAN
        webkit redirected GET      -        -        -         -        RAN      RAN
        webkit image               -        -        -         -        RAN      RAN
        """,
    ),
    "unprotected": Case(
        {
            "frontend_origins": "https://app.example.com",
            "allowed_methods": ["GET", "POST", "DELETE"],
            "allow_credentials": True,
            "frontends_share_site": True,
        },
        {"sibling": "https://blog.example.com", "stranger": "https://evil.example.org"},
        """
                                   sibling  stranger
        form                       RAN      ran
        multipart form             RAN      ran
        plain form                 RAN      ran
        top form                   RAN      ran
        sandboxed form             ran      ran
        bounced form               RAN      ran
        redirected form            RAN      ran
        no-cors POST               RAN      ran
        cors POST                  RAN      ran
        XHR POST                   RAN      ran
        JSON POST                  blocked  blocked
        PUT                        blocked  blocked
        DELETE                     blocked  blocked
        redirected POST            RAN      ran
        redirected no-cors POST    RAN      ran
        beacon                     RAN      ran
        JSON beacon                blocked  blocked
        WebSocket                  READ     read
        """,
        sessions=(True,),
        settings="CORS_PROTECTION = False",
        departures="""
        firefox redirected form           ran -
        firefox redirected POST           ran -
        firefox redirected no-cors POST   ran -
        webkit redirected form            ran -
        webkit redirected POST            ran -
        webkit redirected no-cors POST    ran -
        webkit sandboxed form             RAN -
        """,
    ),
    "plain": Case(
        {
            "frontend_origins": "http://app.example.com",
            "allowed_methods": ["GET", "POST", "DELETE"],
        },
        {
            "own": "",
            "app": "http://app.example.com",
            "sibling": "http://blog.example.com",
            "stranger": "http://evil.example.org",
            "null": "null",
        },
        """
                                   own      app      sibling  stranger null
        form                       ran      ran      refused  refused  refused
        multipart form             ran      ran      refused  refused  refused
        plain form                 ran      ran      refused  refused  refused
        top form                   ran      ran      refused  refused  refused
        sandboxed form             refused  refused  refused  refused  refused
        bounced form               refused  refused  refused  refused  refused
        redirected form            refused  refused  refused  refused  refused
        no-cors POST               read     ran      refused  refused  refused
        cors POST                  read     read     refused  refused  refused
        XHR POST                   read     read     refused  refused  refused
        JSON POST                  read     read     blocked  blocked  blocked
        PUT                        read     blocked  blocked  blocked  blocked
        DELETE                     read     read     blocked  blocked  blocked
        bounced POST               refused  read     refused  refused  refused
        redirected POST            refused  refused  refused  refused  refused
        redirected no-cors POST    refused  refused  refused  refused  refused
        beacon                     ran      ran      refused  refused  refused
        JSON beacon                ran      blocked  blocked  blocked  blocked
        WebSocket                  read     read     refused  refused  refused
        GET                        read     read     ran      ran      ran
        HEAD                       read     read     ran      ran      ran
        no-cors GET                read     ran      ran      ran      ran
        redirected GET             ran      ran      ran      ran      ran
        image                      ran      ran      ran      ran      ran
        link                       ran      ran      ran      ran      ran
        """,
        by=("http://app.example.com", "http://evil.example.org"),
        departures="""
        firefox bounced form       -        ran      -        -        -
        """,
    ),
    "localhost": Case(
        {
            "frontend_origins": "http://localhost:5173",
            "allowed_methods": ["GET", "POST", "DELETE"],
            "allow_credentials": True,
            "frontends_share_site": True,
        },
        {
            "own": "",
            "app": "http://localhost:5173",
            "sibling": "http://localhost:3000",
            "stranger": "http://evil.example.org",
        },
        """
                                   own      app      sibling  stranger
        form                       RAN      RAN      refused  refused
        multipart form             RAN      RAN      refused  refused
        plain form                 RAN      RAN      refused  refused
        top form                   RAN      RAN      refused  refused
        sandboxed form             refused  refused  refused  refused
        bounced form               refused  refused  refused  refused
        redirected form            refused  refused  refused  refused
        no-cors POST               READ     RAN      refused  refused
        cors POST                  READ     READ     refused  refused
        XHR POST                   READ     READ     refused  refused
        JSON POST                  READ     READ     blocked  blocked
        PUT                        READ     blocked  blocked  blocked
        DELETE                     READ     READ     blocked  blocked
        redirected POST            refused  refused  refused  refused
        redirected no-cors POST    refused  refused  refused  refused
        beacon                     RAN      RAN      refused  refused
        JSON beacon                RAN      RAN      blocked  blocked
        WebSocket                  READ     READ     refused  refused
        GET                        READ     READ     RAN      ran
        HEAD                       READ     READ     RAN      ran
        no-cors GET                READ     RAN      RAN      ran
        redirected GET             RAN      RAN      RAN      ran
        image                      RAN      RAN      RAN      ran
        link                       RAN      RAN      RAN      RAN
        """,
        sessions=(True,),
        by=("http://localhost:5173", "http://evil.example.org"),
        departures="""
        firefox bounced form       -        RAN      -        -
        firefox redirected GET     ran      ran      ran      -
        """,
    ),
    "any": Case(
        {"frontend_origins": "any", "allowed_methods": ["GET", "POST"]},
        {"own": "", "stranger": "https://evil.example.org", "null": "null"},
        """
                                   own      stranger null
        form                       ran      ran      ran
        sandboxed form             ran      ran      ran
        redirected form            ran      ran      ran
        no-cors POST               read     ran      ran
        cors POST                  read     read     read
        JSON POST                  read     read     read
        DELETE                     read     blocked  blocked
        redirected POST            read     read     read
        beacon                     ran      ran      ran
        JSON beacon                ran      blocked  blocked
        WebSocket                  read     read     read
        GET                        read     read     read
        redirected GET             read     read     read
        """,
    ),
    "only-get": Case(
        {"frontend_origins": "https://app.example.com", "allowed_methods": ["GET"]},
        {"own": "", "app": "https://app.example.com", "stranger": "https://evil.example.org"},
        """
                                   own      app      stranger
        form                       ran      refused  refused
        top form                   ran      refused  refused
        no-cors POST               read     refused  refused
        cors POST                  read     told     refused
        XHR POST                   read     told     refused
        JSON POST                  read     blocked  blocked
        DELETE                     read     blocked  blocked
        beacon                     ran      refused  refused
        WebSocket                  read     read     refused
        GET                        read     read     ran
        HEAD                       read     read     ran
        link                       ran      ran      ran
        """,
    ),
    "only-post": Case(
        {"frontend_origins": "https://app.example.com", "allowed_methods": ["POST"]},
        {"own": "", "app": "https://app.example.com", "stranger": "https://evil.example.org"},
        """
                                   own      app      stranger
        form                       ran      ran      refused
        cors POST                  read     read     refused
        WebSocket                  read     read     refused
        GET                        read     told     ran
        HEAD                       read     told     ran
        no-cors GET                read     ran      ran
        redirected GET             ran      ran      ran
        image                      ran      ran      ran
        link                       ran      ran      ran
        """,
    ),
}


@dataclass(frozen=True)
class Apis:
    """The apps of acts.py, one for each case."""

    https: int
    http: int
    log: TextIO
    noted: dict[str, list[list[str]]] = field(default_factory=lambda: defaultdict(list))

    def url(self, name: str) -> str:
        host = name if name == "localhost" else f"{name}.example.com"
        if CASES[name].by[0].startswith("http:"):
            return f"http://{host}:{self.http}"
        return f"https://{host}:{self.https}"

    def log_in(self, engine: Browser, name: str, case: Case) -> None:
        """Log in by a visit and by a request of an allowed page, which may get other cookies."""
        url = f"{self.url(name)}/log-in"
        engine.tab.goto(url)
        engine.open(case.by[0])
        engine.tab.evaluate(LOG_IN, url)

    def notes(self) -> dict[str, list[list[str]]]:
        """Return what the apps have noted of each act."""
        for line in self.log:  # those that are new
            act, *what = json.loads(line)
            self.noted[act].append(what)
        return self.noted


@pytest.fixture(scope="session")
def apis(
    template: Path, tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[Apis]:
    project = tmp_path_factory.mktemp("acts") / "project"
    copy(template, project, {})
    render_answers(template, project, {name: case.answers for name, case in CASES.items()})
    for name, case in CASES.items():
        with (project / "policies" / f"{name}.py").open("a") as answers:
            answers.write(f"\n{case.settings}\n")
    with (
        gunicorn(project, "acts:app") as http,
        tls_front(http, certificate) as https,
        (project / "acts.log").open("a+") as log,
    ):
        yield Apis(https, http, log)


@pytest.mark.parametrize("name", CASES)
def test_what_pages_make_the_api_do(engine: Browser, apis: Apis, name: str) -> None:
    expected = CASES[name].expected(engine.name)
    differences = [
        f"{act}, {page}, {'as Ada' if session else 'as nobody'}: {end}, not {should}"
        for (act, page, session), end in ends(engine, apis, name, CASES[name]).items()
        if end != (should := expected[act, page] if session else expected[act, page].lower())
    ]
    assert not differences, "\n".join(differences)


def ends(engine: Browser, apis: Apis, name: str, case: Case) -> dict[tuple[str, str, bool], str]:
    """Do every act on every page in every session, and return how each ends.

    What leaves the page takes time, and is done in the last session only.
    """
    expected = case.expected(engine.name)
    seen: dict[tuple[str, str, bool], int | None] = {}
    for session in case.sessions:
        if session:
            apis.log_in(engine, name, case)
        for page, origin in case.pages.items():
            acts = [act for act, its in expected if its == page]
            leaving = [act for act in acts if act in LEAVING and session is case.sessions[-1]]
            for together in (
                [act for act in acts if act not in LEAVING],
                *([one] for one in leaving),
            ):
                numbers = {act: number(engine, name, act, page, session) for act in together}
                urls = {act: url_of(apis.url(name), case, act, numbers[act]) for act in together}
                statuses = do(engine, origin or apis.url(name), urls, session)
                seen |= {(act, page, session): status for act, status in statuses.items()}
                sent = {numbers[act] for act in together if expected[act, page] != "blocked"}
                wait_for(apis, sent)
                if together[0] in LEAVING:
                    wait_until_at(engine, urls[together[0]])
                engine.tab.evaluate(REMOVE_FRAMES, None)
    notes = apis.notes()
    return {key: end_of(notes[number(engine, name, *key)], status) for key, status in seen.items()}


def number(engine: Browser, name: str, act: str, page: str, session: bool) -> str:
    return " ".join([engine.name, name, act, page, str(session)])


def url_of(api: str, case: Case, act: str, number: str) -> str:
    """Return the URL that an act is for, by way of the places that redirect to it."""
    path = "/socket" if act == "WebSocket" else case.path
    url = f"{api}{path}?act={quote(number)}"
    if act.startswith(("redirected ", "bounced ")):
        for place in reversed(case.by if act.startswith("redirected ") else case.by[:1]):
            url = f"{place}/?to={quote(url, safe='')}"
    return url


def do(engine: Browser, origin: str, urls: dict[str, str], session: bool) -> dict[str, int | None]:
    """Do acts on a page, and return the status that it gets to see of each."""
    engine.open(origin)
    engine.origin = None  # an act may leave the page
    credentials = "include" if session else "omit"
    seen = engine.tab.evaluate(SCRIPT, {"acts": [*urls.items()], "credentials": credentials})
    return dict(zip(urls, seen, strict=True))


LOG_IN = "(url) => fetch(url, {credentials: 'include', mode: 'no-cors'}).then(() => null)"


def wait_for(apis: Apis, acts: set[str]) -> None:
    """Wait until the API has met these acts, or for so long that it never will."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        notes = apis.notes()
        if all(any(what[0] != "OPTIONS" for what in notes[act]) for act in acts):
            return
        time.sleep(0.01)


def wait_until_at(engine: Browser, url: str) -> None:
    """Wait until the page of a URL is shown, which might else replace the next one."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(Exception):  # a page that goes away may not answer
            if engine.tab.evaluate(WHERE, None) == ["complete", url]:
                return
        time.sleep(0.01)


# Firefox takes the end of a frame for that of the next page.
REMOVE_FRAMES = "async () => document.querySelectorAll('iframe').forEach((one) => one.remove())"

WHERE = "async () => [document.readyState, location.href]"


def end_of(notes: list[list[str]], status: int | None) -> str:
    """Return how an act ended, by what the API noted and what the page saw."""
    if any("500" in what for what in notes):
        return "failed"
    ran = [what[0] for what in notes if len(what) == 1]
    if ran:
        end = "read" if status == 200 else "ran"
        return end.upper() if ran[0] == "Ada" else end
    if [what for what in notes if what[0] != "OPTIONS"]:
        return "told" if status == 403 else "refused"
    return "blocked"
