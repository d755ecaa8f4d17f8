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
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import urljoin, urlsplit

from . import browser, policies
from .browser import Block, Exchange, Headers, Outcome, PageRequest, Response, redirect_location
from .origins import is_for_development, is_loopback, misspelt, nearest, shown, site, with_metadata
from .policies import FlaskCors, Policy, PolicyError, as_python, path_of, place_of, policy_for
from .senders import OtherHost, wsgi_sender

if TYPE_CHECKING:
    from flask import Flask

# The template's question for each part of the policy.
QUESTIONS = {
    "origins": "frontend_origins",
    "methods": "allowed_methods",
    "supports_credentials": "allow_credentials",
    "allow_headers": "allowed_headers",
    "expose_headers": "exposed_headers",
}

# The methods that the question offers. The environment may name others.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# The headers that a verdict is about, and what is wrong with their values.
HEADERS = {
    Block.OTHER_ALLOW_ORIGIN: ("Access-Control-Allow-Origin", ", whatever page asks"),
    Block.WILDCARD_WITH_CREDENTIALS: (
        "Access-Control-Allow-Origin",
        ", which browsers reject for requests with credentials",
    ),
    Block.NO_ALLOW_CREDENTIALS: ("Access-Control-Allow-Credentials", ""),
    Block.METHOD: ("Access-Control-Allow-Methods", ", without {}"),
    Block.HEADER: ("Access-Control-Allow-Headers", ", without {}"),
    Block.MALFORMED_LIST: ("{}", ", which is no list of names"),
}

ALLOW_ORIGIN = "access-control-allow-origin"

# An origin that no page can have (RFC 6761, section 6.4).
STRANGER = "https://probe.invalid"

