"""A project with the extra `database`, on SQLite and on PostgreSQL, and what clients make of it."""

import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from chromium import Chromium
from conftest import ROOT, assert_green, copy, run_python, skip
from copier import run_copy
from openapi_spec_validator import validate
from postgres import Postgres
from servers import gunicorn
from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import HTTPError

ORIGIN = "http://localhost:5173"


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered once: the database is elsewhere."""
    project = tmp_path_factory.mktemp("database") / "project"
    copy(template, project, {"extras": ["database"]})
    return project


def flask(project: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_no_place_for_sqlite_is_told(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "project")
    (tmp_path / "project/instance").write_text("not a folder")
    routes = [sys.executable, "-m", "flask", "routes"]
    result = subprocess.run(routes, cwd=tmp_path / "project", capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: set DATABASE_URL: there is no place for SQLite: ")
    assert "Traceback" not in result.stderr


OWNERS = """

class Owner(Model):
    __tablename__ = "owners"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


class Thing(Model):
    __tablename__ = "things"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id", ondelete="CASCADE"))
"""


def test_migration_keeps_what_refers_to_a_table_that_it_changes(
    project: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "project"
    shutil.copytree(project, mine)
    models = mine / "app/models.py"
    imports = models.read_text().replace("sqlalchemy import ", "sqlalchemy import ForeignKey, ", 1)
    models.write_text(imports + OWNERS)
    revision = [sys.executable, "-m", "flask", "db", "revision", "Add owners"]
    result = subprocess.run(revision, cwd=mine, capture_output=True, text=True)
    assert result.stderr.startswith("Error: run `flask db upgrade` first: the database is older")
    flask(mine, "db", "upgrade")
    flask(mine, "db", "revision", "Add owners")
    flask(mine, "db", "upgrade")
    with sqlite3.connect(mine / "instance/app.db") as connection:
        connection.execute("INSERT INTO owners VALUES (1, 'a@example.com')")
        connection.execute("INSERT INTO things VALUES (1, 1)")
    models.write_text(models.read_text().replace("email: Mapped[str]", "email: Mapped[str | None]"))
    flask(mine, "db", "revision", "Owners without an address")
    flask(mine, "db", "upgrade")
    things = connection.execute("SELECT * FROM things").fetchall()
    assert things == [(1, 1)]

    flask(mine, "db", "revision", "Delete owners")
    (wrong,) = (mine / "app/migrations").glob("*delete_owners.py")
    delete = "    op.execute('UPDATE owners SET email = 1')\n    op.execute('DELETE FROM owners')\n"
    wrong.write_text(wrong.read_text().replace("    pass\n", delete, 1))
    upgrade = [sys.executable, "-m", "flask", "db", "upgrade"]
    result = subprocess.run(upgrade, cwd=mine, capture_output=True, text=True)
    assert "Error: let the migration delete or change the rows of things that" in result.stderr
    assert connection.execute("SELECT email FROM owners").fetchall() == [("a@example.com",)]
    connection.close()


class Client:
    """What other programs do with the items of a served app."""

    def __init__(self, port: int) -> None:
        self.pool = HTTPConnectionPool("127.0.0.1", port, maxsize=16, retries=False, timeout=30)

    def send(self, method: str, path: str, **arguments: Any) -> BaseHTTPResponse:
        return self.pool.request(method, path, **arguments)

    def create(self, name: str) -> BaseHTTPResponse:
        return self.send("POST", "/api/items", json={"name": name, "description": name * 20})

    def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        path = "/api/items?limit=100"
        while path:
            page = self.send("GET", path)
            found += page.json()
            path = page.headers.get("Link", "")[1:].partition(">")[0]
        return found


@contextmanager
def served(project: Path) -> Iterator[Client]:
    with gunicorn(project, "wsgi:app") as port:
        yield Client(port)


def test_its_own_tests_pass(project: Path, url: str) -> None:
    assert_green(project)


RECIPE = """
from flask import Response, request
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.http import quote_etag

