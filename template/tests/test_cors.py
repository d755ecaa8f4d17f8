"""The policy, judged as a browser judges it: by the Fetch standard, not by comparing headers."""

import pytest
from conftest import Browser, browser
from flask import Flask, Response, abort, g, request, session
from flask.testing import FlaskClient

from app import create_app, settings
from app.cors import PolicyError
from app.cors.fetch import Block, Request, readable_headers

PUBLIC = settings.CORS_ORIGINS == ["*"]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def example(origin: str) -> str:
    """An origin that a configured one stands for."""
    if origin == "*":
        return "https://anything.example"
    return origin.replace("*.", "a.b.", 1).replace(":*", ":3000")


def is_meant(origin: str) -> bool:
    """Whether the settings allow an origin, read as a person reads them."""
    return any(stands_for(allowed, origin) for allowed in settings.CORS_ORIGINS)


def stands_for(allowed: str, origin: str) -> bool:
    if allowed in ("*", origin):
        return True
    scheme, _, host = allowed.partition("://")
    if host.endswith(":*"):
        bare, _, port = origin.rpartition(":")
        host = host.removesuffix(":*")
        origin = bare if port.isdigit() else origin
    start, _, name = origin.partition("://")
    if not host.startswith("*."):
        return (scheme, host) == (start, name)
    label = name.removesuffix(host[1:])
    return scheme == start and label != name and label.replace(".", "").replace("-", "").isalnum()


def lookalikes(origin: str) -> list[str]:
    scheme, _, host = origin.partition("://")
    return [
        f"{origin}.evil.example",
        f"{scheme}://evil{host}",
        f"{scheme}://evil-{host}",
        f"{'http' if scheme == 'https' else 'https'}://{host}",
        f"{scheme}://{host.partition(':')[0]}:4444",
        f"{scheme}://{host.rpartition(':')[0] or host}:1",
        origin.upper(),
        f"{scheme}://user@{host}",
        f"{scheme}://sub.{host}",
        f"{origin}/",
        f"{origin} ",
        f"{origin}, {origin}",
        scheme + "://" + host.replace(".", "x"),
        host,
    ]


ALLOWED = [example(origin) for origin in settings.CORS_ORIGINS]
STRANGERS = ["null", "https://evil.example", "http://localhost:4444", "file://"]
CANDIDATES = sorted({*STRANGERS, *(other for origin in ALLOWED for other in lookalikes(origin))})


@pytest.mark.parametrize("origin", ALLOWED)
def test_allowed_origin(browse: Browser, origin: str) -> None:
    outcome = browse("/api/echo", Request(origin))
    assert outcome.allowed, outcome.verdict


@pytest.mark.parametrize("origin", CANDIDATES)
def test_stranger_or_lookalike(browse: Browser, origin: str) -> None:
    assert browse("/api/echo", Request(origin)).allowed is is_meant(origin)


@pytest.mark.parametrize("origin", ALLOWED)
@pytest.mark.parametrize("method", METHODS)
def test_method(browse: Browser, origin: str, method: str) -> None:
    outcome = browse("/api/echo", Request(origin, method, preflight=True))
    assert outcome.allowed is (method in settings.CORS_METHODS), outcome.verdict


@pytest.mark.parametrize("name", settings.CORS_ALLOW_HEADERS)
def test_allowed_header(browse: Browser, name: str) -> None:
    header = (name.replace("*", "X-Anything"), "(unsafe)")
    method = settings.CORS_METHODS[0]
    assert browse("/api/echo", Request(ALLOWED[0], method, (header,))).allowed


def test_header_not_listed(browse: Browser) -> None:
    request = Request(ALLOWED[0], settings.CORS_METHODS[0], (("X-Not-Listed", "1"),))
    assert browse("/api/echo", request).allowed is ("*" in settings.CORS_ALLOW_HEADERS)


@pytest.mark.parametrize("name", settings.CORS_EXPOSE_HEADERS)
def test_exposed_header(app: Flask, name: str) -> None:
    header = name.replace("*", "X-Anything")
    app.add_url_rule("/sends-it", view_func=lambda: Response(headers={header: "1"}))
    request = Request(ALLOWED[0])
    response = browser(app)("/sends-it", request).response
    assert (header, "1") in list(readable_headers(request, response))


def test_credentials(browse: Browser) -> None:
    outcome = browse("/api/echo", Request(ALLOWED[0], credentials=True))
    assert outcome.allowed is settings.CORS_SUPPORTS_CREDENTIALS


