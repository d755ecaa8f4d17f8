import pytest
from flask import Flask, Response, abort
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

from app import create_app


def test_error_is_problem_details(client: FlaskClient) -> None:
    response = client.put("/health/live")
    assert response.mimetype == "application/problem+json"
    assert response.json is not None
    assert (response.json["status"], response.json["title"]) == (405, "Method Not Allowed")
    assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize("debug", [False, True])
def test_cause_is_told_in_debug_mode_only(debug: bool) -> None:
    app = create_app({"DEBUG": debug})
    app.add_url_rule("/fails", view_func=lambda: str(1 // 0))
    response = app.test_client().get("/fails")
    assert response.status_code == 500
    assert ("ZeroDivisionError" in response.text) is debug


def test_status_of_ones_own(app: Flask) -> None:
    class ClientClosedRequest(HTTPException):
        code = 499
        description = "The client did not wait."

    def view() -> str:
        raise ClientClosedRequest

    app.add_url_rule("/own", view_func=view)
    response = app.test_client().get("/own")
    assert response.status_code == 499
    assert response.json is not None
    assert response.json["status"] == 499
    assert response.json["detail"] == "The client did not wait."


def test_a_response_given_to_abort_is_kept(app: Flask) -> None:
    app.add_url_rule("/own", view_func=lambda: abort(Response("mine", 418)))
    response = app.test_client().get("/own")
    assert (response.status_code, response.text) == (418, "mine")


def test_a_path_cannot_write_log_lines(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/fails/<name>", view_func=lambda name: str(1 // 0))
    app.test_client().get("/fails/a%0AINFO in app: all is well%1B[2J")
    assert [record.getMessage() for record in caplog.records] == [
        "Exception on GET '/fails/a\\nINFO in app: all is well\\x1b[2J'"
    ]
