"""Every error as problem details (RFC 9457), an unexpected one included, in debug mode too."""

import json
import logging

from flask import Flask, Response, current_app, make_response
from werkzeug.exceptions import HTTPException, InternalServerError


def init_app(app: Flask) -> None:
    # In debug and test mode Flask would raise an unexpected exception past every hook. The
    # response that its server then makes has no CORS headers, and the page cannot read it.
    if app.config["PROPAGATE_EXCEPTIONS"] is None:
        app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, to_problem)
    # `app.logger` would set up a handler here, before the owner of the app has a say.
    logging.getLogger(app.name).addFilter(keep_to_one_line)


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


def keep_to_one_line(record: logging.LogRecord) -> bool:
    """Escape what would break a line: Flask logs the path, and that can hold a newline."""
    message = record.getMessage()
    if not message.isprintable():
        record.msg = message.encode("unicode_escape").decode("ascii")
        record.args = ()
    return True
