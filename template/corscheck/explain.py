"""What a browser does with a request to this app, step by step, and why it blocks the request."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.http import HTTP_STATUS_CODES

from app.cors import Policy, log

from .advice import Advice, policy_advice
from .browser import Exchange, Headers, Outcome, PageRequest, Response, fetch
from .chromium import console_message

is_explaining: ContextVar[bool] = ContextVar("is_explaining", default=False)


@dataclass(frozen=True)
class Explanation:
    """A page's request, its outcome, and what to change if a browser blocks it.

    `warnings` are about the API, whether the request is allowed or not.
    """

    request: PageRequest
    url: str
    outcome: Outcome
    advice: Advice | None
    warnings: tuple[str, ...] = ()

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
    policy: Policy = app.extensions["cors_policy"]

    def send(method: str, url_now: str, headers: Headers) -> Response:
        if urlsplit(url_now).netloc != urlsplit(url).netloc:
            raise OtherHost(
                f"{url} redirects to {url_now}, on another host: use `flask cors probe` instead"
            )
        response = client.open(
            url_now, method=method, headers=list(headers), data=body(method, headers)
        )
        return Response(response.status_code, tuple(response.headers))

    with explained_not_logged():
        outcome = fetch(url, request, send)
    advice = None if outcome.allowed else policy_advice(policy, request, outcome.verdict)
    return Explanation(request, url, outcome, advice)


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


def body(method: str, headers: Headers) -> bytes | None:
    """Return a body that fits the headers: an empty JSON object for a JSON Content-Type."""
    types = {name.lower(): value for name, value in headers}
    is_json = "json" in types.get("content-type", "")
    return b"{}" if is_json and method not in ("GET", "HEAD", "OPTIONS") else None


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
    verdict = explanation.outcome.verdict
    if verdict.allowed:
        yield "Allowed: the page may read the response."
        return
    assert verdict.block is not None and explanation.advice is not None
    where = "the preflight" if verdict.during_preflight else "the request"
    yield f"Blocked at {where}: {verdict.block.value}."
    if explanation.console:
        yield f"Chromium's console: {explanation.console}"
    yield ""
    yield f"Why: {explanation.advice.reason}"
    if explanation.advice.commands:
        *for_good, variable = explanation.advice.commands
        yield from (f"To allow it: {command}" for command in for_good)
        yield f"{'Or for' if for_good else 'To allow it in'} one deployment: {variable}"


def is_preflight(headers: Headers) -> bool:
    return any(name == "Access-Control-Request-Method" for name, _ in headers)


def matters(name: str) -> bool:
    """Return whether a response header affects the verdict, or caches of it."""
    return name.startswith("access-control-") or name in ("vary", "location", "cache-control")
