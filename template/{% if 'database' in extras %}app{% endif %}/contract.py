"""What a view takes and gives: checked in each request, and described by `/openapi.json`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from typing import Annotated, Any, TypeVar

from flask import Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import from_json, to_json
from werkzeug.exceptions import (
    BadRequest,
    PreconditionFailed,
    PreconditionRequired,
    UnprocessableEntity,
    UnsupportedMediaType,
)
from werkzeug.http import generate_etag

M = TypeVar("M", bound=BaseModel)
View = Callable[..., ResponseReturnValue]


def as_whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


# 3.0 is an integer in JSON Schema, and a float in Python.
Integer = Annotated[int, BeforeValidator(as_whole)]


class Body(BaseModel):
    """What a client sends as JSON: no other fields, no text for a number, and no Infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Query(BaseModel):
    """What a client sends in the query: no other parameters. One that is a list may be repeated."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Operation:
    """What a view takes and gives, as a decorator below that of its route.

    The view gets `body` and `query`, checked, as arguments. `patch` is the model of what a JSON
    Merge Patch changes (`read_patched`). `gives` has the model of each success, by its status, or
    its media type where it is not JSON, and `errors` the statuses of errors that do not follow from
    the rest. `takes` describes a body that the view reads and checks itself: a JSON Schema for each
    media type, such as multipart/form-data.

    A decorator that asks for a log-in is between both: it runs before anything is checked.
    """

    gives: Mapping[int, Any]
    body: type[Body] | None = None
    patch: type[Body] | None = None
    query: type[Query] | None = None
    takes: Mapping[str, Mapping[str, Any]] | None = None
    request_headers: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()

    def __call__(self, view: View) -> View:
        @wraps(view)
        def checked(**arguments: Any) -> ResponseReturnValue:
            if self.query:
                arguments["query"] = read_query(self.query)
            if self.body:
                arguments["body"] = parse(self.body, read_body())
            return view(**arguments)

        checked.operation = self  # type: ignore[attr-defined]
        return checked


class Invalid(UnprocessableEntity):
    """Content with faults: the problem details name each of them in `errors`."""

    def __init__(self, where: str, error: ValidationError) -> None:
        super().__init__(f"The {where} is not valid: `errors` says where.")
        self.errors = [
            {"pointer": pointer(fault["loc"]), "message": fault["msg"]} for fault in error.errors()
        ]


def init_app(app: Flask) -> None:
    app.register_error_handler(Invalid, with_errors)


def with_errors(error: Invalid) -> Response:
    """Return the problem details of any 422, and the faults beside them."""
    plain = UnprocessableEntity(error.description)
    response = current_app.make_response(current_app.handle_http_exception(plain))
    response.data = json.dumps({**response.get_json(force=True), "errors": error.errors})
    return response


def pointer(location: tuple[int | str, ...]) -> str:
    """Return a place in a document as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def read_query(model: type[M]) -> M:
    """Return the query. Raises Invalid, also for a parameter that is there twice and no list."""
    values = {
        name: each if len(each) > 1 or name in lists(model) else each[0]
        for name, each in request.args.lists()
    }
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Invalid("query", error) from None


@cache
def lists(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of the parameters that are lists."""
    return frozenset(
        name
        for name, schema in model.model_json_schema().get("properties", {}).items()
        if any(option.get("type") == "array" for option in (schema, *schema.get("anyOf", ())))
    )


def read_body() -> bytes:
    """Return a body that is declared as JSON. Raises UnsupportedMediaType if it is not.

    A page on another origin cannot send JSON without a preflight.
    """
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with a Content-Type of application/json.")
    return request.get_data()


def parse(model: type[M], text: bytes) -> M:
    """Return JSON as a model. Raises BadRequest if it is no JSON, and Invalid."""
    read_json(text)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise Invalid("body", error) from None


def read_json(text: bytes) -> Any:
    """Return what JSON says. Raises BadRequest if it is no JSON, as NaN is not (RFC 8259)."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"Invalid JSON: {error}") from None


def read_patched(model: type[M], current: Mapping[str, Any]) -> M:
    """Return the current fields with the JSON Merge Patch in the body applied to them."""
    return parse(model, to_json(merged(current, read_json(read_body()))))


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch (RFC 7396, section 2): null removes a field."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def respond(content: Any, status: int = 200) -> Response:
    """Return content as JSON with its ETag; a client that has it already gets 304."""
    response = Response(to_json(content), status, mimetype="application/json")
    response.add_etag()
    response.cache_control.no_cache = True  # a browser asks each time whether it has changed
    response.cache_control.private = True  # and no cache between keeps what one user may see
    response.make_conditional(request)
    if response.status_code == PreconditionFailed.code:  # a GET with If-Match
        raise PreconditionFailed("It has changed since you read it.")
    return response


def check_version(content: Any) -> None:
    """Check that If-Match has the ETag of the content as it is: nobody has changed it since.

    Raises PreconditionRequired (428) without If-Match, and PreconditionFailed (412). ETags are
    compared weakly, because a proxy that compresses makes them weak.
    """
    if not request.if_match:
        raise PreconditionRequired("Send the ETag of what you change in If-Match.")
    if not request.if_match.contains_weak(generate_etag(to_json(content))):
        raise PreconditionFailed("It has changed since you read it. Read it again.")
