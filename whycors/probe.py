"""What a browser does with a deployed API: finds what a proxy, cache or certificate breaks."""

import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import click

from . import browser, trials
from .browser import Headers, PageRequest, Response, Send
from .causes import Advice, Change, advice_here, lost_cookies, refusal
from .entry import called_as
from .explain import Explanation, local_network
from .origins import STRANGER, with_metadata
from .policies import SAFE_METHODS, Policy, longest_prefix, policy_for, policy_of, route_of
from .senders import Unreachable, sender
from .trials import BLOCKED, UNKNOWN, Found, Note, Place

if TYPE_CHECKING:
    from flask import Flask

# How many requests are sent at the same time.
PARALLEL = 4

# A run of so many steps shows its progress.
LONG = 20

HEALTH = "/health/live"
NO_ROUTE = "/no-such-path-flask-cors-probe"

WIDTH = 80


def probe(
    app: Any, url: str, request: PageRequest, timeout: float, send: bool = False
) -> Explanation:
    """Send a request to a deployed API as a browser would, and explain the outcome.

    In the place of a method that may change data, a GET is sent, unless `send`; its preflight is
    its own. A second request, from an origin that no page has, is a GET, a HEAD or a preflight.
    The policy here is `app`'s, and the deployed one may differ; with None, there is none to compare
    with. `timeout` is in seconds, for each response. Raises Unreachable.
    """
    over_network = sender(request.body, timeout)

    def sent_as(method: str) -> str:
        return method if send or method in SAFE_METHODS else "GET"

    def harmless(method: str, url: str, headers: Headers) -> Response:
        return over_network(sent_as(method), url, headers)

    outcome = browser.fetch(url, request, with_metadata(harmless, request.origin))
    method = browser.normalize_method(request.method)
    is_asked = outcome.exchanges and not outcome.verdict.during_preflight
    unsent = bool(is_asked) and sent_as(method) != method
    if unsent:  # what was sent, and last what was not
        sent = [replace(one, method=sent_as(one.method)) for one in outcome.exchanges]
        outcome = replace(outcome, exchanges=(*sent, outcome.exchanges[-1]))
    host = urlsplit(url).netloc
    own = [sent.url for sent in outcome.exchanges if urlsplit(sent.url).netloc == host]
    last_url = [url, *own][-1]
    here = in_app(app, last_url)
    local, policy = advice_here(app, here, request), policy_for(app, here, request.method)
    is_ours = type(policy) is Policy
    refused = refusal(outcome.exchanges[-1], policy) if outcome.exchanges else None
    if unsent and local and policy and is_ours and policy.protection:
        refused = local.reasons[0]  # as the API would, too
    is_allowed = outcome.allowed and refused is None
    if unsent and not is_ours and not is_allowed and trials.takes_no_get(outcome):
        return Explanation(request, url, outcome, None, None, unsent=True, known=False)
    advice = None
    if not is_allowed:
        reason = trials.blame(request, outcome, is_ours, local.reasons[0] if local else None)
        command = ["probe", url, "--origin", request.origin, "--method", request.method]
        change = Change("To see what to send", f"{called_as()} {shlex.join(command)}")
        advice = Advice((reason,), () if policy else (change,))
        advice = local if local and local.reasons[0] == reason else advice
    warnings: list[str] = []
    if outcome.allowed and not browser.is_loopback_url(url):
        warnings += filter(None, [local_network(request.origin, url)])
    if local is not None and local is not advice:
        warnings.append(f"the policy here does not allow this: {local.reasons[0]}")
    if outcome.allowed:
        warnings += lost_cookies(request, last_url, trials.cookies(outcome.response))
    if outcome.exchanges:
        is_read = method in ("GET", "HEAD")
        theirs = replace(request, origin=STRANGER, method=method, preflight=not is_read)
        with suppress(Unreachable):
            stranger = trials.ask(last_url, theirs, over_network).response
            warnings += trials.cache_faults(outcome.response, stranger) if outcome.allowed else []
            warnings += trials.stranger_faults(policy, stranger)
    return Explanation(request, url, outcome, refused, advice, tuple(warnings), unsent=unsent)


@dataclass(frozen=True)
class Check:
    """A row of the table: what was tried at a URL, how it went, and what to fix, if anything.

    Only `faults` fail a pipeline. `recipes` is what to send, and where to write it.
    """

    url: str
    what: str
    result: str
    faults: list[str]
    notes: list[str] = field(default_factory=list)
    recipes: dict[str, str] = field(default_factory=dict)


