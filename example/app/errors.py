"""Every error as problem details (RFC 9457), an unexpected one included."""

import json

from flask import Flask, Response, current_app, make_response, request
from werkzeug.exceptions import HTTPException, InternalServerError


def init_app(app: Flask) -> None:
    # In debug mode, too, an unexpected exception becomes a response that a page can read, in
    # place of Werkzeug's debugger. Set PROPAGATE_EXCEPTIONS to True to have the debugger.
    if app.config["PROPAGATE_EXCEPTIONS"] is None:
        app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, to_problem)


def to_problem(error: HTTPException) -> Response:
    """Return the error's response, headers and all, with problem details for a body."""
    if error.response is not None:
        return make_response(error.response)
    response = make_response(error)
    detail = error.description
    if isinstance(error, InternalServerError) and current_app.debug and error.original_exception:
        detail = repr(error.original_exception)
    problem = {"title": error.name, "status": response.status_code, "detail": detail}
    response.data = json.dumps(problem)
    response.content_type = "application/problem+json"
    add = {"request_id": request.environ.get("app.request_id"), "errors": vars(error).get("errors")}
    response.data = json.dumps({**problem, **{name: it for name, it in add.items() if it}})
    return response
