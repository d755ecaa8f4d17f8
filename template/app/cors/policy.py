"""The CORS policy: read from the settings, checked, and given to flask-cors."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from click import ClickException

from .origins import danger, pattern, read_origin, show

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PATH = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[^/<>{}*?#%]+)+/?")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2

Reader = Callable[[Any], Any]


class PolicyError(ClickException, ValueError):
    """A CORS setting is wrong, and what to write. `flask` prints it without a traceback."""


@dataclass(eq=False)
class Policy:
    """Which pages on other origins may do what with this API. Raises PolicyError.

    `origins` are exact, wildcards, or `*` alone; `max_age` is in seconds; `paths` are the policies
    of paths, the longest first; `path` is where this one applies.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    supports_credentials: bool
    allow_headers: tuple[str, ...]
    expose_headers: tuple[str, ...]
    max_age: int
    protection: bool = True
    paths: "Mapping[str, Policy]" = field(default_factory=dict)
    path: str = ""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Policy":
        """Make the policy from an app's config. Raises PolicyError at the first problem."""
        check_names(config)
        given = {part: config.get(setting(part)) for part in READERS}
        given["protection"] = config.get("CORS_PROTECTION", True)
        policy = cls(**read_parts(given))
        own = config.get("CORS_PATHS") or {}
        if not isinstance(own, dict):
            example = '{"/api/public": {"origins": ["any"], "methods": ["GET"]}}'
            raise PolicyError(f"CORS_PATHS: write {example}, not {show(own)}")
        paths = {read_path(path): policy.below(path, parts) for path, parts in own.items()}
        if len(paths) < len(own):
            raise PolicyError("CORS_PATHS: write each path once; a slash at its end is no other")
        longest_first = sorted(paths, key=len, reverse=True)
        return replace(policy, paths={path: paths[path] for path in longest_first})

    def below(self, path: str, parts: Any) -> "Policy":
        """Return the policy of a path: `parts`, and what they leave out from this one."""
        if not isinstance(parts, dict) or not READERS.keys() >= parts.keys():
            meant = f"a dict of some of {', '.join(READERS)}"
            raise PolicyError(f"CORS_PATHS[{path!r}]: write {meant}, not {show(parts)}")
        values = read_parts(parts, path)
        if values.get("origins") == ("*",):
            values.setdefault("supports_credentials", False)
        return replace(self, path=path, **values)

    def __post_init__(self) -> None:
        """Check what no part shows by itself (Fetch, section 3.3.5)."""
        self.is_public = self.origins == ("*",)
        self.exact = frozenset(origin for origin in self.origins if "*" not in origin)
        if "*" in self.origins and not self.is_public:
            raise self.wrong("origins", "write any alone, or remove it: it is every origin")
        self.wildcards = pattern([it for it in self.origins if "*" in it and it != "*"])
        if not self.supports_credentials:
            return
        for origin in self.origins:
            if who := danger(origin):
                raise self.wrong("origins", f"remove {origin}: with credentials, {who}")
        for part in ("allow_headers", "expose_headers"):
            if "*" in getattr(self, part):
                raise self.wrong(part, "write names: with credentials, * is no wildcard")

    def wrong(self, part: str, advice: str) -> PolicyError:
        return PolicyError(f"{setting(part, self.path)}: {advice}")

    def allows(self, origin: str | None) -> bool:
        """Return whether a page on this origin may read the API's answers."""
        if origin is None or self.is_public:
            return self.is_public
        return origin in self.exact or self.wildcards.match(origin) is not None

    def allows_method(self, method: str) -> bool:
        """Return whether an allowed page may use a method. What GET may, HEAD may."""
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def allows_header(self, name: str) -> bool:
        """Return whether it may set a header. `*` is not Authorization (Fetch, section 2.2.2)."""
        name, names = name.lower(), [allowed.lower() for allowed in self.allow_headers]
        return name in names or ("*" in names and name != "authorization")

    def flask_cors_options(self) -> dict[str, Any]:
        """Return the policy, that of its paths too, as keyword arguments for `flask_cors.CORS`."""
        if self.paths:
            each = {rf"{re.escape(path)}(?:/|\Z)": policy for path, policy in self.paths.items()}
            each["/"] = replace(self, paths={})
            return {"resources": {path: each[path].flask_cors_options() for path in each}}
        exact = [exactly(origin) if "[" in origin else origin for origin in self.exact]
        # To flask-cors, a text with a bracket, a $ or a * in it is a pattern: give it patterns.
        return {
            "origins": "*" if self.is_public else [*exact, self.wildcards],
            "methods": list(self.methods),
            "supports_credentials": self.supports_credentials,
            "allow_headers": [exactly(name) for name in self.allow_headers],
            "expose_headers": list(self.expose_headers) or None,
            # As text, because flask-cors drops a 0; -1, "do not cache", is sent as 0.
            "max_age": str(max(self.max_age, 0)),
            # On every response, so that no cache keeps one without it (Fetch, section 3.3.6).
            "send_wildcard": self.is_public,
            "always_send": self.is_public,
            # The gate sends Vary, and sees errors as well.
            "vary_header": False,
            "intercept_exceptions": False,
        }


