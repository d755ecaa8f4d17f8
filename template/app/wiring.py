"""Wires what your answers and settings chose. Updates change this file: do not edit it."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
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
    problems += hooks_of_flask_cors(app)
    if problems:
        raise cors.PolicyError(problems)
    cors.init_app(app, policy, flask_cors)
    operations.init_app(app, policy)


def decorated_views(app: Flask) -> list[str]:
    """Return a problem for each view that is decorated with flask-cors' `cross_origin`."""
    return [
        f"remove @cross_origin from the view {endpoint}: {instead(app, endpoint)}"
        for endpoint, view in app.view_functions.items()
        if any(is_from(part, "flask_cors.decorator") for part in parts_of(view, set()))
    ]


def hooks_of_flask_cors(app: Flask) -> list[str]:
    """Return a problem for the app and each blueprint that flask-cors was put on."""
    return [
        f"remove CORS({name or 'app'}): the policy is for the whole app, and CORS_PATHS in"
        " app/settings.py for paths with one of their own"
        for name, hooks in app.after_request_funcs.items()
        if any(is_from(hook, "flask_cors.extension") for hook in hooks)
    ]


def instead(app: Flask, endpoint: str) -> str:
    """Return what gives a view a policy of its own."""
    rule = next(app.url_map.iter_rules(endpoint)).rule
    path = rule.partition("<")[0].rstrip("/")
    if not path:
        return "its path has no start of its own, so it goes by the policy of the whole API"
    return (
        f"write the start of its path into CORS_PATHS in app/settings.py, as in"
        f" {{{path!r}: {{'origins': ['https://app.example.com']}}}}"
    )


def parts_of(view: Any, seen: set[int]) -> Iterator[Callable[..., Any]]:
    """Yield a view, what its decorators wrap, and the methods of its class."""
    if not callable(view) or id(view) in seen:
        return
    seen.add(id(view))
    yield view
    wrapped = [getattr(view, "__wrapped__", None), getattr(view, "func", None)]
    for cell in getattr(view, "__closure__", None) or ():
        with suppress(ValueError):  # it is empty
            wrapped.append(cell.cell_contents)
    if view_class := getattr(view, "view_class", None):
        wrapped += [getattr(view_class, name.lower(), None) for name in view_class.methods or ()]
    for part in wrapped:
        if inspect.isroutine(part):
            yield from parts_of(part, seen)


def is_from(function: Callable[..., Any], module: str) -> bool:
    """Return whether the code of a function is in a module, whatever its `__module__` says."""
    return bool(getattr(function, "__globals__", {}).get("__name__") == module)
