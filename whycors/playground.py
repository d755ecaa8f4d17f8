"""A page on this machine, at an allowed origin, that calls the API and shows what the browser does.

`flask cors playground` serves it. The app itself gets no route.
"""

import re
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from flask import Flask, Response, abort, request
from jinja2.utils import htmlsafe_json_dumps
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from .browser import DEFAULT_PORTS, PageRequest
from .causes import Advice, InForce, change, in_force, policy_for
from .consoles import Said
from .explain import OtherHost, as_text, explain
from .given import asked, read_options
from .origins import is_loopback, split_origin
from .policies import REFUSED

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# What the table of requests calls first: it has no state to change.
PATH = "/api/echo"

# Where browsers look for localhost, and for every name under it.
LOCALHOST = ("127.0.0.1", "::1")

# Vite's port, and the ports to suggest if it is in use.
USUAL_PORTS = range(5173, 5273)


class NoPlace(Exception):
    """The page cannot be at any allowed origin. The message says what to do."""


def playground(app: Flask, api: str) -> tuple[str, BaseWSGIServer]:
    """Return the origin of the page, and a server for it that already listens.

    `api` is the origin that the page calls. Raises NoPlace.
    """
    listener, origin = listen(in_force(app, PATH))
    page = page_app(app, origin, api)
    with listener:  # the server duplicates it
        address, port = listener.getsockname()[:2]
        fd = listener.fileno()
        server = make_server(address, port, page, True, request_handler=QuietHandler, fd=fd)
    return origin, server


class QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def listen(found: InForce) -> tuple[socket.socket, str]:
    """Return a socket at the first origin where the page can be, and that origin."""
    policy = found.policy
    origins = ("http://localhost:*",) if policy.is_public else policy.origins
    local = [origin for origin in origins if is_loopback(origin)]
    plain = [origin for origin in local if origin.startswith("http://")]
    secure = [origin for origin in local if origin.startswith("https://")]
    problems = []
    for origin in plain:
        try:
            return listen_at(origin)
        except OSError as error:
            problems.append(f"{origin}: {error.strerror or error}")
    if plain:
        cause = (
            f"the page cannot be at {', nor at '.join(problems)}. Stop what runs there, perhaps"
            " the frontend's server, or allow another origin"
        )
    elif secure:
        cause = f"a page at {secure[0]} needs a certificate. Allow an origin over plain http"
    else:
        cause = f"{found.name} allows no page on this machine. Allow one"
    raise NoPlace(f"{cause}:\n{how_to_allow_another(found)}")


def listen_at(origin: str) -> tuple[socket.socket, str]:
    """Return a socket at an origin of this machine, and the origin without wildcards.

    Raises OSError if something else listens there.
    """
    _, host, port = split_origin(origin)
    number = 0 if port == "*" else int(port or DEFAULT_PORTS["http"])
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


def how_to_allow_another(found: InForce) -> str:
    """Return what allows a page on this machine: for good, and in two shells only."""
    allowed = found.policy.origins
    ports = (port for port in USUAL_PORTS if f"http://localhost:{port}" not in allowed)
    port = next((port for port in ports if not is_taken("localhost", port)), USUAL_PORTS[-1])
    page = f"http://localhost:{port}"
    advice = change(found, [""], lambda policy: {} if policy.allows(page) else {"origins": [page]})
    commands = f"  {advice.variable} flask run\n  {advice.variable} flask cors playground"
    if advice.command:
        return f"  {advice.command}\nOr only in two shells:\n{commands}"
    if advice.line:
        return f"  {advice.line}\nin app/settings.py. Or only in two shells:\n{commands}"
    return commands


def page_app(app: Flask, origin: str, api: str) -> Flask:
    """Return the app that serves the page, and explains to it what the browser blocks."""
    token = secrets.token_urlsafe()
    html = page_html(app, api, token)
    page = Flask(__name__, static_folder=None)

    @page.before_request
    def refuse_other_hosts() -> None:
        # With DNS rebinding, another name leads here, and that name is in Host.
        if f"http://{request.host}" != origin:
            abort(403, f"The playground is at {origin}.")

    @page.get("/")
    def serve_page() -> Response:
        return Response(html, headers=security_headers(token), mimetype="text/html")

    @page.post("/explain")
    def explain_to_page() -> dict[str, Any]:
        refuse_others()
        given = request.get_json()
        headers = tuple((name, value) for name, value in given["headers"])
        method, credentials = given["method"], given["credentials"]
        sent = PageRequest(origin, method, headers, credentials, body=given.get("body"))
        return explanation_as_json(app, f"{api}{given['path']}", sent)

    @page.post("/read")
    def explain_text() -> dict[str, Any]:
        """Explain what a console printed, or a curl command, about any page."""
        refuse_others()
        given = request.get_json()
        options = [f"--{name}={given[name]}" for name in ("origin", "method") if given[name]]
        try:
            context = read_options.make_context("explain", [*options, given["text"].lstrip("-")])
            url, sent, said = asked(app, **context.params, ask=cannot_ask)
        except click.UsageError as error:
            return {"why": error.format_message(), "refused": False, "changes": [], "steps": []}
        return explanation_as_json(app, url, sent, said)

    def refuse_others() -> None:
        its_token = request.headers.get("X-Token", "")
        if request.headers.get("Origin") != origin or not secrets.compare_digest(its_token, token):
            abort(403, "Only the page of the playground may ask.")

    return page


def cannot_ask(name: str, _: object, default: str | None = None) -> str:
    if default is not None:
        return default
    raise click.UsageError(f"fill in the {name}: the text names none")


def paths(app: Flask) -> list[str]:
    """Return PATH, and the paths of the app's other routes, with 1 for each variable."""
    rules = (rule.rule for rule in app.url_map.iter_rules() if rule.endpoint != "static")
    found = {re.sub(r"<[^>]*>", "1", rule) for rule in rules}
    return [PATH, *sorted(found - {PATH})]


def page_html(app: Flask, api: str, token: str) -> str:
    policies = {path: policy_for(app, path) for path in paths(app)}
    methods = list(dict.fromkeys((*METHODS, *policies[PATH].methods)))
    data = {
        "api": api,
        "token": token,
        "paths": list(policies),
        "refused": REFUSED,
        "methods": methods,
        "listed": {
            path: [one for one in methods if policy.allows_method(one)]
            for path, policy in policies.items()
        },
    }
    html = Path(__file__).with_name("playground.html").read_text(encoding="utf-8")
    return html.replace("TOKEN", token).replace("DATA", htmlsafe_json_dumps(data))


def security_headers(token: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'nonce-{token}'; style-src 'nonce-{token}';"
            " img-src data:; connect-src http: https:;"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
    }


def explanation_as_json(
    app: Flask, url: str, sent: PageRequest, said: Said | None = None
) -> dict[str, Any]:
    """Return why a page's request is blocked or refused, and what would allow it."""
    try:
        explanation = explain(app, url, sent, said)
    except OtherHost as error:
        return {"why": str(error), "refused": False, "changes": [], "steps": []}
    advice = explanation.advice or Advice(
        next(iter(explanation.warnings), "")
        or "the app here allows this request: the API that runs has other settings or older code,"
        " or a proxy changes its headers"
    )
    changes = {
        "first": advice.first,
        "for good": advice.command,
        "in app/settings.py": advice.line,
        "to try it": advice.variable,
    }
    return {
        "why": advice.reasons,
        "refused": explanation.refused is not None,
        "changes": [change for change in changes.items() if change[1]],
        "steps": list(as_text(explanation)),
    }
