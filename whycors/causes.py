"""Why the policy does not allow a request, and what to change so that it does."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from .browser import (
    Block,
    Exchange,
    Outcome,
    PageRequest,
    Response,
    is_loopback_url,
    normalize_method,
    page_headers,
    preflight_headers,
    unsafe_header_names,
)
from .origins import is_for_development, nearest, shown
from .policies import (
    PARSERS,
    REFUSED,
    Policy,
    PolicyError,
    checked,
    longest_prefix,
    parts_of,
    policy_of,
)

if TYPE_CHECKING:
    from flask import Flask

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

# The part of the policy that a browser's verdict is about. Others are not the policy's doing.
PARTS = {
    Block.NO_ALLOW_ORIGIN: "origins",
    Block.OTHER_ALLOW_ORIGIN: "origins",
    Block.WILDCARD_WITH_CREDENTIALS: "supports_credentials",
    Block.NO_ALLOW_CREDENTIALS: "supports_credentials",
    Block.METHOD: "methods",
    Block.PREFLIGHT_STATUS: "methods",
    Block.HEADER: "allow_headers",
}

# What a part of the policy lacks: items of a list, or True.
Lacks = dict[str, Any]


@dataclass(frozen=True)
class Advice:
    """Why a request is blocked or refused, and what would allow it.

    `also` holds the other reasons, if there are several; the changes are for all of them.
    `first` says which variables override the answers. `command` changes the answers for good.
    Where a path has a policy of its own, `line` does, at the end of app/settings.py. `variable`
    is for the environment of one deployment. Those that would not help are empty.
    """

    reason: str
    also: tuple[str, ...] = ()
    first: str = ""
    command: str = ""
    line: str = ""
    variable: str = ""

    @property
    def reasons(self) -> str:
        return ". Also: ".join((self.reason, *self.also))


@dataclass(frozen=True)
class Cause:
    """One reason why the policy does not allow a request, and what `part` of it lacks."""

    reason: str
    part: str
    lacks: Any = ()


@dataclass(frozen=True)
class InForce:
    """The policy that a path goes by, and where it is set.

    `path` is the entry of CORS_PATHS, as it is written there, or empty for the whole API's
    policy. `paths` is CORS_PATHS. `answered` is the whole policy but for the environment's part
    in it. `is_deployed` is whether the URL is of another machine than this.
    """

    policy: Policy
    whole: Policy
    answered: Policy
    path: str
    paths: Mapping[str, Any]
    is_deployed: bool

    @property
    def name(self) -> str:
        return f"the policy of {self.path}" if self.path else "the policy"


def policy_for(app: "Flask", url: str) -> Policy:
    """Return the policy that the path of a URL goes by."""
    return policy_of(app).for_path(path_of(url))


def path_of(url: str) -> str:
    return "/" + unquote(urlsplit(url).path).lstrip("/")  # as Flask routes it


def in_force(app: "Flask", url: str) -> InForce:
    """Return the policy that the path of a URL goes by, and where it is set."""
    whole = policy_of(app)
    path = path_of(url)
    paths = app.config.get("CORS_PATHS") or {}
    written = {entry.rstrip("/"): entry for entry in paths}
    entries = {entry: written.get(entry, entry) for entry in whole.paths}
    return InForce(
        policy=whole.for_path(path),
        whole=whole,
        answered=without_environment(app, whole),
        path=longest_prefix(entries, path) or "",
        paths=paths,
        is_deployed=bool(urlsplit(url).netloc) and not is_loopback_url(url),
    )


def refusal(sent: Exchange, policy: Policy | None) -> str | None:
    """Return why the API refused a request, None if it did not."""
    if sent.response.status != 403:
        return None
    if sent.method == "HEAD" and policy:  # no body says why
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


def policy_advice(found: InForce, request: PageRequest, outcome: Outcome, refused: bool) -> Advice:
    """Return every reason why a request is not allowed, and what would allow it.

    `refused` is whether the API refused the request.
    """
    parts = {cause.part for cause in policy_causes(found.policy, request, found)}
    part = PARTS.get(outcome.verdict.block) if outcome.verdict.block else None
    known = bool(parts & {"origins", "methods"}) if refused else part in parts
    other = [] if known else [other_cause(found, request, outcome, refused)]
    return causes_and_change(found, request, other)


def advice_here(app: "Flask", url: str, request: PageRequest) -> Advice | None:
    """Return why the policy of an app does not allow a request, None if it does.

    Nothing is sent, and no code of the app runs.
    """
    found = in_force(app, url)
    blocks = any(policy_causes(found.policy, request, found))
    return causes_and_change(found, request, []) if blocks else None


def causes_and_change(found: InForce, request: PageRequest, other: list[str]) -> Advice:
    """Return the policy's reasons after the other ones, and what gives it all that it lacks."""

    def lacks(policy: Policy) -> Lacks:
        found_here = policy_causes(policy, request, found)
        return {cause.part: cause.lacks for cause in found_here if cause.lacks}

    causes = policy_causes(found.policy, request, found)
    return change(found, [*other, *(cause.reason for cause in causes)], lacks)


