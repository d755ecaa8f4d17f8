"""What the middleware answers is what flask-cors says to the same request, but for its traps.

Each trap that the template removes is a function here, with the reason in its docstring. It
corrects the answer of a plain app with flask-cors; every other difference fails.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

from flask import Flask
from flask_cors import CORS
from hostile import Request, send_in_process
from readers import list_at_prompt
from shapes import COVERING

from app import cors

ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ASKED_METHODS = [*ALL_METHODS, "get", "LETE", "PUT, DELETE", "QUERY"]
ASKED_HEADERS = ["", "content-type", "x-csrf-token,x-evil", "Authorization, *", ",,"]
PATHS = ["/", "/fails", "/slash", "/none"]
METADATA_METHODS = ["GET", "HEAD", "POST", "DELETE"]
SITES = ["same-origin", "none", "same-site", "cross-site"]
MODES = ["cors", "no-cors", "navigate"]
OWN = "https://api.example.com"


@dataclass(frozen=True)
class Answer:
    """A response: its CORS headers, what it varies by, and its other headers."""

    status: int
    cors: tuple[tuple[str, str], ...]
    vary: frozenset[str]
    others: tuple[tuple[str, str], ...]


def answer(app: Flask, request: Request) -> Answer:
    response = send_in_process(app, request)
    cors_headers, vary, others = [], set(), []
    for name, value in response.headers:
        if name.lower() == "vary":
            vary |= {item.strip().lower() for item in value.split(",")}
        elif name.lower().startswith("access-control-"):
            cors_headers.append((name.lower(), value))
        else:
            others.append((name, value))
    return Answer(response.status, tuple(sorted(cors_headers)), frozenset(vary), tuple(others))


# The traps


def matches_in_any_case(policy: cors.Policy, request: Request, plain: Answer) -> Answer:
    """flask-cors lets HTTPS://APP.EXAMPLE.COM in; the origins of browsers are in lower case."""
    origins = request.values("origin")
    named = plain.cors and not policy.is_public
    if named and origins != [origin.lower() for origin in origins]:
        return replace(plain, cors=())
    return plain


def varies_only_sometimes(policy: cors.Policy, request: Request, plain: Answer) -> Answer:
    """Without `Vary`, a cache gives the copy that one page got to a page on another origin.

    Where a page may not GET, what a person gets by the address bar is not what a page gets.
    """
    if policy.is_public and "GET" in policy.methods:
        return plain
    return replace(plain, vary=plain.vary | {"origin"})


def speaks_of_private_networks(policy: cors.Policy, request: Request, plain: Answer) -> Answer:
    """`false` and no header are the same to a browser; the request header is history."""
    kept = [header for header in plain.cors if header[0] != "access-control-allow-private-network"]
    return replace(plain, cors=tuple(kept))


def leaves_preflights_to_the_app(policy: cors.Policy, request: Request, plain: Answer) -> Answer:
    """A route that is missing or redirects, a login or a hook fails the preflight.

    The browser then reports a CORS error instead of what is wrong.
    """
    return replace(plain, status=204, others=()) if is_preflight(request) else plain


def hides_what_is_allowed(policy: cors.Policy, request: Request, plain: Answer) -> Answer:
    """It lists the methods only if the one that is asked for is a part of their text, and of the
    headers those that are asked for: a browser then cannot say which one is missing.
    """
    if not is_preflight(request) or not plain.cors:
        return plain
    asked = Request("OPTIONS", "/", in_order(policy, request))
    return replace(plain, cors=answer(plain_app(policy), asked).cors)


def lets_safelisted_methods_pass(policy: cors.Policy, request: Request, plain: Answer) -> Answer:
    """Browsers do not check GET, HEAD and POST against the list: only a status says no.

    HEAD is not listed on its own: it shows less than GET.
    """
    asked = request.values("access-control-request-method")
    if is_preflight(request) and asked[0] in {"GET", "HEAD", "POST"} - listed(policy):
        return replace(plain, status=403, others=(("Content-Length", "0"),))
    return plain


def runs_whatever_a_page_sends(policy: cors.Policy, request: Request, plain: Answer) -> Answer:
    """It keeps pages from reading only: a form on any site still makes the API act, with the
    user's cookies, and a page that is allowed needs no preflight for a POST that is not.
    """
    if is_preflight(request) or not from_foreign_page(request):
        return plain
    trusted = bool(plain.cors)
    if request.method in ("GET", "HEAD", "OPTIONS"):
        # Links, images and the like only read, and no page can read them; neither can strangers.
        fetched = request.values("origin") and request.values("sec-fetch-mode") in ([], ["cors"])
        trusts_too_much = trusted and fetched and request.method not in listed(policy)
    else:
        trusts_too_much = not trusted or request.method not in listed(policy)
    if not trusts_too_much:
        return plain
    detail = "the origin is not in CORS_ORIGINS"
    if trusted:
        detail = f"the method is not in CORS_METHODS: {', '.join(policy.methods)}"
    body = json.dumps({"title": "Refused by the CORS policy", "status": 403, "detail": detail})
    others = (("Content-Type", "application/problem+json"), ("Content-Length", str(len(body))))
    return replace(plain, status=403, others=others)


