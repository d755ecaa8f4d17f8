"""What each part of a CORS policy may say, item by item.

Every check takes one item and returns what is wrong with it, or None. A problem reads
`item: cause: corrected value`; the last part is left out where no correction can be known.
"""

import difflib
import ipaddress
import json
import re

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

# RFC 9110, section 5.6.2: token.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")

# Whitespace, controls, quotes and characters that no one sees: what a paste brings along.
STRAY = re.compile(
    "[\\s\x00-\x20\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\"'`<>]+"
)

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(OCTET + r"(?:\." + OCTET + r"){3}\Z")

# URL, "ends in a number": a browser reads such a host as an IPv4 address.
NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")


def show(item: str) -> str:
    """Return an item as it can stand in one line of a message or a log."""
    shown = item if item.isprintable() and item.strip() else json.dumps(item)
    return shown if len(shown) <= 400 else f"{shown[:80]}…"


def origin_problem(origin: str) -> str | None:
    """Return why an origin, or a wildcard for origins, cannot be used.

    The form is that of an `Origin` header (Fetch, section 3.2; URL, section 4.5):
    `scheme://host[:port]` as browsers write it, with `*.` for any subdomain and `:*` for
    any port.
    """
    shown = show(origin)
    mends: list[str] = []

    text = STRAY.sub("", origin)
    if text != origin:
        mends.append("remove spaces, quotes and invisible characters")
    if not text:
        return f"{shown}: is empty: write an origin such as https://app.example.com"
    if text.lower() in EVERY:
        if origin in EVERY:
            return f"{shown}: stands for every origin: list it alone, or leave it out"
        return f"{shown}: write it alone and in lower case: {text.lower()}"
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

    if authority.startswith("["):
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
        if not base.isascii():
            mends.append("write the host in punycode")
            base = to_punycode(base)
        for label in base.split("."):
            if not LABEL.match(label):
                return (
                    f"{shown}: the host's part {show(label)} must be 1 to 63 of a-z, 0-9 and"
                    " hyphens, with no hyphen at either end"
                )
        if NUMERIC_LABEL.match(base.rpartition(".")[2]) and not IPV4.match(base):
            return f"{shown}: write an IPv4 address as four numbers from 0 to 255, as in 127.0.0.1"
        if len(base) > 253:
            return f"{shown}: the host is longer than 253 characters"
    if wildcard and (base.startswith("[") or IPV4.match(base)):
        return f"{shown}: a wildcard cannot stand before an IP address"

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
    hosts = [host]
    if not host.startswith("[") and not IPV4.match(host):
        labels = host.split(".")
        hosts += [f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels))]
    for candidate in (f"{scheme}://{name}{end}" for name in hosts for end in ports):
        if candidate != origin and candidate in wildcards:
            return candidate
    return None


def method_problem(method: str) -> str | None:
    """Return why a method cannot be allowed (Fetch, section 2.2.1; RFC 9110, section 9.1)."""
    shown = show(method)
    if method in EVERY:
        return f"{shown}: name the methods one by one, as in GET, POST"
    text = STRAY.sub("", method).rstrip(",;")
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
    name = STRAY.sub("", header).rstrip(",;:").lower()
    if name in FORBIDDEN_REQUEST_HEADERS or name.startswith(("proxy-", "sec-")):
        return f"{show(header)}: the browser alone sets this header: leave it out"
    if name.startswith("access-control-"):
        return f"{show(header)}: is a response header: leave it out"
    return header_name_problem(header)


def exposed_header_problem(header: str) -> str | None:
    """Return why a response header cannot be exposed (Fetch, section 2.2.2)."""
    name = STRAY.sub("", header).rstrip(",;:").lower()
    if name in ("set-cookie", "set-cookie2"):
        return f"{show(header)}: no page may read this header: leave it out"
    if name.startswith("access-control-request-"):
        return f"{show(header)}: is a request header: leave it out"
    return header_name_problem(header)


def header_name_problem(header: str) -> str | None:
    """Return why a text is no header's name (RFC 9110, section 5.1)."""
    text = STRAY.sub("", header).rstrip(",;:")
    if not TOKEN.match(text):
        return f"{show(header)}: is not a header's name: write one such as X-Request-ID"
    if text != header:
        return f"{show(header)}: remove spaces, quotes and punctuation: {text}"
    return None


def closest(name: str, names: list[str]) -> str | None:
    """Return the name that a misspelt one most likely stands for."""
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.7)), None)