def policy_causes(policy: Policy, request: PageRequest, found: InForce) -> Iterator[Cause]:
    """Yield each reason why a policy does not allow a request."""
    if not policy.allows(request.origin):
        close = nearest(policy.origins, found.name, request.origin)
        reason = f"{shown(request.origin)} is not allowed{close}"
        yield Cause(reason, "origins", [request.origin])
    method = normalize_method(request.method)
    asks = preflight_headers(request) is not None
    if (asks or policy.protection) and not policy.allows_method(method):
        if method.upper() in policy.methods:
            reason = (
                f"the page must write {method.upper()}, not {method}: browsers send this method as"
                " the page writes it"
            )
            yield Cause(reason, "methods")
        else:
            allowed = ", ".join(policy.methods)
            reason = f"{shown(method)} is not allowed; {found.name} allows {allowed}"
            yield Cause(reason, "methods", [method])
    names = unsafe_header_names(page_headers(request))
    if missing := [name for name in names if not policy.allows_header(name)]:
        where = f" by {found.name}" if found.path else ""
        listed = ", ".join(map(shown, missing))
        what = f"header {listed} is" if len(missing) == 1 else f"headers {listed} are"
        yield Cause(f"the {what} not allowed{where}", "allow_headers", missing)
    if request.credentials and not policy.supports_credentials:
        reason = f"the request sends credentials; {found.name} forbids them"
        yield Cause(reason, "supports_credentials", True)


def other_cause(found: InForce, request: PageRequest, outcome: Outcome, refused: bool) -> str:
    """Return why a request is not allowed where the policy is not the cause."""
    block, value = outcome.verdict.block, shown(outcome.verdict.found)
    if block is Block.MIXED_CONTENT:
        if outcome.exchanges:
            return f"{outcome.exchanges[-1].url} redirects to plain http: redirect to https"
        return f"the page is on https: have it call https{value.removeprefix('http')}"
    if block is Block.TOO_MANY_REDIRECTS:
        return "the redirects form a loop: end it"
    if block is Block.REDIRECT_URL:
        return f"no cross-origin request may go to {value}: correct the Location header"
    if lost := lost_origin(request, outcome):
        return lost
    if refused:
        return f"{found.name} allows this request, but not as it is after the redirect"
    return (
        "the policy allows this request, but other code in the app changes its CORS headers: find"
        " that code and remove it"
    )


def lost_origin(request: PageRequest, outcome: Outcome) -> str | None:
    """Return what to do about a redirect after which a browser hides the page's origin."""
    last = outcome.exchanges[-1]
    if ("Origin", request.origin) in last.headers:
        return None
    return (
        f"{outcome.exchanges[0].url} redirects to another origin, so a browser sends"
        f" Origin: null, which no API should allow: have the page call {last.url} directly"
    )


def change(found: InForce, reasons: list[str], lacks: Callable[[Policy], Lacks]) -> Advice:
    """Return the reasons, and what gives a policy what it lacks, if it may have it.

    `lacks` returns what a policy lacks: where a variable overrides the answers, these may lack
    something else. For a path with a policy of its own, the whole API's policy stays as it is.
    """
    lacking = lacks(found.policy)
    values = with_lacking(found.policy, lacking)
    if problems := rejected(found, values):
        cannot = f"the policy cannot allow it: {'; '.join(problems)}"
        if len(reasons) == 1:
            return Advice(f"{reasons[0]}; {cannot}")
        return Advice(reasons[0], (*reasons[1:], cannot))
    if not lacking:
        return Advice(reasons[0], tuple(reasons[1:]))
    if found.is_deployed and "origins" in values:
        values["origins"] = [
            origin
            for origin in values["origins"]
            if origin in lacking["origins"] or not is_for_development(origin)
        ]
    ways = change_of_path if found.path else change_of_whole
    answered = found.answered.for_path(found.path)
    for_good = with_lacking(answered, lacks(answered))
    return replace(ways(found, values, for_good), reason=reasons[0], also=tuple(reasons[1:]))


def with_lacking(policy: Policy, lacking: Lacks) -> dict[str, Any]:
    """Return the parts of a policy that lack something, with it."""
    return {
        part: more if more is True else [*getattr(policy, part), *more]
        for part, more in lacking.items()
    }


def rejected(found: InForce, values: dict[str, Any]) -> list[str]:
    """Return why the policy may not have new values."""
    parts = parts_of(found.whole)
    try:
        if found.path:
            checked(parts, with_path(found, values))
        else:
            checked({**parts, **values}, found.paths)
    except PolicyError as error:
        return error.problems
    return []


def with_path(found: InForce, values: dict[str, Any]) -> dict[str, Any]:
    return {**found.paths, found.path: {**found.paths.get(found.path, {}), **values}}


