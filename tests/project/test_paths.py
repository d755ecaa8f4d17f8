"""Paths with a policy of their own: the longest prefix by whole segments decides."""

import json
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from flask_cors import CORS, cross_origin
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client, EnvironBuilder

from app import cors

POLICY: dict[str, Any] = {
    "CORS_ORIGINS": ["https://app.example.com"],
    "CORS_METHODS": ["GET", "PUT"],
    "CORS_SUPPORTS_CREDENTIALS": True,
    "CORS_ALLOW_HEADERS": ["Content-Type"],
    "CORS_EXPOSE_HEADERS": ["ETag"],
    "CORS_MAX_AGE": 600,
    "CORS_PATHS": {
        "/api/public": {"origins": ["any"], "methods": ["GET"]},
        "/api/public/partners/": {"origins": ["https://partner.example"], "methods": "PUT"},
        "/größe": {"max_age": 5},
    },
}
EVERYONE, PARTNER, OURS = "https://x.example", "https://partner.example", "https://app.example.com"


def app_with(**settings: Any) -> Flask:
    app = Flask("paths")
    methods = ["GET", "PUT"]
    app.add_url_rule("/<path:path>", view_func=lambda path: path, methods=methods)
    policy = cors.Policy.from_config(POLICY | settings)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return app


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/private", {OURS}),
        ("/api/publicity", {OURS}),
        ("/api", {OURS}),
        ("/api/public", {"*"}),
        ("/api/public/", {"*"}),
        ("/api/public/x/y", {"*"}),
        ("/api/p%75blic/x", {"*"}),
        ("/api/public/partners", {PARTNER}),
        ("/api/public/partners/1", {PARTNER}),
        ("/api/public/partnership", {"*"}),
        ("/API/public", {OURS}),
    ],
)
def test_longest_prefix_decides(path: str, allowed: set[str]) -> None:
    client = app_with().test_client()
    for origin in (EVERYONE, PARTNER, OURS):
        expected = "*" if "*" in allowed else origin if origin in allowed else None
        answer = client.get(path, headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == expected
        assert ("Vary" in answer.headers) is (allowed != {"*"})
        asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        preflight = client.options(path, headers=asked)
        assert preflight.headers.get("Access-Control-Allow-Origin") == expected


def test_what_is_left_out_is_inherited_but_not_credentials_for_any() -> None:
    paths = cors.Policy.from_config(POLICY).paths
    assert paths["/api/public"].expose_headers == ("ETag",)
    assert not paths["/api/public"].supports_credentials
    assert paths["/api/public/partners"].supports_credentials
    client = app_with().test_client()
    asked = {"Origin": OURS, "Access-Control-Request-Method": "PUT"}
    answer = client.options("/gr%C3%B6%C3%9Fe/1", headers=asked)
    assert answer.headers["Access-Control-Max-Age"] == "5"


def test_refusals_go_by_the_path() -> None:
    client = app_with().test_client()
    statuses = {
        (path, origin): client.put(path, headers={"Origin": origin}).status_code
        for path in ("/api/private", "/api/public/x", "/api/public/partners/x")
        for origin in (EVERYONE, PARTNER, OURS)
    }
    assert {key for key, status in statuses.items() if status == 200} == {
        ("/api/private", OURS),
        ("/api/public/partners/x", PARTNER),
    }


@pytest.mark.parametrize(
    "path", ["/api/public/partners/x", "//api/public/partners/x", "///api/public/partners/x"]
)
def test_slashes_that_flask_leaves_out_escape_no_policy(path: str) -> None:
    client = app_with().test_client()
    for origin, status in ((OURS, 403), (PARTNER, 200)):
        asked = {"environ_overrides": {"PATH_INFO": path}, "headers": {"Origin": origin}}
        assert client.put("/", **asked).status_code == status


ODD = ["/", "//", ".", "..", "/./", "/../", "\\", "%2f", "%2e", "%", ";", "?", "#", " ", "\0"]
ODD += ["\n", "\t", "\x80", "\xff", "\xc3", "\xb6", "\xc0\xaf", "\xc4\xb0", "\xc3\x9f", "A", ""]


def test_no_spelling_of_a_path_reaches_its_view_under_another_policy() -> None:
    """Whatever the router takes for the path, the gate takes for it as well."""
    prefixes = ["/api/public/partners", "/größe"]
    app = app_with(CORS_PATHS={prefix: {"origins": PARTNER} for prefix in prefixes})
    ran: list[str] = []
    for prefix in prefixes:
        for rule in (prefix, f"{prefix}/", f"{prefix}/x", f"{prefix}/x/<path:rest>"):
            guarded = partial(note, ran, rule)
            app.add_url_rule(rule, rule, guarded, methods=["PUT"], strict_slashes=False)
    environ = EnvironBuilder(method="PUT").get_environ()
    rng, counts = Random(21), {PARTNER: 0, OURS: 0}
    for _ in range(1000):
        path = rng.choice(prefixes) + rng.choice(["", "/", "/x", "/x/y"])
        path = path.encode().decode("latin-1")  # as a server gives it
        for _ in range(rng.choice([0, 1, 1, 2])):
            at = rng.randrange(len(path) + 1)
            path = path[:at] + rng.choice(ODD) + path[at + rng.randrange(2) :]
        for origin in counts:
            ran.clear()
            asked = {**environ, "PATH_INFO": path, "HTTP_ORIGIN": origin}
            for _ in app.wsgi_app(asked, lambda *_: print):
                pass
            counts[origin] += len(ran)
    assert counts[PARTNER] > 250 and counts[OURS] == 0


def note(ran: list[str], rule: str, **_: Any) -> str:
    ran.append(rule)
    return rule


def mounted(app: Flask) -> Client:
    return Client(DispatcherMiddleware(Flask("root"), {"/v1": app}))


def below_a_script_name(app: Flask) -> Client:
    def serve(environ: Any, start_response: Any) -> Any:
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/v1", environ["PATH_INFO"][3:]
        return app(environ, start_response)

    return Client(serve)


def behind_a_prefix(app: Flask) -> Client:
    """The proxy has taken the prefix off the path, and says so."""

    def serve(environ: Any, start_response: Any) -> Any:
        environ["HTTP_X_FORWARDED_PREFIX"] = "/v1"
        environ["PATH_INFO"] = environ["PATH_INFO"][3:]
        return ProxyFix(app, x_prefix=1)(environ, start_response)

    return Client(serve)


@pytest.mark.parametrize("below", [mounted, below_a_script_name, behind_a_prefix])
def test_policy_of_a_path_is_in_force_below_a_mount(below: Callable[[Flask], Client]) -> None:
    """Policy and router go by one path: that of the route, wherever the app is mounted."""
    client = below(app_with())
    for path, expected in (("/v1/api/public/x", "*"), ("/v1/api/private", None)):
        answer = client.get(path, headers={"Origin": EVERYONE})
        assert answer.text == path.removeprefix("/v1/")
        assert answer.headers.get("Access-Control-Allow-Origin") == expected
    assert client.put("/v1/api/public/x", headers={"Origin": OURS}).status_code == 403
    assert client.put("/v1/api/public/partners", headers={"Origin": OURS}).status_code == 403
    assert client.put("/v1/api/public/partners", headers={"Origin": PARTNER}).status_code == 200


def test_script_name_opens_no_path() -> None:
    """gunicorn takes it from a header of that name, of whoever is on this machine."""
    client = app_with().test_client()
    named = {"environ_overrides": {"SCRIPT_NAME": "/api/public"}}
    answer = client.get("/me", headers={"Origin": EVERYONE}, **named)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert client.put("/me", headers={"Origin": EVERYONE}, **named).status_code == 403


def wrong(paths: Any) -> str:
    with pytest.raises(cors.PolicyError) as caught:
        cors.Policy.from_config(POLICY | {"CORS_PATHS": paths})
    return caught.value.message


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (3, 'CORS_PATHS: write {"/api/public": {"origins": ["any"], "methods": ["GET"]}}, not 3'),
        *(
            ({path: {}}, f"CORS_PATHS: write the start of a path, decoded, such as {some}, not")
            for some in ["/api/public"]
            for path in ("api", "/", "", "/users/<id>/public", "/a?b", "/a/../b", "/a//b", 3)
        ),
        ({"/caf%C3%A9": {}}, "write the start of a path, decoded, such as /api/public"),
        ({"/a": {}, "/a/": {}}, "CORS_PATHS: write each path once"),
        ({"/a": 3}, "CORS_PATHS['/a']: write a dict of some of origins, methods, "),
        ({"/a": {"orgins": []}}, "CORS_PATHS['/a']: write a dict of some of origins, methods, "),
        (
            {"/a": {"origins": ["a.example"]}},
            "CORS_PATHS['/a']['origins']: write https://a.example, not a.example: ",
        ),
        ({"/a": {"methods": "GTE"}}, "CORS_PATHS['/a']['methods']: write GET, not GTE"),
        ({"/a/": {"max_age": "5"}}, "CORS_PATHS['/a/']['max_age']: write a number of seconds"),
        (
            {"/a": {"origins": "any", "supports_credentials": True}},
            "CORS_PATHS['/a']['origins']: remove *: with credentials, every site could act as",
        ),
        (
            {"/a": {"origins": "http://a.example"}},  # the credentials are inherited
            "CORS_PATHS['/a']['origins']: remove http://a.example: with credentials, anyone on",
        ),
    ],
)
def test_wrong_entry_is_refused_by_its_name(paths: Any, problem: str) -> None:
    assert problem in wrong(paths)


