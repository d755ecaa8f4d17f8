"""The sentences that Chromium prints in its console about blocked requests, word for word."""

import re

from .browser import Block, Outcome, Verdict

IN_PREFLIGHT = "Response to preflight request doesn't pass access control check: "

# For the response to a preflight, IN_PREFLIGHT comes first.
ANY_RESPONSE = {
    Block.NO_ALLOW_ORIGIN: (
        "No 'Access-Control-Allow-Origin' header is present on the requested resource."
    ),
    Block.SEVERAL_ALLOW_ORIGINS: (
        "The 'Access-Control-Allow-Origin' header contains multiple values '{found}', but only one"
        " is allowed. Have the server send the header with a valid value."
    ),
    Block.WILDCARD_WITH_CREDENTIALS: (
        "The value of the 'Access-Control-Allow-Origin' header in the response must not be the"
        " wildcard '*' when the request's credentials mode is 'include'."
    ),
    Block.NO_ALLOW_CREDENTIALS: (
        "The value of the 'Access-Control-Allow-Credentials' header in the response is '{found}'"
        " which must be 'true' when the request's credentials mode is 'include'."
    ),
    Block.PREFLIGHT_REDIRECT: "Redirect is not allowed for a preflight request.",
    Block.PREFLIGHT_STATUS: "It does not have HTTP ok status.",
}

# Only the response to a preflight is checked for these.
PREFLIGHT_RESPONSE = {
    Block.METHOD: (
        "Method {found} is not allowed by Access-Control-Allow-Methods in preflight response."
    ),
    Block.HEADER: (
        "Request header field {found} is not allowed by Access-Control-Allow-Headers in preflight"
        " response."
    ),
    Block.MALFORMED_LIST: "Cannot parse {found} response header field in preflight response.",
}


def console_message(page: str, url: str, outcome: Outcome, api: str = "fetch") -> str | None:
    """Return the sentence that Chromium 156 prints, None if it has none for this outcome.

    `page` is the page's origin, and `url` is the URL that it asked for. `api` is `fetch` or
    `XMLHttpRequest`, whichever the page called.
    """
    verdict = outcome.verdict
    if verdict.block is Block.MIXED_CONTENT:
        return (
            f"Mixed Content: The page at '{page}/' was loaded over HTTPS, but requested an insecure"
            f" resource '{verdict.found}'. This request has been blocked; the content must be"
            " served over HTTPS."
        )
    cause = sentence(verdict)
    if cause is None:
        return None
    blocked = outcome.exchanges[-1].url
    redirected = f" (redirected from '{url}')" if blocked != url else ""
    return (
        f"Access to {api} at '{blocked}'{redirected} from origin '{page}' has been blocked by CORS"
        f" policy: {cause}"
    )


def sentence(verdict: Verdict) -> str | None:
    """Return the part after "blocked by CORS policy: "."""
    if verdict.block in PREFLIGHT_RESPONSE:
        return PREFLIGHT_RESPONSE[verdict.block].format(found=verdict.found)
    if verdict.block is Block.OTHER_ALLOW_ORIGIN:
        cause = other_origin(verdict.found)
    elif verdict.block in ANY_RESPONSE:
        cause = ANY_RESPONSE[verdict.block].format(found=verdict.found)
    else:
        return None
    return f"{IN_PREFLIGHT}{cause}" if verdict.during_preflight else cause


def other_origin(value: str) -> str:
    is_url = value == "null" or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", value)
    what = (
        f"has a value '{value}' that is not equal to the supplied origin"
        if is_url
        else f"contains the invalid value '{value}'"
    )
    return (
        f"The 'Access-Control-Allow-Origin' header {what}. Have the server send the header with a"
        " valid value."
    )
