"""Accounts and log-in. Do not edit this folder: app/account_views.py and _mail.py are yours."""

import os
import re
from typing import Any
from urllib.parse import urlsplit

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
    "MAIL_FROM": (None, "'.+@.+'|None", "the address that mail comes from"),
    "SIGN_UP": (False, "True|False", "true or false"),
}


def init_app(app: Flask) -> None:
    """Connect it, after all views. Raises ClickException for a setting, or an open view."""
    config = app.config
    config["MAIL_URL"] = config.get("MAIL_URL") or os.environ.get("MAIL_URL")
    for name, (default, pattern, meant) in SETTINGS.items():
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
        page = urlsplit(str(config.get("PASSWORD_PAGE", "")))
        if f"{page.scheme}://{page.netloc}" not in Policy.from_config(config).exact:
            example = "https://app.example.com/password, on an origin that CORS_ORIGINS lists"
            raise ClickException(f"PASSWORD_PAGE: write the page of a frontend, such as {example}")
        if not config["MAIL_FROM"]:
            raise ClickException("MAIL_FROM: write the address that mail comes from")
        app.register_blueprint(account_views.by_mail)
        if config["SIGN_UP"]:
            app.register_blueprint(account_views.sign_up)
    elif config["SIGN_UP"]:
        raise ClickException("SIGN_UP: set MAIL_URL, too: the mail has the link to a password")
    for name, view in app.view_functions.items():
        if view in sessions.unguarded:
            raise ClickException(f"{name}: write @login_required below the route: it is open")
