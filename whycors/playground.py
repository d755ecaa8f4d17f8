"""A page on this machine, at an allowed origin, that calls the API and shows what the browser does.

The app itself gets no route.
"""

import json
import re
import secrets
import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

import click

from .browser import DEFAULT_PORTS, PageRequest
from .causes import Advice, advice_here
from .explain import as_text, explain
from .origins import is_loopback, split_origin
from .policies import REFUSED, policy_for
from .senders import OtherHost

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# What the table of requests calls first, where the app has it: it has no state to change.
ECHO = "/api/echo"

# Where browsers look for localhost, and for every name under it.
LOCALHOST = ("127.0.0.1", "::1")

# Vite's port, and the ports to suggest if it is in use.
USUAL_PORTS = range(5173, 5273)

OTHERWISE = (
    "the app here allows this request: the API that runs has other settings or older code, or a"
    " proxy changes its headers"
)


class Playground(ThreadingTCPServer):
    """Serves the page to this machine, and explains to it what the browser blocks.

    `origin` is one of this machine, or a wildcard: the attribute has none. Raises OSError if no
    page can be there.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self, app: Any, api: str, origin: str) -> None:
        scheme, host, port = split_origin(origin)
        if scheme != "http":
            raise OSError("it needs a certificate")
        number = 0 if port == "*" else int(port or DEFAULT_PORTS["http"])
        addresses = LOCALHOST if host.endswith("localhost") else (host.strip("[]"),)
        # Some systems let two programs listen at one port.
        if number and any(is_taken(address, number) for address in addresses):
            raise OSError(f"port {number} is in use")
        self.address_family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
        super().__init__((addresses[0], number), Handler)
        port = str(self.server_address[1]) if port == "*" else port
        self.origin = f"http://{host.replace('*', 'app')}{':' if port else ''}{port}"
        self.app, self.api, self.token = app, api, secrets.token_urlsafe()

    def page(self) -> str:
        offered = paths(self.app)
        policy = policy_for(self.app, offered[0])
        methods = list(dict.fromkeys((*METHODS, *(policy.methods if policy else ()))))
        data = {"api": self.api, "token": self.token, "paths": offered, "methods": methods}
        html = Path(__file__).with_name("playground.html").read_text(encoding="utf-8")
        as_json = json.dumps(data).replace("<", "\\u003c")
        return html.replace("TOKEN", self.token).replace("DATA", as_json)

    def judge(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return why the browser or the API turned a request of the page down."""
        api = urlsplit(self.api)
        if not is_taken(api.hostname or "", api.port or DEFAULT_PORTS[api.scheme]):
            why = f"nothing listens at {self.api}: start the API, or name it with --api"
            return {"verdict": "No response", "why": why}
        headers = tuple((name, value) for name, value in asked["headers"])
        credentials, body = asked.get("credentials", False), asked.get("body")
        request = PageRequest(self.origin, asked["method"], headers, credentials, body=body)
        try:
            found = explain(self.app, f"{self.api}{asked['path']}", request)
        except OtherHost as error:
            return {"verdict": "Blocked", "why": str(error)}
        is_refused = asked.get("title") == REFUSED or found.refused is not None
        advice = found.advice or Advice((*found.warnings, OTHERWISE)[:1])
        return {
            "verdict": "Refused" if is_refused else "Blocked",
            "why": ". Also: ".join(advice.reasons),
            "changes": [(one.lead, one.text) for one in advice.changes],
            "steps": list(as_text(found)),
        }


class Handler(BaseHTTPRequestHandler):
    server: Playground

    def do_GET(self) -> None:
        # With DNS rebinding, another name leads here.
        if f"http://{self.headers['Host']}" == self.server.origin:
            self.answer(self.server.page(), "text/html")
        else:
            self.send_error(403, f"The playground is at {self.server.origin}")

    def do_POST(self) -> None:
        token = self.headers.get("X-Token", "").encode()
        has_token = secrets.compare_digest(token, self.server.token.encode())
        if has_token and self.headers["Origin"] == self.server.origin:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(json.dumps(self.server.judge(given)), "application/json")
        else:
            self.send_error(403, "Only the page of the playground may ask")

    def answer(self, text: str, media_type: str) -> None:
        nonce = f"'nonce-{self.server.token}'"
        self.send_response(200)
        self.send_header("Content-Type", f"{media_type}; charset=utf-8")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src {nonce}; style-src {nonce}; img-src data:; connect-src"
            " http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def playground(app: Any, api: str) -> Playground:
    """Return a server that already listens at the first allowed origin where the page can be.

    `api` is the origin that the page calls. Raises ClickException if there is none.
    """
    policy = policy_for(app, paths(app)[0])
    allowed = ("http://localhost:*",) if policy is None or policy.is_public else policy.origins
    problems = []
    for origin in filter(is_loopback, allowed):
        try:
            return Playground(app, api, origin)
        except OSError as error:
            problems.append(f"the page cannot be at {origin}: {error.strerror or error}")
    ports = (port for port in USUAL_PORTS if f"http://localhost:{port}" not in allowed)
    port = next((port for port in ports if not is_taken("localhost", port)), USUAL_PORTS[-1])
    problem = "; ".join(problems) or f"{policy and policy.name} allows no page on this machine"
    advice = advice_here(app, "/", PageRequest(f"http://localhost:{port}"))
    lines = (f"  {change}" for change in advice.changes) if advice else ()
    raise click.ClickException("\n".join([f"{problem}. Allow another origin:", *lines]))


def is_taken(address: str, port: int) -> bool:
    """Return whether something listens at a port."""
    with suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def paths(app: Any) -> list[str]:
    """Return the paths of an app's routes, with 1 for each variable; ECHO is the first."""
    rules = app.url_map.iter_rules() if hasattr(app, "url_map") else ()
    found = {re.sub(r"<[^>]*>", "1", rule.rule) for rule in rules if rule.endpoint != "static"}
    return sorted(found, key=lambda path: (path != ECHO, path)) or ["/"]