from app.errors import to_problem
from app.typed_views import problem
"""


@pytest.fixture
def locked(project: Path, tmp_path: Path) -> Path:
    """A project with the recipe of docs/database.md for two changes at the same time."""
    text = (ROOT / "docs/database.md").read_text(encoding="utf-8")
    recipe = text.partition("### Two at the same time\n")[2].partition("\n### ")[0]
    model, views = re.findall(r"```python\n(.*?)```", recipe, re.DOTALL)
    mine = tmp_path / "project"
    shutil.copytree(project, mine)
    models, items = mine / "app/models.py", mine / "app/items.py"
    columns = model.partition("\n")[2]
    created_at = "    created_at: Mapped"
    models.write_text(models.read_text().replace(created_at, f"{columns}{created_at}"))
    before, _, rest = items.read_text().partition('@bp.patch("/<int:item_id>")')
    _, delete, after = rest.partition("@bp.delete")
    before = before.replace("\nfrom flask ", f"{RECIPE}\nfrom flask ", 1)
    register = "bp.register_error_handler(StaleDataError, overtaken)"
    assert register in text
    items.write_text(f"{before}{views}\n\n{register}\n\n\n{delete}{after}")
    flask(mine, "db", "upgrade")
    flask(mine, "db", "revision", "Versions")
    return mine


def test_no_update_is_lost_with_the_recipe(locked: Path, url: str) -> None:
    """Eight clients count up one item, and start again where another one was faster."""
    flask(locked, "db", "upgrade")

    def count_up(client: Client) -> set[int]:
        statuses = set()
        counted = 0
        while counted < 12:
            quantity = client.send("GET", "/api/items/1").json()["quantity"]
            # Each write counts up the version, too, which begins with 1.
            headers = {"If-Match": f'"{quantity + 1}"'}
            changed = {"quantity": quantity + 1}
            written = client.send("PATCH", "/api/items/1", json=changed, headers=headers)
            statuses.add(written.status)
            counted += written.status == 200
        return statuses

    with served(locked) as client:
        assert client.create("Counter").status == 201
        with ThreadPoolExecutor(8) as clients:
            statuses = set().union(*clients.map(count_up, [client] * 8))
        assert client.items()[0]["quantity"] == 8 * 12
        assert client.send("PATCH", "/api/items/1", json={"quantity": 0}).status == 428
    assert statuses == {200, 412}


def write_until(client: Client, stop: Event, created: list[str]) -> set[int]:
    """Create items until the event, and note the names of those that were acknowledged."""
    statuses = set()
    while not stop.is_set():
        name = f"{random.getrandbits(64):x}"
        try:
            status = client.create(name).status
        except HTTPError:  # the server is gone
            time.sleep(0.01)
            continue
        statuses.add(status)
        if status == 201:
            created.append(name)
    return statuses


def assert_kept(client: Client, created: list[str]) -> None:
    """Whatever was acknowledged is there, once, and nothing is there by halves."""
    items = client.items()
    names = [item["name"] for item in items]
    assert set(created) <= set(names)
    assert len(names) == len(set(names)) <= len(created) + 4  # of each client, one at most
    assert all(item["description"] == item["name"] * 20 for item in items)


def test_killed_in_the_middle_of_writes(project: Path, url: str) -> None:
    flask(project, "db", "upgrade")
    created: list[str] = []
    stop = Event()
    with ThreadPoolExecutor(4) as clients:
        with served(project) as client:
            work = [clients.submit(write_until, client, stop, created) for _ in range(4)]
            while len(created) < 500:
                assert not any(each.done() for each in work)
                time.sleep(0.01)
        stop.set()  # and gunicorn was killed
    with served(project) as client:
        assert_kept(client, created)
        assert client.create("After").status == 201


def test_postgresql_away_and_back(
    project: Path, postgresql: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped and started again under load, the app answers 503 and recovers without a restart."""
    monkeypatch.setenv("DATABASE_URL", postgresql.new_database())
    flask(project, "db", "upgrade")
    created: list[str] = []
    stop = Event()
    with served(project) as client, ThreadPoolExecutor(4) as clients:
        work = [clients.submit(write_until, client, stop, created) for _ in range(4)]
        try:
            until(lambda: len(created) > 50)
            postgresql.stop()
            try:
                for path in ("/api/items", "/health/ready"):
                    away = client.send("GET", path, headers={"Origin": ORIGIN})
                    assert (away.status, away.headers["Retry-After"]) == (503, "5")
                    assert away.headers["Content-Type"] == "application/problem+json"
                    assert away.headers["Access-Control-Allow-Origin"] == ORIGIN
                assert client.send("GET", "/health/live").status == 200
            finally:
                postgresql.start()
            before = len(created)
            until(lambda: len(created) > before + 50)
            assert client.send("GET", "/health/ready").status == 200
        finally:
            stop.set()
        assert set().union(*(each.result() for each in work)) == {201, 503}
        assert_kept(client, created)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it does not happen")


