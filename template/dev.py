"""The app of wsgi.py with `flask cors`. On your machine, `flask` loads it (.flaskenv)."""

import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.exceptions import HTTPException, RequestHeaderFieldsTooLarge, RequestURITooLarge

import corscheck
from wsgi import app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Limits:
    """Refuses before the app what gunicorn would refuse (gunicorn.conf.py)."""

    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app
        limits = runpy.run_path(str(Path(__file__).with_name("gunicorn.conf.py")))
        self.line: int = limits["limit_request_line"]
        self.field: int = limits["limit_request_field_size"]

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        line = f"{environ['REQUEST_METHOD']} {environ.get('REQUEST_URI')} HTTP/1.1"
        refusal: HTTPException | None = None
        if len(line) > self.line:
            refusal = RequestURITooLarge()
        elif any(
            len(f"{name}: {value}\r\n".removeprefix("HTTP_")) > self.field
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ):
            refusal = RequestHeaderFieldsTooLarge()
        return (refusal or self.app)(environ, start_response)


app.wsgi_app = Limits(app.wsgi_app)  # type: ignore[method-assign]

# Safari drops a Secure cookie on http://localhost, so nobody could log in there.
app.config.update(
    SESSION_COOKIE_SECURE=False,
    SESSION_COOKIE_SAMESITE="Lax",
    SESSION_COOKIE_PARTITIONED=False,
)

app.cli.add_command(corscheck.commands)
