"""What a browser and this app do with a request, step by step, and why one of them says no."""

import json
import logging
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import responses
from ipaddress import ip_address
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .browser import (
    LOOPBACK_HOST,
    Block,
    Exchange,
    Headers,
    Outcome,
    PageRequest,
    Response,
    Send,
    Verdict,
    fetch,
    http_origin,
    is_loopback_url,
    list_items,
    normalize_method,
    readable_headers,
)
from .causes import (
    SHOWN,
    Advice,
    Case,
    Cause,
    Change,
    Trace,
    Unsent,
    about_route,
    advise,
    lost_cookies,
    refusal,
    settings_in,
    source,
    watched,
    with_changes,
)
from .consoles import Said, sentences
from .entry import called_as
from .origins import with_metadata
from .policies import (
    SAFE_METHODS,
    FlaskCors,
    Policy,
    all_options,
    as_python,
    ended,
    parts_of,
    path_of,
    policy_for,
    policy_of,
)
from .senders import OtherHost, wsgi_sender
from .trials import cookie_risks, notes, risks, risks_of_paths

if TYPE_CHECKING:
    from flask import Flask

# Those of the policy's log, by the projects' releases: 3.0.0 and 4.0.0.
LOGGERS = ("app.cors.log", "app.cors.gate")

# Explaining changes hooks of the app for as long as it takes.
LOCK = Lock()

# Response headers that are for the browser, a cache or a proxy rather than for a page's code.
NOT_FOR_PAGES = re.compile(
    "(?:age|allow|alt-svc|connection|content-encoding|date|keep-alive|nel|referrer-policy|report-to"
    "|server|set-cookie|strict-transport-security|transfer-encoding|upgrade|vary|via"
    "|x-frame-options|x-powered-by)$"
    "|access-control-|content-security-|cross-origin-|permissions-|x-content-type-|x-xss-"
)


@dataclass(frozen=True)
class Explanation:
    """A page's request, its outcome, and what to change if it is not allowed.

    It is blocked by the browser or refused by the API, which may let the page read why: then
    `refused` says it. If it is allowed, `hidden` is about headers that the page cannot read.
    `warnings` are about the API, whether the request is allowed or not. With `unsent`, no code of
    the app has run for the request itself; without `known`, nobody can say what it would answer.
    """

    request: PageRequest
    url: str
    outcome: Outcome
    refused: str | None
    advice: Advice | None
    warnings: tuple[str, ...] = ()
    hidden: Advice | None = None
    unsent: bool = False
    known: bool = True

    @property
    def allowed(self) -> bool:
        return self.outcome.allowed and self.refused is None and self.known

    @property
    def exit_code(self) -> int:
        """0 if the request is allowed, 1 if it is blocked or refused, 2 if nobody can say."""
        return (0 if self.allowed else 1) if self.known else 2

    @property
    def status(self) -> int | None:
        """The status of the response itself, None if none came."""
        is_last = self.outcome.exchanges and not self.outcome.verdict.during_preflight
        return self.outcome.response.status if is_last and not self.unsent else None

    @property
    def consoles(self) -> dict[str, str]:
        """What each browser prints in its console."""
        return sentences(self.request, self.url, self.outcome)


class Sender:
    """Sends a page's requests to an app here. Unless `sends` is true, only those that are safe."""

    def __init__(self, trace: Trace, url: str, request: PageRequest, sends: bool) -> None:
        self.trace, self.request, self.sends = trace, request, sends
        self.through = wsgi_sender(trace.app, request.body, url)
        self.exchanges: list[Exchange] = []
        self.unsent = False

    def __call__(self, method: str, url: str, headers: Headers) -> Response:
        """Raise Unsent if the request may change data, and nobody knows what is answered."""
        self.trace.clear()
        if method in SAFE_METHODS or self.sends:
            response = self.send(method, url, headers)
        else:
            response = self.without_code(method, url, headers)
        self.exchanges.append(Exchange(method, url, headers, response))
        return response

    def send(self, method: str, url: str, headers: Headers) -> Response:
        try:
            return self.through(method, url, headers)
        except OtherHost:
            raise
        except Exception as error:  # noqa: BLE001  # as a debugger gets it
            self.trace.error = error
            return Response(500, ())

    def without_code(self, method: str, url: str, headers: Headers) -> Response:
        """Return what the policy makes of a request: no view and no hook of the app runs."""
        app = self.trace.app
        policy = policy_for(app, url, method, self.request.origin)
        if policy is None:
            raise Unsent
        if isinstance(policy, FlaskCors):
            self.unsent = True
            return policy.answer(method, url, headers)

        def stop(*_: Any) -> Any:
            self.unsent = True
            redirect = flask.request.routing_exception
            return redirect if isinstance(redirect, RequestRedirect) else app.response_class()

        import flask
        from werkzeug.routing import RequestRedirect

        app.full_dispatch_request = stop
        try:
            return self.send(method, url, headers)
        finally:
            del app.full_dispatch_request


