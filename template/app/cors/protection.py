"""Refuses what a page on another origin may not do, before the app sees the request.

CORS alone only keeps a page from reading answers: a form on any site still makes an API act, with
the user's cookies. The rule is that of Go's `http.CrossOriginProtection`, which trusts here what
the policy allows.
"""

from typing import TYPE_CHECKING

from .policy import Policy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# RFC 9110, section 9.2.1: these change nothing. TRACE is no method for an API.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def refusal(environ: "WSGIEnvironment", policy: Policy, allowed: bool) -> str | None:
    """Return why a request is refused, None if it is not.

    `allowed` is whether the policy allows its origin. Requests from the API's own origin, by the
    user's own hand and from programs that are not browsers go on. So does every navigation and
    every request for an image or the like: these only read, and no page can read the answer.
    """
    if not policy.protection:
        return None
    method = environ["REQUEST_METHOD"]
    if method in SAFE_METHODS:
        if is_websocket(environ):
            return None if allowed or not is_foreign(environ) else NOT_ALLOWED
        # Only `fetch` and the like send an Origin here. Others than the allowed read nothing.
        is_fetch = environ.get("HTTP_SEC_FETCH_MODE", "cors") == "cors"
        if not allowed or not is_fetch or "HTTP_ORIGIN" not in environ:
            return None
    if (allowed and policy.allows_method(method)) or not is_foreign(environ):
        return None
    if allowed:
        return not_listed(policy)
    return NOT_ALLOWED


NOT_ALLOWED = "the origin is not allowed"


def not_listed(policy: Policy) -> str:
    return f"the method is not among {', '.join(policy.methods)}"


def is_websocket(environ: "WSGIEnvironment") -> bool:
    """RFC 6455, section 4.1: CORS does not apply, and a page can read what it gets."""
    return str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"


def is_foreign(environ: "WSGIEnvironment") -> bool:
    """Return whether a page on another origin made this request (Fetch Metadata, section 2.3).

    Browsers send Sec-Fetch-Site to https and localhost only; elsewhere the origin's host and port
    are compared with the request's. The scheme is not: behind a proxy it is not known.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return False
    return without_default_port(origin.partition("://")[2]) != without_default_port(
        environ.get("HTTP_HOST", "")
    )


def without_default_port(host: str) -> str:
    return host.lower().removesuffix(":443").removesuffix(":80")
