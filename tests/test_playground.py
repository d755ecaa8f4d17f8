"""`flask cors playground`, in Chromium: what its page shows is what the browser decided."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium import Chromium
from conftest import ROOT, Render, commit, copy
from flask import Flask
from playwright.sync_api import Locator, Page, expect

from app.cors.playground import playground as start_playground
from app.cors.policy import Policy

Serve = Callable[..., str]
Show = Callable[..., None]

ANY_PORT = "http://localhost:*"
SOME_METHODS = {"allowed_methods": ["GET", "PUT"]}
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

NO_CREDENTIALS = "credentials are sent, and not allowed"


@contextmanager
def running(project: Path, *command: str, says: str, **environ: str) -> Iterator[str]:
    """Run `flask …` until the block ends, which begins when its output matches; yields the match."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", *command],
        cwd=project,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
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
        process.terminate()
        process.communicate()


@contextmanager
def api(project: Path, port: int = 0, **environ: str) -> Iterator[str]:
    """Run the API, and yield its origin."""
    with running(
        project, "run", "--port", str(port), says=r"Running on http://127\.0\.0\.1(:\d+)", **environ
    ) as its_port:
        yield f"http://localhost{its_port}"


@contextmanager
def playground(project: Path, *options: str, **environ: str) -> Iterator[str]:
    """Run the playground, and yield its page's URL."""
    command = ("cors", "playground", "--no-open", *options)
    with running(project, *command, says=r"Playground: (\S+)", **environ) as url:
        yield url


@pytest.fixture
def tab(browser: Chromium) -> Iterator[Page]:
    tab = browser.tab.context.new_page()
    yield tab
    tab.close()