def test_what_the_message_says_to_write_can_be_written_into_the_environment() -> None:
    example = wrong("{/api").partition("write ")[2].partition(", not ")[0]
    policy = cors.Policy.from_config(POLICY | {"CORS_PATHS": json.loads(example)})
    assert policy.paths["/api/public"].is_public


@pytest.mark.parametrize("path", ["/" * 1_000_000, "/api/private" + "/x" * 100_000])
def test_long_path_costs_little(path: str) -> None:
    app = app_with(CORS_PATHS={f"/api/path{number}": {"max_age": 5} for number in range(100)})
    environ = EnvironBuilder(headers={"Origin": EVERYONE}).get_environ() | {"PATH_INFO": path}
    began = time.process_time()
    app.wsgi_app(environ | {"REQUEST_METHOD": "PUT"}, lambda *_: print)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("path", ["/.well-known", "/.well-known/jwks.json", "/v1:batch", "/a/..b"])
def test_odd_paths_can_be_named(path: str) -> None:
    client = app_with(CORS_PATHS={path: {"origins": "any"}}).test_client()
    for below in (path, f"{path}/x"):
        answer = client.get(below, headers={"Origin": EVERYONE})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


# What else could give a view a policy: flask-cors itself


def problem_of(app: Flask) -> str:
    policy = cors.Policy.from_config(POLICY)
    with pytest.raises(cors.PolicyError) as caught:
        cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return caught.value.message


