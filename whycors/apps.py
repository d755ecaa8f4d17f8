"""Finds the Flask app as `flask` does, and says in one line why there is none."""

import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .policies import NoPolicy

if TYPE_CHECKING:
    from flask import Flask
    from flask.cli import ScriptInfo


def app_option(command: click.decorators.FC) -> click.decorators.FC:
    """Add --app to a command."""
    return click.option(
        "--app",
        metavar="MODULE:NAME",
        expose_value=False,
        callback=name_app,
        help="The Flask app. By default, it is found as `flask` finds it.",
    )(command)


def name_app(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj = info_of(value)


def info_of(path: str | None) -> "ScriptInfo":
    """Return what loads the app at an import path, or at the one that Flask finds."""
    try:
        from flask.cli import ScriptInfo, load_dotenv
    except ImportError:
        raise NoPolicy("run this where the app's packages are: Flask is not here") from None
    load_dotenv()
    os.environ["FLASK_RUN_FROM_CLI"] = "true"  # so that an app.run() does nothing
    return ScriptInfo(app_import_path=path or os.environ.get("FLASK_APP"))


def load_app(context: click.Context) -> "Flask":
    """Return the app of a command. Raises NoPolicy, or ClickException if it cannot start."""
    info = context.obj or info_of(None)
    from flask.cli import FlaskGroup, NoAppException

    try:
        with click.Context(FlaskGroup()):  # to the app, it is a command of `flask`
            app: Flask = info.load_app()
    except NoAppException as error:
        first, *rest = error.format_message().splitlines()
        why = f"{first} {rest[-1]}" if rest else first
        raise NoPolicy(
            "name the app with --app MODULE:NAME, or run this in its folder and with its packages:"
            f" {why}"
        ) from None
    except click.ClickException:
        raise
    except Exception as error:  # noqa: BLE001
        raise click.ClickException(f"the app cannot start: {in_one_line(error)}") from None
    return app


def in_one_line(error: Exception) -> str:
    """Return what an error says, and the line of the project where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    here = [frame for frame in frames if frame.filename.startswith(f"{Path.cwd()}/")]
    place = (here or frames)[-1]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} ({os.path.relpath(place.filename)}:{place.lineno})"
