"""What is tried at a deployed API, one row of a table each, what to fix, and who is to blame.

No trial changes data: it sends preflights, GETs, and a POST only to a path without a route.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urljoin, urlsplit

from .browser import (
    REDIRECTS,
    Block,
    Exchange,
    Headers,
    Outcome,
    PageRequest,
    Response,
    Send,
    Verdict,
    check_preflight,
    cors_check,
    fetch,
    http_origin,
    is_loopback_url,
    is_mixed_content,
    list_items,
    list_of_tokens,
    preflight_headers,
    redirect_location,
)
from .causes import METHODS, lost_origin, refusal, refusal_in
from .origins import (
    is_for_development,
    is_loopback,
    nearest,
    origin_notes,
    shown,
    site,
    split_origin,
    with_metadata,
)
from .policies import SAFE_METHODS, Policy
from .senders import Unreachable, known

# An origin that no page can have (RFC 6761, section 6.4).
STRANGER = "https://probe.invalid"

KEPT = re.compile(r'(?:public|(?:max-age|s-maxage)="?0*[1-9][0-9]*"?)\Z')

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
        is_here = self.is_stated or is_loopback_url(self.url)
        return [one for one in self.policy.origins if is_here or not is_for_development(one)]

    @property
    def page(self) -> str:
        """One origin that is allowed."""
        return sample([*self.pages, *self.policy.origins][0])

    def request(self, page: str, method: str = "GET") -> PageRequest:
        """Return a request with all headers that the policy allows, to be preflighted."""
        names = [UNLISTED_HEADER if name == "*" else name for name in self.policy.allow_headers]
        headers = tuple((name, "1") for name in names)
        credentials = self.policy.supports_credentials
        return PageRequest(page, method, headers, credentials, preflight=not self.is_stated)

    def preflight(self, request: PageRequest) -> Outcome:
        """Send nothing but the preflight of a request."""
        if is_mixed_content(request.origin, self.url):
            return Outcome(Verdict(Block.MIXED_CONTENT, self.url), ())
        sent = self.exchange("OPTIONS", preflight_headers(request) or ())
        return Outcome(check_preflight(request, sent.response), (sent,))

    def get(self, page: str) -> tuple[PageRequest, Outcome]:
        request = PageRequest(page, "GET", credentials=self.policy.supports_credentials)
        return request, fetch(self.url, request, with_metadata(self.send, page))

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
            return NOT_NEEDED, faults
        if not outcome.allowed and not policy.allows_method("GET") and no_get(outcome):
            done.append(f"{UNKNOWN} more than of the preflight: GET {outcome.response.status}")
        else:
            faults += request_faults(place, request, outcome)
            failed = not outcome.allowed or outcome.response.status >= 500
            if failed and not (place.is_stated and outcome.exchanges):
                return BLOCKED, faults
            done.append("blocked" if failed else f"GET {outcome.response.status}")
    requests = [place.request(page, method) for method in policy.methods]
    asked = [request for request in requests if preflight_headers(request) is not None]
    blocked = []
    for request in asked:
        outcome = place.preflight(request)
        if not is_needed and is_refused(outcome):
            return NOT_NEEDED, faults
        if outcome.allowed:
            faults += preflight_faults(place, outcome.response)
        else:
            blocked.append(request.method)
            faults.append(place.blame(request, outcome))
    if place.is_stated and (unsent := [one for one in policy.methods if one not in SAFE_METHODS]):
        faults.append(Note(f"{' and '.join(unsent)} may change data and was not sent"))
    if asked and len(blocked) == len(asked):
        return ", ".join([*done, "no preflight"]) if done else BLOCKED, faults
    passed = len(asked) - len(blocked)
    if passed:
        done.append(f"{passed} preflight{'' if passed == 1 else 's'}")
    done += [f"not {', '.join(blocked)}"] if blocked else []
    return ", ".join(done), faults


def no_get(outcome: Outcome) -> bool:
    """Return whether a path takes no GET, which says nothing of other methods."""
    return bool(outcome.exchanges) and outcome.response.status in (404, 405)


def is_refused(outcome: Outcome) -> bool:
    """Return whether the API itself does not allow the origin."""
    blocked = outcome.verdict.block is Block.NO_ALLOW_ORIGIN
    return blocked and is_from_api(outcome.response)


def request_faults(place: Place, request: PageRequest, outcome: Outcome) -> list[str]:
    """Return what is wrong with the response to an allowed page's GET."""
    policy = place.policy
    if not outcome.allowed:
        return [place.blame(request, outcome)]
    last, response = outcome.exchanges[-1], outcome.response
    if refusal(last, policy) is not None:
        return [contradiction(outcome)]
    if response.status >= 500:
        fault = known()["proxies"].get(str(response.status), "see the API's log")
        return [f"the answer is {response.status}: {fault}"]
    faults = [*credentials_faults(place, response)]
    exposed = list_of_tokens(response.get("access-control-expose-headers")) or []
    readable = {name.lower() for name in exposed}
    if missing := [name for name in policy.expose_headers if name.lower() not in readable]:
        faults.append(
            f"pages cannot read {', '.join(missing)}, which the policy here exposes: have the proxy"
            " keep Access-Control-Expose-Headers, or deploy this version"
        )
    if policy.supports_credentials:
        faults += cookie_faults(request.origin, last.url, response)
    return faults


