"""`whycors probe URL --origin O`: any server, without a policy to compare with."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result
from conftest import ROOT, skip
from flask import Flask, request
from flask.cli import ScriptInfo
from flask_cors import CORS
from proxied import nginx
from servers import answers, free_port, running
from werkzeug.serving import make_server

from whycors.browser import Response
from whycors.commands import commands
from whycors.origins import sample
from whycors.policies import Policy, route_of
from whycors.senders import sender, wsgi_sender
from whycors.trials import recipes

PAGE = "https://app.example.com"

Headers = list[tuple[str, str]]
# What a server answers: the method, the origin and the path are asked for.
Answer = Callable[[str, str | None], tuple[int, Headers]]

ALLOW = [("Access-Control-Allow-Origin", PAGE), ("Vary", "Origin")]
METHODS = [("Access-Control-Allow-Methods", "GET, PUT")]


def allow(origin: str | None, *more: tuple[str, str]) -> Headers:
    return [("Access-Control-Allow-Origin", origin or "*"), *more]


def only_page(method: str, origin: str | None) -> tuple[int, Headers]:
    return 200, [*ALLOW, *METHODS] if origin == PAGE else [("Vary", "Origin")]


def log_in_first(method: str, origin: str | None) -> tuple[int, Headers]:
    return (401, []) if method == "OPTIONS" else only_page(method, origin)


# Those of the seven faults that a server of somebody else's had, and their names.
SEVEN: dict[str, tuple[Answer, str]] = {
    "two": (
        lambda _, origin: (200, [*ALLOW, *allow("*"), *METHODS]),
        "the API sends Access-Control-Allow-Origin, and a proxy adds its own: remove it",
    ),
    "no-vary": (
        lambda _, origin: (200, [*ALLOW[:1], *METHODS] if origin == PAGE else []),
        "the response lacks Vary: Origin: a cache may give one page's copy to",
    ),
    "reflects": (
        lambda _, origin: (
            200,
            allow(origin, ALLOW[1], ("Access-Control-Allow-Credentials", "true"), *METHODS),
        ),
        "every site can act as your logged-in users",
    ),
    "null": (
        lambda method, origin: (
            (200, allow(origin, ALLOW[1])) if origin == "null" else only_page(method, origin)
        ),
        "any site can have an origin that the server allows, null (any site can send it)",
    ),
    "no-end": (
        lambda _, origin: (
            200,
            allow(origin, ALLOW[1], *METHODS) if (origin or "").startswith(PAGE) else [ALLOW[1]],
        ),
        f"any site can have an origin that the server allows, {PAGE}.probe.invalid, ",
    ),
    "log-in": (
        log_in_first,
        "the preflight is answered with 401: have OPTIONS answered before any log-in",
    ),
    "moved": (
        lambda *_: (308, [("Location", "/moved/")]),
        "the server redirects for the slash at the end, without CORS headers: have the page call",
    ),
}

# What a scanner may call a fault, though it works as its owner means it to.
FINE: dict[str, Answer] = {
    "right": only_page,
    # For everyone, on purpose: nothing depends on the origin, so nothing needs Vary.
    "public": lambda *_: (200, [*allow("*"), *METHODS]),
    # Another port and a subdomain of the page's own domain.
    "own-domain": lambda _, origin: (
        200,
        [*allow(origin), ALLOW[1], *METHODS]
        if origin in (PAGE, f"{PAGE}:444", "https://probe.app.example.com")
        else [ALLOW[1]],
    ),
    # One origin, whoever asks.
    "constant": lambda *_: (200, [*ALLOW[:1], *METHODS]),
    # As flask-cors does with one origin: its owner cannot change it.
    "flask-cors": lambda _, origin: (
        200,
        [*ALLOW[:1], *METHODS] if origin in (None, PAGE) else METHODS,
    ),
}

# What else keeps a page from an answer, and who is to blame for it.
BLOCKED: dict[str, tuple[Answer, str]] = {
    "plain": (lambda *_: (200, []), f"allow {PAGE}: the response has no Access-Control-Allow-"),
    "own-401": (lambda *_: (401, []), "the server answers 401, without CORS headers: the page has"),
    "gateway": (lambda *_: (502, []), "the proxy cannot reach the API: start it"),
    "other": (
        lambda *_: (200, [("Access-Control-Allow-Origin", "https://app.example.com:444")]),
        f"{PAGE} is not allowed, but {PAGE}:444 is: the port differs: allow it, too",
    ),
    "cached": (
        lambda *_: (200, [("Access-Control-Allow-Origin", "https://b.example"), ("Age", "9")]),
        "a cache gives every page the copy that it keeps for https://b.example",
    ),
    "to-www": (
        lambda *_: (301, [("Location", "http://www.example/")]),
        "the server redirects to another host, without CORS headers: have the page call",
    ),
    "no-put": (
        lambda *_: (200, [*ALLOW, ("Access-Control-Allow-Methods", "GET")]),
        f"allow {PAGE}: in the preflight, the method is not in Access-Control-Allow-Methods (PUT)",
    ),
    # As Starlette does, and so FastAPI.
    "rejects-put": (
        lambda method, _: (
            400 if method == "OPTIONS" else 200,
            [*ALLOW, ("Access-Control-Allow-Methods", "GET")],
        ),
        f"the server's CORS check rejects the preflight with 400: allow {PAGE} to send PUT",
    ),
    "list": (
        lambda *_: (200, [("Access-Control-Allow-Origin", f"{PAGE}, https://b.example")]),
        "that of the page that asks, and Vary: Origin: it can be no list, as in https://app.",
    ),
    "wildcard": (
        lambda *_: (200, [("Access-Control-Allow-Origin", "https://*.example.com")]),
        "but https://*.example.com is: a * there does not stand for any name: allow it, too",
    ),
    "empty": (
        lambda *_: (200, [("Access-Control-Allow-Origin", "")]),
        f'{PAGE} is not allowed; the server allows "": allow it, too',
    ),
    "two-credentials": (
        lambda *_: (200, [*ALLOW, *2 * [("Access-Control-Allow-Credentials", "true")], *METHODS]),
        "the API sends Access-Control-Allow-Credentials, and a proxy adds its own",
    ),
}

# A GET of it says nothing of a PUT, whose preflight passes.
ONLY_PUT: dict[str, Answer] = {
    "only-put": lambda method, _: (200, [*ALLOW, *METHODS]) if method == "OPTIONS" else (404, [])
}

ANSWERS = {name: answer for name, (answer, _) in (SEVEN | BLOCKED).items()} | FINE | ONLY_PUT


class Somebody(BaseHTTPRequestHandler):
    """A server that has each fault at a path of its own, and remembers what it was asked."""

    asked: ClassVar[list[str]] = []

    def handle_one(self) -> None:
        Somebody.asked.append(self.command)
        name = self.path.split("/")[1]
        status, headers = ANSWERS[name](self.command, self.headers["Origin"])
        self.send_response_only(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_OPTIONS = do_PUT = do_POST = do_DELETE = handle_one

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def somebody() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Somebody) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@dataclass(frozen=True)
class Told:
    """What the command says, in one line, with which exit code, and as data."""

    code: int
    text: str
    rows: list[dict[str, Any]]

    @property
    def recipes(self) -> dict[str, str]:
        return {where: text for row in self.rows for where, text in row["recipes"].items()}


def probe(
    url: str,
    *methods: str,
    page: str = PAGE,
    headers: tuple[str, ...] = (),
    credentials: bool = False,
) -> Told:
    options = ["--origin", page, *(["--credentials"] if credentials else [])]
    options += [word for method in methods for word in ("--method", method)]
    options += [word for name in headers for word in ("--header", name)]
    plain, as_json = (
        CliRunner().invoke(commands, ["probe", url, *options, *more]) for more in ([], ["--json"])
    )
    assert plain.exit_code == as_json.exit_code
    return Told(plain.exit_code, " ".join(plain.stdout.split()), json.loads(as_json.stdout))


@pytest.mark.parametrize("fault", SEVEN)
def test_seven_faults_of_somebody_elses_server_are_named(somebody: str, fault: str) -> None:
    told = probe(f"{somebody}/{fault}", "GET", "PUT")
    assert told.code == 1
    assert SEVEN[fault][1] in told.text
    # None of the other six is.
    others = [name for other, (_, name) in SEVEN.items() if other != fault]
    assert not [name for name in others if name in told.text]


@pytest.mark.parametrize("name", FINE)
def test_what_only_a_scanner_would_call_a_fault(somebody: str, name: str) -> None:
    told = probe(f"{somebody}/{name}", "GET", "PUT")
    assert told.code == 0, told
    assert f"Nothing to fix: a browser lets {PAGE} do this." in told.text
    assert ("lacks Vary" in told.text) == (name == "flask-cors")


@pytest.mark.parametrize("fault", BLOCKED)
def test_what_keeps_a_page_out_is_named(somebody: str, fault: str) -> None:
    credentials = fault == "two-credentials"
    told = probe(f"{somebody}/{fault}", "GET", "PUT", credentials=credentials)
    assert told.code == 1
    assert BLOCKED[fault][1] in told.text
    assert "in front of" not in told.text


def test_nothing_is_sent_that_may_change_data(somebody: str) -> None:
    Somebody.asked.clear()
    for name in ANSWERS:
        probe(f"{somebody}/{name}", "POST", "PUT", "DELETE", headers=("X-Token",))
        probe(f"{somebody}/{name}", "POST")  # which has no preflight
    assert {*Somebody.asked} == {"GET", "OPTIONS"}
    told = probe(f"{somebody}/right", "POST", "PUT")
    assert "not sent, as it may change data: POST, PUT" in told.text


def test_page_that_is_a_file_is_not_to_be_allowed(somebody: str) -> None:
    told = probe(f"{somebody}/right", page="null")
    assert told.code == 1
    assert "serve the page from a server" in told.text
    assert not told.recipes


def test_page_on_https_cannot_call_plain_http() -> None:
    told = probe("http://api.invalid/x")
    assert told.code == 1
    assert "have it call https://api.invalid/x" in told.text
    assert [row["result"] for row in told.rows] == ["blocked", "not tried until then"]


def test_what_only_the_request_itself_would_tell(somebody: str) -> None:
    told = probe(f"{somebody}/only-put", "PUT")
    assert told.code == 2
    assert "cannot say" in told.rows[0]["result"]


Served = Callable[[Path, str], AbstractContextManager[str]]


@contextmanager
def behind_nginx(folder: Path, recipe: str) -> Iterator[str]:
    beside, _, within = recipe.partition("\n\n")
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; location / {{ {within}\nempty_gif; }} }}"
    with nginx(folder, f"{beside}\n{server}", port):
        yield f"http://localhost:{port}/items"


@contextmanager
def express(folder: Path, recipe: str) -> Iterator[str]:
    npm = shutil.which("npm")
    if npm is None:
        skip("install npm (Debian: apt install npm)")
    if not (folder / "node_modules").exists():
        shutil.copytree(ROOT / "tests/whycors/express", folder, dirs_exist_ok=True)
        options = ["--silent", "--no-audit", "--no-fund", "--prefer-offline"]
        subprocess.run([npm, "ci", *options], cwd=folder, check=True)
    with program(
        folder,
        "app.js",
        f"""
        const app = require("express")();
        {recipe}
        app.get("/items", (request, response) => response.json([]));
        app.listen(process.argv[2]);
        """,
        "node",
        "app.js",
    ) as url:
        yield url


@contextmanager
def fastapi(folder: Path, recipe: str) -> Iterator[str]:
    text = f"""
