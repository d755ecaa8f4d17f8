"""The CORS policy that an app goes by, and what a changed one may not allow.

It is read from `app.extensions["cors_policy"]`, by names that every version of the template's
policy has from 3.0.0 on: whatever its class is, a newer tool serves an older project.
"""

import os
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .origins import compile_wildcards, credentials_problem, read_item, read_origin, shown

if TYPE_CHECKING:
    from flask import Flask
    from flask.cli import ScriptInfo

# The title of the API's refusals. The detail is the reason.
REFUSED = "Refused by the CORS policy"

# RFC 9110, section 9.2.1: these change nothing. TRACE is no method for an API.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def parse_list(
    value: Any, read: Callable[[str], tuple[str, str | None]], example: str
) -> tuple[tuple[str, ...], list[str]]:
    """Return the items of a list, or of a string separated by commas or spaces, and problems.

    The items are canonical. Repeated ones are dropped, in any case of their letters.
    """
    if isinstance(value, str):
        value = re.findall(r"""[^\s,]*[^\s,;"'][^\s,]*""", value)
    elif not isinstance(value, (list, tuple, type(None))):
        return (), [f"write {example}, not {shown(str(value))}: it is not a list or a text"]
    found: dict[str, str] = {}
    problems = []
    for item in value or ():
        if not isinstance(item, str):
            problems.append(f"write {example}, not {shown(str(item))}: it is not a text")
            continue
        canonical, problem = read(item)
        if problem is None:
            found.setdefault(canonical.lower(), canonical)
        else:
            problems.append(problem)
    return tuple(found.values()), problems


def parse_origins(value: Any) -> tuple[tuple[str, ...], list[str]]:
    found, problems = parse_list(value, read_origin, "https://app.example.com")
    if not found and not problems:
        problems.append("write at least one origin, such as https://app.example.com")
    if "*" in found and len(found) > 1:
        problems.append("write any alone, or remove it: it stands for every origin")
    return found, problems


def parse_methods(value: Any) -> tuple[tuple[str, ...], list[str]]:
    found, problems = parse_list(value, lambda item: read_item("method", item), "GET, POST")
    if not found and not problems:
        problems.append("write at least one method, such as GET")
    return found, problems


def parse_allow_headers(value: Any) -> tuple[tuple[str, ...], list[str]]:
    return parse_list(value, lambda item: read_item("allowed header", item), "Content-Type")


def parse_expose_headers(value: Any) -> tuple[tuple[str, ...], list[str]]:
    return parse_list(value, lambda item: read_item("exposed header", item), "X-Request-ID")


def parse_bool(value: Any) -> tuple[bool, list[str]]:
    if isinstance(value, bool):
        return value, []
    corrected = "true" if str(value).strip().lower() in ("true", "yes", "on", "1") else "false"
    return False, [f"write {corrected}, not {shown(str(value))}: it is either true or false"]


def parse_max_age(value: Any) -> tuple[int, list[str]]:
    """Return the seconds for which a browser may cache a preflight (Fetch, section 3.3.3)."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0, [f"write 600, not {shown(str(value))}: it is a whole number of seconds"]
    if not -1 <= value <= 86400:
        corrected = min(max(value, -1), 86400)
        return 0, [f"write {corrected}, not {value}: it is from -1 to 86400 seconds"]
    return value, []


# The parts of a policy. As settings they are called CORS_ORIGINS and so on.
PARSERS: dict[str, Callable[[Any], tuple[Any, list[str]]]] = {
    "origins": parse_origins,
    "methods": parse_methods,
    "supports_credentials": parse_bool,
    "allow_headers": parse_allow_headers,
    "expose_headers": parse_expose_headers,
    "max_age": parse_max_age,
    "protection": parse_bool,
}


class PolicyError(ValueError):
    """No policy may be so; `problems` has a sentence for each cause, led by its setting's name."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True)
class Policy:
    """Which pages on other origins may do what with an API.

    `origins` holds exact origins and wildcards, or `*` alone; `max_age` is in seconds.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    supports_credentials: bool
    allow_headers: tuple[str, ...]
    expose_headers: tuple[str, ...]
    max_age: int
    protection: bool = True
    paths: "Mapping[str, Policy]" = field(default_factory=dict)

    @cached_property
    def is_public(self) -> bool:
        """Whether pages on every origin are allowed."""
        return self.origins == ("*",)

    def allows(self, origin: str) -> bool:
        """Return whether a page on this origin may read the API's answers."""
        return (
            origin in self._exact
            or (self._wildcards is not None and self._wildcards.match(origin) is not None)
            or self.is_public
        )

    def allows_method(self, method: str) -> bool:
        """Return whether an allowed page may use a method. What GET may, HEAD may."""
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def allows_header(self, name: str) -> bool:
        """Return whether a preflight for a header, in lower case, is answered with yes.

        A `*` does not stand for Authorization (Fetch, section 2.2.2).
        """
        names = self._header_names
        return name in names or ("*" in names and name != "authorization")

    def for_path(self, path: str) -> "Policy":
        """Return the policy of a path: that of the longest prefix in `paths`, or this one."""
        return longest_prefix(self.paths, path) or self

    @cached_property
    def _header_names(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self.allow_headers)

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(origin for origin in self.origins if "*" not in origin)

    @cached_property
    def _wildcards(self) -> re.Pattern[str] | None:
        found = [origin for origin in self.origins if "*" in origin and origin != "*"]
        return compile_wildcards(found) if found else None


