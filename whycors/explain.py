"""What a browser and this app do with a request, step by step, and why one of them says no."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import responses
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from . import browser, causes, policies, trials
from .browser import Block, Exchange, Outcome, PageRequest, Verdict
from .causes import FILES, SHOWN, Advice, Visit, as_setting, settings_in
from .consoles import Said, sentences
from .entry import called_as
from .policies import FlaskCors, Policy, parts_of

# Response headers that are for the browser, a cache or a proxy rather than for a page's code.
NOT_FOR_PAGES = re.compile(
    "(?:accept-ranges|age|allow|alt-svc|connection|content-encoding|date|keep-alive|nel"
    "|referrer-policy|report-to|server|set-cookie|strict-transport-security|transfer-encoding"
    "|upgrade|vary|via|www-authenticate|x-frame-options|x-powered-by)$"
    "|access-control-|content-security-|cross-origin-|permissions-|x-content-type-|x-xss-"
)

# Those that affect the verdict, or caches of it.
SHOWN_HEADERS = re.compile("access-control-|(?:vary|location|cache-control)$", re.IGNORECASE)
EVERYBODY = "every site can act as your logged-in users: list the origins"


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


def explain(
    app: Any, url: str, request: PageRequest, said: Said | None = None, send: bool = False
) -> Explanation:
    """Send a request through an app as a browser would, and explain the outcome.

    `app` is a Flask app or any WSGI application, and `said` is what a console said. Without
    `send`, code of the app runs for preflights, GET and HEAD only. Raises OtherHost if the app
    redirects to another host.
    """
    visit = Visit(app, url, request)
    with visit.made(send):
        outcome, notes = visit.outcome, visit.notes
        if not notes.known:
            outcome = Outcome(Verdict(), outcome.exchanges[:-1])
            return Explanation(request, url, outcome, None, None, unsent=True, known=False)
        advice = None if visit.allowed else causes.advise(visit)
        setters = visit.notes.setters("Access-Control-Allow-Origin") or ["the app"]
        risks = [f"{one} repeats any origin: {EVERYBODY}" for one in setters if visit.lets_all_act]
    hidden = hidden_headers(visit) if visit.allowed else None
    warnings = (*risks, *about_answer(visit, notes.unsent), *about_place(visit, said))
    return Explanation(request, url, outcome, visit.refused, advice, warnings, hidden, notes.unsent)


def about_answer(visit: Visit, is_unsent: bool) -> Iterator[str]:
    """Yield what matters about an answer that the page may read."""
    request, route = visit.request, causes.about_route(visit, visit.request.method)
    if is_unsent and route:
        yield f"the app would not run it: {route}"
    if not visit.allowed:
        return
    response = visit.outcome.response
    if isinstance(visit.policy, FlaskCors):
        yield from risks_of_options(visit.policy, request.origin)
    if route and response.status in (404, 405):
        yield f"the app answers {response.status}: {route}"
    cookies = [*trials.cookies(response), *session_cookie(visit)]
    yield from dict.fromkeys(causes.lost_cookies(request, visit.last_url, cookies))


def session_cookie(visit: Visit) -> Iterator[str]:
    """Yield Flask's session cookie as the app would set it, if it uses one."""
    config = getattr(visit.app, "config", {})
    if not visit.request.credentials or not config.get("SECRET_KEY"):
        return
    if not browser.is_loopback_url(visit.last_url):
        config = {**config, **settings_in(*FILES)}  # this machine's environment sets others
    found = [f"{config['SESSION_COOKIE_NAME']}=1"]
    for name in ("SameSite", "Secure", "Partitioned"):
        if value := config.get(f"SESSION_COOKIE_{name.upper()}"):
            found.append(name if value is True else f"{name}={value}")
    yield "; ".join(found)