from fastapi import FastAPI

app = FastAPI()


@app.get("/items")
def items() -> list[str]:
    return []


{recipe}
"""
    with program(
        folder, "api.py", text, sys.executable, "-m", "uvicorn", "api:app", "--port"
    ) as url:
        yield url


@contextmanager
def django(folder: Path, recipe: str) -> Iterator[str]:
    text = f"""
from django.http import JsonResponse
from django.urls import path

ALLOWED_HOSTS = ["localhost"]
DEBUG = False
INSTALLED_APPS = []
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "site_settings"
SECRET_KEY = "for tests only"
{recipe}
urlpatterns = [path("items", lambda request: JsonResponse([], safe=False))]
"""
    command = ["-m", "django", "runserver", "--noreload", "--settings=site_settings"]
    with program(
        folder, "site_settings.py", text, sys.executable, *command, "--pythonpath=."
    ) as url:
        yield url


@contextmanager
def program(folder: Path, name: str, text: str, *command: str) -> Iterator[str]:
    """Run a server whose last argument is a port. Yields a URL of it."""
    (folder / name).write_text(text)
    port = free_port()
    with running([*command, str(port)], folder, lambda: answers(port), folder / "server.log"):
        yield f"http://localhost:{port}/items"


@contextmanager
def flask(_: Path, recipe: str) -> Iterator[str]:
    app = Flask("somebodys")
    exec(recipe, {"app": app})
    app.add_url_rule("/items", view_func=list)
    with served(app) as url:
        yield f"{url}/items"


@contextmanager
def served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.port}"
    server.shutdown()


SERVERS: dict[str, Served] = {
    "nginx": behind_nginx,
    "Express": express,
    "FastAPI": fastapi,
    "Django": django,
    "Flask": flask,
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(("credentials", "headers"), [(True, ("X-Token",)), (False, ())])
def test_recipe_makes_a_real_server_right(
    tmp_path: Path, server: str, credentials: bool, headers: tuple[str, ...]
) -> None:
    asked = {"headers": headers, "credentials": credentials}
    with SERVERS[server](tmp_path, "") as url:
        told = probe(url, "GET", "PUT", **asked)
    assert told.code == 1
    assert list(told.recipes) == ["Send exactly", f"In {server}"]
    exactly, recipe = told.recipes.values()
    assert ("Access-Control-Allow-Credentials: true" in exactly) == credentials
    with SERVERS[server](tmp_path, recipe) as url:
        told = probe(url, "GET", "PUT", **asked)
        assert told.code == 0, told
        assert not told.recipes
        assert probe(url, "DELETE", **asked).code == 1
        assert probe(url, page="https://evil.example").code == 1
        assert probe(url, credentials=True).code == (0 if credentials else 1)


@pytest.mark.parametrize("server", ["Spring", "Go", "Apache"])
def test_recipe_of_other_servers(server: str) -> None:
    signs = {
        "Spring": (("Content-Type", "application/json"),),
        "Go": (("Content-Type", "text/plain; charset=utf-8"),),
        "Apache": (("Server", "Apache/2.4.65 (Debian)"),),
    }
    bodies = {
        "Spring": b'{"timestamp":"2026-11-28T00:00:00Z","status":404,"error":"Not Found"}',
        "Go": b"404 page not found\n",
    }
    policy = Policy((PAGE,), ("GET", "PUT"), True, ("X-Token",), (), 0)
    found = recipes(policy, [Response(404, signs[server], bodies.get(server, b""))])
    recipe = found[f"In {server}"]
    for value in (PAGE.replace(".", r"\.") if server == "Apache" else PAGE, "PUT", "X-Token"):
        assert value in recipe
    assert "<" not in recipe


def plain_app(*origins: str) -> Flask:
    """An app of somebody's with flask-cors, which sends no Vary for its one origin."""
    app = Flask("plain")
    CORS(app, origins=origins or PAGE, methods=["GET", "PUT"])
    app.add_url_rule("/items", view_func=list, methods=["GET", "PUT"])
    return app


