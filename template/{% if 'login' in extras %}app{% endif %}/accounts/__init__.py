"""Accounts and log-in. Do not edit this folder: app/account_views.py and _mail.py are yours."""

import os
import re
from typing import Any

from click import ClickException
from flask import Flask

from app import account_views
from app.accounts import commands, sessions
from app.accounts.models import Account
from app.accounts.sessions import login_required
from app.cors import Policy
from app.operations import serves

__all__ = ["Account", "init_app", "login_required"]

# Each setting: its default, the `repr` of what it may be, and what to write.
SETTINGS: dict[str, tuple[Any, str, str]] = {
    "LOGIN_IDLE_DAYS": (14, r"[1-9]\d{0,3}", "after how many days without use a session ends"),
    "LOGIN_DAYS": (30, r"[1-9]\d{0,3}", "after how many days a session ends"),
    "PASSWORD_MIN_LENGTH": (15, r"[89]|[1-9]\d|1[01]\d|12[0-8]", "a number from 8 to 128"),
    "MAIL_URL": (None, "'(smtp://|log:).*'|None", "smtp://user:password@host:587, or log:"),
    "SIGN_UP": (False, "False", "false, or set MAIL_URL, too: the mail has the link to a password"),
}
PAGE = "the page of a frontend, on an origin in CORS_ORIGINS, as https://app.example.com/password"


def init_app(app: Flask) -> None:
    """Connect it, after all views. Raises ClickException for a setting, or an open view."""
    config, settings = app.config, SETTINGS
    config["MAIL_URL"] = config.get("MAIL_URL") or os.environ.get("MAIL_URL")
    if config["MAIL_URL"]:
        origins = "|".join(map(re.escape, Policy.from_config(config).exact))
        settings = SETTINGS | {
            "PASSWORD_PAGE": (None, f"'(?=http)({origins})(/.*)?'", PAGE),
            "MAIL_FROM": (None, "'.+@.+'", "the address that mail comes from"),
            "SIGN_UP": (False, "True|False", "true or false"),
        }
    for name, (default, pattern, meant) in settings.items():
        if not re.fullmatch(pattern, repr(config.setdefault(name, default)), re.ASCII):
            raise ClickException(f"{name}: write {meant}")  # what is there may be a secret
    # All requests through a proxy that is not counted have its address.
    counts = bool(config.get("PROXIES") or not config["SESSION_COOKIE_SECURE"])
    if not config.setdefault("LOGIN_COUNTS_NETWORKS", counts) and serves():
        app.logger.warning("PROXIES: write how many are in front: no network's guesses are counted")
    with app.app_context():
        scheme = {"type": "apiKey", "in": "cookie", "name": sessions.cookie_name("cookie")}
    config["SECURITY_SCHEMES"] = {"cookie": scheme, "token": {"type": "http", "scheme": "bearer"}}
    app.cli.add_command(commands.users)
    app.register_blueprint(account_views.bp)
    if config["MAIL_URL"]:
        app.register_blueprint(account_views.by_mail)
    if config["SIGN_UP"]:
        app.register_blueprint(account_views.sign_up)
    for name, view in app.view_functions.items():
        if view in sessions.unguarded:
            raise ClickException(f"{name}: write @login_required below the route: it is open")
