"""Every error as problem details (RFC 9457), an unexpected one included, in debug mode too."""

import json
from typing import Any

from flask import Flask, Response, current_app, make_response, request
from werkzeug.exceptions import HTTPException, InternalServerError


def init_app(app: Flask) -> None:
    # In debug and test mode Flask would raise an unexpected exception past every hook. The
    # response that its server then makes has no CORS headers, and the page cannot read it.
    if app.config["PROPAGATE_EXCEPTIONS"] is None:
        app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, to_problem)

    def log_exception(exc_info: Any) -> None:
        # Flask writes the path as it is: with a newline in it, it writes a line of its own.
        app.logger.error("Exception on %s %r", request.method, request.path, exc_info=exc_info)

    app.log_exception = log_exception  # type: ignore[method-assign]


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
    return response