def risks_of_options(policy: FlaskCors, origin: str = "") -> Iterator[str]:
    """Yield what a policy of flask-cors allows that its owner hardly means.

    `origin` is one that it allows.
    """
    if policy.is_public and policy.supports_credentials:
        yield f"{policy.name}: {EVERYBODY}"
    slips = [*map(policies.slip, policy.origins)]
    slips += [policies.slip(name, "allowed header") for name in policy.allow_headers]
    yield from (f"{policy.name}: {slip}" for slip in slips if slip)
    for pattern in policy.origins:
        if found := policies.ended(pattern, origin):
            stranger, fixed = found
            yield (
                f"{policy.name}: the pattern {pattern} has no end, so it allows {stranger} too:"
                f" write {policies.as_python(fixed)}"
            )


def hidden_headers(visit: Visit) -> Advice | None:
    """Return which headers of a response a page cannot read, and what exposes them."""
    response = visit.outcome.response
    readable = {name for name, _ in browser.readable_headers(visit.request, response)}
    visit.hidden = [
        name
        for name in dict.fromkeys(name for name, _ in response.headers)
        if name not in readable and not NOT_FOR_PAGES.match(name.lower())
    ]
    return causes.advise(visit) if visit.hidden else None


def about_place(visit: Visit, said: Said | None) -> Iterator[str]:
    """Yield what matters where the page and the API really are. `said` is what a console said."""
    url, request = visit.url, visit.request
    is_said = said is not None and said.block is Block.LOCAL_NETWORK
    if said and visit.allowed and not is_said:
        command = shlex.join([*called_as().split(), "probe", url, request.origin, request.method])
        yield (
            "the policy here allows what the browser blocked: start the API again or deploy it,"
            f" and see what it answers: {command}"
        )
    elif (is_said or not url.startswith(f"{own_url(visit.app)}/")) and (
        found := local_network(request.origin, url, is_said)
    ):
        yield found


def local_network(page: str, url: str, is_said: bool = False) -> str | None:
    """Return what Chromium does if a page asks for a more local address than its own.

    Local Network Access, section 2.1, "IP address space": of a host's name, only those of this
    machine and of mDNS tell which it is, unless the browser has said so.
    """
    origin, host = browser.http_origin(page), urlsplit(url).hostname or ""
    if not is_said and (origin is None or locality(host) <= locality(origin[1])):
        return None
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
    if browser.LOOPBACK_HOST.match(host):
        return 2
    try:
        return int(ip_address(host).is_private)
    except ValueError:
        return int(host.endswith(".local"))


def own_url(app: Any) -> str:
    """Return where `flask run` serves the app, or where other frameworks serve theirs."""
    config = getattr(app, "config", None)
    return f"http://localhost:{config.get('RUN_PORT', 5000) if config is not None else 8000}"


def as_text(explanation: Explanation) -> Iterator[str]:
    """Yield the explanation's lines, for a person to read."""
    exchanges = explanation.outcome.exchanges
    for number, sent in enumerate(exchanges, start=1):
        is_unsent = explanation.unsent and explanation.known and number == len(exchanges)
        yield from map(printable, step(number, sent, is_unsent))
    yield from map(printable, conclusion(explanation))


def printable(line: str) -> str:
    """Return a line with control characters escaped: a server must not control the terminal."""
    return line if line.isprintable() else json.dumps(line)[1:-1]


def step(number: int, sent: Exchange, is_unsent: bool) -> Iterator[str]:
    is_preflight = any(name == "Access-Control-Request-Method" for name, _ in sent.headers)
    what = f"{'preflight' if is_preflight else 'request'}{', not sent' if is_unsent else ''}"
    yield f"{number}. {what}: {sent.method} {sent.url}"
    yield from (f"   > {name}: {value}" for name, value in sent.headers)
    if not is_unsent:
        status, headers = sent.response.status, sent.response.headers
        yield f"   < {status} {responses.get(status, '')}".rstrip()
        yield from (f"   < {name}: {value}" for name, value in headers if SHOWN_HEADERS.match(name))
    yield ""


