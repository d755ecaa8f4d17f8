"""Any Flask app is explained: the cause, its place in the code, and a change that then holds."""

import fcntl
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import serve
from conftest import ROOT

from whycors.browser import PageRequest

if TYPE_CHECKING:
    from chromium import Chromium

APP = "https://app.example.com"
STRANGER = "https://zzz.test"
API = "http://localhost:5000"

# 6.0.3 is the last that keeps patterns as text; 6.0.0 alone orders resources differently.
VERSIONS = ("4.0.2", "5.0.1", "6.0.0", "6.0.3", "6.0.5")

# Loads the app of each line, explains a request to it, and answers with a line.
DRIVER = """
import importlib.util, json, os, sys
from whycors.browser import PageRequest
from whycors.explain import as_text, explain

for number, line in enumerate(sys.stdin):
    asked = json.loads(line)
    os.chdir(asked["folder"])
    spec = importlib.util.spec_from_file_location(f"app{number}", "app.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    headers = tuple((name, "1") for name in asked["headers"])
    request = PageRequest(asked["origin"], asked["method"], headers, asked["credentials"])
    found = explain(module.app, asked["url"], request, send=asked["send"])
    advice = found.advice or found.hidden
    print(json.dumps({
        "exit_code": found.exit_code,
        "reasons": advice.reasons if advice else (),
        "changes": [(one.lead, one.text) for one in advice.changes] if advice else [],
        "warnings": found.warnings,
        "text": "\\n".join(as_text(found)),
        "calls": getattr(module, "calls", None),
    }), flush=True)
    del sys.modules[spec.name]
"""


@dataclass
class Found:
    exit_code: int
    reasons: list[str]
    changes: list[tuple[str, str]]
    warnings: list[str]
    text: str
    calls: list[str] | None


