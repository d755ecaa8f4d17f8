"""What is tried at a deployed API, one row of a table each, and what to fix.

No trial changes data: it sends preflights, GETs, and a POST only to a path without a route.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from .causes import METHODS, Advice, lost_origin, refusal, refusal_in
from .origins import is_for_development, shown, site, split_origin, with_metadata
from .policies import Policy
from .senders import Unreachable

# An origin that no page can have (RFC 6761, section 6.4).
STRANGER = "https://probe.invalid"

KEPT = re.compile(r'(?:public|(?:max-age|s-maxage)="?0*[1-9][0-9]*"?)\Z')

UNLISTED_HEADER = "X-Flask-Cors-Probe"

# How it went for an origin that gets nothing from the API.
BLOCKED = "blocked"

# How it went for an origin of this machine, at an API on another.
NOT_NEEDED = "refused, as in production"

# How a trial went, in few words, and what to fix.
Found = tuple[str, list[str]]


@dataclass(frozen=True)
class Place:
    """A URL of the deployed API, the policy that it should keep, and how to send requests."""

    url: str
    policy: Policy
    send: Send

    @property
    def pages(self) -> list[str]:
        """The policy's origins, but for those of this machine if the API is on another."""
        is_here = is_loopback_url(self.url)
        return [one for one in self.policy.origins if is_here or not is_for_development(one)]

    @property
    def page(self) -> str:
        """One origin that is allowed."""
        return sample([*self.pages, *self.policy.origins][0])

    def request(self, page: str, method: str = "GET") -> PageRequest:
        """Return a request with all headers that the policy allows, to be preflighted."""
        names = [UNLISTED_HEADER if name == "*" else name for name in self.policy.allow_headers]
        headers = tuple((name, "1") for name in names)
        return PageRequest(page, method, headers, self.policy.supports_credentials, preflight=True)

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


def sample(origin: str) -> str:
    """Return one origin that a wildcard stands for, or the origin itself."""
    return STRANGER if origin == "*" else origin.replace(":*", ":1").replace("*", "a")


def check_origin(place: Place, origin: str) -> Found:
    """Try an origin of the policy as its page's browser would: a GET, then each preflight."""
    page, policy = sample(origin), place.policy
    is_needed = origin in place.pages
    done: list[str] = []
    faults: list[str] = []
    if policy.allows_method("GET"):
        request, outcome = place.get(page)
        if not is_needed and is_refused(outcome):
            return NOT_NEEDED, faults
        faults += request_faults(place, request, outcome)
        if not outcome.allowed or outcome.response.status >= 500:
            return BLOCKED, faults
        done.append(f"GET {outcome.response.status}")
    blocked = []
    for method in policy.methods:
        request = place.request(page, method)
        outcome = place.preflight(request)
        if not is_needed and is_refused(outcome):
            return NOT_NEEDED, faults
        if outcome.allowed:
            faults += preflight_faults(policy, outcome.response)
        else:
            blocked.append(method)
            faults.append(proxy_advice(request, outcome, None).reason)
    if len(blocked) == len(policy.methods):
        return ", ".join([*done, "no preflight"]) if done else BLOCKED, faults
    passed = len(policy.methods) - len(blocked)
    done.append(f"{passed} preflight{'' if passed == 1 else 's'}")
    done += [f"not {', '.join(blocked)}"] if blocked else []
    return ", ".join(done), faults


def is_refused(outcome: Outcome) -> bool:
    """Return whether the API itself does not allow the origin."""
    blocked = outcome.verdict.block is Block.NO_ALLOW_ORIGIN
    return blocked and is_from_api(outcome.response)


def request_faults(place: Place, request: PageRequest, outcome: Outcome) -> list[str]:
    """Return what is wrong with the response to an allowed page's GET."""
    policy = place.policy
    if not outcome.allowed:
        return [proxy_advice(request, outcome, None).reason]
    last, response = outcome.exchanges[-1], outcome.response
    if refusal(last, policy) is not None:
        return [contradiction(outcome)]
    if response.status >= 500:
        fault = FOREIGN_STATUS.get(response.status, "see the API's log")
        return [f"the answer is {response.status}: {fault}"]
    faults = [*cache_warnings(response), *credentials_faults(policy, response)]
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


def preflight_faults(policy: Policy, response: Response) -> Iterator[str]:
    yield from credentials_faults(policy, response)
    max_age = response.get("access-control-max-age")
    if max_age != str(max(policy.max_age, 0)):
        yield (
            f"browsers may keep a preflight for {max_age or 5} s, by the policy here for"
            f" {policy.max_age} s: have the proxy keep Access-Control-Max-Age, or deploy this"
            " version"
        )


def credentials_faults(policy: Policy, response: Response) -> Iterator[str]:
    allows = response.get("access-control-allow-credentials") == "true"
    if allows and not policy.supports_credentials:
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


