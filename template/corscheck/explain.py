"""What a browser and this app do with a request, step by step, and why one of them says no."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from flask import Flask
from werkzeug.http import HTTP_STATUS_CODES

from app.cors import log

from .advice import Advice, in_force, policy_advice, refusal
from .browser import Exchange, Headers, Outcome, PageRequest, Response, fetch
from .chromium import console_message
from .metadata import with_metadata

is_explaining: ContextVar[bool] = ContextVar("is_explaining", default=False)


@dataclass(frozen=True)
class Explanation:
    """A page's request, its outcome, and what to change if it is not allowed.

    It is blocked by the browser or refused by the API, which may let the page read why: then
    `refused` says it. `warnings` are about the API, whether the request is allowed or not.
    """

    request: PageRequest
    url: str
    outcome: Outcome
    refused: str | None
    advice: Advice | None
    warnings: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.outcome.allowed and self.refused is None

    @property
    def console(self) -> str | None:
        """The sentence in Chromium's console."""
        return console_message(self.request.origin, self.url, self.outcome)


class OtherHost(Exception):
    """The app redirects to another host, which this process cannot call."""


def explain(app: Flask, url: str, request: PageRequest) -> Explanation:
    """Send a request through the app as a browser would, and explain the outcome.

    The app handles the request for real. Raises OtherHost if it redirects to another host.
    """
    client = app.test_client(use_cookies=False)

    def send(method: str, url_now: str, headers: Headers) -> Response:
        if urlsplit(url_now).netloc != urlsplit(url).netloc:
            raise OtherHost(
                f"{url} redirects to {url_now}, on another host: use `flask cors probe` instead"
            )
        response = client.open(
            url_now,
            base_url=urljoin(url_now, "/"),
            method=method,
            headers=list(headers),
            data=body(request, method, headers),
        )
        # Only a refusal's body is needed, and others may have no end.
        its_body = response.get_data() if response.status_code == 403 else b""
        return Response(response.status_code, tuple(response.headers), its_body)

    with explained_not_logged():
        outcome = fetch(url, request, with_metadata(send, request.origin))
    return conclude(app, url, request, outcome)


def conclude(app: Flask, url: str, request: PageRequest, outcome: Outcome) -> Explanation:
    """Return the explanation of what this app answered."""
    last = outcome.exchanges[-1] if outcome.exchanges else None
    found = in_force(app, last.url if last else url)
    refused = refusal(last, found.policy) if last else None
    if outcome.allowed and refused is None:
        return Explanation(request, url, outcome, None, None)
    advice = policy_advice(found, request, outcome.verdict, refused is not None)
    return Explanation(request, url, outcome, refused, advice)


def own_url(app: Flask) -> str:
    """Return where `flask run` serves the app."""
    return f"http://localhost:{app.config.get('RUN_PORT', 5000)}"


@contextmanager
def explained_not_logged() -> Iterator[None]:
    """Keep the requests of this thread out of the app's log, which would repeat the explanation."""
    log.logger.addFilter(is_logged)  # adds it only once
    token = is_explaining.set(True)
    try:
        yield
    finally:
        is_explaining.reset(token)


def is_logged(_: logging.LogRecord) -> bool:
    return not is_explaining.get()


def body(request: PageRequest, method: str, headers: Headers) -> bytes | None:
    """Return the body of one HTTP request: the page's, or what fits a JSON Content-Type."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return None
    if request.body is not None:
        return request.body.encode("utf-8", errors="surrogateescape")
    is_json = any(name.lower() == "content-type" and "json" in value for name, value in headers)
    return b"{}" if is_json else None


def as_text(explanation: Explanation) -> Iterator[str]:
    """Yield the explanation's lines, for a person to read."""
    for number, sent in enumerate(explanation.outcome.exchanges, start=1):
        yield from map(printable, step(number, sent))
        yield ""
    yield from map(printable, conclusion(explanation))
    yield from (f"Warning: {printable(warning)}" for warning in explanation.warnings)


def printable(line: str) -> str:
    """Return a line with control characters escaped: a server must not control the terminal."""
    return line if line.isprintable() else json.dumps(line)[1:-1]


def step(number: int, sent: Exchange) -> Iterator[str]:
    kind = "preflight" if is_preflight(sent.headers) else "request"
    yield f"{number}. {kind}: {sent.method} {sent.url}"
    yield from (f"   > {name}: {value}" for name, value in sent.headers)
    status = sent.response.status
    yield f"   < {status} {HTTP_STATUS_CODES.get(status, '')}".rstrip()
    for name, value in sent.response.headers:
        if matters(name.lower()):
            yield f"   < {name}: {value}"


def conclusion(explanation: Explanation) -> Iterator[str]:
    verdict, advice = explanation.outcome.verdict, explanation.advice
    if explanation.allowed:
        yield "Allowed: the page may read the response."
    elif explanation.refused is not None:
        yield f"Refused by the API, before its code ran: {explanation.refused}."
        if verdict.block is None:
            yield "The page may read this answer: the browser blocks nothing."
        else:
            yield f"The browser hides this answer: {verdict.block.value}."
    elif verdict.block is not None:
        where = "the preflight" if verdict.during_preflight else "the request"
        yield f"Blocked by the browser at {where}: {verdict.block.value}."
    if explanation.console:
        yield f"Chromium's console: {explanation.console}"
    if advice is not None:
        yield ""
        yield f"Why: {advice.reason}"
        yield from ways(advice)


def ways(advice: Advice) -> Iterator[str]:
    """Yield what to do to allow a request: for good, and in one deployment."""
    if advice.command:
        yield f"To allow it: {advice.command}"
    if advice.line:
        yield f"To allow it, write in app/settings.py: {advice.line}"
    if advice.variable:
        for_good = advice.command or advice.line
        yield f"{'Or for' if for_good else 'To allow it in'} one deployment: {advice.variable}"


def is_preflight(headers: Headers) -> bool:
    return any(name == "Access-Control-Request-Method" for name, _ in headers)


def matters(name: str) -> bool:
    """Return whether a response header affects the verdict, or caches of it."""
    return name.startswith("access-control-") or name in ("vary", "location", "cache-control")
