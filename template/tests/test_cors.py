"""The policy, judged as a browser judges it: by the Fetch standard, not by comparing headers.

Your own app has one test here, the next one. The others are about an app that has the policy and
nothing else, so that no hook, login or database of yours comes in between.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from click import ClickException
from flask import Flask, Response, abort, g, redirect, session
from flask.testing import FlaskClient
from pages import (
    ALLOWED,
    METHODS,
    ORIGINS,
    PUBLIC,
    STRANGERS,
    bare_app,
    browse,
    example,
    look_alikes,
    received,
)

from app import answers
from app.cors import Policy, PolicyError, load_env
from corscheck.browser import Block, PageRequest, cors_check, preflight_headers, readable_headers

# Only a policy that answers every page the same does not vary.
VARIES = not PUBLIC or "GET" not in answers.CORS_METHODS


def test_your_app_has_the_policy(app: Flask, client: FlaskClient) -> None:
    """Whatever the app answers, such as 401 or 404."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    request = PageRequest(ALLOWED[0], answers.CORS_METHODS[0], preflight=True)
    preflight = received(client.options("/", headers=dict(preflight_headers(request) or ())))
    assert preflight.status == 204
    assert cors_check(request, preflight).allowed
    assert cors_check(request, received(client.get("/", headers={"Origin": ALLOWED[0]}))).allowed
    stranger = received(client.get("/", headers={"Origin": STRANGERS[0]}))
    assert cors_check(PageRequest(STRANGERS[0]), stranger).allowed is PUBLIC


@pytest.mark.parametrize("origin", ALLOWED)
def test_allowed_origin(origin: str) -> None:
    outcome = browse(bare_app(), PageRequest(origin))
    assert outcome.allowed, outcome.verdict


@pytest.mark.parametrize("origin", STRANGERS)
def test_stranger(origin: str) -> None:
    assert browse(bare_app(), PageRequest(origin)).allowed is PUBLIC


@pytest.mark.parametrize("allowed", ORIGINS)
def test_look_alikes(allowed: str) -> None:
    app = bare_app(CORS_ORIGINS=[allowed])
    assert browse(app, PageRequest(example(allowed))).allowed
    for origin in look_alikes(allowed):
        assert not browse(app, PageRequest(origin)).allowed, origin


def test_origins_together_allow_what_each_allows() -> None:
    together: Policy = bare_app().extensions["cors_policy"]
    policies = [replace(together, origins=(origin,)) for origin in together.origins]
    for allowed in ORIGINS[:20]:
        for origin in look_alikes(allowed):
            assert together.allows(origin) is any(policy.allows(origin) for policy in policies)


@pytest.mark.parametrize("method", METHODS)
def test_method(method: str) -> None:
    app = bare_app()
    for origin in ALLOWED:
        outcome = browse(app, PageRequest(origin, method, preflight=True))
        listed = "GET" if method == "HEAD" and method not in answers.CORS_METHODS else method
        assert outcome.allowed is (listed in answers.CORS_METHODS), outcome.verdict


@pytest.mark.parametrize("name", answers.CORS_ALLOW_HEADERS)
def test_allowed_header(name: str) -> None:
    header = (name.replace("*", "X-Anything"), "(unsafe)")
    request = PageRequest(ALLOWED[0], answers.CORS_METHODS[0], (header,))
    assert browse(bare_app(), request).allowed


def test_header_not_listed() -> None:
    request = PageRequest(ALLOWED[0], answers.CORS_METHODS[0], (("X-Not-Listed", "1"),))
    assert browse(bare_app(), request).allowed is ("*" in answers.CORS_ALLOW_HEADERS)


