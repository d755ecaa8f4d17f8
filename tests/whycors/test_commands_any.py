"""The commands on any app: what they send, how they exit, and what they print as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chromium import serve
from conftest import ROOT
from flask import Flask

PAGE = "http://localhost:5173"

# An app that notes what it ran: CORS by flask-cors, by hand, and none.
APP = """
from flask import Flask, request
from flask_cors import cross_origin

app = Flask(__name__)

def note():
    with open("ran", "a") as ran:
        print(request.method, request.path, file=ran)
    return {{}}

@app.route("/known", methods=["GET", "DELETE"])
@cross_origin(origins=["http://localhost:5173"])
def known():
    return note()

@app.route("/by-hand", methods=["GET", "POST", "OPTIONS"])
def by_hand():
    return note(), 401, {{"Access-Control-Allow-Origin": "http://localhost:5173", "Vary": "Origin"}}
"""

DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

def items(request):
    return HttpResponse("[]", headers={"Access-Control-Allow-Origin": "http://localhost:5173"})

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], DEBUG=False)
urlpatterns = [path("items", items)]
application = get_wsgi_application()
"""

RUN = "from whycors.commands import commands; commands(prog_name='whycors')"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP.replace("{{", "{").replace("}}", "}"))
    return tmp_path


def whycors(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stderr == ""
    return json.loads(done.stdout)


def ran(folder: Path) -> list[str]:
    """Return the requests that the app handled, and forget them."""
    notes = folder / "ran"
    lines = notes.read_text().splitlines() if notes.exists() else []
    notes.unlink(missing_ok=True)
    return lines


def test_explain_sends_what_may_change_data_only_if_told_to(folder: Path) -> None:
    """Of flask-cors, the verdict is known without it; of headers by hand, nobody knows it."""
    known = whycors(folder, "explain", PAGE, "DELETE", "/known")
    assert known.returncode == 0 and ran(folder) == []
    assert "not sent" in known.stdout and "Allowed" in known.stdout
    by_hand = whycors(folder, "explain", PAGE, "POST", "/by-hand")
    assert by_hand.returncode == 2 and ran(folder) == []
    assert "--send" in by_hand.stdout and "Allowed" not in by_hand.stdout
    for method, path, status in (("DELETE", "/known", 200), ("POST", "/by-hand", 401)):
        sent = whycors(folder, "explain", PAGE, method, path, "--send")
        assert sent.returncode == 0 and ran(folder) == [f"{method} {path}"]
        assert f"Allowed, and the app answers {status}" in sent.stdout
    safe = whycors(folder, "explain", PAGE, "GET", "/known")
    assert safe.returncode == 0 and ran(folder) == ["GET /known"]


def test_probe_sends_what_may_change_data_only_if_told_to() -> None:
    methods: list[str] = []
    app = Flask("probed", static_folder=None)
    headers = {"Access-Control-Allow-Origin": PAGE, "Vary": "Origin"}
    app.add_url_rule("/", "all", lambda: ("", headers), methods=["GET", "POST"])
    app.before_request(lambda: methods.append(__import__("flask").request.method))
    with serve(app) as port:
        url = f"http://localhost:{port}/"
        for arguments in ([url, PAGE, "POST"], [url, "--origin", PAGE, "--method", "POST"]):
            whycors(ROOT, "probe", *arguments)
        assert set(methods) == {"GET", "OPTIONS"}
        assert whycors(ROOT, "probe", url, PAGE, "POST", "--send").returncode == 0
        assert "POST" in methods


def test_json_of_an_explanation(folder: Path) -> None:
    allowed = whycors(folder, "explain", PAGE, "GET", "/known", "--json")
    assert allowed.returncode == 0
    (one,) = as_json(allowed)
    url = "http://localhost:5000/known"
    assert (one["verdict"], one["status"], one["why"]) == ("allowed", 200, [])
    assert (one["origin"], one["method"], one["url"]) == (PAGE, "GET", url)
    (step,) = one["steps"]
    assert step["headers"][0] == ["Origin", PAGE] and step["status"] == 200
    assert ["Access-Control-Allow-Origin", PAGE] in step["response"]

    other = PAGE.replace("5173", "3000")
    blocked = whycors(folder, "explain", other, "DELETE", "/known", "--json")
    assert blocked.returncode == 1
    (one,) = as_json(blocked)
    assert (one["verdict"], one["block"], one["preflight"]) == ("blocked", "no-allow-origin", True)
    assert one["why"] == [f"{other} is not allowed, but {PAGE} is: the port differs"]
    assert any(other in change["text"] and change["where"] for change in one["changes"])
    assert set(one["consoles"]) == {"Chrome", "Firefox", "Safari"}

    unknown = whycors(folder, "explain", PAGE, "POST", "/by-hand", "--json")
    assert unknown.returncode == 2
    (one,) = as_json(unknown)
    assert (one["verdict"], one["status"]) == ("unknown", None)


def test_json_of_several_answers(folder: Path) -> None:
    """The text names no method: each answer says for which it holds."""
    text = (
        "Cross-Origin Request Blocked: The Same Origin Policy disallows reading the remote resource"
        " at http://localhost:5000/known. (Reason: CORS header ‘Access-Control-Allow-Origin’"
        " missing). Status code: 200."
    )
    done = whycors(folder, "explain", text, "--origin", "http://localhost:3000", "--json")
    assert done.returncode == 1
    found = as_json(done)
    assert found and all(one["verdict"] == "blocked" and one["methods"] for one in found)
    assert all(one["origins"] == [] for one in found)


def test_json_of_the_other_commands(folder: Path) -> None:
    other = Flask("other", static_folder=None)
    other.add_url_rule("/", "all", lambda: "")
    with serve(other) as port:
        url = f"http://localhost:{port}/"
        done = whycors(folder, "probe", url, "--origin", PAGE, "--json")
        assert done.returncode == 1
        first = as_json(done)[0]
        assert (first["url"], first["what"]) == (url, PAGE) and first["faults"]
        assert any(PAGE in recipe for recipe in first["recipes"].values())
        done = whycors(folder, "probe", url, PAGE, "GET", "--json")
        assert done.returncode == 1
        assert json.loads(done.stdout)[0]["verdict"] == "blocked"
    shown = whycors(folder, "show", "--json")
    assert shown.returncode == 0 and as_json(shown)


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["explain", PAGE, "GET", "no-slash"], 2, "write /no-slash, not no-slash"),
        (["probe", "http://localhost:1", PAGE, "GET"], 1, "nothing listens at localhost:1"),
        (["show", "--app", "nowhere"], 2, "name the app with --app MODULE:NAME"),
        (["probe", "http://localhost:1", "--method", "PUT"], 2, "write ORIGIN and METHOD too"),
    ],
)
def test_errors(folder: Path, arguments: list[str], code: int, error: str) -> None:
    plain = whycors(folder, *arguments)
    assert plain.returncode == code and plain.stdout == "" and error in plain.stderr
    done = whycors(folder, *arguments, "--json")
    assert done.returncode == code
    assert error in json.loads(done.stdout)["error"]


