"""What views take and give, by their types: checked, and described by OpenAPI. Do not edit it."""

import json
import re
from collections.abc import Callable
from copy import copy, deepcopy
from functools import partial, wraps
from importlib.resources import files
from typing import Any, get_args, get_origin, get_type_hints

from click import echo
from flask import Blueprint, Flask, Response, current_app, request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json
from spectree import Response as Responses
from spectree import SpecTree
from spectree.model_adapter.pydantic_adapter import PydanticModelAdapter
from spectree.plugins.flask_plugin import FlaskPlugin
from werkzeug.exceptions import HTTPException, default_exceptions

View = Callable[..., Any]
as_name = partial(re.sub, r"\W", "_")  # in OpenAPI: Page_Item_ for Page[Item]


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
    """Return the first 50 faults: there may be 100,000, and each takes time."""
    report = error.json(include_url=False, include_context=False, include_input=False)
    errors = []
    for fault in from_json(report[:50_000], allow_partial=True)[:50]:
        parts = (str(part).replace("~", "~0").replace("/", "~1") for part in fault["loc"])
        errors.append(("".join(f"/{part}" for part in parts), fault.get("msg", "")))
    more = error.error_count() - len(errors)
    where = "`errors` says where" + (f", but for {more} more faults." if more else ".")
    return problem(422, f"The content is not valid: {where}", *errors)


def number(digits: str) -> float:
    """Read a number: 112.0 is an integer in JSON Schema."""
    value = float(digits)
    return int(value) if value.is_integer() else value


def read_json(model: type[BaseModel]) -> BaseModel:
    if not request.is_json:  # a page on another origin cannot send JSON without a preflight
        raise problem(415, "Send JSON, with a Content-Type of application/json.")
    try:  # `int` refuses NaN and Infinity, which are no JSON
        content = json.loads(request.get_data(), parse_float=number, parse_constant=int)
        text = to_json(content)
    except (ValueError, RecursionError) as error:
        raise problem(400, f"Invalid JSON: {error}") from None
    return model.model_validate_json(text, strict=True)


class Plugin(FlaskPlugin):
    def request_validation(
        self, request: Any, query: Any, json: Any, form: Any, headers: Any, cookies: Any
    ) -> None:
        try:
            super().request_validation(  # type: ignore[no-untyped-call]
                request, query, None, form, headers, cookies
            )
            if json:  # which SpecTree would read as {} where it is none
                request.context = request.context._replace(json=read_json(json))
        except ValidationError as error:
            raise invalid(error) from None

    def validate_response(self, *arguments: Any) -> Any:
        response, error = super().validate_response(*arguments)
        if error:  # a view gives something else than it says
            raise error
        return response, None

    def get_func_operation_id(self, func: View, path: str, method: str) -> str:
        return as_name(f"{method.lower()}{path}")


class Adapter(PydanticModelAdapter):
    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, tuple[Any, type]] = {}

    def json_schema(self, model: Any, **options: Any) -> dict[str, Any]:
        """Return a model's schema. Raises TypeError if another model has its name."""
        schema: dict[str, Any] = super().json_schema(model, **options)
        own = {key: value for key, value in schema.items() if key != "$defs"}
        for name, part in {model.__name__: own, **schema.get("$defs", {})}.items():
            found, other = self.known.setdefault(as_name(name), (part, model))
            if found != part:
                raise TypeError(f"rename a model: {other} and {model} have two called {name}")
        return schema


views = SpecTree(
    backend=Plugin,
    model_adapter=Adapter(),  # type: ignore[arg-type]
    naming_strategy=lambda model: as_name(model.__name__),
    nested_naming_strategy=lambda _parent, child: child,
    validation_error_model=Problem,
    mode="strict",  # it describes what it checks, and nothing else
)


def gives(status: int = 200) -> Callable[[View], View]:
    """Check what a view takes, by the types of `query` and `json`, and gives.

    A view gives a model, a list of them or None, or a tuple of that and headers. All is read into
    memory: leave a view undecorated that takes an upload, or gives a stream or a file.
    """

    def decorate(view: View) -> View:
        content = get_type_hints(view).get("return", Response)
        content = get_args(content)[0] if get_origin(content) is tuple else content
        if content is Response or hasattr(view, "security"):
            raise TypeError(
                f"{view.__module__}.{view.__name__}: write @gives below the decorator for a log-in,"
                " and the type that the view gives; none of both if it streams"
            )

        @wraps(view)
        def with_status(**arguments: Any) -> Any:
            given = view(**arguments)
            content, headers = given if isinstance(given, tuple) else (given, {})
            return "" if content is None else content, status, headers

        responses = Responses(**{f"HTTP_{status}": None if content is type(None) else content})
        tag = view.__module__.rpartition(".")[2]
        checked: View = views.validate(resp=responses, tags=[tag])(with_status)
        return checked

    return decorate


def secured(view: View, *schemes: str) -> View:
    """Mark what a decorator for a log-in returns: OpenAPI names these SECURITY_SCHEMES, and 401."""
    view.security = schemes  # type: ignore[attr-defined]
    if operation := views.get_function_metadata(view):
        operation.security = [{scheme: []} for scheme in schemes]
    return view


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the current app."""
    mine = copy(views)  # SpecTree keeps the first document, and takes the models apart
    mine.models = deepcopy(views.models)
    found: dict[str, Any] = mine.spec
    config = current_app.config
    title = config.get("API_TITLE", current_app.name)
    found["info"] = {"title": title, "version": config.get("API_VERSION", "1")}
    found["servers"] = [{"url": (request and request.script_root) or "/"}]
    found["components"]["securitySchemes"] = config.get("SECURITY_SCHEMES", {})
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    error = {"description": "Problem", "content": {"application/problem+json": schema}}
    for operations in found["paths"].values():
        for operation in operations.values():
            del operation["responses"]["422"]  # as application/json
            operation["responses"]["default"] = error
            if operation.get("security"):
                operation["responses"]["401"] = error
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
        bp = Blueprint("openapi", __name__, static_folder=ui, static_url_path="/docs")
        bp.add_url_rule("/openapi.json", view_func=document)
        bp.add_url_rule("/docs", "page", lambda: (PAGE, {"Content-Security-Policy": POLICY}))
        bp.add_url_rule("/docs.js", "js", lambda: Response(SCRIPT, mimetype="text/javascript"))
        app.register_blueprint(bp)