def conclusion(explanation: Explanation) -> Iterator[str]:
    verdict, advice = explanation.outcome.verdict, explanation.advice
    method = browser.normalize_method(explanation.request.method)
    if not explanation.known:
        yield (
            f"Not known: the {method} was not sent, since it may change data, and its headers are"
            " set by code that did not run. Add --send to send it."
        )
    elif explanation.allowed and explanation.unsent:
        yield (
            f"Allowed by the policy: the page may read the response. The {method} itself was not"
            " sent, since it may change data; --send sends it."
        )
    elif explanation.allowed:
        yield f"Allowed, and the app answers {explanation.status}: the page may read the response."
    elif explanation.refused is not None:
        yield f"Refused by the API, before its code ran: {explanation.refused}."
        if verdict.block is None:
            yield "The page may read this answer: the browser blocks nothing."
        else:
            yield f"The browser hides this answer: {verdict.block.value}."
    elif verdict.block is not None:
        where = "the preflight" if verdict.during_preflight else "the request"
        yield f"Blocked by the browser at {where}: {verdict.block.value}."
    if explanation.hidden is not None:
        yield f"But {explanation.hidden.reasons[0]}: it gets null."
        yield from map(str, explanation.hidden.changes)
    for name, sentence in explanation.consoles.items():
        first, *rest = sentence.splitlines()
        yield f"{name}'s console: {first}"
        yield from (f"  {line}" for line in rest)
    if advice is not None:
        yield ""
        yield f"Why: {advice.reasons[0]}"
        yield from (f"Also: {reason}" for reason in advice.reasons[1:])
        yield from map(str, advice.changes)
    yield from (f"Warning: {warning}" for warning in explanation.warnings)


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
    """Return the policy in force; headers that code sets by hand are in no setting."""
    if "cors_policy" not in getattr(app, "extensions", {}):
        told = list(policies.all_options(app)) if hasattr(app, "view_functions") else []
        kinds = [Setting(one.call.partition("(")[0], str(one), one.place) for one in told]
        nothing = f"no policy can be read here; to see what the app answers: {called_as()} explain"
        warnings = [warning for one in told for warning in risks_of_options(one)]
        return Report(kinds, {}, warnings, [] if told else [nothing])
    policy = policies.policy_of(app)
    used = {f"CORS_{name.upper()}": part for name, part in parts_of(policy).items()}
    used["CORS_PATHS"] = {path: parts_of(own) for path, own in policy.paths.items()}
    shown = dict.fromkeys(settings_in("app.answers")) | SHOWN
    others = {name: app.config.get(name, shown[name]) for name in shown if name not in used}
    others["SECRET_KEY"] = "set" if others["SECRET_KEY"] else "not set"
    if hosts := others["TRUSTED_HOSTS"]:
        others["TRUSTED_HOSTS"] = as_setting(hosts)
    # The environment of this machine sets another.
    same_site = settings_in(*FILES).get("SESSION_COOKIE_SAMESITE")
    found = [*trials.risks(policy, app.debug), *trials.risks_of_paths(policy, app.debug)]
    return Report(
        [Setting(name, v, causes.source(app, name)) for name, v in (used | others).items()],
        own_parts(app, policy),
        [*found, *trials.cookie_risks(policy, same_site)],
        list(trials.notes(policy, own_url(app))),
    )


def own_parts(app: Any, policy: Policy) -> dict[str, list[str]]:
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
            yield f"  {as_setting(setting.value) or 'none'}"
    yield from (f"Warning: {warning}" for warning in found.warnings)
    yield from (f"Note: {note}" for note in found.notes)


def path_lines(paths: dict[str, dict[str, Any]], own: dict[str, list[str]]) -> Iterator[str]:
    """Yield the policy of each path, with what it has in common with the whole API's marked."""
    for path, policy in paths.items():
        yield f"  {path}"
        for name, value in policy.items():
            inherited = "" if name in own[path] else "  (inherited)"
            yield f"    {name}: {as_setting(value) or 'none'}{inherited}"
    if not paths:
        yield "  none"
