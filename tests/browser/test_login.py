"""Log-in from pages in three engines: what its users can do, and what nobody else can.

The pages run the JavaScript of docs/login.md and of a project's README.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TextIO

import pytest
from chromium import Browser, Certificate, Chromium
from conftest import ROOT, copy, run_python
from relay import tls_front
from servers import gunicorn, render_answers
from test_refusals import Apis, Case, ends, number

PASSWORD = "a long walk in the rain"
ANOTHER = "a short walk in the sun"
ADA, EVE = "ada@example.com", "eve@example.com"

SHARED = {
    "frontend_origins": "https://app.example.com, https://*.app.example.com",
    "allow_credentials": True,
    "frontends_share_site": True,
}
APART = {**SHARED, "frontend_origins": "https://app.example.net", "frontends_share_site": False}

STRANGERS = {
    "sibling": "https://blog.example.com",
    "neighbour": "https://blog.example.net",
    "stranger": "https://evil.example.org",
}
CASES = {
    "shared": Case(
        SHARED,
        {"app": "https://app.example.com", "below": "https://x.app.example.com", **STRANGERS},
        """
                           app      below    sibling  neighbour stranger
        form               RAN      RAN      refused  refused   refused
        plain form         RAN      RAN      refused  refused   refused
        top form           RAN      RAN      refused  refused   refused
        no-cors POST       RAN      RAN      refused  refused   refused
        bodyless POST      RAN      RAN      refused  refused   refused
        cors POST          READ     READ     refused  refused   refused
        JSON POST          READ     READ     blocked  blocked   blocked
        DELETE             READ     READ     blocked  blocked   blocked
        beacon             RAN      RAN      refused  refused   refused
        GET                READ     READ     RAN      refused   refused
        """,
        sessions=(True,),
        path="/private",
    ),
    "apart": Case(
        APART,
        {"app": "https://app.example.net", **STRANGERS},
        """
                           app      sibling  neighbour stranger
        form               RAN      refused  refused   refused
        plain form         RAN      refused  refused   refused
        top form           refused  refused  refused   refused
        no-cors POST       RAN      refused  refused   refused
        bodyless POST      RAN      refused  refused   refused
        cors POST          READ     refused  refused   refused
        JSON POST          READ     blocked  blocked   blocked
        DELETE             READ     blocked  blocked   blocked
        beacon             RAN      refused  refused   refused
        GET                READ     refused  RAN       refused
        """,
        sessions=(True,),
        by=("https://app.example.net", "https://evil.example.org"),
        path="/private",
        # A form that leaves the page does not have the page's cookie, which is partitioned. WebKit
        # keeps none.
        departures="""
        webkit form            refused  -  -        -
        webkit plain form      refused  -  -        -
        webkit no-cors POST    refused  -  -        -
        webkit bodyless POST   refused  -  -        -
        webkit cors POST       refused  -  -        -
        webkit JSON POST       refused  -  -        -
        webkit DELETE          refused  -  -        -
        webkit beacon          refused  -  -        -
        webkit GET             refused  -  refused  -
        """,
    ),
}
# Nobody is logged in: what would be, if a stranger's page could log somebody in.
LOG_IN_ACTS = Case(
    SHARED,
    STRANGERS,
    """
                           sibling  neighbour stranger
        form               refused  refused   refused
        multipart form     refused  refused   refused
        plain form         refused  refused   refused
        top form           refused  refused   refused
        sandboxed form     refused  refused   refused
        no-cors POST       refused  refused   refused
        bodyless POST      refused  refused   refused
        cors POST          refused  refused   refused
        JSON POST          blocked  blocked   blocked
        DELETE             blocked  blocked   blocked
        beacon             refused  refused   refused
        JSON beacon        blocked  blocked   blocked
    """,
    path="/api/session",
)

# The answers of each API, and the origin of the page that the links of its mails lead to.
POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "shared": (SHARED, "https://app.example.com"),
    "apart": (APART, "https://app.example.net"),
    "localhost": ({**SHARED, "frontend_origins": "http://localhost:5173"}, "http://localhost:5173"),
    # With a frontend in development, whose page is on another site.
    "deployed": (
        {**SHARED, "frontend_origins": "https://app.example.com http://localhost:5173"},
        "http://localhost:5173",
    ),
    "mobile": (
        {**SHARED, "frontend_origins": "https://app.example.com https://localhost"},
        "https://app.example.com",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Logins(Apis):
    """The apps of logins.py, the mails that they have sent, and the project's README."""

    mails: TextIO
    readme: str

    def url(self, name: str) -> str:
        if name == "localhost":
            return f"http://localhost:{self.http}"
        return f"https://{name}.example.com:{self.https}"

    def log_in(self, engine: Browser, name: str, case: Case) -> None:
        engine.open(case.by[0])
        run(engine, self.url(name), LOG_IN, ADA, PASSWORD)

    def link(self, email: str) -> str:
        """Return the link of the next mail, which has to be for this address."""
        until = time.monotonic() + 10
        while not (line := self.mails.readline()):
            assert time.monotonic() < until, "no mail"
            time.sleep(0.01)
        to, text = json.loads(line)
        assert to == email
        (link,) = re.findall(r"https?://\S+", text)
        return str(link)


