"""Wires what your answers and settings chose. Updates change this file: do not edit it."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from flask import Flask
from flask_cors import CORS

from app import cors, operations, settings

# The parts of the policy that are yours to set in app/settings.py.
YOURS = ("CORS_PATHS", "CORS_PROTECTION")


def init_app(app: Flask, policy: cors.Policy, flask_cors: CORS) -> None:
    """Put the policy in force, and around it what every deployment needs.

    Raises `app.cors.PolicyError` where other code contradicts the policy, and
    `app.operations.SettingsError` for any other setting that is wrong.
    """
    for module in app.config.get("EXTRAS", ()):
        import_module(module).init_app(app)
    problems = [
        f"remove {name} from app/settings.py: it is an answer, which `copier update` changes in"
        " app/answers.py"
        for name in vars(settings)
        if name.startswith("CORS_") and name not in YOURS
    ]
    problems += decorated_views(app)
    if problems:
        raise cors.PolicyError(problems)
    cors.init_app(app, policy, flask_cors)
    operations.init_app(app, policy)


def decorated_views(app: Flask) -> list[str]:
    """Return a problem for each view that is decorated with flask-cors' `cross_origin`.

    A decorator around it that does not use functools.wraps hides it: then the log reports its
    headers at the first request.
    """
    return [
        f"remove @cross_origin from the view {endpoint}: write its path into CORS_PATHS in"
        f" app/settings.py, as in {{{path!r}: {{'origins': ['https://app.example.com']}}}}"
        for endpoint, view in app.view_functions.items()
        if any(is_cross_origin(part) for part in unwrapped(view))
        for path in [next(rule.rule for rule in app.url_map.iter_rules(endpoint))]
    ]


def unwrapped(view: Any) -> Iterator[Callable[..., Any]]:
    """Yield a view and what its decorators wrap."""
    while view is not None:
        yield view
        view = getattr(view, "__wrapped__", None)


def is_cross_origin(view: Callable[..., Any]) -> bool:
    return getattr(view, "__globals__", {}).get("__name__") == "flask_cors.decorator"
