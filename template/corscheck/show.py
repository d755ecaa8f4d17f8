"""The policy in force: each value, its source, and what to think about before deploying."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dotenv import dotenv_values, find_dotenv
from flask import Config, Flask

from app.cors import Policy, rules
from app.cors.origins import is_loopback, split_origin

# How long Chromium caches a preflight at most, in seconds. Only Firefox caches them for longer.
CHROMIUM_MAX_AGE = 7200


@dataclass(frozen=True)
class Setting:
    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class Report:
    """The settings in app/answers.py as the app uses them, and what to know about them."""

    settings: list[Setting]
    warnings: list[str]
    notes: list[str]


def report(app: Flask) -> Report:
    policy: Policy = app.extensions["cors_policy"]
    used = {f"CORS_{name.upper()}": value for name, value in asdict(policy).items()}
    answers = from_object(app, "app.answers")
    return Report(
        [
            Setting(name, used.get(name, app.config.get(name)), source(app, name))
            for name in [*used, *(name for name in answers if name not in used)]
        ],
        [*origin_warnings(policy, app.debug), *other_warnings(policy)],
        list(notes(policy)),
    )


def from_object(app: Flask, name: str) -> Config:
    config = Config(app.root_path)
    config.from_object(name)
    return config


def source(app: Flask, name: str) -> str:
    """Return where a setting was set; the later source wins, as in `create_app`."""
    value = app.config.get(name)
    variable = f"FLASK_{name}"
    if variable in os.environ and value == as_flask_reads(os.environ[variable]):
        in_file = dotenv_values(find_dotenv(usecwd=True)).get(variable)
        where = ".env" if in_file == os.environ[variable] else "environment"
        return f"{where}, {variable}"
    for module in ("app.settings", "app.answers"):
        config = from_object(app, module)
        if name in config and value == config[name]:
            return f"{module.replace('.', '/')}.py"
    return "create_app"


def as_flask_reads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def origin_warnings(policy: Policy, debug: bool) -> Iterator[str]:
    """Yield origins that are valid, but rarely right in production."""
    if policy.is_public:
        yield "every site can read the API's responses"
    for origin in policy.origins:
        if is_loopback(origin):
            # The table of rules has notes on apps' origins, which are right in production too.
            if not debug and not any(rules.notes(origin)):
                yield f"{origin}: fine in development; remove it in production"
        elif origin.startswith("http://"):
            yield f"{origin}: anyone on the network can change a page that is sent over plain http"
        if "*" in split_origin(origin)[1]:
            yield from (f"{origin}: {note}" for note in rules.notes(origin))
            if policy.supports_credentials:
                yield f"{origin}: any host that matches, even a forgotten one, can act as the user"


def other_warnings(policy: Policy) -> Iterator[str]:
    """Yield what else is valid, but rarely right in production."""
    if policy.supports_credentials and len(policy.origins) > 10:
        yield f"{len(policy.origins)} origins can each act as a logged-in user"
    if "POST" not in policy.methods:
        yield (
            "POST is not allowed, but browsers send a simple POST without a preflight: make sure"
            " that no route accepts it"
        )
    if policy.max_age > CHROMIUM_MAX_AGE:
        yield (
            f"preflights may be cached for {policy.max_age} s, but Chromium caches them for at most"
            f" {CHROMIUM_MAX_AGE} s, and Safari for 600 s"
        )


def notes(policy: Policy) -> Iterator[str]:
    """Yield what to know about an origin, e.g. which origin the same app has on other systems."""
    for origin in policy.origins:
        if "*" not in origin:
            yield from (f"{origin}: {note}" for note in rules.notes(origin))


def as_text(shown: Report) -> Iterator[str]:
    """Yield the report's lines, for a person to read."""
    for setting in shown.settings:
        yield f"{setting.name}  ({setting.source})"
        if isinstance(setting.value, tuple):
            between = "\n  " if setting.name == "CORS_ORIGINS" else ", "
            yield f"  {between.join(setting.value) or 'none'}"
        elif isinstance(setting.value, bool):
            yield f"  {str(setting.value).lower()}"
        else:
            yield f"  {setting.value}"
    yield from (f"Warning: {warning}" for warning in shown.warnings)
    yield from (f"Note: {note}" for note in shown.notes)