def preflight_faults(place: Place, response: Response) -> Iterator[str]:
    yield from credentials_faults(place, response)
    max_age = response.get("access-control-max-age")
    if place.is_ours and max_age != str(max(place.policy.max_age, 0)):
        yield (
            f"browsers may keep a preflight for {max_age or 5} s, by the policy here for"
            f" {place.policy.max_age} s: have the proxy keep Access-Control-Max-Age, or deploy this"
            " version"
        )


def credentials_faults(place: Place, response: Response) -> Iterator[str]:
    allows = response.get("access-control-allow-credentials") == "true"
    if allows and not place.is_stated and not place.policy.supports_credentials:
        yield (
            "Access-Control-Allow-Credentials is true, which the policy here does not allow: remove"
            " it from the proxy, or deploy this version"
        )


def cookie_faults(page: str, url: str, response: Response) -> Iterator[str]:
    """Yield which attributes keep browsers from sending a cookie, or make them send it too far."""
    is_other_site = site(page) != site(url)
    for name, value in response.headers:
        if name.lower() != "set-cookie":
            continue
        cookie, *attributes = (part.strip() for part in value.split(";"))
        given = {attribute.replace(" ", "").lower() for attribute in attributes}
        needed = ["Secure"] if urlsplit(url).scheme == "https" else []
        if is_other_site:
            needed += ["SameSite=None", "Partitioned"]
        elif not any(one.startswith("samesite=") for one in given):
            needed.append("SameSite=Lax")
        if lacking := [one for one in needed if one.lower() not in given]:
            why = "a page on another site needs" if is_other_site else "browsers differ without"
            yield (
                f"the cookie {cookie.partition('=')[0]} lacks {'; '.join(lacking)}, which {why}:"
                " have the API set it (app/settings.py), and the proxy keep it"
            )


def check_caches(place: Place) -> Found:
    """Try whether a cache could give a page the copy that was made for another, or for none.

    An image or a link asks without an Origin. Only what differs by the origin needs Vary.
    """
    origins = [(("Origin", origin),) for origin in (place.page, STRANGER)]
    asked = [place.exchange("GET", origin).response for origin in origins]
    asked.append(place.send("GET", place.url, ()))
    faults = list(cache_faults(*asked))
    varying = ", Vary: Origin" if varies(asked[-1]) else ""
    return f"GET {asked[-1].status}{varying}", faults


def cache_faults(
    own: Response, strangers: Response, without: Response | None = None
) -> Iterator[str]:
    """Yield a fault if a response lacks Vary, though it depends on the origin.

    The responses are to an allowed page, to a page on another origin and to no page.
    """
    responses = [own, strangers, *([without] if without else [])]
    allowed = [response.get("access-control-allow-origin") for response in responses]
    lacking = [one for one in responses if one.status < 400 and not varies(one)]
    if len(set(allowed)) == 1 or not lacking:
        return
    kept = next(filter(None, map(kept_by_caches, lacking)), None)
    fault = (
        f"the response lacks Vary: Origin{f', and caches keep it ({kept})' if kept else ''}: a"
        " cache may give one page's copy to a page on another origin, whose browser then"
        " blocks it: have the proxy keep the API's Vary, or the API send it"
    )
    # As flask-cors does for one constant origin.
    is_constant = allowed[0] == allowed[-1] and allowed[1] is None and without is not None
    yield Note(fault) if is_constant else fault


