"""What is tried at a deployed API, one row of a table each, what to fix, and who is to blame.

No trial changes data: it sends preflights, GETs, and a POST only to a path without a route.
What is said of each fault is in servers.toml.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from . import browser, origins
from .browser import Block, Exchange, Headers, Outcome, PageRequest, Response, Send, Verdict
from .causes import METHODS, STRANGER, lost_cookies, lost_origin, refusal, refusal_in
from .origins import is_for_development, is_loopback, shown, site, split_origin, with_metadata
from .policies import SAFE_METHODS, Policy
from .senders import Unreachable, known

KEPT = re.compile(r'(?<![\w-])(?:public(?!\w)|(?:max-age|s-maxage)="?0*[1-9])')

UNLISTED_HEADER = "X-Flask-Cors-Probe"

# How it went for an origin that gets nothing from the API.
BLOCKED = "blocked"

# How it went for an origin of this machine, at an API on another.
NOT_NEEDED = "refused, as in production"

# How it went where nothing that may be sent tells it.
UNKNOWN = "cannot say"

# How a trial went, in few words, and what to fix.
Found = tuple[str, list[str]]

# How long Chromium caches a preflight at most, in seconds. Only Firefox caches them for longer.
CHROMIUM_MAX_AGE = 7200


class Note(str):
    """What is worth knowing, and no fault: nothing fails by it."""


def say(name: str, /, **values: object) -> str:
    text: str = known()["texts"][name]
    return text.format(**values)


def what_to_do(status: int, *tables: str, otherwise: str = "") -> str:
    """Return what a status means by the first table that has it."""
    found = [known()[table].get(str(status)) for table in tables]
    return next(filter(None, found), otherwise)


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

    def request(self, page: str, method: str) -> PageRequest:
        """Return a request with all headers that the policy allows."""
        names = [UNLISTED_HEADER if name == "*" else name for name in self.policy.allow_headers]
        headers = tuple((name, "1") for name in names)
        credentials = self.policy.supports_credentials
        return PageRequest(page, method, headers, credentials, preflight=not self.is_stated)

    def preflight(self, request: PageRequest) -> Outcome:
        """Send nothing but the preflight of a request."""
        if browser.is_mixed_content(request.origin, self.url):
            return Outcome(Verdict(Block.MIXED_CONTENT, self.url), ())
        sent = self.exchange("OPTIONS", browser.preflight_headers(request) or ())
        return Outcome(browser.check_preflight(request, sent.response), (sent,))

    def get(self, page: str) -> tuple[PageRequest, Outcome]:
        request = PageRequest(page, "GET", credentials=self.policy.supports_credentials)
        return request, browser.fetch(self.url, request, with_metadata(self.send, page))

    def exchange(self, method: str, headers: Headers) -> Exchange:
        """Send one request as the browser of the page in its Origin header would."""
        send = with_metadata(self.send, dict(headers)["Origin"])
        return Exchange(method, self.url, headers, send(method, self.url, headers))

    def blame(self, request: PageRequest, outcome: Outcome) -> str:
        return blame(request, outcome, self.is_ours)


def sample(origin: str) -> str:
    """Return one origin that a wildcard or a pattern stands for, or the origin itself."""
    if origin == "*":
        return STRANGER
    if re.search(r"[\\^$]|[.\]][*+]", origin):
        some = re.sub(r"(?:\[[^]]*\]|\\[wd])[*+]?|(?<!\\)\.[*+]", "a", origin)
        origin = re.sub(r"\\Z|[\\^$]", "", some)
    return origin.replace(":*", ":1").replace("*", "a")


def check_origin(place: Place, origin: str) -> Found:
    """Try an origin of the policy as its page's browser would: a GET, then each preflight."""
    page, policy = sample(origin), place.policy
    is_needed = origin in place.pages
    done: list[str] = []
    faults: list[str] = []
    if place.is_stated or policy.allows_method("GET"):
        request, outcome = place.get(page)
        if not is_needed and is_refused(outcome):
            return NOT_NEEDED, []
        if not outcome.allowed and not policy.allows_method("GET") and takes_no_get(outcome):
            done.append(f"{UNKNOWN} more than of the preflight: GET {outcome.response.status}")
        else:
            faults += request_faults(place, request, outcome)
            failed = not outcome.allowed or outcome.response.status >= 500
            if failed and not (place.is_stated and outcome.exchanges):
                return BLOCKED, faults
            done.append(BLOCKED if failed else f"GET {outcome.response.status}")
    requests = [place.request(page, method) for method in policy.methods]
    asked = [request for request in requests if browser.preflight_headers(request) is not None]
    blocked = []
    for request in asked:
        outcome = place.preflight(request)
        if not is_needed and is_refused(outcome):
            return NOT_NEEDED, []
        if outcome.allowed:
            faults += header_faults(place, outcome.response, is_preflight=True)
        else:
            blocked.append(request.method)
            faults.append(place.blame(request, outcome))
    if place.is_stated and (unsent := [one for one in policy.methods if one not in SAFE_METHODS]):
        faults.append(Note(say("unsent", methods=", ".join(unsent))))
    if asked and len(blocked) == len(asked):
        return ", ".join([*done, "no preflight"]) if done else BLOCKED, faults
    if passed := len(asked) - len(blocked):
        done.append(f"{passed} preflight{'' if passed == 1 else 's'}")
    done += [f"not {', '.join(blocked)}"] if blocked else []
    return ", ".join(done), faults


