"""What each part of a CORS policy may say, item by item.

Every check takes one item and returns what is wrong with it, or None. A problem reads
`item: cause: corrected value`; the last part is left out where no correction can be known.
"""

import difflib
import ipaddress
import json
import re
from functools import cache

from publicsuffixlist import PublicSuffixList

# How a list says "every origin", or "every header".
EVERY = ("*", "any")

DEFAULT_PORTS = {"http": "80", "https": "443"}

# Fetch, "CORS-safelisted method": a browser may send these without asking first.
SAFELISTED_METHODS = ("GET", "HEAD", "POST")

# Fetch, "forbidden method".
FORBIDDEN_METHODS = ("CONNECT", "TRACE", "TRACK")

# Fetch, "normalize a method": browsers write these in upper case, and no others.
NORMALIZED_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")

# Fetch, "forbidden request-header".
FORBIDDEN_REQUEST_HEADERS = (
    "accept-charset",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
)

# With `access-control-allow-*`: what a server answers, and a page has no reason to send.
RESPONSE_HEADERS = ("access-control-expose-headers", "access-control-max-age")

# RFC 9110, section 5.6.2: token.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")

# What a paste brings along: separators, and controls, quotes and characters that no one sees.
SEPARATOR = re.compile(r"[\s,;]+")
STRAY = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2018-\u201f\u202a-\u202e"
    r"\u2060-\u206f\ufe00-\ufe0f\ufeff\"'`<>]+"
)

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(OCTET + r"(?:\." + OCTET + r"){3}\Z")

# Letters in lower case, and full stops, that have one ASCII form (UTS 46, section 4). Of others,
# such as digits in full width or accents that stand alone, browsers make something else first.
PLAIN_LETTERS = re.compile(
    r"[\x00-\x7f"
    r"\xdf-\xf6\xf8-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e\u1ea0-\u1ef9"  # Latin
    r"\u03ac-\u03c1\u03c3-\u03ce\u0430-\u0481\u048a-\u04ff"  # Greek, Cyrillic
    r"\u05d0-\u05ea\u0620-\u063f\u0641-\u064a\u0679-\u06d3"  # Hebrew, Arabic
    r"\u3005\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"  # East Asian
    r"\u3002\uff0e\uff61]*\Z"
)

# URL, "ends in a number": a browser reads such a host as an IPv4 address.
NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")


def show(item: str) -> str:
    """Return an item as it can stand in one line of a message or a log."""
    shown = item if item.isprintable() and item.strip() else json.dumps(item)
    return shown if len(shown) <= 400 else f"{shown[:80]}…"


def clean(item: str) -> str:
    """Return an item without what a paste brings along, one space between words."""
    return STRAY.sub("", SEPARATOR.sub(" ", item)).strip(" ")


