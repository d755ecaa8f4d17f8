"""The policy in force: each value, where it came from, and what to think twice about."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from dotenv import dotenv_values, find_dotenv
from flask import Config, Flask

from app.cors.policy import SETTINGS, Policy
from app.cors.rules import is_loopback

# What Chromium keeps a preflight for at most, in seconds; no other browser but Firefox keeps more.
CHROMIUM_MAX_AGE = 7200


@dataclass(frozen=True)
class Setting:
    name: str
    value: Any
    source: str


def effective_settings(app: Flask) -> list[Setting]:
    """Return each setting of the policy as it is used, and where it was set."""
    values = asdict(app.extensions["cors_policy"])
    return [
        Setting(name, values[name.removeprefix("CORS_").lower()], source(app, name))
        for name in SETTINGS
    ]


def source(app: Flask, name: str) -> str:
    settings = Config(app.root_path)
    settings.from_object("app.settings")
    raw = app.config.get(name)
    variable = f"FLASK_{name}"
    if variable in os.environ:
        try:
            given = json.loads(os.environ[variable])
        except ValueError:
            given = os.environ[variable]
        if raw == given:
            in_file = dotenv_values(find_dotenv(usecwd=True)).get(variable)
            where = ".env" if in_file == os.environ[variable] else "environment"
            return f"{where}, {variable}"
    if raw == settings.get(name):
        return "app/settings.py"
    return "create_app"


def warnings(policy: Policy, debug: bool) -> list[str]:
    """Return what is allowed, and yet seldom meant where the API is deployed."""
    found = []
    if policy.is_public:
        found.append("every site may read what the API answers")
    wildcards = [origin for origin in policy.origins if origin.partition("://")[2].startswith("*.")]
    for origin in policy.origins:
        if is_loopback(origin) and not debug:
            found.append(f"{origin}: fit for development; leave it out where the API is deployed")
        elif origin.startswith("http://") and not is_loopback(origin):
            found.append(f"{origin}: anyone on the network can change a page sent by plain http")
    if policy.supports_credentials:
        if len(policy.origins) > 10:
            found.append(f"each of {len(policy.origins)} origins can act as a logged-in user")
        for origin in wildcards:
            found.append(f"{origin}: any subdomain, a forgotten one too, can act as the user")
    if "POST" not in policy.methods:
        found.append(
            "POST is not allowed, and yet browsers send one that needs no preflight: only a route"
            " that does not take it keeps it out"
        )
    if policy.max_age > CHROMIUM_MAX_AGE:
        found.append(
            f"preflights may be kept for {policy.max_age} s: Chromium keeps them for"
            f" {CHROMIUM_MAX_AGE} s, Safari for 600 s"
        )
    return found
