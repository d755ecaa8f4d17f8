"""What is tried at a deployed API, one row of a table each, what to fix, and who is to blame.

No trial changes data: it sends preflights, GETs, and a POST only to a path without a route.
What is said of each fault is in servers.toml.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from urllib.parse import urljoin, urlsplit

from . import browser, origins
from .browser import Block, Exchange, Outcome, PageRequest, Response, Send, Verdict
from .causes import METHODS, lost_cookies, redirect_faults, refusal, refusal_in
from .origins import STRANGER, is_for_development, is_loopback, sample, shown, site, with_metadata
from .policies import SAFE_METHODS, FlaskCors, Policy, slip
from .senders import KNOWN, Unreachable, say, say_each

KEPT = re.compile(r'(?<![\w-])(?:public(?!\w)|(?:max-age|s-maxage)="?0*[1-9])')

# A browser takes no more than one value of them.
SINGLE = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials")

UNLISTED_HEADER = "X-Flask-Cors-Probe"

# How it went for an origin that gets nothing from the API, and for one of this machine at an API on
# another; and where nothing that may be sent tells it.
BLOCKED = "blocked"
NOT_NEEDED = "refused, as in production"
UNKNOWN = "cannot say"

# How a trial went, in few words, and what to fix.
Found = tuple[str, list[str]]

# How long Chromium caches a preflight at most, in seconds. Only Firefox caches them for longer.
CHROMIUM_MAX_AGE = 7200


class Note(str):
    """What is worth knowing, and no fault: nothing fails by it."""


@dataclass(frozen=True)
class Place:
    """A URL of the deployed API, the policy that it should keep, and how to send requests.

    `is_stated` is whether the policy is what somebody wants for some pages of any server, which
    may allow others more.
    """

    url: str
    policy: Policy
    send: Send
    is_stated: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether the API is one of the template's, whose answers are known from a proxy's."""
        return not self.is_stated and type(self.policy) is Policy

    @property
    def pages(self) -> list[str]:
        """The policy's origins, but for those of this machine if the API is on another."""
        is_here = self.is_stated or browser.is_loopback_url(self.url)
        return [one for one in self.policy.origins if is_here or not is_for_development(one)]

    @property
    def page(self) -> str:
        """One origin that is allowed."""
        return sample([*self.pages, *self.policy.origins][0])

    def plain(self, page: str, method: str = "GET") -> PageRequest:
        return PageRequest(page, method, credentials=self.policy.supports_credentials)

    def request(self, page: str, method: str) -> PageRequest:
        """Return a request with all headers that the policy allows."""
        names = [UNLISTED_HEADER if name == "*" else name for name in self.policy.allow_headers]
        headers = tuple((name, "1") for name in names)
        return replace(self.plain(page, method), headers=headers, preflight=not self.is_stated)

    def outcome(self, request: PageRequest) -> Outcome:
        """Return what a browser makes of a request, or of the preflight of one that has one."""
        if browser.preflight_headers(request) is None:
            return browser.fetch(self.url, request, with_metadata(self.send, request.origin))
        if browser.is_mixed_content(request.origin, self.url):
            return Outcome(Verdict(Block.MIXED_CONTENT, self.url), ())
        sent = ask(self.url, request, self.send)
        return Outcome(browser.check_preflight(request, sent.response), (sent,))


def ask(url: str, request: PageRequest, send: Send) -> Exchange:
    """Send one thing, whatever its response: the preflight of a request that has one, or it."""
    preflight = browser.preflight_headers(request)
    headers = preflight or (("Origin", request.origin), *browser.page_headers(request))
    method = "OPTIONS" if preflight else request.method
    return Exchange(method, url, headers, with_metadata(send, request.origin)(method, url, headers))