def takes_no_get(outcome: Outcome) -> bool:
    """Return whether a path takes no GET, so that a GET says nothing of another method."""
    is_last = outcome.exchanges and not outcome.verdict.during_preflight
    return bool(is_last) and outcome.response.status in (404, 405)


def is_refused(outcome: Outcome) -> bool:
    """Return whether the API itself does not allow the origin."""
    blocked = outcome.verdict.block is Block.NO_ALLOW_ORIGIN
    return blocked and is_from_api(outcome.response)


def request_faults(place: Place, request: PageRequest, outcome: Outcome) -> Iterator[str]:
    """Yield what is wrong with the response to an allowed page's GET."""
    policy = place.policy
    if not outcome.allowed:
        yield place.blame(request, outcome)
        return
    last, response = outcome.exchanges[-1], outcome.response
    if refusal(last, policy) is not None:
        yield contradiction(outcome)
    elif response.status >= 500:
        fault = what_to_do(response.status, "proxies", otherwise="see the API's log")
        yield say("error", status=response.status, fault=fault)
    else:
        yield from header_faults(place, response)
        exposed = browser.list_of_tokens(response.get("access-control-expose-headers")) or []
        readable = {name.lower() for name in exposed}
        if missing := [name for name in policy.expose_headers if name.lower() not in readable]:
            yield say("unexposed", names=", ".join(missing))
        if policy.supports_credentials:
            for cookie in cookies(response):
                is_right = all(one in cookie.lower() for one in ("secure", "none", "partitioned"))
                for lost in lost_cookies(request, last.url, [cookie]):
                    yield Note(lost) if is_right else lost


def cookies(response: Response) -> list[str]:
    return [value for name, value in response.headers if name.lower() == "set-cookie"]


def header_faults(place: Place, response: Response, is_preflight: bool = False) -> Iterator[str]:
    """Yield what differs in a response to an allowed page from the policy here."""
    allows = response.get("access-control-allow-credentials") == "true"
    if allows and not place.is_stated and not place.policy.supports_credentials:
        yield say("credentials")
    found, here = response.get("access-control-max-age"), place.policy.max_age
    if is_preflight and place.is_ours and found != str(max(here, 0)):
        yield say("max_age", found=found or 5, here=here)


