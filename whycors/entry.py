"""`flask cors`: all that `flask` imports of this package when it looks for commands.

Flask loads the commands of every package before each of its own, `flask run` too, and an error in
one breaks them all. So nothing but click is imported until `flask cors` itself runs.
"""

from typing import Any

import click


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
    except Exception:  # noqa: BLE001  # said by the commands that need the app
        return None
    own = app.cli.commands.get("cors")
    if own is not None:
        parent.with_resource(app.app_context())  # as Flask does for what an app adds
    return own


def load() -> click.Command:
    try:
        from .commands import commands
    except Exception as error:  # noqa: BLE001
        raise click.ClickException(
            f"install this again, by the address in .copier-answers.yml: {error!r}"
        ) from None
    return commands


cors = Late("cors", help="Show, explain and try the CORS policy.")