# A check to come: a URL, what is tried there, and how.
Step = tuple[str, str, Callable[[], Found]]


def check(url: str, what: str, trial: Callable[[], Found]) -> Check:
    """Return how a trial goes. Where no response comes, that is its fault."""
    try:
        result, found = trial()
    except Unreachable as error:
        result, found = BLOCKED, [str(error)]
    notes: list[str] = [one for one in found if isinstance(one, Note)]
    return Check(url, what, result, [one for one in found if one not in notes], notes)


def exit_code(checks: list[Check]) -> int:
    """Return 1 if there is something to fix, 2 if the requests that were sent cannot tell, or 0."""
    if any(check.faults for check in checks):
        return 1
    return 2 if any(UNKNOWN in check.result for check in checks) else 0


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
    return check_all(found, steps_without_route(app, found[0], timeout, body_limit), show_progress)


def check_server(
    url: str,
    origins: tuple[str, ...],
    methods: tuple[str, ...],
    headers: tuple[str, ...],
    credentials: bool,
    timeout: float,
    show_progress: bool,
) -> list[Check]:
    """Try what pages on these origins may do with any server, and what is broken for all.

    The origins are as browsers send them, and the methods as they are sent; `headers` are the names
    of those that the pages set, and `timeout` is in seconds, for each request. Raises Unreachable
    if no response comes to the first request.
    """
    policy = Policy(origins, methods or ("GET",), credentials, headers, (), 0, protection=False)
    place = Place(url, policy, sender(None, timeout), is_stated=True)
    checks = check_all([place], (), show_progress)
    is_reached = checks[0].result != BLOCKED
    if is_reached and any(check.faults for check in checks) and "null" not in origins:
        where = at(url, f"{urlsplit(url).path.rstrip('/')}{NO_ROUTE}")
        answers = [place.send("GET", one, ()) for one in (url, where)]
        if answers[0].status not in browser.REDIRECTS and answers[0].status < 500:
            checks[0] = replace(checks[0], recipes=trials.recipes(policy, answers))
    return checks


def check_all(places: list[Place], more: Iterable[Step], show_progress: bool) -> list[Check]:
    """Try the origins at each place and, where not all of them are blocked, all else.

    `more` is tried at the first place. Raises Unreachable if nothing answers there.
    """
    start = places[0]
    if not browser.is_mixed_content(start.page, start.url):
        start.send("GET", start.url, ())
    checks: list[Check] = []
    for place in places:
        steps: list[Step] = [
            (place.url, one, partial(trials.check_origin, place, one))
            for one in place.policy.origins
        ]
        found = run(steps, "Origins", show_progress)
        if all(one.result == BLOCKED for one in found):
            found.append(Check(place.url, "all else", "not tried until then", found[0].faults))
        else:
            rest = [*other_steps(place)]
            rest += [*more, *plain_http_steps(start)] if place is start else []
            found += run(rest, "All else", show_progress)
        checks += found
    return checks


def run(steps: list[Step], label: str, show_progress: bool) -> list[Check]:
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        checks = pool.map(check, *zip(*steps, strict=True))
        if not show_progress or len(steps) < LONG:
            return list(checks)
        with click.progressbar(checks, len(steps), label, file=sys.stderr) as progress:
            return list(progress)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl+C


def places(app: "Flask", url: str, send: Send) -> list[Place]:
    """Return where to try the policy of the whole API, and that of each path in CORS_PATHS.

    What a proxy strips from the start of a path is kept. Raises NoPolicy.
    """
    base = public_base(app, url)
    path = urlsplit(url).path.removeprefix(base)
    policy = policy_for(app, path)
    if path in ("", "/"):
        rules = [rule for rule in app.url_map.iter_rules() if not rule.arguments]
        simple = [rule.rule for rule in rules if "GET" in (rule.methods or ())]
        if HEALTH in simple and policy_for(app, HEALTH) == policy:
            path = HEALTH  # where the API has a route, its answer differs from a proxy's 404
        elif type(policy) is not Policy and "/" not in simple:  # only routes answer preflights
            path = next((one for one in simple if policy_for(app, one)), path)
    policy = policy_for(app, path) or policy_of(app)  # which says why there is none
    found = {path: policy}
    if type(policy) is Policy:
        for own, its_policy in policy_of(app).paths.items():
            found.setdefault(quote(own), its_policy)
    return [Place(at(url, f"{base}{path}"), policy, send) for path, policy in found.items()]