def check_caches(place: Place) -> Found:
    """Try whether a cache could give a page the copy that was made for another, or for none.

    An image or a link asks without an Origin. Only what differs by the origin needs Vary.
    """
    own, theirs = (
        place.exchange("GET", (("Origin", origin),)).response for origin in (place.page, STRANGER)
    )
    without = place.send("GET", place.url, ())
    varying = ", Vary: Origin" if varies(without) else ""
    return f"GET {without.status}{varying}", list(cache_faults(own, theirs, without))


def cache_faults(own: Response, theirs: Response, without: Response | None = None) -> Iterator[str]:
    """Yield a fault if a response lacks Vary, though it depends on the origin.

    The responses are to an allowed page, to a page on another origin and to no page.
    """
    responses = [own, theirs, *([without] if without else [])]
    allowed = [response.get("access-control-allow-origin") for response in responses]
    lacking = [one for one in responses if one.status < 400 and not varies(one)]
    if len({*allowed}) == 1 or not lacking:
        return
    kept = next(filter(None, map(kept_by_caches, lacking)), None)
    fault = say("no_vary", kept=f", and caches keep it ({kept})" if kept else "")
    # As flask-cors does for one constant origin, and its owner cannot change.
    is_constant = without is not None and allowed[0] == allowed[2] and allowed[1] is None
    yield Note(fault) if is_constant else fault


def kept_by_caches(response: Response) -> str | None:
    """Return the Cache-Control that lets caches keep a response, None if it does not."""
    value = response.get("cache-control") or ""
    kept = KEPT.search(value.lower()) and "no-store" not in value.lower()
    return shown(value) if kept else None


def varies(response: Response) -> bool:
    """Return whether caches store a copy for each origin."""
    names = {name.lower() for name in browser.list_items(response.get("vary"))}
    return bool(names & {"*", "origin"})


def check_unlisted(place: Place) -> Found:
    """Try what the policy does not allow: other methods, and another header."""
    policy, page = place.policy, place.page
    unlisted = [method for method in METHODS if not policy.allows_method(method)]
    tried = {method: place.request(page, method) for method in unlisted}
    if "*" not in policy.allow_headers:
        request = place.request(page, policy.methods[0])
        headers = (*request.headers, (UNLISTED_HEADER, "1"))
        tried["other headers"] = replace(request, headers=headers)
    allowed = [what for what, request in tried.items() if place.preflight(request).allowed]
    faults = [say("differs", what=what) for what in allowed]
    return f"allowed: {', '.join(allowed)}" if allowed else "refused", faults


def lookalikes(origin: str) -> list[str]:
    """Return origins that a careless comparison takes for an allowed one."""
    scheme, host, port = split_origin(origin)
    end = f":{port}" if port else ""
    other_scheme = "http" if scheme == "https" else "https"
    return [
        f"{scheme}://{host}.probe.invalid{end}",
        f"{scheme}://probe{host}{end}",
        f"{scheme}://probe.{host}{end}",
        f"{scheme}://{host.replace('.', '-', 1)}{end}",
        f"{scheme}://{host.partition('.')[2] or host}{end}",
        f"{scheme}://{host}:{int(port or 443) + 1}",
        f"{scheme}://{host}",
        f"{other_scheme}://{host}{end}",
        f"{other_scheme}://{host}",
    ]


def is_foreign(origin: str, page: str) -> bool:
    """Return whether somebody else than the owner of a page's domain can have an origin."""
    theirs, own = site(origin), site(page)
    return theirs is None or own is None or theirs[1] != own[1]


def strangers(place: Place) -> list[str]:
    """Return origins that should not be allowed, most of which look like one that is.

    What the owner of any server may allow on purpose is not among them: other ports or subdomains.
    """
    exact = [origin for origin in place.pages if "*" not in origin]
    wildcards = [origin for origin in place.pages if "*" in origin]
    own = browser.http_origin(place.url)
    found = [STRANGER, "null"]
    for page in map(sample, [*exact[:1], *wildcards[:1]]):
        alike = [one for one in lookalikes(page) if browser.http_origin(one) != own]
        found += [one for one in alike if place.is_ours or is_foreign(one, page)]
    return [one for one in dict.fromkeys(found) if not (place.is_ours and place.policy.allows(one))]


