"""Why the policy does not allow a request, and what to change so that it does."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from flask import Flask

from app.cors import Policy, PolicyError, rules
from app.cors.middleware import REFUSED
from app.cors.parse import PARSERS
from app.cors.policy import longest_prefix

from .browser import Block, Exchange, PageRequest, Response, Verdict, normalize_method
from .nearest import nearest

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


@dataclass(frozen=True)
class Advice:
    """Why a request is blocked or refused, and what would allow it.

    `command` changes an answer for good. Where a path has a policy of its own, `line` does, at
    the end of app/settings.py. `variable` is for the environment of one deployment. Those that
    would not help are empty.
    """

    reason: str
    command: str = ""
    line: str = ""
    variable: str = ""


@dataclass(frozen=True)
class InForce:
    """The policy that a path goes by, and where it is set.

    `path` is the entry of CORS_PATHS, as it is written there, or empty for the whole API's
    policy. `paths` is CORS_PATHS.
    """

    policy: Policy
    whole: Policy
    path: str
    paths: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"the policy of {self.path}" if self.path else "the policy"


def in_force(app: Flask, url: str) -> InForce:
    """Return the policy that the path of a URL goes by."""
    whole: Policy = app.extensions["cors_policy"]
    path = unquote(urlsplit(url).path, errors="replace")
    paths = app.config.get("CORS_PATHS") or {}
    written = {entry.rstrip("/"): entry for entry in paths}
    entries = {entry: written.get(entry, entry) for entry in whole.paths}
    return InForce(whole.for_path(path), whole, longest_prefix(entries, path) or "", paths)


def refusal(sent: Exchange, policy: Policy) -> str | None:
    """Return why the API refused a request, None if it did not (app/cors/middleware.py)."""
    if sent.response.status != 403:
        return None
    if sent.method == "HEAD":  # no body says why
        allowed = policy.allows(dict(sent.headers)["Origin"])
        is_ours = policy.protection and allowed and not policy.allows_method("HEAD")
        return "the method is not allowed" if is_ours else None
    return refusal_in(sent.response)


def refusal_in(response: Response) -> str | None:
    """Return the reason in the body of a response, None if it is not the API's refusal."""
    try:
        problem = json.loads(response.body)
    except ValueError:
        return None
    is_ours = isinstance(problem, dict) and problem.get("title") == REFUSED
    return str(problem.get("detail")) if is_ours else None


def policy_advice(found: InForce, request: PageRequest, verdict: Verdict, refused: bool) -> Advice:
    """Return why the policy does not allow a request, and what would.

    `verdict` is the browser's, and `refused` is whether the API refused the request.
    """
    policy = found.policy
    method = normalize_method(request.method)
    if not policy.allows(request.origin):
        close = nearest(policy, found.name, request.origin)
        reason = f"{rules.show(request.origin)} is not allowed{close}"
        return advise_change(found, "origins", [*policy.origins, request.origin], reason)
    if (verdict.during_preflight or refused) and not policy.allows_method(method):
        if method.upper() in policy.methods:
            return Advice(
                f"the page must write {method.upper()}, not {method}: browsers send this method as"
                " the page writes it"
            )
        allowed = ", ".join(policy.methods)
        reason = f"{rules.show(method)} is not allowed; {found.name} allows {allowed}"
        return advise_change(found, "methods", [*policy.methods, method], reason)
    if verdict.block is Block.HEADER:
        where = f" by {found.name}" if found.path else ""
        reason = f"the header {rules.show(verdict.found)} is not allowed{where}"
        headers = [*policy.allow_headers, verdict.found]
        return advise_change(found, "allow_headers", headers, reason)
    if request.credentials and not policy.supports_credentials:
        reason = f"the request sends credentials; {found.name} forbids them"
        return advise_change(found, "supports_credentials", True, reason)
    if refused:
        return Advice(f"{found.name} allows this request, but not as it is after the redirect")
    return Advice(
        "the policy allows this request, but other code in the app changes its CORS headers: find"
        " that code and remove it"
    )


def advise_change(found: InForce, name: str, value: Any, reason: str) -> Advice:
    """Return what gives one part of a policy a new value, if it may have it.

    For a path with a policy of its own, the policy of the whole API stays as it is.
    """
    config = {f"CORS_{part.upper()}": getattr(found.whole, part) for part in PARSERS}
    if found.path:
        entry = {**found.paths.get(found.path, {}), name: value}
        change: dict[str, Any] = {"CORS_PATHS": {**found.paths, found.path: entry}}
    else:
        change = {f"CORS_{name.upper()}": value}
    try:
        Policy.from_config({**config, "CORS_PATHS": found.paths, **change})
    except PolicyError as error:
        return Advice(f"{reason}; the policy cannot allow it: {'; '.join(error.problems)}")
    if not found.path:
        return change_of_whole(name, value, reason)
    variable = f"FLASK_CORS_PATHS={shlex.quote(json.dumps(change['CORS_PATHS']))}"
    if "FLASK_CORS_PATHS" in os.environ:  # overrides app/settings.py
        return Advice(reason, variable=variable)
    written = str(value) if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)
    line = f"CORS_PATHS[{json.dumps(found.path, ensure_ascii=False)}][{json.dumps(name)}]"
    return Advice(reason, line=f"{line} = {written}", variable=variable)


def change_of_whole(name: str, value: Any, reason: str) -> Advice:
    """Return what gives one part of the whole API's policy a new value."""
    text = ", ".join(value) if isinstance(value, list) else str(value).lower()
    variable = f"FLASK_CORS_{name.upper()}={shlex.quote(text)}"
    if name == "methods":
        if not set(value) <= set(METHODS):
            return Advice(reason, variable=variable)
        text = f"[{text}]"  # Copier takes the methods only as a list
    # Copier reads answers as YAML, in which a * at the start means something else.
    answer = f"{QUESTIONS[name]}={re.sub(r'^[*](?=,|$)', 'any', text)}"
    command = f"copier update --vcs-ref=:current: --defaults -d {shlex.quote(answer)}"
    return Advice(reason, command=command, variable=variable)
