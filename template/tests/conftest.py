import os
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.cors.fetch import Headers, Outcome, Request, Response, fetch

Browser = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def no_settings_from_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test the project as it stands in its files."""
    for name in os.environ:
        if name.startswith("FLASK_"):
            monkeypatch.delenv(name)


@pytest.fixture
def app() -> Flask:
    return create_app({"TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def browse(app: Flask) -> Browser:
    """Fetch from the app as a page's `fetch` would, and give the browser's verdict."""
    return browser(app)


def browser(app: Flask) -> Browser:
    client = app.test_client(use_cookies=False)

    def browse(path: str, request: Request) -> Outcome:
        def send(method: str, url: str, headers: Headers) -> Response:
            body = b"{}" if method in ("POST", "PUT", "PATCH") else None
            response = client.open(url, method=method, headers=list(headers), data=body)
            return Response(response.status_code, tuple(response.headers))

        return fetch(f"http://localhost{path}", request, send)

    return browse
