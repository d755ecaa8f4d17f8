"""The sentences that browsers print in their consoles about blocked requests, word for word.

One table serves both ways: what each browser prints about an outcome, and what a pasted text says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from .browser import TOKEN, Block, Outcome, PageRequest, list_items

# What is around the cause, and each cause. As of Chrome 156, Firefox 153
# and Safari 26 (WebKitGTK 2.50).
CHROME = "Access to {api} at '{url}'{redirected} from origin '{origin}' has been blocked by CORS"
CHROME += " policy: {cause}"
CORRECT = "Have the server send the header with a valid value."
IN_CHROME: Mapping[Block, str] = {
    Block.NO_ALLOW_ORIGIN: (
        "No 'Access-Control-Allow-Origin' header is present on the requested resource."
    ),
    Block.SEVERAL_ALLOW_ORIGINS: (
        "The 'Access-Control-Allow-Origin' header contains multiple values '{found}', but only one"
        f" is allowed. {CORRECT}"
    ),
    Block.OTHER_ALLOW_ORIGIN: (
        "The 'Access-Control-Allow-Origin' header has a value '{found}' that is not equal to the"
        f" supplied origin. {CORRECT}"
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
    Block.METHOD: (
        "Method {found} is not allowed by Access-Control-Allow-Methods in preflight response."
    ),
    Block.HEADER: (
        "Request header field {found} is not allowed by Access-Control-Allow-Headers in preflight"
        " response."
    ),
    Block.MALFORMED_LIST: "Cannot parse {found} response header field in preflight response.",
    Block.LOCAL_NETWORK: (
        "Permission was denied for this request to access the `{found}` address space."
    ),
}
INVALID_ORIGIN = (
    f"The 'Access-Control-Allow-Origin' header contains the invalid value '{{found}}'. {CORRECT}"
)
LOCAL_FROM_PLAIN_HTTP = (
    "The request client is not a secure context and the resource is in more-private address space"
    " `{found}`."
)
# Chrome says this only of what every response is checked for.
PREFLIGHT = "Response to preflight request doesn't pass access control check: "
ONLY_PREFLIGHTS = (Block.METHOD, Block.HEADER, Block.MALFORMED_LIST)
PREFLIGHTS_FAIL = (Block.PREFLIGHT_REDIRECT, Block.PREFLIGHT_STATUS)

FIREFOX = "Cross-Origin Request Blocked: The Same Origin Policy disallows reading the remote"
FIREFOX += " resource at {url}. (Reason: {cause})."
# It says this as well if a preflight failed; alone, it means that no response came.
FIREFOX_AFTER_PREFLIGHT = "(Reason: CORS request did not succeed)"
IN_FIREFOX: Mapping[Block, str] = {
    Block.NO_ALLOW_ORIGIN: "CORS header ‘Access-Control-Allow-Origin’ missing",
    Block.SEVERAL_ALLOW_ORIGINS: ("Multiple CORS header ‘Access-Control-Allow-Origin’ not allowed"),
    Block.OTHER_ALLOW_ORIGIN: (
        "CORS header ‘Access-Control-Allow-Origin’ does not match ‘{found}’"
    ),
    Block.WILDCARD_WITH_CREDENTIALS: (
        "Credential is not supported if the CORS header ‘Access-Control-Allow-Origin’ is ‘*’"
    ),
    Block.NO_ALLOW_CREDENTIALS: (
        "expected ‘true’ in CORS header ‘Access-Control-Allow-Credentials’"
    ),
    Block.PREFLIGHT_REDIRECT: "CORS request external redirect not allowed",
    Block.PREFLIGHT_STATUS: "CORS preflight response did not succeed",
    Block.METHOD: "Did not find method in CORS header ‘Access-Control-Allow-Methods’",
    Block.HEADER: (
        "header ‘{found}’ is not allowed according to header ‘Access-Control-Allow-Headers’ from"
        " CORS preflight response"
    ),
    Block.MALFORMED_LIST: "invalid token ‘{value}’ in CORS header ‘{found}’",
}

SAFARI = "{cause}\n{api} cannot load {url} due to access control checks."
IN_SAFARI: Mapping[Block, str] = {
    Block.NO_ALLOW_ORIGIN: (
        "Origin {origin} is not allowed by Access-Control-Allow-Origin. Status code: {status}"
    ),
    Block.SEVERAL_ALLOW_ORIGINS: (
        "Access-Control-Allow-Origin cannot contain more than one origin."
    ),
    Block.WILDCARD_WITH_CREDENTIALS: (
        "Cannot use wildcard in Access-Control-Allow-Origin when credentials flag is true."
    ),
    Block.NO_ALLOW_CREDENTIALS: (
        'Credentials flag is true, but Access-Control-Allow-Credentials is not "true".'
    ),
    Block.PREFLIGHT_STATUS: "Preflight response is not successful. Status code: {status}",
    Block.METHOD: "Method {found} is not allowed by Access-Control-Allow-Methods.",
    Block.HEADER: "Request header field {found} is not allowed by Access-Control-Allow-Headers.",
    Block.MALFORMED_LIST: "Header {found} has an invalid value: {value}",
}

ON_MIXED_CONTENT = {
    "Chrome": (
        "Mixed Content: The page at '{origin}/' was loaded over HTTPS, but requested an insecure"
        " resource '{url}'. This request has been blocked; the content must be served over HTTPS."
    ),
    "Firefox": "Blocked loading mixed active content “{url}”",
    "Safari": (
        "[blocked] The page at {origin}/ requested insecure content from {url}. This content was"
        " blocked and must be served over HTTPS.\nNot allowed to request resource\n"
        "Fetch API cannot load {url} due to access control checks."
    ),
}


def sentences(request: PageRequest, url: str, outcome: Outcome) -> dict[str, str]:
    """Return what each browser prints about an outcome, by its name.

    `url` is the URL that the page asked for. Some browsers print nothing about some outcomes.
    """
    block, found = outcome.verdict.block, outcome.verdict.found
    if block is Block.MIXED_CONTENT:
        values: dict[str, Any] = {"origin": request.origin, "url": found}
        return {name: line.format(**values) for name, line in ON_MIXED_CONTENT.items()}
    if block not in IN_CHROME:
        return {}
    last = outcome.exchanges[-1]
    values = {
        "origin": request.origin,
        "url": last.url,
        "status": last.response.status,
        "found": found,
        "value": malformed_item(last.response.get(found.lower())),
    }
    watched = request.preflight  # which only XMLHttpRequest can
    return {
        "Chrome": in_chrome(outcome, url, "XMLHttpRequest" if watched else "fetch", values),
        "Firefox": in_firefox(outcome, values),
        "Safari": in_safari(outcome, request, "XMLHttpRequest" if watched else "Fetch API", values),
    }


def in_chrome(outcome: Outcome, url: str, api: str, values: dict[str, Any]) -> str:
    verdict = outcome.verdict
    is_odd = verdict.block is Block.OTHER_ALLOW_ORIGIN and not is_like_a_url(verdict.found)
    is_preflights = verdict.during_preflight and verdict.block not in ONLY_PREFLIGHTS
    cause = INVALID_ORIGIN if is_odd else IN_CHROME[cast(Block, verdict.block)]
    redirected = f" (redirected from '{url}')" if values["url"] != url else ""
    cause = f"{PREFLIGHT if is_preflights else ''}{cause.format(**values)}"
    return CHROME.format(api=api, redirected=redirected, cause=cause, **values)


def is_like_a_url(value: str) -> bool:
    return value == "null" or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", value) is not None


def in_firefox(outcome: Outcome, values: dict[str, Any]) -> str:
    block = cast(Block, outcome.verdict.block)
    names = [name.lower() for name, _ in outcome.response.headers]
    if block is Block.SEVERAL_ALLOW_ORIGINS and names.count("access-control-allow-origin") == 1:
        block = Block.OTHER_ALLOW_ORIGIN
    sentence = FIREFOX.format(cause=IN_FIREFOX[block].format(**values), **values)
    if block is Block.WILDCARD_WITH_CREDENTIALS:
        return sentence.replace(values["url"], f"‘{values['url']}’")
    has_status = block in (Block.NO_ALLOW_ORIGIN, Block.PREFLIGHT_STATUS)
    return f"{sentence} Status code: {values['status']}." if has_status else sentence


def in_safari(outcome: Outcome, request: PageRequest, api: str, values: dict[str, Any]) -> str:
    block, found = cast(Block, outcome.verdict.block), outcome.verdict.found
    is_list = block is Block.SEVERAL_ALLOW_ORIGINS and "," in found
    if outcome.verdict.during_preflight and not 200 <= outcome.response.status <= 299:
        block = Block.PREFLIGHT_STATUS  # it looks at the status first
    elif block in (Block.OTHER_ALLOW_ORIGIN, Block.SEVERAL_ALLOW_ORIGINS) and not is_list:
        block = Block.NO_ALLOW_ORIGIN
    elif block is Block.HEADER:
        as_written = {name.lower(): name for name, _ in request.headers}
        values = {**values, "found": as_written[found]}
    return SAFARI.format(api=api, cause=IN_SAFARI[block].format(**values), **values)


def malformed_item(value: str | None) -> str:
    return next((item for item in list_items(value) if not TOKEN.match(item)), "")


@dataclass(frozen=True)
class Said:
    """What a text from a console says of a blocked request: None is what it does not name.

    `block` is None too if the cause is in other words than those above. `preflight` is whether
    the browser asked by a preflight.
    """

    url: str | None
    origin: str | None
    method: str | None
    header: str | None
    block: Block | None
    preflight: bool

    @property
    def credentials(self) -> bool:
        return self.block in (Block.WILDCARD_WITH_CREDENTIALS, Block.NO_ALLOW_CREDENTIALS)


# How that looks which a sentence names.
FIELDS = {
    "api": r"[\w ]+?",
    "found": r"(?P<found>[^']*?)",
    "origin": r"(?P<origin>\S+?)",
    "redirected": r"(?: \(redirected from '(?P<first>\S+?)'\))?",
    "status": r"\d+",
    "url": r"'?(?P<url>\S+?)'?",
    "value": r".*?",
}
QUOTES = str.maketrans("‘’“”", "''\"\"")


def to_pattern(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", sentence.translate(QUOTES))
    return re.compile(
        "".join(FIELDS[part] if at % 2 else re.escape(part) for at, part in enumerate(parts))
    )


FRAMES = (
    to_pattern(CHROME.partition("{cause}")[0]),
    *(
        to_pattern(re.split(" (?:content was|request has)", line)[0])
        for line in ON_MIXED_CONTENT.values()
    ),
    to_pattern(FIREFOX.partition("{cause}")[0]),
    to_pattern(SAFARI.partition("\n")[2]),
)
# Chrome and Firefox print each request that failed, too.
REQUEST = re.compile(
    r"\b(?:XHR ?)?(?!XHR)(?P<method>[A-Z]+) ?(?P<url>https?://\S+?) (?:net::ERR_FAILED|CORS [A-Z])"
)
CAUSES = [
    (block, to_pattern(cause))
    for block, cause in (
        *IN_CHROME.items(),
        *IN_FIREFOX.items(),
        *IN_SAFARI.items(),
        (Block.OTHER_ALLOW_ORIGIN, INVALID_ORIGIN),
        (Block.LOCAL_NETWORK, LOCAL_FROM_PLAIN_HTTP),
        *((Block.MIXED_CONTENT, line.partition("{")[0]) for line in ON_MIXED_CONTENT.values()),
    )
]


def read(text: str) -> Said | None:
    """Return what a pasted text says, None if it is not about a request that was blocked.

    Of several errors, the first counts.
    """
    text = re.sub(r"^> ", "", text.translate(QUOTES), flags=re.MULTILINE)  # as e-mail quotes it
    text = " ".join(text.split())
    frames = [match.groupdict() for frame in FRAMES if (match := frame.search(text))]
    urls = [frame[name] for frame in frames for name in ("first", "url") if frame.get(name)]
    tried = [match.groupdict() for match in REQUEST.finditer(text)]
    frames += [request for request in tried if not urls or request["url"] in urls][:1]
    causes = [(match, block) for block, cause in CAUSES if (match := cause.search(text))]
    first, block = min(causes, key=lambda one: one[0].start(), default=(None, None))
    if not frames and block is None:
        return None
    named = [*frames, first.groupdict() if first else {}]

    def name(*fields: str) -> str | None:
        return next((one[field] for field in fields for one in named if one.get(field)), None)

    found, method = name("found"), name("method")
    is_preflight = method == "OPTIONS"  # whose page does not say what it asked for
    return Said(
        url=name("first", "url"),
        origin=name("origin"),
        method=found if block is Block.METHOD and found else None if is_preflight else method,
        header=found if block is Block.HEADER else None,
        block=block,
        preflight=is_preflight
        or PREFLIGHT in text
        or block in (*ONLY_PREFLIGHTS, *PREFLIGHTS_FAIL)
        or (block is not None and FIREFOX_AFTER_PREFLIGHT in text),
    )
