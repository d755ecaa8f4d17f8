"""What a browser does with a deployed API: finds what a proxy, cache or certificate breaks."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

import click

from .browser import (
    PageRequest,
    Response,
    Send,
    fetch,
    is_loopback_url,
    page_headers,
    preflight_headers,
)
from .causes import advice_here, policy_for, refusal
from .explain import Explanation, local_network
from .origins import with_metadata
from .policies import policy_of
from .senders import Unreachable, sender
from .trials import (
    BLOCKED,
    STRANGER,
    Found,
    Place,
    advice_without_policy,
    cache_warnings,
    check_large_body,
    check_no_origin,
    check_not_found,
    check_origin,
    check_own_page,
    check_plain_http,
    check_refusal,
    check_strangers,
    check_unlisted,
    proxy_advice,
    stranger_warnings,
    strangers,
)

if TYPE_CHECKING:
    from flask import Flask

# How many requests are sent at the same time.
PARALLEL = 4

# A run of so many steps shows its progress.
LONG = 20

HEALTH = "/health/live"
NO_ROUTE = "/no-such-path-flask-cors-probe"

WIDTH = 80


def probe(app: "Flask | None", url: str, request: PageRequest, timeout: float) -> Explanation:
    """Send a request to a deployed API as a browser would, and explain the outcome.

    The API handles the request for real. A second request, from an origin that no page has, is a
    GET, a HEAD or a preflight. The policy here is `app`'s, and the deployed one may differ;
    without an app, there is none to compare with. `timeout` is in seconds, for each response.
    Raises Unreachable.
    """
    send = sender(request.body, timeout)
    host = urlsplit(url).netloc
    outcome = fetch(url, request, with_metadata(send, request.origin))
    own = [sent.url for sent in outcome.exchanges if urlsplit(sent.url).netloc == host]
    url_here = own[-1] if own else url
    local = advice_here(app, url_here, request) if app else None
    policy = policy_for(app, url_here) if app else None
    refused = refusal(outcome.exchanges[-1], policy) if outcome.exchanges else None
    is_allowed = outcome.allowed and refused is None
    advice = None
    if not is_allowed and app:
        advice = proxy_advice(request, outcome, local)
    elif not is_allowed:
        advice = advice_without_policy(request, outcome)
    warnings = []
    is_here = is_loopback_url(url)
    if outcome.allowed and not is_here and (prompt := local_network(request.origin, url)):
        warnings.append(prompt)
    if local is not None and local is not advice:
        warnings.append(f"the policy here does not allow this: {local.reason}")
    if outcome.exchanges:
        stranger = response_to_stranger(outcome.exchanges[-1].url, request, send)
        warnings += cache_warnings(outcome.response) if outcome.allowed else []
        warnings += stranger_warnings(policy, stranger)
    return Explanation(request, url, outcome, refused, advice, tuple(warnings))


def response_to_stranger(url: str, request: PageRequest, send: Send) -> Response | None:
    """Return how the API responds to an unknown page, by a request that changes nothing."""
    stranger = replace(request, origin=STRANGER, preflight=True)
    send = with_metadata(send, STRANGER)
    with suppress(Unreachable):
        if request.method in ("GET", "HEAD"):
            return send(request.method, url, (("Origin", STRANGER), *page_headers(stranger)))
        return send("OPTIONS", url, preflight_headers(stranger) or ())
    return None


@dataclass(frozen=True)
class Check:
    """A row of the table: what was tried at a URL, how it went, and what to fix, if anything."""

    url: str
    what: str
    result: str
    faults: list[str]


@dataclass(frozen=True)
class Step:
    url: str
    what: str
    run: Callable[[], Found]

    def check(self) -> Check:
        return Check(self.url, self.what, *self.run())

    def check_or_fault(self) -> Check:
        try:
            return self.check()
        except Unreachable as error:
            return Check(self.url, self.what, BLOCKED, [str(error)])


def check_deployment(
    app: "Flask", url: str, timeout: float, body_limit: int | None, show_progress: bool
) -> list[Check]:
    """Try at a deployed API whether it keeps the policy here.

    `timeout` is in seconds, for each request, and `body_limit` in bytes. The progress is shown
    on standard error. Raises Unreachable if no response comes to the first request, and UsageError
    if there is nothing to try.
    """
    found = places(app, url, sender(None, timeout))
    if not found[0].pages:
        raise click.UsageError(
            "set FLASK_CORS_ORIGINS as in the deployment: all origins of the policy here are this"
            " machine's"
        )
    first, *others = [
        Step(place.url, origin, partial(check_origin, place, origin))
        for place in found
        for origin in place.policy.origins
    ]
    checks = [first.check(), *run(others, "Origins", show_progress)]
    rest: list[Step] = []
    for place in found:
        here = [check for check in checks if check.url == place.url]
        if all(check.result == BLOCKED for check in here):
            checks.append(Check(place.url, "all else", "not tried until then", here[0].faults))
        else:
            rest += other_steps(place)
            if place is found[0]:
                rest += steps_without_route(app, place, timeout, body_limit)
    checks += run(rest, "All else", show_progress)
    return [check for place in found for check in checks if check.url == place.url]


def run(steps: list[Step], label: str, show_progress: bool) -> list[Check]:
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        checks = pool.map(Step.check_or_fault, steps)
        if not show_progress or len(steps) < LONG:
            return list(checks)
        with click.progressbar(checks, len(steps), label, file=sys.stderr) as progress:
            return list(progress)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl+C


def places(app: "Flask", url: str, send: Send) -> list[Place]:
    """Return where to try the policy of the whole API, and that of each path in CORS_PATHS."""
    whole = policy_of(app)
    if urlsplit(url).path in ("", "/") and whole.for_path(HEALTH) is whole:
        # Where the API has a route, its answer differs from a proxy's 404.
        url = urljoin(url, HEALTH) if app.url_map.bind("").test(HEALTH, "GET") else url
    found = {url: policy_for(app, url)}
    for path, policy in whole.paths.items():
        found.setdefault(urljoin(url, quote(path)), policy)
    return [Place(where, policy, send) for where, policy in found.items()]


def other_steps(place: Place) -> Iterator[Step]:
    yield Step(place.url, "other methods and headers", partial(check_unlisted, place))
    if not place.policy.is_public:
        others = strangers(place)
        what = f"{len(others)} strangers and look-alikes"
        yield Step(place.url, what, partial(check_strangers, place, others))
        yield Step(place.url, "request without an Origin", partial(check_no_origin, place))


def steps_without_route(
    app: "Flask", place: Place, timeout: float, body_limit: int | None
) -> Iterator[Step]:
    """Yield what is tried for the whole API at a path where no code of the app's runs."""
    url, parts = place.url, urlsplit(place.url)
    path = f"{parts.path.rstrip('/').removesuffix(HEALTH)}{NO_ROUTE}"
    # Not by urljoin, which takes what follows `//` for a host.
    there = parts._replace(path=path, query="").geturl()
    place = Place(there, policy_for(app, path), place.send)
    policy = place.policy
    if policy.allows_method("GET"):
        yield Step(url, "path without a route", partial(check_not_found, place))
    routes = app.url_map.bind("")
    if policy.protection and not routes.test(path, "POST"):
        if not policy.is_public:
            yield Step(url, "a stranger's POST", partial(check_refusal, place))
        yield Step(url, "a POST of its own pages", partial(check_own_page, place))
    uploads = [one for one in ("POST", "PUT", "PATCH") if policy.allows_method(one)]
    if body_limit is not None and uploads and not routes.test(path, uploads[0]):
        body = "x" * (body_limit + 1)
        large = replace(place, send=sender(body, timeout))
        check = partial(check_large_body, large, uploads[0])
        yield Step(url, f"body of {len(body)} bytes", check)
    if parts.scheme == "https" and parts.port in (None, 443):
        plain = parts._replace(scheme="http", netloc=parts.netloc.removesuffix(":443")).geturl()
        yield Step(url, "plain http", partial(check_plain_http, plain, place.send))


def as_text(checks: list[Check]) -> Iterator[str]:
    """Yield the table and what to fix, in lines of at most 80 characters but for long URLs."""
    numbers: dict[str, int] = {}
    for fault in (fault for check in checks for fault in check.faults):
        numbers.setdefault(fault, len(numbers) + 1)
    marks = [mark({numbers[fault] for fault in check.faults}) for check in checks]
    left = max(map(len, marks))
    middle = min(max(len(check.what) for check in checks), 38)
    right = WIDTH - left - middle - 6
    url = ""
    for check, marked in zip(checks, marks, strict=True):
        if check.url != url:
            url = check.url
            yield url
        what, result = shortened(check.what, middle), shortened(check.result, right)
        yield f"  {marked:{left}}  {what:{middle}}  {result}"
    for fault, number in numbers.items():
        yield ""
        yield from textwrap.wrap(
            f"Fix {number}: {fault}", WIDTH, break_long_words=False, break_on_hyphens=False
        )
    if not numbers:
        yield "The deployed API keeps the policy here."


def mark(fixes: set[int]) -> str:
    return f"fix {','.join(map(str, sorted(fixes)))}" if fixes else "ok"


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
