"""What runs around the API: the settings checked, request ids, security headers, and the log."""

from typing import Any

import click
import structlog
from flask import Flask
from flask.cli import FlaskGroup
from flask.helpers import get_debug_flag
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import is_running_from_reloader

from ..cors import Policy
from ..cors.parse import PARSERS
from . import body, log
from .boundary import Boundary
from .settings import DEFAULTS, SHOWN, SettingsError, check, hosts_of, shown

# Origins in the first line of the log.
LISTED = 10

__all__ = ["DEFAULTS", "SHOWN", "SettingsError", "hosts_of", "init_app", "shown"]


def init_app(app: Flask, policy: Policy) -> None:
    """Put the boundary around the app and its CORS policy; call it last.

    Raises SettingsError with what to write instead of a setting that is wrong.
    """
    is_server = serves()
    check(app, is_server)
    if app.request_class is Flask.request_class:
        app.request_class = body.Request
    form = log.Format(as_text=app.config["LOG_FORMAT"] == "text")
    log.configure(app.config["LOG_LEVEL"], form)
    log.take_over(app)
    requests = log.requests(form) if is_server else None
    # The answers say so if frontends are on other sites than the API.
    others = "cross-origin" if app.config["SESSION_COOKIE_SAMESITE"] == "None" else "same-site"
    app.wsgi_app = Boundary(app.wsgi_app, others, requests)  # type: ignore[method-assign]
    # Outside all: the policy, the redirects and the log see what the proxy was asked for.
    if proxies := app.config["PROXIES"]:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies
        )
    if is_server:
        logger = structlog.get_logger()
        logger.info(
            "start",
            **in_force(policy),
            debug=bool(app.debug),
            **{name.lower(): shown(app, name) for name in SHOWN},
        )
        for path, own in policy.paths.items():
            logger.info("policy of a path", path=path, **in_force(own))


def in_force(policy: Policy) -> dict[str, Any]:
    """Return the parts of the policy, for a line of the log."""
    parts = {name: getattr(policy, name) for name in PARSERS}
    more = f" and {len(policy.origins) - LISTED} more" if len(policy.origins) > LISTED else ""
    parts["origins"] = ", ".join(policy.origins[:LISTED]) + more
    return {
        name: ", ".join(part) if isinstance(part, tuple) else part for name, part in parts.items()
    }


def serves() -> bool:
    """Return whether this process serves requests: that of `flask cors show`, say, does not.

    Nor does the one of `flask run --debug` that restarts the one that serves.
    """
    context = click.get_current_context(silent=True)  # granian, too, has one
    if context is None or not isinstance(context.find_root().command, FlaskGroup):
        return True
    if context.info_name != "run":
        return False
    reloads = context.params["reload"]
    return is_running_from_reloader() or not (get_debug_flag() if reloads is None else reloads)
