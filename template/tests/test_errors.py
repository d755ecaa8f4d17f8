import pytest
from flask import Flask, Response, abort, request
from pages import ALLOWED, METHODS, bare_app
from werkzeug.exceptions import HTTPException

from app import errors


def app_with_errors(debug: bool = False) -> Flask:
    app = bare_app(DEBUG=debug, MAX_CONTENT_LENGTH=1, CORS_METHODS=METHODS)
    errors.init_app(app)
    app.add_url_rule("/fails", "fails", lambda: str(1 // 0))
    app.add_url_rule("/reads", "reads", lambda: str(request.get_json()), methods=["POST"])
    return app


def test_error_is_problem_details() -> None:
    response = app_with_errors().test_client().put("/fails")
    assert response.mimetype == "application/problem+json"
    assert response.json is not None
    assert (response.json["status"], response.json["title"]) == (405, "Method Not Allowed")
    assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("status", [404, 413, 415, 500])
def test_page_can_read_errors(debug: bool, status: int) -> None:
    client = app_with_errors(debug).test_client()
    headers = {"Origin": ALLOWED[0]}
    if status == 413:
        response = client.post("/reads", headers=headers, json={"too": "large"})
    elif status == 415:
        response = client.post("/reads", headers=headers, data="{")
    else:
        response = client.get("/none" if status == 404 else "/fails", headers=headers)
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ALLOWED[0])


@pytest.mark.parametrize("debug", [False, True])
def test_cause_is_shown_in_debug_mode_only(debug: bool) -> None:
    response = app_with_errors(debug).test_client().get("/fails")
    assert response.status_code == 500
    assert ("ZeroDivisionError" in response.text) is debug


def test_status_of_your_own() -> None:
    class ClientClosedRequest(HTTPException):
        code = 499
        description = "The client did not wait."

    def view() -> str:
        raise ClientClosedRequest

    app = app_with_errors()
    app.add_url_rule("/own", view_func=view)
    response = app.test_client().get("/own")
    assert response.status_code == 499
    assert response.json is not None
    assert response.json["status"] == 499
    assert response.json["detail"] == "The client did not wait."


def test_request_id_is_named() -> None:
    client = app_with_errors().test_client()
    response = client.get("/none", environ_overrides={"app.request_id": "abc"})
    assert response.json is not None
    assert response.json["request_id"] == "abc"


def test_response_passed_to_abort_is_kept() -> None:
    app = app_with_errors()
    app.add_url_rule("/own", view_func=lambda: abort(Response("mine", 418)))
    response = app.test_client().get("/own")
    assert (response.status_code, response.text) == (418, "mine")
