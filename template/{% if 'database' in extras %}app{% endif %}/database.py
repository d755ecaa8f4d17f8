"""The database: PostgreSQL where DATABASE_URL names it, else SQLite in the instance folder."""

import logging
import os
import sqlite3
from inspect import iscoroutinefunction
from typing import Any

from alembic.migration import MigrationContext
from click import ClickException
from flask import Flask, current_app, request
from flask.typing import ResponseReturnValue
from flask_alembic import Alembic
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy import event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    TimeoutError,
)
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import Conflict, PreconditionFailed, ServiceUnavailable

from app.models import Model

SQLITE = "sqlite:///app.db"

# Run on each new connection. What is committed survives a crash of the process and of the machine.
SQLITE_PRAGMAS = ("busy_timeout = 5000", "journal_mode = WAL", "foreign_keys = ON")

# How long to wait for PostgreSQL; the query of DATABASE_URL overrides each of them.
POSTGRESQL_TIMEOUTS = {
    "connect_timeout": "3",  # seconds
    "tcp_user_timeout": "10000",  # milliseconds without an answer of its machine
    "options": "-c statement_timeout=10s -c idle_in_transaction_session_timeout=60s",
}

# At most 15 connections a process; a request waits 5 seconds for one of them.
POSTGRESQL_POOL = {"pool_size": 5, "max_overflow": 10, "pool_timeout": 5, "pool_pre_ping": True}

RETRY_AFTER = 5  # seconds

# How a constraint that depends on other rows reports itself: PostgreSQL's codes, SQLite's messages.
CONFLICTS = ("23503", "23505", "FOREIGN KEY", "UNIQUE")

# `flask db revision` formats what it writes. Only there is ruff needed.
FORMAT_MIGRATIONS = {
    "hooks": "ruff",
    "ruff.type": "module",
    "ruff.module": "ruff",
    "ruff.options": "format --quiet REVISION_SCRIPT_FILENAME",
}

WRONG_URL = (
    "write postgresql://user:password@host/name, or sqlite:///file.db, into DATABASE_URL: what is"
    " there names no database"
)

db = SQLAlchemy(
    engine_options={"hide_parameters": True},  # values stay out of the log
    session_options={"expire_on_commit": False},
)


class Migrations(Alembic):
    def revision(self, *arguments: Any, **options: Any) -> list[Any]:
        if is_behind():
            raise ClickException("run `flask db upgrade` first: the database is older than the app")
        return super().revision(*arguments, **options)

    def run_migrations(self, fn: Any, **kwargs: Any) -> None:
        """Run migrations, all or none. Raises ClickException if rows then refer to none.

        SQLite cannot alter most of a table: Alembic makes a new one and drops the old, which would
        delete the rows that refer to it, or fail, if foreign keys were checked meanwhile.
        """
        connection = self.migration_context.connection
        if connection is None or connection.dialect.name != "sqlite":
            return super().run_migrations(fn, **kwargs)
        sqlite: Any = connection.connection.dbapi_connection

        def check_references(*arguments: Any) -> Any:
            yield from fn(*arguments)
            broken = {row[0] for row in sqlite.execute("PRAGMA foreign_key_check")}
            if broken:
                raise ClickException(
                    f"let the migration delete or change the rows of {', '.join(sorted(broken))}"
                    " that would refer to no row: nothing is migrated"
                )

        sqlite.execute("PRAGMA foreign_keys = OFF")
        sqlite.isolation_level = None  # else Python begins no transaction for a change of a table
        sqlite.execute("BEGIN IMMEDIATE")
        try:
            super().run_migrations(check_references, **kwargs)
        except BaseException:
            sqlite.rollback()
            raise
        finally:
            sqlite.isolation_level = ""
            sqlite.execute("PRAGMA foreign_keys = ON")


alembic = Migrations(metadatas=Model.metadata)


def init_app(app: Flask) -> None:
    """Connect the app to its database, at the first query. Nothing is migrated here.

    Raises ClickException if there is no place for the database, or DATABASE_URL names none.
    """
    url = app.config.get("DATABASE_URL") or os.environ.get("DATABASE_URL") or SQLITE
    app.config["SQLALCHEMY_ENGINES"] = {"default": engine_options(url)}
    app.config.setdefault("ALEMBIC_CONTEXT", {"render_as_batch": True, "transactional_ddl": True})
    app.config.setdefault("ALEMBIC", {"post_write_hooks": FORMAT_MIGRATIONS})
    try:
        db.init_app(app)
    except OSError as why:
        raise ClickException(f"set DATABASE_URL: there is no place for SQLite: {why}") from None
    # It closes async sessions, too, in an event loop for each request: ten times Flask's own work.
    app.teardown_appcontext_funcs = [
        close for close in app.teardown_appcontext_funcs if not is_async_close(close)
    ]
    alembic.init_app(app)
    # It tells its context each time, which /health/ready would repeat all day.
    logging.getLogger("alembic.runtime.migration").addFilter(is_about_a_migration)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", set_up_sqlite)
    for error in (OperationalError, InterfaceError, TimeoutError):
        app.register_error_handler(error, unavailable)
    app.register_error_handler(StaleDataError, overtaken)
    app.register_error_handler(IntegrityError, conflicting)
    app.before_request(check_migrations)


def is_about_a_migration(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or record.getMessage().startswith("Running ")


def engine_options(text: str) -> dict[str, Any]:
    """Return the options of an engine. Raises ClickException if the text names no database."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ClickException(WRONG_URL) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg":
        url = url.set(query={**POSTGRESQL_TIMEOUTS, **url.query})
        return {"url": url, **POSTGRESQL_POOL}
    if url.drivername == "sqlite":
        return {"url": url}
    raise ClickException(WRONG_URL)


def is_async_close(function: Any) -> bool:
    return function.__module__.startswith("flask_sqlalchemy_lite") and iscoroutinefunction(function)


def set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def unavailable(error: Exception) -> ResponseReturnValue:
    """Answer 503 while the database is away, locked, full or too slow."""
    current_app.logger.error("The database does not answer: %r", getattr(error, "orig", error))
    return current_app.handle_http_exception(
        ServiceUnavailable("The database does not answer. Try again.", retry_after=RETRY_AFTER)
    )


def overtaken(_error: StaleDataError) -> ResponseReturnValue:
    """Answer 412 where another request changed the same row between the read and the write."""
    return current_app.handle_http_exception(
        PreconditionFailed("It has changed since you read it. Read it again.")
    )


def conflicting(error: IntegrityError) -> ResponseReturnValue:
    """Answer 409 where a value is taken, or a row that is referred to is missing or in use.

    Catch IntegrityError in the view to say which. Any other is a fault of the app: 500.
    """
    if not (getattr(error.orig, "sqlstate", None) or str(error.orig)).startswith(CONFLICTS):
        raise error
    return current_app.handle_http_exception(Conflict("It conflicts with what is stored."))


def check_migrations() -> None:
    """Let `/health/ready` answer 503 while migrations are missing or the database is away."""
    if request.endpoint == "health.ready" and is_behind():
        raise ServiceUnavailable(
            "The database is older than the app. Run `flask db upgrade`.", retry_after=RETRY_AFTER
        )


def is_behind() -> bool:
    """Return whether a migration is missing. A database that is ahead serves the older app, too."""
    with db.engine.connect() as connection:
        applied = set(MigrationContext.configure(connection).get_current_heads())
    scripts = alembic.script_directory
    known = {script.revision for script in scripts.walk_revisions()}
    return applied <= known and not applied >= set(scripts.get_heads())
