"""The CORS policy: read from the config, checked, and compiled into what flask-cors takes."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask.cli import NoAppException

from app.cors import rules

SETTINGS = (
    "CORS_ORIGINS",
    "CORS_METHODS",
    "CORS_SUPPORTS_CREDENTIALS",
    "CORS_ALLOW_HEADERS",
    "CORS_EXPOSE_HEADERS",
    "CORS_MAX_AGE",
)


class PolicyError(NoAppException, ValueError):
    """A policy that browsers, or attackers, would not read as it was meant.

    `problems` holds one sentence for each problem found, led by its setting's name. Flask's
    commands print a NoAppException without a traceback.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(
            f"the CORS policy cannot be used:{lines}\n"
            "Each setting comes from app/settings.py unless the environment sets it, with the"
            " prefix FLASK_, or create_app is given it."
        )


@dataclass(frozen=True)
class Policy:
    """Which pages, on other origins, may do what with this API.

    `origins` holds exact origins and wildcards, or `*` alone; `max_age` is in seconds.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    supports_credentials: bool
    allow_headers: tuple[str, ...]
    expose_headers: tuple[str, ...]
    max_age: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Policy":
        """Make the policy from an app's config. Raises PolicyError with every problem."""
        problems: list[str] = []

        def read(name: str, parse: Callable[[Any], tuple[Any, list[str]]]) -> Any:
            value, found = parse(config.get(name))
            problems.extend(f"{name}: {problem}" for problem in found)
            return value

        policy = cls(
            origins=read("CORS_ORIGINS", parse_origins),
            methods=read("CORS_METHODS", parse_methods),
            supports_credentials=read("CORS_SUPPORTS_CREDENTIALS", parse_bool),
            allow_headers=read("CORS_ALLOW_HEADERS", parse_allow_headers),
            expose_headers=read("CORS_EXPOSE_HEADERS", parse_expose_headers),
            max_age=read("CORS_MAX_AGE", parse_max_age),
        )
        problems.extend(unknown_settings(config))
        problems.extend(credentials_problems(policy))
        if problems:
            raise PolicyError(problems)
        return policy

    @property
    def is_public(self) -> bool:
        """Whether pages on every origin are allowed."""
        return self.origins == ("*",)

    def allows(self, origin: str) -> bool:
        """Return whether a page on this origin may read the API's answers."""
        return self.is_public or self._pattern.match(origin) is not None

    def flask_cors_options(self) -> dict[str, Any]:
        """Return the policy as keyword arguments for `flask_cors.CORS`."""
        return {
            "origins": "*" if self.is_public else self._pattern,
            "methods": list(self.methods),
            "supports_credentials": self.supports_credentials,
            # As patterns, since flask-cors takes a name with a $ or a * in it for one.
            "allow_headers": [
                re.compile(re.escape(name) + r"\Z", re.IGNORECASE) for name in self.allow_headers
            ],
            "expose_headers": list(self.expose_headers) or None,
            # As text, since flask-cors leaves out a 0; -1, "do not cache", is sent as 0.
            "max_age": str(max(self.max_age, 0)),
            # A `*` goes on every response, so that no cache keeps one without it (Fetch, "CORS
            # protocol and HTTP caches"); an origin only goes to the page that asked.
            "send_wildcard": self.is_public,
            "always_send": self.is_public,
            # app/cors/middleware.py keeps Vary, and app/errors.py makes every error a response.
            "vary_header": False,
            "intercept_exceptions": False,
        }

    @cached_property
    def _pattern(self) -> "re.Pattern[str]":
        return compile_origins(self.origins)


def parse_items(value: Any, example: str) -> tuple[list[str], list[str]]:
    """Return the items of a list, or of one string separated by commas or spaces, and problems."""
    if isinstance(value, str):
        return [item for item in re.split(r"[\s,]+", value) if item], []
    if value is None:
        return [], []
    if not isinstance(value, (list, tuple)):
        return [], [f"{rules.show(str(value))}: is neither a list nor text: write {example}"]
    items = [item for item in value if isinstance(item, str)]
    odd = [rules.show(str(item)) for item in value if not isinstance(item, str)]
    return items, [f"{item}: is not text: write {example}" for item in odd]


def parse_origins(value: Any) -> tuple[tuple[str, ...], list[str]]:
    """Return the origins, `any` as `*`, and what is wrong with them."""
    items, problems = parse_items(value, "https://app.example.com")
    if len(items) == 1 and items[0] in rules.EVERY and not problems:
        return ("*",), []
    if not items and not problems:
        problems.append("is empty: name at least one origin, such as https://app.example.com")
    valid: dict[str, None] = {}
    for item in items:
        if problem := rules.origin_problem(item):
            problems.append(problem)
        elif item in valid:
            problems.append(f"{item}: is listed twice: leave one out")
        else:
            valid[item] = None
    wildcards = frozenset(item for item in valid if "*" in item)
    for item in valid:
        if wildcard := rules.covering_wildcard(item, wildcards):
            problems.append(f"{item}: is covered by {wildcard}: leave it out")
    return tuple(valid), problems