def explain(
    app: Any, url: str, request: PageRequest, said: Said | None = None, send: bool = False
) -> Explanation:
    """Send a request through an app as a browser would, and explain the outcome.

    `app` is a Flask app or any WSGI application, and `said` is what a console said. Without
    `send`, code of the app runs for preflights, GET and HEAD only. Raises OtherHost if the app
    redirects to another host.
    """
    with LOCK, explained_not_logged(), watched(app) as trace:
        sender = Sender(trace, url, request, send)
        try:
            outcome = fetch(url, request, with_metadata(sender, request.origin))
        except Unsent:
            outcome = Outcome(Verdict(), tuple(sender.exchanges))
            return Explanation(request, url, outcome, None, None, unsent=True, known=False)
        safe = with_metadata(Sender(trace, url, request, sends=False), request.origin)
        found = conclude(app, url, request, outcome, trace, safe)
    warnings = (*found.warnings, *about_place(app, found, said))
    if sender.unsent and (route := about_route(app, path_of(url), request.method)):
        warnings += (f"the app would not run it: {route}",)
    return replace(found, warnings=warnings, unsent=sender.unsent)


def conclude(
    app: Any, url: str, request: PageRequest, outcome: Outcome, trace: Trace, send: Send
) -> Explanation:
    """Return the explanation of what this app answered."""
    last = outcome.exchanges[-1] if outcome.exchanges else None
    url_now = last.url if last else url
    policy = policy_for(app, url_now, request.method, request.origin)
    refused = refusal(last, policy) if last else None
    if outcome.allowed and refused is None:
        hidden = hidden_headers(app, url_now, policy, request, outcome.response)
        warnings = tuple(about_answer(app, url_now, policy, request, outcome.response))
        return Explanation(request, url, outcome, None, None, warnings, hidden)
    advice = advise(Case(request, outcome, policy, refused is not None, trace, send))
    return Explanation(request, url, outcome, refused, advice)


def about_answer(
    app: Any, url: str, policy: Policy | None, request: PageRequest, response: Response
) -> Iterator[str]:
    """Yield what matters about an answer that the page may read."""
    if isinstance(policy, FlaskCors):
        yield from risks_of_options(policy, request.origin)
    if response.status in (404, 405) and (route := about_route(app, path_of(url), request.method)):
        yield f"the app answers {response.status}: {route}"
    cookies = [value for name, value in response.headers if name.lower() == "set-cookie"]
    cookies += session_cookie(app, url, request)
    yield from dict.fromkeys(lost_cookies(request, url, cookies))


def session_cookie(app: Any, url: str, request: PageRequest) -> list[str]:
    """Return Flask's session cookie as the app would set it, if it uses one."""
    config = getattr(app, "config", {})
    if not request.credentials or not config.get("SECRET_KEY"):
        return []
    if not is_loopback_url(url):  # the environment of this machine sets other attributes
        config = {**config, **settings_in("app.answers"), **settings_in("app.settings")}
    cookie = [f"{config['SESSION_COOKIE_NAME']}=1"]
    if same_site := config.get("SESSION_COOKIE_SAMESITE"):
        cookie.append(f"SameSite={same_site}")
    cookie += [
        name for name in ("Secure", "Partitioned") if config.get(f"SESSION_COOKIE_{name.upper()}")
    ]
    return ["; ".join(cookie)]


def risks_of_options(policy: FlaskCors, origin: str = "") -> Iterator[str]:
    """Yield what a policy of flask-cors allows that its owner hardly means.

    `origin` is one that it allows.
    """
    if policy.is_public and policy.supports_credentials:
        yield f"{policy.name}: every site can act as your logged-in users: list the origins"
    for pattern in policy.origins:
        if found := ended(pattern, origin):
            stranger, fixed = found
            yield (
                f"{policy.name}: the pattern {pattern} has no end, so it allows {stranger} too:"
                f" write {as_python(fixed)}"
            )


def hidden_headers(
    app: Any, url: str, policy: Policy | None, request: PageRequest, response: Response
) -> Advice | None:
    """Return which headers of a response a page cannot read, and what exposes them."""
    readable = {name for name, _ in readable_headers(request, response)}
    hidden = [
        name
        for name in dict.fromkeys(name for name, _ in response.headers)
        if name not in readable and not NOT_FOR_PAGES.match(name.lower())
    ]
    if not hidden:
        return None
    reason = f"the page cannot read {', '.join(hidden)}"
    if policy is None:
        listed = list_items(response.get("access-control-expose-headers"))
        line = f"Access-Control-Expose-Headers: {', '.join([*listed, *hidden])}"
        return Advice((reason,), (Change("To expose them, answer with", line),))
    cause = Cause(reason, "expose_headers", hidden)
    return with_changes(app, url, request, policy, [cause], "expose them")


