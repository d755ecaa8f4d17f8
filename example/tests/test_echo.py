import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import echo


@pytest.fixture
def client() -> FlaskClient:
    """A client of this resource alone: no login or other hook of the app runs before it."""
    app = Flask(__name__)
    app.register_blueprint(echo.bp)
    return app.test_client()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_without_body(client: FlaskClient, method: str) -> None:
    response = client.open("/api/echo?a=1", method=method)
    assert response.json == {"method": method, "args": {"a": "1"}}


def test_head(client: FlaskClient) -> None:
    response = client.head("/api/echo")
    assert (response.status_code, response.data) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_with_body(client: FlaskClient, method: str) -> None:
    response = client.open("/api/echo", method=method, json={"hello": "world"})
    assert response.json == {"method": method, "args": {}, "json": {"hello": "world"}}


@pytest.mark.parametrize("mimetype", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_body_that_needs_no_preflight_is_refused(client: FlaskClient, mimetype: str) -> None:
    response = client.post("/api/echo", data="{}", content_type=mimetype)
    assert response.status_code == 415