def check_origin(place: Place, origin: str) -> Found:
    """Try an origin of the policy as its page's browser would: a GET, then each preflight."""
    page, policy = sample(origin), place.policy
    done: list[str] = []
    faults: list[str] = []
    told: Block | None = None
    if isinstance(policy, FlaskCors) and (fault := slip(origin)):
        return BLOCKED, [fault]
    outcome = place.outcome(place.plain(page))
    is_refused = outcome.verdict.block is Block.NO_ALLOW_ORIGIN and is_from_api(outcome.response)
    if is_refused and origin not in place.pages:
        return NOT_NEEDED, []
    if place.is_stated or policy.allows_method("GET"):
        failed = not outcome.allowed or outcome.response.status >= 500
        if failed and takes_no_get(outcome) and not policy.allows_method("GET"):
            done.append(f"{UNKNOWN} more than of the preflight: GET {outcome.response.status}")
        else:
            told = outcome.verdict.block
            faults += faults_of(place, place.plain(page), outcome)
            if failed and not (place.is_stated and outcome.exchanges):
                return BLOCKED, faults
            done.append("no GET" if failed else f"GET {outcome.response.status}")
    requests = [place.request(page, method) for method in policy.methods]
    asked = [one for one in requests if browser.preflight_headers(one) is not None]
    outcomes = [(request, place.outcome(request)) for request in asked]
    for request, outcome in outcomes:
        if outcome.allowed or outcome.verdict.block is not told:
            faults += faults_of(place, request, outcome)
    if place.is_stated and (unsent := [one for one in policy.methods if one not in SAFE_METHODS]):
        faults.append(Note(say("unsent", methods=", ".join(unsent))))
    blocked = [request.method for request, outcome in outcomes if not outcome.allowed]
    passed = len(asked) - len(blocked)
    if not passed and not done:
        return BLOCKED, faults
    done += [f"{passed or 'no'} preflight{'s' if passed > 1 else ''}"] if asked else []
    done += [f"not {', '.join(blocked)}"] if passed and blocked else []
    return ", ".join(done), faults


def takes_no_get(outcome: Outcome) -> bool:
    """Return whether a path takes no GET, so that a GET says nothing of another method."""
    return bool(outcome.exchanges) and outcome.response.status in (404, 405)


def faults_of(place: Place, request: PageRequest, outcome: Outcome) -> Iterator[str]:
    """Yield what is wrong with what an allowed page gets: the answer to a GET, or a preflight."""
    if not outcome.allowed:
        yield blame(request, outcome, place.is_ours)
        return
    policy, last, response = place.policy, outcome.exchanges[-1], outcome.response
    if refusal(last, policy) is not None:
        yield say("contradicts")
        return
    if response.status >= 500:
        yield say("error", status=response.status, fault=meaning(response.status))
        return
    allows = response.get("access-control-allow-credentials") == "true"
    if allows and not place.is_stated and not policy.supports_credentials:
        yield say("credentials")
    if last.method == "OPTIONS":
        found = response.get("access-control-max-age")
        if place.is_ours and found != str(max(policy.max_age, 0)):
            yield say("max_age", found=found or 5, here=policy.max_age)
        return
    exposed = browser.list_of_tokens(response.get("access-control-expose-headers")) or []
    readable = {name.lower() for name in exposed}
    if missing := [name for name in policy.expose_headers if name.lower() not in readable]:
        yield say("unexposed", names=", ".join(missing))
    for cookie in cookies(response) if policy.supports_credentials else []:
        is_right = all(one in cookie.lower() for one in ("secure", "none", "partitioned"))
        for lost in lost_cookies(request, last.url, [cookie]):
            yield Note(lost) if is_right else lost


def cookies(response: Response) -> list[str]:
    return [value for name, value in response.headers if name.lower() == "set-cookie"]


def check_caches(place: Place) -> Found:
    """Try whether a cache could give a page the copy that was made for another, or for none.

    An image or a link asks without an Origin. Only what differs by the origin needs Vary.
    """
    own, theirs = (
        ask(place.url, PageRequest(page), place.send).response for page in (place.page, STRANGER)
    )
    without = place.send("GET", place.url, ())
    varying = ", Vary: Origin" if varies(without) else ""
    return f"GET {without.status}{varying}", list(cache_faults(own, theirs, without))


def cache_faults(*responses: Response) -> Iterator[str]:
    """Yield a fault if a response lacks Vary, though it depends on the origin.

    The responses are to an allowed page, to a page on another origin and perhaps to no page.
    """
    allowed = [response.get("access-control-allow-origin") for response in responses]
    lacking = [one for one in responses if one.status < 400 and not varies(one)]
    if len({*allowed}) == 1 or not lacking:
        return
    values = [response.get("cache-control") or "" for response in lacking]
    kept = [one for one in values if KEPT.search(one.lower()) and "no-store" not in one.lower()]
    fault = say("no_vary", kept=f", and caches keep it ({shown(kept[0])})" if kept else "")
    # It alone names its origins where no page asks, and its owner cannot change what it varies by.
    is_flask_cors = allowed[1] is None and any(allowed[2:])
    yield Note(fault) if is_flask_cors else fault


