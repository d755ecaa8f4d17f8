import pytest
from flask import Flask

from app import health


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_healthy(path: str) -> None:
    app = Flask(__name__)
    app.register_blueprint(health.bp)
    response = app.test_client().get(path)
    assert (response.status_code, response.json) == (200, {"status": "ok"})