def kept_by_caches(response: Response) -> str | None:
    """Return the Cache-Control that lets caches keep a response, None if it does not."""
    value = response.get("cache-control")
    items = [item.lower() for item in list_items(value)]
    kept = any(map(KEPT.match, items))
    return shown(value) if value and kept and "no-store" not in items else None


def varies(response: Response) -> bool:
    """Return whether caches store a copy for each origin."""
    names = {name.lower() for name in list_items(response.get("vary"))}
    return bool(names & {"*", "origin"})


def check_unlisted(place: Place) -> Found:
    """Try what the policy does not allow: other methods, and another header."""
    policy, page = place.policy, place.page
    tried = {
        method: place.request(page, method)
        for method in METHODS
        if not policy.allows_method(method)
    }
    if "*" not in policy.allow_headers:
        request = place.request(page, policy.methods[0])
        headers = (*request.headers, (UNLISTED_HEADER, "1"))
        tried["other headers"] = replace(request, headers=headers)
    allowed = [what for what, request in tried.items() if place.preflight(request).allowed]
    faults = [
        f"the deployed API allows {what}, which the policy here does not: deploy this version, and"
        " leave CORS to the API"
        for what in allowed
    ]
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
    own = http_origin(place.url)
    found = [STRANGER, "null"]
    for page in map(sample, [*exact[:1], *wildcards[:1]]):
        found += [
            one
            for one in lookalikes(page)
            if (place.is_ours or is_foreign(one, page)) and http_origin(one) != own
        ]
    return [one for one in dict.fromkeys(found) if not (place.is_ours and place.policy.allows(one))]


def check_strangers(place: Place, others: list[str]) -> Found:
    """Try a GET and a preflight from each origin."""
    allowed: list[str] = []
    faults: list[str] = []
    for origin in others:
        preflight = preflight_headers(place.request(origin, place.policy.methods[0]))
        tried = [("GET", (("Origin", origin),)), ("OPTIONS", preflight)]
        for method, headers in tried:
            if headers is None:
                continue
            response = place.exchange(method, headers).response
            if response.get("access-control-allow-origin") in (origin, "*"):
                allowed.append(origin)
                if origin == STRANGER:
                    is_meant = place.is_stated or place.policy.allows(STRANGER)
                    faults += stranger_faults(None if is_meant else place.policy, response)
    allowed = list(dict.fromkeys(allowed))
    if STRANGER in allowed and not place.is_ours:
        faults = faults or [Note("every page may read what a GET returns: right for public data")]
    elif allowed and not faults:
        names = [f"{one} (any site can send it)" if one == "null" else one for one in allowed]
        faults.append(
            f"the deployed API allows {', '.join(names)}, which the policy here does not: compare"
            " whole origins in the proxy, or leave CORS to the API, and deploy this version"
            if place.is_ours
            else f"any site can have an origin that the server allows, {', '.join(names)}: compare"
            " whole origins, or end the pattern with $ and write \\. for each dot; never allow null"
        )
    return f"{len(allowed)} allowed" if allowed else "refused", faults


def stranger_faults(policy: Policy | None, response: Response) -> Iterator[str]:
    """Yield what the response to an unknown page reveals."""
    allowed = response.get("access-control-allow-origin")
    credentials = response.get("access-control-allow-credentials") == "true"
    if allowed == STRANGER and credentials:
        yield (
            f"every site can act as your logged-in users: the API allows {STRANGER} too, with"
            " credentials: remove $http_origin or the like from the proxy, and list the origins"
        )
    elif allowed in (STRANGER, "*") and policy and not policy.is_public:
        yield (
            "every site can read the responses, which the policy here does not allow: the API"
            f" allows {STRANGER} too: leave CORS to the API"
        )
    if allowed == "*" and credentials:
        text = (
            "Access-Control-Allow-Credentials: true has no effect with Access-Control-Allow-Origin:"
            " *, which browsers reject for requests with credentials: list the origins, or remove"
            " the header"
        )
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
    result = f"POST {status}"
    if refusal_in(sent.response) is not None:
        return f"{result}, refused", []
    if is_from_api(sent.response) and status < 500 and status not in REDIRECTS:
        fault = (
            f"the API answers a stranger's POST with {status}, not 403, so every site"
            " can make it act: remove CORS_PROTECTION from the deployment, or deploy this version"
        )
        return result, [fault]
    outcome = Outcome(Verdict(Block.NO_ALLOW_ORIGIN), (sent,))
    return result, [place.blame(PageRequest(STRANGER, "POST"), outcome)]


