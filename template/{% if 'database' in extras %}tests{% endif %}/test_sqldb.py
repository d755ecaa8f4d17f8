"""The tables are as the models have them, and the app says so if they are not. Do not edit this."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click import ClickException
from flask import Flask
from sqlalchemy import inspect, text
from sqldb_fixtures import empty_database, make_bare

from app import health
from app.sqldb import db, engine_options
from app.sqldb_migrations import alembic


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Flask]:
    """An app whose database is there, without a table in it."""
    with empty_database(tmp_path) as url:
        app = make_bare(url)
        app.register_blueprint(health.bp)
        with app.app_context():
            yield app
            db.engine.dispose()


def test_migrations_lead_to_the_models_and_back(empty: Flask) -> None:
    for _ in range(2):
        alembic.upgrade()
        assert alembic.compare_metadata() == []
        alembic.downgrade("base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]


def test_app_is_ready_once_it_is_migrated(empty: Flask) -> None:
    client = empty.test_client()
    response = client.get("/health/ready")
    assert response.status_code == 503 and "flask db upgrade" in response.text
    assert client.get("/health/live").status_code == 200
    assert empty.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    assert client.get("/health/ready").status_code == 200
    with db.engine.begin() as connection:  # a newer app is deployed
        connection.execute(text("UPDATE alembic_version SET version_num = version_num || 'x'"))
    assert client.get("/health/ready").status_code == 200


def test_database_that_is_away(tmp_path: Path) -> None:
    app = make_bare(f"sqlite:///{tmp_path}/none/test.db")
    app.register_blueprint(health.bp)
    assert app.test_client().get("/health/ready").headers["Retry-After"]


def test_databases_that_are_named() -> None:
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        url = engine_options(f"{scheme}://user:secret@db.example/name?connect_timeout=9")["url"]
        assert (url.drivername, url.query["connect_timeout"]) == ("postgresql+psycopg", "9")
    for other in ("db.example", "mysql://user:secret@db.example/name"):
        with pytest.raises(ClickException, match="write postgresql://") as raised:
            engine_options(other)
        assert "secret" not in raised.value.message
