"""The project's tests stay green in a larger app; only `tests/conftest.py` has to know of it."""

from pathlib import Path

import pytest
from conftest import Render, assert_green, run_python

# What an owner adds to `create_app`, before its lines about the policy.
EXTENSIONS = """
    if not app.config.get("SECRET_KEY"):
        raise RuntimeError("set FLASK_SECRET_KEY")
    if not app.config.get("DATABASE_URL"):
        raise RuntimeError("set FLASK_DATABASE_URL")
    app.extensions["database"] = app.config["DATABASE_URL"]
"""

HOOKS = {
    "login": "abort(401)",
    "single sign-on": 'redirect("https://login.example/?next=/")',
    "database that is down": "1 / 0",
    "none": "None",
}


@pytest.mark.parametrize("name", HOOKS)
def test_tests_stay_green_in_a_larger_app(render: Render, name: str) -> None:
    project = render()
    policy = "\n    policy = cors.Policy"
    replace(project / "app/__init__.py", "from flask import Flask", IMPORT)
    hook = f"    app.before_request(lambda: {HOOKS[name]})\n"
    replace(project / "app/__init__.py", policy, f"{EXTENSIONS}{hook}{policy}")
    replace(
        project / "tests/conftest.py",
        'create_app({"TESTING": True})',
        'create_app({"TESTING": True, "SECRET_KEY": "a", "DATABASE_URL": "sqlite://"})',
    )
    if name == "none":
        remove_the_sample(project)
    assert_green(project)


IMPORT = "from flask import Flask, abort, redirect"


def remove_the_sample(project: Path) -> None:
    for name in ("app/echo.py", "app/errors.py", "tests/test_echo.py"):
        (project / name).unlink()
    replace(project / "app/__init__.py", "cors, echo, errors,", "cors,")
    replace(project / "app/__init__.py", "    errors.init_app(app)\n", "")
    replace(project / "app/__init__.py", "    app.register_blueprint(echo.bp)\n", "")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has changed: {old}"
    path.write_text(text.replace(old, new))


# A resource of the owner's: a log-in, a unique column and a foreign key, a list and an enum in the
# query, a file, a stream.
NOTES = '''
from enum import Enum
from functools import wraps
from typing import Any

from flask import Blueprint, Response, g, request, session, stream_with_context
from pydantic import Field
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.exceptions import Unauthorized

from app.contract import Body, Operation, Query, View, respond
from app.database import db
from app.models import Model

bp = Blueprint("notes", __name__, url_prefix="/api")


class User(Model):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


class Note(Model):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    text: Mapped[str]


class NewUser(Body):
    email: str


class Order(str, Enum):
    OLDEST = "oldest"
    NEWEST = "newest"


class Which(Query):
    id: list[int] | None = Field(default=None, description="Only these.")
    order: Order = Order.OLDEST


def logged_in(view: View) -> View:
    @wraps(view)
    def checked(**arguments: Any) -> Any:
        g.user = session.get("user")
        if g.user is None:
            raise Unauthorized("Log in first.")
        return view(**arguments)

    return checked


@bp.post("/users")
@Operation({201: NewUser}, body=NewUser, errors=(409,))
def sign_up(body: NewUser) -> Response:
    """Sign up."""
    user = User(email=body.email)
    db.session.add(user)
    db.session.commit()
    session["user"] = user.id
    return respond(body.model_dump(), 201)


@bp.post("/notes")
@logged_in
@Operation({201: None}, takes={"multipart/form-data": {"type": "object"}}, errors=(401, 409))
def create() -> Response:
    """Upload a note."""
    text = request.files["text"].read().decode() or None
    db.session.add(Note(user_id=request.args.get("for", g.user, int), text=text))
    db.session.commit()
    return Response(status=201)


@bp.get("/notes")
@logged_in
@Operation({200: list[int]}, query=Which, errors=(401,))
def index(query: Which) -> Response:
    """List notes."""
    mine = select(Note.id).where(Note.user_id == g.user).order_by(Note.id)
    if query.id:
        mine = mine.where(Note.id.in_(query.id))
    return respond(list(db.session.scalars(mine)))


@bp.get("/events")
@logged_in
@Operation({200: "text/event-stream"}, errors=(401,))
def events() -> Response:
    """Count notes."""
    count = select(func.count()).select_from(Note)
    events = (f"data: {db.session.scalar(count)}\\n\\n" for _ in range(2))
    return Response(stream_with_context(events), mimetype="text/event-stream")
'''