def strangers(place: Place) -> list[str]:
    """Return origins that are not allowed, most of which look like one that is."""
    found = [STRANGER, "null"]
    exact = [origin for origin in place.pages if "*" not in origin]
    wildcards = [origin for origin in place.pages if "*" in origin]
    for origin in map(sample, [*exact[:1], *wildcards[:1]]):
        scheme, host, port = split_origin(origin)
        end = f":{port}" if port else ""
        other_scheme = "http" if scheme == "https" else "https"
        found += [
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
    own = http_origin(place.url)
    others = [one for one in found if not place.policy.allows(one) and http_origin(one) != own]
    return list(dict.fromkeys(others))


def check_strangers(place: Place, others: list[str]) -> Found:
    """Try a GET and a preflight from each origin."""
    allowed: list[str] = []
    faults: list[str] = []
    for origin in others:
        preflight = preflight_headers(place.request(origin, place.policy.methods[0])) or ()
        for method, headers in (("GET", (("Origin", origin),)), ("OPTIONS", preflight)):
            response = place.exchange(method, headers).response
            if response.get("access-control-allow-origin") in (origin, "*"):
                allowed.append(origin)
                faults += stranger_warnings(place.policy, response) if origin == STRANGER else []
    allowed = list(dict.fromkeys(allowed))
    if allowed and not faults:
        named = [f"{one} (any site can send it)" if one == "null" else one for one in allowed]
        faults.append(
            f"the deployed API allows {', '.join(named)}, which the policy here does not: compare"
            " whole origins in the proxy, or leave CORS to the API, and deploy this version"
        )
    return f"{len(allowed)} allowed" if allowed else "refused", faults


def check_no_origin(place: Place) -> Found:
    """Try what an image or a link sends: a cache may keep the response, and give it to a page."""
    response = place.send("GET", place.url, ())
    faults = list(cache_warnings(response)) if response.status < 300 else []
    varying = ", Vary: Origin" if varies(response) else ""
    return f"GET {response.status}{varying}", faults


def check_not_found(place: Place) -> Found:
    """Try whether a page can read that a path does not exist."""
    request, outcome = place.get(place.page)
    if outcome.allowed:
        return f"GET {outcome.response.status}, readable", []
    return BLOCKED, [proxy_advice(request, outcome, None).reason]


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
    return result, [proxy_advice(PageRequest(STRANGER, "POST"), outcome, None).reason]


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
        return result, [proxy_advice(request, outcome, None).reason]
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


def cache_warnings(response: Response) -> Iterator[str]:
    """Yield a warning if a cache may give a response to a page on another origin."""
    if not varies(response) and response.get("access-control-allow-origin") != "*":
        kept = kept_by_caches(response)
        yield (
            f"the response lacks Vary: Origin{f', and caches keep it ({kept})' if kept else ''}: a"
            " cache may give one page's copy to a page on another origin, whose browser then"
            " blocks it: have the proxy keep the API's Vary"
        )


def kept_by_caches(response: Response) -> str | None:
    """Return the Cache-Control that lets caches keep a response, None if it does not."""
    value = response.get("cache-control")
    items = [item.lower() for item in list_items(value)]
    kept = any(map(KEPT.match, items))
    return shown(value) if value and kept and "no-store" not in items else None


def stranger_warnings(policy: Policy | None, response: Response | None) -> Iterator[str]:
    """Yield what the response to an unknown page reveals."""
    if response is None:
        return
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
        yield (
            "Access-Control-Allow-Credentials: true has no effect with Access-Control-Allow-Origin:"
            " *, which browsers reject for requests with credentials: list the origins, or remove"
            " the header"
        )


# What a server rejects before any app sees it, and what to do.
SERVER_STATUS = {
    400: "it does not understand the request: see the log of the proxy and of the API's server",
    414: (
        "the URL is too long: have the page send a shorter one, or raise the limit (nginx:"
        " large_client_header_buffers; gunicorn: --limit-request-line)"
    ),
    431: (
        "the headers are too large: have the page send less, or raise the limit (nginx:"
        " large_client_header_buffers; gunicorn: --limit-request-field_size)"
    ),
}

# Why something in front of the API answers instead of it, and what to do.
FOREIGN_STATUS = {
    401: "it asks for a login: leave that to the API, whose errors a page can read",
    403: "it refuses the request: find the rule that does so, in the proxy or a firewall",
    404: "it does not forward this path: correct the path, or the proxy's route for it",
    405: "it does not allow the method: add it to the methods that the proxy forwards",
    413: "the body is too large for the proxy: raise its limit (nginx: client_max_body_size)",
    429: "there were too many requests: wait, or raise the proxy's limit",
    502: "the proxy cannot reach the API: start it, or correct the address in the proxy",
    503: "the proxy has no API that is ready: check that it runs and passes its health checks",
    504: (
        "the API responds too late for the proxy: find what is slow, or let the proxy wait longer"
        " (nginx: proxy_read_timeout)"
    ),
}


def proxy_advice(request: PageRequest, outcome: Outcome, local: Advice | None) -> Advice:
    """Return why the response of a deployed API is blocked or refused, and what to change.

    `local` says why the policy here blocks the request, None if it allows it.
    """
    if plain := plain_fault(outcome):
        return Advice(plain)
    if is_from_proxy(outcome) and not (local and outcome.response.status < 300):
        return Advice(foreign(outcome))
    if lost := lost_origin(request, outcome):
        return Advice(lost)
    return local or Advice(contradiction(outcome))


def advice_without_policy(request: PageRequest, outcome: Outcome) -> Advice:
    """Return why the response of a deployed API is blocked or refused, as far as it says itself."""
    return Advice(
        plain_fault(outcome)
        or lost_origin(request, outcome)
        or "what answers there does not allow this: to see what to change, run this in the folder"
        " of the API, or name its app with --app"
    )


def plain_fault(outcome: Outcome) -> str | None:
    """Return what to do about a fault that shows whatever the policy is, None if there is none."""
    if not outcome.exchanges:
        return f"have the page call https{outcome.verdict.found.removeprefix('http')}"
    fault = redirect_fault(outcome)
    if fault is None and outcome.verdict.block is Block.SEVERAL_ALLOW_ORIGINS:
        return (
            "the API sends Access-Control-Allow-Origin, and a proxy adds its own: remove it from"
            " the proxy (nginx: add_header), and leave CORS to the API"
        )
    return fault


def redirect_fault(outcome: Outcome) -> str | None:
    """Return what to do about a redirect that gets the request blocked, None if none does."""
    block, found = outcome.verdict.block, outcome.verdict.found
    last = outcome.exchanges[-1]
    if block is Block.TOO_MANY_REDIRECTS:
        return "the redirects form a loop: end it, in the proxy or in the API"
    if block is Block.REDIRECT_URL:
        return f"no cross-origin request may go to {shown(found)}: correct the Location header"
    if block is Block.MIXED_CONTENT:
        return redirected(last.url, found, preflight=False)
    preflight = outcome.verdict.during_preflight
    target = redirect_target(last)
    if target is None or (is_from_api(last.response) and not preflight):
        return None
    return redirected(last.url, target, preflight)


def redirect_target(sent: Exchange) -> str | None:
    location = redirect_location(sent.response)
    return None if location is None else urljoin(sent.url, location)


def redirected(url: str, target: str, preflight: bool) -> str:
    """Return what to do about a redirect that browsers do not follow."""
    here, there = urlsplit(url), urlsplit(target)
    place = shown(target)
    if target == url:
        return f"{url} redirects to itself: end that, in the proxy or in the API"
    if (here.scheme, there.scheme) == ("https", "http"):
        return (
            f"{url} redirects to {place}, because the API takes the request for plain http: have"
            " the proxy send X-Forwarded-Proto, and the API trust it (werkzeug's ProxyFix)"
        )
    if (here.scheme, there.scheme) == ("http", "https"):
        what = "to https"
    elif here.netloc != there.netloc:
        what = "to another host"
    elif here.path.rstrip("/") == there.path.rstrip("/"):
        what = "for the slash at the end"
    else:
        return (
            f"something in front of the API redirects to {place}, perhaps for a login: have it"
            f" pass {'OPTIONS' if preflight else 'this path'} on to the API"
        )
    limit = "which browsers do not follow in a preflight" if preflight else "without CORS headers"
    return f"something in front of the API redirects {what}, {limit}: have the page call {place}"


def is_from_proxy(outcome: Outcome) -> bool:
    """Return whether something else than the API made the last response.

    A proxy may add CORS headers to its own errors. The API answers a preflight with 204 or 403.
    """
    status = outcome.response.status
    unlike_api = status >= 400 and status != 403 and outcome.verdict.during_preflight
    return status in (502, 504) or unlike_api or not is_from_api(outcome.response)


def is_from_api(response: Response) -> bool:
    """Return whether a response has a header that this app sends always, or is its refusal."""
    has_header = response.get("access-control-allow-origin") is not None or varies(response)
    return has_header or refusal_in(response) is not None


def varies(response: Response) -> bool:
    """Return whether caches store a copy for each origin."""
    names = {name.lower() for name in list_items(response.get("vary"))}
    return bool(names & {"*", "origin"})


def foreign(outcome: Outcome) -> str:
    """Return what to do about a response that is not the API's own."""
    status, preflight = outcome.response.status, outcome.verdict.during_preflight
    if fault := SERVER_STATUS.get(status):
        return f"a server answers {status} before the API sees the request: {fault}"
    has_headers = outcome.response.get("access-control-allow-origin") is not None
    without = "" if has_headers else ", without CORS headers"
    start = f"something in front of the API answers {status}{without}"
    if preflight and (status < 400 or status in (401, 403, 405)):
        return f"{start}: have it pass OPTIONS on to the API, which answers preflights itself"
    if status < 400:
        return (
            f"{start}: check that the path leads to the API, and that the proxy keeps its"
            " Access-Control-Allow-Origin and Vary"
        )
    fault = FOREIGN_STATUS.get(status, "see the proxy's log")
    if preflight:
        return f"{start}: {fault}"
    missing = "Access-Control-Allow-Credentials: true" if has_headers else "CORS headers"
    return f"{start}: {fault}; add {missing} to the proxy's own errors, so that pages can read them"


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