@pytest.mark.parametrize("name", answers.CORS_EXPOSE_HEADERS)
def test_exposed_header(name: str) -> None:
    app = bare_app(CORS_METHODS=METHODS)
    header = name.replace("*", "X-Anything")
    app.add_url_rule("/sends-it", view_func=lambda: Response(headers={header: "1"}))
    request = PageRequest(ALLOWED[0])
    response = browse(app, request, "/sends-it").response
    assert (header, "1") in list(readable_headers(request, response))


def test_credentials() -> None:
    outcome = browse(bare_app(), PageRequest(ALLOWED[0], credentials=True))
    assert outcome.allowed is answers.CORS_SUPPORTS_CREDENTIALS


def test_session_cookie() -> None:
    """Pages on another site can send it if they may send credentials, and no others can."""
    app = bare_app(SECRET_KEY="only for this test")
    app.add_url_rule("/log-in", view_func=lambda: session.update(user=1) or "in")
    cookie = app.test_client().get("/log-in").headers["Set-Cookie"]
    attributes = {part.strip() for part in cookie.split(";")[1:]}
    assert "HttpOnly" in attributes
    assert f"SameSite={answers.SESSION_COOKIE_SAMESITE}" in attributes
    if "SameSite=None" in attributes:
        assert answers.CORS_SUPPORTS_CREDENTIALS
        assert {"Secure", "Partitioned"} <= attributes
    else:
        assert "SameSite=Lax" in attributes


def test_preflight_from_a_stranger_is_answered_without_cors_headers() -> None:
    headers = {"Origin": STRANGERS[0], "Access-Control-Request-Method": answers.CORS_METHODS[0]}
    response = bare_app().test_client().options("/", headers=headers)
    assert response.status_code == 204
    assert ("Access-Control-Allow-Methods" in response.headers) is PUBLIC


def test_preflight_runs_before_authentication() -> None:
    app = bare_app()
    app.before_request(lambda: abort(401))
    outcome = browse(app, PageRequest(ALLOWED[0], answers.CORS_METHODS[0], preflight=True))
    assert outcome.allowed
    assert [exchange.response.status for exchange in outcome.exchanges] == [204, 401]


def test_preflight_runs_before_hooks_that_need_each_other() -> None:
    app = bare_app()

    @app.before_request
    def start() -> None:
        g.start = 1

    @app.after_request
    def measure(response: Response) -> Response:
        response.headers["X-Started"] = str(g.start)
        return response

    @app.teardown_request
    def stop(error: BaseException | None) -> None:
        del g.start

    outcome = browse(app, PageRequest(ALLOWED[0], answers.CORS_METHODS[0], preflight=True))
    assert outcome.allowed
    assert "X-Started" in dict(outcome.response.headers)


@pytest.mark.parametrize(("path", "statuses"), [("/mistyped", [404]), ("/slash", [308, 204, 200])])
def test_preflight_to_any_path(path: str, statuses: list[int]) -> None:
    app = bare_app()
    method = answers.CORS_METHODS[0]
    app.add_url_rule("/slash/", view_func=lambda: "here", methods=[method])
    outcome = browse(app, PageRequest(ALLOWED[0], method, preflight=True), path)
    assert outcome.allowed, outcome.verdict
    assert [exchange.response.status for exchange in outcome.exchanges] == [204, *statuses]


@pytest.mark.parametrize("status", [304, 400, 401, 404, 405, 413, 500])
def test_page_sees_the_status(status: int) -> None:
    app = bare_app(PROPAGATE_EXCEPTIONS=False, CORS_METHODS=METHODS)

    def view() -> Response:
        if status == 500:
            raise RuntimeError("broken")
        return abort(status) if status >= 400 else Response(status=status)

    app.add_url_rule("/answers", view_func=view)
    outcome = browse(app, PageRequest(ALLOWED[0]), "/answers")
    assert outcome.allowed, outcome.verdict
    assert outcome.response.status == status


