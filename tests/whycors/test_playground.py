"""`flask cors playground`, in Chromium: its page shows what the browser decides."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium import Chromium, serve
from conftest import ROOT, Render, commit
from flask import Flask, request
from flask_cors import CORS
from playwright.sync_api import Locator, Page, expect
from servers import free_port

from app import cors, echo, errors, health
from whycors.commands import commands
from whycors.playground import playground

Show = Callable[..., None]

ANY_PORT = "http://localhost:*"
SOME_METHODS = {"CORS_METHODS": "GET, PUT"}
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

NO_CREDENTIALS = "the request sends credentials; the policy forbids them"


def make_app(**settings: Any) -> Flask:
    """Return the template's app without a render: these settings are in force, or the defaults."""
    defaults = {
        "CORS_ORIGINS": ANY_PORT,
        "CORS_METHODS": "GET, POST, PUT, PATCH, DELETE",
        "CORS_SUPPORTS_CREDENTIALS": False,
        "CORS_ALLOW_HEADERS": "Content-Type, Authorization",
        "CORS_MAX_AGE": 600,
    }
    app = Flask("app")
    errors.init_app(app)
    for part in (echo, health):
        app.register_blueprint(part.bp)
    policy = cors.Policy.from_config(defaults | settings)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return app


@contextmanager
def serve_page(app: Flask, api: str = "http://localhost:8000") -> Iterator[str]:
    """Serve an app's playground until the block ends. Yields the page's origin."""
    server = playground(app, api)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield server.origin
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def running(project: Path, *command: str, says: str, **environ: str) -> Iterator[str]:
    """Run `flask …` until the block ends, by Ctrl+C. Yields what its output says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", *command],
        cwd=project,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell has what it runs in the background ignore Ctrl+C, perhaps these tests too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stdout
    said = ""
    try:
        while not (match := re.search(says, said)):
            line = process.stdout.readline()
            assert line, said
            said += line
        yield match[1]
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in rest


@contextmanager
def running_page(project: Path, *options: str, **environ: str) -> Iterator[str]:
    """Run `flask cors playground` until the block ends, and yield its page's URL."""
    command = ("cors", "playground", *options)
    with running(project, *command, says=r"Playground: (\S+)", **environ) as url:
        ask(url)  # it serves from now on, and so Ctrl+C ends it as it should
        yield url


@pytest.fixture
def tab(browser: Chromium) -> Iterator[Page]:
    tab = browser.tab.context.new_page()
    yield tab
    tab.close()


@pytest.fixture
def show(tab: Page) -> Iterator[Show]:
    """Show the playground of an app with these settings, which serves as the API too."""
    with ExitStack() as stack:

        def show(**settings: Any) -> None:
            app = make_app(**settings)
            port = stack.enter_context(serve(app))
            tab.goto(stack.enter_context(serve_page(app, f"http://localhost:{port}")))
            finish(tab)

        yield show


def finish(tab: Page) -> None:
    """Have the table filled: its safe methods, then those that may change data."""
    expect(tab.get_by_role("status").first).to_have_text(re.compile("are allowed"))
    the_rest = tab.get_by_role("button", name=re.compile("^Send .* too$"))
    the_rest.click()
    expect(the_rest).to_be_hidden()


def matrix(tab: Page) -> dict[str, list[str]]:
    """Return the table as it is shown: each row's cells, by the row's header."""
    rows = tab.get_by_role("row").all()[1:]
    return {
        text(row.get_by_role("rowheader")): [text(cell) for cell in row.get_by_role("cell").all()]
        for row in rows
    }


def text(part: Locator) -> str:
    return " ".join((part.text_content() or "").split())


def blocked(method: str, among: str, path: str = "") -> str:
    return f"✕ Blocked {method} is not allowed; the policy{path} allows {among}"


def refused_at_once(method: str, among: str, status: str = "") -> str:
    return f"✕ Refused {status}{method} is not allowed; the policy allows {among}"