TRAPS = [
    matches_in_any_case,
    varies_only_sometimes,
    speaks_of_private_networks,
    leaves_preflights_to_the_app,
    hides_what_is_allowed,
    lets_safelisted_methods_pass,
    runs_whatever_a_page_sends,
]


def is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and bool(request.values("access-control-request-method"))


def listed(policy: cors.Policy) -> set[str]:
    return {*policy.methods, *(["HEAD"] if "GET" in policy.methods else [])}


def from_foreign_page(request: Request) -> bool:
    if site := request.values("sec-fetch-site"):
        return site not in (["same-origin"], ["none"])
    return request.values("origin") not in ([], [OWN])


def in_order(policy: cors.Policy, request: Request) -> tuple[tuple[str, str], ...]:
    """Return the headers of a preflight from the same origin that asks for all that is allowed."""
    return (
        *(header for header in request.headers if header[0] == "Origin"),
        ("Access-Control-Request-Method", policy.methods[0]),
        ("Access-Control-Request-Headers", ", ".join(policy.allow_headers)),
    )


# The requests


def requests(policy: cors.Policy) -> Iterator[Request]:
    allowed = an_origin(policy)
    origins = [None, allowed, "https://evil.example", f"{allowed}.evil.example", allowed.upper()]
    origins += ["", "null", OWN, *(origin for origin in policy.origins if origin != "*")]
    for origin in origins:
        headers = () if origin is None else (("Origin", origin),)
        for method in (*ALL_METHODS, "QUERY"):
            yield Request(method, "/", headers)
        for method, path in product(("GET", "PUT", "OPTIONS"), PATHS):
            yield Request(method, path, headers)
        for asked, names in product(ASKED_METHODS, ASKED_HEADERS):
            more = [("Access-Control-Request-Method", asked)]
            more += [("Access-Control-Request-Headers", names)] if names else []
            yield Request("OPTIONS", "/", (*headers, *more))
        asks = ("Access-Control-Request-Method", policy.methods[0])
        for path in PATHS:
            yield Request("OPTIONS", path, (*headers, asks))
        private = ("Access-Control-Request-Private-Network", "true")
        yield Request("OPTIONS", "/", (*headers, asks, private))
        yield Request("GET", "/", (*headers, private))
        for method, site, mode in product(METADATA_METHODS, SITES, MODES):
            metadata = (("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode))
            yield Request(method, "/", (*headers, *metadata))


def an_origin(policy: cors.Policy) -> str:
    """Return an origin that a policy allows."""
    origin = "https://anyone.example" if policy.is_public else policy.origins[0]
    return origin.replace(":*", ":3000").replace("*", "x-1")


@cache
def plain_app(policy: cors.Policy) -> Flask:
    app = bare_app()
    CORS(app, **policy.flask_cors_options())
    return app


def our_app(policy: cors.Policy) -> Flask:
    app = bare_app()
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return app


def bare_app() -> Flask:
    app = Flask(__name__)
    app.logger.disabled = True
    app.add_url_rule("/", "home", dict, methods=ALL_METHODS)
    app.add_url_rule("/fails", "fails", fail, methods=ALL_METHODS)
    app.add_url_rule("/slash/", "slash", dict, methods=ALL_METHODS)
    return app


def fail() -> str:
    raise RuntimeError


def config(answers: dict[str, Any]) -> dict[str, Any]:
    return {
        "CORS_ORIGINS": list_at_prompt("origins", answers["frontend_origins"])[0],
        "CORS_METHODS": answers["allowed_methods"],
        "CORS_SUPPORTS_CREDENTIALS": answers["allow_credentials"],
        "CORS_ALLOW_HEADERS": answers.get("allowed_headers", "Content-Type, Authorization"),
        "CORS_EXPOSE_HEADERS": answers.get("exposed_headers", "X-Request-ID"),
        "CORS_MAX_AGE": answers.get("preflight_max_age", 600),
    }


def test_answers_are_those_of_flask_cors_but_for_its_traps() -> None:
    fallen_into = set()
    for answers in COVERING.values():
        policy = cors.Policy.from_config(config(answers))
        plain, ours = plain_app(policy), our_app(policy)
        for request in requests(policy):
            expected = answer(plain, request)
            for trap in TRAPS:
                corrected = trap(policy, request, expected)
                if corrected != expected:
                    fallen_into.add(trap)
                expected = corrected
            assert answer(ours, request) == expected, (policy, request)
    assert fallen_into == {*TRAPS}


def test_flask_cors_runs_at_start_only() -> None:
    """No hook of it is on the app, so that a request costs what it costs without it."""
    policy = cors.Policy.from_config(config(next(iter(COVERING.values()))))
    app = our_app(policy)
    assert not app.after_request_funcs
    assert not app.before_request_funcs
    assert app.handle_exception.__func__ is Flask.handle_exception  # type: ignore[attr-defined]
