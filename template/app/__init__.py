"""The API: `create_app` makes it, one step a line."""

from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_cors import CORS

from app import cors, echo, errors, health


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the app, set up from app/settings.py, the environment and `config`, in this order.

    The environment sets `X` by `FLASK_X`. Raises `app.cors.PolicyError` if the CORS policy
    that comes out of the three cannot be used.
    """
    app = Flask(__name__)
    app.config.from_object("app.settings")
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})

    policy = cors.Policy.from_config(app.config)
    cors.init_app(app, policy)
    CORS(app, **policy.flask_cors_options())
    errors.init_app(app)

    app.register_blueprint(echo.bp)
    app.register_blueprint(health.bp)

    app.cli.add_command(cors.commands)
    return app
