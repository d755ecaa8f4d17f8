"""How a test makes your app. It is your file: add here what the app needs to start."""

import os

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app


@pytest.fixture(autouse=True)
def no_settings_from_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test what the files say, whatever is set in this shell."""
    for name in os.environ:
        if name.upper().startswith(("FLASK_", "CORS_")):
            monkeypatch.delenv(name)


@pytest.fixture
def app() -> Flask:
    return create_app({"TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
