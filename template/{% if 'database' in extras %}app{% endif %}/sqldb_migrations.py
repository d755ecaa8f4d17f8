"""Migrations: what `flask db` does more than Alembic, and `/health/ready`. Do not edit it."""

import logging
import subprocess
import sys
from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from click import ClickException, echo
from flask import Flask, current_app, request
from flask_alembic import Alembic
from sqlalchemy.engine.default import DefaultDialect
from werkzeug.exceptions import ServiceUnavailable

from app.models import Model


class Migrations(Alembic):
    def revision(self, *arguments: Any, **options: Any) -> list[Any]:
        if is_behind():
            raise ClickException("run `flask db upgrade` first: the database is older than the app")
        written: list[Any] = super().revision(*arguments, **options)
        for command in ("check --select=I --fix", "format"):  # only here is ruff needed
            ruff = [sys.executable, "-m", "ruff", *command.split(), "--quiet"]
            subprocess.run([*ruff, *(script.path for script in written)], check=True)
        return written

    def run_migrations(self, fn: Any, **options: Any) -> None:
        """Run migrations, all or none. Raises ClickException if rows then refer to none.

        SQLite cannot alter most of a table: Alembic makes a new one and drops the old, which would
        delete the rows that refer to it, or fail, if foreign keys were checked meanwhile. Nothing
        else uses the connection: Flask-Alembic throws it away.
        """
        connection: Any = self.migration_context.connection
        if connection.dialect.name == "sqlite":
            sqlite = connection.connection.dbapi_connection
            sqlite.isolation_level = None  # else Python begins none for a change of a table
            sqlite.executescript("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")
            fn = partial(then_check_references, sqlite, fn)
        super().run_migrations(fn, **options)


def then_check_references(sqlite: Any, fn: Any, *arguments: Any) -> Any:
    yield from fn(*arguments)
    if broken := {row[0] for row in sqlite.execute("PRAGMA foreign_key_check")}:
        raise ClickException(
            f"let the migration delete or change the rows of {', '.join(sorted(broken))}"
            " that would refer to no row: nothing is migrated"
        )


alembic = Migrations(metadatas=Model.metadata)
# It tells its context each time, which /health/ready would repeat all day, and its plug-ins.
for name in ("alembic.runtime.migration", "alembic.runtime.plugins"):
    logging.getLogger(name).addFilter(
        lambda record: record.levelno > logging.INFO or record.msg.startswith("Running")
    )


def ask_for_default(item: Any, _name: Any, kind: str, is_stored: bool, stored: Any) -> bool:
    """Tell of a column to add that needs a value for the rows that are there."""
    is_new = kind == "column" and not is_stored and stored is None
    if is_new and not item.nullable and item.server_default is None:
        echo(f"Write server_default=… for {item}: rows that are there have no value.", err=True)
    return True  # it is compared as usual


def import_type(kind: str, item: Any, context: Any) -> bool:
    """Let a migration import the module of a type of your own."""
    if kind == "type" and not type(item).__module__.startswith("sqlalchemy."):
        context.imports.add(f"import {type(item).__module__}")
    return False  # it is written as usual


@sa.event.listens_for(sa.Table, "before_create")
def keep_autoincrement(table: sa.Table, connection: sa.Connection, **_: Any) -> None:
    """Let the copy that SQLite alters a table by hand out no id again, as the table does not."""
    name = table.name.removeprefix("_alembic_tmp_")
    if name != table.name and connection.dialect.name == "sqlite":
        run = connection.exec_driver_sql
        made = run("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).scalar_one()
        if "AUTOINCREMENT" in made.upper():
            table.dialect_options["sqlite"]["autoincrement"] = True
            copied = "INSERT INTO sqlite_sequence SELECT ?, seq FROM sqlite_sequence WHERE name = ?"
            run(copied, (table.name, name))


def init_app(app: Flask) -> None:
    """Raises ClickException where two constraints have a name that must be unique."""
    check_names()
    app.config["ALEMBIC_CONTEXT"] = {
        "render_as_batch": True,
        "transactional_ddl": True,
        "include_object": ask_for_default,
        "render_item": import_type,
        **app.config.get("ALEMBIC_CONTEXT", {}),
    }
    alembic.init_app(app)
    app.before_request(check_migrations)


def check_names() -> None:
    to_sql, names = DefaultDialect().identifier_preparer, set()
    for table in Model.metadata.tables.values():
        for each in (*table.constraints, *table.indexes):
            name = to_sql.format_constraint(each)  # type: ignore[arg-type]
            if name and name in names:
                raise ClickException(f"write a `name` for one of two constraints called {name}")
            names.add(name)


def check_migrations() -> None:
    """Let `/health/ready` answer 503 while migrations are missing or the database is away."""
    if request.endpoint == "health.ready" and is_behind():
        raise ServiceUnavailable("Run `flask db upgrade`: the database is older.", retry_after=5)


def is_behind() -> bool:
    """Return whether a migration is missing. A database that is ahead serves the older app, too."""
    with current_app.extensions["sqlalchemy"].engine.connect() as connection:
        applied = set(MigrationContext.configure(connection).get_current_heads())
    scripts = alembic.script_directory
    known = {script.revision for script in scripts.walk_revisions()}
    return applied <= known and not applied >= set(scripts.get_heads())