def check_own_page(place: Place) -> Found:
    """Try what a page of the API's own origin sends where a browser adds no Sec-Fetch-Site."""
    parts = urlsplit(place.url)
    response = place.send("POST", place.url, (("Origin", f"{parts.scheme}://{parts.netloc}"),))
    result = f"POST {response.status}"
    if refusal_in(response) is None:
        return result, []
    fault = (
        "the API takes its own pages for strangers, because the proxy hides the host: have it pass"
        " the host on, with its port (nginx: proxy_set_header Host $http_host)"
    )
    return result, [fault]


def check_large_body(place: Place, method: str) -> Found:
    """Try whether a page can read that a body is too large. `place` sends it."""
    request = PageRequest(place.page, method, credentials=place.policy.supports_credentials)
    sent = place.exchange(method, (("Origin", place.page), ("Content-Type", "text/plain")))
    outcome = Outcome(cors_check(request, sent.response), (sent,))
    result = f"{method} {sent.response.status}"
    if not outcome.allowed:
        return result, [place.blame(request, outcome)]
    if sent.response.status != 413:
        return result, ["nothing rejects a body of this size: correct --body-limit"]
    return f"{result}, readable", []


def check_plain_http(url: str, send: Send) -> Found:
    """Try whether plain http leads to https."""
    try:
        response = send("GET", url, ())
    except Unreachable:
        return "nothing answers", []
    location = redirect_location(response)
    if location is not None and urljoin(url, location).startswith("https:"):
        return f"GET {response.status}, to https", []
    fault = (
        f"{url} answers over plain http, where anyone on the network can read and change it:"
        " redirect it to https (nginx: return 308 https://$host$request_uri)"
    )
    return f"GET {response.status}", [fault]


def blame(request: PageRequest, outcome: Outcome, is_ours: bool, local: str | None = None) -> str:
    """Return why the response of a deployed API is blocked or refused, and what to change.

    `is_ours` is whether it should come from an API of the template's, which a proxy's differ from.
    `local` says why the policy here blocks the request, None if it allows it or there is none.
    """
    who = "something in front of the API" if is_ours else "the server"
    if not outcome.exchanges:
        return f"have the page call https{outcome.verdict.found.removeprefix('http')}"
    if fault := redirect_fault(outcome, who) or doubled(outcome):
        return fault
    if is_ours and is_from_proxy(outcome) and not (local and outcome.response.status < 300):
        return foreign(outcome, who)
    if lost := lost_origin(request, outcome):
        return lost
    return local or (contradiction(outcome) if is_ours else fault_of_server(request, outcome))


def doubled(outcome: Outcome) -> str | None:
    """Return what to do about a header that may come only once, None if each does."""
    response = outcome.response
    for name in ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"):
        if len(list_items(response.get(name.lower()))) > 1:
            return (
                f"the API sends {name}, and a proxy adds its own: remove it from"
                " the proxy (nginx: add_header), and leave CORS to the API"
            )
    return None


def redirect_fault(outcome: Outcome, who: str) -> str | None:
    """Return what to do about a redirect that gets the request blocked, None if none does."""
    block, found = outcome.verdict.block, outcome.verdict.found
    last = outcome.exchanges[-1]
    if block is Block.TOO_MANY_REDIRECTS:
        return "the redirects form a loop: end it, in the proxy or in the API"
    if block is Block.REDIRECT_URL:
        return f"no cross-origin request may go to {shown(found)}: correct the Location header"
    if block is Block.MIXED_CONTENT:
        return redirected(last.url, found, False, who)
    preflight = outcome.verdict.during_preflight
    location = redirect_location(last.response)
    if location is None or (is_from_api(last.response) and not preflight):
        return None
    return redirected(last.url, urljoin(last.url, location), preflight, who)


