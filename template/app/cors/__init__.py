"""The CORS policy of this app: checked at start, answered by flask-cors, kept by the template.

To change what it allows, run `copier update` or set the environment (README.md).
"""

from flask import Flask
from flask_cors import CORS

from .environment import load as load_env
from .middleware import Middleware
from .policy import Policy, PolicyError

__all__ = ["Policy", "PolicyError", "init_app", "load_env"]


def init_app(app: Flask, policy: Policy, flask_cors: CORS) -> None:
    """Put the policy in force; call it last, so that nothing is around the middleware."""
    app.extensions["cors_policy"] = policy
    propagates = bool(app.config["PROPAGATE_EXCEPTIONS"])
    app.wsgi_app = Middleware(  # type: ignore[method-assign]
        app.wsgi_app, policy, flask_cors, propagates
    )