NO_AUTHORIZATION = "the header authorization is not allowed"


def and_credentials(reason: str, path: str = "") -> str:
    whose = f"the policy{path}"
    return f"{reason}. Also: the request sends credentials; {whose} forbids them"


MATRICES: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "all": (
        {"CORS_METHODS": EVERY_METHOD, "CORS_SUPPORTS_CREDENTIALS": True},
        {
            "GET": ["✓ Allowed 200"] * 4,
            "HEAD": ["✓ Allowed 200"] * 4,
            "POST": ["✓ Allowed 415", "✓ Allowed 200", "✓ Allowed 415", "✓ Allowed 415"],
            "PUT": ["✓ Allowed 415", "✓ Allowed 200", "✓ Allowed 415", "✓ Allowed 415"],
            "PATCH": ["✓ Allowed 415", "✓ Allowed 200", "✓ Allowed 415", "✓ Allowed 415"],
            "DELETE": ["✓ Allowed 200"] * 4,
            "OPTIONS": ["✓ Allowed 200"] * 4,
        },
    ),
    "some methods": (
        SOME_METHODS,
        {
            "GET": [*["✓ Allowed 200"] * 3, f"✕ Blocked {NO_CREDENTIALS}"],
            "HEAD": [*["✓ Allowed 200"] * 3, f"✕ Blocked {NO_CREDENTIALS}"],
            "POST": [
                refused_at_once("POST", "GET, PUT", "403 "),
                *[blocked("POST", "GET, PUT")] * 2,
                and_credentials(refused_at_once("POST", "GET, PUT")),
            ],
            "PUT": [
                "✓ Allowed 415",
                "✓ Allowed 200",
                "✓ Allowed 415",
                f"✕ Blocked {NO_CREDENTIALS}",
            ],
            "PATCH": [
                *[blocked("PATCH", "GET, PUT")] * 3,
                and_credentials(blocked("PATCH", "GET, PUT")),
            ],
            "DELETE": [
                *[blocked("DELETE", "GET, PUT")] * 3,
                and_credentials(blocked("DELETE", "GET, PUT")),
            ],
        },
    ),
    "credentials, no Authorization": (
        {
            "CORS_METHODS": "GET, POST, DELETE",
            "CORS_SUPPORTS_CREDENTIALS": True,
            "CORS_ALLOW_HEADERS": "Content-Type",
        },
        {
            "GET": [
                *["✓ Allowed 200"] * 2,
                "✕ Blocked the header authorization is not allowed",
                "✓ Allowed 200",
            ],
            "HEAD": [
                *["✓ Allowed 200"] * 2,
                "✕ Blocked the header authorization is not allowed",
                "✓ Allowed 200",
            ],
            "POST": [
                "✓ Allowed 415",
                "✓ Allowed 200",
                "✕ Blocked the header authorization is not allowed",
                "✓ Allowed 415",
            ],
            "PUT": [
                *[blocked("PUT", "GET, POST, DELETE")] * 2,
                f"{blocked('PUT', 'GET, POST, DELETE')}. Also: {NO_AUTHORIZATION}",
                blocked("PUT", "GET, POST, DELETE"),
            ],
            "PATCH": [
                *[blocked("PATCH", "GET, POST, DELETE")] * 2,
                f"{blocked('PATCH', 'GET, POST, DELETE')}. Also: {NO_AUTHORIZATION}",
                blocked("PATCH", "GET, POST, DELETE"),
            ],
            "DELETE": [
                *["✓ Allowed 200"] * 2,
                "✕ Blocked the header authorization is not allowed",
                "✓ Allowed 200",
            ],
        },
    ),
    "no GET, at the path's own policy": (
        {"CORS_PATHS": {"/api/echo": {"methods": ["POST"]}}},
        {
            "GET": [
                "✕ Refused 403 GET is not allowed; the policy of /api/echo allows POST",
                *["✕ Blocked GET is not allowed; the policy of /api/echo allows POST"] * 2,
                and_credentials(
                    "✕ Refused GET is not allowed; the policy of /api/echo allows POST",
                    " of /api/echo",
                ),
            ],
            "HEAD": [
                "✕ Refused 403 HEAD is not allowed; the policy of /api/echo allows POST",
                *["✕ Blocked HEAD is not allowed; the policy of /api/echo allows POST"] * 2,
                and_credentials(
                    "✕ Refused HEAD is not allowed; the policy of /api/echo allows POST",
                    " of /api/echo",
                ),
            ],
            "POST": [
                "✓ Allowed 415",
                "✓ Allowed 200",
                "✓ Allowed 415",
                "✕ Blocked the request sends credentials; the policy of /api/echo forbids them",
            ],
            "PUT": [
                *[blocked("PUT", "POST", " of /api/echo")] * 3,
                and_credentials(blocked("PUT", "POST", " of /api/echo"), " of /api/echo"),
            ],
            "PATCH": [
                *[blocked("PATCH", "POST", " of /api/echo")] * 3,
                and_credentials(blocked("PATCH", "POST", " of /api/echo"), " of /api/echo"),
            ],
            "DELETE": [
                *[blocked("DELETE", "POST", " of /api/echo")] * 3,
                and_credentials(blocked("DELETE", "POST", " of /api/echo"), " of /api/echo"),
            ],
        },
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrix(tab: Page, show: Show, name: str) -> None:
    settings, cells = MATRICES[name]
    show(**settings)
    assert matrix(tab) == cells


def test_each_reason_comes_with_its_fix_and_the_words_in_the_console(tab: Page, show: Show) -> None:
    console: list[str] = []
    tab.on("console", lambda message: console.append(message.text))
    show(**SOME_METHODS)
    reason = "PATCH is not allowed; the policy allows GET, PUT"
    tab.get_by_role("link", name=reason).first.click()
    card = tab.locator(":target")
    expect(card.get_by_role("heading")).to_have_text(reason)
    answer, variable = (
        "uvx copier update --vcs-ref=:current: --defaults -d 'allowed_methods=[GET, PUT, PATCH]'",
        "FLASK_CORS_METHODS='GET, PUT, PATCH'",
    )
    assert card.locator("code").all_inner_texts() == [answer, variable]
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card.get_by_role("button", name=f"Copy {variable}").click()
    expect(card.get_by_text("Copied")).to_be_visible()
    assert tab.evaluate("navigator.clipboard.readText()") == variable

    card.get_by_text("Step by step").click()
    steps = card.locator("pre").inner_text()
    assert "> Access-Control-Request-Method: PATCH" in steps
    predicted = re.search("Chrome's console: (.*)", steps)
    assert predicted and predicted[1] in console


def test_sends_nothing_that_may_change_data_before_it_says_so(tab: Page) -> None:
    """Neither to the API nor to the app's copy that explains a block; here, both are one app."""
    ran: list[str] = []
    app = make_app(CORS_METHODS="GET, DELETE", CORS_ALLOW_HEADERS="Content-Type")
    app.before_request(lambda: ran.append(request.method))
    app.add_url_rule("/own", "own", lambda: ("", 403), methods=["DELETE"])
    with serve(app) as port, serve_page(app, f"http://localhost:{port}") as page:
        tab.goto(page)
        expect(tab.get_by_role("status").first).to_have_text("4 of 8 requests are allowed")
        assert matrix(tab)["DELETE"] == ["not sent"] * 4
        expect(tab.get_by_text("for real: a DELETE deletes. What may change data")).to_be_visible()
        assert set(ran) <= {"GET", "HEAD"}
        finish(tab)
        assert ran.count("DELETE") == 2
        send(tab, "DELETE", "/api/echo", credentials=True)
        assert ran.count("DELETE") == 2
        assert send(tab, "DELETE", "/own") == "✓ Allowed: 403 FORBIDDEN"
        assert ran.count("DELETE") == 3


def send(tab: Page, method: str, path: str, headers: str = "", credentials: bool = False) -> str:
    """Send a request by the form, and return what the page says of it."""
    tab.get_by_label("Method", exact=True).fill(method)
    tab.get_by_label("Path", exact=True).fill(path)
    tab.get_by_label("Headers, one per line").fill(headers)
    tab.get_by_label("With credentials").set_checked(credentials)
    tab.get_by_role("button", name="Send", exact=True).click()
    verdict = tab.get_by_role("status").last
    expect(verdict).to_have_text(re.compile("^[✓✕]"))
    return verdict.inner_text()


def test_request_of_your_own(tab: Page, show: Show) -> None:
    show(**SOME_METHODS)
    details = tab.locator("#answer")
    json_header = "Content-Type: application/json"

    assert send(tab, "GET", "/api/echo?a=b") == "✓ Allowed: 200 OK"
    assert '{"args":{"a":"b"},"method":"GET"}' in details.inner_text()
    assert send(tab, "PUT", "/api/echo", json_header) == "✓ Allowed: 200 OK"
    assert '"json":{}' in details.inner_text()
    assert send(tab, "PUT", "/nowhere") == "✓ Allowed: 404 NOT FOUND"

    headers = f"{json_header}\nX-Trace: 1\nCookie: a=b"
    assert send(tab, "PUT", "/api/echo", headers) == "✕ Blocked: the header x-trace is not allowed"
    assert "Cookie was not sent: only the browser sets it." in details.inner_text()
    assert "FLASK_CORS_ALLOW_HEADERS='Content-Type, Authorization, x-trace'" in details.inner_text()
    assert send(tab, "GET", "/api/echo", credentials=True) == f"✕ Blocked: {NO_CREDENTIALS}"
    refused = "✕ Refused: POST is not allowed; the policy allows GET, PUT"
    assert send(tab, "POST", "/nowhere") == refused
    assert send(tab, "TRACE", "/") == "✕ No page can send this"
    assert "TRACE" in details.inner_text()
    assert send(tab, "GET", "/", "no name") == "✕ No page can send this"


def test_paths_of_the_app_and_a_body_that_is_typed(tab: Page, show: Show) -> None:
    own = {"/api": {"methods": ["POST"]}, "/api/echo": {"methods": ["GET", "POST"]}}
    show(CORS_PATHS=own | {"/health": {"methods": ["GET"]}})
    options = tab.locator("#paths option")
    offered = [option.get_attribute("value") for option in options.all()]
    assert offered == ["/api/echo", "/health/live", "/health/ready"]
    tab.get_by_label("Every method at").fill("/health/live")
    tab.get_by_role("button", name="Run again").click()
    expect(tab.locator("#called")).to_have_text("/health/live")
    finish(tab)
    cells = matrix(tab)
    assert cells["GET"][0] == "✓ Allowed 200"
    assert cells["DELETE"][0] == blocked("DELETE", "GET", " of /health")

    tab.get_by_label("Body").fill('{"typed": 1}')
    verdict = send(tab, "POST", "/api/echo", "Content-Type: application/json")
    assert verdict == "✓ Allowed: 200 OK"
    assert '"json":{"typed":1}' in tab.locator("#answer").inner_text()
    assert send(tab, "GET", "/api/echo") == "✕ No page can send this"


def test_api_that_redirects_to_another_host() -> None:
    app = make_app()
    app.add_url_rule("/away", "away", lambda: ("", 302, {"Location": "https://other.example/"}))
    with serve(app) as port:
        server = playground(app, f"http://localhost:{port}")
        with server:
            found = server.judge({"method": "GET", "path": "/away", "headers": []})
    assert "redirects to https://other.example/, on another host" in found["why"]


def test_api_that_does_not_run(tab: Page) -> None:
    app = make_app()
    port = free_port()
    with serve_page(app, f"http://localhost:{port}") as url:
        tab.goto(url)
        why = f"nothing listens at http://localhost:{port}: start the API, or name it with --api"
        start, again = tab.get_by_role("heading", name=why), tab.get_by_role("button", name="Run")
        expect(start).to_be_visible()
        assert matrix(tab)["GET"] == [f"✕ No response {why}"] * 4
        assert send(tab, "GET", "/api/echo") == f"✕ No response: {why}"
        with serve(app, port=port):
            again.click()
            expect(start).to_be_hidden()
            finish(tab)
        again.click()
        expect(start).to_be_visible()


def test_asks_again_each_time_and_notices_an_api_with_other_settings(tab: Page) -> None:
    app = make_app()
    port = free_port()
    with serve_page(app, f"http://localhost:{port}") as url:
        with serve(app, port=port):
            tab.goto(url)
            finish(tab)
            assert matrix(tab)["DELETE"][0] == "✓ Allowed 200"
        with serve(make_app(CORS_METHODS="GET"), port=port):
            tab.get_by_role("button", name="Run again").click()
            expect(tab.get_by_role("status").first).to_have_text(re.compile(r"^[1-9] of 8"))
            finish(tab)
            assert matrix(tab)["DELETE"][0].startswith(
                "✕ Blocked the app here allows this request: the API that runs has other settings"
            )


def test_page_of_an_earlier_run(tab: Page) -> None:
    app = make_app(CORS_ORIGINS=f"http://localhost:{free_port()}")
    with serve(app) as port:
        api = f"http://localhost:{port}"
        with serve_page(app, api) as page:
            tab.goto(page)
            finish(tab)
        with serve_page(app, api):
            why = send(tab, "GET", "/api/echo", credentials=True)
    assert why == "✕ Blocked: the playground was restarted: reload this page"


def ask(url: str, method: str = "GET", path: str = "/", **options: Any) -> HTTPResponse:
    """Ask a server at one of this machine's names, which need not be in its DNS."""
    parts = urlsplit(url)
    host = "::1" if parts.hostname == "::1" else "127.0.0.1"
    connection = HTTPConnection(host, parts.port or 80, timeout=10)
    headers = {"Host": parts.netloc, **options.pop("headers", {})}
    connection.request(method, path, headers=headers, **options)
    return connection.getresponse()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="the machine has no ::1")


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ("any", r"http://localhost:\d+"),
        ("https://app.example.com, http://localhost:*", r"http://localhost:\d+"),
        ("http://127.0.0.1:*", r"http://127\.0\.0\.1:\d+"),
        ("http://*.localhost:*", r"http://app\.localhost:\d+"),
        ("https://localhost:5173, http://localhost:PORT", "http://localhost:PORT"),
        ("http://*.shop.localhost:PORT", r"http://app\.shop\.localhost:PORT"),
        pytest.param("http://[::1]:PORT", r"http://\[::1\]:PORT", marks=IPV6),
    ],
)
def test_page_is_at_the_first_origin_where_it_can_be(origins: str, expected: str) -> None:
    port = str(free_port())
    app = make_app(CORS_ORIGINS=origins.replace("PORT", port))
    with serve_page(app) as origin:
        assert re.fullmatch(expected.replace("PORT", port), origin)
        assert app.extensions["cors_policy"].allows(origin)
        assert "CORS playground" in ask(origin).read().decode()
        if "::1" not in origin:  # a server for every address would answer here too
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", urlsplit(origin).port or 80))