def check_strangers(place: Place, others: list[str]) -> Found:
    """Try a GET and a preflight from each origin."""
    allowed: dict[str, None] = {}
    faults: list[str] = []
    is_meant = place.is_stated or place.policy.allows(STRANGER)
    for origin in others:
        preflight = browser.preflight_headers(place.request(origin, place.policy.methods[0]))
        sent = [place.exchange("GET", (("Origin", origin),))]
        sent += [place.exchange("OPTIONS", preflight)] if preflight else []
        for response in (one.response for one in sent):
            if response.get("access-control-allow-origin") in (origin, "*"):
                allowed[origin] = None
                if origin == STRANGER:
                    faults += stranger_faults(None if is_meant else place.policy, response)
    if STRANGER in allowed and is_meant:
        faults = faults or [Note(say("public"))]
    elif allowed and not faults:
        names = [f"{one} (any site can send it)" if one == "null" else one for one in allowed]
        text = "lookalikes" if place.is_ours else "lookalikes_of_server"
        faults.append(say(text, names=", ".join(names)))
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


def check_not_found(place: Place) -> Found:
    """Try whether a page can read that a path does not exist."""
    request, outcome = place.get(place.page)
    if outcome.allowed:
        return f"GET {outcome.response.status}, readable", []
    return BLOCKED, [place.blame(request, outcome)]


def check_refusal(place: Place) -> Found:
    """Try whether what a stranger sends is refused before the app looks for a route."""
    sent = place.exchange("POST", (("Origin", STRANGER),))
    status = sent.response.status
    if refusal_in(sent.response) is not None:
        return f"POST {status}, refused", []
    if is_from_api(sent.response) and status < 500 and status not in browser.REDIRECTS:
        return f"POST {status}", [say("unprotected", status=status)]
    outcome = Outcome(Verdict(Block.NO_ALLOW_ORIGIN), (sent,))
    return f"POST {status}", [place.blame(PageRequest(STRANGER, "POST"), outcome)]


def check_own_page(place: Place) -> Found:
    """Try what a page of the API's own origin sends where a browser adds no Sec-Fetch-Site."""
    parts = urlsplit(place.url)
    response = place.send("POST", place.url, (("Origin", f"{parts.scheme}://{parts.netloc}"),))
    faults = [] if refusal_in(response) is None else [say("no_host")]
    return f"POST {response.status}", faults


def check_large_body(place: Place, method: str) -> Found:
    """Try whether a page can read that a body is too large. `place` sends it."""
    request = PageRequest(place.page, method, credentials=place.policy.supports_credentials)
    sent = place.exchange(method, (("Origin", place.page), ("Content-Type", "text/plain")))
    outcome = Outcome(browser.cors_check(request, sent.response), (sent,))
    result = f"{method} {sent.response.status}"
    if not outcome.allowed:
        return result, [place.blame(request, outcome)]
    if sent.response.status != 413:
        return result, [say("no_limit")]
    return f"{result}, readable", []


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


def blame(request: PageRequest, outcome: Outcome, is_ours: bool, local: str | None = None) -> str:
    """Return why the response of a deployed API is blocked or refused, and what to change.

    `is_ours` is whether it should come from an API of the template's, which a proxy's differ from.
    `local` says why the policy here blocks the request, None if it allows it or there is none.
    """
    who = "something in front of the API" if is_ours else "the server"
    if not outcome.exchanges:
        return say("mixed", rest=outcome.verdict.found.removeprefix("http"))
    if fault := redirect_fault(outcome, who):
        return fault
    for name in ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"):
        if len(browser.list_items(outcome.response.get(name.lower()))) > 1:
            return say("doubled", name=name)
    if is_ours and is_from_proxy(outcome) and not (local and outcome.response.status < 300):
        return foreign(outcome, who)
    if lost := lost_origin(request, outcome):
        return lost
    return local or (contradiction(outcome) if is_ours else fault_of_server(request, outcome))


