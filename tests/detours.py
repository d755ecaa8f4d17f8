"""The rendered app with routes that fail or lead away. tests/test_browser.py serves it."""

from typing import Any

from flask import Response, abort, redirect, request, session

from app import create_app

app = create_app({"DEBUG": True, "SECRET_KEY": "for tests only", "MAX_CONTENT_LENGTH": 100})

METHODS = ["GET", "POST", "PUT"]


@app.before_request
def authenticate() -> None:
    if request.path == "/private":
        abort(401)


@app.route("/private", methods=METHODS)
@app.route("/slash/", methods=METHODS)
def arrived() -> dict[str, str]:
    return {"method": request.method}


@app.route("/fails", methods=METHODS)
def fail() -> Response:
    raise RuntimeError("broken")


@app.route("/redirect/<int:status>", methods=METHODS)
def lead_away(status: int) -> Any:
    return redirect(f"{request.args['to']}?case={request.args['case']}", status)


@app.get("/loop")
def loop() -> Any:
    return redirect(request.full_path)


@app.get("/script.js")
def script() -> Response:
    headers = {"Cache-Control": "max-age=600"}
    return Response("document.title = 'Loaded'", headers=headers, mimetype="text/javascript")


@app.get("/log-in")
def log_in() -> dict[str, str]:
    session["user"] = "Ada"
    return {}


@app.get("/user")
def user() -> dict[str, Any]:
    return {"user": session.get("user")}