def refused(app: Flask, *options: str) -> str:
    """Run the playground where it cannot run, and return what it says."""
    arguments = ["playground", "--no-open", *options]
    result = app.test_cli_runner().invoke(commands, arguments)
    assert result.exit_code != 0 and not result.stdout
    return result.stderr


def changes_in(message: str) -> list[str]:
    return [line.partition(": ")[2] for line in message.splitlines() if line.startswith("  ")]


def shell(project: Path, command: str) -> None:
    """Run a command as it was printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        command,
        cwd=project,
        shell=True,
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": path},
    )


@pytest.mark.usefixtures("installed")
def test_no_origin_of_this_machine(render: Render) -> None:
    """What it says to do is done, each command as it is printed."""
    message = refused(make_app(CORS_ORIGINS="https://app.example.com"))
    assert message.startswith(
        "Error: the policy allows no page on this machine. Allow another origin:\n"
    )
    update, variable = changes_in(message)
    assert update.startswith("uvx copier update ")
    name, _, value = "".join(shlex.split(variable)).partition("=")
    project = render(frontend_origins="https://app.example.com")
    with running_page(project, "--no-open", **{name: value}) as page:
        assert f"{value}/" == f"https://app.example.com, {page}"
    commit(project)
    shell(project, update.removeprefix("uvx "))
    with running_page(project, "--no-open") as page:
        assert f"{value}/" == f"https://app.example.com, {page}"


def test_origin_that_needs_a_certificate() -> None:
    app = make_app(CORS_ORIGINS="https://app.example.com, https://localhost:5173")
    assert refused(app).startswith(
        "Error: the page cannot be at https://localhost:5173: it needs a certificate. Allow another"
        " origin:\n  To allow it: uvx copier update "
    )


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=IPV6)])
def test_port_in_use(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as frontend:
        taken = frontend.getsockname()[1]
        message = refused(make_app(CORS_ORIGINS=f"http://localhost:{taken}"))
        assert message.startswith(
            f"Error: the page cannot be at http://localhost:{taken}: port {taken} is in use."
        )
        name, _, value = "".join(shlex.split(changes_in(message)[-1])).partition("=")
        with serve_page(make_app(**{name.removeprefix("FLASK_"): value})) as page:
            assert f"http://localhost:{taken}, {page}" == value


def test_explains_to_its_own_page_only() -> None:
    with serve_page(make_app()) as origin:
        html = ask(origin)
        assert html.getheader("Access-Control-Allow-Origin") is None
        assert "frame-ancestors 'none'" in (html.getheader("Content-Security-Policy") or "")
        token = re.search(r'"token": "([^"]+)"', html.read().decode())
        assert token
        body = json.dumps({"method": "GET", "path": "/", "headers": [], "credentials": True})
        its_own = {"Origin": origin, "X-Token": token[1], "Content-Type": "application/json"}

        def explain(**changes: str | None) -> int:
            headers = its_own | {name.replace("_", "-"): value for name, value in changes.items()}
            given = {name: value for name, value in headers.items() if value is not None}
            return ask(origin, "POST", "/explain", body=body, headers=given).status

        assert explain() == 200
        assert explain(Origin="http://localhost:1") == 403
        assert explain(Origin=origin.replace("localhost", "127.0.0.1")) == 403
        assert explain(Origin="null") == 403
        assert explain(Origin=None) == 403
        assert explain(X_Token="a" * len(token[1])) == 403
        assert explain(X_Token=None) == 403
        # DNS rebinding: a name of the attacker's leads here, so all is one origin to the browser.
        rebound = origin.replace("localhost", "evil.example")
        assert explain(Host=urlsplit(rebound).netloc, Origin=rebound) == 403
        assert ask(origin, headers={"Host": urlsplit(rebound).netloc}).status == 403
        assert ask(origin, headers={"Host": "localhost"}).status == 403


@pytest.mark.usefixtures("installed")
def test_flask_run_and_the_playground_of_a_rendered_project(
    tab: Page, render: Render, tmp_path: Path
) -> None:
    """The page opens in the user's browser unless told not to, and the API serves none of it."""
    project = render(frontend_origins=ANY_PORT)
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    says = r"Running on http://127\.0\.0\.1(:\d+)"
    with running(project, "run", "--port", "0", says=says) as port:
        api = f"http://localhost{port}"
        with running_page(project, "--api", f"{api}/", "--no-open", BROWSER=str(browser)) as page:
            tab.goto(page)
            finish(tab)
            assert matrix(tab)["PUT"][1] == "✓ Allowed 200"
        assert not opened.exists()
        with running_page(project, "--api", api, BROWSER=str(browser)) as page:
            for _ in range(100):
                if opened.exists():
                    break
                time.sleep(0.05)
            assert f"{opened.read_text().strip()}/" == page
        for path in ("/", "/explain", "/playground", "/cors/playground", "/playground.html"):
            assert ask(api, "GET", path).status == 404
            assert ask(api, "POST", path).status == 404


