"""Why a request is not allowed, where in the code, and a change that was tried before it is given.

A change is applied to a copy of the policy, or to what the app answers, and a browser judges it
there: one that does not let the page in, or lets in others than the page, is no advice.
"""

import difflib
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from importlib import import_module
from pathlib import Path
from threading import Lock, get_ident
from typing import Any
from unittest.mock import patch
from urllib.parse import urljoin, urlsplit

from . import browser, origins, policies
from .browser import Block, Exchange, Headers, Outcome, PageRequest, Response, Verdict
from .origins import STRANGER, is_loopback, shown, site, with_metadata
from .policies import FlaskCors, Policy, PolicyError, as_python, path_of, place_of, policy_for
from .senders import KNOWN, OtherHost, say_each, wsgi_sender

# The methods that the question offers. The environment may name others.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Those of the policy's log, by the projects' releases: 3.0.0 and 4.0.0.
LOGGERS = ("app.cors.log", "app.cors.gate")

# Watching changes hooks of the app for as long as it takes.
LOCK = Lock()


@dataclass(frozen=True)
class Change:
    """What to do: `lead` says what for and where, `text` is to paste."""

    lead: str
    text: str

    def __str__(self) -> str:
        return f"{self.lead}: {self.text}"


@dataclass(frozen=True)
class Advice:
    """Every reason why a request is blocked or refused, and changes that allow it, tried before."""

    reasons: tuple[str, ...]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Cause:
    """One reason, and what a `part` of the policy lacks: items of a list, or True.

    `changes` are what others than the policy have to do.
    """

    reason: str
    changes: tuple[Change, ...] = ()
    part: str = ""
    lacks: Any = ()


# What the app did with a request.


@dataclass
class Notes:
    """What an app did with one request.

    `stopped` is the function that answered in place of the view. `steps` are the functions that had
    the response, with its headers after each. If `unsent`, no code ran, since it may change data,
    and if not `known`, nobody can say what it would have answered either.
    """

    stopped: str = ""
    steps: list[tuple[str, Any]] = field(default_factory=list)
    error: Exception | None = None
    unsent: bool = False
    known: bool = True

    def setters(self, header: str) -> list[str]:
        """Return the functions that set a header."""
        values = [[], *(headers.getlist(header) for _, headers in self.steps)]
        changes = zip(self.steps, values, values[1:], strict=False)
        found = [place for (place, _), before, after in changes if after not in ([], before)]
        return list(dict.fromkeys(found))