@pytest.fixture(scope="session")
def logins(
    template: Path, tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[Logins]:
    project = tmp_path_factory.mktemp("logins") / "project"
    copy(template, project, {**SHARED, "extras": ["database", "login"]})
    render_answers(template, project, {name: given for name, (given, _) in POLICIES.items()})
    for name, (_, page) in POLICIES.items():
        with (project / f"policies/{name}.py").open("a") as settings:
            settings.write(f'\nSIGN_UP, MAIL_URL, MAIL_FROM = True, "log:", "{ADA}"\n')
            settings.write(f'PASSWORD_PAGE = "{page}/password"\n')
    run_python(project, "-c", SET_UP, PASSWORD, ADA, EVE)
    with (
        gunicorn(project, "logins:app") as http,
        tls_front(http, certificate) as https,
        (project / "acts.log").open("a+") as log,
        (project / "mails.log").open("a+") as mails,
    ):
        readme = (project / "README.md").read_text(encoding="utf-8")
        yield Logins(https, http, log, mails=mails, readme=readme)


# In one process, because each takes long to start.
SET_UP = """
import sys
from app import create_app

app, (_, password, *emails) = create_app(), sys.argv
with app.app_context():
    for arguments in (["db", "upgrade"], *(["users", "add", email] for email in emails)):
        result = app.test_cli_runner().invoke(args=arguments, input=password)
        assert result.exit_code == 0, result.output
"""


# JavaScript

DOCUMENTED, WITH_A_TOKEN = re.findall(
    r"```js\n(.*?)```", (ROOT / "docs/login.md").read_text(encoding="utf-8"), re.DOTALL
)
WHO = "const found = await whoAmI(); return found && found.user.email;"
LOG_IN = "await logIn(...given); return null;"
LOG_OUT = "await logOut(); return null;"
SENT = 'return await call("GET", "/sent");'
# Returns a status, or null where the page cannot read it.
TRY = "return await call(...given).then(() => 200, (error) => error.status ?? null);"


def run(engine: Browser, api: str, does: str, *given: Any) -> Any:
    """Run JavaScript in the page that is shown, below that of docs/login.md."""
    documented = DOCUMENTED.replace("http://localhost:8000", api)
    return engine.tab.evaluate(f"async (given) => {{ {documented}\n{does} }}", given)


@pytest.mark.parametrize("name", ["shared", "apart", "localhost", "deployed"])
def test_page_signs_up_logs_in_writes_resets_and_logs_out(
    engine: Browser, logins: Logins, name: str
) -> None:
    """On the API's site, on another, where WebKit keeps no log-in, and on this machine.

    A page on this machine cannot log in at an API that is deployed for its own site.
    """
    api, origin = logins.url(name), POLICIES[name][1]
    email = f"{engine.name}.{name}@example.com"

    def follow_link() -> None:
        engine.tab.goto(logins.link(email))
        engine.origin = None

    def log_in(password: str) -> Any:
        return run(engine, api, TRY, "POST", "/api/session", {"email": email, "password": password})

    engine.open(origin)
    run(engine, api, "await signUp(...given); return null;", email)
    follow_link()
    set_password = "return await setPassword(...given);"
    run(engine, api, set_password, PASSWORD)
    assert log_in(ANOTHER) == 401
    assert log_in(PASSWORD) == 200
    if name == "deployed" or (engine.name, name) == ("webkit", "apart"):
        assert run(engine, api, WHO) is None
        return
    engine.open(origin)  # loaded again
    assert run(engine, api, WHO) == email
    assert run(engine, api, TRY, "POST", "/private?act=write", {}) == 200
    run(engine, api, "await forgot(...given); return null;", email)
    follow_link()
    run(engine, api, set_password, ANOTHER)
    assert run(engine, api, WHO) is None
    assert log_in(PASSWORD) == 401
    assert log_in(ANOTHER) == 200
    assert run(engine, api, WHO) == email
    prefix = "" if name == "localhost" else "__Host-"
    assert run(engine, api, SENT) == [f"{prefix}device", f"{prefix}login"]
    run(engine, api, LOG_OUT)
    assert run(engine, api, WHO) is None
    assert run(engine, api, SENT) == [f"{prefix}device"]


def test_readme_logs_in_and_out(browser: Chromium, logins: Logins) -> None:
    (lines,) = re.findall(r"```js\n(const call = .*?)```", logins.readme, re.DOTALL)
    lines = lines.replace("http://localhost:8000", logins.url("shared"))
    browser.open("https://app.example.com")
    script = f"async ([email, password]) => {{ {lines}\nreturn user; }}"
    user = browser.tab.evaluate(script, [ADA, PASSWORD])
    assert user["email"] == ADA
    assert run(browser, logins.url("shared"), WHO) is None


def test_app_has_a_token_and_a_page_has_none(browser: Chromium, logins: Logins) -> None:
    api = logins.url("mobile")
    browser.open("https://localhost")  # as Capacitor's is on Android
    answer = f"const [email, password] = given; {WITH_A_TOKEN}\n"
    answer += "return [token, (await response.json()).user.email];"
    token, email = run(browser, api, answer, ADA, PASSWORD)
    assert email == ADA
    log_out = 'return (await fetch(`${API}/api/session`, {method: given[1] ?? "GET", headers:'
    log_out += " {Authorization: `Bearer ${given[0]}`}})).status;"
    assert [run(browser, api, log_out, token, *how) for how in ([], ["DELETE"], [])] == [
        200,
        204,
        401,
    ]
    browser.open("https://app.example.com")
    asked = {"email": ADA, "password": PASSWORD, "name": "A page"}
    assert run(browser, api, TRY, "POST", "/api/tokens", asked) == 403


@pytest.mark.parametrize("name", CASES)
def test_who_acts_as_the_user(engine: Browser, logins: Logins, name: str) -> None:
    case = CASES[name]
    found = ends(engine, logins, name, case)
    assert {key[:2]: end for key, end in found.items()} == case.expected(engine.name)


def test_no_strangers_page_logs_in(engine: Browser, logins: Logins) -> None:
    """Neither by an act without the right content nor by a script that knows a password."""
    api = logins.url("shared")
    engine.open("https://app.example.com")
    run(engine, api, LOG_OUT)
    found = ends(engine, logins, "shared", LOG_IN_ACTS)
    assert {key[:2]: end for key, end in found.items()} == LOG_IN_ACTS.expected("")
    noted = [note for key in found for note in logins.notes()[number(engine, "shared", *key)]]
    assert {status for method, status, *_ in noted if method != "OPTIONS"} == {"403"}
    for origin in STRANGERS.values():
        engine.open(origin)
        for init in ({"mode": "no-cors"}, {}, {"headers": {"Content-Type": "application/json"}}):
            body = json.dumps({"email": EVE, "password": PASSWORD})
            how = {"method": "POST", "credentials": "include", "body": body, **init}
            fetched = "await fetch(...given).catch(() => null); return null;"
            run(engine, api, fetched, f"{api}/api/session", how)
    engine.open("https://app.example.com")
    assert run(engine, api, WHO) is None
    run(engine, api, LOG_IN, EVE, PASSWORD)
    assert run(engine, api, WHO) == EVE


PLANT = """async ([cookie]) => {
  document.cookie = `${cookie}; Path=/; Domain=example.com; Secure`;
  return null;
}"""


def test_cookie_that_a_sibling_plants(engine: Browser, logins: Logins) -> None:
    """Browsers that keep `__Host-` to its promise do not take it; WebKitGTK does.

    There it can log Ada out, or in as whoever planted it where she is not logged in.
    """
    api, takes_it = logins.url("shared"), engine.name == "webkit"
    connection = HTTPConnection("127.0.0.1", logins.http)
    body = json.dumps({"email": EVE, "password": PASSWORD})
    headers = {"Host": "shared.example.com", "Content-Type": "application/json"}
    connection.request("POST", "/api/session", body, headers)
    cookies = connection.getresponse().headers.get_all("Set-Cookie") or []
    (eves,) = [cookie.partition(";")[0] for cookie in cookies if "login=" in cookie]
    engine.open("https://app.example.com")
    run(engine, api, LOG_OUT)
    try:
        engine.open("https://blog.example.com")
        engine.tab.evaluate(PLANT, [eves])
        engine.open("https://app.example.com")
        assert run(engine, api, WHO) == (EVE if takes_it else None)
        run(engine, api, LOG_IN, ADA, PASSWORD)
        assert run(engine, api, WHO) == (None if takes_it else ADA)
    finally:
        engine.open("https://blog.example.com")
        engine.tab.evaluate(PLANT, [f"{eves}; Max-Age=0"])