def test_page_may_follow_a_redirect() -> None:
    app = bare_app(CORS_METHODS=METHODS)
    app.add_url_rule("/old", view_func=lambda: redirect("/"))
    outcome = browse(app, PageRequest(ALLOWED[0]), "/old")
    assert outcome.allowed, outcome.verdict
    assert [exchange.response.status for exchange in outcome.exchanges] == [302, 200]


@pytest.mark.parametrize("origin", [None, ALLOWED[0], STRANGERS[0]])
@pytest.mark.parametrize("path", ["/", "/none"])
def test_caches_keep_origins_apart(path: str, origin: str | None) -> None:
    response = bare_app().test_client().get(path, headers={"Origin": origin} if origin else {})
    assert ("origin" in response.vary) is VARIES
    named = response.headers.getlist("Access-Control-Allow-Origin")
    assert named == (["*"] if PUBLIC else [ALLOWED[0]] if origin == ALLOWED[0] else [])


def test_vary_of_a_view_is_kept() -> None:
    app = bare_app(SECRET_KEY="only for this test")

    def view() -> Response:
        session["seen"] = True
        return Response(headers={"Vary": "Accept-Language"})

    app.add_url_rule("/varies", view_func=view)
    vary = app.test_client().get("/varies").headers["Vary"].split(", ")
    assert sorted(vary) == ["Accept-Language", "Cookie", *(["Origin"] if VARIES else [])]


def test_cors_headers_of_a_view_are_replaced() -> None:
    app = bare_app()
    own = {"Access-Control-Allow-Origin": STRANGERS[0], "Access-Control-Allow-Credentials": "true"}
    app.add_url_rule("/own", view_func=lambda: Response(headers=own))
    credentials = answers.CORS_SUPPORTS_CREDENTIALS
    allowed = PageRequest(ALLOWED[0], credentials=credentials)
    assert browse(app, allowed, "/own").allowed
    assert browse(app, PageRequest(STRANGERS[0], credentials=True), "/own").allowed is False
    response = app.test_client().get("/own", headers={"Origin": ALLOWED[0]})
    assert ("Access-Control-Allow-Credentials" in response.headers) is credentials


def test_headers_that_a_view_exposes_are_added_to_the_policys() -> None:
    app = bare_app(CORS_METHODS=METHODS)
    own = [("Access-Control-Expose-Headers", name) for name in ("X-One", "X-Two")]
    app.add_url_rule("/own", view_func=lambda: Response(headers=own))
    response = app.test_client().get("/own", headers={"Origin": ALLOWED[0]})
    (line,) = response.headers.getlist("Access-Control-Expose-Headers")
    exposed = {"X-One", "X-Two", *answers.CORS_EXPOSE_HEADERS}
    assert {*line.split(", ")} == ({"*"} if "*" in exposed else exposed)


def test_environment_overrides_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_CORS_ORIGINS", "https://one.example, https://Two.example/")
    app = bare_app()
    assert browse(app, PageRequest("https://one.example")).allowed
    assert browse(app, PageRequest("https://two.example")).allowed
    blocked = browse(app, PageRequest(STRANGERS[0]))
    assert blocked.verdict.block is Block.NO_ALLOW_ORIGIN


def test_bad_environment_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_CORS_ORIGINS", "localhost:3000, https://app.example.com.")
    monkeypatch.setenv("FLASK_CORS_MAX_AGE", "ten minutes")
    monkeypatch.setenv("CORS_METHODS", "GET")
    with pytest.raises(PolicyError) as caught:
        bare_app()
    assert [problem.partition(", not ")[0] for problem in caught.value.problems] == [
        "CORS_ORIGINS: write http://localhost:3000",
        "CORS_ORIGINS: write https://app.example.com",
        "CORS_MAX_AGE: write 600",
        "write FLASK_CORS_METHODS",
    ]


def test_broken_env_file_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text('FLASK_CORS_ORIGINS="https://app.example.com\n')
    with pytest.raises(ClickException, match=r"write NAME=value in .*\.env, line 1"):
        load_env(path)
