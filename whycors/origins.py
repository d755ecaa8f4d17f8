"""Origins: what the table of rules cannot say of them, and which of them wildcards stand for."""

import ipaddress
import os
import re
from functools import cache

from publicsuffixlist import PublicSuffixList

from . import rules

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
    origin, problem = rules.read("origin", item)
    if problem is not None or not origin.startswith(("http://", "https://")):
        return origin, problem
    scheme, host, port = split_origin(origin)
    if host.startswith("["):
        address = to_ipv6(host[1:-1])
        if address is None:
            reason = "it is not an IPv6 address"
            return item, f"write an address such as [::1], not {rules.show(item)}: {reason}"
        return f"{scheme}://[{address}]{':' if port else ''}{port}", None
    for label in host.split("."):
        if label.startswith("xn--") and not is_punycode(label):
            reason = f"{label} is not punycode"
            return item, f"write the host in letters, not {rules.show(item)}: {reason}"
    label, _, base = host.partition(".")
    if label == "*" and is_public_suffix(base) or "*" in label and is_registry(base):
        yours = f"{'*.' if is_registry(base) else ''}yours.{base}{':' if port else ''}{port}"
        reason = f"anyone can get a name under {base}"
        return item, f"write {scheme}://{yours}, not {rules.show(item)}: {reason}"
    return origin, None


def credentials_problem(origin: str) -> str | None:
    """Return why an origin, valid by itself, may not use credentials."""
    problem = rules.read("origin with credentials", origin)[1]
    label, _, base = split_origin(origin)[1].partition(".")
    if problem is None and "*" in label and is_public_suffix(base):
        reason = f"with credentials, anyone with a name under {base} could act as the user"
        return f"write a preview domain of your own, not {origin}: {reason}"
    return problem


def split_origin(origin: str) -> tuple[str, str, str]:
    """Return the scheme, the host and the port ("" for the default) of a canonical origin."""
    scheme, _, authority = origin.partition("://")
    port = authority.rpartition("]")[2].partition(":")[2]
    return scheme, authority.removesuffix(f":{port}") if port else authority, port


def is_loopback(origin: str) -> bool:
    """Return whether a canonical origin is this machine's (Secure Contexts, section 3.1)."""
    host = split_origin(origin)[1]
    return (
        host in ("localhost", "[::1]")
        or host.endswith(".localhost")
        or re.fullmatch(r"127(?:\.[0-9]{1,3}){3}", host) is not None
    )


def to_ipv6(address: str) -> str | None:
    """Return an IPv6 address as the URL standard writes it (section 3.5), None if it is not one."""
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return None
    if parsed.ipv4_mapped is not None:
        high, low = divmod(int(parsed.ipv4_mapped), 0x10000)
        return f"::ffff:{high:x}:{low:x}"
    return str(parsed)


def is_punycode(label: str) -> bool:
    """Return whether an `xn--` label stands for a text (RFC 3492)."""
    text = label.removeprefix("xn--")
    decoded = text.encode("ascii").decode("punycode", "replace")
    return not decoded.isascii() and decoded.encode("punycode").decode("ascii") == text


@cache
def suffixes(only_icann: bool) -> PublicSuffixList:
    """Return the public suffix list, which takes 30 ms to read: only wildcards need it."""
    return PublicSuffixList(accept_unknown=False, only_icann=only_icann)


def is_public_suffix(host: str) -> bool:
    """Return whether anyone can get a name right under a host."""
    return bool(suffixes(only_icann=False).is_public(host))


def is_registry(host: str) -> bool:
    """Return whether registrars sell names right under a host."""
    return bool(suffixes(only_icann=True).is_public(host))


def compile_wildcards(origins: list[str]) -> re.Pattern[str]:
    """Return one pattern that matches the whole of each origin that a wildcard stands for.

    Wildcards that begin alike share a branch, so that matching takes no longer for thousands.
    """
    return re.compile(NOT_TOO_LONG + branch([pieces(origin) for origin in origins]) + r"\Z")


def pieces(origin: str) -> list[str]:
    """Return an origin as pieces of a pattern: one a character, and one a wildcard."""
    scheme, host, port = split_origin(origin)
    start, star, end = host.partition("*")
    wildcard = [ANY_SUBDOMAIN if end.startswith(".") and not start else PART_OF_A_LABEL]
    end = end[1:] if wildcard == [ANY_SUBDOMAIN] else end
    name = [*map(re.escape, start), *(wildcard if star else []), *map(re.escape, end)]
    ports = [ANY_PORT] if port == "*" else [*f":{port}"] if port else []
    return [*map(re.escape, f"{scheme}://"), *name, *ports]


def branch(sequences: list[list[str]]) -> str:
    """Return a pattern for any one of the sequences, which all differ."""
    common = os.path.commonprefix(sequences)
    start = "".join(common)
    if len(sequences) == 1:
        return start
    branches: dict[str, list[list[str]]] = {}
    for sequence in sequences:
        rest = sequence[len(common) :]
        branches.setdefault(rest[0] if rest else "", []).append(rest)
    return f"{start}(?:{'|'.join(branch(group) for group in branches.values())})"
