"""Your CORS policy, as the browsers of pages on other origins meet it.

First your own app is asked, whatever it answers, then one that has nothing of yours but the policy.
Updates change this file: do not edit it.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask, session
from flask.testing import FlaskClient
from flask_cors import CORS
from werkzeug.test import TestResponse

from app import answers, cors, operations, settings
from app.cors import Policy, PolicyError
from app.cors.origins import read_origin
from app.cors.policy import METHODS

POLICY = Policy.from_config({**vars(answers), **vars(settings)})
RECORD = Path(__file__).parent.parent / ".copier-answers.yml"


def example(allowed: str) -> str:
    """Return an origin that an item of the policy stands for."""
    allowed = "https://anyone.example" if allowed == "*" else allowed
    return allowed.replace("//*.", "//a.b.").replace(":*", ":3000").replace("*", "x-1")


def look_alikes(allowed: str) -> list[str]:
    """Return origins that an item of the policy does not stand for, though they look like it."""
    origin = example(allowed)
    scheme, _, host = origin.partition("://")
    found = [f"{origin}.evil.example", f"{origin}/", f"{origin}, {origin}", origin.upper(), host]
    found += [f"{'http' if scheme == 'https' else 'https'}://{host}", f"{scheme}://user@{host}"]
    if "//*." in allowed:
        return found + [origin.replace("a.b.", ""), origin.replace("a.b.", "evil-")]
    if "*" in allowed.removesuffix(":*"):
        return found + [origin.replace("x-1", other) for other in ("", "a.b", "A", "*")]
    return found + [f"{scheme}://evil.{host}", f"{scheme}://evil-{host}"]


ALLOWED = example(POLICY.origins[0])


def preflight(client: FlaskClient, origin: str, method: str, path: str = "/") -> TestResponse:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return client.options(path, headers=headers)


def may_read(client: FlaskClient, origin: str) -> bool:
    """Return whether a browser lets a page read a response (Fetch, section 4.9, "CORS check")."""
    headers = client.get("/", headers={"Origin": origin}).headers
    return headers.getlist("Access-Control-Allow-Origin") in ([origin], ["*"])


@pytest.mark.parametrize("allowed", POLICY.origins)
def test_your_app_lets_allowed_pages_read(client: FlaskClient, allowed: str) -> None:
    assert may_read(client, example(allowed))
    headers = preflight(client, example(allowed), METHODS[0]).headers
    with_credentials = headers.get("Access-Control-Allow-Credentials") == "true"
    assert with_credentials is POLICY.supports_credentials


@pytest.mark.skipif(POLICY.is_public, reason="every page may")
@pytest.mark.parametrize("origin", ["https://stranger.invalid", "null", "file://"])
def test_your_app_lets_strangers_neither_read_nor_act(client: FlaskClient, origin: str) -> None:
    assert not may_read(client, origin)
    assert "Access-Control-Allow-Methods" not in preflight(client, origin, METHODS[0]).headers
    response = client.post("/", headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert not POLICY.protection or "not in CORS_ORIGINS" in response.get_json()["detail"]


@pytest.mark.parametrize("path", ["/", "/none"])
def test_your_app_answers_preflights_before_anything_else(client: FlaskClient, path: str) -> None:
    for method in POLICY.methods:
        response = preflight(client, ALLOWED, method, path)
        assert response.status_code == 204
        assert method in response.headers["Access-Control-Allow-Methods"].split(", ")


def bare_app(**config: Any) -> Flask:
    app = Flask("app")
    app.config.from_mapping({**vars(answers), **vars(settings)})
    app.config.from_prefixed_env()
    app.config.from_mapping({"SECRET_KEY": "only for tests", **config})
    app.add_url_rule("/", "home", dict, methods=METHODS)
    policy = Policy.from_config(app.config)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    operations.init_app(app)
    return app


@pytest.mark.parametrize("allowed", [] if POLICY.is_public else POLICY.origins)
def test_look_alikes(allowed: str) -> None:
    client = bare_app(CORS_ORIGINS=[allowed]).test_client()
    for origin in look_alikes(allowed):
        assert not may_read(client, origin), origin
        assert "Origin" in client.get("/", headers={"Origin": origin}).headers["Vary"]


@pytest.mark.parametrize("method", METHODS)
def test_method_that_is_not_listed_is_refused(method: str) -> None:
    headers = {"Origin": ALLOWED, "Sec-Fetch-Site": "cross-site"}
    refused = POLICY.protection and not POLICY.allows_method(method)
    response = bare_app().test_client().open("/", method=method, headers=headers)
    assert response.status_code == (403 if refused else 200)


@pytest.mark.parametrize("debug", [False, True])
def test_page_can_read_an_error(debug: bool) -> None:
    app = bare_app(DEBUG=debug, CORS_METHODS=["GET"])
    app.before_request(lambda: str(1 / 0))
    assert preflight(app.test_client(), ALLOWED, "GET").status_code == 204
    response = app.test_client().get("/", headers={"Origin": ALLOWED})
    assert response.status_code == 500
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ALLOWED)


def test_session_cookie() -> None:
    """Pages on another site can send it if they may send credentials, and no others can."""
    app = bare_app()
    app.add_url_rule("/log-in", view_func=lambda: session.update(user=1) or "in")
    cookie = app.test_client().get("/log-in").headers["Set-Cookie"]
    crosses = {"SameSite=None", "Partitioned"} <= set(cookie.split("; "))
    assert "Secure" in cookie and crosses is (answers.SESSION_COOKIE_SAMESITE == "None")
    assert POLICY.supports_credentials or not crosses


def test_response_and_log_have_the_id(capfd: pytest.CaptureFixture[str]) -> None:
    client = bare_app(CORS_METHODS=["GET"]).test_client()
    capfd.readouterr()
    asked = {"Origin": ALLOWED, "X-Request-ID": "abc-1"}
    headers = client.get("/none?token=secret", headers=asked).headers
    assert (headers["X-Request-ID"], headers["X-Content-Type-Options"]) == ("abc-1", "nosniff")
    line = json.loads(capfd.readouterr().err)
    assert (line["id"], line["path"], line["cors"]) == ("abc-1", "/none", "allowed")
    assert "secret" not in str(line)


def test_environment_overrides_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_CORS_ORIGINS", "https://one.example, https://Two.example/")
    assert may_read(bare_app().test_client(), "https://two.example")
    monkeypatch.setenv("FLASK_CORS_ORIGINS", "localhost:3000")
    with pytest.raises(PolicyError, match="^CORS_ORIGINS: write http://localhost:3000, not "):
        bare_app()
    monkeypatch.setenv("CORS_METHODS", "GET")
    with pytest.raises(PolicyError, match="^write FLASK_CORS_METHODS, not CORS_METHODS"):
        bare_app()


def test_app_follows_the_answers() -> None:
    names = [name for name in vars(settings) if name.startswith("CORS_") and hasattr(answers, name)]
    assert not names, f"remove {names[0]} from app/settings.py: `copier update` changes it"
    record = yaml.safe_load(RECORD.read_text(encoding="utf-8"))
    origins = record["frontend_origins"]
    given = origins.replace(",", " ").split() if isinstance(origins, str) else origins
    recorded = set()
    for origin in given:
        with suppress(ValueError):  # it is in a form that only the prompt reads
            recorded.add(read_origin(origin))
    methods = [method for method in answers.CORS_METHODS if method in METHODS]  # or your own
    added = len(answers.CORS_ORIGINS) > len(given)
    if added or not recorded <= {*map(read_origin, answers.CORS_ORIGINS)}:
        answer = f"frontend_origins={', '.join(answers.CORS_ORIGINS)}"
    elif {*methods} != {*record["allowed_methods"]}:
        answer = f"allowed_methods=[{', '.join(methods)}]"
    elif record["allow_credentials"] != answers.CORS_SUPPORTS_CREDENTIALS:
        answer = f"allow_credentials={answers.CORS_SUPPORTS_CREDENTIALS}"
    else:
        return
    command = f"uvx copier update --vcs-ref=:current: --defaults -d '{answer}'"
    pytest.fail(f"Commit, and run {command}: .copier-answers.yml has another", pytrace=False)