def varies(response: Response) -> bool:
    """Return whether caches store a copy for each origin."""
    names = {name.lower() for name in browser.list_items(response.get("vary"))}
    return bool(names & {"*", "origin"})


def check_unlisted(place: Place) -> Found:
    """Try what the policy does not allow: other methods, and another header."""
    policy, page = place.policy, place.page
    tried = {one: place.request(page, one) for one in METHODS if not policy.allows_method(one)}
    if "*" not in policy.allow_headers:
        request = place.request(page, policy.methods[0])
        headers = (*request.headers, (UNLISTED_HEADER, "1"))
        tried["other headers"] = replace(request, headers=headers)
    allowed = [what for what, request in tried.items() if place.outcome(request).allowed]
    faults = [say("differs", what=what) for what in allowed]
    return f"allowed: {', '.join(allowed)}" if allowed else "refused", faults


def strangers(place: Place) -> list[str]:
    """Return origins that should not be allowed, most of which look like one that is.

    What the owner of any server may allow on purpose is not among them: other ports or subdomains.
    """
    found = [STRANGER, "null"]
    one_of_each_kind = {"*" in page: page for page in reversed(place.pages)}
    for page in map(sample, one_of_each_kind.values()):
        alike = origins.strangers(page)
        found += [one for one in alike if place.is_ours or domain(one) != domain(page)]
    return [one for one in dict.fromkeys(found) if not (place.is_ours and place.policy.allows(one))]


def domain(origin: str) -> str:
    """Return the domain that one owner has, an origin's own if there is none."""
    return (site(origin) or ("", origin))[1]


def check_strangers(place: Place, others: list[str]) -> Found:
    """Try a GET and a preflight from each origin."""
    allowed: dict[str, None] = {}
    faults: list[str] = []
    is_meant = place.is_stated or place.policy.allows(STRANGER)
    for origin in others:
        asked = place.request(origin, place.policy.methods[0])
        both = [PageRequest(origin), asked]
        for request in both if browser.preflight_headers(asked) else both[:1]:
            response = ask(place.url, request, place.send).response
            if response.get("access-control-allow-origin") in (origin, "*"):
                allowed[origin] = None
                if origin == STRANGER:
                    faults += stranger_faults(None if is_meant else place.policy, response)
    if STRANGER in allowed and is_meant:
        faults = faults or [Note(say("public"))]
    elif allowed and not faults:
        names = [f"{one} (any site can send it)" if one == "null" else one for one in allowed]
        text = "lookalikes" if place.is_ours else "lookalikes_of_server"
        faults.append(say(text, names=", ".join(names[:3])))
    return f"{len(allowed)} allowed" if allowed else "refused", faults


def stranger_faults(policy: Policy | None, response: Response) -> Iterator[str]:
    """Yield what the response to an unknown page reveals; without a policy, all may be meant."""
    allowed = response.get("access-control-allow-origin")
    credentials = response.get("access-control-allow-credentials") == "true"
    if allowed == STRANGER and credentials:
        yield say("acts", origin=STRANGER)
    elif allowed in (STRANGER, "*") and policy and not policy.is_public:
        yield say("reads", origin=STRANGER)
    if allowed == "*" and credentials:
        text = say("star_with_credentials")
        yield text if policy else Note(text)


def check_error(place: Place, method: str, status: int | None = None) -> Found:
    """Try whether a page can read an error, which has this status if one is given."""
    request = place.plain(place.page, method)
    outcome = place.outcome(request)
    result = f"{method} {outcome.response.status}" if outcome.exchanges else BLOCKED
    if not outcome.allowed:
        return result, [blame(request, outcome, place.is_ours)]
    if status not in (None, outcome.response.status):
        return result, [say("no_limit")]
    return f"{result}, readable", []


def check_refusal(place: Place) -> Found:
    """Try whether what a stranger sends is refused before the app looks for a route."""
    request = PageRequest(STRANGER, "POST")
    sent = ask(place.url, request, place.send)
    status = sent.response.status
    if refusal_in(sent.response) is not None:
        return f"POST {status}, refused", []
    if is_from_api(sent.response) and status < 500 and status not in browser.REDIRECTS:
        return f"POST {status}", [say("unprotected", status=status)]
    outcome = Outcome(Verdict(Block.NO_ALLOW_ORIGIN), (sent,))
    return f"POST {status}", [blame(request, outcome, place.is_ours)]


