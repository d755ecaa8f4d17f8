"""Which allowed origin comes nearest to one that is not allowed."""

import difflib

from .origins import is_loopback, read_origin, split_origin
from .policies import Policy

# Comparing takes time, and a policy may list thousands of origins.
MOST_COMPARED = 200


def nearest(policy: Policy, whose: str, origin: str) -> str:
    """Return what comes nearest to an origin that is not allowed, as the end of a sentence.

    `whose` is what the sentence calls the policy.
    """
    if read_origin(origin)[1] is not None:
        return ""
    compared = policy.origins[:MOST_COMPARED]
    for difference in (scheme_or_port_difference, host_difference):
        for allowed in compared:
            if found := difference(origin, allowed):
                return f", but {allowed} is: {found}"
    if close := difflib.get_close_matches(origin, compared, n=1):
        return f", but {close[0]} is: the host differs"
    return f"; {whose} allows {first_three(policy.origins)}"


def scheme_or_port_difference(origin: str, allowed: str) -> str | None:
    """Return what differs between two origins if it is the scheme, the port or both."""
    scheme, host, port = split_origin(origin)
    its_scheme, its_host, its_port = split_origin(allowed)
    if not covers(its_host, host):
        return None
    parts = [
        *(["scheme"] if scheme != its_scheme else []),
        *(["port"] if its_port not in (port, "*") else []),
    ]
    verb = "differs" if len(parts) == 1 else "differ"
    return f"the {' and the '.join(parts)} {verb}" if parts else None


def host_difference(origin: str, allowed: str) -> str | None:
    """Return how the host of an origin differs from a related one that is allowed."""
    host, its_host = split_origin(origin)[1], split_origin(allowed)[1]
    if its_host == f"*.{host}":
        return "the wildcard covers subdomains only"
    if host.endswith(f".{its_host}"):
        return "its subdomains are not included"
    if is_loopback(origin) and is_loopback(allowed):
        return "to a browser, these are two hosts"
    return None


def covers(its_host: str, host: str) -> bool:
    """Return whether a host is the allowed one, or matches its wildcard."""
    start, star, end = its_host.partition("*")
    if not star:
        return host == its_host
    rest = host.removeprefix(start).removesuffix(end)
    fits = len(start) + len(rest) + len(end) == len(host)
    return fits and bool(rest) and (its_host.startswith("*.") or "." not in rest)


def first_three(origins: tuple[str, ...]) -> str:
    """Return the first origins, and how many more there are."""
    more = f" and {len(origins) - 3} more" if len(origins) > 3 else ""
    return ", ".join(origins[:3]) + more
