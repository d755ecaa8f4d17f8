"""The CORS headers of responses: flask-cors is asked for them once, at start."""

from flask import Flask
from flask.testing import FlaskClient
from flask_cors import CORS
from werkzeug.http import parse_list_header

from .policy import Policy

Headers = list[tuple[str, str]]

ALLOW_ORIGIN = "Access-Control-Allow-Origin"
LISTS = ("Access-Control-Expose-Headers", "Vary")


class Answers:
    """flask-cors' answers under one policy, which depend on whether it allows the origin."""

    def __init__(self, policy: Policy, path: str, client: FlaskClient) -> None:
        self.policy = policy
        self.is_public = policy.is_public
        # What is the same for every origin does not vary.
        self.allows_get = policy.allows_method("GET")
        self.to_others = [] if policy.is_public and self.allows_get else [("Vary", "Origin")]
        to_request, to_preflight = ask(client, policy, path)
        self.to_request = to_request + self.to_others
        self.to_preflight = to_preflight + self.to_others

    def allows(self, origin: str | None) -> bool:
        return self.is_public or (origin is not None and self.policy.allows(origin))

    def named(self, headers: Headers, origin: str | None, allowed: bool) -> Headers:
        """Return one of the answers for an origin: only it is named, only if it is allowed."""
        if not allowed:
            return self.to_others
        return headers if self.is_public else [(ALLOW_ORIGIN, str(origin)), *headers]


def client_of(flask_cors: CORS) -> FlaskClient:
    """Return a client of an app that has flask-cors and nothing else."""
    app = Flask(__name__, static_folder=None)
    flask_cors.init_app(app)
    return app.test_client(use_cookies=False)


def ask(client: FlaskClient, policy: Policy, path: str) -> tuple[Headers, Headers]:
    """Return the headers with which flask-cors answers an allowed origin, but for its name.

    The first are for a request, the others for a preflight for all that the policy allows.
    """
    asked = {
        "Origin": policy.example(),
        "Access-Control-Request-Method": policy.methods[0],
        "Access-Control-Request-Headers": ", ".join(policy.allow_headers),
    }

    def headers(method: str) -> Headers:
        return [
            (name, value)
            for name, value in client.open(path, method=method, headers=asked).headers
            if name.startswith("Access-Control-") and value != asked["Origin"]
        ]

    return headers("GET"), headers("OPTIONS")


def add(headers: Headers, ours: Headers, allowed: bool) -> tuple[Headers, list[str]]:
    """Return a response's headers with ours in place of its own CORS headers, and their names.

    The items of its lists are kept: those of `Vary`, and of the headers that it exposes.
    """
    # Few headers have such an initial: most responses are done with one look.
    if not [name for name, _ in headers if name[:1] in "AaVv"]:
        return headers + ours, []
    own: Headers = []
    result: Headers = []
    for header in headers:
        name = header[0].lower()
        (own if name == "vary" or name.startswith("access-control-") else result).append(header)
    result += [(name, value) for name, value in ours if name not in LISTS]
    for name in LISTS if allowed else ("Vary",):
        values = [value for key, value in (*own, *ours) if key.lower() == name.lower()]
        items = {item.lower(): item for item in parse_list_header(", ".join(values))}
        if items:
            result.append((name, "*" if "*" in items else ", ".join(items.values())))
    return result, [name for name, _ in own if name.title() not in LISTS]
