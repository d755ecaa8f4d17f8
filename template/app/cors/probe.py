"""The same fetch over the network, from a deployed API: what a proxy, a cache or TLS spoils.

It needs urllib3, which is among the dev dependencies: serving the API does not.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from flask import Flask
from flask_cors import CORS
from urllib3 import HTTPHeaderDict, PoolManager, exceptions
from werkzeug.datastructures import ResponseCacheControl
from werkzeug.http import parse_cache_control_header, parse_list_header

from app.cors.explain import Explanation, body, explain
from app.cors.fetch import (
    REDIRECTS,
    Block,
    Headers,
    Outcome,
    Request,
    Response,
    fetch,
    page_headers,
    preflight_headers,
)
from app.cors.middleware import init_app
from app.cors.policy import Policy
from app.cors.rules import show
from app.cors.why import Remedy

Send = Callable[[str, str, Headers], Response]

# An origin that no page can have (RFC 6761, section 6.4).
STRANGER = "https://probe.invalid"

# Why something before the API answers in its place, and what to do.
FOREIGN_STATUS = {
    401: "it asks for a log-in: leave that to the API, which a page can then read",
    403: "it refuses the request: find the rule that does, in the proxy or a firewall",
    404: "it does not pass this path on: correct the path, or the proxy's route for it",
    405: "it does not let the method through: add it to those that the proxy passes on",
    413: "the body is larger than the proxy takes: raise its limit (nginx: client_max_body_size)",
    429: "there were too many requests: wait, or raise the proxy's limit",
    502: "the proxy does not reach the API: start it, or correct the address that the proxy has",
    503: "the proxy has no API that is ready: see that it runs and passes its health checks",
    504: (
        "the API answers too late for the proxy: look for what is slow, or let the proxy wait"
        " longer (nginx: proxy_read_timeout)"
    ),
}

# Why a certificate is not accepted, by OpenSSL's verify code.
CERTIFICATE_FAULTS = {
    9: "is not valid yet: set the clock here right, or that of the machine that made it",
    10: "has expired: renew it, and have the proxy load the new one",
    18: "is self-signed, which browsers refuse: get one from an authority that they trust",
    19: "comes from a private authority, which browsers refuse where it is not installed",
    20: (
        "comes from an unknown authority, or its chain is incomplete: have the proxy send the"
        " intermediate certificates too (fullchain.pem)"
    ),
    62: "is for other host names: call the API by one of them, or get one for this name",
    64: "is not for this address: call the API by the name that the certificate is for",
}


class Unreachable(Exception):
    """No response came. The message says why, and what to do."""


def probe(policy: Policy, url: str, request: Request, timeout: float) -> Explanation:
    """Send a request to a deployed API as a browser would, and say what came of it.

    The API handles it for real; then a stranger asks, by a GET, a HEAD or a preflight. `policy`
    is the one here, which the deployed one may differ from. `timeout` is in seconds, for the
    connection and again for the answer. Raises Unreachable.
    """
    send = sender(timeout)
    outcome = fetch(url, request, send)
    local = judged_here(policy, request)
    mend = None if outcome.allowed else remedy(request, outcome, local)
    notes = []
    if local is not None and local is not mend:
        notes.append(f"the policy here does not allow this: {local.miss}")
    if outcome.exchanges:
        stranger = strangers_response(outcome.exchanges[-1].url, request, send)
        notes += warnings(policy, outcome, stranger)
    return Explanation(request, url, outcome, mend, tuple(notes))


def sender(timeout: float) -> Send:
    """Return a function that sends one request and returns the response without its body."""
    pool = PoolManager()

    def send(method: str, url: str, headers: Headers) -> Response:
        try:
            # Unlike `request`, `urlopen` leaves the method in lower case if it is.
            response = pool.urlopen(
                method,
                url,
                body=body(method, headers),
                headers=HTTPHeaderDict(headers),
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except exceptions.HTTPError as error:
            fault = network_fault(error, url, timeout)
            raise Unreachable(f"{method} {show(url)}: {fault}") from None
        with closing(response):
            return Response(response.status, tuple(response.headers.iteritems()))

    return send


def network_fault(error: exceptions.HTTPError, url: str, timeout: float) -> str:
    host = urlsplit(url).netloc
    cause = error.__cause__ or error.args[-1]
    if isinstance(error, (exceptions.NameResolutionError, exceptions.LocationParseError)):
        return f"no host has the name {urlsplit(url).hostname}: correct it, or its DNS entry"
    if isinstance(error, exceptions.ReadTimeoutError):
        return f"no answer within {timeout:g} s: find what is slow, or wait longer by --timeout"
    if isinstance(cause, ConnectionRefusedError):
        return f"nothing listens at {host}: start the API or its proxy, or correct the port"
    if isinstance(error, exceptions.NewConnectionError):
        return f"{host} cannot be reached ({cause}): check the address and the network"
    if isinstance(error, exceptions.ConnectTimeoutError):
        return (
            f"{host} did not accept the connection within {timeout:g} s: check the address and"
            " the port, and that no firewall swallows it"
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        rejected = f"is rejected: {cause.verify_message}"
        return f"the certificate {CERTIFICATE_FAULTS.get(cause.verify_code, rejected)}"
    if isinstance(error, exceptions.SSLError):
        return f"{host} does not speak TLS as browsers do: call it by http://, or set up TLS"
    if isinstance(cause, ConnectionError):
        return f"{host} closed the connection without an answer: see the log of what runs there"
    return f"{host} does not speak HTTP: correct the port"


def judged_here(policy: Policy, request: Request) -> Remedy | None:
    """Return what the policy has against a request, None if it allows it."""
    app = Flask(__name__)
    init_app(app, policy)
    CORS(app, **policy.flask_cors_options())
    return explain(app, "http://localhost/", request).remedy


def remedy(request: Request, outcome: Outcome, local: Remedy | None) -> Remedy:
    """Return why the answer of a deployed API is blocked, and what to change.

    `local` is what the policy here has against it.
    """
    block, found = outcome.verdict.block, outcome.verdict.found
    if block is Block.TOO_MANY_REDIRECTS:
        return Remedy("the redirects go round in a circle: end it, in the proxy or in the API")
    if block is Block.REDIRECT_URL:
        return Remedy(f"no page's request may go to {show(found)}: correct the Location header")
    if not outcome.exchanges:
        return Remedy(f"have the page call https{found.removeprefix('http')}")
    last = outcome.exchanges[-1]
    if block is Block.MIXED_CONTENT:
        return Remedy(redirected(last.url, found, False))
    preflight = outcome.verdict.during_preflight
    from_api = is_from_api(last.response)
    location = last.response.get("location")
    if location is not None and last.response.status in REDIRECTS and (preflight or not from_api):
        return Remedy(redirected(last.url, urljoin(last.url, location), preflight))
    if block is Block.SEVERAL_ALLOW_ORIGINS:
        return Remedy(
            "the API sends Access-Control-Allow-Origin, and a proxy adds its own: take it out of"
            " the proxy (nginx: add_header), and leave CORS to the API"
        )
    if not from_api and not (local and last.response.status < 300):
        return Remedy(foreign(last.response.status, preflight))
    if ("Origin", request.origin) not in last.headers:
        return Remedy(
            f"{outcome.exchanges[0].url} redirects to another origin, to which a browser sends"
            f" Origin: null, and no API should allow that: have the page call {last.url} at once"
        )
    return local or Remedy(contradiction(outcome))


def redirected(url: str, target: str, preflight: bool) -> str:
    """Return what to do about a redirect that browsers do not follow."""
    here, there = urlsplit(url), urlsplit(target)
    if target == url:
        return f"{url} redirects to itself: end that, in the proxy or in the API"
    if (here.scheme, there.scheme) == ("https", "http"):
        return (
            f"{url} redirects to {show(target)}, as the API takes the request for http: have the"
            " proxy send X-Forwarded-Proto, and the API trust it (werkzeug's ProxyFix)"
        )
    if (here.scheme, there.scheme) == ("http", "https"):
        what = "to https"
    elif here.netloc != there.netloc:
        what = "to another host"
    elif here.path.rstrip("/") == there.path.rstrip("/"):
        what = "for the slash at the end"
    else:
        return (
            f"something before the API redirects to {show(target)}, for a log-in perhaps: have it"
            f" pass {'OPTIONS' if preflight else 'this path'} on to the API"
        )
    limit = "which browsers do not follow in a preflight" if preflight else "without CORS headers"
    return f"something before the API redirects {what}, {limit}: have the page call {show(target)}"


def is_from_api(response: Response) -> bool:
    """Return whether a response bears what this app puts on every one of its own."""
    return response.get("access-control-allow-origin") is not None or varies(response)


def varies(response: Response) -> bool:
    """Return whether caches keep the answers to different origins apart."""
    names = {name.lower() for name in parse_list_header(response.get("vary") or "")}
    return bool(names & {"*", "origin"})


def foreign(status: int, preflight: bool) -> str:
    """Return what to do about an answer that is not the API's own."""
    start = f"something before the API answers {status}, without CORS headers"
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
    return f"{start}: {fault}; give the proxy's own errors CORS headers, so that pages can see them"