def loose_app() -> Flask:
    app = Flask("loose")
    CORS(app, origins=r"https://app\.example\.com", supports_credentials=True)
    app.add_url_rule("/items", view_func=list)
    return app


def keeps(url: str, app: Flask) -> Result:
    """Compare a server with the policy of an app, as `flask cors probe URL` does."""
    return CliRunner().invoke(commands, ["probe", url], obj=ScriptInfo(create_app=lambda: app))


def test_plain_flask_app_keeps_its_policy_though_it_sends_no_vary() -> None:
    with served(plain_app()) as url:
        found = keeps(url, plain_app())
        assert found.exit_code == 0, found.output
        assert "Note: the response lacks Vary: Origin" in found.stdout
        other = plain_app()
        CORS(other, origins="https://new.example")
        found = keeps(f"{url}/items", other)
    assert found.exit_code == 1
    assert "something in front of the API" not in found.stdout


def test_pattern_without_an_end_of_a_plain_flask_app_is_named() -> None:
    with served(loose_app()) as url:
        found = keeps(url, loose_app())
    assert found.exit_code == 1, found.output
    assert f"allows, {PAGE}.probe.invalid, " in " ".join(found.stdout.split())


def test_vary_that_flask_cors_does_not_send_to_others_is_no_fault() -> None:
    """Of several origins, it sends Vary only to these: no owner can change that."""
    app = plain_app(PAGE, "https://b.example.org")
    with served(app) as url:
        for arguments in ([url], [f"{url}/items", "--origin", "https://b.example.org"]):
            found = CliRunner().invoke(
                commands, ["probe", *arguments], obj=ScriptInfo(create_app=lambda: app)
            )
            assert found.exit_code == 0, found.output
            assert "Note: the response lacks Vary: Origin" in found.stdout