def redirected(url: str, target: str, preflight: bool, who: str) -> str:
    """Return what to do about a redirect that browsers do not follow."""
    here, there = urlsplit(url), urlsplit(target)
    if target == url:
        return f"{url} redirects to itself: end that, in the proxy or in the API"
    if (here.scheme, there.scheme) == ("https", "http"):
        return (
            f"{url} redirects to {shown(target)}, because the API takes the request for plain http:"
            " have the proxy send X-Forwarded-Proto, and the API trust it (werkzeug's ProxyFix)"
        )
    if (here.scheme, there.scheme) == ("http", "https"):
        what = "to https"
    elif here.netloc != there.netloc:
        what = "to another host"
    elif here.path.rstrip("/") == there.path.rstrip("/"):
        what = "for the slash at the end"
    else:
        return (
            f"{who} redirects to {shown(target)}, perhaps for a login: have it"
            f" pass {'OPTIONS' if preflight else 'this path'} on to the API"
        )
    limit = "which browsers do not follow in a preflight" if preflight else "without CORS headers"
    return f"{who} redirects {what}, {limit}: have the page call {shown(target)}"


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
    if fault := known()["limits"].get(str(status)):
        return f"a server answers {status} before the API sees the request: {fault}"
    has_headers = outcome.response.get("access-control-allow-origin") is not None
    without = "" if has_headers else ", without CORS headers"
    start = f"{who} answers {status}{without}"
    if preflight and (status < 400 or status in (401, 403, 405)):
        return f"{start}: have it pass OPTIONS on to the API, which answers preflights itself"
    if status < 400:
        return (
            f"{start}: check that the path leads to the API, and that the proxy keeps its"
            " Access-Control-Allow-Origin and Vary"
        )
    fault = known()["proxies"].get(str(status), "see the proxy's log")
    if preflight:
        return f"{start}: {fault}"
    missing = "Access-Control-Allow-Credentials: true" if has_headers else "CORS headers"
    return f"{start}: {fault}; add {missing} to the proxy's own errors, so that pages can read them"


def fault_of_server(request: PageRequest, outcome: Outcome) -> str:
    """Return what to do about an answer of a server whose policy nobody here knows."""
    verdict, response = outcome.verdict, outcome.response
    status, found, block = response.status, shown(verdict.found), verdict.block
    assert block is not None
    if block is Block.OTHER_ALLOW_ORIGIN:
        age = response.get("age") or "hit" in (response.get("x-cache") or "").lower()
        if age and not varies(response):
            return (
                f"a cache gives every page the copy that it keeps for {found}: have the server send"
                " Vary: Origin, and empty the cache"
            )
        close = nearest([verdict.found], "the server", request.origin)
        return f"{shown(request.origin)} is not allowed{close}: allow it, too"
    if verdict.during_preflight and not 200 <= status <= 299:
        return (
            f"the preflight is answered with {status}: have OPTIONS answered before any log-in or"
            " route, with 204 and CORS headers; a browser sends no cookie and no Authorization with"
            " it"
        )
    if status >= 400:
        servers, proxies = known()["servers"], known()["proxies"]
        fault = servers.get(str(status)) or proxies.get(str(status), "see the server's log")
        return (
            f"the answer is {status}, which the page cannot read: {fault}; have CORS headers sent"
            " with errors, too"
        )
    where = "in the preflight, " if verdict.during_preflight else ""
    named = f" ({found})" if verdict.found else ""
    return f"allow {shown(request.origin)}: {where}{block.value}{named}"


def contradiction(outcome: Outcome) -> str:
    """Return what to do if the policy here allows a request and the deployed API does not."""
    verdict, response = outcome.verdict, outcome.response
    if verdict.block is Block.OTHER_ALLOW_ORIGIN and not varies(response):
        return (
            f"the response is for {shown(verdict.found)}, without Vary: Origin: a proxy sets"
            " the header, or a cache gives every page the same copy: leave CORS to the API, keep"
            " its Vary, and empty the cache"
        )
    return (
        "the policy here allows this, but the deployed API does not: deploy this version with the"
        " same FLASK_CORS_ variables, and check that no proxy changes the headers"
    )


def recipes(policy: Policy, answers: list[Response]) -> dict[str, str]:
    """Return what to send for a policy, exactly, and how the server is told to, if it is known.

    `answers` are the server's, one of them for a path that it does not have.
    """
    seen = "\n".join(
        f"{name}: {value}" for answer in answers for name, value in answer.headers
    ) + "".join(f"\n{answer.body.decode(errors='replace')}" for answer in answers)
    found = {"Send exactly": filled(known()["exactly"]["recipe"], policy)}
    for name, server in known()["recipes"].items():
        if re.search(server["sign"], seen, re.IGNORECASE | re.MULTILINE):
            return found | {f"In {name}": filled(server["recipe"], policy)}
    return found


