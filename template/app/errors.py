"""Every error as problem details (RFC 9457), an unexpected one included."""

import json
import logging

from flask import Flask, Response, current_app, make_response
from werkzeug.exceptions import HTTPException, InternalServerError


def init_app(app: Flask) -> None:
    # In debug mode, too, an unexpected exception becomes a response that a page can read, in
    # place of Werkzeug's debugger. Set PROPAGATE_EXCEPTIONS to True to have the debugger.
    if app.config["PROPAGATE_EXCEPTIONS"] is None:
        app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, to_problem)
    logging.getLogger(app.name).addFilter(in_one_line)


def in_one_line(record: logging.LogRecord) -> bool:
    """Escape what Flask logs of a request's path: a newline in it would forge a line."""
    if isinstance(record.msg, str) and not record.msg.isprintable():
        record.msg = record.msg.encode("unicode_escape").decode()
    return True


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