def origin_problem(origin: str) -> str | None:
    """Return why an origin, or a wildcard for origins, cannot be used.

    The form is that of an `Origin` header (Fetch, section 3.2; URL, section 4.5):
    `scheme://host[:port]` as browsers write it, with `*.` for any subdomain and `:*` for
    any port.
    """
    shown = show(origin)
    mends: list[str] = []

    text = clean(origin)
    if text != origin:
        mends.append("remove spaces, commas, quotes and invisible characters")
    if not text:
        return f"{shown}: is empty: write an origin such as https://app.example.com"
    if " " in text:
        return f"{shown}: is more than one origin: list each by itself"
    if text.lower() in EVERY:
        if origin in EVERY:
            return f"{shown}: stands for every origin: list it alone, or leave it out"
        return f"{shown}: write it bare and in lower case: {text.lower()}"
    if text.lower() == "null":
        return (
            f"{shown}: is the origin of sandboxed pages and local files, which any site"
            " can have: list the page's own origin"
        )

    if "://" in text:
        scheme, _, rest = text.partition("://")
        if scheme != scheme.lower():
            mends.append("write the scheme in lower case")
            scheme = scheme.lower()
        if scheme in ("ws", "wss"):
            mends.append("a WebSocket's origin is its page's")
            scheme = "https" if scheme == "wss" else "http"
    elif re.match(r"https?:", text, re.IGNORECASE):
        scheme, _, rest = text.partition(":")
        scheme, rest = scheme.lower(), rest.lstrip("/")
        mends.append("write :// after the scheme")
    else:
        rest = text.lstrip("/")
        local = re.match(r"(?:localhost|127\.|\[?::1)", rest, re.IGNORECASE)
        scheme = "http" if local else "https"
        mends.append("add the scheme")
    if scheme not in DEFAULT_PORTS:
        return f"{shown}: the scheme must be http or https"
    if re.match(r"https?://", rest, re.IGNORECASE):
        return f"{shown}: has two schemes"

    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    if tail == "/":
        mends.append("drop the trailing slash")
    elif tail:
        parts = {"/": "path", "\\": "path", "?": "query", "#": "fragment"}
        mends.append(f"drop the {parts[tail[0]]}")
    if "@" in authority:
        mends.append("drop the user info")
        authority = authority.rpartition("@")[2]

    if authority.removeprefix("*.").startswith("["):
        host, bracket, after = authority.partition("]")
        host += bracket
        if not bracket or (after and not after.startswith(":")):
            return f"{shown}: write an IPv6 address in brackets, as in http://[::1]:3000"
        colon, port = after[:1], after[1:]
    elif compress_ipv6(authority.lower()):
        mends.append("put the IPv6 address in brackets")
        host, colon, port = f"[{authority}]", "", ""
    else:
        host, colon, port = authority.partition(":")

    if colon and port != "*":
        if not port:
            mends.append("drop the empty port")
        elif not re.match(r"[0-9]+\Z", port):
            return f"{shown}: the port must be a number, or * for every port"
        else:
            number = port.lstrip("0")
            if not number or len(number) > 5 or int(number) > 65535:
                return f"{shown}: the port must be from 1 to 65535"
            if number == DEFAULT_PORTS[scheme]:
                mends.append(f"drop the port, {number} is the default of {scheme} and never sent")
                number = ""
            elif number != port:
                mends.append("drop the zeros before the port")
            port = number

    if host != host.lower():
        mends.append("write the host in lower case")
        host = host.lower()
    wildcard = host.startswith("*.")
    base = host[2:] if wildcard else host
    if base.endswith("."):
        mends.append("drop the trailing dot")
        base = base.rstrip(".")
    if not base:
        return f"{shown}: names no host"
    if base == "*":
        return f"{shown}: write any for every origin, or a wildcard such as https://*.example.com"
    if "*" in base:
        return (
            f"{shown}: a * may only be the whole first label, as in https://*.example.com,"
            " or the whole port, as in http://localhost:*"
        )

    if base.startswith("["):
        address = base[1:-1]
        if "%" in address:
            mends.append("drop the zone")
            address = address.partition("%")[0]
        compressed = compress_ipv6(address)
        if compressed is None:
            return f"{shown}: is not an IPv6 address in hexadecimal, as in http://[::1]:3000"
        if re.match(r"::ffff:[0-9a-f]+:[0-9a-f]+\Z", compressed):
            return f"{shown}: is an IPv4-mapped address: write the IPv4 address itself"
        if compressed != address:
            mends.append("write the IPv6 address in its short form")
        base = f"[{compressed}]"
    else:
        if not PLAIN_LETTERS.match(base):
            return f"{shown}: write the host in punycode, as in https://xn--bcher-kva.example"
        if not base.isascii() and len(base) <= 253:
            mends.append("write the host in punycode")
            base = to_punycode(base)
        if len(f"*.{base}" if wildcard else base) > 253:
            return f"{shown}: the host is longer than 253 characters"
        for label in base.split("."):
            if not LABEL.match(label):
                return (
                    f"{shown}: the host's part {show(label)} must be 1 to 63 of a-z, 0-9 and"
                    " hyphens, with no hyphen at either end"
                )
            if label.startswith("xn--") and not is_punycode(label):
                return f"{shown}: the host's part {label} is not punycode"
        if NUMERIC_LABEL.match(base.rpartition(".")[2]) and not IPV4.match(base):
            return f"{shown}: write an IPv4 address as four numbers from 0 to 255, as in 127.0.0.1"
    if wildcard and (base.startswith("[") or IPV4.match(base)):
        return f"{shown}: a wildcard cannot stand before an IP address"
    if wildcard and public_suffixes().is_public(base):
        return (
            f"{shown}: anyone can get a name under {base}:"
            f" name your own, as in {scheme}://yours.{base}"
        )

    if not mends:
        return None
    corrected = f"{scheme}://{'*.' if wildcard else ''}{base}{':' if port else ''}{port}"
    return f"{shown}: {', '.join(mends)}: {corrected}"


def compress_ipv6(address: str) -> str | None:
    """Return an IPv6 address as the URL standard writes it (section 3.5), None if it is none."""
    if not re.match(r"[0-9a-f:]+\Z", address):
        return None
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return None
    if parsed.ipv4_mapped is not None:
        high, low = divmod(int(parsed.ipv4_mapped), 0x10000)
        return f"::ffff:{high:x}:{low:x}"
    return str(parsed)


def to_punycode(host: str) -> str:
    """Return a host with each non-ASCII label in its ASCII form (RFC 3492)."""
    labels = re.sub("[\u3002\uff0e\uff61]", ".", host).split(".")
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in labels
    )