class NoPolicy(click.ClickException):
    """There is no policy here to go by. The message says what to do."""


def policy_of(app: "Flask") -> Policy:
    """Return the policy of an app. Raises NoPolicy if it has none that can be read."""
    found = app.extensions.get("cors_policy")
    if found is None:
        raise NoPolicy(
            "run this for a project of the template, or name its app with --app: the app"
            f' {shown(app.import_name)} has no app.extensions["cors_policy"]'
        )
    unread = [name for name in (*PARSERS, "paths") if not hasattr(found, name)]
    if unread:
        raise NoPolicy(
            "install this again, by the address in .copier-answers.yml: this version cannot read"
            f' {", ".join(unread)} of app.extensions["cors_policy"]'
        )
    paths = {path: Policy(**parts_of(own)) for path, own in found.paths.items()}
    return Policy(**parts_of(found), paths=paths)


def parts_of(policy: Any) -> dict[str, Any]:
    return {part: getattr(policy, part) for part in PARSERS}


def checked(parts: Mapping[str, Any], paths: Mapping[str, Any] | None = None) -> Policy:
    """Return the policy of these parts and of CORS_PATHS. Raises PolicyError."""
    values, found = parse_parts(parts)
    policy = Policy(**values)
    found += credentials_problems(policy)
    problems = [f"CORS_{name.upper()}: {problem}" for name, problem in found]
    own = {}
    for path, entry in (paths or {}).items():
        values, found = parse_parts(entry)
        if values.get("origins") == ("*",):
            values.setdefault("supports_credentials", False)
        own[path.rstrip("/")] = part = replace(policy, **values)
        found += credentials_problems(part)
        problems += [f"CORS_PATHS[{path!r}]: {name}: {problem}" for name, problem in found]
    if problems:
        raise PolicyError(problems)
    return replace(policy, paths=own)


def parse_parts(parts: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the value of each part of a policy, and each problem with the name of its part."""
    read = {name: PARSERS[name](value) for name, value in parts.items()}
    values = {name: value for name, (value, _) in read.items()}
    return values, [(name, problem) for name, (_, found) in read.items() for problem in found]


def credentials_problems(policy: Policy) -> list[tuple[str, str]]:
    """Return what a policy with credentials must not allow (Fetch, section 3.3.5)."""
    if not policy.supports_credentials:
        return []
    found = [("origins", credentials_problem(origin)) for origin in policy.origins]
    for name in ("allow_headers", "expose_headers"):
        for header in getattr(policy, name):
            found.append((name, read_item("header with credentials", header)[1]))
    return [(name, problem) for name, problem in found if problem is not None]


T = TypeVar("T")


def longest_prefix(paths: Mapping[str, T], path: str) -> T | None:
    """Return what is at the longest path that is this one or is above it, by whole segments."""
    depth = max(map(str.count, paths, repeat("/")), default=0)
    segments = path.split("/", depth + 1)[: depth + 1]
    above = ("/".join(segments[:end]) for end in range(len(segments), 1, -1))
    return next((paths[prefix] for prefix in above if prefix in paths), None)


# Which app it is.


def app_option(command: click.decorators.FC) -> click.decorators.FC:
    """Add --app to a command."""
    return click.option(
        "--app",
        metavar="MODULE:NAME",
        expose_value=False,
        callback=name_app,
        help="The Flask app. By default, it is found as `flask` finds it.",
    )(command)


def name_app(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj = info_of(value)


def info_of(path: str | None) -> "ScriptInfo":
    """Return what loads the app at an import path, or at the one that Flask finds."""
    try:
        from flask.cli import ScriptInfo, load_dotenv
    except ImportError:
        raise NoPolicy("run this where the app's packages are: Flask is not here") from None
    load_dotenv()
    os.environ["FLASK_RUN_FROM_CLI"] = "true"  # so that an app.run() does nothing
    return ScriptInfo(app_import_path=path or os.environ.get("FLASK_APP"))


def load_app(context: click.Context) -> "Flask":
    """Return the app of a command. Raises NoPolicy, or ClickException if it cannot start."""
    info = context.obj or info_of(None)
    from flask.cli import FlaskGroup, NoAppException

    try:
        with click.Context(FlaskGroup()):  # to the app, it is a command of `flask`
            app: Flask = info.load_app()
    except NoAppException as error:
        first, *rest = error.format_message().splitlines()
        why = f"{first} {rest[-1]}" if rest else first
        raise NoPolicy(
            "name the app with --app MODULE:NAME, or run this in its folder and with its packages:"
            f" {why}"
        ) from None
    except click.ClickException:
        raise
    except Exception as error:  # noqa: BLE001
        raise click.ClickException(f"the app cannot start: {in_one_line(error)}") from None
    return app


def in_one_line(error: Exception) -> str:
    """Return what an error says, and the line of the project where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    here = [frame for frame in frames if frame.filename.startswith(f"{Path.cwd()}/")]
    place = (here or frames)[-1]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} ({os.path.relpath(place.filename)}:{place.lineno})"