def redirect_fault(outcome: Outcome, who: str) -> str | None:
    """Return what to do about a redirect that gets the request blocked, None if none does."""
    verdict, last = outcome.verdict, outcome.exchanges[-1]
    if verdict.block is Block.TOO_MANY_REDIRECTS:
        return say("loop")
    if verdict.block is Block.REDIRECT_URL:
        return say("bad_location", target=shown(verdict.found))
    location, preflight = browser.redirect_location(last.response), verdict.during_preflight
    if verdict.block is Block.MIXED_CONTENT:
        location = verdict.found
    elif location is None or (is_from_api(last.response) and not preflight):
        return None
    target = urljoin(last.url, location)
    here, there = urlsplit(last.url), urlsplit(target)
    said = {"url": last.url, "target": shown(target), "who": who}
    if target == last.url:
        return say("to_itself", **said)
    if (here.scheme, there.scheme) == ("https", "http"):
        return say("to_http", **said)
    if (here.scheme, there.scheme) == ("http", "https"):
        where = "to https"
    elif here.netloc != there.netloc:
        where = "to another host"
    elif here.path.rstrip("/") == there.path.rstrip("/"):
        where = "for the slash at the end"
    else:
        return say("to_log_in", **said, what="OPTIONS" if preflight else "this path")
    limit = "which browsers do not follow in a preflight" if preflight else "without CORS headers"
    return say("moved", **said, where=where, limit=limit)


def is_from_proxy(outcome: Outcome) -> bool:
    """Return whether something else than the API made the last response.

    A proxy may add CORS headers to its own errors. The API answers a preflight with 204 or 403.
    """
    status = outcome.response.status
    unlike_api = status >= 400 and status != 403 and outcome.verdict.during_preflight
    return status in (502, 504) or unlike_api or not is_from_api(outcome.response)


def is_from_api(response: Response) -> bool:
    """Return whether a response has a header that our apps send always, or is their refusal."""
    has_header = response.get("access-control-allow-origin") is not None or varies(response)
    return has_header or refusal_in(response) is not None


def foreign(outcome: Outcome, who: str) -> str:
    """Return what to do about a response that is not the API's own."""
    status, preflight = outcome.response.status, outcome.verdict.during_preflight
    if fault := what_to_do(status, "limits"):
        return say("limit", status=status, fault=fault)
    has_headers = outcome.response.get("access-control-allow-origin") is not None
    without = "" if has_headers else ", without CORS headers"
    said = {"who": who, "status": status, "without": without}
    if preflight and (status < 400 or status in (401, 403, 405)):
        return say("foreign_preflight", **said)
    if status < 400:
        return say("foreign_data", **said)
    fault = what_to_do(status, "proxies", otherwise="see the proxy's log")
    if preflight:
        return f"{who} answers {status}{without}: {fault}"
    missing = "Access-Control-Allow-Credentials: true" if has_headers else "CORS headers"
    return say("foreign_error", **said, fault=fault, missing=missing)


def fault_of_server(request: PageRequest, outcome: Outcome) -> str:
    """Return what to do about an answer of a server whose policy nobody here knows."""
    verdict, response = outcome.verdict, outcome.response
    status, found = response.status, shown(verdict.found)
    if request.origin == "null":
        return say("null_page")
    if verdict.block is Block.OTHER_ALLOW_ORIGIN:
        hit = response.get("age") or "hit" in (response.get("x-cache") or "").lower()
        if hit and not varies(response):
            return say("cached", found=found)
        close = origins.nearest([verdict.found], "the server", request.origin)
        return f"{shown(request.origin)} is not allowed{close}: allow it, too"
    if verdict.during_preflight and not 200 <= status <= 299:
        if response.get("access-control-allow-methods") is None and b"CORS" not in response.body:
            return say("preflight", status=status)
        what = ", ".join(
            [request.method, *browser.unsafe_header_names(browser.page_headers(request))]
        )
        return say("rejected", status=status, origin=shown(request.origin), what=what)
    if status >= 400:
        fault = what_to_do(status, "servers", "proxies", otherwise="see the server's log")
        return say("unreadable", status=status, fault=fault)
    where = "in the preflight, " if verdict.during_preflight else ""
    why = verdict.block.value if verdict.block else "the answer is a refusal"
    named = f" ({found})" if verdict.found else ""
    return f"allow {shown(request.origin)}: {where}{why}{named}"