Explain = Callable[..., Found]


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where a version of flask-cors is installed, by the first worker that needs it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "flask-cors"
    folder.mkdir(exist_ok=True)

    def install(version: str) -> Path:
        target = folder / version
        with (folder / f"{version}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
                subprocess.run([*uv, "--target", target, f"flask-cors=={version}"], check=True)
        return target

    return install


@pytest.fixture(scope="session")
def explainers(
    versions: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Explain]]:
    """What explains a request to an app, with a version of flask-cors."""
    running: dict[str, subprocess.Popen[str]] = {}
    with ExitStack() as stack:

        def explainer(version: str) -> Explain:
            if version not in running:
                process = subprocess.Popen(
                    [sys.executable, "-c", DRIVER],
                    env={**os.environ, "PYTHONPATH": f"{versions(version)}:{ROOT}"},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                running[version] = stack.enter_context(process)
                stack.callback(process.kill)
            process = running[version]

            def explain(
                source: str,
                method: str,
                path: str,
                *headers: str,
                origin: str = APP,
                credentials: bool = False,
                send: bool = False,
            ) -> Found:
                folder = tmp_path_factory.mktemp("app")
                (folder / "app.py").write_text(source)
                asked = {
                    "folder": str(folder),
                    "origin": origin,
                    "method": method,
                    "url": path if path.startswith("http") else f"{API}{path}",
                    "headers": headers,
                    "credentials": credentials,
                    "send": send,
                }
                assert process.stdin and process.stdout
                print(json.dumps(asked), file=process.stdin, flush=True)
                line = process.stdout.readline()
                assert line, "the driver ended: see standard error"
                return Found(**json.loads(line))

            return explain

        yield explainer


@pytest.fixture(params=VERSIONS)
def explain(explainers: Callable[[str], Explain], request: pytest.FixtureRequest) -> Explain:
    return explainers(request.param)


@pytest.fixture
def explain_newest(explainers: Callable[[str], Explain]) -> Explain:
    return explainers(VERSIONS[-1])


START = """\
from flask import Blueprint, Flask, abort, request
from flask_cors import CORS, cross_origin

app = Flask(__name__)
"""

ONLY = f'CORS(app, origins="{APP}")'

ITEMS = """

@app.route("/items", methods=["GET", "POST", "PUT"])
def items():
    return "[]"
"""


@dataclass(frozen=True)
class Complaint:
    """An app that somebody asked about, a request to it, and what is said of it."""

    source: str
    request: tuple[str, ...]
    reason: str
    lead: str = ""
    text: str = ""
    origin: str = APP
    credentials: bool = False

    @property
    def asked(self) -> dict[str, Any]:
        return {"origin": self.origin, "credentials": self.credentials}


COMPLAINTS = {
    "a redirect for a slash": Complaint(
        f"""{START}{ONLY}


@app.route("/items/", methods=["POST"])
def items():
    return ""
""",
        ("POST", "/items", "Authorization"),
        f"the app redirects /items to {API}/items/ for the slash of its route (items, app.py:8),"
        " and browsers follow no redirect of a preflight",
        "To allow it, have the page call",
        f"{API}/items/",
    ),
    "the debugger's page": Complaint(
        f"""{START}app.debug = True
{ONLY}


@app.get("/items")
def items():
    return {{}}["name"]
""",
        ("GET", "/items"),
        "the code failed: KeyError: 'name' (app.py:11). The answer has no CORS headers, as in debug"
        " mode, so the browser reports CORS: fix the code",
    ),
    "log-in before CORS": Complaint(
        f"""{START}

@app.before_request
def log_in():
    if "Authorization" not in request.headers:
        abort(401)


{ONLY}
{ITEMS}""",
        ("PUT", "/items", "Authorization"),
        "a check runs before CORS: log_in, app.py:7. It answers the preflight with 401, but"
        " a preflight has no credentials and no body",
        "To allow it, as the first line of log_in, app.py:7",
        'if request.method == "OPTIONS": return None',
    ),
    "doubled headers": Complaint(
        f"""{START}

@app.after_request
def add_headers(response):
    response.headers.add("Access-Control-Allow-Origin", "*")
    return response


{ONLY}
{ITEMS}""",
        ("GET", "/items"),
        "Access-Control-Allow-Origin is added by CORS(app), app.py:13 and by add_headers, app.py:7:"
        f" {APP}, *",
        "To allow it, remove the CORS headers in",
        "add_headers, app.py:7",
    ),
    "resources that do not match": Complaint(
        f"""{START}CORS(app, resources={{r"/api/*": {{"origins": "{APP}"}}}})
{ITEMS}""",
        ("PUT", "/items"),
        "CORS(app) covers /api/*, and not /items",
        "To allow it, at app.py:5",
        f'CORS(app, resources=["/api/*", "/items"], origins=["{APP}"])',
    ),
    "credentials with *": Complaint(
        f"""{START}CORS(app)
{ITEMS}""",
        ("PUT", "/items"),
        "the request sends credentials; CORS(app) forbids them",
        "To allow it, at app.py:5",
        f'CORS(app, origins=["{APP}"], supports_credentials=True)',
        credentials=True,
    ),
    "a missing header": Complaint(
        f"""{START}CORS(app, origins="{APP}", allow_headers="Content-Type")
{ITEMS}""",
        ("PUT", "/items", "Authorization"),
        "the header authorization is not allowed by CORS(app)",
        "To allow it, at app.py:5",
        f'CORS(app, origins=["{APP}"], allow_headers=["Content-Type", "authorization"])',
    ),
    "null": Complaint(
        f"""{START}CORS(app, origins="http://localhost:5173")
{ITEMS}""",
        ("GET", "/items"),
        "null is not allowed: any site can have it, by a sandboxed frame or a local file",
        "To allow it, serve the page at",
        "http://localhost:5173",
        origin="null",
    ),
    "a blueprint": Complaint(
        f"""{START}api = Blueprint("api", __name__)
CORS(api)
app.register_blueprint(api)
{ITEMS}""",
        ("PUT", "/items"),
        "CORS(api) covers the routes of its blueprint only, and not /items",
        "To allow it, add",
        f'CORS(app, resources="/items", origins=["{APP}"])',
    ),
    "the decorators' order": Complaint(
        f"""{START}

@cross_origin(origins="{APP}")
@app.get("/items")
def items():
    return ""
""",
        ("GET", "/items"),
        "@cross_origin at items, app.py:7 is above @app.route, which registers the view without it",
        "To allow it, below @app.route, at items, app.py:7",
        f'@cross_origin(origins=["{APP}"])',
    ),
    "headers by hand": Complaint(
        f"""{START}

@app.after_request
def add_headers(response):
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Allow-Methods"] = "GET, POST"
    return response
{ITEMS}""",
        ("PUT", "/items"),
        "Access-Control-Allow-Methods is set by add_headers, app.py:7, to GET, POST, without PUT",
        "To allow it, in add_headers, app.py:7, answer OPTIONS /items with",
        "Access-Control-Allow-Methods: GET, POST, PUT",
    ),
}

# Puts what a line says into the answers to one method.
WRAPPER = """

inner = app.wsgi_app


def with_headers(environ, start_response):
    def start(status, headers, *more):
        kept = [(name, value) for name, value in headers if name not in dict(CHANGED)]
        return start_response(status, [*kept, *CHANGED], *more)

    is_asked = environ["REQUEST_METHOD"] == METHOD and environ.get("HTTP_ORIGIN") == ORIGIN
    return inner(environ, start if is_asked else start_response)


app.wsgi_app = with_headers
"""


def changed(source: str, lead: str, text: str) -> str:
    """Return the source of an app after a change, as its owner makes it."""
    lines = source.splitlines()
    place = re.search(r"app\.py:(\d+)", f"{lead} {text}")
    number = int(place[1]) - 1 if place else len(lines)
    if answer := re.search(r"answer (\w+) /\S+ with", lead):
        headers = [tuple(line.split(": ", 1)) for line in text.split("; ")]
        names = f"METHOD, ORIGIN, CHANGED = {answer[1]!r}, {APP!r}, {headers!r}"
        return f"{source}\n{names}\n{WRAPPER}"
    if "as the first line of" in lead:
        start = next(at for at in range(number, len(lines)) if lines[at].startswith("def "))
        lines.insert(start + 1, f"    {text}")
    elif "remove the CORS headers in" in lead:
        del lines[number]  # the decorator that registers it
    elif "below @app.route" in lead:
        lines[number], lines[number + 1] = lines[number + 1], text
    elif "add" in lead:
        lines.append(text)
    elif "above" in lead:
        lines.insert(number + 1, text)
    else:
        lines[number] = text
    return "\n".join(lines) + "\n"


def after_change(source: str, path: str, lead: str, text: str) -> tuple[str, str]:
    """Return an app and the path that the page calls, after a change."""
    if "have the page call" in lead:
        return source, text.removeprefix(API)
    if "serve the page at" in lead:
        return source, path
    if not lead:  # the code is to be fixed
        return source.replace('{}["name"]', '""'), path
    return changed(source, lead, text), path


@pytest.mark.parametrize("name", COMPLAINTS)
def test_complaint(explain: Explain, name: str) -> None:
    """A change lets in the page, and no stranger who was kept out before."""
    one = COMPLAINTS[name]
    found = explain(one.source, *one.request, **one.asked)
    assert found.exit_code == 1, found
    assert found.reasons == [one.reason]
    assert found.changes == ([[one.lead, one.text]] if one.lead else [])
    method, path, *headers = one.request
    source, path = after_change(one.source, path, one.lead, one.text)
    request, asked = (method, path, *headers), one.asked
    if "serve the page at" in one.lead:
        asked |= {"origin": one.text}
    after = explain(source, *request, **asked, send=True)
    assert after.exit_code == 0, after
    asked |= {"origin": STRANGER}
    before = explain(one.source, *request, **asked, send=True)
    assert explain(source, *request, **asked, send=True).exit_code >= before.exit_code


# Where flask-cors keeps what it was told.


SEVERAL = f"""{START}
import functools
import re
from flask.views import MethodView

CORS(app, origins="https://first.example")
CORS(app, origins=r"https://.*\\.second\\.example$", resources=[r"/a/.*", "/b"])
late = CORS(origins="https://late.example")
late.init_app(app, resources=re.compile("/late/"))
outer = Blueprint("outer", __name__, url_prefix="/outer")
inner = Blueprint("inner", __name__, url_prefix="/inner")
CORS(inner, origins="https://inner.example", methods=["GET"])


@inner.get("/x")
def nested():
    return ""


outer.register_blueprint(inner)
app.register_blueprint(outer)


def without_wraps(view):
    def run(*arguments):
        return view(*arguments)

    return run


@app.get("/wrapped", endpoint="wrapped")
@without_wraps
@cross_origin(origins="https://wrapped.example")
def wrapped():
    return ""


class View(MethodView):
    @cross_origin(origins="https://method.example")
    def get(self):
        return ""


app.add_url_rule("/method", view_func=View.as_view("view"))


@cross_origin(origins="https://partial.example")
def echo(text):
    return text


app.add_url_rule("/partial", endpoint="partial", view_func=functools.partial(echo, ""))


@app.get("/<path:path>")
def rest(path):
    return path
"""


@pytest.mark.parametrize(
    ("path", "origin", "name"),
    [
        ("/elsewhere", "https://first.example", "CORS(app)"),
        ("/a/1", "https://x.second.example", "CORS(app) for /a/.*"),
        ("/b", "https://x.second.example", "CORS(app) for /b"),
        ("/late/1", "https://late.example", "CORS(app) for /late/"),
        ("/outer/inner/x", "https://inner.example", "CORS(inner)"),
        ("/wrapped", "https://wrapped.example", "@cross_origin at wrapped, app.py:35"),
        ("/method", "https://method.example", "@cross_origin at get, app.py:43"),
        ("/partial", "https://partial.example", "@cross_origin at echo, app.py:51"),
    ],
)
def test_what_flask_cors_was_told(explain: Explain, path: str, origin: str, name: str) -> None:
    """Of several `CORS(…)`, the last comes first and the others fill in; a decorator is alone."""
    assert explain(SEVERAL, "GET", path, origin=origin).exit_code == 0
    is_alone = name.startswith("@")
    filled_in = explain(SEVERAL, "GET", path, origin="https://first.example")
    assert filled_in.exit_code == int(is_alone), filled_in
    blocked = explain(SEVERAL, "GET", path, origin=STRANGER)
    assert blocked.exit_code == 1
    (reason,) = blocked.reasons
    assert reason.startswith(f"{STRANGER} is not allowed; {name} allows "), reason
    ((_, call),) = blocked.changes
    assert call.startswith("@cross_origin(" if is_alone else "CORS(") and f'"{STRANGER}"' in call


def test_order_of_resources(explainers: Callable[[str], Explain]) -> None:
    """6.0.0 alone takes the path with fewer segments first."""
    source = (
        f'{START}CORS(app, resources={{r"/a/*": {{"origins": "https://short.example"}},'
        ' r"/a/b/*": {"origins": "https://long.example"}})\n\n\n@app.get("/a/b/c")\n'
        'def view():\n    return ""\n'
    )
    for version in VERSIONS:
        explain = explainers(version)
        first, second = ("short", "/a/*") if version == "6.0.0" else ("long", "/a/b/*")
        assert explain(source, "GET", "/a/b/c", origin=f"https://{first}.example").exit_code == 0
        reason = explain(source, "GET", "/a/b/c", origin=STRANGER).reasons[0]
        assert f"CORS(app) for {second} allows" in reason


# What advice was wrong before


def first_change(found: Found) -> tuple[str, str]:
    assert found.exit_code == 1, found
    ((lead, text),) = found.changes
    return lead, text


@pytest.mark.parametrize(
    ("written", "reads"),
    [
        ("https://app.example.com/", "write https://app.example.com, as browsers do"),
        ("https://app.example.com:443", "write https://app.example.com, as browsers do"),
        ("app.example.com", "write https://app.example.com, not app.example.com: an origin has"),
        ("https://*.example.com", "a * there does not stand for any name"),
    ],
)
def test_right_origin_takes_the_place_of_a_misspelt_one(
    explain: Explain, written: str, reads: str
) -> None:
    source = f'{START}CORS(app, origins=["https://other.example", "{written}"])\n{ITEMS}'
    found = explain(source, "PUT", "/items")
    assert found.reasons[0].startswith(f"{APP} is not allowed, but {written} is: {reads}")
    call = f'CORS(app, origins=["https://other.example", "{APP}"])'
    assert first_change(found) == ("To allow it, at app.py:5", call)
    assert explain(changed(source, "at app.py:5", call), "PUT", "/items").exit_code == 0


def test_pattern_is_printed_as_it_is_written(explain: Explain) -> None:
    source = rf'{START}CORS(app, origins=[r"https://.*\.b\.example$"])' + "\n" + ITEMS
    _, call = first_change(explain(source, "PUT", "/items"))
    assert call == rf'CORS(app, origins=[r"https://.*\.b\.example$", "{APP}"])'
    after = changed(source, "at app.py:5", call)
    for origin in (APP, "https://a.b.example"):
        assert explain(after, "PUT", "/items", origin=origin).exit_code == 0


@pytest.mark.parametrize(
    ("pattern", "page", "stranger", "ended"),
    [
        (
            r"https://.*\.example\.com",
            APP,
            "https://app.example.com.evil.example",
            r'r"https://.*\.example\.com$"',
        ),
        (
            "http://localhost:*",
            "http://localhost:5173",
            "http://localhost.evil.example",
            r'r"http://localhost:\d+$"',
        ),
    ],
)
def test_pattern_without_an_end_is_warned_of(
    explain: Explain, pattern: str, page: str, stranger: str, ended: str
) -> None:
    source = f'{START}CORS(app, origins=r"{pattern}")\n{ITEMS}'
    found = explain(source, "GET", "/items", origin=page)
    assert found.exit_code == 0
    assert found.warnings == [
        f"CORS(app): the pattern {pattern} has no end, so it allows {stranger} too: write {ended}"
    ]
    assert explain(source, "GET", "/items", origin=stranger).exit_code == 0
    after = source.replace(f'r"{pattern}"', ended)
    assert explain(after, "GET", "/items", origin=page).exit_code == 0
    assert explain(after, "GET", "/items", origin=stranger).exit_code == 1


def test_credentials_for_a_pattern_without_an_end(explain: Explain) -> None:
    source = f'{START}CORS(app, origins=[r"https://.*\\.example\\.com"])\n{ITEMS}'
    _, call = first_change(explain(source, "PUT", "/items", credentials=True))
    ended = r'r"https://.*\.example\.com$"'
    assert call == f"CORS(app, origins=[{ended}], supports_credentials=True)"
    after = changed(source, "at app.py:5", call)
    for origin, code in ((APP, 0), (f"{APP}.evil.example", 1)):
        assert explain(after, "PUT", "/items", origin=origin, credentials=True).exit_code == code


def test_headers_of_a_view_beside_those_of_flask_cors(explain: Explain) -> None:
    """flask-cors adds nothing then."""
    view = ITEMS.replace('return "[]"', 'return "[]", {"Access-Control-Allow-Origin": "*"}')
    source = f'{START}CORS(app, origins="{APP}", supports_credentials=True)\n{view}'
    found = explain(source, "GET", "/items", credentials=True)
    assert found.reasons == [
        "CORS(app) allows this request, but items, app.py:8 sets other CORS headers"
    ]
    assert first_change(found) == (
        "To allow it, remove the CORS headers in",
        "items, app.py:8",
    )
    without = source.replace(view, ITEMS)
    assert explain(without, "GET", "/items", credentials=True).exit_code == 0


def test_causes_of_two_kinds_come_together(explain_newest: Explain) -> None:
    """A check before CORS, and an origin that is not allowed."""
    one = COMPLAINTS["log-in before CORS"]
    found = explain_newest(one.source, *one.request, origin=STRANGER)
    assert found.reasons == [one.reason, f"{STRANGER} is not allowed; CORS(app) allows {APP}"]
    ((lead, text), (where, call)) = found.changes
    assert (lead, text) == (one.lead, one.text)
    source = changed(changed(one.source, where, call), lead, text)
    assert explain_newest(source, *one.request, origin=STRANGER).exit_code == 0


def test_http_twin_of_an_allowed_origin_is_not_proposed(explain_newest: Explain) -> None:
    found = explain_newest(f"{START}{ONLY}\n{ITEMS}", "PUT", "/items", origin=f"http{APP[5:]}")
    assert found.reasons == [f"http{APP[5:]} is not allowed, but {APP} is: the scheme differs"]
    assert first_change(found) == ("To allow it, open the page at", APP)


def test_method_that_the_route_does_not_take(explain_newest: Explain) -> None:
    source = f'{START}CORS(app)\n\n\n@app.get("/items")\ndef items():\n    return ""\n'
    found = explain_newest(source, "PUT", "/items", send=True)
    assert "Allowed, and the app answers 405: the page may read the response." in found.text
    takes = "the route /items (items, app.py:8) takes GET, HEAD, OPTIONS only"
    assert found.warnings == [f"the app answers 405: {takes}"]
    assert explain_newest(source, "PUT", "/items").warnings == [
        f"the app would not run it: {takes}"
    ]


def test_route_that_comes_nearest(explain_newest: Explain) -> None:
    found = explain_newest(f"{START}CORS(app)\n{ITEMS}", "GET", "/itemz")
    assert found.exit_code == 0 and "Allowed, and the app answers 404" in found.text
    assert found.warnings == [
        "the app answers 404: the app has no route /itemz: did you mean /items?"
    ]


# A view that is a class

OF_CLASS = """

from flask.views import MethodView


class Items(MethodView):
    decorators = [cross_origin(origins=["https://app.example.com"])]

    def get(self):
        return ""

    def put(self):
        return ""


app.add_url_rule("/items", view_func=Items.as_view("items"))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_preflight_that_the_decorator_of_a_class_does_not_get(
    explainers: Callable[[str], Explain], version: str
) -> None:
    """Flask asks only the view for its automatic answers, which MethodView then overwrites."""
    explain = explainers(version)
    assert explain(f"{START}{OF_CLASS}", "GET", "/items").exit_code == 0
    found = explain(f"{START}{OF_CLASS}", "PUT", "/items")
    place = "@cross_origin at Items, app.py:10"
    assert found.reasons == [f"Flask answers the preflight itself: {place} does not get it"]
    added = f'CORS(app, resources="/items", origins=["{APP}"])'
    assert found.changes == [["To allow it, add", added]]
    assert explain(f"{START}{OF_CLASS}\n{added}\n", "PUT", "/items").exit_code == 0
    other = explain(f"{START}{OF_CLASS}", "PUT", "/items", origin="https://new.example")
    assert len(other.reasons) == 2
    (_, text), (lead, decorator) = other.changes
    assert lead == "To allow it, at Items, app.py:10"
    source = OF_CLASS.replace('cross_origin(origins=["https://app.example.com"])', decorator[1:])
    source = f"{START}{source}\n{text}\n"
    assert explain(source, "PUT", "/items", origin="https://new.example").exit_code == 0


def test_route_that_comes_nearest_where_there_is_no_cors(explain_newest: Explain) -> None:
    found = explain_newest(f"{START}{ITEMS}", "GET", "/itemz")
    why = "the app has no route /itemz: did you mean /items?"
    assert found.reasons == [f"the answer is 404, without CORS headers: {why}"]


def test_headers_that_a_middleware_changes(explain_newest: Explain) -> None:
    middleware = """
def without(environ, start_response, wsgi_app=app.wsgi_app):
    return wsgi_app(environ, lambda status, headers, *_: start_response(status, []))


app.wsgi_app = without
"""
    found = explain_newest(f"{START}CORS(app)\n{ITEMS}{middleware}", "GET", "/items")
    why = "allows this request, but other code in the app sets other CORS headers"
    assert (found.reasons, found.changes) == ([f"CORS(app) {why}"], [])


def test_credentials_for_every_site_are_warned_of(explain_newest: Explain) -> None:
    call = "CORS(app, supports_credentials=True)"
    found = explain_newest(f"{START}{call}\n{ITEMS}", "GET", "/items", credentials=True)
    (warning,) = found.warnings
    assert "every site can act as your logged-in users: list the origins" in warning


@pytest.mark.parametrize("moves", [True, False])
def test_preflight_that_a_check_redirects(explain_newest: Explain, moves: bool) -> None:
    """To https, the page can go itself; to a log-in, it cannot."""
    to = 'request.url.replace("http:", "https:")' if moves else '"/log-in"'
    check = f"""

@app.before_request
def check():
    if request.scheme == "http" and "X-Key" not in request.headers:
        return "", 302, {{"Location": {to}}}
"""
    found = explain_newest(f"{START}{ONLY}\n{check}{ITEMS}", "PUT", "/items", "X-Key")
    (reason,) = found.reasons
    if moves:
        https = "https://localhost:5000/items"
        assert reason.startswith(f"the app redirects /items to {https} by check, app.py:8, and")
        assert found.changes == [["To allow it, have the page call", https]]
    else:
        assert reason.startswith("a check runs before CORS: check, app.py:8. It answers the pre")
        assert found.changes[0][0] == "To allow it, as the first line of check, app.py:8"


def test_view_that_answers_preflights_alone(explain_newest: Explain) -> None:
    other = '@app.route("/items", methods=["OPTIONS"])\ndef options():\n    return "", 405\n\n\n'
    source = f"{START}{ONLY}\n\n\n{other}"
    source += '@app.post("/items")\ndef items():\n    return ""\n'
    (reason,) = explain_newest(source, "POST", "/items", "X-Key").reasons
    why = "a check runs before CORS in options, app.py:8"
    assert reason == f"the preflight is answered with 405: {why}"


def test_preflight_that_a_decorator_answers(explain_newest: Explain) -> None:
    """Its route takes OPTIONS itself, as people write who read of CORS."""
    guarded = """

def key_required(view):
    def run():
        return view() if "X-Key" in request.headers else ("", 401)

    return run


@app.route("/items", methods=["PUT"{}], endpoint="items")
@key_required
def items():
    return ""
"""
    source = f"{START}{ONLY}\n{guarded}"
    found = explain_newest(source.format(', "OPTIONS"'), "PUT", "/items", "X-Key")
    (reason,) = found.reasons
    assert reason.startswith("the preflight is answered with 401: a check runs before CORS in run")
    place = "at run, app.py:9, remove from the methods of its route"
    assert found.changes == [[f"To allow it, {place}", "OPTIONS"]]
    assert explain_newest(source.format(""), "PUT", "/items", "X-Key", send=True).exit_code == 0


def test_text_with_several_items_is_one_item(explain: Explain) -> None:
    """As from a variable of the environment: to flask-cors, only methods may be written so."""
    b = "https://b.example"
    call = f'CORS(app, origins="{APP}, {b}", methods="GET,PUT", allow_headers="X-Key, X-Trace")'
    source = f"{START}{call}\n{ITEMS}"
    found = explain(source, "PUT", "/items", "X-Trace")
    text = "a space or a separator is inside"
    assert found.reasons == [
        (
            f"{APP} is not allowed, but {APP}, {b} is: write each origin as an item of its own,"
            f" not {APP}, {b}: {text}"
        ),
        (
            "the header x-trace is not allowed by CORS(app): write each header as an item of its"
            f" own, not X-Key, X-Trace: {text}"
        ),
    ]
    ((_, right),) = found.changes
    assert right == (
        f'CORS(app, origins=["{APP}", "{b}"], methods=["GET", "PUT"],'
        ' allow_headers=["X-Key", "X-Trace"])'
    )
    after = explain(source.replace(call, right), "PUT", "/items", "X-Trace")
    assert after.exit_code == 0 and not after.warnings
    mine = 'CORS(app, allow_headers="X-Key, X-Trace")'
    (warning,) = explain(f"{START}{mine}\n{ITEMS}", "GET", "/items").warnings
    assert warning.startswith("CORS(app): write each header as an item of its own, not X-Key, X-")


def test_cross_origin_elsewhere(explain_newest: Explain) -> None:
    other = '@app.get("/other")\n@cross_origin()\ndef other():\n    return ""\n'
    found = explain_newest(f"{START}\n\n{other}{ITEMS}", "PUT", "/items")
    assert found.reasons == [
        "there is @cross_origin at other, app.py:7, but none at items, app.py:13"
    ]
    lead, text = first_change(found)
    assert (lead, text) == (
        "To allow it, above items, app.py:13",
        f'@cross_origin(origins=["{APP}"])',
    )


def test_route_that_answers_no_preflight(explain_newest: Explain) -> None:
    source = f'{START}app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False\n{ONLY}\n{ITEMS}'
    (reason,) = explain_newest(source, "PUT", "/items").reasons
    takes = "the route /items (items, app.py:9) takes GET, HEAD, POST, PUT only"
    assert reason == f"the preflight is answered with 405: {takes}"


def test_preflight_that_is_redirected_to_another_host(explain_newest: Explain) -> None:
    rule = '@app.route("/old", redirect_to="https://new.example/", methods=["PUT"])'
    found = explain_newest(f"{START}{ONLY}\n\n\n{rule}\ndef old():\n    pass\n", "PUT", "/old")
    (reason,) = found.reasons
    assert reason.startswith("the app redirects /old to https://new.example/, and browsers follow")
    assert found.changes == []


@pytest.mark.parametrize("source", [ITEMS, f"CORS(app)\n{ITEMS}", f"{ONLY}\n{ITEMS}"])
def test_nobody_is_told_to_allow_null(explain_newest: Explain, source: str) -> None:
    credentials = source.startswith("CORS(app)")
    found = explain_newest(
        f"{START}{source}", "PUT", "/items", origin="null", credentials=credentials
    )
    assert found.exit_code == 1
    assert not [text for _, text in found.changes if "null" in text]


def test_hook_that_adds_no_cors_headers(explain_newest: Explain) -> None:
    hook = BY_HAND.replace("Access-Control-Allow-", "X-")
    found = explain_newest(f"{START}{hook}{ITEMS}", "GET", "/items")
    assert found.reasons == ["nothing adds CORS headers to /items: add_headers, app.py:7 adds none"]


def test_no_cors_at_all(explain_newest: Explain) -> None:
    source = f"{START}{ITEMS}"
    found = explain_newest(source, "PUT", "/items", "X-Trace", credentials=True)
    assert found.reasons == ["the app has no CORS at all: nothing adds its headers to /items"]
    origin = (
        f"Access-Control-Allow-Origin: {APP}; Access-Control-Allow-Credentials: true; Vary: Origin"
    )
    assert found.changes == [
        [
            "To allow it, answer OPTIONS /items with",
            f"{origin}; Access-Control-Allow-Methods: PUT; Access-Control-Allow-Headers: x-trace",
        ],
        ["To allow it, answer PUT /items with", origin],
    ]
    for lead, text in found.changes:
        source = changed(source, lead, text)


REPEATS = """

@app.after_request
def repeat(response):
    response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "*")
    response.headers["Access-Control-Allow-Credentials"] = "{credentials}"
    return response