TEST_NOTES = """
from io import BytesIO

import pytest
from click import ClickException
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from app.contract import Body, Operation
from app.openapi import document


def upload(client: FlaskClient, text: bytes, user: str = "") -> int:
    data = {"text": (BytesIO(text), "note.txt")}
    return client.post(f"/api/notes{user}", data=data).status_code


@pytest.fixture
def ann(client: FlaskClient) -> FlaskClient:
    assert client.post("/api/users", json={"email": "ann@example.com"}).status_code == 201
    return client


def test_log_in_is_asked_for_before_all_else(client: FlaskClient) -> None:
    assert client.get("/api/notes?order=wrong").status_code == 401


def test_conflict(ann: FlaskClient) -> None:
    taken = ann.post("/api/users", json={"email": "ann@example.com"})
    assert (taken.status_code, taken.mimetype) == (409, "application/problem+json")
    assert upload(ann, b"a", "?for=999") == 409


def test_fault_of_the_app_is_no_conflict(ann: FlaskClient) -> None:
    assert upload(ann, b"") == 500


def test_list_in_the_query(ann: FlaskClient) -> None:
    assert [upload(ann, b"a"), upload(ann, b"b")] == [201, 201]
    first, second = ann.get("/api/notes").json or ()
    response = ann.get(f"/api/notes?id={first}&order=newest")
    assert (response.json, response.cache_control.private) == ([first], True)
    assert ann.get(f"/api/notes?id={first}&id={second}").json == [first, second]
    assert ann.get("/api/notes?order=newest&order=oldest").status_code == 422
    assert ann.get("/api/events").text == "data: 2\\n\\n" * 2


def test_document(client: FlaskClient) -> None:
    described = document(client.application)
    validate(described)
    upload = described["paths"]["/api/notes"]["post"]
    assert "multipart/form-data" in upload["requestBody"]["content"]
    assert "413" in upload["responses"]
    stream = described["paths"]["/api/events"]["get"]["responses"]["200"]
    assert list(stream["content"]) == ["text/event-stream"]


def test_models_of_one_name(client: FlaskClient) -> None:
    class NewUser(Body):
        name: str

    view = Operation({200: NewUser})(lambda: "")
    client.application.add_url_rule("/other", view_func=view)
    with pytest.raises(ClickException, match="two schemas are called NewUser"):
        document(client.application)
"""

MIGRATE = """
from wsgi import app

with app.app_context():
    for arguments in (["db", "upgrade"], ["db", "revision", "Notes"]):
        result = app.test_cli_runner().invoke(args=arguments, catch_exceptions=False)
        print(result.output)
        assert result.exit_code == 0
"""


def test_owner_adds_a_resource(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    project = render(extras=["database"], allow_credentials=True)
    (project / "app/notes.py").write_text(NOTES)
    (project / "tests/test_notes.py").write_text(TEST_NOTES)
    resources = project / "app/resources.py"
    replace(resources, "items, openapi\n", "items, notes, openapi\n")
    replace(resources, "(items.bp)\n", "(items.bp)\n    app.register_blueprint(notes.bp)\n")
    replace(
        project / "tests/conftest.py",
        'create_app({"TESTING": True})',
        'create_app({"TESTING": True, "SECRET_KEY": "a"})',
    )
    monkeypatch.setenv("FLASK_SECRET_KEY", "a" * 32)
    assert run_python(project, "-c", MIGRATE).count("Running upgrade") == 1
    run_python(project, "-m", "ruff", "format", "--check", "--no-cache", "app/migrations")
    assert_green(project, *(f"tests/test_{name}.py" for name in ("notes", "database", "openapi")))