def about_place(app: "Flask", explanation: Explanation, said: Said | None) -> Iterator[str]:
    """Yield what matters where the page and the API really are. `said` is what a console said."""
    url, request = explanation.url, explanation.request
    if said and said.block is Block.LOCAL_NETWORK:
        yield more_local(request.origin, urlsplit(url).hostname or "")
    elif said and explanation.allowed:
        command = shlex.join([*called_as().split(), "probe", url, request.origin, request.method])
        yield (
            "the policy here allows what the browser blocked: start the API again or deploy it,"
            f" and see what it answers: {command}"
        )
    elif not url.startswith(f"{own_url(app)}/") and (found := local_network(request.origin, url)):
        yield found


def local_network(page: str, url: str) -> str | None:
    """Return what Chromium does if a page asks for a more local address than its own.

    Local Network Access, section 2.1, "IP address space": of a host's name, only those of this
    machine and of mDNS tell which it is.
    """
    origin, host = http_origin(page), urlsplit(url).hostname or ""
    if origin is None or locality(host) <= locality(origin[1]):
        return None
    return more_local(page, host)


def more_local(page: str, host: str) -> str:
    rule = "whatever the policy allows (Local Network Access)"
    where = "this machine" if locality(host) == 2 else "a local network"
    if page.startswith("https:"):
        return (
            f"Chrome asks its user before a page on {page} may reach {host}, an address of {where},"
            f" and blocks the request if the user says no, {rule}"
        )
    return (
        f"serve the page over https: Chrome lets no page on plain http reach {host}, an address of"
        f" {where}, {rule}"
    )


def locality(host: str) -> int:
    """Return 2 for a host of this machine, 1 for one of a local network, 0 for others."""
    if LOOPBACK_HOST.match(host):
        return 2
    try:
        return int(ip_address(host).is_private)
    except ValueError:
        return int(host.endswith(".local"))


def own_url(app: Any) -> str:
    """Return where `flask run` serves the app, or where other frameworks serve theirs."""
    config = getattr(app, "config", None)
    return f"http://localhost:{config.get('RUN_PORT', 5000) if config is not None else 8000}"


@contextmanager
def explained_not_logged() -> Iterator[None]:
    """Keep what is sent out of the app's log, which would repeat the explanation."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, was_disabled in zip(loggers, before, strict=True):
            logger.disabled = was_disabled


def as_text(explanation: Explanation) -> Iterator[str]:
    """Yield the explanation's lines, for a person to read."""
    exchanges = explanation.outcome.exchanges
    for number, sent in enumerate(exchanges, start=1):
        is_unsent = explanation.unsent and explanation.known and number == len(exchanges)
        yield from map(printable, step(number, sent, is_unsent))
        yield ""
    yield from map(printable, conclusion(explanation))
    yield from (f"Warning: {printable(warning)}" for warning in explanation.warnings)


def printable(line: str) -> str:
    """Return a line with control characters escaped: a server must not control the terminal."""
    return line if line.isprintable() else json.dumps(line)[1:-1]


def step(number: int, sent: Exchange, is_unsent: bool) -> Iterator[str]:
    kind = "preflight" if is_preflight(sent.headers) else "request"
    yield f"{number}. {kind}{', not sent' if is_unsent else ''}: {sent.method} {sent.url}"
    yield from (f"   > {name}: {value}" for name, value in sent.headers)
    if is_unsent:
        return
    status = sent.response.status
    yield f"   < {status} {responses.get(status, '')}".rstrip()
    for name, value in sent.response.headers:
        if matters(name.lower()):
            yield f"   < {name}: {value}"


def conclusion(explanation: Explanation) -> Iterator[str]:
    verdict, advice = explanation.outcome.verdict, explanation.advice
    method = normalize_method(explanation.request.method)
    if not explanation.known:
        yield (
            f"Not known: the {method} was not sent, since it may change data, and its headers are"
            " set by code that did not run. Add --send to send it."
        )
    elif explanation.allowed:
        if explanation.unsent:
            yield (
                f"Allowed by the policy: the page may read the response. The {method} itself was"
                " not sent, since it may change data; --send sends it."
            )
        else:
            answers = f"and the app answers {explanation.status}"
            yield f"Allowed, {answers}: the page may read the response."
        if explanation.hidden is not None:
            yield f"But {explanation.hidden.reasons[0]}: it gets null."
            yield from map(str, explanation.hidden.changes)
    elif explanation.refused is not None:
        yield f"Refused by the API, before its code ran: {explanation.refused}."
        if verdict.block is None:
            yield "The page may read this answer: the browser blocks nothing."
        else:
            yield f"The browser hides this answer: {verdict.block.value}."
    elif verdict.block is not None:
        where = "the preflight" if verdict.during_preflight else "the request"
        yield f"Blocked by the browser at {where}: {verdict.block.value}."
    for browser, sentence in explanation.consoles.items():
        first, *rest = sentence.splitlines()
        yield f"{browser}'s console: {first}"
        yield from (f"  {line}" for line in rest)
    if advice is not None:
        yield ""
        yield f"Why: {advice.reasons[0]}"
        yield from (f"Also: {reason}" for reason in advice.reasons[1:])
        yield from map(str, advice.changes)