"""


def test_code_that_lets_every_site_act_as_the_user(explain_newest: Explain) -> None:
    warning = (
        "repeat, app.py:7 repeats any origin: every site can act as your logged-in users:"
        " list the origins"
    )
    source = f"{START}{REPEATS.format(credentials='true')}{ITEMS}"
    assert explain_newest(source, "GET", "/items").warnings == []
    assert explain_newest(source, "GET", "/items", credentials=True).warnings == [warning]
    source = f"{START}{REPEATS.format(credentials='True')}{ITEMS}"
    found = explain_newest(source, "GET", "/items", credentials=True)
    assert found.exit_code == 1 and found.warnings == [warning]
    assert f"Access-Control-Allow-Origin: {APP};" in first_change(found)[1]


def test_no_header_helps_where_no_route_is(explain_newest: Explain) -> None:
    for method, path, why in (
        ("GET", "/itemz", "the app has no route /itemz: did you mean /items?"),
        ("DELETE", "/items", "the route /items (items, app.py:7) takes"),
    ):
        found = explain_newest(f"{START}{ITEMS}", method, path)
        assert why in found.reasons[0] and found.changes == []


@pytest.mark.parametrize(
    ("slip", "right", "why"),
    [
        (f"{APP}/", APP, "browsers send it so"),
        ("localhost:5173", "http://localhost:5173", "an origin has a scheme"),
        (f"{APP}:443", APP, "browsers send it so"),
    ],
)
def test_origin_that_no_browser_sends(
    explain_newest: Explain, slip: str, right: str, why: str
) -> None:
    origins = (
        f'["http://localhost:3000", "{slip}", "http://localhost:5174", r"https://.*\\.a\\.org$"]'
    )
    source = f"{START}CORS(app, origins={origins})\n{ITEMS}"
    allowed = explain_newest(source, "GET", "/items", origin="http://localhost:3000")
    assert allowed.warnings == [f"CORS(app): write {right}, not {slip}: {why}"]
    (reason,) = explain_newest(source, "GET", "/items", origin=right).reasons
    assert f", but {slip} is: write {right}" in reason


def test_wildcard_that_stands_for_no_name(explain: Explain) -> None:
    source = f'{START}CORS(app, origins=["{APP}", "https://*.a.example"])\n{ITEMS}'
    (warning,) = explain(source, "GET", "/items").warnings
    right = r'r"https://[a-z0-9-]+\.a\.example$"'
    why = "a * there does not stand for any name"
    assert warning == f"CORS(app): write {right}, not https://*.a.example: {why}"
    after = source.replace('"https://*.a.example"', right)
    for origin in (APP, "https://x.a.example"):
        found = explain(after, "GET", "/items", origin=origin)
        assert found.exit_code == 0 and not found.warnings


# Nothing is done by surprise

ACTS = """