def test_page_needs_nothing_from_elsewhere(tab: Page, show: Show) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    show(**SOME_METHODS)
    send(tab, "GET", "/api/echo", credentials=True)
    origins = {tab.evaluate("location.origin"), tab.locator("#api").inner_text()}
    assert {"/".join(url.split("/")[:3]) for url in asked if not url.startswith("data:")} == origins
    html = (ROOT / "whycors/playground.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://\S+?(?=['\"])", html)) <= {"http://www.w3.org/2000/svg"}


def test_keyboard_alone(tab: Page, show: Show) -> None:
    show(**SOME_METHODS)
    tab.reload()
    status = tab.get_by_role("status").first
    expect(status).to_have_text("6 of 8 requests are allowed")

    def focused() -> str:
        tab.keyboard.press("Tab")
        # What has the focus is seen to have it.
        outline = "getComputedStyle(document.activeElement).outline"
        assert " solid 3px" in tab.evaluate(outline)
        return str(
            tab.evaluate("document.activeElement.textContent || document.activeElement.name")
        )

    assert [focused(), focused()] == ["at", "Run again"]
    tab.keyboard.press("Enter")
    expect(status).to_have_text("6 of 8 requests are allowed")
    assert focused() == "Send POST, PUT, PATCH, DELETE too"
    tab.keyboard.press("Enter")
    expect(status).to_have_text("9 of 24 requests are allowed")
    names = [focused()]
    while names[-1] != "Send":
        names.append(focused())
    assert names[0] == NO_CREDENTIALS
    assert {"Copy", "Step by step"} <= set(names)
    assert names[-5:] == ["path", "headers", "body", "credentials", "Send"]

    tab.get_by_label("Method", exact=True).focus()
    tab.keyboard.press("Control+A")
    tab.keyboard.type("PATCH")
    tab.keyboard.press("Enter")
    verdict = tab.get_by_role("status").last
    expect(verdict).to_have_text("✕ Blocked: PATCH is not allowed; the policy allows GET, PUT")


def test_names_for_a_screen_reader(tab: Page, show: Show) -> None:
    show(**SOME_METHODS)
    send(tab, "GET", "/api/echo", credentials=True)
    session = tab.context.new_cdp_session(tab)
    found: dict[str, list[str]] = {}
    for node in session.send("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"]:
            name = node.get("name", {}).get("value", "")
            found.setdefault(node["role"]["value"], []).append(name)
    for role in ("button", "textbox", "combobox", "checkbox", "link", "DisclosureTriangle"):
        assert found[role] and all(found[role]), role
    assert [name.split()[0] for name in found["columnheader"]] == [
        "Method",
        "Plain",
        "JSON",
        "Authorization",
        "Credentials",
    ]
    assert [name.split()[0] for name in found["rowheader"]] == EVERY_METHOD[:6]
    assert tab.locator("th:not([scope])").count() == 0
    assert tab.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("http://localhost:*", "it stands for several"),
        ("null", "remove null: any site can send it"),
        ("localhost:8000", "write http://localhost:8000, not localhost:8000"),
    ],
)
def test_bad_api_is_refused(given: str, problem: str) -> None:
    message = refused(make_app(), "--api", given)
    assert problem in message.splitlines()[-1]
