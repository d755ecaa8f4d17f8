"""The OpenAPI document at `/openapi.json`, and `/docs`, a page to read it and try it.

It describes the views that have an `Operation` (app/contract.py). `API_DOCS = False` in
app/settings.py takes both away; `flask openapi` still prints the document.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Any, get_type_hints

import click
from flask import Blueprint, Flask, Response, current_app, request
from flask.cli import with_appcontext
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from app.contract import Operation, respond
from app.cors import Policy

# What your API is called, and the version of what it promises.
TITLE = "API"
VERSION = "1.0.0"

# Explained once, for every view that names them.
HEADERS = {
    "ETag": "The version of the content: send it back in `If-Match` or `If-None-Match`.",
    "If-Match": "The `ETag` of what you change. If it has changed since, the answer is 412.",
    "If-None-Match": "The `ETag` of what you have. If it is still current, the answer is 304.",
    "Link": 'The next page, as `<URL>; rel="next"`; there is none on the last page.',
    "Location": "Where what you created is.",
    "Retry-After": "After how many seconds to try again.",
}

ETAGS = r'^(\*|(W/)?"[^"]*"(, *(W/)?"[^"]*")*)$'  # RFC 9110, section 13.1.1

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}

REFERENCE = "#/components/schemas/{model}"

PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["title", "status"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "It is in the log, too."},
        "errors": {
            "description": "Each fault, where the content is not valid.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON Pointer (RFC 6901)."},
                    "message": {"type": "string"},
                },
            },
        },
    },
}

START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", validatorUrl: null});'

PAGE = f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>{START}</script>
</html>
"""

# The page loads nothing from other hosts, and runs no other script.
PAGE_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"script-src 'self' 'sha256-{b64encode(sha256(START.encode()).digest()).decode()}'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


class WithoutDefaults(GenerateJsonSchema):
    """Leaves defaults out: generators of clients take a field with one for a required field."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def init_app(app: Flask) -> None:
    app.cli.add_command(print_document)
    docs = app.config.get("API_DOCS", True)
    if docs not in (True, False):
        raise click.ClickException(f"API_DOCS: write true or false, not {docs!r}")
    if docs:
        ui = str(files("flask_swagger_ui") / "dist")
        bp = Blueprint("openapi", __name__, static_folder=ui, static_url_path="/docs")
        bp.add_url_rule("/openapi.json", "document", serve_document)
        bp.add_url_rule("/docs", "page", serve_page)
        app.register_blueprint(bp)


def serve_document() -> Response:
    servers = [{"url": request.script_root or "/"}]
    return respond({**document(current_app), "servers": servers})


def serve_page() -> Response:
    return Response(PAGE, mimetype="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@click.command("openapi")
@with_appcontext
def print_document() -> None:
    """Print the API's OpenAPI document."""
    click.echo(json.dumps(document(current_app), indent=2))


def document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of an app."""
    schemas: dict[str, Any] = {"Problem": PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation = getattr(view, "operation", None)
        if isinstance(operation, Operation):
            path = re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule.rule)
            for method in sorted(METHODS & (rule.methods or set())):
                paths.setdefault(path, {})[method.lower()] = {
                    "operationId": rule.endpoint.replace(".", "_"),
                    "tags": [rule.endpoint.rpartition(".")[0] or app.name],
                    "summary": (view.__doc__ or rule.endpoint).partition("\n")[0],
                    "parameters": [
                        *path_parameters(view, path, schemas),
                        *parameters(operation, schemas),
                    ],
                    **request_body(operation, schemas),
                    "responses": responses(operation, method, "{" in path, schemas),
                }
    headers = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": VERSION,
            "description": security(app.extensions["cors_policy"]),
        },
        "paths": paths,
        "components": {"schemas": schemas, "headers": headers},
    }


def security(policy: Policy) -> str:
    """Return what the author of a page on another origin has to know."""
    credentials = "may" if policy.supports_credentials else "may not"
    may_set = ", ".join(policy.allow_headers) or "none"
    may_read = ", ".join(policy.expose_headers) or "none"
    return (
        f"Pages on the allowed origins may use {', '.join(policy.methods)} and {credentials} send"
        f" cookies. Beside what any page may, they may set the headers {may_set}, and read the"
        f" headers {may_read}. Other pages' requests that would change data are answered 403."
        " Errors are problem details (RFC 9457)."
    )


def path_parameters(
    view: Callable[..., Any], path: str, schemas: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    hints = get_type_hints(view, include_extras=True)
    for name in re.findall(r"{(\w+)}", path):
        schema = TypeAdapter(hints.get(name, str)).json_schema(ref_template=REFERENCE)
        add(schema.pop("$defs", {}), schemas)
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def parameters(operation: Operation, schemas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the headers and the query of a request."""
    for name in operation.request_headers:
        required = name == "If-Match"
        yield {
            "name": name,
            "in": "header",
            "required": required,
            "description": HEADERS[name],
            "schema": {"type": "string", **({"pattern": ETAGS} if required else {})},
        }
    if operation.query:
        schema = operation.query.model_json_schema(ref_template=REFERENCE)
        add(schema.pop("$defs", {}), schemas)
        for name, value in schema.get("properties", {}).items():
            required = name in schema.get("required", ())
            yield {"name": name, "in": "query", "required": required, "schema": value}


