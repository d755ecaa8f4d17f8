"""What came nearest to a blocked request, and what to change so that it is allowed."""

import difflib
import re
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from app.cors import rules
from app.cors.fetch import Block, Request, Verdict, normalize_method
from app.cors.policy import Policy, PolicyError

# Which question of the template asks for which part of the policy.
QUESTIONS = {
    "origins": "frontend_origins",
    "methods": "allowed_methods",
    "supports_credentials": "allow_credentials",
    "allow_headers": "allowed_headers",
    "expose_headers": "exposed_headers",
    "max_age": "preflight_max_age",
}

# The methods that the question offers; the environment may name others.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True)
class Remedy:
    """The nearest miss, and what mends it: a command for good, then a variable for a deployment.

    There is no command for what Copier does not ask, and neither where the policy is not at fault
    or must not be changed so.
    """

    miss: str
    commands: tuple[str, ...] = ()


def remedy(policy: Policy, request: Request, verdict: Verdict) -> Remedy:
    """Return what keeps a blocked request from passing the policy, and what would let it pass."""
    method = normalize_method(request.method)
    if not policy.allows(request.origin):
        miss = nearest_origin(policy, request.origin)
        return change(policy, "origins", [*policy.origins, request.origin], miss)
    if verdict.during_preflight and method not in policy.methods:
        if method.upper() in policy.methods:
            return Remedy(
                f"{method} is not {method.upper()}: browsers send it as the page writes it: write"
                f" {method.upper()} there"
            )
        miss = f"{rules.show(method)} is not among {', '.join(policy.methods)}"
        return change(policy, "methods", [*policy.methods, method], miss)
    if verdict.block is Block.HEADER:
        miss = f"header {rules.show(verdict.found)} is not listed"
        return change(policy, "allow_headers", [*policy.allow_headers, verdict.found], miss)
    if request.credentials and not policy.supports_credentials:
        miss = "credentials are sent, and not allowed"
        return change(policy, "supports_credentials", True, miss)
    return Remedy(
        "the policy allows this: a view or a hook sets other CORS headers: leave them out"
    )


def change(policy: Policy, name: str, value: Any, miss: str) -> Remedy:
    """Return the commands that give one part of the policy a new value, if it may have it."""
    config = {f"CORS_{key.upper()}": part for key, part in asdict(policy).items()}
    try:
        Policy.from_config({**config, f"CORS_{name.upper()}": value})
    except PolicyError as error:
        return Remedy(f"{miss}; the policy cannot allow it: {'; '.join(error.problems)}")
    text = ", ".join(value) if isinstance(value, list) else str(value).lower()
    variable = f"FLASK_CORS_{name.upper()}={shlex.quote(text)}"
    if name == "methods":
        if not set(value) <= set(METHODS):
            return Remedy(miss, (variable,))
        text = f"[{text}]"  # Copier takes them as a list only
    # To YAML, which Copier reads answers as, a * is something else.
    answer = f"{QUESTIONS[name]}={re.sub(r'^[*](?=,|$)', 'any', text)}"
    command = f"copier update --vcs-ref=:current: --defaults -d {shlex.quote(answer)}"
    return Remedy(miss, (command, variable))


def nearest_origin(policy: Policy, origin: str) -> str:
    """Return which allowed origin comes nearest to one that is not allowed, and what differs."""
    shown = rules.show(origin)
    if "*" in origin or rules.origin_problem(origin) is not None:
        return f"{shown} is not allowed, and no page over http or https has this origin"
    scheme, host, port = rules.split_origin(origin)
    # Looking takes time, and the origins may be thousands.
    some = policy.origins[:200]
    for allowed in some:
        its_scheme, its_host, its_port = rules.split_origin(allowed)
        if host == its_host or (its_host.startswith("*.") and host.endswith(its_host[1:])):
            parts = [
                *(["scheme"] if scheme != its_scheme else []),
                *(["port"] if its_port not in (port, "*") else []),
            ]
            verb = "differs" if len(parts) == 1 else "differ"
            return f"{shown} is not allowed; {allowed} is: the {' and the '.join(parts)} {verb}"
    for allowed in some:
        its_host = rules.split_origin(allowed)[1]
        if its_host == f"*.{host}":
            return f"{shown} is not allowed; {allowed} is: that covers its subdomains, not itself"
        if host.endswith(f".{its_host}"):
            return f"{shown} is not allowed; {allowed} is: its subdomains are not"
        if rules.is_loopback(origin) and rules.is_loopback(allowed):
            return f"{shown} is not allowed; {allowed} is: to a browser they are two hosts"
    close = difflib.get_close_matches(origin, some, n=1)
    if close:
        return f"{shown} is not allowed; {close[0]} is: the host differs"
    more = f" and {len(policy.origins) - 3} more" if len(policy.origins) > 3 else ""
    return f"{shown} is not allowed; allowed are {', '.join(some[:3])}{more}"
