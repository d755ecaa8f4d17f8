"""Origins, and what a policy lists: read by the table of rules, compared, and placed on a site.

rules.tsv says what its rows mean. What the table cannot say of an origin is here.
"""

import difflib
import ipaddress
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

from .browser import LOOPBACK_HOST, Headers, Response, Send, http_origin, is_loopback_url

TABLE = Path(__file__).with_name("rules.tsv")


class Rule(NamedTuple):
    verdict: str
    pattern: re.Pattern[str]
    replacement: str
    reason: str


def read_item(kind: str, item: str) -> tuple[str, str | None]:
    """Return an item in its canonical form and None, or as it is and what is wrong with it.

    `kind` is the start of the rows to read: `origin`, `method`, `allowed header`, …
    """
    text = item
    for rule in rules_for(kind):
        match = rule.pattern.match(text)
        if match is None:
            continue
        if rule.verdict == "take":
            break
        if rule.verdict == "rewrite":
            text = match.expand(rule.replacement)
        elif rule.verdict == "instead":
            advice = shown(match.expand(rule.replacement))
            return item, write(advice, item, match.expand(rule.reason))
        elif rule.verdict == "remove":
            return item, f"remove {shown(item)}: {rule.reason}"
        else:
            text = f"{match[1]}{CONVERSIONS[rule.verdict](match[2])}{match[3]}"
    return text, None


def origin_notes(origin: str) -> Iterator[str]:
    """Yield what the owner of a policy should know about an accepted origin."""
    for rule in rules_for("note"):
        if match := rule.pattern.match(origin):
            yield match.expand(rule.reason)


@cache
def rules_for(kind: str) -> tuple[Rule, ...]:
    """Return the rows for a kind; those for every `header` are for an `allowed header` too."""
    names: dict[str, str] = {}
    rules = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        row_kind, verdict, pattern, replacement, reason = (line.split("\t") + [""] * 4)[:5]
        for name, meaning in names.items():
            pattern = pattern.replace(name, meaning)
        if row_kind == "let":
            names[verdict] = pattern
        elif verdict and kind.endswith(row_kind):
            whole = re.compile(rf"(?:{pattern})\Z", re.ASCII | re.DOTALL)
            rules.append(Rule(verdict, whole, replacement, reason))
    return tuple(rules)


def to_punycode(host: str) -> str:
    """Return a host with each non-ASCII label in its ASCII form (RFC 3492)."""
    labels = re.split("[.\u3002\uff0e\uff61]", host)
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in labels
    )


CONVERSIONS = {"lower": str.lower, "upper": str.upper, "punycode": to_punycode}


def write(advice: str, item: str, reason: str) -> str:
    return f"write {advice}, not {shown(item)}: {reason}"


def shown(text: str) -> str:
    """Return a text as it can be in one line of a message or a log."""
    printable = text if text.isprintable() and text.strip() else json.dumps(text)
    return printable if len(printable) <= 120 else f"{printable[:80]}…"


# What wildcards stand for in an `Origin` header.
ANY_SUBDOMAIN = r"(?:[a-z0-9_-]{1,63}\.)+"
PART_OF_A_LABEL = r"[a-z0-9-]{1,62}"
ANY_PORT = r"(?::(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3}))?"

# The longest host has 253 characters, and its longest label 63 (RFC 1035, section 2.3.4).
NOT_TOO_LONG = r"(?![a-z]+://(?:[^:/]{254}|[^.:/]{64}))"


def read_origin(item: str) -> tuple[str, str | None]:
    """Return an origin as a browser writes it and None, or the item and what is wrong with it.

    The form is `new URL(item).origin` (URL, section 4.5; Fetch, section 3.2). Wildcards and
    apps' origins are read too, and `any` as `*`.
    """
    origin, problem = read_item("origin", item)
    if problem is not None or not origin.startswith(("http://", "https://")):
        return origin, problem
    scheme, host, port = split_origin(origin)
    end = f":{port}" if port else ""
    if host.startswith("["):
        address = to_ipv6(host[1:-1])
        if address is None:
            return item, write("an address such as [::1]", item, "it is not an IPv6 address")
        return f"{scheme}://[{address}]{end}", None
    label, *others = host.split(".")
    for one in (label, *others):
        if one.startswith("xn--") and not is_punycode(one):
            return item, write("the host in letters", item, f"{one} is not punycode")
    if "*" in label:
        base = ".".join(others)
        is_sold = is_shared(base, only_icann=True)
        if is_sold or (label == "*" and is_shared(base)):
            yours = f"{scheme}://{'*.' if is_sold else ''}yours.{base}{end}"
            return item, write(yours, item, f"anyone can get a name under {base}")
    return origin, None


