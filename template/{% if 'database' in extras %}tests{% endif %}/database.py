"""A database for each test that uses the fixture `app`: real, migrated, and rolled back after it.

It is SQLite in a temporary file; with DATABASE_URL set, a schema of its own in that PostgreSQL.
"""

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import create_engine, event, text

from app import database
from app.database import alembic, db, engine_options


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a database with all migrations and no data."""
    url = engine_options(os.environ.get("DATABASE_URL") or "sqlite://")["url"]
    if url.drivername == "sqlite":
        url = url.set(database=str(tmp_path_factory.mktemp("database") / "test.db"))
        migrate(url.render_as_string(hide_password=False))
        yield url.render_as_string(hide_password=False)
        return
    server, schema = create_engine(url, isolation_level="AUTOCOMMIT"), f"test_{uuid4().hex}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        try:
            url = url.update_query_dict({"options": f"-c search_path={schema}"})
            migrate(url.render_as_string(hide_password=False))
            yield url.render_as_string(hide_password=False)
        finally:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


def migrate(url: str) -> None:
    """Apply the migrations, in an app that has nothing but the database."""
    app = Flask("app")
    app.config["DATABASE_URL"] = url
    database.init_app(app)
    with app.app_context():
        alembic.upgrade()
        db.engine.dispose()


@pytest.fixture(autouse=True)
def rolled_back(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep each test away from the database that you develop with, and undo what it writes."""
    if "app" not in request.fixturenames:
        monkeypatch.setenv("DATABASE_URL", "sqlite://")
        yield
        return
    monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("migrated_database"))
    app: Flask = request.getfixturevalue("app")
    with app.app_context():
        engine, sessionmaker = db.engine, db.sessionmaker
    if engine.dialect.name == "sqlite":  # the driver begins a transaction too late
        event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN"))
    with engine.connect() as connection:
        transaction = connection.begin()
        sessionmaker.configure(bind=connection, join_transaction_mode="create_savepoint")
        yield  # without an app context: each request has its own session, as when it is served
        transaction.rollback()
    engine.dispose()
