"""What a test stores is undone: in SQLite, or a schema of its own in DATABASE_URL. Do not edit."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from dotenv import dotenv_values
from flask import Flask
from sqlalchemy import Connection, create_engine, event, text

from app import sqldb
from app.sqldb import db, engine_options
from app.sqldb_migrations import alembic

ENV = {**dotenv_values(Path(__file__).parent.parent / ".env"), **os.environ}
R = TypeVar("R")


@contextmanager
def empty_database(folder: Path) -> Iterator[str]:
    """Yield the URL of a database with no table in it."""
    url = engine_options(ENV.get("DATABASE_URL") or "sqlite://")["url"]
    if url.drivername == "sqlite":
        yield f"sqlite:///{folder / 'test.db'}"
        return
    server, schema = create_engine(url, isolation_level="AUTOCOMMIT"), f"test_{uuid4().hex}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        try:
            url = url.update_query_dict({"options": f"-c search_path={schema}"})
            yield url.render_as_string(hide_password=False)
        finally:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


def make_bare(url: str) -> Flask:
    """Return an app that has nothing of yours but the tables."""
    app = Flask("app")
    app.config.from_mapping({"TESTING": True, "DATABASE_URL": url})
    sqldb.init_app(app)
    return app


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Yield a connection to a database with all migrations and no data."""
    folder = tmp_path_factory.mktemp("database")
    with empty_database(folder) as url:
        with make_bare(url).app_context():
            alembic.upgrade()
            engine = db.engine
        if engine.dialect.name == "sqlite":  # the driver begins a transaction too late
            event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN"))
        with engine.connect() as connection:
            yield connection
        engine.dispose()


@pytest.fixture(autouse=True)
def rolled_back(migrated: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each app of the test use one transaction, which is undone; each request has a session."""
    connect, url = db.init_app, migrated.engine.url

    def init_app(app: Any) -> None:
        connect(app)
        with app.app_context():
            if db.engine.url == url:
                db.sessionmaker.configure(bind=migrated, join_transaction_mode="create_savepoint")

    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    monkeypatch.setattr(db, "init_app", init_app)
    with migrated.begin() as transaction:
        yield
        transaction.rollback()


@pytest.fixture
def bare(migrated: Connection) -> Flask:
    """An app that has nothing of yours but the tables: no log-in, no other hook."""
    return make_bare(migrated.engine.url.render_as_string(hide_password=False))


@pytest.fixture
def add(app: Flask) -> Callable[[R], R]:
    """Store a row: `add(models.Item(name="Pencil", quantity=3)).id`."""

    def add(row: R) -> R:
        with app.app_context():
            db.session.add(row)
            db.session.commit()
        return row

    return add
