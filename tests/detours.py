"""The rendered app, with routes that fail or lead away. tests/test_browser.py serves it.

It writes a line for each request into requests.log: the method, the path, Origin, what a
preflight asks for, the cookie, and the query after a question mark.
"""

from typing import TYPE_CHECKING, Any

from flask import Response, abort, redirect, request, session

from app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

RECORDED = (
    "ORIGIN",
    "ACCESS_CONTROL_REQUEST_METHOD",
    "ACCESS_CONTROL_REQUEST_HEADERS",
    "COOKIE",
)

METHODS = ["GET", "POST", "PUT"]

app = create_app({"DEBUG": True, "SECRET_KEY": "for tests only", "MAX_CONTENT_LENGTH": 100})
app.logger.disabled = True
answer = app.wsgi_app


def record(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
    headers = " ".join(environ.get(f"HTTP_{name}", "-") for name in RECORDED)
    with open("requests.log", "a") as log:
        log.write(
            f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {headers}"
            f" ?{environ['QUERY_STRING']}\n"
        )
    if environ["HTTP_HOST"].startswith("elsewhere."):
        return answer_elsewhere(environ, start_response)
    if environ["QUERY_STRING"] == "without-vary":
        return answer(environ, without_vary(start_response))
    return answer(environ, start_response)


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


app.wsgi_app = record  # type: ignore[method-assign]


@app.before_request
def authenticate() -> None:
    if request.path == "/private":
        abort(401)


@app.route("/private", methods=METHODS)
@app.route("/slash/", methods=METHODS)
def arrive() -> dict[str, str]:
    return {"method": request.method}


@app.route("/fails", methods=METHODS)
def fail() -> Response:
    raise RuntimeError("broken")


@app.route("/redirect/<int:status>", methods=METHODS)
def lead_away(status: int) -> Any:
    return redirect(f"{request.args['to']}?case={request.args['case']}", status)


@app.get("/loop")
def lead_back() -> Any:
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