def at(url: str, path: str) -> str:
    """Return a URL of another path. `urljoin` would take what follows `//` for a host."""
    parts = urlsplit(url)
    return url if path == parts.path else parts._replace(path=path, query="").geturl()


def public_base(app: "Flask", url: str) -> str:
    """Return what is before the app's own path in a URL's, as a proxy strips it: "" if nothing is.

    Where no part of the path is a route or in CORS_PATHS, all of it is taken for the base.
    """
    path = urlsplit(url).path.rstrip("/")
    paths = getattr(app.extensions.get("cors_policy"), "paths", {})
    for start in (match.start() for match in re.finditer("/", path)):
        own = unquote(path[start:])
        if route_of(app, own)[0] or longest_prefix(paths, own) is not None:
            return path[:start]
    return path


def in_app(app: Any, url: str) -> str:
    """Return a URL as the app sees it behind a proxy that strips the start of its path."""
    base = public_base(app, url) if hasattr(app, "url_map") else ""
    parts = urlsplit(url)
    own = parts.path.removeprefix(base)
    return parts._replace(path=own).geturl() if base and own.strip("/") else url


def other_steps(place: Place) -> Iterator[Step]:
    """Yield what is tried beside the origins that are allowed."""
    if not place.is_stated:
        yield place.url, "other methods and headers", partial(trials.check_unlisted, place)
    if not place.policy.is_public:
        others = trials.strangers(place)
        what = f"{len(others)} strangers and look-alikes"
        yield place.url, what, partial(trials.check_strangers, place, others)
        yield place.url, "request without an Origin", partial(trials.check_caches, place)


def plain_http_steps(place: Place) -> Iterator[Step]:
    parts = urlsplit(place.url)
    if parts.scheme == "https" and parts.port in (None, 443):
        plain = parts._replace(scheme="http", netloc=parts.netloc.removesuffix(":443")).geturl()
        yield place.url, "plain http", partial(trials.check_plain_http, plain, place.send)


def steps_without_route(
    app: "Flask", place: Place, timeout: float, body_limit: int | None
) -> Iterator[Step]:
    """Yield what is tried for the whole API at a path where no code of the app's runs."""
    url = place.url
    above = urlsplit(url).path.rstrip("/").removesuffix(HEALTH)
    path = f"{above.removeprefix(public_base(app, url))}{NO_ROUTE}"
    policy = policy_for(app, path)
    if policy is None:
        return
    there = Place(at(url, f"{above}{NO_ROUTE}"), policy, place.send)
    if policy.allows_method("GET"):
        yield url, "path without a route", partial(trials.check_error, there, "GET")
    routes = app.url_map.bind("")
    if policy.protection and not routes.test(path, "POST"):
        if not policy.is_public:
            yield url, "a stranger's POST", partial(trials.check_refusal, there)
        yield url, "a POST of its own pages", partial(trials.check_own_page, there)
    uploads = [one for one in ("POST", "PUT", "PATCH") if policy.allows_method(one)]
    if body_limit is not None and uploads and not routes.test(path, uploads[0]):
        body = "x" * (body_limit + 1)
        large = replace(there, send=sender(body, timeout))
        trial = partial(trials.check_error, large, uploads[0], 413)
        yield url, f"body of {len(body)} bytes", trial


def as_text(checks: list[Check], all_right: str) -> Iterator[str]:
    """Yield the table and what to fix, in lines of at most 80 characters but for long URLs.

    `all_right` is what to say if there is nothing to fix.
    """
    faults = dict.fromkeys(fault for check in checks for fault in check.faults)
    numbers = {fault: number for number, fault in enumerate(faults, 1)}
    fixes = [sorted({numbers[fault] for fault in check.faults}) for check in checks]
    marks = [f"fix {','.join(map(str, some))}" if some else "ok" for some in fixes]
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
        yield from wrapped(f"Fix {number}: {fault}")
    for note in dict.fromkeys(note for check in checks for note in check.notes):
        yield from wrapped(f"Note: {note}")
    for check in checks:
        for where, text in check.recipes.items():
            yield from ("", f"{where}:", *textwrap.indent(text, "  ").splitlines())
    yield from () if numbers else wrapped(all_right)


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