def test_session_cookie_goes_where_credentials_may(app: Flask) -> None:
    app.secret_key = "only for this test"
    app.add_url_rule("/log-in", view_func=lambda: session.update(user=1) or "in")
    cookie = app.test_client().get("/log-in").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    sent_cross_site = "Secure" in cookie and "SameSite=None" in cookie
    assert sent_cross_site is settings.CORS_SUPPORTS_CREDENTIALS


def test_preflight_comes_before_authentication(app: Flask) -> None:
    app.before_request(lambda: abort(401))
    request = Request(ALLOWED[0], settings.CORS_METHODS[0], preflight=True)
    outcome = browser(app)("/api/echo", request)
    assert outcome.allowed
    assert [exchange.response.status for exchange in outcome.exchanges] == [204, 401]


def test_preflight_comes_before_hooks_that_count_on_each_other(app: Flask) -> None:
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

    request = Request(ALLOWED[0], settings.CORS_METHODS[0], preflight=True)
    outcome = browser(app)("/api/echo", request)
    assert outcome.allowed
    assert "X-Started" in dict(outcome.response.headers)


@pytest.mark.parametrize(("path", "statuses"), [("/mistyped", [404]), ("/slash", [308, 204, 200])])
def test_preflight_to_any_path(app: Flask, path: str, statuses: list[int]) -> None:
    method = settings.CORS_METHODS[0]
    app.add_url_rule("/slash/", view_func=lambda: "here", methods=[method])
    outcome = browser(app)(path, Request(ALLOWED[0], method, preflight=True))
    assert outcome.allowed, outcome.verdict
    assert [exchange.response.status for exchange in outcome.exchanges] == [204, *statuses]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("status", [404, 413, 415, 500])
def test_page_can_read_errors(debug: bool, status: int) -> None:
    app = create_app({"DEBUG": debug, "TESTING": True, "MAX_CONTENT_LENGTH": 1})

    def fail() -> str:
        raise RuntimeError("broken")

    app.add_url_rule("/fails", view_func=fail)
    app.add_url_rule("/reads", methods=["POST"], view_func=lambda: str(request.get_json()))
    path = {404: "/none", 500: "/fails"}.get(status, "/reads")
    client = app.test_client()
    headers = {"Origin": ALLOWED[0]}
    if status == 413:
        response = client.post(path, headers=headers, json={"too": "large"})
    elif status == 415:
        response = client.post(path, headers=headers, data="{")
    else:
        response = client.get(path, headers=headers)
    assert response.status_code == status
    named = response.headers.getlist("Access-Control-Allow-Origin")
    assert named == ["*" if PUBLIC else ALLOWED[0]]
    assert response.mimetype == "application/problem+json"


@pytest.mark.parametrize("origin", [None, ALLOWED[0], "https://evil.example"])
@pytest.mark.parametrize("path", ["/api/echo", "/none"])
def test_caches_keep_origins_apart(client: FlaskClient, path: str, origin: str | None) -> None:
    response = client.get(path, headers={"Origin": origin} if origin else {})
    assert ("origin" in response.vary) is not PUBLIC
    named = response.headers.getlist("Access-Control-Allow-Origin")
    assert named == (["*"] if PUBLIC else [ALLOWED[0]] if origin == ALLOWED[0] else [])


def test_vary_of_a_view_is_kept(app: Flask) -> None:
    app.secret_key = "only for this test"

    def view() -> Response:
        session["seen"] = True
        return Response(headers={"Vary": "Accept-Language"})

    app.add_url_rule("/varies", view_func=view)
    vary = app.test_client().get("/varies").headers["Vary"].split(", ")
    assert sorted(vary) == ["Accept-Language", "Cookie", *([] if PUBLIC else ["Origin"])]


def test_environment_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_CORS_ORIGINS", "https://one.example, https://two.example")
    browse = browser(create_app())
    assert browse("/api/echo", Request("https://one.example")).allowed
    assert browse("/api/echo", Request("https://two.example")).allowed
    blocked = browse("/api/echo", Request("https://evil.example"))
    assert blocked.verdict.block is Block.NO_ALLOW_ORIGIN


def test_bad_environment_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_CORS_ORIGINS", "https://one.example/, HTTPS://two.example")
    monkeypatch.setenv("FLASK_CORS_MAX_AGE", "ten minutes")
    with pytest.raises(PolicyError) as caught:
        create_app()
    assert [problem.rpartition(": ")[2] for problem in caught.value.problems] == [
        "https://one.example",
        "https://two.example",
        "600",
    ]