def test_one_cause_is_one_fix() -> None:
    with served(plain_app()) as url:
        arguments = ["probe", f"{url}/items", "--origin", "https://c.example.org"]
        found = CliRunner().invoke(commands, [*arguments, "--method", "PUT"])
    assert found.exit_code == 1
    assert " ".join(found.stdout.split()).count("allow https://c.example.org") == 1
    assert (
        "Fix 1: allow https://c.example.org: the response has no\nAccess-Control-Allow-Origin\n"
        in (found.stdout)
    )


def test_origin_of_a_plain_flask_app_that_no_browser_sends_is_named() -> None:
    app = plain_app("https://b.example.org", f"{PAGE}/")
    with served(app) as url:
        found = keeps(url, app)
    assert found.exit_code == 1
    assert f"Fix 1: write {PAGE}, not {PAGE}/: browsers send it so" in " ".join(
        found.stdout.split()
    )


def test_header_that_a_page_sets_twice_arrives_with_both_values() -> None:
    app = Flask("twice")
    app.add_url_rule("/", "seen", lambda: ("", 200, {"Seen": request.headers["X-Two"]}))
    with served(app) as url:
        for send in (sender(None, 9), wsgi_sender(app, None, url)):
            assert send("GET", url, (("X-Two", "1"), ("X-Two", "2"))).get("seen") == "1, 2"


@pytest.mark.parametrize(
    ("pattern", "origin"),
    [
        ("*", "https://probe.invalid"),
        (PAGE, PAGE),
        ("http://[::1]:*", "http://[::1]:3000"),
        ("https://pr-*.example.com", "https://pr-app.example.com"),
        (r"^https://pr-\d+\.example\.com$", "https://pr-1.example.com"),
        (r"https?://[a-z]+\.example\.(?:com|org)\Z", "https://a.example.com"),
        (r"https://.*\.example\.com", "https://a.example.com"),
    ],
)
def test_sample_of_a_pattern(pattern: str, origin: str) -> None:
    assert sample(pattern) == origin


def test_method_that_no_view_takes_leads_to_the_view_that_answers_the_preflight() -> None:
    app = Flask("two")
    app.add_url_rule("/items/", "listed", lambda: "", methods=["GET"])
    app.add_url_rule("/items/", "dropped", lambda: "", methods=["DELETE"])
    assert route_of(app, "/items", "PUT") == ("listed", ["DELETE", "GET", "HEAD", "OPTIONS"])
    assert route_of(app, "/other", "PUT") == (None, [])