def contradiction(outcome: Outcome) -> str:
    """Return what to do where the policy here allows what the deployed answer does not."""
    verdict, response = outcome.verdict, outcome.response
    if verdict.block is Block.PREFLIGHT_STATUS:
        return (
            f"something before the API answers the preflight with {response.status}: have it pass"
            " OPTIONS on to the API, which answers preflights itself"
        )
    if verdict.block is Block.OTHER_ALLOW_ORIGIN and not varies(response):
        return (
            f"the answer is one for {show(verdict.found)}, without Vary: Origin: a proxy sets the"
            " header, or a cache keeps one page's copy for all: leave CORS to the API, keep its"
            " Vary, and empty the cache"
        )
    return (
        "the policy here allows this, the deployed answer says otherwise: deploy this version with"
        " the same FLASK_CORS_ variables, and see that no proxy changes the headers"
    )


def strangers_response(url: str, request: Request, send: Send) -> Response | None:
    """Return what a page that no one knows is answered, by a request that changes nothing."""
    stranger = replace(request, origin=STRANGER, preflight=True)
    with suppress(Unreachable):
        if request.method in ("GET", "HEAD"):
            return send(request.method, url, (("Origin", STRANGER), *page_headers(stranger)))
        return send("OPTIONS", url, preflight_headers(stranger) or ())
    return None


