"""The tables are as the models have them, and the app says so when they are not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click import ClickException
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect, text

from app import create_app
from app.database import alembic, db, engine_options


@pytest.fixture
def empty(app: Flask, tmp_path: Path) -> Iterator[Flask]:
    """An app whose database is there, without a table in it."""
    other = create_app({**app.config, "DATABASE_URL": f"sqlite:///{tmp_path}/empty.db"})
    with other.app_context():
        yield other
        db.engine.dispose()


def test_migrations_lead_to_the_models(empty: Flask) -> None:
    alembic.upgrade()
    assert alembic.compare_metadata() == []
    alembic.downgrade("base")
    assert inspect(db.engine).get_table_names() == ["alembic_version"]


def test_app_is_ready_once_it_is_migrated(empty: Flask, caplog: pytest.LogCaptureFixture) -> None:
    client = empty.test_client()
    response = client.get("/health/ready")
    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert response.json is not None
    assert "flask db upgrade" in response.json["detail"]
    assert response.headers["Retry-After"]
    assert client.get("/health/live").status_code == 200
    assert empty.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    with caplog.at_level("INFO"):
        caplog.clear()
        assert client.get("/health/ready").status_code == 200
    assert caplog.messages == []


def test_older_app_is_ready_while_a_newer_one_is_deployed(empty: Flask) -> None:
    alembic.upgrade()
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert empty.test_client().get("/health/ready").status_code == 200


def test_database_that_is_away(app: Flask, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none/test.db"
    client = create_app({**app.config, "DATABASE_URL": url}).test_client()
    for path in ("/api/items", "/health/ready"):
        response = client.get(path)
        assert (response.status_code, response.mimetype) == (503, "application/problem+json")
        assert response.headers["Retry-After"]


def test_sqlite_checks_foreign_keys_and_waits_for_a_lock(client: FlaskClient, empty: Flask) -> None:
    with db.engine.connect() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("foreign_keys", "journal_mode", "busy_timeout")
        }
    assert found == {"foreign_keys": 1, "journal_mode": "wal", "busy_timeout": 5000}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_named_in_any_way(scheme: str) -> None:
    options = engine_options(f"{scheme}://user:secret@db.example/name?connect_timeout=9")
    assert options["url"].drivername == "postgresql+psycopg"
    assert options["url"].query["connect_timeout"] == "9"
    assert "statement_timeout" in options["url"].query["options"]
    assert options["pool_pre_ping"]


@pytest.mark.parametrize(
    "url", ["db.example", "mysql://user:secret@db.example/name", "postgresql://secret@db:x/name"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ClickException, match="write postgresql://") as raised:
        engine_options(url)
    assert "secret" not in raised.value.message
