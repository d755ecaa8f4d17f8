import pytest
from flask.testing import FlaskClient


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_healthy(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json) == (200, {"status": "ok"})
