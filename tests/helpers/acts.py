"""The rendered app once for each policy, with views that note what runs.

gunicorn serves it in a rendered project. The answers in `policies/NAME.py` are in force at
NAME.example.com; those in `policies/localhost.py` at localhost.

Each line of acts.log is JSON: the act that a request is for by its query, and either the user as
whom a view ran, or the method and the status of the answer.
"""

import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from dotenv import dotenv_values
from flask import Blueprint, Flask, Response, request, session
from flask_sock import Sock
from simple_websocket import Server

from app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

METHODS = ["GET", "POST", "PUT", "DELETE"]

# The API's own policy is for data, and lets a page do nothing.
FOR_PAGES = "default-src * ws: wss: 'unsafe-inline' 'unsafe-eval'"

acts = Blueprint("acts", __name__)


def note(act: str, *what: str) -> None:
    with open("acts.log", "a") as log:
        log.write(json.dumps([act, *what]) + "\n")


def note_user() -> None:
    note(request.args["act"], session.get("user", "nobody"))


@acts.route("/act", methods=METHODS)
def act() -> Response:
    note_user()
    # WebKit hands the policy of the page that it leaves to the `data:` page that comes next.
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": FOR_PAGES}
    return Response("done", headers=headers, mimetype="text/plain")


@Sock().route("/socket", bp=acts)
def open_socket(socket: Server) -> None:
    note_user()
    socket.send("done")
    socket.receive(timeout=5)  # the page closes it


@acts.get("/")
def show_page() -> Response:
    headers = {"Content-Security-Policy": FOR_PAGES}
    return Response("<!doctype html><title>A page</title>", headers=headers, mimetype="text/html")


@acts.get("/log-in")
def log_in() -> Response:
    session["user"] = "Ada"
    return Response("logged in", mimetype="text/plain")


def make_app(answers: Path) -> Flask:
    settings = {
        name: value for name, value in runpy.run_path(str(answers)).items() if name.isupper()
    }
    if answers.stem == "localhost":
        development = dotenv_values(".flaskenv")  # as `flask run` does
        for name in settings:
            if name.startswith("SESSION_"):
                value = development[f"FLASK_{name}"]
                settings[name] = {"true": True, "false": False}.get(str(value), value)
    made = create_app(settings | {"SECRET_KEY": "for tests only"})
    made.register_blueprint(acts)
    return made


APPS = {answers.stem: make_app(answers) for answers in Path("policies").glob("*.py")}


def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
    act = parse_qs(environ["QUERY_STRING"]).get("act")
    name = environ["HTTP_HOST"].partition(":")[0].removesuffix(".example.com")

    def start(status: str, *rest: Any) -> Any:
        if act:
            sent = (environ.get(f"HTTP_{name}", "-") for name in ("ORIGIN", "SEC_FETCH_SITE"))
            note(act[0], environ["REQUEST_METHOD"], status[:3], *sent)
        return start_response(status, *rest)

    return APPS[name](environ, start)
