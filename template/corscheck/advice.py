"""Why the policy does not allow a request, what comes nearest, and how to allow it."""

import difflib
import re
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from app.cors import Policy, PolicyError, rules
from app.cors.origins import is_loopback, read_origin, split_origin

from .browser import Block, PageRequest, Verdict, normalize_method

# The template's question for each part of the policy.
QUESTIONS = {
    "origins": "frontend_origins",
    "methods": "allowed_methods",
    "supports_credentials": "allow_credentials",
    "allow_headers": "allowed_headers",
    "expose_headers": "exposed_headers",
    "max_age": "preflight_max_age",
}

# The methods that the question offers. The environment may name others.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Comparing takes time, and a policy may list thousands of origins.
MOST_COMPARED = 200


@dataclass(frozen=True)
class Advice:
    """Why a request is blocked, and what would allow it.

    `commands` holds the command that changes the answer for good, if Copier asks for it, and the
    environment variable for one deployment. It is empty if no setting would fix it.
    """

    reason: str
    commands: tuple[str, ...] = ()


def policy_advice(policy: Policy, request: PageRequest, verdict: Verdict) -> Advice:
    """Return why the policy blocks a request, and what would allow it."""
    method = normalize_method(request.method)
    if not policy.allows(request.origin):
        reason = f"{rules.show(request.origin)} is not allowed{nearest(policy, request.origin)}"
        return advise_change(policy, "origins", [*policy.origins, request.origin], reason)
    if verdict.during_preflight and method not in policy.methods:
        if method.upper() in policy.methods:
            return Advice(
                f"the page must write {method.upper()}, not {method}: browsers send this method as"
                " the page writes it"
            )
        allowed = ", ".join(policy.methods)
        reason = f"{rules.show(method)} is not allowed; the policy allows {allowed}"
        return advise_change(policy, "methods", [*policy.methods, method], reason)
    if verdict.block is Block.HEADER:
        reason = f"the header {rules.show(verdict.found)} is not allowed"
        return advise_change(
            policy, "allow_headers", [*policy.allow_headers, verdict.found], reason
        )
    if request.credentials and not policy.supports_credentials:
        reason = "the request sends credentials; the policy forbids them"
        return advise_change(policy, "supports_credentials", True, reason)
    return Advice(
        "the policy allows this request, but other code in the app changes its CORS headers: find"
        " that code and remove it"
    )


def advise_change(policy: Policy, name: str, value: Any, reason: str) -> Advice:
    """Return the commands that give one part of the policy a new value, if it may have it."""
    config = {f"CORS_{key.upper()}": part for key, part in asdict(policy).items()}
    try:
        Policy.from_config({**config, f"CORS_{name.upper()}": value})
    except PolicyError as error:
        return Advice(f"{reason}; the policy cannot allow it: {'; '.join(error.problems)}")
    text = ", ".join(value) if isinstance(value, list) else str(value).lower()
    variable = f"FLASK_CORS_{name.upper()}={shlex.quote(text)}"
    if name == "methods":
        if not set(value) <= set(METHODS):
            return Advice(reason, (variable,))
        text = f"[{text}]"  # Copier takes the methods only as a list
    # Copier reads answers as YAML, in which a * at the start means something else.
    answer = f"{QUESTIONS[name]}={re.sub(r'^[*](?=,|$)', 'any', text)}"
    command = f"copier update --vcs-ref=:current: --defaults -d {shlex.quote(answer)}"
    return Advice(reason, (command, variable))


def nearest(policy: Policy, origin: str) -> str:
    """Return which allowed origin comes nearest to one that is not, as the end of a sentence."""
    if read_origin(origin)[1] is not None:
        return ""
    compared = policy.origins[:MOST_COMPARED]
    for difference in (scheme_or_port_difference, host_difference):
        for allowed in compared:
            if found := difference(origin, allowed):
                return f", but {allowed} is: {found}"
    if close := difflib.get_close_matches(origin, compared, n=1):
        return f", but {close[0]} is: the host differs"
    return f"; the policy allows {first_three(policy.origins)}"


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