def parse_methods(value: Any) -> tuple[tuple[str, ...], list[str]]:
    """Return the methods and what is wrong with them."""
    items, problems = parse_items(value, "GET, POST")
    if not items and not problems:
        problems.append("is empty: name at least one method, such as GET")
    return distinct(items, problems, rules.method_problem)


def parse_allow_headers(value: Any) -> tuple[tuple[str, ...], list[str]]:
    """Return the request headers a page may set, `any` as `*`, and what is wrong with them."""
    items, problems = parse_items(value, "Content-Type, Authorization")
    return distinct(any_as_star(items), problems, rules.request_header_problem)


def parse_expose_headers(value: Any) -> tuple[tuple[str, ...], list[str]]:
    """Return the response headers a page may read, `any` as `*`, and what is wrong with them."""
    items, problems = parse_items(value, "X-Request-ID, ETag")
    return distinct(any_as_star(items), problems, rules.exposed_header_problem)


def any_as_star(items: list[str]) -> list[str]:
    return ["*" if item in rules.EVERY else item for item in items]


def distinct(
    items: list[str], problems: list[str], check: Callable[[str], str | None]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the items and all their problems, names repeated in any case among them."""
    seen: set[str] = set()
    for item in items:
        if problem := check(item):
            problems.append(problem)
        elif item.lower() in seen:
            problems.append(f"{item}: is listed twice: leave one out")
        else:
            seen.add(item.lower())
    return tuple(items), problems


def parse_bool(value: Any) -> tuple[bool, list[str]]:
    if isinstance(value, bool):
        return value, []
    corrected = "true" if str(value).strip().lower() in ("true", "yes", "on", "1") else "false"
    return False, [f"{value!r}: must be true or false: {corrected}"]


def parse_max_age(value: Any) -> tuple[int, list[str]]:
    """Return the seconds that a browser may remember a preflight (Fetch, section 3.3.3)."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0, [f"{value!r}: must be a whole number of seconds: 600"]
    if not -1 <= value <= 86400:
        return 0, [f"{value}: must be from -1 to 86400 seconds: {min(max(value, -1), 86400)}"]
    return value, []


def unknown_settings(config: Mapping[str, Any]) -> list[str]:
    """Return a problem for each CORS_ setting that nothing here reads."""
    problems = []
    for name in config:
        if name.startswith("CORS_") and name not in SETTINGS:
            meant = rules.closest(name, list(SETTINGS))
            mend = f": {meant}" if meant else f", which are {', '.join(SETTINGS)}"
            problems.append(f"{name}: is not one of the policy's settings{mend}")
    return problems


def credentials_problems(policy: Policy) -> list[str]:
    """Return what a policy with credentials must not say (Fetch, section 3.3.5)."""
    if not policy.supports_credentials:
        return []
    problems = []
    if policy.is_public:
        problems.append(
            "CORS_ORIGINS: with credentials, every site could act as the user who visits it:"
            " list the origins, or set CORS_SUPPORTS_CREDENTIALS to false"
        )
    for origin in policy.origins:
        if origin.startswith("http://") and not rules.is_loopback(origin):
            problems.append(
                f"CORS_ORIGINS: {origin}: with credentials, anyone on the network could act as"
                f" the user: {rules.to_https(origin)}"
            )
    for name in ("allow_headers", "expose_headers"):
        if "*" in getattr(policy, name):
            problems.append(
                f"CORS_{name.upper()}: *: with credentials, browsers read it as a header called"
                " *: name the headers"
            )
    return problems


# https://, a host of 253 characters and :65535 are 267; what is longer is not read any further.
NOT_TOO_LONG = "(?!.{268})"
ANY_SUBDOMAIN = r"(?:[a-z0-9-]{1,63}\.)+"
ANY_PORT = r"(?::(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3}))?"


def compile_origins(origins: tuple[str, ...]) -> "re.Pattern[str]":
    """Return one pattern that matches the whole of each allowed `Origin` and nothing else.

    Origins that begin alike share a branch, so matching takes the same time for one origin
    as for thousands.
    """
    parts = [pattern_parts(origin) for origin in origins]
    return re.compile(NOT_TOO_LONG + branch(parts) + r"\Z", re.ASCII)


def pattern_parts(origin: str) -> list[str]:
    """Return an origin as pieces of a pattern: one a character, and one a wildcard."""
    scheme, host, port = rules.split_origin(origin)
    subdomain, exact = ([ANY_SUBDOMAIN], host[2:]) if host.startswith("*.") else ([], host)
    end = [ANY_PORT] if port == "*" else [*f":{port}"] if port else []
    return [*map(re.escape, f"{scheme}://"), *subdomain, *map(re.escape, exact), *end]


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
