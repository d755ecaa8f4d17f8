"""The project's tests stay green in a larger app; only `tests/conftest.py` has to know of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Render, assert_green, run_python

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
from pydantic import BaseModel, Field
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model
from app.sqldb import db
from app.typed_views import Input, View, gives, problem, secured

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


class NewUser(Input):
    email: str


class Order(str, Enum):
    OLDEST = "oldest"
    NEWEST = "newest"


class Which(Input):
    id: list[int] | None = Field(default=None, description="Only these.")
    order: Order = Order.OLDEST


class Text(BaseModel, from_attributes=True):
    id: int
    text: str


def logged_in(view: View) -> View:
    @wraps(view)
    def checked(**arguments: Any) -> Any:
        g.user = session.get("user")
        if g.user is None:
            raise problem(401, "Log in first.")
        return view(**arguments)

    return secured(checked, "cookie")


@bp.post("/users")
@gives(201)
def sign_up(json: NewUser) -> NewUser:
    """Sign up."""
    user = User(email=json.email)
    db.session.add(user)
    try:
        db.session.commit()
    except IntegrityError:
        raise problem(409, "Choose another address.", ("/email", "is taken")) from None
    session["user"] = user.id
    return json


@bp.post("/notes")
@logged_in
def create() -> Response:
    """Upload a note."""
    text = request.files["text"].read().decode() or None
    db.session.add(Note(user_id=request.args.get("for", g.user, int), text=text))
    db.session.commit()
    return Response(status=201)


@bp.get("/notes")
@logged_in
@gives()
def index(query: Which) -> list[Text]:
    """List notes."""
    mine = select(Note).where(Note.user_id == g.user).order_by(Note.id)
    if query.id:
        mine = mine.where(Note.id.in_(query.id))
    return [Text.model_validate(note) for note in db.session.scalars(mine)]


@bp.get("/events")
@logged_in
def events() -> Response:
    """Count notes."""
    count = select(func.count()).select_from(Note)
    events = (f"data: {db.session.scalar(count)}\\n\\n" for _ in range(2))
    return Response(stream_with_context(events), mimetype="text/event-stream")
'''

TEST_NOTES = """
from io import BytesIO

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate


def upload(client: FlaskClient, text: bytes, query: str = "") -> int:
    content = {"text": (BytesIO(text), "note.txt")}
    return client.post(f"/api/notes{query}", data=content).status_code


@pytest.fixture
def ann(client: FlaskClient) -> FlaskClient:
    assert client.post("/api/users", json={"email": "ann@example.com"}).status_code == 201
    return client


def test_log_in_is_asked_for_before_all_else(client: FlaskClient) -> None:
    assert client.get("/api/notes?order=wrong").status_code == 401


def test_conflict(ann: FlaskClient) -> None:
    taken = ann.post("/api/users", json={"email": "ann@example.com"})
    assert (taken.status_code, taken.mimetype) == (409, "application/problem+json")
    assert (taken.json or {})["errors"] == [{"pointer": "/email", "message": "is taken"}]
    assert upload(ann, b"a", "?for=999") == 409


def test_fault_of_the_app_is_no_conflict(ann: FlaskClient) -> None:
    assert upload(ann, b"") == 500


def test_list_in_the_query(ann: FlaskClient) -> None:
    assert [upload(ann, b"a"), upload(ann, b"b")] == [201, 201]
    first, second = ann.get("/api/notes").json or ()
    assert ann.get(f"/api/notes?id={first['id']}&order=newest").json == [first]
    both = ann.get(f"/api/notes?id={first['id']}&id={second['id']}").json
    assert both == [first, second]
    assert ann.get("/api/notes?order=newest&order=oldest").status_code == 422
    assert ann.get("/api/events").text == "data: 2\\n\\n" * 2


def test_document(client: FlaskClient) -> None:
    described = client.get("/openapi.json").json
    assert described is not None
    validate(described)
    index = described["paths"]["/api/notes"]["get"]
    assert index["security"] == [{"cookie": []}] and "401" in index["responses"]
    assert described["components"]["securitySchemes"]["cookie"]["in"] == "cookie"
    assert "/api/events" not in described["paths"]
