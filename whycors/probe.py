"""What a browser does with a request to a deployed API: finds what a proxy or cache breaks."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from flask import Flask
from flask_cors import CORS
from werkzeug.datastructures import ResponseCacheControl
from werkzeug.http import parse_cache_control_header

from app.cors import Policy, init_app, rules

from .advice import Advice, policy_for, refusal
from .browser import (
    PageRequest,
    Response,
    Send,
    fetch,
    is_loopback_url,
    page_headers,
    preflight_headers,
)
from .explain import Explanation, explain, local_network
from .metadata import with_metadata
from .network import Unreachable, sender
from .proxies import proxy_advice, varies

# An origin that no page can have (RFC 6761, section 6.4).
STRANGER = "https://probe.invalid"


def probe(app: Flask, url: str, request: PageRequest, timeout: float) -> Explanation:
    """Send a request to a deployed API as a browser would, and explain the outcome.

    The API handles the request for real. A second request, from an origin that no page has, is a
    GET, a HEAD or a preflight. The policy here is `app`'s, and the deployed one may differ.
    `timeout` is in seconds, for each response. Raises Unreachable.
    """
    send = sender(request.body, timeout)
    host = urlsplit(url).netloc
    outcome = fetch(url, request, with_metadata(send, request.origin))
    own = [sent.url for sent in outcome.exchanges if urlsplit(sent.url).netloc == host]
    url_here = own[-1] if own else url
    local = advice_here(app, url_here, request)
    policy = policy_for(app, url_here)
    refused = refusal(outcome.exchanges[-1], policy) if outcome.exchanges else None
    is_allowed = outcome.allowed and refused is None
    advice = None if is_allowed else proxy_advice(request, outcome, local)
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


def advice_here(app: Flask, url: str, request: PageRequest) -> Advice | None:
    """Return why the policy here does not allow a request, None if it does.

    No code of the app runs: where the policy allows the request, an empty app answers.
    """
    policy: Policy = app.extensions["cors_policy"]
    empty = Flask(__name__, static_folder=None)
    empty.config["CORS_PATHS"] = app.config.get("CORS_PATHS")
    init_app(empty, policy, CORS(**policy.flask_cors_options()))
    parts = urlsplit(url)
    return explain(empty, f"https://{parts.netloc}{parts.path}", request).advice


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
    control = parse_cache_control_header(value, cls=ResponseCacheControl)
    kept = control.public or control.max_age or control.s_maxage
    return rules.show(value) if value and kept and not control.no_store else None


def stranger_warnings(policy: Policy, response: Response | None) -> Iterator[str]:
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
    elif allowed in (STRANGER, "*") and not policy.is_public:
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
