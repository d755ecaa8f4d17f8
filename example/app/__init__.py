"""The API: `create_app` makes it, one step a line."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from flask import Flask
from flask_cors import CORS

from app import cors, echo, errors, health

from . import operations


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the app, configured by your answers, your settings, the environment and `config`.

    A later one overrides an earlier one; the environment sets `X` by `FLASK_X`. Raises
    `app.cors.PolicyError` if the CORS policy that comes out of them is invalid.
    """
    app = Flask(__name__)
    app.config.from_object("app.answers")
    app.config.from_object("app.settings")
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})

    errors.init_app(app)

    app.register_blueprint(echo.bp)
    app.register_blueprint(health.bp)

    for extra in app.config["EXTRAS"]:
        import_module(extra).init_app(app)

    policy = cors.Policy.from_config(app.config)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    operations.init_app(app)
    return app
