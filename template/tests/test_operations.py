"""What the template puts around your app: settings that are checked, ids, headers and the log."""

import json
import logging
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, Response, request, session
from flask.testing import FlaskClient
from pages import ALLOWED, METHODS, PUBLIC, STRANGERS, bare_app
from werkzeug.test import TestResponse

from app import answers, operations


def app_with_views(**config: Any) -> Flask:
    app = bare_app(CORS_METHODS=METHODS, **config)
    app.add_url_rule("/own", "own", lambda: Response(headers={"Cache-Control": "max-age=60"}))
    app.add_url_rule("/fails/<name>", "fails", lambda name: str(1 // 0))
    operations.init_app(app, app.extensions["cors_policy"])
    return app


@pytest.fixture
def client() -> FlaskClient:
    return app_with_views().test_client(use_cookies=False)


def records(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    return [record for record in found if record["event"] != "start"]


def get(client: FlaskClient, path: str, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.get(path, headers=named, buffered=True)
    response.close()  # as a server does
    return response


def test_request_has_one_line(client: FlaskClient, capfd: pytest.CaptureFixture[str]) -> None:
    response = get(client, "/?token=secret", Origin=ALLOWED[0], X_Request_ID="abc-1")
    assert response.headers["X-Request-ID"] == "abc-1"
    (line,) = records(capfd)
    assert line["time"] and line["duration"] >= 0
    expected = {"event": "request", "id": "abc-1", "method": "GET", "route": "/", "status": 200}
    assert line.items() >= (expected | {"origin": ALLOWED[0], "cors": "allowed"}).items()
    assert "secret" not in str(line)


def test_failure_is_one_record(client: FlaskClient, capfd: pytest.CaptureFixture[str]) -> None:
    response = get(client, '/fails/a%0A{"level": "info"}%1B[2J')
    failure, line = records(capfd)
    assert failure["level"] == "error" and "ZeroDivisionError" in failure["exception"]
    assert failure["id"] == line["id"] == response.headers["X-Request-ID"]


def test_lines_of_your_own_have_the_request_id(capfd: pytest.CaptureFixture[str]) -> None:
    app = app_with_views()
    app.before_request(lambda: logging.getLogger("app.mine").info("hello"))
    get(app.test_client(), "/", X_Request_ID="abc-2")
    (own,) = [record for record in records(capfd) if record["event"] == "hello"]
    assert (own["id"], own["level"]) == ("abc-2", "info")


def test_security_headers(client: FlaskClient) -> None:
    headers = get(client, "/").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "same-origin"
    other_sites = PUBLIC or answers.SESSION_COOKIE_SAMESITE == "None"
    policy = "cross-origin" if other_sites else "same-site"
    assert headers["Cross-Origin-Resource-Policy"] == policy
    assert "Cache-Control" not in headers


def test_errors_and_what_is_private_are_not_stored(client: FlaskClient) -> None:
    for response in (
        get(client, "/none"),
        get(client, "/", Cookie="session=1"),
        get(client, "/", Authorization="Bearer 1"),
    ):
        assert response.headers["Cache-Control"] == "no-store"
    assert get(client, "/own", Cookie="session=1").headers["Cache-Control"] == "max-age=60"


def test_refused_requests_and_preflights_have_all_of_it(
    client: FlaskClient, capfd: pytest.CaptureFixture[str]
) -> None:
    asks = {"Origin": STRANGERS[0], "Access-Control-Request-Method": "PUT"}
    for method in ("OPTIONS", "DELETE"):
        response = client.open("/", method=method, headers=asks, buffered=True)
        response.close()
        line = records(capfd)[-1]
        assert line["id"] == response.headers["X-Request-ID"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert (line["event"], line["method"]) == ("request", method)
        verdict = "denied" if method == "OPTIONS" else "refused"
        assert line["cors"] == ("allowed" if PUBLIC else verdict)


@pytest.mark.parametrize(("body", "status"), [(b"1234", 200), (b"12345", 413)])
def test_body_without_a_length_has_the_limit_too(body: bytes, status: int) -> None:
    app = app_with_views(MAX_CONTENT_LENGTH=4)
    app.add_url_rule("/reads", view_func=lambda: request.get_data(), methods=["POST"])
    response = app.test_client().post(
        "/reads",
        input_stream=BytesIO(body),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},  # as servers set it
    )
    assert response.status_code == status


def test_secret_that_is_missing_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "session", session, raising=False)
    app = bare_app()
    app.import_name = "app"
    message = "SECRET_KEY: set FLASK_SECRET_KEY.* tests/conftest.py"
    with pytest.raises(operations.SettingsError, match=message):
        operations.init_app(app, app.extensions["cors_policy"])
    app.config["SECRET_KEY"] = "for tests only"
    operations.init_app(app, app.extensions["cors_policy"])