calls = []


@app.route("/items/<name>", methods=["GET", "POST", "DELETE"])
def item(name):
    calls.append(request.method)
    return "", {"X-Left": "1"}
"""

BY_HAND = """

@app.after_request
def add_headers(response):
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Allow-Methods"] = "*"
    return response
"""


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_unsafe_request_is_not_sent(explain_newest: Explain, method: str) -> None:
    source = f"{START}{ONLY}\n{ACTS}"
    found = explain_newest(source, method, "/items/1")
    assert (found.exit_code, found.calls) == (0, [])
    assert f"Allowed by the policy: the page may read the response. The {method}" in found.text
    assert f"request, not sent: {method} {API}/items/1" in found.text
    sent = explain_newest(source, method, "/items/1", send=True)
    assert (sent.exit_code, sent.calls) == (0, [method])
    assert "Allowed, and the app answers 200" in sent.text
    blocked = explain_newest(source, method, "/items/1", origin=STRANGER)
    assert (blocked.exit_code, blocked.calls) == (1, [])
    safe = explain_newest(source, "GET", "/items/1")
    assert (safe.exit_code, safe.calls) == (0, ["GET"])


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_nobody_can_say_what_code_does_that_did_not_run(
    explain_newest: Explain, method: str
) -> None:
    source = f"{START}{BY_HAND}{ACTS}"
    found = explain_newest(source, method, "/items/1")
    assert (found.exit_code, found.calls) == (2, [])
    assert f"Not known: the {method} was not sent, since it may change data" in found.text
    sent = explain_newest(source, method, "/items/1", send=True)
    assert (sent.exit_code, sent.calls) == (0, [method])


def test_headers_that_the_page_cannot_read(explain_newest: Explain) -> None:
    found = explain_newest(f"{START}{ONLY}\n{ACTS}", "GET", "/items/1")
    assert found.reasons == ["the page cannot read X-Left"]
    call = f'CORS(app, origins=["{APP}"], expose_headers=["X-Left"])'
    assert found.changes == [["To allow it, at app.py:5", call]]
    by_hand = explain_newest(f"{START}{BY_HAND}{ACTS}", "GET", "/items/1")
    assert by_hand.changes == [
        ["To allow it, answer with", "Access-Control-Expose-Headers: X-Left"]
    ]


# Cookies that get lost

SESSION = """

