"""Sends one request: over the network, and explains why no response comes, or to a WSGI app here.

`http.client` keeps each header line as it came; a library would merge or reject some.
"""

import ssl
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BytesIO
from pathlib import Path
from string import punctuation
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit
from wsgiref.util import setup_testing_defaults

from .browser import Headers, Response, Send, redirect_location
from .origins import shown

# A refusal is a few lines of JSON.
MAX_BODY = 4096

FAILURES = (OSError, HTTPException, UnicodeError)


class Unreachable(Exception):
    """No response came that a browser could use. The message says why, and what to do."""


class OtherHost(Exception):
    """An app redirects to another host, which this process cannot call."""


# What is known of browsers, servers, proxies and certificates, and what is said of it.
KNOWN: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("servers.toml").read_text(encoding="utf-8")
)


def say(name: str, /, **values: object) -> str:
    text: str = KNOWN["texts"][name]
    return text.format(**values)


def say_each(*rows: tuple[str, object], **values: object) -> Iterator[str]:
    """Yield what is said of each row, a name and whether it holds, that does."""
    return (say(name, **values) for name, holds in rows if holds)


class FinalResponse(HTTPResponse):
    """Skips interim responses, such as 103 Early Hints (RFC 9110, section 15.2)."""

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200 and self.status != 101:
            self.headers = None  # type: ignore[assignment]  # `begin` reads until they are there
            super().begin()


def sender(content: str | None, timeout: float) -> Send:
    """Return a function that sends one HTTP request, with the page's body where it has one.

    Only of a 403 is the body read, since it may be the API's refusal, and of a 404, which says
    what server it is. `timeout` is in seconds, for everything: the name, the connection and the
    response. The function raises Unreachable.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    secure = partial(HTTPSConnection, context=context)

    def send(method: str, url: str, headers: Headers) -> Response:
        parts, connection, location = urlsplit(url), None, ""
        try:
            connect = secure if parts.scheme == "https" else HTTPConnection
            connection = connect(parts.hostname or "", parts.port)
            connection.response_class = FinalResponse
            sent = body(content, method, headers)
            response = within(timeout, partial(exchange, connection, method, url, headers, sent))
            location = redirect_location(response) or ""
            urlsplit(urljoin(url, location))
        except FAILURES as error:
            accepted = connection is not None and connection.sock is not None
            fault = network_fault(error, url, timeout, accepted)
        except ValueError:
            fault = f"correct the Location header, {shown(location)}: it is not a URL"
        else:
            return response
        raise Unreachable(f"{method} {shown(url)}: {fault}")

    return send


def within(timeout: float, exchange: Callable[[], Response]) -> Response:
    """Return the response of an exchange. Raises what it raises, or TimeoutError if it is late.

    A socket's own time-out starts again with each byte, and looking up a name has none. So this
    waits for a thread, and leaves it behind if it is late.
    """
    found: Future[Response] = Future()

    def run() -> None:
        try:
            found.set_result(exchange())
        except Exception as error:  # noqa: BLE001
            found.set_exception(error)

    Thread(target=run, daemon=True).start()
    return found.result(timeout)


def exchange(
    connection: HTTPConnection, method: str, url: str, headers: Headers, content: bytes | None
) -> Response:
    parts = urlsplit(url)
    target = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
    with closing(connection):
        connection.connect()
        # A server may answer, and hang up, before it has read a body that is too large for it.
        with suppress(BrokenPipeError, ConnectionResetError):
            lines = {"User-Agent": "flask cors probe", **joined(headers)}
            connection.request(method, quote(target, punctuation), content, lines)
        with connection.getresponse() as response:
            its_body = b""
            if response.status in (403, 404):
                with suppress(HTTPException):  # what cannot be read of it
                    its_body = response.read(MAX_BODY)
            return Response(response.status, tuple(response.getheaders()), its_body)


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers with the values of a name that is repeated in one, as browsers send them."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def network_fault(error: Exception, url: str, timeout: float, accepted: bool) -> str:
    """Return why a request got no response, and what to do.

    `accepted` is whether the host accepted the connection.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        rejected = f"is rejected: {error.verify_message}"
        return f"the certificate {KNOWN['certificates'].get(str(error.verify_code), rejected)}"
    texts: dict[str, str] = KNOWN["network"]
    names = [kind.__name__ for kind in type(error).__mro__]
    if isinstance(error, TimeoutError) and accepted:
        names = ["late"]
    if "got more than" in str(error):  # http.client's limits
        names = ["limit"]
    text = next(texts[name] for name in names if name in texts)
    name = shown(urlsplit(url).hostname or "")
    return text.format(host=urlsplit(url).netloc, name=name, error=error, timeout=f"{timeout:g}")


def body(content: str | None, method: str, headers: Headers) -> bytes | None:
    """Return the body of one HTTP request: the page's, or what fits a JSON Content-Type."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return None
    if content is not None:
        return content.encode("utf-8", errors="surrogateescape")
    is_json = any(name.lower() == "content-type" and "json" in value for name, value in headers)
    return b"{}" if is_json else None


def wsgi_sender(application: Any, content: str | None, first_url: str) -> Send:
    """Return a function that sends one request to a WSGI application in this process (PEP 3333).

    It raises OtherHost where a redirect leaves the host of `first_url`, and what the app raises.
    """

    def send(method: str, url: str, headers: Headers) -> Response:
        if urlsplit(url).netloc != urlsplit(first_url).netloc:
            raise OtherHost(
                f"{first_url} redirects to {url}, on another host: use `flask cors probe` instead"
            )
        started: list[tuple[int, Headers]] = []
        its_body = bytearray()

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            started.append((int(status[:3]), tuple(headers)))
            return its_body.extend

        sent = body(content, method, headers) or b""
        chunks = application(environ(method, url, headers, sent), start_response)
        for chunk in chunks:
            # Only a refusal's body is needed, and others may have no end.
            if started and started[-1][0] != 403:
                break
            its_body += chunk
        if hasattr(chunks, "close"):
            chunks.close()
        return Response(*started[-1], bytes(its_body))

    return send


def environ(method: str, url: str, headers: Headers, content: bytes) -> dict[str, Any]:
    """Return a request as a WSGI server hands it on."""
    parts = urlsplit(url)
    given = joined((f"HTTP_{name.upper().replace('-', '_')}", value) for name, value in headers)
    given["CONTENT_TYPE"] = given.pop("HTTP_CONTENT_TYPE", "")
    found = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(parts.path or "/").decode("latin-1"),
        "QUERY_STRING": parts.query,
        "CONTENT_LENGTH": str(len(content)),
        "HTTP_HOST": parts.netloc,
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": parts.scheme,
        "wsgi.input": BytesIO(content),
        "wsgi.errors": sys.stderr,
        **given,
    }
    setup_testing_defaults(found)
    return found
