"""`flask cors`: all that `flask` imports of this package when it looks for commands.

Flask loads the commands of every package before each of its own, `flask run` too, and an error in
one breaks them all. So nothing but click is imported until `flask cors` itself runs.
"""

import os
import sys
from typing import Any

import click

# Where a context keeps the error of an app that cannot start: it is not loaded again.
FAILED = "whycors.failed"


def called_as() -> str:
    """Return the name of the command as its user typed it."""
    name = os.path.basename(sys.argv[0])
    return "whycors" if name.startswith("whycors") else "flask cors"


class Late(click.Command):
    """Hands on to the app's own command of this name, if it has one, else to this package's."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **more: Any,
    ) -> click.Context:
        command = (own_command(parent) if parent else None) or load()
        return command.make_context(info_name, args, parent, **more)


def own_command(parent: click.Context) -> click.Command | None:
    """Return the app's own command `cors`: Flask takes that of a package first."""
    from flask.cli import ScriptInfo

    try:
        app = parent.ensure_object(ScriptInfo).load_app()
    except Exception as error:  # noqa: BLE001
        parent.meta[FAILED] = error
        return None
    own = app.cli.commands.get("cors")
    if own is not None:
        parent.with_resource(app.app_context())  # as Flask does for what an app adds
    return own


def load() -> click.Command:
    try:
        from .commands import commands
    except Exception as error:  # noqa: BLE001
        raise click.ClickException(f"install this again: {error!r}") from None
    return commands


cors = Late("cors", help="Show, explain and try the CORS policy.")
