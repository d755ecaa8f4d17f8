"""The CORS policy: read from the config, checked, and given to flask-cors."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from typing import Any, TypeVar
from urllib.parse import unquote

from click import ClickException

from . import environment, rules
from .environment import SETTINGS
from .origins import compile_wildcards, credentials_problem
from .parse import PARSERS

# As Python and as JSON: the setting can be in a file, and in the environment.
EXAMPLE = '{"/api/public": {"origins": ["any"], "methods": ["GET"]}}'

# Fetch, section 2.2.1, "CORS-safelisted method": a browser sends these without asking first.
SAFELISTED_METHODS = ("GET", "HEAD", "POST")


class PolicyError(ClickException, ValueError):
    """The CORS settings are invalid.

    `problems` has one sentence for each problem, led by the name of its setting. As it is a
    ClickException, `flask` prints it without a traceback.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("the CORS settings are invalid:\n  " + "\n  ".join(problems))


@dataclass(frozen=True)
class Policy:
    """Which pages on other origins may do what with this API.

    `origins` holds exact origins and wildcards, or `*` alone; `max_age` is in seconds.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    supports_credentials: bool
    allow_headers: tuple[str, ...]
    expose_headers: tuple[str, ...]
    max_age: int
    protection: bool = True
    paths: "Mapping[str, Policy]" = field(default_factory=dict, hash=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Policy":
        """Make the policy from an app's config. Raises PolicyError with every problem."""
        parts = {name: config.get(f"CORS_{name.upper()}") for name in PARSERS}
        if parts["protection"] is None:
            parts["protection"] = True
        values, found = parse_parts(parts)
        policy = cls(**values)
        found += credentials_problems(policy)
        problems = [f"CORS_{name.upper()}: {problem}" for name, problem in found]
        paths, path_problems = parse_paths(policy, config.get("CORS_PATHS"))
        problems += path_problems + unknown_settings(config) + environment.problems()
        if problems:
            raise PolicyError(problems)
        return replace(policy, paths=paths)

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

    def example(self) -> str:
        """Return an origin that is allowed, such as one that the first wildcard stands for."""
        return self.origins[0].replace(":*", ":1").replace("*", "a")

    def flask_cors_options(self) -> dict[str, Any]:
        """Return the policy, that of its paths too, as keyword arguments for `flask_cors.CORS`."""
        if not self.paths:
            return self._options()
        resources = {rf"{re.escape(path)}(?:/|\Z)": part for path, part in self.paths.items()}
        return {
            "resources": {path: part._options() for path, part in resources.items()}
            | {"/": self._options()}
        }

    def _options(self) -> dict[str, Any]:
        # To flask-cors, a text with a bracket, a $ or a * in it is a pattern: give it those.
        literal = [exactly(origin) if "[" in origin else origin for origin in self._exact]
        return {
            "origins": "*" if self.is_public else [*literal, *filter(None, [self._wildcards])],
            "methods": list(self.methods),
            "supports_credentials": self.supports_credentials,
            "allow_headers": [exactly(name) for name in self.allow_headers],
            "expose_headers": list(self.expose_headers) or None,
            # As text, because flask-cors drops a 0; -1, "do not cache", is sent as 0.
            "max_age": str(max(self.max_age, 0)),
            # `*` goes on every response, so that no cache keeps one without it (Fetch, "CORS
            # protocol and HTTP caches"); an origin goes only to the page that asked.
            "send_wildcard": self.is_public,
            "always_send": self.is_public,
            # The middleware sends Vary, and sees errors as well.
            "vary_header": False,
            "intercept_exceptions": False,
        }

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


def exactly(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text) + r"\Z", re.IGNORECASE)


def unknown_settings(config: Mapping[str, Any]) -> list[str]:
    """Return a problem for each CORS_ setting that nothing reads."""
    return [
        f"{name}: write {closest(name, SETTINGS)}: there is no such setting"
        for name in config
        if name.startswith("CORS_") and name not in SETTINGS
    ]


def closest(name: Any, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.7)
    return close[0] if close else f"one of {', '.join(names)}"


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
            found.append((name, rules.read("header with credentials", header)[1]))
    return [(name, problem) for name, problem in found if problem is not None]


def parse_paths(policy: Policy, value: Any) -> tuple[dict[str, Policy], list[str]]:
    """Return the policies of paths, which inherit what they leave out, and all problems."""
    if value is None:
        return {}, []
    if not isinstance(value, dict):
        return {}, [f"CORS_PATHS: write {EXAMPLE}, not {value!r}: it has an entry for each path"]
    paths: dict[str, Policy] = {}
    problems = []
    for path, parts in value.items():
        found = path_problems(path, parts)
        if not found and path.rstrip("/") in paths:
            found = [f"remove it: {path.rstrip('/')} is there already"]
        elif not found:
            paths[path.rstrip("/")], found = parse_path(policy, parts)
        problems += [f"CORS_PATHS[{path!r}]: {problem}" for problem in found]
    return paths, problems


def path_problems(path: Any, parts: Any) -> list[str]:
    """Return what keeps an entry of CORS_PATHS from being read."""
    if not isinstance(path, str) or not path.startswith("/"):
        return ["write a path that starts with a slash, such as /api/public"]
    if not path.strip("/"):
        return ["change the policy itself: this path is the whole API"]
    if unquote(path) != path:
        return [f"write {unquote(path)}: paths are compared decoded"]
    if re.search(r"[<>{}*?#]|//|/\.\.?(?:/|\Z)", path):
        return ["write the start of a path, such as /api/public: it has no variables and no query"]
    if not isinstance(parts, dict):
        return [f'write a dict such as {{"methods": ["GET"]}}, not {parts!r}']
    return [
        f"write {closest(name, PARSERS)}, not {name!r}: no part of a policy is called so"
        for name in parts
        if name not in PARSERS
    ]


def parse_path(policy: Policy, parts: dict[str, Any]) -> tuple[Policy, list[str]]:
    values, found = parse_parts(parts)
    if values.get("origins") == ("*",):
        values.setdefault("supports_credentials", False)
    part = replace(policy, **values)
    found += credentials_problems(part)
    return part, [f"{name}: {problem}" for name, problem in found]


T = TypeVar("T")


def longest_prefix(paths: Mapping[str, T], path: str) -> T | None:
    """Return what is at the longest path that is this one or is above it, by whole segments."""
    depth = max(map(str.count, paths, repeat("/")), default=0)
    segments = path.split("/", depth + 1)[: depth + 1]
    above = ("/".join(segments[:end]) for end in range(len(segments), 1, -1))
    return next((paths[prefix] for prefix in above if prefix in paths), None)
