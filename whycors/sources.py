"""Where settings come from: the answers, your settings, the environment or `create_app`."""

import json
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .policies import PARSERS, Policy, PolicyError, checked, parts_of

if TYPE_CHECKING:
    from flask import Flask

# The settings that are shown beside the policy, and what the app takes where they are not set.
SHOWN = {
    "PROXIES": 0,
    "TRUSTED_HOSTS": None,
    "SECRET_KEY": None,
    "MAX_CONTENT_LENGTH": None,
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
}


def settings_in(name: str) -> dict[str, Any]:
    """Return the settings in a module of the project, none if it has no such module."""
    try:
        module = import_module(name)
    except ImportError:
        return {}
    return {key: value for key, value in vars(module).items() if key.isupper()}


def source(app: "Flask", name: str) -> str:
    """Return where a setting was set; the later source wins, as in `create_app`."""
    value = app.config.get(name)
    variable = f"FLASK_{name}"
    if variable in os.environ and value == as_app_reads(name, os.environ[variable]):
        return f"{environment_of(variable)}, {variable}"
    for module in ("app.settings", "app.answers"):
        settings = settings_in(module)
        if name in settings and value == settings[name]:
            return f"{module.replace('.', '/')}.py"
    if name not in app.config or value == SHOWN.get(name, ...):
        return "default"
    # The entry point of `flask` in projects of 3.0.0.
    return "dev.py" if name.startswith("SESSION_") and "dev" in sys.modules else "create_app"


def environment_of(variable: str) -> str:
    """Return where a variable that is set was set: in one of the files that `flask` reads?"""
    with suppress(ImportError):
        from dotenv import dotenv_values, find_dotenv

        for name in (".env", ".flaskenv"):
            path = find_dotenv(name, usecwd=True)
            if path and dotenv_values(path).get(variable) == os.environ[variable]:
                return name
    return "environment"


def as_app_reads(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    is_list = name == "TRUSTED_HOSTS" and isinstance(value, str)
    return value.replace(",", " ").split() if is_list else value


def variable_of(policy: Policy, part: str) -> str | None:
    """Return the variable that sets a part of the policy in force, None if none does."""
    variable = f"FLASK_CORS_{part.upper()}"
    if variable not in os.environ:
        return None
    value, _ = PARSERS[part](as_app_reads(f"CORS_{part.upper()}", os.environ[variable]))
    return variable if value == getattr(policy, part) else None


def without_environment(app: "Flask", policy: Policy) -> Policy:
    """Return the policy as it is where no variable overrides the answers."""
    if not (answers := settings_in("app.answers")):
        return policy
    parts = parts_of(policy)
    for part in PARSERS:
        if variable_of(policy, part):
            parts[part] = answers.get(f"CORS_{part.upper()}", True)
    with suppress(PolicyError):  # the answers may not fit CORS_PATHS
        return checked(parts, app.config.get("CORS_PATHS"))
    return policy