def credentials_problem(item: str, kind: str = "origin") -> str | None:
    """Return why an item, valid by itself, may not be in a policy with credentials."""
    problem = read_item(f"{kind} with credentials", item)[1]
    label, _, base = split_origin(item)[1].partition(".")
    if problem is None and "*" in label and is_shared(base):
        reason = f"with credentials, anyone with a name under {base} could act as the user"
        return write("a preview domain of your own", item, reason)
    return problem


def split_origin(origin: str) -> tuple[str, str, str]:
    """Return the scheme, the host and the port ("" for the default) of a canonical origin."""
    scheme, _, authority = origin.partition("://")
    port = authority.rpartition("]")[2].partition(":")[2]
    return scheme, authority.removesuffix(f":{port}") if port else authority, port


def is_loopback(origin: str) -> bool:
    """Return whether a canonical origin is this machine's (Secure Contexts, section 3.1)."""
    return LOOPBACK_HOST.match(split_origin(origin)[1].strip("[]")) is not None


def to_ipv6(address: str) -> str | None:
    """Return an IPv6 address as the URL standard writes it (section 3.5), None if it is not one."""
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped and divmod(int(parsed.ipv4_mapped), 0x10000)
    return "::ffff:{:x}:{:x}".format(*mapped) if mapped else str(parsed)


def is_punycode(label: str) -> bool:
    """Return whether an `xn--` label stands for a text (RFC 3492)."""
    text = label.removeprefix("xn--")
    decoded = text.encode("ascii").decode("punycode", "replace")
    return not decoded.isascii() and decoded.encode("punycode").decode("ascii") == text


@cache
def suffixes(accept_unknown: bool = False, only_icann: bool = False) -> PublicSuffixList:
    """Return the public suffix list, which takes 30 ms to read."""
    return PublicSuffixList(accept_unknown=accept_unknown, only_icann=only_icann)


def is_shared(host: str, only_icann: bool = False) -> bool:
    """Return whether anyone can get a name right under a host, or buy one there (ICANN's)."""
    return bool(suffixes(only_icann=only_icann).is_public(host))


def matches_wildcard(wildcard: str, origin: str) -> bool:
    """Return whether an origin with wildcards stands for an origin."""
    pattern = re.escape(wildcard).replace(r"//\*\.", f"//{ANY_SUBDOMAIN}")
    pattern = pattern.replace(r":\*", ANY_PORT).replace(r"\*", PART_OF_A_LABEL)
    return re.fullmatch(NOT_TOO_LONG + pattern, origin) is not None


def is_for_development(origin: str) -> bool:
    """Return whether an origin is this machine's, and not that of an app on a user's.

    The table of rules has notes on apps' origins, which are right in production too.
    """
    return is_loopback(origin) and not any(origin_notes(origin))


# An origin that no page can have (RFC 6761, section 6.4).
STRANGER = "https://probe.invalid"

# What parts of a regular expression become in a sample of it, in this order.
SAMPLES = (
    (r"\\d[+*]?", "1"),
    (r"(?:\[[^]]*\]|\\w)[+*]?|(?<!\\)\.[+*]", "a"),
    (r"\\[AbZ]|\(\?:|\|[^)]*|(?<!\\)[()?+*^$]", ""),
    (r"\\(.)", r"\1"),
)


def sample(pattern: str) -> str:
    """Return an origin that a wildcard or a regular expression stands for, or the origin itself."""
    if pattern == "*":
        return STRANGER
    if not re.search(r"[\\^$(|?+]|[.\]]\*", pattern):
        return pattern.replace(":*", ":3000").replace("*", "app")
    for old, new in SAMPLES:
        pattern = re.sub(old, new, pattern)
    return pattern


def strangers(origin: str) -> list[str]:
    """Return origins that are not a page's: most look like it, and any page can have the first."""
    scheme, host, port = split_origin(origin)
    rest = origin.removeprefix(f"{scheme}://")
    ends = (f"{host}.probe.invalid", f"{host}probe.invalid", f"probe.{rest}", f"probe{rest}")
    near = (rest, host, f"{host}:{int(port or 443) + 1}", host.partition(".")[2] or host)
    alike = [*(f"{scheme}://{one}" for one in ends), origin.replace(".", "-", 1)]
    alike += [f"{either}://{one}" for either in ("https", "http") for one in near]
    return ["null", STRANGER, *(one for one in dict.fromkeys(alike) if one != origin)]


