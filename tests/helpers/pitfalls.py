"""Each pitfall of SpecTree, tried in a project: tests/project/test_contract.py copies it there."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Generic, TypeVar

import pytest
from flask import Flask, Response, abort, g
from flask.typing import ResponseReturnValue
from flask_cors import CORS
from openapi_spec_validator import validate
from pydantic import BaseModel, Field
from werkzeug.exceptions import Conflict

from app import errors, operations
from app.cors import Policy, init_app
from app.typed_views import Input, document, gives, problem, secured

T = TypeVar("T")


class Note(Input):
    text: str
    stars: int = 0
    more: list[int] = Field(default=[])


class Slice(BaseModel, Generic[T]):
    found: list[T]
    total: int


@pytest.fixture
def app() -> Flask:
    app = Flask("app")
    errors.init_app(app)
    return app


def route(app: Flask, view: Callable[..., Any], status: int = 200, path: str = "/notes") -> None:
    method = "POST" if "json" in view.__annotations__ else "GET"
    app.add_url_rule(path, view.__name__, gives(status)(view), methods=[method])


def echo(json: Note) -> Note:
    return json


def test_annotation_that_is_no_model_is_refused() -> None:
    def every() -> ResponseReturnValue:
        return ""

    def stream() -> Response:
        return Response(iter("ab"))

    def untyped():  # type: ignore[no-untyped-def]
        return ""

    for view in (every, stream, untyped):
        with pytest.raises(TypeError, match=f"write which model .*{view.__name__} gives"):
            gives()(view)


def test_stream_is_not_buffered_without_the_decorator(app: Flask) -> None:
    sent = []
    numbers = (sent.append(n) or str(n) for n in range(3))
    app.add_url_rule("/stream", view_func=lambda: Response(numbers))
    response = app.test_client().get("/stream", buffered=False)
    assert sent != [0, 1, 2] and response.text == "012"


@pytest.mark.parametrize("body", [b"\xff", b'{"text": "\xff"}', b'{"text": 1, "\x00": 2}'])
def test_bytes_are_an_error_of_the_client(app: Flask, body: bytes) -> None:
    route(app, echo)
    response = app.test_client().post("/notes", data=body, content_type="application/json")
    assert (response.status_code, response.mimetype) == (400, "application/problem+json")


def test_view_that_gives_something_else_is_500_and_logged(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong() -> Note:
        return {"text": 1}  # type: ignore[return-value]

    route(app, wrong)
    response = app.test_client().get("/notes")
    assert (response.status_code, response.mimetype) == (500, "application/problem+json")
    assert "errors" not in response.get_json()
    assert "validation error for Note" in caplog.text


def test_two_models_of_one_name_are_refused_with_both_places() -> None:
    def first() -> type[BaseModel]:
        class Twin(BaseModel):
            a: int

        return Twin

    class Twin(BaseModel):
        b: int

    class Outer(BaseModel):
        twin: Twin

    def view() -> first():  # type: ignore[valid-type]
        pass

    gives()(view)
    for model in (Twin, Outer):  # also where it is in another one
        view.__annotations__["return"] = model
        with pytest.raises(ValueError, match="Twin") as raised:
            gives()(view)
        assert ".first.<locals>.Twin" in str(raised.value)
        assert f"places.<locals>.{model.__name__}" in str(raised.value)


def test_document_is_that_of_the_app_and_not_of_the_first_one(app: Flask) -> None:
    class Shelf(BaseModel):
        notes: list[Note]

    def shelf() -> Shelf:
        return Shelf(notes=[])

    other = Flask("other")
    route(app, shelf)
    route(other, echo)
    for _ in range(2):
        for each, method in ((app, "get"), (other, "post")):
            with each.app_context():
                found = document()
            assert [*found["paths"]["/notes"]] == [method]
            assert found["components"]["schemas"]["Note"]["properties"]["stars"]
            validate(found)


def test_model_may_also_be_in_another_one_and_the_app_below_a_prefix(app: Flask) -> None:
    class Board(BaseModel):
        notes: list[Note]

    class Wall(BaseModel):
        board: Board

    def board() -> Board:
        return Board(notes=[])

    def wall() -> Wall:
        return Wall(board=board())

    route(app, board)
    route(app, wall, path="/wall")
    with app.test_request_context(base_url="http://localhost/below"):
        found = document()
    validate(found)
    assert found["servers"] == [{"url": "/below"}]


@pytest.mark.parametrize("path", ["/static-pages", "/apidocs", "/openapi-notes"])
def test_no_name_is_left_out_of_the_document(app: Flask, path: str) -> None:
    app.add_url_rule(path, f"openapi{path}", gives()(echo), methods=["POST"])
    with app.app_context():
        assert [*document()["paths"]] == [path]


def test_operation_ids_are_names(app: Flask) -> None:
    def one(note_id: int) -> Note:
        return Note(text="")

    route(app, one, path="/notes/<int:note_id>")
    with app.app_context():
        operation = document()["paths"]["/notes/{note_id}"]["get"]
    assert operation["operationId"].isidentifier()


def test_generic_models_have_names_that_openapi_allows(app: Flask) -> None:
    def notes() -> Slice[Note]:
        return Slice(found=[Note(text="a")], total=1)

    route(app, notes)
    with app.app_context():
        found = document()
    validate(found)
    assert all(name.isidentifier() for name in found["components"]["schemas"])
    assert app.test_client().get("/notes").get_json()["total"] == 1


@pytest.mark.parametrize("stars", ["1.0", "-0.0", "1e2", "12345678901234567890.0"])
def test_whole_float_is_an_integer(app: Flask, stars: str) -> None:
    route(app, echo)
    body = f'{{"text": "1.0", "stars": {stars}, "more": [{stars}]}}'
    response = app.test_client().post("/notes", data=body, content_type="application/json")
    assert response.get_json() == {"text": "1.0", "stars": float(stars), "more": [float(stars)]}
    for wrong in ("1.5", '"1"', "true", "1e400", "null"):
        body = f'{{"text": "", "stars": {wrong}}}'
        refused = app.test_client().post("/notes", data=body, content_type="application/json")
        assert refused.status_code == 422, wrong


def test_equal_parameters_are_a_list_or_refused(app: Flask) -> None:
    class Which(Input):
        tag: list[str] | None = None
        limit: int = 1

    def which(query: Which) -> Which:
        return query

    route(app, which)
    client = app.test_client()
    assert client.get("/notes?tag=a").get_json()["tag"] == ["a"]
    assert client.get("/notes?tag=a&tag=b").get_json()["tag"] == ["a", "b"]
    assert client.get("/notes?limit=1&limit=2").status_code == 422


@pytest.mark.parametrize("number", ["nan", "inf", "-Infinity", "1e999"])
def test_what_is_no_number_is_refused_in_a_query(app: Flask, number: str) -> None:
    class Least(Input):
        least: float

    def least_of(query: Least) -> Least:
        return query

    route(app, least_of)
    assert app.test_client().get("/notes?least=1.5").get_json() == {"least": 1.5}
    assert app.test_client().get(f"/notes?least={number}").status_code == 422


def test_log_in_is_asked_for_first_and_described(app: Flask) -> None:
    def log_in_required(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def checked(**arguments: Any) -> Any:
            return abort(401) if "user" not in g else view(**arguments)

        return secured(checked, "cookie", "token")

    app.config["SECURITY_SCHEMES"] = {
        "cookie": {"type": "apiKey", "in": "cookie", "name": "session"},
        "token": {"type": "http", "scheme": "bearer"},
    }
    app.add_url_rule("/in", "in", log_in_required(gives()(echo)), methods=["POST"])
    app.add_url_rule("/out", "out", gives()(echo), methods=["POST"])
    statuses = [app.test_client().post(path, data="{").status_code for path in ("/in", "/out")]
    assert statuses == [401, 415]
    with app.app_context():
        found = document()
    validate(found)
    inside, outside = (found["paths"][path]["post"] for path in ("/in", "/out"))
    assert inside["security"] == [{"cookie": []}, {"token": []}] and "401" in inside["responses"]
    assert "security" not in outside and "401" not in outside["responses"]
    with pytest.raises(TypeError, match="write @gives below the log-in's decorator: echo"):
        gives()(log_in_required(echo))


def test_problems_have_one_shape(app: Flask) -> None:
    """Those of a view, in one line; of its own faults; and the refusal of a stranger's write."""

    def taken(json: Note) -> Note:
        raise problem(409, "Choose another.", ("/text", "is taken"))

    def conflict() -> None:
        raise Conflict("It is taken.")

    def broken() -> None:
        raise RuntimeError

    route(app, taken)
    route(app, conflict, 204, "/conflict")
    route(app, broken, 204, "/broken")
    app.config.from_object("app.answers")
    policy = Policy.from_config(app.config)
    init_app(app, policy, CORS(**policy.flask_cors_options()))
    operations.init_app(app)
    client = app.test_client()
    stranger = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    answers = [
        client.post("/notes", json={"text": ""}),
        client.get("/conflict"),
        client.get("/broken"),
        client.get("/missing"),
        client.post("/notes", json={"text": ""}, headers=stranger),
    ]
    assert [answer.status_code for answer in answers] == [409, 409, 500, 404, 403]
    for answer in answers:
        found = answer.get_json()
        assert answer.mimetype == "application/problem+json"
        assert {*found} - {"errors"} == {"title", "status", "detail", "request_id"}
        assert answer.headers["Cache-Control"] == "no-store"
    assert answers[0].get_json()["errors"] == [{"pointer": "/text", "message": "is taken"}]
