"""A page on this machine, at an allowed origin, that calls the API and shows what comes of it.

It has a server of its own, which only `flask cors playground` starts: the app gets no route.
"""

import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, request
from jinja2.utils import htmlsafe_json_dumps
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from app.cors import rules
from app.cors.explain import OtherHost, as_text, explain
from app.cors.fetch import Request
from app.cors.policy import Policy
from app.cors.why import change

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# Where browsers look for localhost, and for every name that ends so.
LOCALHOST = ("127.0.0.1", "::1")

# Vite's port; and the ports after it, where that is in use.
USUAL_PORTS = range(5173, 5273)


class NoPlace(Exception):
    """The page cannot be at any origin that is allowed; the text says what to do."""


def playground(app: Flask, api: str) -> tuple[str, BaseWSGIServer]:
    """Return the page's origin, and a server for it that listens already.

    `api` is the origin that the page calls. Raises NoPlace.
    """
    policy: Policy = app.extensions["cors_policy"]
    listener, origin = listen(policy)
    page = page_app(app, origin, api)
    with listener:  # the server has a copy of it
        address, port = listener.getsockname()[:2]
        fd = listener.fileno()
        server = make_server(address, port, page, True, request_handler=QuietHandler, fd=fd)
    return origin, server


class QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def listen(policy: Policy) -> tuple[socket.socket, str]:
    """Return a socket at the first origin where a page can be, and that origin."""
    origins = ("http://localhost:*",) if policy.is_public else policy.origins
    local = [origin for origin in origins if rules.is_loopback(origin)]
    plain = [origin for origin in local if origin.startswith("http://")]
    problems = []
    for origin in plain:
        try:
            return listen_at(origin)
        except OSError as error:
            problems.append(f"{origin}: {error.strerror or error}")
    if plain:
        cause = (
            f"the page cannot be at {', nor at '.join(problems)}. Stop what runs there, the"
            " frontend's server perhaps, or allow one more origin"
        )
    elif local:
        cause = f"{local[0]}: a page there needs a certificate. Allow one without, over plain http"
    else:
        cause = f"no page on this machine is allowed: {origins[0]} is not. Allow one"
    raise NoPlace(f"{cause}:\n{how_to_allow_one_more(policy)}")


def listen_at(origin: str) -> tuple[socket.socket, str]:
    """Return a socket at an origin of this machine, and the origin, no wildcard left in it.

    Raises OSError if something else listens there.
    """
    _, host, port = rules.split_origin(origin)
    number = 0 if port == "*" else int(port or rules.DEFAULT_PORTS["http"])
    is_name = host.endswith("localhost")
    addresses = LOCALHOST if is_name else (host.strip("[]"),)
    # Some systems let two programs listen at one port.
    if number and any(is_taken(address, number) for address in addresses):
        raise OSError(f"port {number} is in use")
    family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
    listener = socket.create_server((addresses[0], number), family=family)
    if port == "*":
        port = str(listener.getsockname()[1])
    return listener, f"http://{host.replace('*', 'app')}{':' if port else ''}{port}"


def is_taken(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def how_to_allow_one_more(policy: Policy) -> str:
    """Return commands that allow a page on this machine: for good, and in two shells only."""
    ports = (port for port in USUAL_PORTS if f"http://localhost:{port}" not in policy.origins)
    port = next((port for port in ports if not is_taken("localhost", port)), USUAL_PORTS[-1])
    origins = [*policy.origins, f"http://localhost:{port}"]
    *for_good, variable = change(policy, "origins", origins, "").commands
    return (
        f"  {'  '.join(for_good)}\n"
        "Or in two shells, and nowhere else:\n"
        f"  {variable} flask run\n"
        f"  {variable} flask cors playground"
    )


def page_app(app: Flask, origin: str, api: str) -> Flask:
    """Return the app that serves the page, and explains to it what the browser blocks."""
    policy: Policy = app.extensions["cors_policy"]
    token = secrets.token_urlsafe()
    data = {
        "api": api,
        "token": token,
        "methods": list(dict.fromkeys((*METHODS, *policy.methods))),
        "listed": policy.methods,
    }
    html = Path(__file__).with_name("playground.html").read_text(encoding="utf-8")
    html = html.replace("TOKEN", token).replace("DATA", htmlsafe_json_dumps(data))
    headers = {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'nonce-{token}'; style-src 'nonce-{token}';"
            " img-src data:; connect-src http: https:;"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
    }
    page = Flask(__name__, static_folder=None)

    @page.before_request
    def answer_this_page_only() -> None:
        # Another name that leads here, by DNS rebinding say, is in Host.
        if f"http://{request.host}" != origin:
            abort(403, f"The playground is at {origin}.")

    @page.get("/")
    def show() -> Response:
        return Response(html, headers=headers, mimetype="text/html")

    @page.post("/explain")
    def say_why() -> dict[str, Any]:
        its_token = request.headers.get("X-Token", "")
        if request.headers.get("Origin") != origin or not secrets.compare_digest(its_token, token):
            abort(403, "Only the playground's page may ask.")
        asked = request.get_json()
        sent = Request(
            origin,
            asked["method"],
            tuple((name, value) for name, value in asked["headers"]),
            asked["credentials"],
        )
        try:
            explanation = explain(app, f"{api}{asked['path']}", sent)
        except OtherHost as error:
            return {"why": str(error), "commands": [], "steps": []}
        steps = list(as_text(explanation))
        if explanation.remedy is None:
            why = (
                "allowed by the app as it is here: the API that runs has other settings or older"
                " code, or a proxy changes its headers"
            )
            return {"why": why, "commands": [], "steps": steps}
        mend = explanation.remedy
        return {"why": mend.miss, "commands": mend.commands, "steps": steps}

    return page
