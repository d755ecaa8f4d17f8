"""The database: PostgreSQL where DATABASE_URL names it, else SQLite. Do not edit it."""

import logging
import os
import sqlite3
from contextlib import suppress
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic.migration import MigrationContext
from click import ClickException
from flask import Flask, current_app, request
from flask.typing import ResponseReturnValue
from flask_alembic import Alembic
from flask_sqlalchemy_lite import SQLAlchemy
from flask_sqlalchemy_lite._extension import _close_async_sessions
from sqlalchemy.dialects.postgresql import dialect
from werkzeug.exceptions import Conflict, HTTPException, NotFound, ServiceUnavailable

from app.models import Model

# Run on each new connection. What is committed survives a crash of the process and of the machine.
SQLITE = ("busy_timeout = 5000", "journal_mode = WAL", "foreign_keys = ON")

# How long to wait for PostgreSQL; the query of DATABASE_URL overrides each of them.
POSTGRESQL = {
    "connect_timeout": "3",  # seconds
    "tcp_user_timeout": "10000",  # milliseconds without an answer of its machine
    "options": "-c statement_timeout=10s -c idle_in_transaction_session_timeout=60s",
}
STALLED = 15.0  # seconds after which it cannot even say so

# At most 15 connections a process; a request waits 5 seconds for one of them.
POSTGRESQL_POOL = {"pool_size": 5, "max_overflow": 10, "pool_timeout": 5, "pool_pre_ping": True}

# SQLite is busy, locked, read-only, full, or cannot read, write or open (sqlite.org/rescode.html).
AWAY = {5, 6, 8, 10, 13, 14}
# A constraint that depends on other rows: PostgreSQL's codes, SQLite's messages.
CONFLICTS = ("23503", "23505", "FOREIGN KEY", "UNIQUE")

db = SQLAlchemy(
    engine_options={"hide_parameters": True},  # values stay out of the log
    session_options={"expire_on_commit": False},
)


class Postgres(psycopg.Connection[Any]):
    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or STALLED)
        except psycopg.OperationalError:  # the next statement would wait, too
            self.close()
            raise


class Migrations(Alembic):
    def revision(self, *arguments: Any, **options: Any) -> list[Any]:
        if is_behind():
            raise ClickException("run `flask db upgrade` first: the database is older than the app")
        return super().revision(*arguments, **options)

    def run_migrations(self, fn: Any, **options: Any) -> None:
        """Run migrations, all or none. Raises ClickException if rows then refer to none.

        SQLite cannot alter most of a table: Alembic makes a new one and drops the old, which would
        delete the rows that refer to it, or fail, if foreign keys were checked meanwhile.
        """
        connection = self.migration_context.connection
        if connection is None or connection.dialect.name != "sqlite":
            return super().run_migrations(fn, **options)
        sqlite: Any = connection.connection.dbapi_connection

        def check_references(*arguments: Any) -> Any:
            yield from fn(*arguments)
            if tables := {row[0] for row in sqlite.execute("PRAGMA foreign_key_check")}:
                names = ", ".join(sorted(tables))
                raise ClickException(f"let the migration change rows of {names} that refer to none")

        sqlite.execute("PRAGMA foreign_keys = OFF")
        sqlite.isolation_level = None  # else Python begins no transaction for a change of a table
        sqlite.execute("BEGIN IMMEDIATE")
        try:
            super().run_migrations(check_references, **options)
        finally:
            sqlite.rollback()  # of what is not committed
            sqlite.isolation_level = ""
            sqlite.execute("PRAGMA foreign_keys = ON")


alembic = Migrations(metadatas=Model.metadata)
# It tells its context each time, which /health/ready would repeat all day.
logging.getLogger("alembic.runtime.migration").addFilter(lambda it: it.msg.startswith("Running"))
logging.getLogger("alembic.runtime.plugins").setLevel("WARNING")