# A URL for what depends on the page and the policy alone.
ANYWHERE = "https://api.invalid/"

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

    @property
    def reason(self) -> str:
        return self.reasons[0]


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
    """What an app did with a request.

    `stopped` is the function that answered in place of the view, and `steps` are the functions
    that had the response, with its headers then.
    """

    stopped: str = ""
    steps: list[tuple[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def setters(self, header: str) -> list[str]:
        """Return the functions that set a header."""
        found: list[str] = []
        before: list[str] = []
        for place, headers in self.steps:
            values = headers.getlist(header)
            if values and values != before:
                found.append(place)
            before = values
        return list(dict.fromkeys(found))


class Watched:
    """Sends a page's requests to an app here, and notes what the app does with each.

    Unless `sends`, no code of the app runs for what may change data. `unsent` says that it did not
    run for the last request; if not `known`, nobody can say what it would have answered. `without`
    names a function that is to do nothing, as after a change.
    """

    def __init__(self, app: Any, url: str, request: PageRequest, sends: bool) -> None:
        self.app, self.request, self.sends = app, request, sends
        self.through = wsgi_sender(app, request.body, url)
        self.notes, self.unsent, self.known, self.without = Notes(), False, True, ""

    def __call__(self, method: str, url: str, headers: Headers) -> Response:
        self.notes, self.unsent = Notes(), False
        if method not in policies.SAFE_METHODS and not self.sends:
            policy = policy_for(self.app, url, method, self.request.origin)
            if policy is None:
                self.known = False
                return Response(200, needed(self.request, Response(200, ()), is_preflight=False))
            if isinstance(policy, FlaskCors):
                self.unsent = True
                return policy.answer(method, url, headers)
        try:
            return self.through(method, url, headers)
        except OtherHost:
            raise
        except Exception as error:  # noqa: BLE001  # as a debugger gets it
            self.notes.error = error
            return Response(500, ())

    def dispatch(self, *arguments: Any) -> Any:
        """Run the app's code for a request, or only its routing (`full_dispatch_request`)."""
        from flask import request
        from werkzeug.routing import RequestRedirect

        if self.sends or request.method in policies.SAFE_METHODS:
            return type(self.app).full_dispatch_request(self.app, *arguments)
        self.unsent = True
        redirect = request.routing_exception
        return redirect if isinstance(redirect, RequestRedirect) else self.app.response_class()

    def before_request(self, hook: Callable[..., Any]) -> Callable[[], Any]:
        """Return a hook that runs before the view, watched."""
        from flask import request

        place = place_of(hook)

        @wraps(hook)
        def run() -> Any:
            if place == self.without and request.method == "OPTIONS":
                return None
            self.notes.stopped = place  # and stays so if it raises
            answer = self.app.ensure_sync(hook)()
            self.notes.stopped = "" if answer is None else place
            return answer

        return run

    def process(self, *arguments: Any) -> Any:
        """Note what the view set before the hooks after it run (`process_response`)."""
        from flask import request

        response = arguments[-1]
        view = self.app.view_functions.get(request.endpoint)
        if place := self.notes.stopped or (view and place_of(view)):
            for name, _ in list(response.headers) if place == self.without else ():
                if name.lower().startswith("access-control-"):
                    response.headers.remove(name)
            self.notes.steps.append((place, response.headers.copy()))
        return type(self.app).process_response(self.app, *arguments)

    def after_request(self, hook: Callable[..., Any]) -> Callable[[Any], Any]:
        """Return a hook that runs after the view, watched."""
        is_theirs = any(
            policies.closed_over(layer, "flask_cors.extension", "resources")
            for layer in policies.layers(hook)
        )
        call = ", ".join(filter(None, ("CORS(app)", policies.place_of_call(self.app))))
        place = call if is_theirs else place_of(hook)

        @wraps(hook)
        def run(response: Any) -> Any:
            if place != self.without:
                response = self.app.ensure_sync(hook)(response)
            self.notes.steps.append((place, response.headers.copy()))
            return response

        return run

    def note_error(self, _: Any, exception: Exception, **more: Any) -> None:
        self.notes.error = exception


@contextmanager
def watched(app: Any, url: str, request: PageRequest, sends: bool) -> Iterator[Watched]:
    """Watch an app, which may be no Flask app, and keep what is sent out of its policy's log."""
    watch = Watched(app, url, request, sends)
    with LOCK, ExitStack() as stack:
        for name in LOGGERS:
            stack.enter_context(patch.object(logging.getLogger(name), "disabled", True))
        if hasattr(app, "after_request_funcs"):
            from flask import got_request_exception

            instead: dict[str, Any] = {
                "process_response": watch.process,
                "full_dispatch_request": watch.dispatch,
            }
            for around in (watch.before_request, watch.after_request):
                name = f"{around.__name__}_funcs"
                hooks = getattr(app, name).items()
                instead[name] = {owner: [*map(around, found)] for owner, found in hooks}
            stack.enter_context(patch.multiple(app, **instead))
            stack.enter_context(got_request_exception.connected_to(watch.note_error, app))
        yield watch


# Which reasons there are.


@dataclass(frozen=True)
class Case:
    """A request to an app here that is not allowed.

    `policy` is the one that it goes by, if it can be read, and `refused` whether the API refused
    it. `notes` are on the last exchange. `watch` tries changes, by requests that change no data.
    """

    request: PageRequest
    outcome: Outcome
    policy: Policy | None
    refused: bool
    watch: Watched
    notes: Notes

    @property
    def last(self) -> Exchange:
        return self.outcome.exchanges[-1]

    @property
    def path(self) -> str:
        return path_of(self.last.url)

    def tried(self, change: Change, url: str = "", without: str = "") -> tuple[Change, ...]:
        """Return a change if it helps: what then still blocks the request is the policy.

        By the change, the page calls another URL, or the app is `without` what a function does.
        """
        self.watch.without = without
        send = with_metadata(self.watch, self.request.origin)
        with suppress(OtherHost):
            outcome = browser.fetch(url or self.outcome.exchanges[0].url, self.request, send)
            if outcome.verdict.block in (None, policy_block(self.policy, self.request)):
                return (change,)
        return ()


def policy_block(policy: Policy | None, request: PageRequest) -> Block | None:
    """Return why a browser would block a request if the policy alone answered it."""
    return browser.fetch(ANYWHERE, request, policy.answer).verdict.block if policy else None


def advise(case: Case) -> Advice:
    """Return why a request to an app here is not allowed, and what would allow it."""
    policy, block = case.policy, case.outcome.verdict.block
    is_explained = block is not None and block is policy_block(policy, case.request)
    if case.refused:
        parts = {cause.part for cause in policy_causes(policy, case.request)}
        is_explained = bool(parts & {"origins", "methods"})
    if isinstance(policy, FlaskCors) and case.outcome.verdict.during_preflight:
        is_explained &= case.last.response.status < 300  # which is not the policy's doing
    others = () if is_explained else (other_cause(case),)
    url = case.last.url if case.outcome.exchanges else ""
    return with_changes(case.watch.app, url, case.request, policy, others)


def advice_here(app: Any, url: str, request: PageRequest) -> Advice | None:
    """Return why the policy of an app does not allow a request, None if it does.

    Nothing is sent, and no code of the app runs.
    """
    policy = policy_for(app, url, request.method, request.origin)
    found = with_changes(app, url, request, policy)
    return found if found.reasons else None


def allow_another(app: Any, page: str) -> tuple[Change, ...]:
    """Return what allows a page on one more origin to GET."""
    found = advice_here(app, "/", PageRequest(page))
    return found.changes if found else ()


def refusal(sent: Exchange, policy: Policy | None) -> str | None:
    """Return why the API refused a request, None if it did not."""
    if sent.response.status != 403:
        return None
    if sent.method == "HEAD" and policy:  # no body says why
        allowed = policy.allows(dict(sent.headers)["Origin"])
        is_ours = policy.protection and allowed and not policy.allows_method("HEAD")
        return "the method is not allowed" if is_ours else None
    return refusal_in(sent.response)


def refusal_in(response: Response) -> str | None:
    """Return the reason in the body of a response, None if it is not the API's refusal."""
    try:
        problem = json.loads(response.body)
    except ValueError:
        return None
    is_ours = isinstance(problem, dict) and problem.get("title") == policies.REFUSED
    return str(problem.get("detail")) if is_ours else None


def policy_causes(
    policy: Policy | None, request: PageRequest, hidden: Sequence[str] = ()
) -> Iterator[Cause]:
    """Yield each reason why a policy does not allow a request, or hides headers of its response."""
    if policy is None:
        return
    if not policy.allows(request.origin):
        yield origin_cause(policy, request.origin)
    method = browser.normalize_method(request.method)
    asks = browser.preflight_headers(request) is not None
    if (asks or policy.protection) and not policy.allows_method(method):
        if method.upper() in policy.methods:
            reason = (
                f"the page must write {method.upper()}, not {method}: browsers send this method as"
                " the page writes it"
            )
            yield Cause(reason, part="methods")
        else:
            allowed = ", ".join(policy.methods) or "none"
            reason = f"{shown(method)} is not allowed; {policy.name} allows {allowed}"
            yield Cause(reason, part="methods", lacks=[method])
    names = browser.unsafe_header_names(browser.page_headers(request))
    if missing := [name for name in names if not policy.allows_header(name)]:
        where = f" by {policy.name}" if policy.path or isinstance(policy, FlaskCors) else ""
        listed = ", ".join(map(shown, missing))
        what = f"header {listed} is" if len(missing) == 1 else f"headers {listed} are"
        yield Cause(f"the {what} not allowed{where}", part="allow_headers", lacks=missing)
    if request.credentials and not policy.supports_credentials:
        reason = f"the request sends credentials; {policy.name} forbids them"
        yield Cause(reason, part="supports_credentials", lacks=True)
    if unread := [name for name in hidden if name not in policy.expose_headers]:
        reason = f"the page cannot read {', '.join(unread)}"
        yield Cause(reason, part="expose_headers", lacks=unread)


def origin_cause(policy: Policy, origin: str) -> Cause:
    """Return why an origin is not allowed, and what the page has to do if the policy is right."""
    reason = f"{shown(origin)} is not allowed{nearest(policy.origins, policy.name, origin)}"
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


def other_cause(case: Case) -> Cause:
    """Return why a request is not allowed where no policy that can be read is the cause."""
    verdict, policy = case.outcome.verdict, case.policy
    block, value = verdict.block, shown(verdict.found)
    if not case.outcome.exchanges:
        return Cause(f"the page is on https: have it call https{value.removeprefix('http')}")
    if block is Block.MIXED_CONTENT:
        return Cause(f"{case.last.url} redirects to plain http: redirect to https")
    if block is Block.TOO_MANY_REDIRECTS:
        return Cause("the redirects form a loop: end it")
    if block is Block.REDIRECT_URL:
        return Cause(f"no cross-origin request may go to {value}: correct the Location header")
    if lost := lost_origin(case.request, case.outcome):
        return Cause(lost)
    if case.refused and policy:
        return Cause(f"{policy.name} allows this request, but not as it is after the redirect")
    if case.notes.error is not None:
        return Cause(
            f"the code failed: {policies.in_one_line(case.notes.error)}. The answer has no CORS"
            " headers, as in debug mode, so the browser reports CORS: fix the code"
        )
    if verdict.during_preflight and case.last.response.status >= 300:
        cause = failed_preflight(case)
    elif policy or block is Block.SEVERAL_ALLOW_ORIGINS:
        return overridden(case)
    else:
        cause = uncovered(case) if block is Block.NO_ALLOW_ORIGIN else Cause(wrong_header(case))
    return cause if policy or cause.changes else replace(cause, changes=headers_by_hand(case))


def lost_origin(request: PageRequest, outcome: Outcome) -> str | None:
    """Return what to do about a redirect after which a browser hides the page's origin."""
    last = outcome.exchanges[-1]
    if ("Origin", request.origin) in last.headers:
        return None
    return (
        f"{outcome.exchanges[0].url} redirects to another origin, so a browser sends"
        f" Origin: null, which no API should allow: have the page call {last.url} directly"
    )


def failed_preflight(case: Case) -> Cause:
    """Return why a preflight gets an error or a redirect, and not an answer."""
    app, method, response = case.watch.app, case.request.method, case.last.response
    if place := case.notes.stopped:
        reason = (
            f"a check runs before CORS: {place}. It answers the preflight with {response.status},"
            " but browsers send no credentials with one"
        )
        line = 'if request.method == "OPTIONS": return None'
        change = Change(f"To allow it, as the first line of {place}", line)
        return Cause(reason, case.tried(change, without=place))
    view = view_at(app, case.path, method)
    if (location := redirect_location(response)) is not None:
        target = urljoin(case.last.url, location)
        is_slash = view and case.path.rstrip("/") == path_of(target).rstrip("/")
        why = f" for the slash of its route ({place_of(view)})" if is_slash else ""
        reason = (
            f"the app redirects {case.path} to {shown(location)}{why}, and browsers follow no"
            " redirect of a preflight"
        )
        change = Change("To allow it, have the page call", target)
        return Cause(reason, case.tried(change, url=target))
    route = about_route(app, case.path, method) or about_route(app, case.path, "OPTIONS")
    check = f"a check runs before CORS in {place_of(view)}" if view else "answer it with 204"
    reason = f"the preflight is answered with {response.status}: {route or check}"
    return misplaced(case) or Cause(reason)


def overridden(case: Case) -> Cause:
    """Return which code of the app sets a header that the policy, or other code, sets too."""
    places = case.notes.setters(ALLOW_ORIGIN)
    by_hand = [place for place in places if not place.startswith("CORS(")]
    name = case.policy.name if case.policy else ""
    if case.outcome.verdict.block is Block.SEVERAL_ALLOW_ORIGINS:
        by, found = " and by ".join(places) or "two places", shown(case.outcome.verdict.found)
        reason = f"Access-Control-Allow-Origin is added by {by}: {found}"
    elif by_hand:
        reason = f"{name} allows this request, but {' and '.join(by_hand)} sets other CORS headers"
    else:
        reason = f"{name} allows this request, but other code in the app changes its CORS headers"
        return Cause(f"{reason}: find that code and remove it")
    lead = "To allow it, remove the CORS headers in"
    tried = (case.tried(Change(lead, place), without=place) for place in by_hand)
    return Cause(reason, next(filter(None, tried), ()))


def uncovered(case: Case) -> Cause:
    """Return why an answer has no CORS headers, where no policy is for its path."""
    app, path, request = case.watch.app, case.path, case.request
    if not hasattr(app, "after_request_funcs"):
        return Cause(f"the app adds no CORS headers to {path}")
    if order := misplaced(case):
        return order
    if route := about_route(app, path, request.method):
        return Cause(f"the answer is {case.last.response.status}, without CORS headers: {route}")
    owners = [None, *filter(None, app.after_request_funcs)]
    for owner, _, resources in policies.calls(app, owners):
        return add_path(case, policies.call_of(app, owner, resources, 0), owner)
    told = policies.all_options(app)
    decorated = [option.name for option in told if option.call == "@cross_origin("]
    if decorated and (view := view_at(app, path, request.method)):
        reason = f"there is {'; '.join(decorated)}, but none at {place_of(view)}"
        option = FlaskCors.told(app, "@cross_origin(", place_of(view), for_page(request))
        return Cause(reason, judged(request, None, option, f"To allow it, above {place_of(view)}"))
    if hooks := [place_of(hook) for hook in app.after_request_funcs.get(None, ())]:
        return Cause(f"nothing adds CORS headers to {path}: {'; '.join(hooks)} adds none")
    return Cause(f"the app has no CORS at all: nothing adds its headers to {path}")


def add_path(case: Case, told: FlaskCors, owner: str | None) -> Cause:
    """Return that flask-cors was not told of a path, and the call that covers it too."""
    endpoint = policies.endpoint_of(told.app, case.path, case.request.method)
    rules = [rule.rule for rule in told.app.url_map.iter_rules(endpoint)] if endpoint else []
    pattern = re.sub("<.*", ".*", next(iter(rules), case.path))
    page = for_page(case.request)
    if owner is not None:
        reason = f"{told.call}) covers the routes of its blueprint only, and not {case.path}"
        after = FlaskCors.told(told.app, "CORS(app", "", page, pattern)
        return Cause(reason, judged(case.request, None, after, "To allow it, add"))
    after = told.with_path(pattern, page if told.is_public else {})
    lacking = lacks(policy_causes(after, case.request))
    after = after.with_options(with_lacking(after, lacking, case.request))
    patterns = ", ".join(pattern for pattern, _ in told.resources)
    reason = f"{told.call}) covers {patterns}, and not {case.path}"
    return Cause(reason, judged(case.request, None, after, at(told)))


def misplaced(case: Case) -> Cause | None:
    """Return that `@cross_origin` does not get a request, as it is in the wrong place."""
    app, method = case.watch.app, case.request.method
    view = view_at(app, case.path, method)
    module = sys.modules.get(getattr(view, "__module__", ""))
    named = getattr(module, getattr(view, "__name__", ""), None)
    for function, wrong, right in (
        (view, "below a decorator that answers first", "as the first below @app.route"),
        (named, "above @app.route, which registers the view without it", "below @app.route"),
    ):
        for option in policies.options_of(app, function, method):
            change = Change(f"To allow it, {right}, at {option.place}", str(option))
            is_right = policy_block(option, case.request) is None
            reason = f"@cross_origin at {option.place} is {wrong}"
            return Cause(reason, (change,) if is_right else ())
    return None


def view_at(app: Any, path: str, method: str) -> Any:
    """Return the view of a path in a Flask app, None if there is none."""
    if not hasattr(app, "view_functions"):
        return None
    return app.view_functions.get(policies.endpoint_of(app, path, method))


def about_route(app: Any, path: str, method: str) -> str | None:
    """Return what the routes of a Flask app say about a path where they have no view for it."""
    if not hasattr(app, "url_map"):
        return None
    from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

    try:
        app.url_map.bind("localhost").match(path, method=method)
    except MethodNotAllowed as error:
        methods = sorted(error.valid_methods or ())
        view = view_at(app, path, methods[0]) if methods else None
        here = f" ({place_of(view)})" if view else ""
        return f"the route {path}{here} takes {', '.join(methods)} only"
    except NotFound:
        rules = [rule.rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]
        close = difflib.get_close_matches(path, rules, n=1, cutoff=0.5)
        return f"the app has no route {path}{f': did you mean {close[0]}?' if close else ''}"
    except HTTPException:  # a redirect
        pass
    return None


def wrong_header(case: Case) -> str:
    """Return which header has the wrong value, and which code sets it."""
    block, found = case.outcome.verdict.block, shown(case.outcome.verdict.found)
    name, wrong = (text.format(found) for text in HEADERS[block]) if block else ("", "")
    value = case.last.response.get(name.lower())
    if value is None:
        others = case.notes.setters(ALLOW_ORIGIN)
        return f"nothing sets {name}{f', though {others[0]} sets others' if others else ''}"
    places = " and ".join(case.notes.setters(name))
    return f"{name} is set {f'by {places}, ' if places else ''}to {shown(value)}{wrong}"


def headers_by_hand(case: Case) -> tuple[Change, ...]:
    """Return the exact headers that let the page in, as tried on what the app answered."""
    answered = {(sent.method, sent.url): sent.response for sent in case.outcome.exchanges}
    changes = []

    def fixed(method: str, url: str, headers: Headers) -> Response:
        # What was not sent gets what code sets for all answers.
        response = answered.get((method, url), Response(200, case.last.response.headers))
        found = needed(case.request, response, method == "OPTIONS")
        is_error = method == "OPTIONS" and not 200 <= response.status <= 299
        places = [place for name, _ in found for place in case.notes.setters(name)]
        where = f"in {places[0]}, " if places and response is case.last.response else ""
        lead = f"To allow it, {where}answer {method} {path_of(url)} with"
        lines = [f"{name}: {value}" for name, value in found if response.get(name.lower()) != value]
        if lines or is_error:
            changes.append(Change(f"{lead} 204 and" if is_error else lead, "; ".join(lines)))
        names = {name.lower() for name, _ in found}
        kept = tuple(header for header in response.headers if header[0].lower() not in names)
        return Response(204 if is_error else response.status, (*kept, *found))

    if case.request.origin == "null":  # which any site can have, by a sandboxed frame
        return ()
    is_allowed = browser.fetch(case.outcome.exchanges[0].url, case.request, fixed).allowed
    return tuple(changes) if is_allowed and not redirect_location(case.last.response) else ()


def needed(request: PageRequest, response: Response, is_preflight: bool) -> Headers:
    """Return the CORS headers that any server must answer a page's request with.

    What `response` has already, its lists and its `*`, is kept as far as it is of use.
    """
    is_public = response.get(ALLOW_ORIGIN) == "*" and not request.credentials
    found = [("Access-Control-Allow-Origin", "*" if is_public else request.origin)]
    if request.credentials:
        found.append(("Access-Control-Allow-Credentials", "true"))
    lists = {} if is_public else {"Vary": ["Origin"]}
    if is_preflight:
        lists["Access-Control-Allow-Methods"] = [browser.normalize_method(request.method)]
        names = browser.unsafe_header_names(browser.page_headers(request))
        lists["Access-Control-Allow-Headers"] = names
    for name, items in lists.items():
        listed = browser.list_items(response.get(name.lower()))
        lower = [item.lower() for item in listed]
        if value := ", ".join([*listed, *(item for item in items if item.lower() not in lower)]):
            found.append((name, value))
    return tuple(found)


# What to change in a policy.


def with_changes(
    app: Any,
    url: str,
    request: PageRequest,
    policy: Policy | None,
    others: Iterable[Cause] = (),
    hidden: Sequence[str] = (),
) -> Advice:
    """Return all reasons, and what gives the policy all that it lacks, if it may have it.

    `others` are not of the policy, and `hidden` headers of the response that a page cannot read.
    """
    causes = [*others, *policy_causes(policy, request, hidden)]
    reasons = tuple(cause.reason for cause in causes)
    changes = tuple(change for cause in causes for change in cause.changes)
    lacking = lacks(causes)
    if policy is None or not lacking:
        return Advice(reasons, changes)
    values = with_lacking(policy, lacking, request)
    if isinstance(policy, FlaskCors):
        after = policy.with_options(values)
        return Advice(reasons, (*changes, *judged(request, policy, after, at(policy))))
    try:
        found = tuple(changes_of_ours(app, url, request, policy, values, hidden))
    except PolicyError as error:
        cannot = f"the policy cannot allow it: {'; '.join(error.problems)}"
        if len(reasons) == 1:
            return Advice((f"{reasons[0]}; {cannot}",))
        return Advice((*reasons, cannot), changes)
    return Advice(reasons, (*changes, *found))


def lacks(causes: Iterable[Cause]) -> dict[str, Any]:
    return {cause.part: cause.lacks for cause in causes if cause.lacks}


def with_lacking(policy: Policy, lacking: dict[str, Any], request: PageRequest) -> dict[str, Any]:
    """Return the parts of a policy that lack something, with it."""
    values = {
        part: [*getattr(policy, part), *more] if isinstance(more, list) else more
        for part, more in lacking.items()
    }
    if isinstance(policy, FlaskCors) and "origins" in values:
        values["origins"] = [one for one in values["origins"] if not misspelt(one, request.origin)]
    if isinstance(policy, FlaskCors) and "supports_credentials" in values:
        # Or others could act as the user, too.
        origins = values.get("origins", policy.origins)
        fixed = [(policies.ended(one, request.origin) or ("", one))[1] for one in origins]
        values["origins"] = [request.origin] if policy.is_public else fixed
    return values


def for_page(request: PageRequest) -> dict[str, Any]:
    """Return options of flask-cors for one page."""
    credentials = {"supports_credentials": True} if request.credentials else {}
    return {"origins": [request.origin], **credentials}


def at(policy: FlaskCors) -> str:
    """Return how a sentence begins that says where to write a call."""
    return (
        f"To allow it, {f'at {policy.place}' if policy.place else f'in place of {policy.call}…)'}"
    )


def judged(
    request: PageRequest, before: Policy | None, after: FlaskCors, lead: str
) -> tuple[Change, ...]:
    """Return what makes one policy of another, if that lets in the page and nobody else."""
    return (Change(lead, str(after)),) if lets_in_only(request, before, after) else ()


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
        for one in strangers(request.origin)
    )


def strangers(origin: str) -> list[str]:
    """Return origins that are not a page's, and look like it."""
    scheme, _, rest = origin.partition("://")
    host = re.sub(r":\d+\Z", "", rest)
    twin = "http" if scheme == "https" else "https"
    ends = (f"{host}.probe.invalid", f"{host}probe.invalid", f"probe.{rest}", f"probe{rest}")
    return ["null", STRANGER, f"{twin}://{rest}", *(f"{scheme}://{end}" for end in ends)]


def changes_of_ours(
    app: "Flask",
    url: str,
    request: PageRequest,
    policy: Policy,
    values: dict[str, Any],
    hidden: Sequence[str],
) -> Iterator[Change]:
    """Yield what gives the template's policy new values, for good and in one deployment.

    Raises PolicyError if it may not have them.
    """
    whole, paths = policies.policy_of(app), app.config.get("CORS_PATHS") or {}
    if not lets_in_only(request, policy, policy.changed(whole, paths, values)):
        return
    if urlsplit(url).netloc and not browser.is_loopback_url(url) and "origins" in values:
        kept = [one for one in values["origins"] if not is_for_development(one)]
        values["origins"] = list(dict.fromkeys([*kept, request.origin]))
    in_files = policy_in_files(app, whole).for_path(policy.path.rstrip("/"))
    left = lacks(policy_causes(in_files, request, hidden))
    left = {part: more for part, more in left.items() if part in values}
    for_good = with_lacking(in_files, left, request)
    if policy.path:
        own = {**paths, policy.path: {**paths.get(policy.path, {}), **values}}
        variables = {"FLASK_CORS_PATHS": json.dumps(own)}
        line = f"CORS_PATHS[{as_python(policy.path)}] |= {as_python(for_good)}" if for_good else ""
        lead, verb, file = "To allow it, write in app/settings.py", "change", "app/settings.py"
    else:
        variables = {f"FLASK_CORS_{part.upper()}": as_setting(v) for part, v in values.items()}
        line = copier_command(for_good)
        lead, verb, file = "To allow it", "remove", "the answers"
    if overriding := [
        f"{name} ({environment_of(name)})" for name in variables if name in os.environ
    ]:
        overrides = "overrides" if len(overriding) == 1 else "override"
        already = "" if for_good or policy.path else ": they allow this"
        line = "" if policy.path else line
        yield Change(
            "First", f"{verb} {' and '.join(overriding)}, which {overrides} {file}{already}"
        )
    if line:
        yield Change(lead, line)
    here = " ".join(f"{name}={shlex.quote(text)}" for name, text in variables.items())
    yield Change("Or for one deployment" if line else "To allow it in one deployment", here)


def copier_command(values: dict[str, Any]) -> str:
    """Return the command that changes these answers, empty if none does."""
    if not values or not set(values.get("methods", ())) <= set(METHODS):
        return ""
    answers = []
    for part, value in values.items():
        # Copier reads answers as YAML, in which a * at the start means something else, and takes
        # the methods only as a list.
        text = re.sub(r"^[*](?=,|$)", "any", as_setting(value))
        answers.append(f"{QUESTIONS[part]}={f'[{text}]' if part == 'methods' else text}")
    given = " ".join(f"-d {shlex.quote(answer)}" for answer in answers)
    return f"uvx copier update --vcs-ref=:current: --defaults {given}"


def as_setting(value: Any) -> str:
    """Return a value as it is written in a variable."""
    if isinstance(value, (list, tuple)):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


# Cookies that get lost.


def lost_cookies(request: PageRequest, url: str, cookies: list[str]) -> Iterator[str]:
    """Yield why a browser does not keep the cookies of a response, or does not send them again.

    `cookies` are values of Set-Cookie.
    """
    page, host = request.origin, urlsplit(url).hostname or ""
    there = re.sub(r"//[^:/]+|//\[.*\]", f"//{host}", page)
    reasons = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    for cookie in cookies:
        first, *rest = cookie.split(";")
        parts = (part.strip().partition("=") for part in rest)
        attributes = {name.lower(): value for name, _, value in parts}
        if fate := fate_of(attributes, request, url):
            name, same = shown(first.partition("=")[0].strip()), attributes.get("samesite")
            names = {"url": url, "host": host, "page": page, "there": there, "same": same}
            yield reasons["cookies"][fate].format(name=f"the cookie {name}", **names)


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


def source(app: "Flask", name: str) -> str:
    """Return where a setting was set; the later source wins, as in `create_app`."""
    value = app.config.get(name)
    variable = f"FLASK_{name}"
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
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    is_list = name == "TRUSTED_HOSTS" and isinstance(value, str)
    return value.replace(",", " ").split() if is_list else value


def policy_in_files(app: "Flask", policy: Policy) -> Policy:
    """Return the whole policy as the project's files have it, without the environment."""
    written = settings_in(*FILES)
    parts = {
        part: written.get(f"CORS_{part.upper()}", value)
        for part, value in policies.parts_of(policy).items()
    }
    with suppress(PolicyError):  # the answers may not fit CORS_PATHS
        return policies.checked(parts, app.config.get("CORS_PATHS"))
    return policy
