"""The app's start is strict: it takes what the prompt renders, and no more than a browser knows."""

from collections.abc import Callable
from typing import Any

import pytest
from cases import SECTIONS, accepted, flatten, refused, rewritten
from hypothesis import given
from readers import at_prompt, read
from test_generated import almost, examples

from app.cors.origins import danger, read_origin
from app.cors.policy import read_header, read_method

READERS: dict[str, Callable[[str], str]] = {
    "origins": read_origin,
    "methods": read_method,
    "allowed_headers": read_header,
    "exposed_headers": read_header,
}


def started(section: str, item: str) -> str | None:
    """Return what the app's start makes of an item, None if it stops."""
    try:
        return READERS[section](item)
    except ValueError as problem:
        assert str(problem).startswith(("write ", "name ")) and str(problem).isprintable()
        return None


@pytest.mark.parametrize("section", READERS)
def test_what_the_prompt_renders_is_taken_unchanged(section: str) -> None:
    items = accepted(section) + [canonical for _, canonical in rewritten(section)]
    assert {item: started(section, item) for item in items} == {item: item for item in items}


@pytest.mark.parametrize(
    ("item", "canonical"), flatten(SECTIONS["origins_at_start"]["rewritten"]), ids=str
)
def test_ipv6_addresses_are_written_as_browsers_do(item: str, canonical: str) -> None:
    assert at_prompt("origins", item) == (item, None)
    assert started("origins", item) == started("origins", canonical) == canonical


@pytest.mark.parametrize("kind", ["IPv6", "public suffixes"])
def test_start_refuses_what_the_prompt_cannot_know(kind: str) -> None:
    for item, *_ in SECTIONS["origins_at_start"]["refused"][kind]:
        assert started("origins", item) is None, item


# What the prompt refuses and the start takes as it stands: no page has such an origin, or only the
# one that is written there.
LITERAL = (
    "no frontend has this scheme",
    "an id is 32 letters from a to p",
    "an id is a UUID",
    "it is longer than 253 characters",
    "it is too long for an origin",
    "one part is in letters, another in punycode",
    "is not punycode",
    "a * is the whole first part of the host, or next to a hyphen in it",
)


def assert_means_the_same(item: str) -> None:
    origin = started("origins", item)
    canonical, problem = read("origins", item)
    if origin is not None and origin != canonical:
        assert problem is not None and problem.endswith(LITERAL), (item, problem)


@pytest.mark.parametrize("item", [case[0] for case in refused("origins")])
def test_refused_origin_is_refused_or_harmless(item: str) -> None:
    assert_means_the_same(item)


@examples(500)
@given(almost("origins"))
def test_any_origin_means_the_same(item: str) -> None:
    assert_means_the_same(item)


@examples(300)
@given(almost("origins"))
def test_any_origin_that_the_prompt_renders_is_taken(item: str) -> None:
    rendered, problem = at_prompt("origins", item)
    if problem is None and read("origins", item) == (rendered, None):
        assert started("origins", rendered) == rendered


@pytest.mark.parametrize(
    ("variable", "canonical"),
    [
        ("HTTPS://App.Example.com/", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("any", "*"),
    ],
)
def test_slips_of_a_variable_are_mended(variable: str, canonical: str) -> None:
    assert started("origins", variable) == canonical


@pytest.mark.parametrize(
    ("variable", "written"),
    [
        ("app.example.com", "https://app.example.com"),
        ("localhost:3000", "http://localhost:3000"),
        ("https://app.example.com/login", "https://app.example.com"),
        ("null", "an origin such as https://app.example.com"),
    ],
)
def test_correction_is_named(variable: str, written: str) -> None:
    with pytest.raises(ValueError, match=f"^write {written}, not {variable}: "):
        read_origin(variable)


def test_credentials_are_as_at_the_prompt() -> None:
    """Who could act as the user is the same question; a start knows more public suffixes."""
    for origin in accepted("credentials"):
        assert danger(read_origin(origin)) is None, origin
    cases: list[Any] = refused("credentials")
    for origin, *_ in cases + flatten(SECTIONS["credentials"]["refused_at_start"]):
        assert danger(read_origin(origin)) is not None, origin
