"""What a browser does with a request to this app, step by step, and why it blocks it."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.http import HTTP_STATUS_CODES

from app.cors.chromium import console_message
from app.cors.fetch import Headers, Outcome, Request, Response, fetch
from app.cors.log import EXPLAINED
from app.cors.policy import Policy
from app.cors.rules import show
from app.cors.why import Remedy, remedy


@dataclass(frozen=True)
class Explanation:
    """A request from a page, what came of it, and what to change if it is blocked.

    `warnings` are about what is allowed, and may yet go wrong.
    """

    request: Request
    url: str
    outcome: Outcome
    remedy: Remedy | None
    warnings: tuple[str, ...] = ()

    @property
    def console(self) -> str | None:
        """What Chromium's console says."""
        return console_message(self.request.origin, self.url, self.outcome)


class OtherHost(Exception):
    """The app redirects to a place that cannot be asked in-process."""


def explain(app: Flask, url: str, request: Request) -> Explanation:
    """Send a request through the app as a browser would, and say what came of it.

    The app handles it for real. Raises OtherHost if it redirects to another host.
    """
    client = app.test_client(use_cookies=False)
    policy: Policy = app.extensions["cors_policy"]

    def send(method: str, url_now: str, headers: Headers) -> Response:
        if urlsplit(url_now).netloc != urlsplit(url).netloc:
            raise OtherHost(
                f"{url} redirects to {url_now}, which is not this app: probe it instead"
            )
        response = client.open(
            url_now,
            method=method,
            headers=list(headers),
            data=body(method, headers),
            environ_overrides={EXPLAINED: True},
        )
        return Response(response.status_code, tuple(response.headers))

    outcome = fetch(url, request, send)
    mend = None if outcome.allowed else remedy(policy, request, outcome.verdict)
    return Explanation(request, url, outcome, mend)


def body(method: str, headers: Headers) -> bytes | None:
    """Return a body that fits the headers: an empty object where JSON is announced."""
    types = {name.lower(): value for name, value in headers}
    is_json = "json" in types.get("content-type", "")
    return b"{}" if is_json and method not in ("GET", "HEAD", "OPTIONS") else None


def as_text(explanation: Explanation) -> Iterator[str]:
    """Yield the lines that a person reads."""
    for number, sent in enumerate(explanation.outcome.exchanges, start=1):
        kind = "preflight" if is_preflight(sent.headers) else "request"
        yield f"{number}. {kind}: {sent.method} {show(sent.url)}"
        yield from (f"   > {name}: {show(value)}" for name, value in sent.headers)
        status = sent.response.status
        yield f"   < {status} {HTTP_STATUS_CODES.get(status, '')}".rstrip()
        yield from (
            f"   < {name}: {show(value)}"
            for name, value in sent.response.headers
            if matters(name.lower())
        )
        yield ""
    yield from conclusion(explanation)
    yield from (f"Warning: {warning}" for warning in explanation.warnings)


def conclusion(explanation: Explanation) -> Iterator[str]:
    verdict = explanation.outcome.verdict
    if verdict.allowed:
        yield "Allowed: the page may read the answer."
        return
    assert verdict.block is not None and explanation.remedy is not None
    where = "the preflight" if verdict.during_preflight else "the request"
    yield f"Blocked at {where}: {verdict.block.value}."
    if explanation.console:
        yield f"Chromium's console: {explanation.console}"
    yield ""
    yield f"Why: {explanation.remedy.miss}"
    if explanation.remedy.commands:
        *for_good, variable = explanation.remedy.commands
        yield from (f"To allow it: {command}" for command in for_good)
        yield f"{'Or for' if for_good else 'To allow it in'} one deployment: {variable}"


def is_preflight(headers: Headers) -> bool:
    return any(name == "Access-Control-Request-Method" for name, _ in headers)


def matters(name: str) -> bool:
    """Return whether a response header bears on the verdict."""
    return name.startswith("access-control-") or name in ("vary", "location", "cache-control")
