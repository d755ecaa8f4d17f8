"""Why a request is not allowed, where in the code, and a change that was tried before it is given.

A change is applied to a copy of the policy, or to what the app answers, and a browser judges it
there: one that does not let the page in, or lets in others than the page, is no advice.
"""

import difflib
import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from .browser import (
    Block,
    Exchange,
    Headers,
    Outcome,
    PageRequest,
    Response,
    Send,
    fetch,
    is_loopback_url,
    list_items,
    normalize_method,
    page_headers,
    preflight_headers,
    redirect_location,
    unsafe_header_names,
)
from .origins import is_for_development, is_loopback, misspelt, nearest, shown, site
from .policies import (
    PARTS,
    REFUSED,
    FlaskCors,
    Policy,
    PolicyError,
    all_options,
    as_python,
    calls,
    ended,
    endpoint_of,
    flask_cors_in,
    in_one_line,
    options_of,
    path_of,
    place_of,
    place_of_call,
    policy_for,
    policy_of,
)
from .senders import OtherHost

if TYPE_CHECKING:
    from flask import Flask

# The template's question for each part of the policy.
QUESTIONS = {
    "origins": "frontend_origins",
    "methods": "allowed_methods",
    "supports_credentials": "allow_credentials",
    "allow_headers": "allowed_headers",
    "expose_headers": "exposed_headers",
    "max_age": "preflight_max_age",
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


class Unsent(Exception):
    """A request was not sent, since it may change data."""


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

    `instead` is what others than the policy have to do.
    """

    reason: str
    part: str = ""
    lacks: Any = ()
    instead: tuple[Change, ...] = ()


# What the app did with a request.


@dataclass
class Trace:
    """Which functions of an app answered in place of its view, or set a header, and its error.

    `without` names one that is to do neither, as after a change.
    """

    app: Any
    stopped: str = ""
    setters: dict[str, list[str]] = field(default_factory=dict)
    error: Exception | None = None
    without: str = ""

    def clear(self) -> None:
        self.stopped, self.setters, self.error = "", {}, None

    def of(self, header: str) -> list[str]:
        return self.setters.get(header.lower(), [])

    def around_before(self, hook: Callable[..., Any]) -> Callable[[], Any]:
        from flask import request

        place = place_of(hook)

        @wraps(hook)
        def run() -> Any:
            if place == self.without and request.method == "OPTIONS":
                return None
            try:
                answer = self.app.ensure_sync(hook)()
            except Exception:
                self.stopped = place
                raise
            self.stopped = place if answer is not None else self.stopped
            return answer

        return run

    def around_after(self, hook: Callable[..., Any]) -> Callable[[Any], Any]:
        is_theirs = any(flask_cors_in(hook))
        call = ", ".join(filter(None, ("CORS(app)", place_of_call(self.app))))
        place = call if is_theirs else place_of(hook)

        @wraps(hook)
        def run(response: Any) -> Any:
            before = response.headers.copy()
            response = self.app.ensure_sync(hook)(response)
            if place == self.without:
                response.headers = before
            self.note(before, response.headers, place)
            return response

        return run

    def note(self, before: Any, after: Any, place: str) -> None:
        for name in {name.lower() for name, _ in after}:
            if after.getlist(name) != before.getlist(name):
                self.setters.setdefault(name, []).append(place)

    def process(self, *arguments: Any) -> Any:
        """Run `process_response`, and note what the view set before it."""
        from flask import request

        response = arguments[-1]
        view = self.app.view_functions.get(request.endpoint)
        if view is not None:
            place = self.stopped or place_of(view)
            self.note(type(response.headers)(), response.headers, place)
            for name, _ in list(response.headers) if place == self.without else ():
                if name.lower().startswith("access-control-"):
                    response.headers.remove(name)
        return type(self.app).process_response(self.app, *arguments)


@contextmanager
def watched(app: Any) -> Iterator[Trace]:
    """Note what a Flask app does with each request."""
    trace = Trace(app)
    if not hasattr(app, "after_request_funcs"):
        yield trace
        return
    from flask import got_request_exception

    def keep(_: Any, exception: Exception, **more: Any) -> None:
        trace.error = exception

    hooks = app.before_request_funcs, app.after_request_funcs
    before, after = (
        {owner: [around(hook) for hook in found] for owner, found in functions.items()}
        for around, functions in zip((trace.around_before, trace.around_after), hooks, strict=True)
    )
    try:
        app.before_request_funcs, app.after_request_funcs = before, after
        app.process_response = trace.process
        with got_request_exception.connected_to(keep, app):
            yield trace
    finally:
        del app.process_response
        app.before_request_funcs, app.after_request_funcs = hooks


# Which reasons there are.


@dataclass(frozen=True)
class Case:
    """A request to an app here that is not allowed.

    `policy` is the one that it goes by, if it can be read, and `refused` whether the API refused
    it. `trace` is of the last request. `send` sends safe ones only, to try a change.
    """

    request: PageRequest
    outcome: Outcome
    policy: Policy | None
    refused: bool
    trace: Trace
    send: Send

    @property
    def last(self) -> Exchange:
        return self.outcome.exchanges[-1]

    @property
    def path(self) -> str:
        return path_of(self.last.url)

    def helps(self, url: str = "", without: str = "") -> bool:
        """Try another URL, or what `Trace.without` says: what then still blocks is the policy."""
        self.trace.without = without
        try:
            block = fetch(
                url or self.outcome.exchanges[0].url, self.request, self.send
            ).verdict.block
        except Unsent:
            return True
        except OtherHost:
            return False
        finally:
            self.trace.without = ""
        return block is None or block is policy_block(self.policy, self.request)


def policy_block(policy: Policy | None, request: PageRequest) -> Block | None:
    """Return why a browser would block a request if the policy alone answered it."""
    return fetch(ANYWHERE, request, policy.answer).verdict.block if policy else None


def advise(case: Case) -> Advice:
    """Return why a request to an app here is not allowed, and what would allow it."""
    policy, block = case.policy, case.outcome.verdict.block
    causes = list(policy_causes(policy, case.request)) if policy else []
    is_explained = block is not None and block is policy_block(policy, case.request)
    if case.refused:
        is_explained = bool({cause.part for cause in causes} & {"origins", "methods"})
    if isinstance(policy, FlaskCors) and case.outcome.verdict.during_preflight:
        is_explained &= case.last.response.status < 300  # which is not the policy's doing
    if not is_explained:
        causes.insert(0, other_cause(case))
    url = case.last.url if case.outcome.exchanges else ""
    return with_changes(case.trace.app, url, case.request, policy, causes)


def advice_here(app: Any, url: str, request: PageRequest) -> Advice | None:
    """Return why the policy of an app does not allow a request, None if it does.

    Nothing is sent, and no code of the app runs.
    """
    policy = policy_for(app, url, request.method, request.origin)
    causes = list(policy_causes(policy, request)) if policy else []
    return with_changes(app, url, request, policy, causes) if causes else None


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
    is_ours = isinstance(problem, dict) and problem.get("title") == REFUSED
    return str(problem.get("detail")) if is_ours else None


def policy_causes(policy: Policy, request: PageRequest) -> Iterator[Cause]:
    """Yield each reason why a policy does not allow a request."""
    if not policy.allows(request.origin):
        yield origin_cause(policy, request.origin)
    method = normalize_method(request.method)
    asks = preflight_headers(request) is not None
    if (asks or policy.protection) and not policy.allows_method(method):
        if method.upper() in policy.methods:
            reason = (
                f"the page must write {method.upper()}, not {method}: browsers send this method as"
                " the page writes it"
            )
            yield Cause(reason, "methods")
        else:
            allowed = ", ".join(policy.methods) or "none"
            reason = f"{shown(method)} is not allowed; {policy.name} allows {allowed}"
            yield Cause(reason, "methods", [method])
    names = unsafe_header_names(page_headers(request))
    if missing := [name for name in names if not policy.allows_header(name)]:
        where = f" by {policy.name}" if policy.path or isinstance(policy, FlaskCors) else ""
        listed = ", ".join(map(shown, missing))
        what = f"header {listed} is" if len(missing) == 1 else f"headers {listed} are"
        yield Cause(f"the {what} not allowed{where}", "allow_headers", missing)
    if request.credentials and not policy.supports_credentials:
        forbids = "does not allow" if isinstance(policy, FlaskCors) else "forbids"
        reason = f"the request sends credentials; {policy.name} {forbids} them"
        yield Cause(reason, "supports_credentials", True)


def origin_cause(policy: Policy, origin: str) -> Cause:
    """Return why an origin is not allowed, and what the page has to do if the policy is right."""
    reason = f"{shown(origin)} is not allowed{nearest(policy.origins, policy.name, origin)}"
    secure = origin.replace("http://", "https://", 1)
    if secure != origin and not is_loopback(origin) and policy.allows(secure):
        # Over plain http, anyone on the network could change the page.
        return Cause(reason, "origins", instead=(Change("To allow it, open the page at", secure),))
    if origin == "null" and isinstance(policy, FlaskCors):
        exact = [one for one in policy.origins if one.startswith("http") and "*" not in one]
        instead = tuple(Change("To allow it, serve the page at", one) for one in exact[:1])
        reason = "null is not allowed: any site can have it, by a sandboxed frame or a local file"
        return Cause(reason, "origins", instead=instead)
    return Cause(reason, "origins", [origin])


def other_cause(case: Case) -> Cause:
    """Return why a request is not allowed where no policy that can be read is the cause."""
    block, value = case.outcome.verdict.block, shown(case.outcome.verdict.found)
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
    if case.refused and case.policy:
        return Cause(f"{case.policy.name} allows this request, but not as it is after the redirect")
    if case.trace.error is not None:
        return Cause(
            f"the code failed: {in_one_line(case.trace.error)}. The answer has no CORS headers, as"
            " in debug mode, so the browser reports CORS: fix the code"
        )
    if case.outcome.verdict.during_preflight and case.last.response.status >= 300:
        return preflight_cause(case)
    if block is Block.SEVERAL_ALLOW_ORIGINS or case.policy is not None:
        return overridden(case)
    cause = uncovered(case) if block is Block.NO_ALLOW_ORIGIN else Cause(wrong_header(case))
    return cause if cause.instead else replace(cause, instead=headers_by_hand(case))


def lost_origin(request: PageRequest, outcome: Outcome) -> str | None:
    """Return what to do about a redirect after which a browser hides the page's origin."""
    last = outcome.exchanges[-1]
    if ("Origin", request.origin) in last.headers:
        return None
    return (
        f"{outcome.exchanges[0].url} redirects to another origin, so a browser sends"
        f" Origin: null, which no API should allow: have the page call {last.url} directly"
    )


def preflight_cause(case: Case) -> Cause:
    """Return why a preflight gets an error or a redirect, and not an answer."""
    app, method, status = case.trace.app, case.request.method, case.last.response.status
    if place := case.trace.stopped:
        name, _, line = place.partition(", ")
        lead = f"To allow it, as the first line of {name}, {line}"
        change = Change(lead, 'if request.method == "OPTIONS": return None')
        return Cause(
            f"a check runs before CORS: {place}. It answers the preflight with {status}, but"
            " browsers send no credentials with one",
            instead=(change,) if case.helps(without=place) else (),
        )
    view = view_at(app, case.path, method)
    if (location := redirect_location(case.last.response)) is not None:
        target = urljoin(case.last.url, location)
        is_slash = view and case.path.rstrip("/") == path_of(target).rstrip("/")
        why = f" for the slash of its route ({place_of(view)})" if is_slash else ""
        change = Change("To allow it, have the page call", target)
        return Cause(
            f"the app redirects {case.path} to {shown(location)}{why}, and browsers follow no"
            " redirect of a preflight",
            instead=(change,) if case.helps(target) else (),
        )
    if order := misplaced(case):
        return order
    route = about_route(app, case.path, method) or about_route(app, case.path, "OPTIONS")
    check = f"a check runs before CORS in {place_of(view)}" if view else "answer it with 204"
    cause = Cause(f"the preflight is answered with {status}: {route or check}")
    return cause if case.policy else replace(cause, instead=headers_by_hand(case))


def overridden(case: Case) -> Cause:
    """Return which code of the app sets a header that the policy, or other code, sets too."""
    places = list(dict.fromkeys(case.trace.of(ALLOW_ORIGIN)))
    by_hand = [place for place in places if not place.startswith("CORS(")]
    if case.outcome.verdict.block is Block.SEVERAL_ALLOW_ORIGINS:
        by = " and by ".join(places) or "two places"
        found = shown(case.outcome.verdict.found)
        reason = f"Access-Control-Allow-Origin is added by {by}: {found}"
    elif by_hand and case.policy:
        by = " and ".join(by_hand)
        reason = f"{case.policy.name} allows this request, but {by} sets other CORS headers"
    else:
        name = case.policy.name if case.policy else ""
        reason = f"{name} allows this request, but other code in the app changes its CORS headers"
        return Cause(f"{reason}: find that code and remove it")
    helping = [place for place in by_hand if case.helps(without=place)]
    instead = tuple(Change("To allow it, remove the CORS headers in", one) for one in helping[:1])
    return Cause(reason, instead=instead)


def uncovered(case: Case) -> Cause:
    """Return why an answer has no CORS headers, where no policy is for its path."""
    app, path, request = case.trace.app, case.path, case.request
    if not hasattr(app, "after_request_funcs"):
        return Cause(f"the app adds no CORS headers to {path}")
    if order := misplaced(case):
        return order
    if route := about_route(app, path, request.method):
        return Cause(f"the answer is {case.last.response.status}, without CORS headers: {route}")
    for owner, (told, *_) in calls(app, [None, *filter(None, app.after_request_funcs)]):
        return add_path(case, told, owner)
    decorated = [option.name for option in all_options(app) if option.call == "@cross_origin("]
    if decorated and (view := view_at(app, path, request.method)):
        option = FlaskCors.told(app, "@cross_origin(", place_of(view), for_page(request))
        change = judged(request, None, option, f"To allow it, above {place_of(view)}")
        others = "; ".join(decorated)
        return Cause(f"there is {others}, but none at {place_of(view)}", instead=change)
    if hooks := [place_of(hook) for hook in app.after_request_funcs.get(None, ())]:
        return Cause(f"nothing adds CORS headers to {path}: {'; '.join(hooks)} adds none")
    return Cause(f"the app has no CORS at all: nothing adds its headers to {path}")


def add_path(case: Case, told: FlaskCors, owner: str | None) -> Cause:
    """Return that flask-cors was not told of a path, and the call that covers it too."""
    endpoint = endpoint_of(told.app, case.path, case.request.method)
    rules = [rule.rule for rule in told.app.url_map.iter_rules(endpoint)] if endpoint else []
    pattern = re.sub("<.*", ".*", next(iter(rules), case.path))
    page = for_page(case.request)
    if owner is not None:
        reason = f"{told.call}) covers the routes of its blueprint only, and not {case.path}"
        after = FlaskCors.told(told.app, "CORS(app", "", page, pattern)
        return Cause(reason, instead=judged(case.request, None, after, "To allow it, add"))
    after = told.with_options(page if told.is_public else {}, pattern)
    lacking = lacks(policy_causes(after, case.request))
    after = after.with_options(with_lacking(after, lacking, case.request))
    reason = f"{told.call}) covers {', '.join(told.patterns)}, and not {case.path}"
    return Cause(reason, instead=judged(case.request, None, after, at(told, "allow it")))


def misplaced(case: Case) -> Cause | None:
    """Return that `@cross_origin` does not get a request, as it is in the wrong place."""
    view = view_at(case.trace.app, case.path, case.request.method)
    module = sys.modules.get(getattr(view, "__module__", ""))
    named = getattr(module, getattr(view, "__name__", ""), None)
    for function, wrong, right in (
        (view, "below a decorator that answers first", "as the first below @app.route"),
        (named, "above @app.route, which registers the view without it", "below @app.route"),
    ):
        for option in options_of(case.trace.app, function, case.request.method):
            change = Change(f"To allow it, {right}, at {option.place}", str(option))
            is_right = policy_block(option, case.request) is None
            reason = f"@cross_origin at {option.place} is {wrong}"
            return Cause(reason, instead=(change,) if is_right else ())
    return None


def view_at(app: Any, path: str, method: str) -> Any:
    """Return the view of a path in a Flask app, None if there is none."""
    endpoint = endpoint_of(app, path, method) if hasattr(app, "view_functions") else None
    return app.view_functions.get(endpoint) if endpoint else None


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
        others = case.trace.of(ALLOW_ORIGIN)
        return f"nothing sets {name}{f', though {others[0]} sets others' if others else ''}"
    places = " and ".join(dict.fromkeys(case.trace.of(name)))
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
        places = [place for name, _ in found for place in case.trace.of(name)]
        where = f"in {places[0]}, " if places and response is case.last.response else ""
        lead = f"To allow it, {where}answer {method} {path_of(url)} with"
        lines = [f"{name}: {value}" for name, value in found if response.get(name.lower()) != value]
        if lines or is_error:
            changes.append(Change(f"{lead} 204 and" if is_error else lead, "; ".join(lines)))
        names = {name.lower() for name, _ in found}
        kept = tuple(header for header in response.headers if header[0].lower() not in names)
        return Response(204 if is_error else response.status, (*kept, *found))

    is_allowed = fetch(case.outcome.exchanges[0].url, case.request, fixed).allowed
    # Any site can have the origin null, by a sandboxed frame.
    return tuple(changes) if is_allowed and case.request.origin != "null" else ()


def needed(request: PageRequest, response: Response, is_preflight: bool) -> Headers:
    """Return the CORS headers that any server must answer a page's request with.

    What `response` has already, its lists and its `*`, is kept as far as it is of use.
    """
    allowed = "*" if response.get(ALLOW_ORIGIN) == "*" and not request.credentials else None
    found = [("Access-Control-Allow-Origin", allowed or request.origin)]
    if allowed is None:
        vary = list_items(response.get("vary"))
        is_listed = {"origin", "*"} & {name.lower() for name in vary}
        found.append(("Vary", ", ".join(vary if is_listed else [*vary, "Origin"])))
    if request.credentials:
        found.append(("Access-Control-Allow-Credentials", "true"))
    if not is_preflight:
        return tuple(found)
    for name, more in (
        ("Access-Control-Allow-Methods", [normalize_method(request.method)]),
        ("Access-Control-Allow-Headers", unsafe_header_names(page_headers(request))),
    ):
        listed = list_items(response.get(name.lower()))
        lower = {item.lower() for item in listed}
        items = [*listed, *(item for item in more if item.lower() not in lower)]
        if items:
            found.append((name, ", ".join(items)))
    return tuple(found)


# What to change in a policy.


def with_changes(
    app: Any,
    url: str,
    request: PageRequest,
    policy: Policy | None,
    causes: list[Cause],
    purpose: str = "allow it",
) -> Advice:
    """Return the reasons, and what gives the policy all that it lacks, if it may have it."""
    reasons = tuple(cause.reason for cause in causes)
    instead = tuple(change for cause in causes for change in cause.instead)
    lacking = lacks(causes)
    if policy is None or not lacking:
        return Advice(reasons, instead)
    if isinstance(policy, FlaskCors):
        after = policy.with_options(with_lacking(policy, lacking, request))
        return Advice(reasons, (*instead, *judged(request, policy, after, at(policy, purpose))))
    try:
        changes = tuple(change_of_ours(app, url, request, policy, lacking, purpose))
    except PolicyError as error:
        cannot = f"the policy cannot allow it: {error}"
        if len(reasons) == 1:
            return Advice((f"{reasons[0]}; {cannot}",))
        return Advice((*reasons, cannot), instead)
    return Advice(reasons, (*instead, *changes))


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
        fixed = [(ended(one, request.origin) or ("", one))[1] for one in origins]
        values["origins"] = [request.origin] if policy.is_public else fixed
    return values


def for_page(request: PageRequest) -> dict[str, Any]:
    """Return options of flask-cors for one page."""
    credentials = {"supports_credentials": True} if request.credentials else {}
    return {"origins": [request.origin], **credentials}


def at(policy: FlaskCors, purpose: str) -> str:
    """Return how a sentence begins that says where to write a call."""
    where = f"at {policy.place}" if policy.place else f"in place of {policy.call}…)"
    return f"To {purpose}, {where}"


def judged(
    request: PageRequest, before: Policy | None, after: FlaskCors, lead: str
) -> tuple[Change, ...]:
    """Return what makes one policy of another, if that lets in the page and nobody else."""
    return (Change(lead, str(after)),) if lets_in_only(request, before, after) else ()


def lets_in_only(request: PageRequest, before: Policy | None, after: Policy) -> bool:
    """Return whether a changed policy lets in the page, and no page that it kept out before.

    Where every site was let in without credentials, none may be let in with them now.
    """
    if before and after.supports_credentials and not before.supports_credentials:
        before = None if before.is_public else before
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


def change_of_ours(
    app: "Flask",
    url: str,
    request: PageRequest,
    policy: Policy,
    lacking: dict[str, Any],
    purpose: str,
) -> Iterator[Change]:
    """Yield what gives the template's policy what it lacks, for good and in one deployment.

    Raises PolicyError if it may not have that.
    """
    whole, paths = policy_of(app), app.config.get("CORS_PATHS") or {}
    values = with_lacking(policy, lacking, request)
    if not lets_in_only(request, policy, policy.changed(whole, paths, values)):
        return
    if urlsplit(url).netloc and not is_loopback_url(url) and "origins" in values:
        new = lacking["origins"]
        kept = [one for one in values["origins"] if one in new or not is_for_development(one)]
        values["origins"] = kept
    answered = without_environment(app, whole).for_path(policy.path.rstrip("/"))
    left = lacks(policy_causes(answered, request)) if purpose == "allow it" else lacking
    for_good = with_lacking(answered, left, request)
    if policy.path:
        first, line, variable = change_of_path(policy, paths, values, for_good)
        where = ", write in app/settings.py"
    else:
        first, line, variable = change_of_whole(app, values, for_good)
        where = ""
    if first:
        yield Change("First", first)
    if line:
        yield Change(f"To {purpose}{where}", line)
    yield Change("Or for one deployment" if line else f"To {purpose} in one deployment", variable)


def change_of_path(
    policy: Policy, paths: Mapping[str, Any], values: dict[str, Any], for_good: dict[str, Any]
) -> tuple[str, str, str]:
    """Return what gives a path's policy new values: first, for good and in one deployment."""
    variable = "FLASK_CORS_PATHS"
    own = {**paths, policy.path: {**paths.get(policy.path, {}), **values}}
    here = f"{variable}={shlex.quote(json.dumps(own))}"
    if variable in os.environ:
        place = environment_of(variable)
        return f"change {variable} ({place}), which overrides app/settings.py", "", here
    entry = f"CORS_PATHS[{as_python(policy.path)}]"
    line = f"{entry} |= {as_python(for_good)}" if for_good else ""
    if len(for_good) == 1:
        ((part, value),) = for_good.items()
        line = f"{entry}[{as_python(part)}] = {as_python(value)}"
    return "", line, here


def change_of_whole(
    app: "Flask", values: dict[str, Any], for_good: dict[str, Any]
) -> tuple[str, str, str]:
    """Return what gives the whole policy new values: first, for good and in one deployment."""
    overriding = [name for part in values if (name := variable_of(app, part))]
    names = " and ".join(f"{name} ({environment_of(name)})" for name in overriding)
    overrides = "overrides" if len(overriding) == 1 else "override"
    already = "" if for_good else ": they allow this"
    first = f"remove {names}, which {overrides} the answers{already}" if overriding else ""
    here = (f"FLASK_CORS_{part.upper()}={shlex.quote(as_text(v))}" for part, v in values.items())
    return first, copier_command(for_good), " ".join(here)


def copier_command(values: dict[str, Any]) -> str:
    """Return the command that changes these answers, empty if none does."""
    if not values or not set(values.get("methods", ())) <= set(METHODS):
        return ""
    answers = []
    for part, value in values.items():
        # Copier reads answers as YAML, in which a * at the start means something else, and takes
        # the methods only as a list.
        text = re.sub(r"^[*](?=,|$)", "any", as_text(value))
        answers.append(f"{QUESTIONS[part]}={f'[{text}]' if part == 'methods' else text}")
    given = " ".join(f"-d {shlex.quote(answer)}" for answer in answers)
    return f"uvx copier update --vcs-ref=:current: --defaults {given}"


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else ", ".join(value)


def allow_another(app: Any, page: str) -> tuple[Change, ...]:
    """Return what allows a page on one more origin to GET."""
    policy = policy_for(app, "/", origin=page)
    causes = [Cause("", "origins", [page])]
    return with_changes(app, "/", PageRequest(page), policy, causes).changes


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
    if is_secure and url.startswith("http://") and not is_loopback_url(url):
        return "plain"
    is_same_site = site(url) is not None and site(request.origin) == site(url)
    if is_loopback(request.origin) and is_loopback_url(url):
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


def settings_in(name: str) -> dict[str, Any]:
    """Return the settings in a module of the project, none if it has no such module."""
    try:
        module = import_module(name)
    except ImportError:
        return {}
    return {key: value for key, value in vars(module).items() if key.isupper()}


def source(app: "Flask", name: str) -> str:
    """Return where a setting was set; the later source wins, as in `create_app`."""
    value = app.config.get(name)
    variable = f"FLASK_{name}"
    if variable in os.environ and value == as_app_reads(name, os.environ[variable]):
        return f"{environment_of(variable)}, {variable}"
    for module in ("app.settings", "app.answers"):
        settings = settings_in(module)
        if name in settings and value == settings[name]:
            return f"{module.replace('.', '/')}.py"
    if name not in app.config or value == SHOWN.get(name, ...):
        return "default"
    # The entry point of `flask` in projects of 3.0.0.
    return "dev.py" if name.startswith("SESSION_") and "dev" in sys.modules else "create_app"


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


def variable_of(app: "Flask", part: str) -> str | None:
    """Return the variable that sets a part of the policy in force, None if none does."""
    name = f"CORS_{part.upper()}"
    text = os.environ.get(f"FLASK_{name}")
    is_used = text is not None and app.config.get(name) == as_app_reads(name, text)
    return f"FLASK_{name}" if is_used else None


def without_environment(app: "Flask", policy: Policy) -> Policy:
    """Return the policy as it is where no variable overrides the answers."""
    answers = settings_in("app.answers")
    overridden = [part for part in PARTS if answers and variable_of(app, part)]
    values = {part: answers.get(f"CORS_{part.upper()}", True) for part in overridden}
    with suppress(PolicyError):  # the answers may not fit CORS_PATHS
        return policy.changed(policy, app.config.get("CORS_PATHS") or {}, values)
    return policy