def contradiction(outcome: Outcome) -> str:
    """Return what to do if the policy here allows a request and the deployed API does not."""
    verdict, response = outcome.verdict, outcome.response
    if verdict.block is Block.OTHER_ALLOW_ORIGIN and not varies(response):
        return say("for_another", found=shown(verdict.found))
    return say("contradicts")


def recipes(policy: Policy, answers: list[Response]) -> dict[str, str]:
    """Return what to send for a policy, exactly, and how the server is told to, if it is known.

    `answers` are the server's, one of them for a path that it does not have.
    """
    lines = [f"{name}: {value}" for answer in answers for name, value in answer.headers]
    seen = "\n".join([*lines, *(answer.body.decode(errors="replace") for answer in answers)])
    found = {"Send exactly": filled(known()["exactly"]["recipe"], policy)}
    for name, server in known()["recipes"].items():
        if re.search(server["sign"], seen, re.IGNORECASE | re.MULTILINE):
            return found | {f"In {name}": filled(server["recipe"], policy)}
    return found


def filled(text: str, policy: Policy) -> str:
    """Return a recipe with a policy's values; servers.toml says how."""
    quoted = [
        ", ".join(f'"{item}"' for item in items)
        for items in (policy.origins, policy.methods, policy.allow_headers)
    ]
    values = dict(zip(("origins", "methods", "headers"), quoted, strict=True))
    values |= {
        "page": policy.origins[0],
        "method_names": ", ".join(policy.methods),
        "header_names": ", ".join(policy.allow_headers),
        "credentials": "true" if policy.supports_credentials else "",
        "Credentials": "True" if policy.supports_credentials else "",
    }
    lines = []
    for line in text.strip().splitlines():
        names = re.findall(r"%\((\w+)\)s", line)
        for origin in policy.origins if {"origin", "pattern"} & {*names} else [""]:
            here = {**values, "origin": origin, "pattern": re.escape(origin)}
            if all(here[name] for name in names):
                lines.append(line % here)
    return "\n".join(lines)


def risks(policy: Policy, debug: bool, whose: str = "the API's") -> Iterator[str]:
    """Yield what is rarely right in production. `whose` responses go by the policy."""
    if policy.is_public:
        yield say("risk_public", whose=whose)
        if unsafe := [method for method in policy.methods if method not in SAFE_METHODS]:
            yield say("risk_acting", methods=", ".join(unsafe))
    for origin in policy.origins:
        yield from origin_risks(policy, origin, debug)
    if not policy.protection:
        yield say("risk_unprotected")
    if policy.supports_credentials and len(policy.origins) > 10:
        yield say("risk_many", number=len(policy.origins))
    if policy.max_age > CHROMIUM_MAX_AGE:
        yield say("risk_max_age", seconds=policy.max_age, most=CHROMIUM_MAX_AGE)


def origin_risks(policy: Policy, origin: str, debug: bool) -> Iterator[str]:
    if is_loopback(origin):
        if not debug and is_for_development(origin):
            yield say("risk_development", origin=origin)
    elif origin.startswith("http://"):
        yield say("risk_plain_http", origin=origin)
    if "*" in split_origin(origin)[1]:
        yield from (f"{origin}: {note}" for note in origins.origin_notes(origin))
        if policy.supports_credentials:
            yield say("risk_any_host", origin=origin)


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
    if policy.supports_credentials:
        yield say("risk_ask", url=f"{api}/api/echo")
    for path, own in policy.paths.items():
        if own.supports_credentials and not policy.supports_credentials:
            yield say("risk_ask", url=f"{api}{path}")