app.config.update(SECRET_KEY="for this test", **{config})


@app.get("/log-in")
def log_in():
    from flask import session

    session["user"] = 1
    return ""
"""
CREDENTIALS = "CORS(app, origins=[{origin!r}], supports_credentials=True)\n"
NONE = {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True}
PARTITIONED = {**NONE, "SESSION_COOKIE_PARTITIONED": True}


@pytest.mark.parametrize(
    ("origin", "url", "config", "warning"),
    [
        # Two names of this machine are two sites, and two ports of one are not.
        (
            "http://127.0.0.1:5173",
            "http://localhost:5000/log-in",
            {},
            "to a browser: open the page at http://localhost:5173",
        ),
        ("http://localhost:5173", "http://localhost:5000/log-in", {}, ""),
        (
            "http://localhost:5173",
            "http://localhost:5000/log-in",
            {"SESSION_COOKIE_SECURE": True},
            "Safari does not keep the cookie session: it is Secure, and localhost is plain http",
        ),
        (
            "http://app.example.com",
            "http://api.example.com/log-in",
            {"SESSION_COOKIE_SECURE": True},
            "the cookie session is not kept: it is Secure, and http://api.example.com/",
        ),
        (APP, "https://api.example.com/log-in", {}, ""),
        (APP, "https://api.example.com/log-in", {"SESSION_COOKIE_SAMESITE": "Strict"}, ""),
        (
            APP,
            "https://api.example.net/log-in",
            {},
            "the cookie session gets lost (Firefox may send it): the page is on another site",
        ),
        (
            APP,
            "https://api.example.net/log-in",
            {"SESSION_COOKIE_SAMESITE": "Lax"},
            "SameSite=Lax: set it with SameSite=None; Secure; Partitioned",
        ),
        (
            APP,
            "https://api.example.net/log-in",
            {"SESSION_COOKIE_SAMESITE": "None"},
            "Chrome and Firefox do not keep the cookie session: SameSite=None needs Secure",
        ),
        (APP, "https://api.example.net/log-in", NONE, "the cookie session gets lost in Chrome"),
        (APP, "https://api.example.net/log-in", PARTITIONED, "gets lost in Safari, which blocks"),
    ],
)
def test_cookie_that_gets_lost(
    explain_newest: Explain, origin: str, url: str, config: dict[str, Any], warning: str
) -> None:
    """The one that a response sets, and the session cookie that a later one would."""
    source = START + CREDENTIALS.format(origin=origin) + SESSION.format(config=config) + ITEMS
    for asked in (url, url.replace("/log-in", "/items")):
        found = explain_newest(source, "GET", asked, origin=origin, credentials=True)
        assert found.exit_code == 0, found
        assert len(found.warnings) == bool(warning), found.warnings
        assert not warning or warning in found.warnings[0]


def test_cookie_of_a_page_that_does_not_ask_for_credentials(explain_newest: Explain) -> None:
    source = START + CREDENTIALS.format(origin=APP) + SESSION.format(config={})
    found = explain_newest(source, "GET", "https://api.example.com/log-in")
    assert found.warnings == [
        'the cookie session is not kept: the page must ask with credentials: "include"'
    ]


# Other frameworks

DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[])


def items(request):
    return HttpResponse("[]", headers={"Access-Control-Allow-Origin": "https://app.example.com"})


urlpatterns = [path("items", items)]
application = get_wsgi_application()
"""


