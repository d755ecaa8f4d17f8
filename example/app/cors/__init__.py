"""The CORS policy of this app: checked at start, decided by flask-cors, kept by a gate.

To change it, run `copier update` or set the environment (README.md), but do not edit this folder.
"""

from contextlib import suppress
from inspect import isroutine
from io import StringIO
from pathlib import Path
from typing import Any

from click import ClickException
from dotenv import load_dotenv
from dotenv.parser import parse_stream
from flask import Flask
from flask_cors import CORS

from .gate import Gate
from .policy import Policy, PolicyError, check_names

__all__ = ["Policy", "PolicyError", "init_app", "load_env"]


def init_app(app: Flask, policy: Policy, flask_cors: CORS) -> None:
    """Put the policy in force; call it last. Raises PolicyError where other code has its own."""
    hooks = app.after_request_funcs.items()
    found = [f"CORS({name or 'app'})" for name, own in hooks if any(map(is_of_flask_cors, own))]
    views = [name for name, view in app.view_functions.items() if is_of_flask_cors(view)]
    for what in [*found, *(f"@cross_origin from the view {name}" for name in views)]:
        raise PolicyError(f"remove {what}: a path's own policy is in CORS_PATHS (settings.py)")
    app.extensions["cors_policy"] = policy
    debugs = bool(app.config["PROPAGATE_EXCEPTIONS"])
    app.wsgi_app = Gate(app.wsgi_app, policy, flask_cors, debugs)  # type: ignore[method-assign]


def is_of_flask_cors(function: Any, depth: int = 5) -> bool:
    """Return whether a function, what it wraps, or a method of its class is flask-cors' own."""
    if getattr(function, "__globals__", {}).get("__package__") == "flask_cors":
        return True
    parts = [getattr(function, "func", None)]  # of a functools.partial
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # it is empty
            parts.append(cell.cell_contents)
    if view_class := getattr(function, "view_class", None):
        parts += [getattr(view_class, name.lower(), None) for name in view_class.methods or ()]
    inner = filter(isroutine, parts if depth else [])
    return any(is_of_flask_cors(part, depth - 1) for part in inner)


def load_env(path: Path) -> None:
    """Set the variables of a .env file, if there is one; those that are set already win.

    Raises ClickException if it cannot be read, or has a line that is not an assignment: another
    policy would be in force.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ClickException(f"make {path} a readable file in UTF-8: {error}") from None
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            before = len(binding.original.string) - len(binding.original.string.lstrip())
            line = binding.original.line + binding.original.string[:before].count("\n")
            raise ClickException(f"write NAME=value in {path}, line {line}: it has another form")
    load_dotenv(stream=StringIO(text))
    check_names({})  # before Flask, which fails at FLASK_CORS_ORIGINS__0