FULL_DISK = """
import resource
from app import create_app
from app.sqldb_migrations import alembic

app = create_app()
with app.app_context():
    alembic.upgrade()
client = app.test_client()
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit[1]))
created = 0
while (response := client.post("/api/items", json={"name": "a" * 200})).status_code == 201:
    created += 1
assert (response.status_code, response.mimetype) == (503, "application/problem+json")
assert response.headers["Retry-After"]
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
assert client.post("/api/items", json={"name": "a"}).status_code == 201
last = client.get(f"/api/items?after={created}").json
assert created > 10 and [item["name"] for item in last] == ["a"], (created, last)
"""


def test_full_disk(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of its files takes the place of the disk's end."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/test.db")
    run_python(project, "-c", FULL_DISK)


FAILING_VIEW = """
from inspect import iscoroutinefunction
from app import create_app, models
from app.sqldb import db
from app.sqldb_migrations import alembic

def fails():
    db.session.add(models.Item(name="Half", quantity=0))
    db.session.flush()
    return str(1 // 0)

def store(name):
    db.session.add(models.Item(id=1, name=name, quantity=0))
    db.session.commit()
    return ""

app = create_app()
app.add_url_rule("/fails", view_func=fails, methods=["POST"])
app.add_url_rule("/taken", "taken", lambda: store("Twice"), methods=["POST"])
app.add_url_rule("/nameless", "nameless", lambda: store(None), methods=["POST"])
with app.app_context():
    alembic.upgrade()
    pool = db.engine.pool
client = app.test_client()
# An async function costs each request an event loop.
assert not any(map(iscoroutinefunction, app.teardown_appcontext_funcs))
for _ in range(40):  # more than there are connections
    assert client.post("/fails").status_code == 500
assert client.get("/api/items").json == []
assert client.post("/nameless").status_code == 500  # a fault of the app, not of the request
assert [client.post("/taken").status_code for _ in range(2)] == [200, 409]
assert pool.checkedout() == 0
"""


def test_failed_request_leaves_nothing(project: Path, url: str) -> None:
    run_python(project, "-c", FAILING_VIEW)


PAGE_READS = """
from wsgi import app
from app.sqldb_migrations import alembic

client = app.test_client()
with app.app_context():
    alembic.upgrade()
page = {"Origin": "http://localhost:5173"}
created = client.post("/api/items", json={"name": "Pencil"}, headers=page)
invalid = client.post("/api/items", json={}, headers=page)
for response in (created, invalid, client.get(created.location, headers=page)):
    assert response.headers["Access-Control-Allow-Origin"] == page["Origin"]
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Link", "Location", "Retry-After"} <= set(exposed)
assert (created.status_code, invalid.status_code) == (201, 422)
"""


def test_pages_may_use_what_the_resource_needs(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/test.db")
    run_python(project, "-c", PAGE_READS)


@pytest.mark.parametrize("extras", [[], ["database"]])
def test_message_after_the_copy_says_so(
    template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], extras: list[str]
) -> None:
    data = {"extras": extras}
    run_copy(str(template), tmp_path / "p", data=data, vcs_ref="HEAD", defaults=True)
    told = capfd.readouterr().err
    assert ("Link, Location" in told) is ("flask db upgrade" in told) is bool(extras)


# The contract


def test_document_is_valid(project: Path) -> None:
    document = json.loads(flask(project, "openapi"))
    validate(document)
    assert document["info"]["title"] == "My API"


def test_app_does_what_its_document_says(project: Path, url: str, tmp_path: Path) -> None:
    """A property-based run of the document against the app. EXAMPLES is for more of them."""
    flask(project, "db", "upgrade")
    config = str(ROOT / "tests/client/schemathesis.toml")
    options = ["--seed", "1", "--max-examples", os.environ.get("EXAMPLES", "25"), "--no-color"]
    with served(project) as client:
        document = f"http://127.0.0.1:{client.pool.port}/openapi.json"
        command = ["-m", "schemathesis.cli", "--config-file", config, "run", document, *options]
        run_python(tmp_path, *command)


@pytest.fixture(scope="module")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frontend's folder, with the tools that make and compile the client."""
    npm = shutil.which("npm")
    if npm is None:
        skip("install npm (Debian: apt install npm)")
    folder = tmp_path_factory.mktemp("frontend")
    shutil.copytree(ROOT / "tests/client", folder, dirs_exist_ok=True)
    options = ["--silent", "--no-audit", "--no-fund", "--prefer-offline"]
    subprocess.run([npm, "ci", *options], cwd=folder, check=True)
    return folder


TSC = "--strict --target es2022 --lib es2022,dom --module es2022 --moduleResolution bundler"

# The client's own module stands in for a bundler.
RUN = """
async ([library, program, url]) => {
  const load = (text) => import(URL.createObjectURL(new Blob([text], {type: "text/javascript"})));
  const [{default: createClient}, {crud}] = await Promise.all([load(library), load(program)]);
  return crud(createClient, url);
}
"""


def test_page_uses_the_client_that_is_made_of_the_document(
    project: Path,
    frontend: Path,
    browser: "Chromium",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/test.db")
    flask(project, "db", "upgrade")
    (frontend / "openapi.json").write_text(flask(project, "openapi"))
    commands = [
        "openapi-typescript openapi.json --default-non-nullable=false --output api.d.ts",
        f"tsc {TSC} crud.ts",
    ]
    for command in commands:
        program, *arguments = command.split()
        subprocess.run(
            [frontend / "node_modules/.bin" / program, *arguments], cwd=frontend, check=True
        )
    library = (frontend / "node_modules/openapi-fetch/dist/index.mjs").read_text()
    with served(project) as client:
        browser.open(ORIGIN)
        url = f"http://127.0.0.1:{client.pool.port}"
        seen = browser.tab.evaluate(RUN, [library, (frontend / "crud.js").read_text(), url])
    assert seen == [
        *("/api/items/1", None, "Pencil", 4, 404, "Not Found", ["/name", "/quantity"]),
        *(1, '</api/items?limit=1&after=1>; rel="next"', 204, 404),
    ]


def test_page_shows_the_document(
    project: Path, browser: "Chromium", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its strict policy, nothing of the page is blocked, and no other host is asked."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/test.db")
    flask(project, "db", "upgrade")
    asked: list[str] = []
    browser.tab.on("request", lambda request: asked.append(request.url))
    with served(project) as client:
        origin = f"http://127.0.0.1:{client.pool.port}"
        browser.console.clear()
        browser.tab.goto(f"{origin}/docs")
        browser.tab.wait_for_selector("text=Change some fields of an item.")
        browser.tab.click("text=List items")
        browser.tab.click("text=Try it out")
        browser.tab.click("text=Execute")
        browser.tab.wait_for_selector(".live-responses-table >> text=200")
    assert [url for url in asked if not url.startswith((origin, "data:"))] == []
    assert browser.console == []
