"""What views take and give: checked by their types, and described at `/docs`. Do not edit it."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from importlib.resources import files
from typing import Any, get_args, get_origin, get_type_hints

import spectree
from click import echo
from flask import Blueprint, Flask, Response, current_app, request, send_from_directory
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json
from spectree.model_adapter.pydantic_adapter import PydanticModelAdapter
from spectree.plugins.flask_plugin import FlaskPlugin
from werkzeug.exceptions import HTTPException, default_exceptions

View = Callable[..., Any]


class Input(BaseModel, extra="forbid", allow_inf_nan=False):
    """What a client sends: no other fields, and in JSON no text for a number."""


class Problem(BaseModel):
    """Problem details (RFC 9457). `errors` has a JSON Pointer to each fault, and a message."""

    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None
    errors: list[dict[str, str]] = []


def problem(status: int, detail: str, *errors: tuple[str, str]) -> HTTPException:
    """Return an error to raise: `raise problem(409, "Choose another.", ("/name", "is taken"))`."""
    error: Any = default_exceptions[status](detail)
    error.errors = [{"pointer": pointer, "message": message} for pointer, message in errors]
    return error  # type: ignore[no-any-return]


def invalid(error: ValidationError) -> HTTPException:
    """Return the first faults: there may be 100,000, and each takes time."""
    report = error.json(include_url=False, include_context=False, include_input=False)
    faults = from_json(report[:50_000], allow_partial=True)[:50]
    errors = [(pointer(fault["loc"]), fault["msg"]) for fault in faults if "msg" in fault]
    more = error.error_count() - len(errors)
    rest = f", but for {more} more faults" if more else ""
    return problem(422, f"The content is not valid: `errors` says where{rest}.", *errors)


def pointer(location: list[int | str]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def number(digits: str) -> float:
    value = float(digits)
    return int(value) if value.is_integer() else value  # 112.0 is an integer in JSON Schema


class Plugin(FlaskPlugin):
    def find_routes(self) -> Any:
        return current_app.url_map.iter_rules()  # its own leaves out names such as /static-pages

    def request_validation(self, request: Any, query: Any, json: Any, *others: Any) -> None:
        try:
            super().request_validation(request, query, None, *others)  # type: ignore[no-untyped-call]
            if json:  # SpecTree itself takes what is none for {}
                request.context = request.context._replace(json=read_json(json))
        except ValidationError as error:
            raise invalid(error) from None

    def validate_response(self, given: Any, responses: Any, *others: Any) -> Any:
        content, headers = given if isinstance(given, tuple) else (given, {})
        given = "" if content is None else content, responses.status, headers
        return super().validate_response(given, responses, *others)


def read_json(model: type[BaseModel]) -> BaseModel:
    if not request.is_json:  # a page on another origin cannot send JSON without a preflight
        raise problem(415, "Send JSON, with a Content-Type of application/json.")
    try:  # `int` refuses NaN and Infinity, which are no JSON
        text = to_json(json.loads(request.get_data(), parse_float=number, parse_constant=int))
    except (ValueError, RecursionError) as error:
        raise problem(400, f"Invalid JSON: {error}") from None
    return model.model_validate_json(text, strict=True)


class Adapter(PydanticModelAdapter):
    validation_error: Any = ()  # SpecTree catches none: a view that gives something else is 500

    def json_schema(self, model: Any, **options: Any) -> dict[str, Any]:
        schema: dict[str, Any] = super().json_schema(model, **options)
        for name, part in {model.__name__: schema, **schema.get("$defs", {})}.items():
            known, other = schemas.setdefault(as_name(name), (part, model))
            if {**known, "$defs": 0} != {**part, "$defs": 0}:  # which only the outermost has
                raise ValueError(f"rename a model: {other} and {model} have two called {name}")
        return schema


as_name = partial(re.sub, r"\W", "_")  # in OpenAPI: Page_Item_ for Page[Item]
schemas: dict[str, tuple[Any, type]] = {}
views = spectree.SpecTree(
    backend=Plugin,
    model_adapter=Adapter(),  # type: ignore[arg-type]
    naming_strategy=lambda model: as_name(model.__name__),
    nested_naming_strategy=lambda _parent, child: child,
    validation_error_model=Problem,
    mode="strict",  # it describes what it checks, and nothing else
)


def gives(status: int = 200) -> Callable[[View], View]:
    """Check what a view takes, by the types of `query` and `json`, and what it gives.

    It gives a model, a list of them or None, or a tuple of that and headers. All is read into
    memory: leave a view undecorated that takes an upload, or gives a stream or a file.
    """

    def decorate(view: View) -> View:
        if hasattr(view, "security"):
            raise TypeError(f"write @gives below the log-in's decorator: {view.__qualname__}")
        try:
            given = get_type_hints(view)["return"]
            given = get_args(given)[0] if get_origin(given) is tuple else given
            content = {f"HTTP_{status}": None if given is type(None) else given}
            responses: Any = spectree.Response(**content)
            responses.status = status
            decorator = views.validate(resp=responses, tags=[view.__module__.split(".")[-1]])
            return decorator(view)  # type: ignore[no-any-return]
        except (AssertionError, KeyError, NameError, TypeError) as error:
            raise TypeError(f"write which model {view.__qualname__} gives, or no @gives") from error

    return decorate


def secured(view: View, *schemes: str) -> View:
    """Mark what a decorator for a log-in returns: OpenAPI names these SECURITY_SCHEMES, and 401."""
    view.security = schemes  # type: ignore[attr-defined]
    if operation := views.get_function_metadata(view):
        operation.security = [{scheme: []} for scheme in schemes]
    return view


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the current app."""
    found: dict[str, Any] = deepcopy(views).spec  # SpecTree keeps the first that it makes
    config = current_app.config
    found["info"] = {"title": config.get("API_TITLE", current_app.name), "version": "1.0.0"}
    found["servers"] = [{"url": (request and request.script_root) or "/"}]
    found["components"]["securitySchemes"] = config.get("SECURITY_SCHEMES", {})
    content = {"schema": {"$ref": "#/components/schemas/Problem"}}
    problem = {"description": "Problem", "content": {"application/problem+json": content}}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            operation["operationId"] = as_name(f"{method}{path}")
            del operation["responses"]["422"]  # as application/json
            failures = ("401", "default") if operation.get("security") else ("default",)
            operation["responses"] |= dict.fromkeys(failures, problem)
    return found


PAGE = """<!doctype html>
<title>API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs.js"></script>
"""
SCRIPT = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", validatorUrl: null})'
POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"


def init_app(app: Flask) -> None:
    @app.cli.command("openapi")
    def print_document() -> None:
        """Print the API's OpenAPI document."""
        echo(json.dumps(document(), indent=2))

    if app.config.get("API_DOCS", True):
        ui = str(files("flask_swagger_ui") / "dist")
        send = partial(send_from_directory, ui, conditional=False, max_age=3600)
        bp = Blueprint("openapi", __name__)
        bp.add_url_rule("/openapi.json", view_func=document)
        bp.add_url_rule("/docs", "page", lambda: (PAGE, {"Content-Security-Policy": POLICY}))
        bp.add_url_rule("/docs.js", "js", lambda: Response(SCRIPT, mimetype="text/javascript"))
        bp.add_url_rule("/docs/<path:path>", "file", send)
        app.register_blueprint(bp)
