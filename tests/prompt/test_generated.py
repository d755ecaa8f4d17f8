"""Both readers of the rules give generated items, lists and policies one verdict."""

from typing import Any

from cases import accepted, all_items
from hypothesis import given, settings
from hypothesis import strategies as st
from readers import advice, at_prompt, at_start, follow, left_to_start, read, read_list, read_policy

FRAGMENTS = st.one_of(
    st.sampled_from(
        list(" \t\n\r\0.*:/\\@#?&=%[](){}^$|!;,-_'\"`<>~+") + list("aZ09eéßſKİΣςｅ。א١")
    ),
    st.sampled_from(["http://", "https://", "*.", "-*", "://", "..", "::", "xn--", "null", "any"]),
    st.sampled_from([":80", ":443", ":0", ":65536", "[::1]", "%eth0", "0x7f", "127.0.0.1", "{{"]),
    st.sampled_from(["co.uk", "github.io", "localhost", "sec-", "Proxy-", "cookie", "a" * 63]),
    st.characters(),
)
# Where, in place of how many characters, and what.
EDITS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), FRAGMENTS | st.just("")))


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for start, length, fragment in edits:
        text = text[:start] + fragment + text[start + length :]
    return text


def almost(section: str) -> st.SearchStrategy[str]:
    return st.builds(edited, st.sampled_from(all_items(section)), EDITS)


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None)


@examples(300)
@given(st.lists(almost("origins"), min_size=1, max_size=6))
def test_any_origins(items: list[str]) -> None:
    for item in items:
        canonical, problem = read("origins", item)
        follow("origins", item)
        if problem is None:
            assert read("origins", canonical) == (canonical, None)
    left = [item for item in items if is_left(item)]
    read_list("origins", [item for item in items if item not in left])


def is_left(item: str) -> bool:
    return left_to_start(at_prompt("origins", item), at_start("origins", item)) is not None


ODD = st.none() | st.booleans() | st.integers() | st.lists(st.text(), max_size=2)


@examples(100)
@given(st.data())
def test_any_headers(data: st.DataObject) -> None:
    for section in ("allowed_headers", "exposed_headers"):
        items = data.draw(st.lists(almost(section), max_size=5))
        for item in items:
            canonical, problem = read(section, item)
            assert problem is None or advice(item, problem) != ""
            assert problem is not None or read(section, canonical) == (canonical, None)
        value = [*items, *data.draw(st.lists(ODD, max_size=1))]
        read_list(section, value)
        read_list(section, data.draw(st.sampled_from([", ", ",", " ", "\n"])).join(items))


def some(section: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(all_items(section)), max_size=3)


@examples(200)
@given(
    st.fixed_dictionaries(
        {
            "frontend_origins": st.lists(
                st.sampled_from(accepted("origins") + accepted("credentials")[:9]), max_size=4
            ),
            "allow_credentials": st.booleans(),
            "allowed_headers": some("allowed_headers"),
            "exposed_headers": some("exposed_headers"),
        }
    )
)
def test_any_policy(answers: dict[str, Any]) -> None:
    read_policy(answers)
