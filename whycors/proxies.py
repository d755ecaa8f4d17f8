"""Why a browser blocks the response of a deployed API, and what to fix, often in a proxy."""

from urllib.parse import urljoin, urlsplit

from . import rules
from .advice import Advice, lost_origin, refusal_in
from .browser import (
    Block,
    Exchange,
    Outcome,
    PageRequest,
    Response,
    list_items,
    redirect_location,
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
        return f"no cross-origin request may go to {rules.show(found)}: correct the Location header"
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
    shown = rules.show(target)
    if target == url:
        return f"{url} redirects to itself: end that, in the proxy or in the API"
    if (here.scheme, there.scheme) == ("https", "http"):
        return (
            f"{url} redirects to {shown}, because the API takes the request for plain http: have"
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
            f"something in front of the API redirects to {shown}, perhaps for a login: have it"
            f" pass {'OPTIONS' if preflight else 'this path'} on to the API"
        )
    limit = "which browsers do not follow in a preflight" if preflight else "without CORS headers"
    return f"something in front of the API redirects {what}, {limit}: have the page call {shown}"


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
            f"the response is for {rules.show(verdict.found)}, without Vary: Origin: a proxy sets"
            " the header, or a cache gives every page the same copy: leave CORS to the API, keep"
            " its Vary, and empty the cache"
        )
    return (
        "the policy here allows this, but the deployed API does not: deploy this version with the"
        " same FLASK_CORS_ variables, and check that no proxy changes the headers"
    )