def with_metadata(send: Send, page: str) -> Send:
    """Return `send` with the headers that a browser adds to what a page's `fetch` sends.

    `page` is the page's origin. Redirects count, so take a new one for each fetch.
    """
    urls: list[str] = []

    def send_as_browser(method: str, url: str, headers: Headers) -> Response:
        urls.append(url)
        return send(method, url, (*headers, *metadata(page, urls)))

    return send_as_browser


def metadata(page: str, urls: list[str]) -> Headers:
    """Section 2: browsers send these to https and to this machine, and to nobody else."""
    if urlsplit(urls[-1]).scheme != "https" and not is_loopback_url(urls[-1]):
        return ()
    return (
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", fetch_site(page, urls)),
    )


def fetch_site(page: str, urls: list[str]) -> str:
    """Section 2.3, "Sec-Fetch-Site", which goes by every URL that a request was redirected to."""
    if {http_origin(url) for url in urls} == {http_origin(page)}:
        return "same-origin"
    return "same-site" if {site(url) for url in urls} == {site(page)} else "cross-site"


def site(url: str) -> tuple[str, str] | None:
    """Return the site of a URL or an origin (HTML, "obtain a site")."""
    origin = http_origin(url)
    if origin is None:
        return None
    scheme, host, _ = origin
    is_address = ":" in host or host.rpartition(".")[2].isdigit()
    domain = None if is_address else suffixes(accept_unknown=True).privatesuffix(host)
    return scheme, domain or host


# Comparing takes time, and a policy may list thousands of origins.
MOST_COMPARED = 200


def nearest(allowed_origins: Sequence[str], whose: str, origin: str) -> str:
    """Return what comes nearest to an origin that is not allowed, as the end of a sentence.

    `whose` is what the sentence calls the policy.
    """
    if read_origin(origin)[1] is not None:
        return ""
    some = allowed_origins[:MOST_COMPARED]
    alike = difflib.get_close_matches(origin, some, MOST_COMPARED, cutoff=0)
    for how in (misspelt, difference):
        for allowed in alike:
            if found := how(allowed, origin):
                return f", but {allowed} is: {found}"
    readable = [one for one in alike if read_origin(one)[1] is None]
    for allowed in difflib.get_close_matches(origin, readable, 1):
        return f", but {allowed} is: the host differs"
    more = f" and {len(allowed_origins) - 3} more" if len(allowed_origins) > 3 else ""
    return f"; {whose} allows {', '.join(map(shown, allowed_origins[:3]))}{more}"


def separate(item: str) -> list[str]:
    """Return what an item of a list has in it: several, where somebody put them into one text."""
    is_pattern = re.search(r"[\\^$*+?({[]", item)
    return [item] if is_pattern else re.findall(r"[^\s,]+", item)


def misspelt(allowed: str, origin: str) -> str | None:
    """Return what is wrong with an item that is meant to be an origin, None if it is not that."""
    canonical, problem = read_origin(allowed)
    if problem is not None:
        is_meant = f"write {origin}, not " in problem or origin in separate(allowed)
        return problem if is_meant else None
    if canonical == origin != allowed:
        return f"write {origin}, as browsers do"
    if "*" in canonical.strip("*") and matches_wildcard(canonical, origin):
        return "a * there does not stand for any name"
    return None


def difference(allowed: str, origin: str) -> str | None:
    """Return how an origin differs from a related one that is allowed, None if it is unrelated."""
    if read_origin(allowed)[1] is not None:
        return None
    scheme, host, port = split_origin(origin)
    its_scheme, its_host, its_port = split_origin(allowed)
    parts = ["scheme"] if scheme != its_scheme else []
    parts += ["port"] if its_port not in (port, "*") else []
    if parts and matches_wildcard(f"{scheme}://{its_host}", f"{scheme}://{host}"):
        return f"the {' and the '.join(parts)} {'differ' if len(parts) > 1 else 'differs'}"
    if its_host == f"*.{host}":
        return "the wildcard covers subdomains only"
    if host.endswith(f".{its_host}"):
        return "its subdomains are not included"
    if is_loopback(origin) and is_loopback(allowed):
        return "to a browser, these are two hosts"
    return None


def as_regex(wildcard: str) -> str | None:
    """Return a plain regular expression for an origin with wildcards, None if it is not one."""
    if wildcard == "*" or "*" not in wildcard or read_origin(wildcard) != (wildcard, None):
        return None
    pattern = re.escape(wildcard).replace(r":\*", r":\d+")
    return pattern.replace(r"\*", "[a-z0-9-]+") + "$"