"""

SCHEMES = """
SECURITY_SCHEMES = {"cookie": {"type": "apiKey", "in": "cookie", "name": "session"}}
"""

MIGRATE = """
from wsgi import app

with app.app_context():
    for arguments in (["db", "upgrade"], ["db", "revision", "Notes"]):
        result = app.test_cli_runner().invoke(args=arguments, catch_exceptions=False)
        print(result.output)
        assert result.exit_code == 0
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_owner_adds_a_resource(
    render: Render, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, database: str
) -> None:
    if database == "postgresql":
        url = request.getfixturevalue("postgresql").new_database()
        monkeypatch.setenv("DATABASE_URL", url)
    project = render(extras=["database"], allow_credentials=True)
    (project / "app/notes.py").write_text(NOTES)
    (project / "tests/test_notes.py").write_text(TEST_NOTES)
    resources = project / "app/resources.py"
    replace(
        resources,
        "import items, sqldb, typed_views",
        "import items, notes, sqldb, typed_views",
    )
    replace(resources, "(items.bp)\n", "(items.bp)\n    app.register_blueprint(notes.bp)\n")
    settings = project / "app/settings.py"
    settings.write_text(settings.read_text() + SCHEMES)
    replace(
        project / "tests/conftest.py",
        'create_app({"TESTING": True})',
        'create_app({"TESTING": True, "SECRET_KEY": "a"})',
    )
    monkeypatch.setenv("FLASK_SECRET_KEY", "a" * 32)
    assert run_python(project, "-c", MIGRATE).count("Running upgrade") == 1
    run_python(project, "-m", "ruff", "format", "--check", "--no-cache", "app/migrations")
    assert_green(project)


STEP = re.compile(r"`((?:app|tests)/\w+\.py)`[^`]*\n\n```python\n(.*?)```", re.DOTALL)


def test_second_resource_of_the_documentation(render: Render) -> None:
    """Its steps are followed word by word."""
    text = (ROOT / "docs/database.md").read_text(encoding="utf-8")
    section = text.partition("\n## A second resource\n")[2].partition("\n## ")[0]
    project = render(extras=["database"])
    for name, code in STEP.findall(section):
        path = project / name
        if name == "app/models.py":
            code = f"{path.read_text()}\n\n{code}"
        if name == "app/resources.py":
            code = path.read_text().replace("app import ", "app import boxes, ") + code
        path.write_text(code)
    assert (project / "tests/test_boxes.py").exists()
    run_python(project, "-m", "flask", "db", "upgrade")
    revision, upgrade = re.findall(r"^flask (db \w+)(?: \"(.*)\")?$", section, re.MULTILINE)
    run_python(project, "-m", "flask", *revision[0].split(), revision[1])
    run_python(project, "-m", "flask", *upgrade[0].split())
    for check in ("ruff format --check --no-cache", "ruff check --no-cache", "mypy"):
        run_python(project, "-m", *check.split(), "app/boxes.py", "tests/test_boxes.py")
    assert_green(project)


def test_setting_of_the_owners_is_checked_where_the_app_serves(render: Render) -> None:
    """As docs/database.md has it."""
    text = (ROOT / "docs/database.md").read_text(encoding="utf-8")
    section = text.partition("### A setting that has to be there\n")[2]
    [check] = re.findall(r"```python\n(.*?)```", section.partition("\n### ")[0], re.DOTALL)
    project = render(extras=["database"])
    resources = project / "app/resources.py"
    replace(
        resources,
        "\n\nfrom app import ",
        "\n\nfrom click import ClickException\nfrom app import operations, ",
    )
    resources.write_text(resources.read_text() + check)
    run_python(project, "-m", "flask", "db", "upgrade")
    serve = [sys.executable, "-c", "import wsgi"]
    refused = subprocess.run(serve, cwd=project, capture_output=True, text=True)
    assert "set FLASK_STRIPE_KEY" in refused.stderr
    subprocess.run(serve, cwd=project, env={**os.environ, "FLASK_STRIPE_KEY": "x"}, check=True)