def request_body(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    if operation.patch:
        name = f"{operation.patch.__name__}Patch"
        reference(operation.patch, "validation", schemas)
        schemas[name] = patch_of(schemas[operation.patch.__name__])
        schema = {"$ref": REFERENCE.format(model=name)}
        kinds = ["application/merge-patch+json", "application/json"]
    elif operation.body:
        schema = reference(operation.body, "validation", schemas)
        kinds = ["application/json"]
    elif operation.takes:
        content = {kind: {"schema": schema} for kind, schema in operation.takes.items()}
        return {"requestBody": {"required": True, "content": content}}
    else:
        return {}
    content = {kind: {"schema": schema} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


def patch_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a JSON Merge Patch: no field is needed, null removes an optional one."""
    required = schema.get("required", ())
    fields = {}
    for name, value in schema["properties"].items():
        is_optional = name not in required and {"type": "null"} not in value.get("anyOf", ())
        fields[name] = {"anyOf": [value, {"type": "null"}]} if is_optional else value
    return {
        "type": "object",
        "description": "JSON Merge Patch (RFC 7396).",
        "properties": fields,
        "additionalProperties": False,
    }


def responses(
    operation: Operation, method: str, has_parameters: bool, schemas: dict[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, model in operation.gives.items():
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": {
                name: {"$ref": f"#/components/headers/{name}"}
                for name in operation.response_headers
            },
        }
        if isinstance(model, str):
            found[str(status)]["content"] = {model: {}}
        elif model is not None:
            schema = reference(model, "serialization", schemas)
            found[str(status)]["content"] = {"application/json": {"schema": schema}}
    if "If-None-Match" in operation.request_headers:
        found["304"] = {"description": HTTPStatus(304).phrase}
    errors = {503, *operation.errors}
    if has_parameters:
        errors |= {404}
    if method != "GET":
        errors |= {403}
    if "If-Match" in operation.request_headers:
        errors |= {412, 428}
    if operation.query:
        errors |= {422}
    if operation.body or operation.patch:
        errors |= {400, 413, 415, 422}
    if operation.takes:
        errors |= {413, 415}
    for status in sorted(errors):
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {
                "application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}
            },
        }
        if status == 503:
            found["503"]["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return found


def reference(model: Any, mode: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type, and put the models in it among the schemas."""
    schema = TypeAdapter(model).json_schema(
        mode=mode, ref_template=REFERENCE, schema_generator=WithoutDefaults
    )
    add(schema.pop("$defs", {}), schemas)
    if isinstance(model, type) and schema.get("type") == "object":
        add({model.__name__: schema}, schemas)
        return {"$ref": REFERENCE.format(model=model.__name__)}
    return schema


def add(found: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Put schemas among the others. Raises ClickException if two of them have one name."""
    for name, schema in found.items():
        if schemas.setdefault(name, schema) != schema:
            raise click.ClickException(
                f"give each model its own name: two schemas are called {name}, of two classes, or"
                " of what a client writes and what it reads"
            )