class Visit:
    """A page's request to an app here, which may be no Flask app.

    `policy` is the one that it goes by, if it can be read. Once it is made, `outcome` is the
    browser's, `refused` says why the API refused it, if it did, and `notes` are on what the app
    did last. `hidden` are headers of its response that the page cannot read.
    """

    def __init__(self, app: Any, url: str, request: PageRequest) -> None:
        self.app, self.url, self.last_url, self.request = app, url, url, request
        self.policy = policy_for(app, url, request.method, request.origin)
        self.through = wsgi_sender(app, request.body, url)
        self.outcome, self.notes = Outcome(Verdict(), ()), Notes()
        self.refused: str | None = None
        self.hidden: list[str] = []
        self.sends, self.thread = False, get_ident()
        self.without = ""  # a function that is to do nothing, as after a change

    @contextmanager
    def made(self, sends: bool) -> Iterator[None]:
        """Make the request. As long as this lasts, changes can be tried.

        Unless `sends`, no code of the app runs for what may change data.
        """
        app, request = self.app, self.request
        with LOCK, ExitStack() as stack:
            for name in LOGGERS:  # which would repeat what is explained
                stack.enter_context(patch.object(logging.getLogger(name), "disabled", True))
            if hasattr(app, "after_request_funcs"):
                from flask import got_request_exception

                stack.enter_context(got_request_exception.connected_to(self.note_error, app))
                for method in (self.full_dispatch_request, self.process_response):
                    stack.enter_context(patch.object(app, method.__name__, method))
                for name in ("before_request_funcs", "after_request_funcs"):
                    hooks = getattr(app, name).items()
                    watched = {owner: [*map(self.around, found)] for owner, found in hooks}
                    stack.enter_context(patch.object(app, name, watched))
            self.sends = sends
            self.outcome = self.fetch(self.url)
            self.sends = False
            if self.outcome.exchanges:
                last = self.outcome.exchanges[-1]
                self.last_url = last.url
                self.policy = policy_for(app, last.url, request.method, request.origin)
                self.refused = refusal(last, self.policy)
            yield

    def fetch(self, url: str) -> Outcome:
        return browser.fetch(url, self.request, with_metadata(self.send, self.request.origin))

    @cached_property
    def lets_all_act(self) -> bool:
        """Whether the app repeats the origin of any page that sends credentials."""
        if not self.request.credentials or self.policy is not None:
            return False
        notes, request = self.notes, replace(self.request, origin=STRANGER)
        sent = browser.fetch(self.url, request, with_metadata(self.send, STRANGER)).exchanges
        self.notes = notes
        return STRANGER in [one.response.get("access-control-allow-origin") for one in sent]

    def tried(self, change: Change, url: str = "", without: str = "") -> tuple[Change, ...]:
        """Return a change if it helps: what then still blocks the request is the policy.

        By the change, the page calls another URL, or the app is `without` what a function does.
        """
        notes, self.without = self.notes, without
        try:
            block = self.fetch(url or self.url).verdict.block
        except OtherHost:
            return ()
        finally:
            self.notes = notes
        return (change,) if block in (None, policy_block(self.policy, self.request)) else ()

    @property
    def allowed(self) -> bool:
        return self.outcome.allowed and self.refused is None

    @property
    def path(self) -> str:
        return path_of(self.last_url)

    def send(self, method: str, url: str, headers: Headers) -> Response:
        self.notes = Notes()
        if method not in policies.SAFE_METHODS and not self.sends:
            policy = policy_for(self.app, url, method, self.request.origin)
            if policy is None:
                self.notes.known = False
                found = needed(self.request, Response(200, ()), is_preflight=False)
                return Response(200, tuple(found.items()))
            if isinstance(policy, FlaskCors):
                self.notes.unsent = True
                return policy.answer(method, url, headers)
        try:
            return self.through(method, url, headers)
        except OtherHost:
            raise
        except Exception as error:  # noqa: BLE001  # as a debugger gets it
            self.notes.error = error
            return Response(500, ())

    # These take the place of the app's own.

    def full_dispatch_request(self, *arguments: Any) -> Any:
        """Run the app's code, or only its routing."""
        from flask import request
        from werkzeug.routing import RequestRedirect

        is_other = get_ident() != self.thread  # which somebody else sends meanwhile
        if is_other or self.sends or request.method in policies.SAFE_METHODS:
            return type(self.app).full_dispatch_request(self.app, *arguments)
        self.notes.unsent = True
        redirect = request.routing_exception
        return redirect if isinstance(redirect, RequestRedirect) else self.app.response_class()

    def around(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Return a hook, watched: one before the view takes nothing, one after it the response."""
        from flask import request

        place = place_of(hook)
        if any(policies.flask_cors_in(hook)):
            place = ", ".join(filter(None, ("CORS(app)", policies.place_of_call(self.app))))

        @wraps(hook)
        def run(*response: Any) -> Any:
            if response:
                changed = self.app.ensure_sync(hook)(*response)
                self.step(place, changed)
                return changed
            if place == self.without and request.method == "OPTIONS":
                return None
            self.notes.stopped = place  # and stays so if it raises
            answer = self.app.ensure_sync(hook)()
            self.notes.stopped = "" if answer is None else place
            return answer

        return run

    def process_response(self, *arguments: Any) -> Any:
        from flask import request

        view = self.app.view_functions.get(request.endpoint)
        if place := self.notes.stopped or (view and place_of(view)):
            self.step(place, arguments[-1])
        return type(self.app).process_response(self.app, *arguments)

    def step(self, place: str, response: Any) -> None:
        """Note what a function made of the headers, or take it back if the app is without it."""
        if place == self.without:
            before = self.notes.steps[-1][1] if self.notes.steps else ()
            response.headers = type(response.headers)(before)
        self.notes.steps.append((place, response.headers.copy()))

    def note_error(self, _: Any, exception: Exception, **more: Any) -> None:
        self.notes.error = exception


# Which reasons there are.


def policy_block(policy: Policy | None, request: PageRequest) -> Block | None:
    """Return why a browser would block a request if the policy alone answered it."""
    if policy is None:
        return None
    return browser.fetch("https://api.invalid/", request, policy.answer).verdict.block


def advise(visit: Visit) -> Advice:
    """Return why a request is not allowed, or what of it is hidden, and what would allow it."""
    policy, request, verdict = visit.policy, visit.request, visit.outcome.verdict
    causes = [*policy_causes(policy, visit)]
    is_explained = visit.allowed or verdict.block is policy_block(policy, request)
    if visit.refused:
        is_explained = bool({cause.part for cause in causes} & {"origins", "methods"})
    if isinstance(policy, FlaskCors) and verdict.during_preflight:
        is_seen = visit.outcome.response.status < 300 and not unseen_preflight(visit)
        is_explained &= is_seen  # by flask-cors, or the policy has no part in it
    if not is_explained:
        causes.insert(0, other_cause(visit))
    reasons = tuple(cause.reason for cause in causes)
    changes = tuple(change for cause in causes for change in cause.changes)
    if policy is None or not any(cause.lacks for cause in causes):
        return Advice(reasons, changes)
    if isinstance(policy, FlaskCors):
        return Advice(reasons, (*changes, *judged(visit, policy, policy)))
    try:
        return Advice(reasons, (*changes, *changes_of_ours(visit, policy)))
    except PolicyError as error:
        cannot = f"the policy cannot allow it: {error}"
        if len(reasons) == 1:
            return Advice((f"{reasons[0]}; {cannot}",))
        return Advice((*reasons, cannot), changes)


def advice_here(app: Any, url: str, request: PageRequest) -> Advice | None:
    """Return why the policy of an app does not allow a request, None if it does.

    Nothing is sent, and no code of the app runs.
    """
    found = advise(Visit(app, url, request))
    return found if found.reasons else None


def refusal(sent: Exchange, policy: Policy | None) -> str | None:
    """Return why the API refused a request, None if it did not."""
    if sent.response.status != 403:
        return None
    if sent.method != "HEAD" or policy is None:
        return refusal_in(sent.response)
    allowed = policy.allows(dict(sent.headers)["Origin"])  # no body says why
    is_ours = policy.protection and allowed and not policy.allows_method("HEAD")
    return "the method is not allowed" if is_ours else None


def refusal_in(response: Response) -> str | None:
    """Return the reason in the body of a response, None if it is not the API's refusal."""
    with suppress(ValueError):
        problem = json.loads(response.body)
        if isinstance(problem, dict) and problem.get("title") == policies.REFUSED:
            return str(problem.get("detail"))
    return None


def policy_causes(policy: Policy | None, visit: Visit) -> Iterator[Cause]:
    """Yield each reason why a policy does not allow a request, or hides headers of its response."""
    request = visit.request
    if visit.hidden:
        reason = f"the page cannot read {', '.join(visit.hidden)}"
        exposed = browser.list_items(visit.outcome.response.get("access-control-expose-headers"))
        line = f"Access-Control-Expose-Headers: {', '.join([*exposed, *visit.hidden])}"
        by_hand = () if policy else (Change("To allow it, answer with", line),)
        unread = [name for name in visit.hidden if policy and name not in policy.expose_headers]
        yield Cause(reason, by_hand, "expose_headers", unread)
    if policy is None:
        return
    if not policy.allows(request.origin):
        yield origin_cause(policy, request.origin)
    method = browser.normalize_method(request.method)
    asks = browser.preflight_headers(request) is not None
    if (asks or policy.protection) and not policy.allows_method(method):
        allowed, upper = ", ".join(policy.methods) or "none", method.upper()
        reason, lacks = f"{shown(method)} is not allowed; {policy.name} allows {allowed}", [method]
        if upper in policy.methods:
            how = "browsers send this method as it is written"
            reason, lacks = f"the page must write {upper}, not {method}: {how}", []
        yield Cause(reason, part="methods", lacks=lacks)
    names = browser.unsafe_header_names(browser.page_headers(request))
    if missing := [name for name in names if not policy.allows_header(name)]:
        where = f" by {policy.name}" if policy.path or isinstance(policy, FlaskCors) else ""
        listed = ", ".join(map(shown, missing))
        what = f"header {listed} is" if len(missing) == 1 else f"headers {listed} are"
        slips = (policies.slip(item, "allowed header") for item in policy.allow_headers)
        why = (
            "".join(f": {slip}" for slip in slips if slip) if isinstance(policy, FlaskCors) else ""
        )
        yield Cause(f"the {what} not allowed{where}{why}", part="allow_headers", lacks=missing)
    if request.credentials and not policy.supports_credentials:
        reason = f"the request sends credentials; {policy.name} forbids them"
        yield Cause(reason, part="supports_credentials", lacks=True)


def origin_cause(policy: Policy, origin: str) -> Cause:
    """Return why an origin is not allowed, and what the page has to do if the policy is right."""
    reason = f"{shown(origin)} is not allowed{origins.nearest(policy.origins, policy.name, origin)}"
    secure = origin.replace("http://", "https://", 1)
    if secure != origin and not is_loopback(origin) and policy.allows(secure):
        # Over plain http, anyone on the network could change the page.
        return Cause(reason, (Change("To allow it, open the page at", secure),), "origins")
    if origin == "null" and isinstance(policy, FlaskCors):
        exact = [one for one in policy.origins if one.startswith("http") and "*" not in one]
        changes = tuple(Change("To allow it, serve the page at", one) for one in exact[:1])
        reason = "null is not allowed: any site can have it, by a sandboxed frame or a local file"
        return Cause(reason, changes, "origins")
    return Cause(reason, part="origins", lacks=[origin])


def other_cause(visit: Visit) -> Cause:
    """Return why a request is not allowed where no policy that can be read is the cause."""
    verdict, policy, error = visit.outcome.verdict, visit.policy, visit.notes.error
    block = verdict.block
    for reason in redirect_faults(visit.request, visit.outcome):
        return Cause(reason)
    if visit.refused:
        return Cause(f"the policy allows this request, but the API answers: {visit.refused}")
    if error is not None:
        return Cause(
            f"the code failed: {policies.in_one_line(error)}. The answer has no CORS headers, as in"
            " debug mode, so the browser reports CORS: fix the code"
        )
    if verdict.during_preflight and visit.outcome.response.status >= 300:
        cause = failed_preflight(visit)
    elif policy or block is Block.SEVERAL_ALLOW_ORIGINS:
        return overridden(visit)
    else:
        cause = uncovered(visit) if block is Block.NO_ALLOW_ORIGIN else wrong_header(visit)
    if policy or cause.changes or about_route(visit, visit.request.method):
        return cause  # no header helps where no code takes the request
    return replace(cause, changes=headers_by_hand(visit))


def redirect_faults(
    request: PageRequest, outcome: Outcome, who: str = "", moved: bool = False
) -> Iterator[str]:
    """Yield why a browser cannot go where the page, or a redirect, sends it, the cause first.

    `moved` is whether the last answer, which is that of `who`, should be no redirect at all.
    """
    block, found = outcome.verdict.block, outcome.verdict.found
    if not outcome.exchanges:
        return say_each(("mixed", True), rest=found.removeprefix("http"))
    first, last = outcome.exchanges[0], outcome.exchanges[-1]
    target = urljoin(last.url, browser.redirect_location(last.response) or "")
    here, there = urlsplit(last.url), urlsplit(target)
    is_downgrade = moved and (here.scheme, there.scheme) == ("https", "http")
    rows = (
        ("loop", block is Block.TOO_MANY_REDIRECTS),
        ("bad_location", block is Block.REDIRECT_URL),
        ("to_itself", moved and target == last.url),
        ("to_http", is_downgrade or block is Block.MIXED_CONTENT),
        ("to_https", moved and (here.scheme, there.scheme) == ("http", "https")),
        ("to_host", moved and here.netloc != there.netloc),
        ("to_slash", moved and here.path.rstrip("/") == there.path.rstrip("/")),
        ("to_log_in", moved),
        ("to_null", ("Origin", request.origin) not in last.headers),
    )
    preflight = outcome.verdict.during_preflight
    but = "which browsers do not follow in a preflight" if preflight else "without CORS headers"
    what = "OPTIONS" if preflight else "this path"
    values = {"url": last.url, "target": shown(target), "who": who, "but": but, "what": what}
    return say_each(*rows, first=first.url, **values)


def failed_preflight(visit: Visit) -> Cause:
    """Return why a preflight gets an error or a redirect, and not an answer."""
    method, response = visit.request.method, visit.outcome.response
    location, place = browser.redirect_location(response), visit.notes.stopped
    target = urljoin(visit.last_url, location or "")
    is_same = location is not None and path_of(target).rstrip("/") == visit.path.rstrip("/")
    if place and not is_same:
        reason = (
            f"a check runs before CORS: {place}. It answers the preflight with {response.status},"
            " but a preflight has no credentials and no body"
        )
        line = 'if request.method == "OPTIONS": return None'
        change = Change(f"To allow it, as the first line of {place}", line)
        is_yours = "site-packages" not in place
        return Cause(reason, visit.tried(change, without=place) if is_yours else ())
    view = view_at(visit, method)
    if location is not None:
        why = f" by {place}" if place else ""
        if view and is_same and path_of(target) != visit.path:
            why = f" for the slash of its route ({place_of(view)})"
        reason = (
            f"the app redirects {visit.path} to {shown(location)}{why}, and browsers follow no"
            " redirect of a preflight"
        )
        change = Change("To allow it, have the page call", target)
        return Cause(reason, visit.tried(change, url=target))
    route = about_route(visit, method) or about_route(visit, "OPTIONS")
    view = view_at(visit, "OPTIONS")
    check = f"a check runs before CORS in {place_of(view)}" if view else "answer it with 204"
    reason = f"the preflight is answered with {response.status}: {route or check}"
    changes: tuple[Change, ...] = ()
    if view and (rule := preflight_rule(visit)):
        lead = f"To allow it, at {place_of(view)}, remove from the methods of its route"
        with patch.object(rule, "provide_automatic_options", True):
            changes = visit.tried(Change(lead, "OPTIONS"))
    return misplaced(visit) or Cause(reason, changes)


def preflight_rule(visit: Visit) -> Any:
    """Return the rule by which a Flask app routes a preflight, None if none has its path."""
    from werkzeug.exceptions import HTTPException

    with suppress(HTTPException):
        return visit.app.url_map.bind("").match(visit.path, "OPTIONS", return_rule=True)[0]
    return None


def overridden(visit: Visit) -> Cause:
    """Return which code of the app sets a header that the policy, or other code, sets too."""
    places = visit.notes.setters("Access-Control-Allow-Origin")
    by_hand = [place for place in places if not place.startswith("CORS(")]
    name = visit.policy.name if visit.policy else ""
    if visit.outcome.verdict.block is Block.SEVERAL_ALLOW_ORIGINS:
        by, found = " and by ".join(places) or "two places", shown(visit.outcome.verdict.found)
        reason = f"Access-Control-Allow-Origin is added by {by}: {found}"
    elif unseen_preflight(visit):
        return add_call(visit, f"Flask answers the preflight itself: {name} does not get it")
    else:
        by = " and ".join(by_hand) or "other code in the app"
        reason = f"{name} allows this request, but {by} sets other CORS headers"
    lead = "To allow it, remove the CORS headers in"
    tried = (visit.tried(Change(lead, place), without=place) for place in by_hand)
    return Cause(reason, next(filter(None, tried), ()))


def unseen_preflight(visit: Visit) -> bool:
    """Return whether Flask's own answer keeps a preflight from the `@cross_origin` of its view."""
    is_decorated = isinstance(visit.policy, FlaskCors) and visit.policy.call == "@cross_origin("
    return is_decorated and bool(getattr(preflight_rule(visit), "provide_automatic_options", None))


def uncovered(visit: Visit) -> Cause:
    """Return why an answer has no CORS headers, where no policy is for its path."""
    app, path, request = visit.app, visit.path, visit.request
    if not hasattr(app, "after_request_funcs"):
        return Cause(f"the app adds no CORS headers to {path}")
    if order := misplaced(visit):
        return order
    if route := about_route(visit, request.method):
        status = visit.outcome.response.status
        return Cause(f"the answer is {status}, without CORS headers: {route}")
    owners = [None, *filter(None, app.after_request_funcs)]
    for owner, (first, *_) in policies.calls(app, owners):
        return add_path(visit, first, owner)
    told = policies.all_options(app)
    decorated = [option.name for option in told if option.call == "@cross_origin("]
    if decorated and (view := view_at(visit, request.method)):
        place = place_of(view)
        option = FlaskCors.told(app, "@cross_origin(", place, {"origins": [request.origin]})
        reason = f"there is {'; '.join(decorated)}, but none at {place}"
        return Cause(reason, judged(visit, option, None, f"above {place}"))
    if hooks := [place_of(hook) for hook in app.after_request_funcs.get(None, ())]:
        return Cause(f"nothing adds CORS headers to {path}: {'; '.join(hooks)} adds none")
    return Cause(f"the app has no CORS at all: nothing adds its headers to {path}")


def add_path(visit: Visit, told: FlaskCors, owner: str | None) -> Cause:
    """Return that flask-cors was not told of a path, and the call that covers it too."""
    if owner is not None:
        reason = f"{told.call}) covers the routes of its blueprint only, and not {visit.path}"
        return add_call(visit, reason)
    page = {"origins": [visit.request.origin]} if told.is_public else {}
    added = told.with_options(page, pattern_of(visit))
    reason = f"{told.call}) covers {', '.join(told.patterns)}, and not {visit.path}"
    return Cause(reason, judged(visit, added, None))


def add_call(visit: Visit, reason: str) -> Cause:
    """Return what one more `CORS(app, …)` mends, which is for the page and its route."""
    page = {"origins": [visit.request.origin]}
    added = FlaskCors.told(visit.app, "CORS(app", "", page, pattern_of(visit))
    return Cause(reason, judged(visit, added, None, "add"))


def pattern_of(visit: Visit) -> str:
    """Return the pattern for flask-cors of the route that a request goes to."""
    endpoint, _ = policies.route_of(visit.app, visit.path, visit.request.method)
    rules = [rule.rule for rule in visit.app.url_map.iter_rules(endpoint)] if endpoint else []
    return re.sub("<.*", ".*", next(iter(rules), visit.path))


def misplaced(visit: Visit) -> Cause | None:
    """Return that `@cross_origin` does not get a request, as it is in the wrong place."""
    view = view_at(visit, visit.request.method)
    module = sys.modules.get(getattr(view, "__module__", ""))
    named = getattr(module, getattr(view, "__name__", ""), None)
    for function, wrong, right in (
        (view, "below a decorator that answers first", "as the first below @app.route"),
        (named, "above @app.route, which registers the view without it", "below @app.route"),
    ):
        for option in policies.options_of(visit.app, function, visit.request.method):
            changes = judged(visit, option, option, f"{right}, at {option.place}")
            return Cause(f"@cross_origin at {option.place} is {wrong}", changes)
    return None


def view_at(visit: Visit, method: str) -> Any:
    """Return the view of a Flask app for a path, None if there is none."""
    if not hasattr(visit.app, "view_functions"):
        return None
    return visit.app.view_functions.get(policies.route_of(visit.app, visit.path, method)[0])


def about_route(visit: Visit, method: str) -> str | None:
    """Return what the routes of a Flask app say about a path where they have no view for it."""
    if not hasattr(visit.app, "url_map"):
        return None
    endpoint, methods = policies.route_of(visit.app, visit.path, method)
    if endpoint is None:
        rules = {rule.rule for rule in visit.app.url_map.iter_rules() if rule.endpoint != "static"}
        close = difflib.get_close_matches(visit.path, rules - {visit.path}, n=1, cutoff=0.5)
        return f"the app has no route {visit.path}{f': did you mean {close[0]}?' if close else ''}"
    if not methods or method in methods:
        return None
    place = place_of(visit.app.view_functions.get(endpoint))
    return f"the route {visit.path} ({place}) takes {', '.join(methods)} only"


def wrong_header(visit: Visit) -> Cause:
    """Return which header has the wrong value, and which code sets it."""
    block, found = visit.outcome.verdict.block, shown(visit.outcome.verdict.found)
    (name, *_) = re.findall(r"Access-Control-[\w-]+", f"{block and block.value} {found}")
    value, places = visit.outcome.response.get(name.lower()), visit.notes.setters(name)
    if value is None:
        others = visit.notes.setters("Access-Control-Allow-Origin")[:1]
        return Cause(f"nothing sets {name}" + "".join(f", though {o} sets others" for o in others))
    by = f"by {' and '.join(places)}, " if places else ""
    wrong = ", whatever page asks" if block is Block.OTHER_ALLOW_ORIGIN else ""
    if block in (Block.METHOD, Block.HEADER):
        wrong = f", without {found}"
    return Cause(f"{name} is set {by}to {shown(value)}{wrong}")


def headers_by_hand(visit: Visit) -> tuple[Change, ...]:
    """Return the exact headers that let the page in, as tried on what the app answered."""
    answered = {(sent.method, sent.url): sent.response for sent in visit.outcome.exchanges}
    last, changes = visit.outcome.response, []

    def fixed(method: str, url: str, headers: Headers) -> Response:
        # What was not sent gets what code sets for all answers.
        response = answered.get((method, url), Response(200, last.headers))
        found = needed(visit.request, response, method == "OPTIONS")
        is_error = method == "OPTIONS" and not 200 <= response.status <= 299
        places = [place for name in found for place in visit.notes.setters(name)]
        where = f"in {places[0]}, " if places and response is last else ""
        what = "204 and" if is_error else ""
        lead = f"To allow it, {where}answer {method} {path_of(url)} with {what}".rstrip()
        right = {} if visit.lets_all_act else {name: response.get(name.lower()) for name in found}
        lines = [f"{name}: {v}" for name, v in found.items() if right.get(name) != v]
        if lines or is_error:
            changes.append(Change(lead, "; ".join(lines)))
        kept = tuple(header for header in response.headers if header[0].title() not in found)
        return Response(204 if is_error else response.status, (*kept, *found.items()))

    is_allowed = browser.fetch(visit.url, visit.request, fixed).allowed
    # Any site can have the origin null, by a sandboxed frame.
    is_right = is_allowed and visit.request.origin != "null"
    return tuple(changes) if is_right and not browser.redirect_location(last) else ()


def needed(request: PageRequest, response: Response, is_preflight: bool) -> dict[str, str]:
    """Return the CORS headers that any server must answer a page's request with.

    What `response` has already, its lists and its `*`, is kept as far as it is of use.
    """
    is_public = response.get("access-control-allow-origin") == "*" and not request.credentials
    found = {"Access-Control-Allow-Origin": "*" if is_public else request.origin}
    if request.credentials:
        found["Access-Control-Allow-Credentials"] = "true"
    lists = {} if is_public else {"Vary": ["Origin"]}
    if is_preflight:
        lists["Access-Control-Allow-Methods"] = [browser.normalize_method(request.method)]
        names = browser.unsafe_header_names(browser.page_headers(request))
        lists["Access-Control-Allow-Headers"] = names
    for name, items in lists.items():
        listed = browser.list_items(response.get(name.lower()))
        lower = [item.lower() for item in listed]
        if value := ", ".join([*listed, *(item for item in items if item.lower() not in lower)]):
            found[name] = value
    return found


# What to change in a policy.


def values_for(policy: Policy, visit: Visit) -> dict[str, Any]:
    """Return the parts of a policy that lack something for a request, with it."""
    values: dict[str, Any] = {}
    for cause in policy_causes(policy, visit):
        if cause.lacks is True:
            values[cause.part] = True
        elif cause.lacks:
            listed = [one for item in getattr(policy, cause.part) for one in origins.separate(item)]
            known = [one.lower() for one in listed]
            values[cause.part] = [
                *listed,
                *(one for one in cause.lacks if one.lower() not in known),
            ]
    if isinstance(policy, FlaskCors) and "origins" in values:
        values["origins"] = [
            one for one in values["origins"] if not origins.misspelt(one, visit.request.origin)
        ]
    if isinstance(policy, FlaskCors) and "supports_credentials" in values:
        # Or others could act as the user, too.
        listed = values.get("origins", policy.origins)
        fixed = [(policies.ended(one, visit.request.origin) or ("", one))[1] for one in listed]
        values["origins"] = [visit.request.origin] if policy.is_public else fixed
    return values


def judged(
    visit: Visit, told: FlaskCors, before: Policy | None, where: str = ""
) -> tuple[Change, ...]:
    """Return a call of flask-cors with all that it lacks, if it then lets in nobody else.

    `told` is the call, and `before` what held for the page until now.
    """
    after = told.with_options(values_for(told, visit))
    where = where or (f"at {told.place}" if told.place else f"in place of {told.call}…)")
    is_right = lets_in_only(visit.request, before, after)
    return (Change(f"To allow it, {where}", str(after)),) if is_right else ()


def lets_in_only(request: PageRequest, before: Policy | None, after: Policy) -> bool:
    """Return whether a changed policy lets in the page, and no page that it kept out before.

    Where every site was let in without credentials, none may be let in with them now.
    """
    gains_credentials = after.supports_credentials and not (before and before.supports_credentials)
    if before and before.is_public and gains_credentials:
        before = None
    return policy_block(after, request) is None and not any(
        policy_block(after, replace(request, origin=one)) is None
        and not (before and before.allows(one))
        for one in origins.strangers(request.origin)
    )


def changes_of_ours(visit: Visit, policy: Policy) -> Iterator[Change]:
    """Yield what gives the template's policy what it lacks, for good and in one deployment.

    Raises PolicyError if it may not have that.
    """
    request, url = visit.request, visit.last_url
    values = values_for(policy, visit)
    whole, paths = policies.policy_of(visit.app), visit.app.config.get("CORS_PATHS") or {}
    if not lets_in_only(request, policy, policy.changed(whole, paths, values)):
        return
    if urlsplit(url).netloc and not browser.is_loopback_url(url) and "origins" in values:
        kept = [one for one in values["origins"] if not origins.is_for_development(one)]
        values["origins"] = list(dict.fromkeys([*kept, request.origin]))
    in_files = policy
    with suppress(PolicyError):  # the answers may not fit CORS_PATHS
        written = settings_in(*FILES)
        keys = {part: f"CORS_{part.upper()}" for part in policies.PARTS}
        answers = {part: written[key] for part, key in keys.items() if key in written}
        in_files = whole.changed(whole, paths, answers).for_path(policy.path.rstrip("/"))
    for_good = {k: v for k, v in values_for(in_files, visit).items() if k in values}
    settings = {f"CORS_{part.upper()}": value for part, value in values.items()}
    file, where, line = "the answers", "", copier_command(for_good)
    if policy.path:
        own = {**paths, policy.path: {**paths.get(policy.path, {}), **values}}
        settings = {"CORS_PATHS": own}
        file, where = "app/settings.py", ", write in app/settings.py"
        line = f"CORS_PATHS[{as_python(policy.path)}] |= {as_python(for_good)}" if for_good else ""
    if found := [f"FLASK_{name}" for name in settings if f"FLASK_{name}" in os.environ]:
        names = " and ".join(f"{name} ({environment_of(name)})" for name in found)
        overrides = "overrides" if len(found) == 1 else "override"
        already = "" if for_good or policy.path else ": they allow this"
        verb, line = ("change", "") if policy.path else ("remove", line)
        yield Change("First", f"{verb} {names}, which {overrides} {file}{already}")
    if line:
        yield Change(f"To allow it{where}", line)
    here = (f"FLASK_{name}={shlex.quote(as_setting(value))}" for name, value in settings.items())
    lead = "Or for one deployment" if line else "To allow it in one deployment"
    yield Change(lead, " ".join(here))


def copier_command(values: dict[str, Any]) -> str:
    """Return the command that changes these answers, empty if none does."""
    if not values or not set(values.get("methods", ())) <= set(METHODS):
        return ""
    answers = []
    for part, value in values.items():
        # Copier reads answers as YAML, in which a * at the start means something else, and takes
        # the methods only as a list.
        text = re.sub(r"^[*](?=,|$)", "any", as_setting(value))
        answers.append(f"{KNOWN['questions'][part]}={f'[{text}]' if part == 'methods' else text}")
    given = " ".join(f"-d {shlex.quote(answer)}" for answer in answers)
    records = Path().glob(".copier-answers*.yml")  # another template may have the usual name
    ours = [one.name for one in records if "frontend_origins:" in one.read_text("utf-8")]
    name = f" -a {ours[0]}" if ours and ".copier-answers.yml" not in ours else ""
    return f"uvx copier update{name} --vcs-ref=:current: --defaults {given}"


def as_setting(value: Any) -> str:
    """Return a value as it is written in a variable."""
    if isinstance(value, (list, tuple)):
        return ", ".join(value)
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


# Cookies that get lost.


def lost_cookies(request: PageRequest, url: str, cookies: list[str]) -> Iterator[str]:
    """Yield why a browser does not keep the cookies of a response, or does not send them again.

    `cookies` are values of Set-Cookie.
    """
    page, host = request.origin, urlsplit(url).hostname or ""
    there = re.sub(r"//[^:/]+|//\[.*\]", f"//{host}", page)
    for cookie in cookies:
        first, *rest = cookie.split(";")
        parts = (part.strip().partition("=") for part in rest)
        attributes = {name.lower(): value for name, _, value in parts}
        if fate := fate_of(attributes, request, url):
            name, same = shown(first.partition("=")[0].strip()), attributes.get("samesite")
            names = {"url": url, "host": host, "page": page, "there": there, "same": same}
            yield KNOWN["cookies"][fate].format(name=f"the cookie {name}", **names)


def fate_of(attributes: Mapping[str, str], request: PageRequest, url: str) -> str | None:
    """Return how a cookie with these attributes gets lost, None if it does not."""
    same, is_secure = attributes.get("samesite", "").lower(), "secure" in attributes
    if not request.credentials:
        return "not-asked"
    if same == "none" and not is_secure:
        return "insecure"
    if is_secure and url.startswith("http://") and not browser.is_loopback_url(url):
        return "plain"
    is_same_site = site(url) is not None and site(request.origin) == site(url)
    if is_loopback(request.origin) and browser.is_loopback_url(url):
        if not is_same_site and "partitioned" not in attributes:
            return "two-names"
        return "plain-local" if is_secure and url.startswith("http://") else None
    if is_same_site:
        return None
    if same in ("lax", "strict", ""):
        return "same-site" if same else "unsaid"
    return "third-party" if "partitioned" in attributes else "unpartitioned"


# Where settings come from.

# The settings that are shown beside the policy, and what the app takes where they are not set.
SHOWN = {
    "PROXIES": 0,
    "TRUSTED_HOSTS": None,
    "SECRET_KEY": None,
    "MAX_CONTENT_LENGTH": None,
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
}

# The modules of a project that have its settings; the later one wins.
FILES = ("app.answers", "app.settings")


def settings_in(*modules: str) -> dict[str, Any]:
    """Return the settings in modules of the project, none if it has no such module."""
    found: dict[str, Any] = {}
    for name in modules:
        with suppress(ImportError):
            found |= {k: v for k, v in vars(import_module(name)).items() if k.isupper()}
    return found


def source(app: Any, name: str) -> str:
    """Return where a setting was set; the later source wins, as in `create_app`."""
    value, variable = app.config.get(name), f"FLASK_{name}"
    if variable in os.environ and value == as_app_reads(name, os.environ[variable]):
        return f"{environment_of(variable)}, {variable}"
    for module in reversed(FILES):
        if settings_in(module).get(name, ...) == value:
            return f"{module.replace('.', '/')}.py"
    is_default = name not in app.config or value == SHOWN.get(name, ...)
    return "default" if is_default else "create_app"


def environment_of(variable: str) -> str:
    """Return where a variable that is set was set: in one of the files that `flask` reads?"""
    with suppress(ImportError):
        from dotenv import dotenv_values, find_dotenv

        for name in (".env", ".flaskenv"):
            path = find_dotenv(name, usecwd=True)
            if path and dotenv_values(path).get(variable) == os.environ[variable]:
                return name
    return "environment"


def as_app_reads(name: str, text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    return text.replace(",", " ").split() if name == "TRUSTED_HOSTS" else text