@pytest.mark.usefixtures("installed")
def test_django(whycors_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/wsgi.py").write_text(DJANGO)

    def whycors(*arguments: str) -> subprocess.CompletedProcess[str]:
        named = ("--app", "shop.wsgi:application")
        command = [whycors_folder / "bin/whycors", "explain", *named, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    allowed = whycors(APP, "GET", "/items")
    assert allowed.returncode == 0, allowed
    blocked = whycors(STRANGER, "GET", "/items")
    assert blocked.returncode == 1, blocked
    assert f"Access-Control-Allow-Origin is set to {APP}, whatever page asks" in blocked.stdout
    headers = f"Access-Control-Allow-Origin: {STRANGER}; Vary: Origin"
    assert f"To allow it, answer GET /items with: {headers}\n" in blocked.stdout
    unsent = whycors(APP, "POST", "/items")
    assert unsent.returncode == 2, unsent
    assert "Not known: the POST was not sent" in unsent.stdout


@pytest.mark.usefixtures("installed")
def test_asgi_application_is_probed_instead(whycors_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "class App:\n    async def __call__(self, scope, receive, send): ...\n\n\napp = App()\n"
    )
    command = [whycors_folder / "bin/whycors", "explain", "--app", "main:app", APP, "GET", "/"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    error = "Error: serve main:app, which is ASGI, and ask it: whycors probe URL\n"
    assert (done.returncode, done.stderr) == (2, error)


# Chromium judges what was given as advice


@contextmanager
def serving(source: str, folder: Path) -> Iterator[str]:
    """Serve an app as it is written, and yield its origin."""
    file = folder / "app.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("served_app", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def app(environ: Any, start_response: Any) -> Any:
        try:
            return module.app(environ, start_response)
        except KeyError:  # as a debugger answers
            start_response("500 INTERNAL SERVER ERROR", [])
            return [b""]

    with serve(app) as port:
        yield f"http://localhost:{port}"


@pytest.mark.parametrize("name", COMPLAINTS)
def test_chromium_agrees(browser: "Chromium", tmp_path: Path, name: str) -> None:
    """It blocks the page before the change and lets it in after it, and no stranger."""
    one = COMPLAINTS[name]
    method, path, *names = one.request
    page = PageRequest(one.origin, method, tuple((n, "1") for n in names), one.credentials)
    stranger = replace(page, origin="https://stranger.example.net")
    with serving(one.source, tmp_path) as api:
        assert not browser.fetch(f"{api}{path}", page).allowed
        was_in = browser.fetch(f"{api}{path}", stranger).allowed
    source, path = after_change(one.source, path, one.lead, one.text)
    if "serve the page at" in one.lead:
        page = replace(page, origin=one.text)
    with serving(source, tmp_path) as api:
        assert browser.fetch(f"{api}{path}", page).allowed
        assert not browser.fetch(f"{api}{path}", stranger).allowed or was_in