@sa.event.listens_for(sa.Table, "before_create")
def keep_autoincrement(table: sa.Table, connection: sa.Connection, **_: Any) -> None:
    """Let the copy that SQLite alters a table by hand out no id again, as the table does not."""
    name = table.name.removeprefix("_alembic_tmp_")
    if name != table.name and connection.dialect.name == "sqlite":
        run = connection.exec_driver_sql
        made = run("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).scalar_one()
        if "AUTOINCREMENT" in made:
            table.dialect_options["sqlite"]["autoincrement"] = True
            copied = "INSERT INTO sqlite_sequence SELECT ?, seq FROM sqlite_sequence WHERE name = ?"
            run(copied, (table.name, name))


def import_type(kind: str, item: Any, context: Any) -> bool:
    """Let a migration import the module of a type of your own."""
    if kind == "type" and not type(item).__module__.startswith("sqlalchemy."):
        context.imports.add(f"import {type(item).__module__}")
    return False  # it is written as usual


def init_app(app: Flask) -> None:
    """Connect the app to its database, at the first query. Nothing is migrated here.

    Raises ClickException if there is no place for the database, or DATABASE_URL names none.
    """
    check_names()
    url = app.config.get("DATABASE_URL") or os.environ.get("DATABASE_URL") or "sqlite:///app.db"
    app.config["SQLALCHEMY_ENGINES"] = {"default": engine_options(url)}
    context = {"render_as_batch": True, "transactional_ddl": True, "render_item": import_type}
    app.config.setdefault("ALEMBIC_CONTEXT", context)
    ruff = {"hooks": "ruff", "ruff.type": "module", "ruff.module": "ruff"}  # which only it needs
    ruff["ruff.options"] = "format --quiet REVISION_SCRIPT_FILENAME"
    app.config.setdefault("ALEMBIC", {"post_write_hooks": ruff})
    try:
        db.init_app(app)
    except OSError as why:
        raise ClickException(f"set DATABASE_URL: there is no place for SQLite: {why}") from None
    app.teardown_appcontext_funcs.remove(_close_async_sessions)  # by an event loop a request
    app.teardown_appcontext(close_session)
    alembic.init_app(app)
    with app.app_context():
        on = "connect" if db.engine.dialect.name == "sqlite" else "do_connect"
        sa.event.listen(db.engine, on, set_up_sqlite if on == "connect" else connect)
    for error in (sa.exc.DBAPIError, sa.exc.TimeoutError, OverflowError):
        app.register_error_handler(error, failed)
    app.before_request(check_migrations)


def check_names() -> None:
    """Raise ClickException where two constraints or indexes have a name that must be unique."""
    sql, names = dialect().identifier_preparer, set()  # type: ignore[no-untyped-call]
    for table in Model.metadata.tables.values():
        for each in (*table.constraints, *table.indexes):
            in_table = isinstance(each, (sa.ForeignKeyConstraint, sa.CheckConstraint))
            name = sql.format_constraint(each)  # type: ignore[arg-type]
            if (name, in_table and table) in names:
                raise ClickException(f"app.models: write a `name` for one of two called {name}")
            names.add((name, in_table and table) if name else None)


def engine_options(text: str) -> dict[str, Any]:
    """Return the options of an engine. Raises ClickException if the text names no database."""
    with suppress(sa.exc.ArgumentError, ValueError):
        url = sa.make_url(text)
        if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
            url = url.set(drivername="postgresql+psycopg", query={**POSTGRESQL, **url.query})
            return {"url": url, **POSTGRESQL_POOL}
        if url.drivername == "sqlite":
            return {"url": url}
    raise ClickException(
        "write postgresql://user:password@host/name, or sqlite:///file.db, into DATABASE_URL: what"
        " is there names no database"
    )


def set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in SQLITE:
        connection.execute(f"PRAGMA {pragma}")


def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Postgres:
    return Postgres.connect(*arguments, **options)


def close_session(_error: object) -> None:
    """Close the session. If its connection is lost by now, the answer stays as it is."""
    try:
        db.session.close()
    except sa.exc.DBAPIError as error:
        current_app.logger.warning("A connection was lost after its last query: %r", error.orig)
        db.session.invalidate()


def failed(error: Exception) -> ResponseReturnValue:
    """Answer 503 while the database is away, 409 to a conflict, 404 to an id that cannot be.

    Catch IntegrityError in the view to say which conflict. Any other error is the app's own: 500.
    """
    cause = getattr(error, "orig", error)
    parts = (request.view_args or {}).values()
    answer: HTTPException
    if is_away(cause):
        current_app.logger.error("The database does not answer: %r", cause)
        answer = ServiceUnavailable("The database does not answer. Try again.", retry_after=5)
    elif (getattr(cause, "sqlstate", None) or str(cause)).startswith(CONFLICTS):
        answer = Conflict("It conflicts with what is stored.")
    elif any(part >= 2**31 if isinstance(part, int) else "\0" in str(part) for part in parts):
        answer = NotFound()
    else:
        raise error
    return current_app.handle_http_exception(answer)


def is_away(cause: Any) -> bool:
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in AWAY
    if isinstance(cause, psycopg.InternalError):
        return cause.sqlstate in ("25P03", "25P04")  # it was idle, or its transaction too long
    return isinstance(cause, (psycopg.OperationalError, sa.exc.TimeoutError))


def check_migrations() -> None:
    """Let `/health/ready` answer 503 while migrations are missing or the database is away."""
    if request.endpoint == "health.ready" and is_behind():
        why = "The database is older than the app. Run `flask db upgrade`."
        raise ServiceUnavailable(why, retry_after=5)


def is_behind() -> bool:
    """Return whether a migration is missing. A database that is ahead serves the older app, too."""
    with db.engine.connect() as connection:
        applied = set(MigrationContext.configure(connection).get_current_heads())
    scripts = alembic.script_directory
    known = {script.revision for script in scripts.walk_revisions()}
    return applied <= known and not applied >= set(scripts.get_heads())