def change_of_path(found: InForce, values: dict[str, Any], for_good: dict[str, Any]) -> Advice:
    """Return what gives a path's policy new values, in one deployment and for good."""
    variable = "FLASK_CORS_PATHS"
    here = f"{variable}={shlex.quote(json.dumps(with_path(found, values)))}"
    if variable in os.environ:
        first = f"change {variable} ({environment_of(variable)}), which overrides app/settings.py"
        return Advice("", first=first, variable=here)
    entry = f"CORS_PATHS[{as_python(found.path)}]"
    parts = [f"{as_python(part)}: {as_python(value)}" for part, value in for_good.items()]
    line = f"{entry} |= {{{', '.join(parts)}}}"
    if len(for_good) == 1:
        ((part, value),) = for_good.items()
        line = f"{entry}[{as_python(part)}] = {as_python(value)}"
    return Advice("", line=line if for_good else "", variable=here)


def as_python(value: Any) -> str:
    return str(value) if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)


def change_of_whole(found: InForce, values: dict[str, Any], for_good: dict[str, Any]) -> Advice:
    """Return what gives the whole API's policy new values, in one deployment and for good."""
    overriding = [name for part in values if (name := variable_of(found.whole, part))]
    names = " and ".join(f"{name} ({environment_of(name)})" for name in overriding)
    overrides = "overrides" if len(overriding) == 1 else "override"
    already = "" if for_good else ": they allow this"
    first = f"remove {names}, which {overrides} the answers{already}"
    return Advice(
        "",
        first=first if overriding else "",
        command=copier_command(for_good),
        variable=" ".join(
            f"FLASK_CORS_{part.upper()}={shlex.quote(as_text(value))}"
            for part, value in values.items()
        ),
    )


def copier_command(values: dict[str, Any]) -> str:
    """Return the command that changes these answers, empty if none does."""
    if not values or not set(values.get("methods", ())) <= set(METHODS):
        return ""
    answers = []
    for part, value in values.items():
        # Copier reads answers as YAML, in which a * at the start means something else, and takes
        # the methods only as a list.
        text = re.sub(r"^[*](?=,|$)", "any", as_text(value))
        answers.append(f"{QUESTIONS[part]}={f'[{text}]' if part == 'methods' else text}")
    given = " ".join(f"-d {shlex.quote(answer)}" for answer in answers)
    return f"uvx copier update --vcs-ref=:current: --defaults {given}"


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else ", ".join(value)


# Where settings come from.


# The settings that are shown beside the policy, and what the app takes where they are not set.
SHOWN = {
    "PROXIES": 0,
    "TRUSTED_HOSTS": None,
    "SECRET_KEY": None,
    "MAX_CONTENT_LENGTH": None,
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
}


def settings_in(name: str) -> dict[str, Any]:
    """Return the settings in a module of the project, none if it has no such module."""
    try:
        module = import_module(name)
    except ImportError:
        return {}
    return {key: value for key, value in vars(module).items() if key.isupper()}


def source(app: "Flask", name: str) -> str:
    """Return where a setting was set; the later source wins, as in `create_app`."""
    value = app.config.get(name)
    variable = f"FLASK_{name}"
    if variable in os.environ and value == as_app_reads(name, os.environ[variable]):
        return f"{environment_of(variable)}, {variable}"
    for module in ("app.settings", "app.answers"):
        settings = settings_in(module)
        if name in settings and value == settings[name]:
            return f"{module.replace('.', '/')}.py"
    if name not in app.config or value == SHOWN.get(name, ...):
        return "default"
    # The entry point of `flask` in projects of 3.0.0.
    return "dev.py" if name.startswith("SESSION_") and "dev" in sys.modules else "create_app"


def environment_of(variable: str) -> str:
    """Return where a variable that is set was set: in one of the files that `flask` reads?"""
    with suppress(ImportError):
        from dotenv import dotenv_values, find_dotenv

        for name in (".env", ".flaskenv"):
            path = find_dotenv(name, usecwd=True)
            if path and dotenv_values(path).get(variable) == os.environ[variable]:
                return name
    return "environment"


def as_app_reads(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    is_list = name == "TRUSTED_HOSTS" and isinstance(value, str)
    return value.replace(",", " ").split() if is_list else value


def variable_of(policy: Policy, part: str) -> str | None:
    """Return the variable that sets a part of the policy in force, None if none does."""
    variable = f"FLASK_CORS_{part.upper()}"
    if variable not in os.environ:
        return None
    value, _ = PARSERS[part](as_app_reads(f"CORS_{part.upper()}", os.environ[variable]))
    return variable if value == getattr(policy, part) else None


def without_environment(app: "Flask", policy: Policy) -> Policy:
    """Return the policy as it is where no variable overrides the answers."""
    if not (answers := settings_in("app.answers")):
        return policy
    parts = parts_of(policy)
    for part in PARSERS:
        if variable_of(policy, part):
            parts[part] = answers.get(f"CORS_{part.upper()}", True)
    with suppress(PolicyError):  # the answers may not fit CORS_PATHS
        return checked(parts, app.config.get("CORS_PATHS"))
    return policy
