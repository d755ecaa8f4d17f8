"""What a browser does with a request to a deployed API: finds what a proxy or cache breaks."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import rules
from .advice import advice_here, policy_for, refusal
from .browser import (
    PageRequest,
    Response,
    Send,
    fetch,
    is_loopback_url,
    list_items,
    page_headers,
    preflight_headers,
)
from .explain import Explanation, local_network
from .metadata import with_metadata
from .network import Unreachable, sender
from .policies import Policy
from .proxies import advice_without_policy, proxy_advice, varies

if TYPE_CHECKING:
    from flask import Flask

# An origin that no page can have (RFC 6761, section 6.4).
STRANGER = "https://probe.invalid"

KEPT = re.compile(r'(?:public|(?:max-age|s-maxage)="?0*[1-9][0-9]*"?)\Z')


def probe(app: "Flask | None", url: str, request: PageRequest, timeout: float) -> Explanation:
    """Send a request to a deployed API as a browser would, and explain the outcome.

    The API handles the request for real. A second request, from an origin that no page has, is a
    GET, a HEAD or a preflight. The policy here is `app`'s, and the deployed one may differ;
    without an app, there is none to compare with. `timeout` is in seconds, for each response.
    Raises Unreachable.
    """
    send = sender(request.body, timeout)
    host = urlsplit(url).netloc
    outcome = fetch(url, request, with_metadata(send, request.origin))
    own = [sent.url for sent in outcome.exchanges if urlsplit(sent.url).netloc == host]
    url_here = own[-1] if own else url
    local = advice_here(app, url_here, request) if app else None
    policy = policy_for(app, url_here) if app else None
    refused = refusal(outcome.exchanges[-1], policy) if outcome.exchanges else None
    is_allowed = outcome.allowed and refused is None
    advice = None
    if not is_allowed and app:
        advice = proxy_advice(request, outcome, local)
    elif not is_allowed:
        advice = advice_without_policy(request, outcome)
    warnings = []
    is_here = is_loopback_url(url)
    if outcome.allowed and not is_here and (prompt := local_network(request.origin, url)):
        warnings.append(prompt)
    if local is not None and local is not advice:
        warnings.append(f"the policy here does not allow this: {local.reason}")
    if outcome.exchanges:
        stranger = response_to_stranger(outcome.exchanges[-1].url, request, send)
        warnings += cache_warnings(outcome.response) if outcome.allowed else []
        warnings += stranger_warnings(policy, stranger)
    return Explanation(request, url, outcome, refused, advice, tuple(warnings))


def response_to_stranger(url: str, request: PageRequest, send: Send) -> Response | None:
    """Return how the API responds to an unknown page, by a request that changes nothing."""
    stranger = replace(request, origin=STRANGER, preflight=True)
    send = with_metadata(send, STRANGER)
    with suppress(Unreachable):
        if request.method in ("GET", "HEAD"):
            return send(request.method, url, (("Origin", STRANGER), *page_headers(stranger)))
        return send("OPTIONS", url, preflight_headers(stranger) or ())
    return None


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
    return rules.show(value) if value and kept and "no-store" not in items else None


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