def is_punycode(label: str) -> bool:
    """Return whether an `xn--` label stands for a text (RFC 3492)."""
    text = label.removeprefix("xn--")
    decoded = text.encode("ascii").decode("punycode", "replace")
    return decoded.encode("punycode").decode("ascii") == text


@cache
def public_suffixes() -> PublicSuffixList:
    """Return the public suffix list, which takes some 30 ms to read."""
    return PublicSuffixList(accept_unknown=False)


def is_loopback(origin: str) -> bool:
    """Return whether a valid origin is this machine's own (Secure Contexts, section 3.1)."""
    host = split_origin(origin)[1]
    return (
        host == "localhost"
        or host.endswith(".localhost")
        or host == "[::1]"
        or (host.startswith("127.") and IPV4.match(host) is not None)
    )


def to_https(origin: str) -> str:
    """Return a valid plain-http origin with https as its scheme."""
    return f"https://{origin.removeprefix('http://').removesuffix(':443')}"


def split_origin(origin: str) -> tuple[str, str, str]:
    """Return the scheme, the host and the port ("" for the default) of a valid origin."""
    scheme, _, authority = origin.partition("://")
    port = authority.rpartition("]")[2].partition(":")[2]
    host = authority.removesuffix(f":{port}") if port else authority
    return scheme, host, port


def covering_wildcard(origin: str, wildcards: frozenset[str]) -> str | None:
    """Return the wildcard, of those given, that already allows a valid origin."""
    scheme, host, port = split_origin(origin)
    ports = dict.fromkeys((f":{port}" if port else "", ":*"))
    labels = host.split(".")
    hosts = [host, *(f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels)))]
    for candidate in (f"{scheme}://{name}{end}" for name in hosts for end in ports):
        if candidate != origin and candidate in wildcards:
            return candidate
    return None


def method_problem(method: str) -> str | None:
    """Return why a method cannot be allowed (Fetch, section 2.2.1; RFC 9110, section 9.1)."""
    shown = show(method)
    if method in EVERY:
        return f"{shown}: name the methods one by one, as in GET, POST"
    text = clean(method)
    if " " in text:
        return f"{shown}: is more than one method: list each by itself"
    if not TOKEN.match(text):
        return f"{shown}: is not a method: write a name such as GET"
    upper = text.upper()
    if upper in FORBIDDEN_METHODS:
        return f"{shown}: no page may send {upper}: leave it out"
    if text != method:
        return f"{shown}: remove spaces, quotes and commas: {upper}"
    if text != upper:
        why = (
            "browsers send it in upper case"
            if upper in NORMALIZED_METHODS
            else "method names are case-sensitive"
        )
        return f"{shown}: {why}: {upper}"
    return None


def request_header_problem(header: str) -> str | None:
    """Return why a page cannot be allowed to set a header (Fetch, section 2.2.2)."""
    name = clean_header(header).lower()
    if name in FORBIDDEN_REQUEST_HEADERS or name.startswith(("proxy-", "sec-")):
        return f"{show(header)}: the browser alone sets this header: leave it out"
    if name in RESPONSE_HEADERS or name.startswith("access-control-allow-"):
        return f"{show(header)}: is a response header: leave it out"
    return header_name_problem(header)


def exposed_header_problem(header: str) -> str | None:
    """Return why a response header cannot be exposed (Fetch, section 2.2.2)."""
    name = clean_header(header).lower()
    if name in ("set-cookie", "set-cookie2"):
        return f"{show(header)}: no page may read this header: leave it out"
    if name.startswith("access-control-request-"):
        return f"{show(header)}: is a request header: leave it out"
    return header_name_problem(header)


def header_name_problem(header: str) -> str | None:
    """Return why a text is no header's name (RFC 9110, section 5.1)."""
    text = clean_header(header)
    if " " in text:
        return f"{show(header)}: is more than one header: list each by itself"
    if not TOKEN.match(text):
        return f"{show(header)}: is not a header's name: write one such as X-Request-ID"
    if "*" in text and text != "*":
        return f"{show(header)}: a * cannot stand for a part of a name: name each header"
    if text.lower() in EVERY and header not in EVERY:
        return f"{show(header)}: write it bare and in lower case: {text.lower()}"
    if text != header:
        return f"{show(header)}: remove spaces, quotes and punctuation: {text}"
    return None


def clean_header(header: str) -> str:
    """Return a header's name without what a paste brings along."""
    return clean(header).rstrip(":")


def closest(name: str, names: list[str]) -> str | None:
    """Return the name that a misspelt one most likely stands for."""
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.7)), None)