def test_show_has_what_flask_cors_was_told(folder: Path) -> None:
    (folder / "app.py").write_text(
        "from flask import Flask\n"
        "from flask_cors import CORS, cross_origin\n\n"
        "app = Flask(__name__)\n"
        'CORS(app, origins=[r"https://.*\\.example\\.com"], supports_credentials=True)\n\n\n'
        '@app.get("/items")\n'
        "@cross_origin()\n"
        "def items():\n"
        "    return {}\n"
    )
    done = whycors(folder, "show")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:4] == [
        "CORS  (app.py:5)",
        r'  CORS(app, origins=[r"https://.*\.example\.com"], supports_credentials=True)',
        "@cross_origin  (items, app.py:8)",
        "  @cross_origin()",
    ]
    (warning,) = [line for line in done.stdout.splitlines() if line.startswith("Warning: ")]
    assert "has no end, so it allows " in warning
    (folder / "app.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    assert whycors(folder, "show").stdout.startswith("Note: no policy can be read here")


def test_show_has_the_settings_that_flask_cors_reads(folder: Path) -> None:
    (folder / "app.py").write_text(
        "from flask import Flask\nfrom flask_cors import CORS\n\napp = Flask(__name__)\n"
        'app.config["CORS_ORIGINS"] = ["https://app.example.com"]\nCORS(app)\n'
    )
    shown = whycors(folder, "show").stdout.splitlines()
    assert shown == ["CORS  (app.py:6)", '  CORS(app, origins=["https://app.example.com"])']


def test_any_wsgi_application(tmp_path: Path) -> None:
    """Django's, of which nothing can be read but what it answers."""
    (tmp_path / "site_of_django.py").write_text(DJANGO)
    named = ("explain", "--app", "site_of_django:application")
    allowed = whycors(tmp_path, *named, PAGE, "GET", "/items")
    assert allowed.returncode == 0, allowed
    assert "Allowed, and the app answers 200" in allowed.stdout
    blocked = whycors(tmp_path, *named, "http://localhost:3000", "GET", "/items")
    assert blocked.returncode == 1
    assert "http://localhost:3000" in blocked.stdout.partition("Why: ")[2]
    unknown = whycors(tmp_path, *named, PAGE, "PUT", "/items")
    assert unknown.returncode == 1 and "preflight" in unknown.stdout
