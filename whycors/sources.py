"""Where settings come from: the answers, your settings, the environment or `create_app`."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dotenv import dotenv_values, find_dotenv
from flask import Config, Flask

from app import operations
from app.cors import Policy, PolicyError
from app.cors.parse import PARSERS

# Of the settings that are no answers.
DEFAULTS = {
    name: operations.DEFAULTS.get(name, Flask.default_config.get(name)) for name in operations.SHOWN
}


def from_object(app: Flask, name: str) -> Config:
    config = Config(app.root_path)
    config.from_object(name)
    return config


def source(app: Flask, name: str) -> str:
    """Return where a setting was set; the later source wins, as in `create_app`."""
    value = app.config.get(name)
    variable = f"FLASK_{name}"
    if variable in os.environ and value == as_app_reads(name, os.environ[variable]):
        return f"{environment_of(variable)}, {variable}"
    for module in ("app.settings", "app.answers"):
        config = from_object(app, module)
        if name in config and value == config[name]:
            return f"{module.replace('.', '/')}.py"
    if name not in app.config or value == DEFAULTS.get(name, ...):
        return "default"
    return "dev.py" if name.startswith("SESSION_") and "dev" in sys.modules else "create_app"


def environment_of(variable: str) -> str:
    in_file = dotenv_values(find_dotenv(usecwd=True)).get(variable)
    return ".env" if in_file == os.environ[variable] else "environment"


def as_app_reads(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return operations.hosts_of(value) if name == "TRUSTED_HOSTS" else value


def variable_of(policy: Policy, part: str) -> str | None:
    """Return the variable that sets a part of the policy in force, None if none does."""
    variable = f"FLASK_CORS_{part.upper()}"
    if variable not in os.environ:
        return None
    value, _ = PARSERS[part](as_app_reads(f"CORS_{part.upper()}", os.environ[variable]))
    return variable if value == getattr(policy, part) else None


def without_environment(app: Flask, policy: Policy) -> Policy:
    """Return the policy as it is where no variable overrides the answers."""
    parts = parts_of(policy)
    with suppress(ImportError, PolicyError):  # no answers, or none that fit CORS_PATHS
        answers = from_object(app, "app.answers")
        for part in PARSERS:
            if variable_of(policy, part):
                parts[part] = answers.get(f"CORS_{part.upper()}", True)
        return policy_of(parts, app.config.get("CORS_PATHS"))
    return policy


def parts_of(policy: Policy) -> dict[str, Any]:
    return {part: getattr(policy, part) for part in PARSERS}


def policy_of(parts: Mapping[str, Any], paths: Mapping[str, Any] | None) -> Policy:
    """Return the policy of these parts and CORS_PATHS. Raises PolicyError."""
    config = {f"CORS_{part.upper()}": value for part, value in parts.items()}
    return Policy.from_config({**config, "CORS_PATHS": paths})