def check_own_page(place: Place) -> Found:
    """Try what a page of the API's own origin sends where a browser adds no Sec-Fetch-Site."""
    parts = urlsplit(place.url)
    response = place.send("POST", place.url, (("Origin", f"{parts.scheme}://{parts.netloc}"),))
    faults = [] if refusal_in(response) is None else [say("no_host")]
    return f"POST {response.status}", faults


def check_plain_http(url: str, send: Send) -> Found:
    """Try whether plain http leads to https."""
    try:
        response = send("GET", url, ())
    except Unreachable:
        return "nothing answers", []
    location = browser.redirect_location(response)
    if location is not None and urljoin(url, location).startswith("https:"):
        return f"GET {response.status}, to https", []
    return f"GET {response.status}", [say("plain_http", url=url)]


# Who is to blame.


def blame(request: PageRequest, outcome: Outcome, is_ours: bool, local: str | None = None) -> str:
    """Return why the response of a deployed API is blocked or refused, and what to change.

    `is_ours` is whether it should come from an API of the template's, which a proxy's differ from.
    `local` says why the policy here blocks the request, None if it allows it or there is none.
    """
    verdict, block = outcome.verdict, outcome.verdict.block
    if not outcome.exchanges:
        return next(redirect_faults(request, outcome))
    response, preflight = outcome.response, verdict.during_preflight
    status, has_headers = response.status, response.get("access-control-allow-origin") is not None
    # A proxy may add CORS headers to its own errors. The API answers a preflight with 204 or 403.
    unlike_api = status in (502, 504) or (preflight and status >= 400 and status != 403)
    is_proxys = is_ours and (unlike_api or not is_from_api(response))
    is_proxys = is_proxys and not (local and status < 300)
    doubled = [one for one in SINGLE if len(browser.list_items(response.get(one.lower()))) > 1]
    lines = [value for name, value in response.headers if name.lower() == SINGLE[0].lower()]
    no_options = is_proxys and preflight and (status < 400 or status in (401, 403, 405))
    is_rejected = preflight and not 200 <= status <= 299
    is_cors_check = response.get("access-control-allow-methods") or b"CORS" in response.body
    names_other = block is Block.OTHER_ALLOW_ORIGIN
    is_copy = response.get("age") or "hit" in (response.get("x-cache") or "").lower()
    headers = browser.unsafe_header_names(browser.page_headers(request))
    found, why = shown(verdict.found), block.value if block else "the answer is a refusal"
    named = f" ({found})" if verdict.found else ""
    values = {
        "who": "something in front of the API" if is_ours else "the server",
        "whose": "the proxy's own" if is_ours else "its",
        "status": status,
        "without": "" if has_headers else ", without CORS headers",
        "missing": "Access-Control-Allow-Credentials: true" if has_headers else "CORS headers",
        "fault": meaning(status, is_ours),
        "limit": KNOWN["limits"].get(str(status)),
        "doubled": " and ".join(doubled),
        "reason": local,
        "found": found,
        "origin": shown(request.origin),
        "close": origins.nearest([verdict.found], "the server", request.origin),
        "what": ", ".join([request.method, *headers]),
        "why": f"{'in the preflight, ' if preflight else ''}{why}{named}",
    }
    rows = (
        ("listed", len(lines) == 1 and len({*browser.list_items(lines[0])} - {"*"}) > 1),
        ("doubled", doubled),
        ("limit", is_proxys and values["limit"]),
        ("foreign_preflight", no_options),
        ("foreign_data", is_proxys and status < 400),
        ("no_answer", is_proxys and preflight),
        ("unreadable", is_proxys),
        ("because", local),
        ("for_another", is_ours and names_other and not varies(response)),
        ("contradicts", is_ours),
        ("null_page", request.origin == "null"),
        ("cached", names_other and is_copy and not varies(response)),
        ("not_allowed", names_other),
        ("rejected", is_rejected and is_cors_check),
        ("preflight", is_rejected),
        ("unreadable", status >= 400),
        ("allow", True),
    )
    moved = browser.redirect_location(response) and (preflight or not is_from_api(response))
    on_the_way = redirect_faults(request, outcome, str(values["who"]), bool(moved))
    return next(chain(on_the_way, say_each(*rows, **values)))


def meaning(status: int, is_ours: bool = False) -> str:
    """Return what a status means: where only the API of ours is expected, it is a proxy's."""
    meanings: dict[str, str] = KNOWN["proxies"] | ({} if is_ours else KNOWN["servers"])
    return meanings.get(str(status), meanings["others"])