def warnings(policy: Policy, outcome: Outcome, stranger: Response | None) -> Iterator[str]:
    """Yield what may go wrong, or is open to others, whatever the verdict."""
    response = outcome.response
    allowed = response.get("access-control-allow-origin")
    if outcome.allowed and allowed != "*" and not varies(response):
        kept = kept_by_caches(response)
        yield (
            f"the answer lacks Vary: Origin{f', and caches keep it ({kept})' if kept else ''}: a"
            " cache may give one page's copy to a page on another origin, which its browser then"
            " blocks: have the proxy keep the API's Vary"
        )
    if stranger is None:
        return
    let_in = stranger.get("access-control-allow-origin")
    credentials = stranger.get("access-control-allow-credentials") == "true"
    if let_in == STRANGER and credentials:
        yield (
            f"every site can act as your logged-in users: {STRANGER} is let in too, with"
            " credentials: take $http_origin or the like out of the proxy, and list the origins"
        )
    elif let_in in (STRANGER, "*") and not policy.is_public:
        yield (
            f"every site may read the answers, which the policy here does not allow: {STRANGER} is"
            " let in too: leave CORS to the API"
        )
    if let_in == "*" and credentials:
        yield (
            "Access-Control-Allow-Credentials: true has no effect beside Access-Control-Allow-Origin:"
            " *, which browsers refuse to requests with credentials: list the origins, or take it out"
        )


def kept_by_caches(response: Response) -> str | None:
    """Return the Cache-Control that lets caches keep a response, None if none does."""
    value = response.get("cache-control")
    control = parse_cache_control_header(value, cls=ResponseCacheControl)
    kept = control.public or control.max_age or control.s_maxage
    return show(value) if value and kept and not control.no_store else None