@pytest.fixture(scope="session")
def served(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Serve a project's API and its playground until all tests are done."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def serve(**answers: Any) -> str:
            name = json.dumps(answers)
            if name not in urls:
                project = tmp_path_factory.mktemp("playground")
                copy(template, project, {"frontend_origins": ANY_PORT, **answers})
                url = stack.enter_context(api(project))
                urls[name] = stack.enter_context(playground(project, "--api", url))
            return urls[name]

        yield serve


@pytest.fixture
def show(tab: Page, served: Serve) -> Callable[..., None]:
    """Show the playground of a project with these answers."""

    def show(**answers: Any) -> None:
        tab.goto(served(**answers))
        finish(tab)

    return show


def finish(tab: Page) -> None:
    expect(tab.get_by_role("status").first).to_have_text(re.compile("are allowed"))


def matrix(tab: Page) -> dict[str, list[str]]:
    """Return the table as it is shown: each row's cells, by the row's header."""
    rows = tab.get_by_role("row").all()[1:]
    return {
        text(row.get_by_role("rowheader")): [text(cell) for cell in row.get_by_role("cell").all()]
        for row in rows
    }


def text(part: Locator) -> str:
    return " ".join((part.text_content() or "").split())


def blocked(method: str, among: str) -> str:
    return f"✕ Blocked {method} is not among {among}"


MATRICES: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "all": (
        {"allowed_methods": EVERY_METHOD, "allow_credentials": True},
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
            "HEAD not in the policy": [
                "✓ Allowed 200 sent without asking",
                *[blocked("HEAD", "GET, PUT")] * 2,
                f"✕ Blocked {NO_CREDENTIALS}",
            ],
            "POST not in the policy": [
                "✓ Allowed 415 sent without asking",
                *[blocked("POST", "GET, PUT")] * 2,
                f"✕ Blocked {NO_CREDENTIALS}",
            ],
            "PUT": [
                "✓ Allowed 415",
                "✓ Allowed 200",
                "✓ Allowed 415",
                f"✕ Blocked {NO_CREDENTIALS}",
            ],
            "PATCH not in the policy": [blocked("PATCH", "GET, PUT")] * 4,
            "DELETE not in the policy": [blocked("DELETE", "GET, PUT")] * 4,
        },
    ),
    "credentials, no Authorization": (
        {
            "allowed_methods": ["GET", "POST", "DELETE"],
            "allow_credentials": True,
            "allowed_headers": "Content-Type",
        },
        {
            "GET": [
                *["✓ Allowed 200"] * 2,
                "✕ Blocked header authorization is not listed",
                "✓ Allowed 200",
            ],
            "HEAD not in the policy": [
                "✓ Allowed 200 sent without asking",
                *[blocked("HEAD", "GET, POST, DELETE")] * 2,
                "✓ Allowed 200 sent without asking",
            ],
            "POST": [
                "✓ Allowed 415",
                "✓ Allowed 200",
                "✕ Blocked header authorization is not listed",
                "✓ Allowed 415",
            ],
            "PUT not in the policy": [blocked("PUT", "GET, POST, DELETE")] * 4,
            "PATCH not in the policy": [blocked("PATCH", "GET, POST, DELETE")] * 4,
            "DELETE": [
                *["✓ Allowed 200"] * 2,
                "✕ Blocked header authorization is not listed",
                "✓ Allowed 200",
            ],
        },
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrix(tab: Page, show: Show, name: str) -> None:
    answers, cells = MATRICES[name]
    show(**answers)
    assert matrix(tab) == cells


def test_each_reason_comes_with_its_remedy_and_the_consoles_words(tab: Page, show: Show) -> None:
    console: list[str] = []
    tab.on("console", lambda message: console.append(message.text))
    show(**SOME_METHODS)
    tab.get_by_role("link", name="PATCH is not among GET, PUT").first.click()
    card = tab.locator(":target")
    expect(card.get_by_role("heading")).to_have_text("PATCH is not among GET, PUT")
    answer, variable = (
        "copier update --vcs-ref=:current: --defaults -d 'allowed_methods=[GET, PUT, PATCH]'",
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
    predicted = re.search("Chromium's console: (.*)", steps)
    assert predicted and predicted[1] in console


def send(tab: Page, method: str, path: str, headers: str = "", credentials: bool = False) -> str:
    """Send a request by the form, and return what the page says of it."""
    tab.get_by_label("Method", exact=True).fill(method)
    tab.get_by_label("Path").fill(path)
    tab.get_by_label("Headers, one a line").fill(headers)
    tab.get_by_label("With credentials").set_checked(credentials)
    tab.get_by_role("button", name="Send", exact=True).click()
    verdict = tab.get_by_role("status").last
    expect(verdict).to_have_text(re.compile("^[✓✕]"))
    return verdict.inner_text()


def test_request_of_ones_own(tab: Page, show: Show) -> None:
    show(**SOME_METHODS)
    details = tab.locator("#answer")
    json_header = "Content-Type: application/json"

    assert send(tab, "GET", "/api/echo?a=b") == "✓ Allowed: 200 OK"
    assert '{"args":{"a":"b"},"method":"GET"}' in details.inner_text()
    assert send(tab, "PUT", "/api/echo", json_header) == "✓ Allowed: 200 OK"
    assert '"json":{}' in details.inner_text()
    assert send(tab, "PUT", "/nowhere") == "✓ Allowed: 404 NOT FOUND"

    headers = f"{json_header}\nX-Trace: 1\nCookie: a=b"
    assert send(tab, "PUT", "/api/echo", headers) == "✕ Blocked: header x-trace is not listed"
    assert "Cookie is left out: the browser alone sets it." in details.inner_text()
    assert "FLASK_CORS_ALLOW_HEADERS='Content-Type, Authorization, x-trace'" in details.inner_text()
    assert send(tab, "GET", "/api/echo", credentials=True) == f"✕ Blocked: {NO_CREDENTIALS}"
    assert send(tab, "TRACE", "/") == "✕ No page can send this"
    assert "TRACE" in details.inner_text()
    assert send(tab, "GET", "/", "no name") == "✕ No page can send this"


def test_api_that_does_not_run(tab: Page, render: Render) -> None:
    project = render(frontend_origins=ANY_PORT)
    port = free_port()
    with playground(project, "--api", f"http://localhost:{port}") as url:
        tab.goto(url)
        status = tab.get_by_role("status").first
        expect(status).to_have_text(f"No answer from http://localhost:{port}")
        start = tab.get_by_text("Start the API in another shell by flask run")
        expect(start).to_be_visible()
        expect(tab.get_by_role("table")).to_be_hidden()
        assert send(tab, "GET", "/api/echo") == f"✕ No answer from http://localhost:{port}"
        with api(project, port):
            tab.get_by_role("button", name="Try again").click()
            finish(tab)
            expect(tab.get_by_role("table")).to_be_visible()
            expect(start).to_be_hidden()
        tab.get_by_role("button", name="Run again").click()
        expect(status).to_have_text(f"No answer from http://localhost:{port}")


def test_preflights_are_not_remembered_and_the_apis_other_settings_are_told(
    tab: Page, render: Render
) -> None:
    project = render(frontend_origins=ANY_PORT)
    port = free_port()
    with playground(project, "--api", f"http://localhost:{port}") as url:
        with api(project, port):
            tab.goto(url)
            finish(tab)
            assert matrix(tab)["DELETE"][0] == "✓ Allowed 200"
        with api(project, port, FLASK_CORS_METHODS="GET"):
            tab.get_by_role("button", name="Run again").click()
            expect(tab.get_by_role("status").first).to_have_text(re.compile(r"^[1-9] of 24"))
            assert matrix(tab)["DELETE"][0].startswith(
                "✕ Blocked allowed by the app as it is here: the API that runs has other settings"
            )


def test_page_of_an_earlier_run(tab: Page, render: Render) -> None:
    port = free_port()
    project = render(frontend_origins=f"http://localhost:{port}")
    with api(project) as url:
        with playground(project, "--api", url) as page:
            tab.goto(page)
            finish(tab)
        with playground(project, "--api", url):
            why = send(tab, "GET", "/api/echo", credentials=True)
            assert why == "✕ Blocked: flask cors playground was started anew: reload this page"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


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
    with page_of(origins.replace("PORT", port)) as (origin, app):
        assert re.fullmatch(expected.replace("PORT", port), origin)
        assert app.extensions["cors_policy"].allows(origin)
        assert "CORS playground" in ask(origin).read().decode()
        if "::1" not in origin:  # a server for every address would answer here too
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", urlsplit(origin).port or 80))


@contextmanager
def page_of(origins: str) -> Iterator[tuple[str, Flask]]:
    """Serve the page for an app of a policy, in this process; yields the page's origin."""
    app = Flask(__name__)
    app.extensions["cors_policy"] = Policy.from_config(
        {
            "CORS_ORIGINS": origins,
            "CORS_METHODS": "GET",
            "CORS_SUPPORTS_CREDENTIALS": False,
            "CORS_MAX_AGE": 600,
        }
    )
    origin, server = start_playground(app, "http://localhost:8000")
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield origin, app
    finally:
        server.shutdown()
        thread.join()


def refused(project: Path, *options: str, **environ: str) -> str:
    """Run the playground where it cannot run, and return what it says."""
    result = subprocess.run(
        [sys.executable, "-m", "flask", "cors", "playground", "--no-open", *options],
        cwd=project,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0 and not result.stdout
    assert "Traceback" not in result.stderr
    return result.stderr


def commands_in(message: str) -> list[str]:
    return [line.strip() for line in message.splitlines() if line.startswith("  ")]


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


def test_no_origin_of_this_machine(render: Render) -> None:
    project = render(frontend_origins="https://app.example.com")
    message = refused(project)
    assert message.startswith(
        "Error: no page on this machine is allowed: https://app.example.com is not. Allow one:\n"
    )
    update, run, play = commands_in(message)
    assert update.startswith("copier update ") and run.endswith(" flask run")

    variable, *command = shlex.split(play)
    assert command == ["flask", "cors", "playground"]
    name, _, value = variable.partition("=")
    with playground(project, **{name: value}) as page:
        assert f"{value}/" == f"https://app.example.com, {page}"

    commit(project)
    shell(project, update)
    with playground(project) as page:
        assert f"{value}/" == f"https://app.example.com, {page}"


def test_origin_that_needs_a_certificate(render: Render) -> None:
    project = render(frontend_origins="https://app.example.com, https://localhost:5173")
    assert refused(project).startswith(
        "Error: https://localhost:5173: a page there needs a certificate. Allow one without, over"
        " plain http:\n  copier update "
    )


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=IPV6)])
def test_port_in_use(render: Render, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as frontend:
        taken = frontend.getsockname()[1]
        project = render(frontend_origins=f"http://localhost:{taken}")
        message = refused(project)
        assert message.startswith(
            f"Error: the page cannot be at http://localhost:{taken}: port {taken} is in use."
        )
        name, _, value = shlex.split(commands_in(message)[-1])[0].partition("=")
        with playground(project, **{name: value}) as page:
            assert f"http://localhost:{taken}, {page}" == f"{value}/"


def test_explains_to_its_own_page_only() -> None:
    with page_of(ANY_PORT) as (origin, _):
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
        # A name of the attacker's that leads here (DNS rebinding): to the browser, all is one origin.
        rebound = origin.replace("localhost", "evil.example")
        assert explain(Host=urlsplit(rebound).netloc, Origin=rebound) == 403
        assert ask(origin, headers={"Host": urlsplit(rebound).netloc}).status == 403
        assert ask(origin, headers={"Host": "localhost"}).status == 403


def test_deployed_app_has_no_playground(render: Render) -> None:
    project = render(frontend_origins=ANY_PORT)
    routes = subprocess.run(
        [sys.executable, "-m", "flask", "routes"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = re.findall(r"\s(/\S*)", routes.stdout)
    assert set(paths) == {"/api/echo", "/health/live", "/health/ready", "/static/<path:filename>"}
    with api(project) as url, playground(project, "--api", url):
        for path in ("/", "/explain", "/playground", "/cors/playground", "/playground.html"):
            assert ask(url, "GET", path).status == 404
            assert ask(url, "POST", path).status == 404


def test_page_needs_nothing_from_elsewhere(tab: Page, show: Show) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    show(**SOME_METHODS)
    send(tab, "GET", "/api/echo", credentials=True)
    origins = {tab.evaluate("location.origin"), tab.locator("#api").inner_text()}
    assert {"/".join(url.split("/")[:3]) for url in asked if not url.startswith("data:")} == origins
    html = (ROOT / "template/app/cors/playground.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://\S+?(?=['\"])", html)) <= {"http://www.w3.org/2000/svg"}


def test_keyboard_alone(tab: Page, show: Show) -> None:
    show(**SOME_METHODS)
    tab.evaluate("document.activeElement.blur()")

    def focused() -> str:
        tab.keyboard.press("Tab")
        # What has the focus is seen to have it.
        outline = "getComputedStyle(document.activeElement).outline"
        assert " solid 3px" in tab.evaluate(outline)
        return str(
            tab.evaluate("document.activeElement.textContent || document.activeElement.name")
        )

    assert focused() == "Run again"
    tab.keyboard.press("Enter")
    finish(tab)
    names = [focused()]
    while names[-1] != "Send":
        names.append(focused())
    assert names[0] == NO_CREDENTIALS
    assert {"Copy", "Step by step"} <= set(names)
    assert names[-5:] == ["method", "path", "headers", "credentials", "Send"]

    tab.get_by_label("Method", exact=True).focus()
    tab.keyboard.press("Control+A")
    tab.keyboard.type("PATCH")
    tab.keyboard.press("Enter")
    verdict = tab.get_by_role("status").last
    expect(verdict).to_have_text("✕ Blocked: PATCH is not among GET, PUT")


def test_names_for_a_screen_reader(tab: Page, show: Show) -> None:
    show(**SOME_METHODS)
    send(tab, "GET", "/api/echo", credentials=True)
    session = tab.context.new_cdp_session(tab)
    for width in (1040, 360):
        tab.set_viewport_size({"width": width, "height": 800})
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        found: dict[str, list[str]] = {}
        for node in nodes:
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
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("th:not([scope])").count() == 0
    assert tab.evaluate("document.documentElement.lang") == "en"


# The contrast of each text with what is behind it (WCAG 2.2, "contrast ratio"), the lowest last.
CONTRASTS = """
() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = parts(color).map((part) => {
      part /= 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility()) continue;
    const pair = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), text]);
  }
  for (const input of document.querySelectorAll("input, textarea")) {
    const colors = [getComputedStyle(input).color, getComputedStyle(input, "::placeholder").color];
    for (const color of colors) {
      const pair = [color, behind(input)].map(luminance).sort((a, b) => b - a);
      found.push([(pair[0] + 0.05) / (pair[1] + 0.05), input.name]);
    }
  }
  return found.sort((a, b) => b[0] - a[0]);
}
"""


def test_contrast_in_light_and_dark(tab: Page, show: Show) -> None:
    backgrounds = set()
    show(**SOME_METHODS)
    send(tab, "GET", "/api/echo", credentials=True)
    for summary in tab.locator("summary").all():
        summary.click()
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        found = tab.evaluate(CONTRASTS)
        assert len(found) > 100
        assert found[-1][0] >= 4.5, found[-1]
        backgrounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


def test_opens_the_page_unless_told_not_to(render: Render, tmp_path: Path) -> None:
    project = render(frontend_origins=ANY_PORT)
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    with playground(project, BROWSER=str(browser)):
        pass
    assert not opened.exists()
    with running(
        project, "cors", "playground", says=r"Playground: (\S+)/\s", BROWSER=str(browser)
    ) as page:
        for _ in range(100):
            if opened.exists():
                break
            subprocess.run(["sleep", "0.05"])
        assert opened.read_text().strip() == page


def test_ctrl_c_ends_it_quietly(render: Render) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", "cors", "playground", "--no-open"],
        cwd=render(frontend_origins=ANY_PORT),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has what it runs in the background ignore Ctrl+C, these tests perhaps.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stdout
    ask(process.stdout.readline().split()[-1])
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("http://localhost:8000/", "drop the trailing slash: http://localhost:8000"),
        ("http://localhost:*", "name one origin"),
        ("localhost:8000", "add the scheme: http://localhost:8000"),
    ],
)
def test_bad_api_is_refused(render: Render, given: str, answer: str) -> None:
    message = refused(render(frontend_origins=ANY_PORT), "--api", given)
    assert answer in message.splitlines()[-1]
