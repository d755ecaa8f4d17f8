"""Reads each setting of a policy: returns its canonical value, and what is wrong with it."""

import re
from collections.abc import Callable
from typing import Any

from . import rules
from .origins import read_origin


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
    found, problems = parse_list(value, read_origin, "https://app.example.com")
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