def exactly(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text) + r"\Z", re.IGNORECASE)


def setting(part: str, path: str = "") -> str:
    """Return where a part of a policy is set."""
    return f"CORS_PATHS[{path!r}][{part!r}]" if path else f"CORS_{part.upper()}"


def check_names(config: Mapping[str, Any]) -> None:
    """Raise PolicyError for a variable or setting that is meant for the policy and misses it."""
    settings = [setting(part) for part in (*READERS, "paths")]
    variables = [f"FLASK_{name}" for name in settings]
    for name in sorted(os.environ):
        plain = re.sub("_+", "_", name.upper()).removeprefix("FLASK_")
        close = get_close_matches(f"FLASK_{plain}", variables, n=1, cutoff=0.8)
        if plain.startswith("CORS_") and close and name not in variables:
            raise PolicyError(f"write {close[0]}, not {name}: nothing reads that name")
    for name in config:
        if name.startswith("CORS_") and name not in settings:
            meant = get_close_matches(name, settings, cutoff=0)[0]
            raise PolicyError(f"write {meant}, not {name}: nothing reads that name")


def read_path(path: Any) -> str:
    """Return the start of paths without a slash at its end. Raises PolicyError."""
    if not isinstance(path, str) or not PATH.fullmatch(path):
        example = "the start of a path, decoded, such as /api/public"
        raise PolicyError(f"CORS_PATHS: write {example}, not {show(path)}")
    return path.rstrip("/")


# The parts of a policy. A reader returns the canonical form, or says what to write by ValueError.


def read_parts(given: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    values = {}
    for part, value in given.items():
        try:
            values[part] = READERS[part](value)
        except ValueError as problem:
            raise PolicyError(f"{setting(part, path)}: {problem}") from None
    return values


def read_list(read: Reader, example: str, needed: bool, value: Any) -> tuple[str, ...]:
    """Return the items of a list, or of a text separated by commas or spaces, each once."""
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    if items is None:
        items = []
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"write a list such as {example}, not {show(value)}")
    if needed and not items:
        raise ValueError(f"write at least one, such as {example}")
    found: dict[str, str] = {}
    for item in map(read, items):
        found.setdefault(item.lower(), item)
    return tuple(found.values())


def read_method(item: str) -> str:
    name = item.upper()
    if not TOKEN.fullmatch(name) or "*" in name or name == "ANY":
        raise ValueError(f"write methods by name, such as GET, POST, not {show(item)}")
    meant = get_close_matches(name, METHODS, 1, 0.66) if len(name) < 9 else []  # PROPPATCH is one
    if meant not in ([], [name]):
        raise ValueError(f"write {meant[0]}, not {show(item)}")
    return name


def read_header(item: str) -> str:
    if item.lower() in ("any", "*"):
        return "*"
    if item.lower() in ("content", "type"):  # a space separates names, as a comma does
        raise ValueError(f"write Content-Type with its hyphen, not {item}")
    if not TOKEN.fullmatch(item) or "*" in item:
        raise ValueError(f"write the name of a header, such as X-Request-ID, not {show(item)}")
    return item


def read_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"write true or false, not {show(value)}")
    return value


def read_seconds(value: Any) -> int:
    if type(value) is not int or not -1 <= value <= 86400:
        raise ValueError(f"write a number of seconds from -1 to 86400, not {show(value)}")
    return value


READERS: dict[str, Reader] = {
    "origins": partial(read_list, read_origin, "https://app.example.com", True),
    "methods": partial(read_list, read_method, "GET, POST", True),
    "supports_credentials": read_bool,
    "allow_headers": partial(read_list, read_header, "Content-Type", False),
    "expose_headers": partial(read_list, read_header, "X-Request-ID", False),
    "max_age": read_seconds,
    "protection": read_bool,
}
