"""Paths with a policy of their own: the longest prefix by whole segments decides."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from flask_cors import CORS, cross_origin
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from app import cors, wiring

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
    policy = cors.Policy.from_config(POLICY)
    assert policy.for_path("/api/public").expose_headers == ("ETag",)
    assert not policy.for_path("/api/public").supports_credentials
    assert policy.for_path("/api/public/partners").supports_credentials
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


def test_path_counts_from_the_root_of_the_host() -> None:
    app = app_with(CORS_PATHS={"/v1/public": {"origins": "any"}})
    client = Client(DispatcherMiddleware(Flask("root"), {"/v1": app}))
    for path, expected in (("/v1/public", "*"), ("/v1/private", None)):
        answer = client.get(path, headers={"Origin": EVERYONE})
        assert answer.headers.get("Access-Control-Allow-Origin") == expected


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (3, 'CORS_PATHS: write {"/api/public": {"origins": ["any"], "methods": ["GET"]}}, not 3'),
        ({"api": {}}, "['api']: write a path that starts with a slash"),
        ({"/": {}}, "['/']: change the policy itself"),
        ({"/users/<id>/public": {}}, "write the start of a path, such as /api/public"),
        ({"/a?b": {}}, "write the start of a path"),
        ({"/a/../b": {}}, "write the start of a path"),
        ({"/caf%C3%A9": {}}, "write /café: paths are compared decoded"),
        ({"/a": {}, "/a/": {}}, "['/a/']: remove it: /a is there already"),
        ({"/a": 3}, '[\'/a\']: write a dict such as {"methods": ["GET"]}, not 3'),
        ({"/a": {"orgins": []}}, "['/a']: write origins, not 'orgins'"),
        ({"/a": {"origins": ["a.example"]}}, "['/a']: origins: write https://a.example, not"),
        (
            {"/a": {"origins": "any", "supports_credentials": True}},
            "['/a']: origins: write the origins one by one, not *: with credentials",
        ),
    ],
)
def test_wrong_entry_is_refused_by_its_name(paths: Any, problem: str) -> None:
    with pytest.raises(cors.PolicyError) as caught:
        cors.Policy.from_config(POLICY | {"CORS_PATHS": paths})
    (found,) = caught.value.problems
    assert problem in found


def test_what_the_message_says_to_write_can_be_written_into_the_environment() -> None:
    with pytest.raises(cors.PolicyError) as caught:
        cors.Policy.from_config(POLICY | {"CORS_PATHS": "{/api"})
    example = caught.value.problems[0].partition("write ")[2].partition(", not ")[0]
    policy = cors.Policy.from_config(POLICY | {"CORS_PATHS": json.loads(example)})
    assert policy.for_path("/api/public").is_public


def test_many_slashes_cost_little() -> None:
    policy = cors.Policy.from_config(POLICY)
    assert policy.for_path("/" * 1_000_000) is policy
    assert policy.for_path("/api/public" + "/x" * 100_000).is_public


@pytest.mark.parametrize("path", ["/.well-known", "/.well-known/jwks.json", "/v1:batch", "/a/..b"])
def test_odd_paths_can_be_named(path: str) -> None:
    assert path in cors.Policy.from_config(POLICY | {"CORS_PATHS": {path: {}}}).paths


# What else could give a view a policy: flask-cors itself


def problems_of(app: Flask) -> list[str]:
    policy = cors.Policy.from_config(POLICY)
    with pytest.raises(cors.PolicyError) as caught:
        wiring.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return caught.value.problems


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
    (problem,) = problems_of(app)
    assert problem == (
        "remove @cross_origin from the view it: write the start of its path into CORS_PATHS in"
        " app/settings.py, as in {'/x/a': {'origins': ['https://app.example.com']}}"
    )
    assert cors.Policy.from_config(POLICY | {"CORS_PATHS": {"/x/a": {}}})


def test_cross_origin_on_a_view_whose_path_cannot_be_named_is_refused() -> None:
    app = Flask("decorated")
    app.add_url_rule("/<int:i>", "it", mine(view))
    (problem,) = problems_of(app)
    assert problem.startswith("remove @cross_origin from the view it: its path has no start")


def test_flask_cors_on_a_blueprint_is_refused() -> None:
    app, shop = Flask("decorated"), Blueprint("shop", __name__)
    CORS(shop, origins=["https://narrow.example"])
    app.register_blueprint(shop)
    (problem,) = problems_of(app)
    assert problem.startswith("remove CORS(shop): the policy is for the whole app")


def test_views_without_it_start() -> None:
    app = Flask("plain")
    app.add_url_rule("/", "it", hidden(view))
    assert wiring.decorated_views(app) + wiring.hooks_of_flask_cors(app) == []
