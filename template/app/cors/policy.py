"""The CORS policy: read from the config, checked, and given to flask-cors."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from click import ClickException

from . import environment, origins, rules
from .environment import SETTINGS

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
        problems.extend(environment.problems())
        problems.extend(credentials_problems(policy))
        if problems:
            raise PolicyError(problems)
        return policy

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

    def example(self) -> str:
        """Return an origin that is allowed, such as one that the first wildcard stands for."""
        return self.origins[0].replace(":*", ":1").replace("*", "a")

    def flask_cors_options(self) -> dict[str, Any]:
        """Return the policy as keyword arguments for `flask_cors.CORS`."""
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
    def _exact(self) -> frozenset[str]:
        return frozenset(origin for origin in self.origins if "*" not in origin)

    @cached_property
    def _wildcards(self) -> re.Pattern[str] | None:
        found = [origin for origin in self.origins if "*" in origin and origin != "*"]
        return origins.compile_wildcards(found) if found else None


def exactly(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text) + r"\Z", re.IGNORECASE)


def parse_list(
    value: Any, read: Callable[[str], tuple[str, str | None]], example: str
) -> tuple[tuple[str, ...], list[str]]:
    """Return the items of a list, or of a string separated by commas or spaces, and problems.

    The items are canonical. Repeated ones are dropped, in any case of their letters.
    """
    if isinstance(value, str):
        value = re.findall(r"""[^\s,]*[^\s,;"'][^\s,]*""", value)
    elif not isinstance(value, (list, tuple, type(None))):
        return (), [f"write {example}, not {rules.show(str(value))}: it is not a list or a text"]
    found: dict[str, str] = {}
    problems = []
    for item in value or ():
        if not isinstance(item, str):
            problems.append(f"write {example}, not {rules.show(str(item))}: it is not a text")
            continue
        canonical, problem = read(item)
        if problem is None:
            found.setdefault(canonical.lower(), canonical)
        else:
            problems.append(problem)
    return tuple(found.values()), problems


def parse_origins(value: Any) -> tuple[tuple[str, ...], list[str]]:
    found, problems = parse_list(value, origins.read_origin, "https://app.example.com")
    if not found and not problems:
        problems.append("write at least one origin, such as https://app.example.com")
    if "*" in found and len(found) > 1:
        problems.append("remove any, or the other origins: any stands for every origin")
    return found, problems


def parse_methods(value: Any) -> tuple[tuple[str, ...], list[str]]:
    found, problems = parse_list(value, lambda item: rules.read("method", item), "GET, POST")
    if not found and not problems:
        problems.append("write at least one method, such as GET")
    return found, problems


def parse_allow_headers(value: Any) -> tuple[tuple[str, ...], list[str]]:
    return parse_list(value, lambda item: rules.read("allowed header", item), "Content-Type")


def parse_expose_headers(value: Any) -> tuple[tuple[str, ...], list[str]]:
    return parse_list(value, lambda item: rules.read("exposed header", item), "X-Request-ID")


def parse_bool(value: Any) -> tuple[bool, list[str]]:
    if isinstance(value, bool):
        return value, []
    corrected = "true" if str(value).strip().lower() in ("true", "yes", "on", "1") else "false"
    return False, [f"write {corrected}, not {rules.show(str(value))}: it is either true or false"]


def parse_max_age(value: Any) -> tuple[int, list[str]]:
    """Return the seconds for which a browser may cache a preflight (Fetch, section 3.3.3)."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0, [f"write 600, not {rules.show(str(value))}: it is a whole number of seconds"]
    if not -1 <= value <= 86400:
        corrected = min(max(value, -1), 86400)
        return 0, [f"write {corrected}, not {value}: it is from -1 to 86400 seconds"]
    return value, []


def unknown_settings(config: Mapping[str, Any]) -> list[str]:
    """Return a problem for each CORS_ setting that nothing reads."""
    return [
        f"{name}: {instead_of(name)}: no such setting"
        for name in config
        if name.startswith("CORS_") and name not in SETTINGS
    ]


def instead_of(name: str) -> str:
    close = difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.7)
    return f"write {close[0]}" if close else f"write one of {', '.join(SETTINGS)}"


def credentials_problems(policy: Policy) -> list[str]:
    """Return what a policy with credentials must not allow (Fetch, section 3.3.5)."""
    if not policy.supports_credentials:
        return []
    found = [("CORS_ORIGINS", origins.credentials_problem(origin)) for origin in policy.origins]
    for setting, names in (
        ("CORS_ALLOW_HEADERS", policy.allow_headers),
        ("CORS_EXPOSE_HEADERS", policy.expose_headers),
    ):
        found += [(setting, rules.read("header with credentials", name)[1]) for name in names]
    return [f"{setting}: {problem}" for setting, problem in found if problem is not None]
