"""Origins and wildcards: what the policy may name, and what pages send that they stand for."""

import json
import re
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from publicsuffixlist import PublicSuffixList

PORT = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
LABEL = r"[a-z0-9_-]{1,63}"
WILD_LABEL = r"(?:\*|[a-z0-9_-]*(?:-\*|\*-)[a-z0-9_-]*)"
HOST = rf"(?:{WILD_LABEL}\.)?{LABEL}(?:\.{LABEL})*|\[[0-9a-f:.]+\]"
WEB_ORIGIN = re.compile(rf"(https?)://({HOST})(?::({PORT}|\*))?/?", re.ASCII)
APP_ORIGIN = re.compile(rf"([a-zA-Z][a-zA-Z0-9+.-]+)(://[a-zA-Z0-9._-]+(?::{PORT})?)", re.ASCII)

# Misspelt, or another of the web: not an app's own, such as capacitor.
OTHER_SCHEME = re.compile("h[htps]{1,7}|[a-z]?h?ttps?|https?[a-z]|wss?|s?ftps?|file")

# Browsers take such a host for an IP address (URL, section 3.5).
ADDRESS = re.compile(r"\[.*\]|(?:.*\.)?(?:\d+|0x[0-9a-f]*)")

# This machine (Secure Contexts, section 3.1).
LOOPBACK = re.compile(r"(?:[^:]*\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\]")

# Names under which nobody registers any: https://*.internal is the owner's.
PRIVATE = re.compile("corp|example|home|internal|intranet|invalid|lan|local|localhost|private|test")

# A host has at most 253 characters, and a label at most 63 (RFC 1035, section 2.3.4).
NOT_TOO_LONG = r"(?![a-z]+://(?:[^:/]{254}|[^.:/]{64}))"


def read_origin(item: str) -> str:
    """Return an origin as browsers send it (URL, section 4.5), a wildcard, or `*` for `any`.

    Raises ValueError, which says what to write, if the item is none of them.
    """
    origin = canonical(item)
    if origin is None:
        meant = correction(item) or "an origin such as https://app.example.com"
        raise ValueError(f"write {meant}, not {show(item)}: browsers send no such origin")
    label, _, base = host_of(origin).partition(".")
    is_top = "." not in base and not PRIVATE.fullmatch(base)
    registered = "*" in label and (is_top or is_shared(base, only_icann=True))
    if base and (registered or (label == "*" and is_shared(base))):
        raise ValueError(f"name the domain that is yours in {origin}: {base} is everybody's")
    return origin


def canonical(item: str) -> str | None:
    """Return an origin or a wildcard as browsers would write it, None if it is neither."""
    if item.lower() in ("any", "*"):
        return "*"
    if web := WEB_ORIGIN.fullmatch(item.lower()):
        scheme, host, port = web.groups("")
        if ADDRESS.fullmatch(host):
            try:
                host = address(host)
            except ValueError:
                return None
        default = {"http": "80", "https": "443"}[scheme]
        return f"{scheme}://{host}" + (f":{port}" if port and port != default else "")
    if app := APP_ORIGIN.fullmatch(item):
        scheme = app[1].lower()
        if OTHER_SCHEME.fullmatch(scheme):
            return None
        return scheme + app[2]
    return None


def address(host: str) -> str:
    """Return an IP address as a URL has it. Raises ValueError if it is not one."""
    if not host.startswith("["):
        return str(IPv4Address(host))
    parsed = IPv6Address(host[1:-1])
    if parsed.ipv4_mapped is not None:
        high, low = divmod(int(parsed.ipv4_mapped), 0x10000)
        return f"[::ffff:{high:x}:{low:x}]"
    return f"[{parsed}]"


def correction(item: str) -> str | None:
    """Return the origin that was probably meant: with a scheme, and without a path."""
    host = re.sub(r"^[^/]*//|[/?#].*", "", item.lower()).rpartition("@")[2].strip(".")
    local = LOOPBACK.fullmatch(re.sub(r":[^\]]*$", "", host)) is not None
    if not local and "." not in host:
        return None
    is_plain = local or item.lower().startswith(("http:", "ws:"))
    return canonical(f"{'http' if is_plain else 'https'}://{host}")


def host_of(origin: str) -> str:
    return re.sub(r"^.*//|:(?:\d+|\*)$", "", origin)


def danger(origin: str) -> str | None:
    """Return who could act as a user of the API if pages on this origin may send credentials."""
    if origin == "*":
        return "every site could act as the user"
    host = host_of(origin)
    label, _, base = host.partition(".")
    if origin.startswith("http:") and not LOOPBACK.fullmatch(host):
        return "anyone on the network could act as the user"
    if "*" in label and is_shared(base):
        return f"anyone with a name under {base} could act as the user"
    return None


def is_shared(host: str, only_icann: bool = False) -> bool:
    """Return whether anyone can get a name under a host: co.uk, or (not ICANN's) vercel.app."""
    return bool(suffixes(only_icann).is_public(host))


@cache
def suffixes(only_icann: bool) -> PublicSuffixList:
    """Return the Public Suffix List, which takes 30 ms to read: only wildcards need it."""
    return PublicSuffixList(accept_unknown=False, only_icann=only_icann)


def pattern(wildcards: list[str]) -> re.Pattern[str]:
    """Return a pattern of the origins that wildcards stand for: none for no wildcard."""
    if not wildcards:
        return re.compile(r"(?!)")
    return re.compile(rf"{NOT_TOO_LONG}(?:{'|'.join(map(branch, wildcards))})\Z", re.ASCII)


def branch(wildcard: str) -> str:
    """Return the pattern of one wildcard: any subdomains, a part of a label, or any port."""
    text = re.escape(wildcard).replace(r":\*", f"(?::{PORT})?")
    text = text.replace(r"//\*\.", rf"//(?:{LABEL}\.)+")
    return text.replace(r"\*", "[a-z0-9-]{1,62}")


def show(value: Any) -> str:
    """Return a value as it can be in one line of a message or a log."""
    text = value if isinstance(value, str) and value.strip() else repr(value)
    text = text if text.isprintable() else json.dumps(text)
    return text if len(text) <= 120 else f"{text[:80]}…"