def view(**_: Any) -> str:
    return ""


def hidden(view: Callable[..., str]) -> Callable[..., str]:
    """A decorator without functools.wraps."""
    return lambda **arguments: view(**arguments)


mine = cross_origin(origins=["https://narrow.example"])


class OnAMethod(MethodView):
    @mine
    def post(self, **_: Any) -> str:
        return ""


class OnAClass(MethodView):
    decorators = (mine, hidden)

    def post(self, **_: Any) -> str:
        return ""


@pytest.mark.parametrize(
    "decorated",
    [
        mine(view),
        hidden(mine(view)),
        partial(mine(view)),
        OnAMethod.as_view("it"),
        OnAClass.as_view("it"),
    ],
)
def test_cross_origin_on_a_view_is_refused(decorated: Callable[..., str]) -> None:
    app = Flask("decorated")
    app.add_url_rule("/x/a/<int:i>", "it", decorated, methods=["POST"])
    assert problem_of(app) == (
        "remove @cross_origin from the view it: a path's own policy is in CORS_PATHS (settings.py)"
    )


def test_flask_cors_elsewhere_is_refused() -> None:
    app, shop = Flask("decorated"), Blueprint("shop", __name__)
    CORS(shop, origins=["https://narrow.example"])
    app.register_blueprint(shop)
    assert problem_of(app).startswith("remove CORS(shop): ")
    app = Flask("decorated")
    CORS(app)
    assert problem_of(app).startswith("remove CORS(app): ")


def test_views_without_it_start() -> None:
    app = Flask("plain")
    app.add_url_rule("/", "it", hidden(view))
    app.after_request(lambda response: response)
    policy = cors.Policy.from_config(POLICY)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    assert app.test_client().get("/").status_code == 200
