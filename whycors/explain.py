"""What a browser and this app do with a request, step by step, and why one of them says no."""

import json
import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from http.client import responses
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from .browser import (
    LOOPBACK_HOST,
    Block,
    Exchange,
    Headers,
    Outcome,
    PageRequest,
    Response,
    fetch,
    http_origin,
    readable_headers,
)
from .causes import (
    SHOWN,
    Advice,
    InForce,
    Lacks,
    change,
    in_force,
    policy_advice,
    refusal,
    settings_in,
    source,
)
from .consoles import Said, sentences
from .origins import with_metadata
from .policies import Policy, parts_of, policy_of
from .risks import cookie_risks, notes, risks, risks_of_paths
from .senders import body

if TYPE_CHECKING:
    from flask import Flask

# Those of the policy's log, by the projects' releases: 3.0.0 and 4.0.0.
LOGGERS = ("app.cors.log", "app.cors.gate")

is_explaining: ContextVar[bool] = ContextVar("is_explaining", default=False)

# Response headers that are for the browser, a cache or a proxy rather than for a page's code.
NOT_FOR_PAGES = (
    "age",
    "allow",
    "alt-svc",
    "connection",
    "content-encoding",
    "date",
    "keep-alive",
    "nel",
    "referrer-policy",
    "report-to",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "x-frame-options",
    "x-powered-by",
)
NOT_FOR_PAGES_STARTS = (
    "access-control-",
    "content-security-",
    "cross-origin-",
    "permissions-",
    "x-content-type-",
    "x-xss-",
)


@dataclass(frozen=True)
class Explanation:
    """A page's request, its outcome, and what to change if it is not allowed.

    It is blocked by the browser or refused by the API, which may let the page read why: then
    `refused` says it. If it is allowed, `hidden` is about headers that the page cannot read.
    `warnings` are about the API, whether the request is allowed or not.
    """

    request: PageRequest
    url: str
    outcome: Outcome
    refused: str | None
    advice: Advice | None
    warnings: tuple[str, ...] = ()
    hidden: Advice | None = None

    @property
    def allowed(self) -> bool:
        return self.outcome.allowed and self.refused is None

    @property
    def consoles(self) -> dict[str, str]:
        """What each browser prints in its console."""
        return sentences(self.request, self.url, self.outcome)


class OtherHost(Exception):
    """The app redirects to another host, which this process cannot call."""


def explain(app: "Flask", url: str, request: PageRequest, said: Said | None = None) -> Explanation:
    """Send a request through the app as a browser would, and explain the outcome.

    `said` is what a console said. The app handles the request for real. Raises OtherHost if it
    redirects to another host.
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
            data=body(request.body, method, headers),
        )
        # Only a refusal's body is needed, and others may have no end.
        its_body = response.get_data() if response.status_code == 403 else b""
        return Response(response.status_code, tuple(response.headers), its_body)

    with explained_not_logged():
        outcome = fetch(url, request, with_metadata(send, request.origin))
    explanation = conclude(app, url, request, outcome)
    return replace(explanation, warnings=tuple(about_place(app, explanation, said)))


def conclude(app: "Flask", url: str, request: PageRequest, outcome: Outcome) -> Explanation:
    """Return the explanation of what this app answered."""
    last = outcome.exchanges[-1] if outcome.exchanges else None
    found = in_force(app, last.url if last else url)
    refused = refusal(last, found.policy) if last else None
    if outcome.allowed and refused is None:
        hidden = hidden_headers(found, request, outcome.response)
        return Explanation(request, url, outcome, None, None, hidden=hidden)
    advice = policy_advice(found, request, outcome, refused is not None)
    return Explanation(request, url, outcome, refused, advice)


def hidden_headers(found: InForce, request: PageRequest, response: Response) -> Advice | None:
    """Return which headers of a response a page cannot read, and what exposes them."""
    readable = {name for name, _ in readable_headers(request, response)}
    hidden = [
        name
        for name in dict.fromkeys(name for name, _ in response.headers)
        if name not in readable
        and name.lower() not in NOT_FOR_PAGES
        and not name.lower().startswith(NOT_FOR_PAGES_STARTS)
    ]
    if not hidden:
        return None

    def lacks(policy: Policy) -> Lacks:
        exposed = {name.lower() for name in policy.expose_headers}
        missing = [] if "*" in exposed else [name for name in hidden if name.lower() not in exposed]
        return {"expose_headers": missing} if missing else {}

    return change(found, [f"the page cannot read {', '.join(hidden)}"], lacks)


def about_place(app: "Flask", explanation: Explanation, said: Said | None) -> Iterator[str]:
    """Yield what matters where the page and the API really are. `said` is what a console said."""
    url, request = explanation.url, explanation.request
    if said and said.block is Block.LOCAL_NETWORK:
        yield more_local(request.origin, urlsplit(url).hostname or "")
    elif said and explanation.allowed:
        command = shlex.join(["flask", "cors", "probe", url, request.origin, request.method])
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


def own_url(app: "Flask") -> str:
    """Return where `flask run` serves the app."""
    return f"http://localhost:{app.config.get('RUN_PORT', 5000)}"


@contextmanager
def explained_not_logged() -> Iterator[None]:
    """Keep the requests of this thread out of the app's log, which would repeat the explanation."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(is_logged)  # adds it only once
    token = is_explaining.set(True)
    try:
        yield
    finally:
        is_explaining.reset(token)


def is_logged(_: logging.LogRecord) -> bool:
    return not is_explaining.get()


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
    yield f"   < {status} {responses.get(status, '')}".rstrip()
    for name, value in sent.response.headers:
        if matters(name.lower()):
            yield f"   < {name}: {value}"


def conclusion(explanation: Explanation) -> Iterator[str]:
    verdict, advice = explanation.outcome.verdict, explanation.advice
    if explanation.allowed:
        yield "Allowed: the page may read the response."
        if explanation.hidden is not None:
            yield f"But {explanation.hidden.reason}: it gets null."
            yield from ways(explanation.hidden, "expose them")
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
        yield f"Why: {advice.reason}"
        yield from (f"Also: {reason}" for reason in advice.also)
        yield from ways(advice, "allow it")


def ways(advice: Advice, purpose: str) -> Iterator[str]:
    """Yield what to do: for good, and in one deployment."""
    if advice.first:
        yield f"First: {advice.first}"
    if advice.command:
        yield f"To {purpose}: {advice.command}"
    if advice.line:
        yield f"To {purpose}, write in app/settings.py: {advice.line}"
    if advice.variable:
        for_good = advice.command or advice.line
        start = "Or for" if for_good else f"To {purpose} in"
        yield f"{start} one deployment: {advice.variable}"


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


def report(app: "Flask") -> Report:
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