def is_preflight(headers: Headers) -> bool:
    return any(name == "Access-Control-Request-Method" for name, _ in headers)


def matters(name: str) -> bool:
    """Return whether a response header affects the verdict, or caches of it."""
    return name.startswith("access-control-") or name in ("vary", "location", "cache-control")


# The policy in force.


@dataclass(frozen=True)
class Setting:
    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class Report:
    """The policy and other settings as the app uses them, and what to know about them.

    Each path in CORS_PATHS has all parts of its policy; `own` are those that it does not inherit.
    """

    settings: list[Setting]
    own: dict[str, list[str]]
    warnings: list[str]
    notes: list[str]


def report(app: Any) -> Report:
    if "cors_policy" not in getattr(app, "extensions", {}):
        return report_of_options(app)
    policy = policy_of(app)
    used: dict[str, Any] = {f"CORS_{name.upper()}": part for name, part in parts_of(policy).items()}
    used["CORS_PATHS"] = {path: parts_of(own) for path, own in policy.paths.items()}
    answers = settings_in("app.answers")
    # The environment of this machine sets another.
    deployed = answers | settings_in("app.settings")
    same_site = deployed.get("SESSION_COOKIE_SAMESITE")
    return Report(
        [
            Setting(name, used.get(name, app.config.get(name)), source(app, name))
            for name in [*used, *(name for name in answers if name not in used)]
        ]
        + [Setting(name, other_setting(app, name), source(app, name)) for name in SHOWN],
        own_parts(app, policy),
        [
            *risks(policy, app.debug),
            *risks_of_paths(policy, app.debug),
            *cookie_risks(policy, same_site),
        ],
        list(notes(policy, own_url(app))),
    )


def report_of_options(app: Any) -> Report:
    """Return what flask-cors was told; headers that other code sets are in no setting."""
    found = list(all_options(app)) if hasattr(app, "view_functions") else []
    kinds = [Setting(one.call.partition("(")[0], str(one), one.place) for one in found]
    warnings = [warning for one in found for warning in risks_of_options(one)]
    nothing = f"no policy can be read here; to see what the app answers: {called_as()} explain"
    return Report(kinds, {}, warnings, [] if found else [nothing])


def other_setting(app: "Flask", name: str) -> Any:
    """Return a setting as it can be shown: of a secret, only whether it is set."""
    value = app.config.get(name, SHOWN[name])
    if name == "SECRET_KEY":
        return "set" if value else "not set"
    return ", ".join(value) if isinstance(value, (list, tuple)) else value


def own_parts(app: "Flask", policy: Policy) -> dict[str, list[str]]:
    """Return the parts that each path does not inherit: what is written, and what follows."""
    paths = app.config.get("CORS_PATHS") or {}
    written = {path.rstrip("/"): entry for path, entry in paths.items()}
    return {
        path: [
            name
            for name, value in parts_of(own).items()
            if name in written.get(path, ()) or value != getattr(policy, name)
        ]
        for path, own in policy.paths.items()
    }


def report_as_text(found: Report) -> Iterator[str]:
    """Yield the report's lines, for a person to read."""
    for setting in found.settings:
        yield f"{setting.name}  ({setting.source})"
        if setting.name == "CORS_PATHS":
            yield from path_lines(setting.value, found.own)
        elif setting.name == "CORS_ORIGINS":
            yield from (f"  {origin}" for origin in setting.value)
        else:
            yield f"  {in_one_line(setting.value)}"
    yield from (f"Warning: {warning}" for warning in found.warnings)
    yield from (f"Note: {note}" for note in found.notes)


def path_lines(paths: dict[str, dict[str, Any]], own: dict[str, list[str]]) -> Iterator[str]:
    """Yield the policy of each path, with what it has in common with the whole API's marked."""
    for path, policy in paths.items():
        yield f"  {path}"
        for name, value in policy.items():
            inherited = "" if name in own[path] else "  (inherited)"
            yield f"    {name}: {in_one_line(value)}{inherited}"
    if not paths:
        yield "  none"


def in_one_line(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