def is_from_api(response: Response) -> bool:
    """Return whether a response has a header that our apps send always, or is their refusal."""
    has_header = response.get("access-control-allow-origin") is not None or varies(response)
    return has_header or refusal_in(response) is not None


# How a server is told.


def recipes(policy: Policy, answers: list[Response]) -> dict[str, str]:
    """Return what to send for a policy, exactly, and how the server is told to, if it is known.

    `answers` are the server's, one of them for a path that it does not have.
    """
    lines = [f"{name}: {value}" for answer in answers for name, value in answer.headers]
    seen = "\n".join([*lines, *(answer.body.decode(errors="replace") for answer in answers)])
    found = {"Send exactly": filled(KNOWN["exactly"]["recipe"], policy)}
    for name, server in KNOWN["recipes"].items():
        if re.search(server["sign"], seen, re.IGNORECASE | re.MULTILINE):
            return found | {f"In {name}": filled(server["recipe"], policy)}
    return found


def filled(text: str, policy: Policy) -> str:
    """Return a recipe with a policy's values; servers.toml says how."""
    values = {"page": policy.origins[0], "method_names": ", ".join(policy.methods)}
    lists = {"origins": policy.origins, "methods": policy.methods, "headers": policy.allow_headers}
    values |= {
        name: ", ".join(f'"{one}"' for one in found) for name, found in lists.items() if found
    }
    if policy.allow_headers:
        values["header_names"] = ", ".join(policy.allow_headers)
    if policy.supports_credentials:
        values |= {"credentials": "true", "Credentials": "True"}
    each = [{**values, "origin": one, "pattern": re.escape(one)} for one in policy.origins]
    lines: list[str] = []
    for line in text.strip().splitlines():
        with suppress(KeyError):  # there is no such value
            lines += dict.fromkeys(line % own for own in each)
    return "\n".join(lines)


# What is rarely right in production, in a policy that is valid.


def risks(policy: Policy, debug: bool, whose: str = "the API's") -> Iterator[str]:
    """Yield what is rarely right in production. `whose` responses go by the policy."""
    if policy.is_public:
        yield say("risk_public", whose=whose)
        if unsafe := [method for method in policy.methods if method not in SAFE_METHODS]:
            yield say("risk_acting", methods=", ".join(unsafe))
    for origin in policy.origins:
        if is_for_development(origin) and not debug:
            yield say("risk_development", origin=origin)
        if origin.startswith("http://") and not is_loopback(origin):
            yield say("risk_plain_http", origin=origin)
        if "*" in origins.split_origin(origin)[1]:
            yield from (f"{origin}: {note}" for note in origins.origin_notes(origin))
            if policy.supports_credentials:
                yield say("risk_any_host", origin=origin)
    if not policy.protection:
        yield say("risk_unprotected")
    if policy.supports_credentials and len(policy.origins) > 10:
        yield say("risk_many", number=len(policy.origins))
    if policy.max_age > CHROMIUM_MAX_AGE:
        yield say("risk_max_age", seconds=policy.max_age, most=CHROMIUM_MAX_AGE)


def cookie_risks(policy: Policy, same_site: str | None) -> Iterator[str]:
    """Yield whose pages get no session cookie: `same_site` is its attribute in a deployment."""
    if not policy.supports_credentials or same_site != "Lax":
        return
    first: dict[object, str] = {}
    for origin in policy.origins:
        if not is_for_development(origin):
            first.setdefault(site(origin), origin)
    if len(first) > 1:
        yield say("risk_several_sites", origins=" and ".join(first.values()))


def risks_of_paths(policy: Policy, debug: bool) -> Iterator[str]:
    """Yield the risks of paths with a policy of their own, but for those that they inherit."""
    inherited = set(risks(policy, debug, "its"))
    for path, own in policy.paths.items():
        found = risks(own, debug, "its")
        yield from (f"{path}: {one}" for one in found if one not in inherited)


def notes(policy: Policy, api: str) -> Iterator[str]:
    """Yield what the owner should know, such as which origin an app has on other systems."""
    for origin in policy.origins:
        if "*" not in origin:
            yield from (f"{origin}: {note}" for note in origins.origin_notes(origin))
    asking = {"/api/echo": policy} if policy.supports_credentials else policy.paths
    for path, own in asking.items():
        if own.supports_credentials:
            yield say("risk_ask", url=f"{api}{path}")
