"""Pages that call an API, what their browsers make of it, and a bare app that has the policy."""

from typing import Any

from flask import Flask
from flask_cors import CORS
from werkzeug.test import TestResponse

from app import answers, cors
from corscheck.browser import Headers, Outcome, PageRequest, Response, fetch

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# As they are enforced: app/answers.py may have a long form of an IPv6 address.
ORIGINS = cors.Policy.from_config(vars(answers)).origins
PUBLIC = ORIGINS == ("*",)
STRANGERS = ("https://stranger.invalid", "null", "file://")


def bare_app(**config: Any) -> Flask:
    """Return an app with the policy and one view, and nothing of yours."""
    app = Flask(__name__)
    app.config.from_object(answers)
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    app.add_url_rule("/", "home", dict, methods=METHODS)
    policy = cors.Policy.from_config(app.config)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return app


def browse(app: Flask, request: PageRequest, path: str = "/") -> Outcome:
    """Fetch from an app as a page does, and return the browser's verdict."""
    client = app.test_client(use_cookies=False)

    def send(method: str, url: str, headers: Headers) -> Response:
        return received(client.open(url, method=method, headers=list(headers)))

    return fetch(f"http://localhost{path}", request, send)


def received(response: TestResponse) -> Response:
    return Response(response.status_code, tuple(response.headers))


def example(allowed: str) -> str:
    """Return an origin that an item of the policy stands for."""
    if allowed == "*":
        return "https://anyone.example"
    return allowed.replace("//*.", "//a.b.").replace(":*", ":3000").replace("*", "x-1")


def look_alikes(allowed: str) -> list[str]:
    """Return origins that an item of the policy does not stand for, though they look like it."""
    if allowed == "*":
        return []
    origin = example(allowed)
    scheme, _, host = origin.partition("://")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    found = [
        f"{origin}.evil.example",
        f"{origin}/",
        f"{origin} ",
        f"{origin}, {origin}",
        origin.upper(),
        host,
        f"{'http' if scheme == 'https' else 'https'}://{host}",
        f"{scheme}://user@{host}",
        f"{scheme}://{name}.",
        f"{scheme}://{name}:0",
        f"{scheme}://{name}:65536",
    ]
    if "." in host:
        found.append(f"{scheme}://{host.replace('.', 'x')}")
    if not allowed.endswith(":*"):
        found += [f"{scheme}://{name}:4444", f"{scheme}://{name}:1"]
    if "//*." in allowed:
        base = host.removeprefix("a.b.")
        found += [f"{scheme}://{base}", f"{scheme}://.{base}", f"{scheme}://evil-{base}"]
    elif "*" in allowed.removesuffix(":*"):
        found += [origin.replace("x-1", other) for other in ("", "a.b", "a_b", "A", "*")]
    else:
        found += [f"{scheme}://evil.{host}", f"{scheme}://evil{host}", f"{scheme}://evil-{host}"]
    return found


ALLOWED = [example(allowed) for allowed in ORIGINS]