def filled(text: str, policy: Policy) -> str:
    """Return a recipe with a policy's values; servers.toml says how."""
    values = {
        "page": policy.origins[0],
        "origins": quoted(policy.origins),
        "methods": quoted(policy.methods),
        "method_names": ", ".join(policy.methods),
        "headers": quoted(policy.allow_headers),
        "header_names": ", ".join(policy.allow_headers),
        "credentials": "true" if policy.supports_credentials else "",
        "Credentials": "True" if policy.supports_credentials else "",
    }
    lines = []
    for line in text.strip().splitlines():
        each = policy.origins if re.search("<(?:origin|pattern)>", line) else [""]
        for origin in each:
            here = {**values, "origin": origin, "pattern": re.escape(origin)}
            if all(here[name] for name in re.findall(r"<(\w+)>", line)):
                lines.append(re.sub(r"<(\w+)>", partial(value_of, here), line))
    return "\n".join(lines)


def value_of(values: dict[str, str], name: re.Match[str]) -> str:
    return values[name[1]]


def quoted(items: tuple[str, ...]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def risks(policy: Policy, debug: bool, whose: str = "the API's") -> Iterator[str]:
    """Yield the risks of a policy. `whose` responses go by it."""
    if policy.is_public:
        yield f"every site can read {whose} responses"
        if unsafe := [method for method in policy.methods if method not in SAFE_METHODS]:
            yield f"every page may run {', '.join(unsafe)}: no origin is refused"
    for origin in policy.origins:
        yield from origin_risks(policy, origin, debug)
    if not policy.protection:
        yield (
            "the protection is off: nothing is refused, so every site can make the API act, by a"
            " form for example"
        )
    if policy.supports_credentials and len(policy.origins) > 10:
        yield f"{len(policy.origins)} origins can each act as a logged-in user"
    if policy.max_age > CHROMIUM_MAX_AGE:
        yield (
            f"preflights may be cached for {policy.max_age} s, but Chromium caches them for at most"
            f" {CHROMIUM_MAX_AGE} s, and Safari for 600 s"
        )


def origin_risks(policy: Policy, origin: str, debug: bool) -> Iterator[str]:
    if is_loopback(origin):
        if not debug and is_for_development(origin):
            yield f"{origin}: fine in development; remove it in production"
    elif origin.startswith("http://"):
        yield f"{origin}: anyone on the network can change a page that is sent over plain http"
    if "*" in split_origin(origin)[1]:
        yield from (f"{origin}: {note}" for note in origin_notes(origin))
        if policy.supports_credentials:
            yield f"{origin}: any host that matches, even a forgotten one, can act as the user"


def cookie_risks(policy: Policy, same_site: str | None) -> Iterator[str]:
    """Yield whose pages get no session cookie: `same_site` is its attribute in a deployment."""
    if not policy.supports_credentials or same_site != "Lax":
        return
    first: dict[object, str] = {}
    for origin in policy.origins:
        if not is_for_development(origin):
            first.setdefault(site(origin), origin)
    if len(first) > 1:
        yield (
            f"{' and '.join(first.values())} are on several sites, and the session cookie is sent"
            " from the API's own only; to send it from all: uvx copier update"
            " --vcs-ref=:current: --defaults -d frontends_share_site=no"
        )


def risks_of_paths(policy: Policy, debug: bool) -> Iterator[str]:
    """Yield the risks of paths with a policy of their own, but for those that they inherit."""
    inherited = set(risks(policy, debug, "its"))
    for path, own in policy.paths.items():
        found = risks(own, debug, "its")
        yield from (f"{path}: {risk}" for risk in found if risk not in inherited)


def notes(policy: Policy, api: str) -> Iterator[str]:
    """Yield what the owner should know, such as which origin an app has on other systems."""
    for origin in policy.origins:
        if "*" not in origin:
            yield from (f"{origin}: {note}" for note in origin_notes(origin))
    if policy.supports_credentials:
        yield asking_for_credentials(f"{api}/api/echo")
    for path, own in policy.paths.items():
        if own.supports_credentials and not policy.supports_credentials:
            yield asking_for_credentials(f"{api}{path}")


def asking_for_credentials(url: str) -> str:
    return (
        "the frontend has to ask for credentials, each time:"
        f' fetch("{url}", {{ credentials: "include" }})'
    )
