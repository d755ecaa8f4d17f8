"""The database: that of DATABASE_URL, else SQLite in the instance folder. Do not edit it."""

import os
from contextlib import suppress
from typing import Any

import psycopg
import sqlalchemy as sa
from click import ClickException
from flask import Flask, current_app, request
from flask.typing import ResponseReturnValue
from flask_sqlalchemy_lite import SQLAlchemy
from flask_sqlalchemy_lite._extension import _close_async_sessions
from werkzeug.exceptions import Conflict, HTTPException, NotFound, ServiceUnavailable

from app import sqldb_migrations

# Run on each new connection, which waits 5 seconds for a lock. What is committed survives a crash
# of the process and of the machine.
PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON"

# How long to wait for PostgreSQL; the query of DATABASE_URL overrides each of them.
POSTGRESQL_TIMEOUTS = {
    "connect_timeout": "3",  # seconds
    "tcp_user_timeout": "10000",  # milliseconds without an answer of its machine
    "options": "-c statement_timeout=10s -c idle_in_transaction_session_timeout=60s",
}
STALLED = 15.0  # seconds, after which it cannot even say so; POSTGRESQL_STALLED overrides it

# At most 15 connections a process; a request waits 5 seconds for one of them.
POSTGRESQL_POOL = {"pool_size": 5, "max_overflow": 10, "pool_timeout": 5, "pool_pre_ping": True}

# SQLite is busy, locked, read-only, has an I/O error, is full, or cannot open it (sqlite.org/
# rescode.html); PostgreSQL has ended a transaction that took too long.
AWAY = {5, 6, 8, 10, 13, 14, "25P03", "25P04"}

# How a constraint that depends on other rows reports itself, in SQLite and in PostgreSQL.
CONFLICTS = ("19 FOREIGN KEY", "19 UNIQUE", "23503", "23505")

db = SQLAlchemy(
    engine_options={"hide_parameters": True},  # values stay out of the log
    session_options={"expire_on_commit": False},
)


class Postgres(psycopg.Connection[Any]):
    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if request and timeout is None:  # a migration may take its time
            timeout = current_app.config.get("POSTGRESQL_STALLED", STALLED)
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:  # the next statement would wait, too
            self.close()
            raise


def init_app(app: Flask) -> None:
    """Connect the app to its database, at the first query. Nothing is migrated here.

    Raises ClickException if there is no place for the database, or DATABASE_URL names none.
    """
    url = app.config.get("DATABASE_URL") or os.environ.get("DATABASE_URL") or "sqlite:///app.db"
    app.config["SQLALCHEMY_ENGINES"] = {"default": engine_options(url)}
    try:
        db.init_app(app)
    except OSError as why:
        raise ClickException(f"set DATABASE_URL: there is no place for SQLite: {why}") from None
    app.teardown_appcontext_funcs.remove(_close_async_sessions)  # an event loop for each request
    app.teardown_appcontext(close_session)
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda made, _: made.executescript(PRAGMAS))
    else:
        sa.event.listen(engine, "do_connect", lambda _d, _r, to, by: Postgres.connect(*to, **by))
    for error in (sa.exc.DBAPIError, sa.exc.TimeoutError, OverflowError):
        app.register_error_handler(error, failed)
    sqldb_migrations.init_app(app)


def engine_options(text: str) -> dict[str, Any]:
    """Return the options of an engine. Raises ClickException if the text names no database."""
    with suppress(sa.exc.ArgumentError, ValueError):
        url = sa.make_url(text)
        if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
            query = {**POSTGRESQL_TIMEOUTS, **url.query}
            return {"url": url.set("postgresql+psycopg", query=query), **POSTGRESQL_POOL}
        if url.drivername == "sqlite":
            return {"url": url}
    raise ClickException(
        "DATABASE_URL: write postgresql://user:password@host/name, or sqlite:///file.db"
    )


def close_session(_error: object) -> None:
    """Close the session: if its connection is lost by now, the answer stays as it is."""
    try:
        db.session.close()
    except sa.exc.DBAPIError as error:
        current_app.logger.warning("A connection was lost after its last query: %r", error.orig)
        db.session.invalidate()


def failed(error: Exception) -> ResponseReturnValue:
    """Answer 503 while the database is away, 409 to a conflict, 404 to an id that cannot be.

    Catch IntegrityError in the view to say which conflict. Any other error is the app's own: 500.
    """
    cause: Any = getattr(error, "orig", error)
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorcode", 0) & 0xFF
    answer: HTTPException
    if code in AWAY or isinstance(cause, (psycopg.OperationalError, sa.exc.TimeoutError)):
        current_app.logger.error("The database does not answer: %r", cause)
        answer = ServiceUnavailable("The database does not answer. Try again.", retry_after=5)
    elif f"{code} {cause}".startswith(CONFLICTS):
        answer = Conflict("It conflicts with what is stored.")
    elif isinstance(error, (sa.exc.DataError, OverflowError)) and has_strange_id():
        answer = NotFound()
    else:
        raise error
    return current_app.handle_http_exception(answer)


def has_strange_id() -> bool:
    """Return whether the path has a number or a text that PostgreSQL's columns cannot hold."""
    parts = (request.view_args or {}).values()
    return any(part >= 2**31 if isinstance(part, int) else "\0" in str(part) for part in parts)
