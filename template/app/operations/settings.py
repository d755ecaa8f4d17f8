"""The settings that a deployment may need: each is checked at the start."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import flask
from click import ClickException
from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from ..cors.policy import closest

# What `flask cors show` and the first line of the log report, beside the policy.
SHOWN = (
    "PROXIES",
    "TRUSTED_HOSTS",
    "SECRET_KEY",
    "MAX_CONTENT_LENGTH",
    "LOG_LEVEL",
    "LOG_FORMAT",
)

DEFAULTS = {"PROXIES": 0, "LOG_LEVEL": "INFO", "LOG_FORMAT": "json"}

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("json", "text")
HOST = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]+)?", re.IGNORECASE)


class SettingsError(ClickException, ValueError):
    """A setting is invalid; `problems` has a sentence for each.

    As it is a ClickException, `flask` prints it without a traceback.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("the settings are invalid:\n  " + "\n  ".join(problems))


def check(app: Flask, is_server: bool) -> None:
    """Set what is not set, and put the rest in order. Raises SettingsError.

    A command that serves nothing, such as `flask db upgrade`, needs no SECRET_KEY.
    """
    config = app.config
    for name, value in DEFAULTS.items():
        config.setdefault(name, value)
    config["TRUSTED_HOSTS"] = hosts_of(config["TRUSTED_HOSTS"])
    if found := list(problems(app, is_server)):
        raise SettingsError(found)


def hosts_of(value: Any) -> Any:
    """Return a list of hosts, which the environment separates by commas."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


def problems(app: Flask, is_server: bool) -> Iterator[str]:
    config = app.config
    proxies, hosts = config["PROXIES"], config["TRUSTED_HOSTS"]
    if type(proxies) is not int or proxies < 0:
        yield f"PROXIES: write 1, not {proxies!r}: it is the number of proxies in front of the app"
    if hosts is not None and (not isinstance(hosts, (list, tuple)) or not hosts):
        yield f"TRUSTED_HOSTS: write api.example.com, not {hosts!r}: it lists the API's hosts"
    else:
        yield from map(host_problem, (host for host in hosts or () if not is_host(host)))
    limit = config["MAX_CONTENT_LENGTH"]
    if limit is not None and (type(limit) is not int or limit < 0):
        yield f"MAX_CONTENT_LENGTH: write 1000000, not {limit!r}: it is a number of bytes"
    for name, choices, case in (
        ("LOG_LEVEL", LEVELS, str.upper),
        ("LOG_FORMAT", FORMATS, str.lower),
    ):
        if config[name] not in choices:
            yield f"{name}: write {closest(case(str(config[name])), choices)}, not {config[name]!r}"
    if is_server and not config["SECRET_KEY"] and (module := session_user(app)):
        yield (
            f"SECRET_KEY: set FLASK_SECRET_KEY, or write it into .env (.env.example says how);"
            f" tests take it from tests/conftest.py: {module} uses the session, which it signs"
        )


def is_host(host: Any) -> bool:
    return isinstance(host, str) and HOST.fullmatch(host) is not None


def host_problem(host: Any) -> str:
    name = re.sub(r"^[a-z]+://|^\*(?=\.)|[/?#].*", "", str(host))
    better = name if is_host(name) else "api.example.com"
    return (
        f"TRUSTED_HOSTS: write {better}, not {host!r}: an entry is the name of a host; .example.com"
        " stands for example.com and all below it"
    )


def session_user(app: Flask) -> str | None:
    """Return a module of the app, or of an extension, that has Flask's session; None if none has.

    Sessions that are not kept in a signed cookie need no key.
    """
    if not isinstance(app.session_interface, SecureCookieSessionInterface):
        return None
    package = app.import_name.partition(".")[0]
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top != package and not top.startswith("flask_"):
            continue
        if any(value is flask.session for value in getattr(module, "__dict__", {}).values()):
            return name
    return None


def shown(app: Flask, name: str) -> Any:
    """Return a setting as it can be shown: of a secret, only whether it is set."""
    value = app.config.get(name, DEFAULTS.get(name))
    if name == "SECRET_KEY":
        return "set" if value else "not set"
    return ", ".join(value) if isinstance(value, (list, tuple)) else value
