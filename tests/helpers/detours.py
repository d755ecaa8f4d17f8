"""The rendered app once for each policy, with routes that fail or lead away, for tests/browser.

gunicorn serves it in a rendered project. The answers in `policies/NAME.py` are in force at
NAME.example.net; those in `policies/local.py` also wherever no other name fits.

It writes each request into requests.log, as JSON, one a line.
"""

import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, abort, redirect, request, session

from app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# What is recorded of a request, None if it is not there.
RECORDED = (
    "HTTP_HOST",
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "HTTP_ORIGIN",
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD",
    "HTTP_ACCESS_CONTROL_REQUEST_HEADERS",
    "HTTP_COOKIE",
)

METHODS = ["GET", "POST", "PUT"]

detours = Blueprint("detours", __name__)


@detours.before_app_request
def authenticate() -> None:
    if request.path == "/private":
        abort(401)


@detours.route("/private", methods=METHODS)
@detours.route("/slash/", methods=METHODS)
def arrive() -> dict[str, str]:
    return {"method": request.method}


@detours.route("/fails", methods=METHODS)
def fail() -> Response:
    raise RuntimeError("broken")


@detours.route("/redirect/<int:status>", methods=METHODS)
def lead_away(status: int) -> Any:
    return redirect(f"{request.args['to']}?case={request.args['case']}", status)


@detours.get("/loop")
def lead_back() -> Any:
    return redirect(request.full_path)


@detours.get("/script.js")
def script() -> Response:
    headers = {"Cache-Control": "max-age=600", "Cross-Origin-Resource-Policy": "cross-origin"}
    return Response("document.title = 'Loaded'", headers=headers, mimetype="text/javascript")


@detours.get("/log-in")
def log_in() -> dict[str, str]:
    session["user"] = "Ada"
    return {}


@detours.get("/user")
def user() -> dict[str, Any]:
    return {"user": session.get("user")}


@detours.get("/own-headers")
def set_own_headers() -> Response:
    """Allow every page, with credentials, whatever the policy is."""
    headers = {
        "Access-Control-Allow-Origin": request.headers.get("Origin", "*"),
        "Access-Control-Allow-Credentials": "true",
    }
    return Response("{}", headers=headers, mimetype="application/json")


@detours.get("/exposes")
def expose_headers() -> Response:
    headers = {
        "Access-Control-Expose-Headers": "X-Page",
        "X-Page": "1",
        "X-Request-ID": "2",
        "X-Internal": "3",
    }
    return Response("{}", headers=headers, mimetype="application/json")


def make_app(answers: Path) -> Flask:
    settings = {
        name: value for name, value in runpy.run_path(str(answers)).items() if name.isupper()
    }
    mine = {"DEBUG": True, "SECRET_KEY": "for tests only", "MAX_CONTENT_LENGTH": 100}
    made = create_app(settings | mine)
    made.logger.disabled = True
    made.register_blueprint(detours)
    return made


APPS = {answers.stem: make_app(answers) for answers in Path("policies").glob("*.py")}


def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
    with open("requests.log", "a") as log:
        log.write(json.dumps([environ.get(name) for name in RECORDED]) + "\n")
    name = environ["HTTP_HOST"].partition(".")[0]
    if name == "elsewhere":
        return answer_elsewhere(environ, start_response)
    answer = APPS.get(name, APPS["local"])
    return answer(environ, without_vary(start_response) if name == "no-vary" else start_response)


def without_vary(start_response: "StartResponse") -> "StartResponse":
    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        kept = [header for header in headers if header[0] != "Vary"]
        return start_response(status, kept, *exc_info)

    return start


def answer_elsewhere(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
    """Another server, as it were: `/any` is for every page, `/named` for one."""
    headers = [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "PUT"),
        ("Access-Control-Allow-Headers", "content-type"),
    ]
    if environ["PATH_INFO"] == "/named":
        headers[0] = ("Access-Control-Allow-Origin", "https://app.example.com")
    start_response("200 OK", [*headers, ("Content-Length", "0")])
    return []
