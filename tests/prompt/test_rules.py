"""The prompt and whycors read one table: one verdict, one value, one message."""

import json
from typing import Any

import pytest
import yaml
from cases import SECTIONS as CASES
from cases import accepted, all_items, flatten, refused, rewritten
from readers import (
    PROBLEMS,
    READ,
    ROOT,
    advice,
    at_prompt,
    at_start,
    follow,
    left_to_start,
    read,
    read_list,
    read_policy,
)

from whycors import origins

ITEMS = ("origins", "methods", "allowed_headers", "exposed_headers")


def of_each(cases: Any, sections: tuple[str, ...] = ITEMS) -> list[tuple[Any, ...]]:
    return [
        (section, *(case if isinstance(case, list) else [case]))
        for section in sections
        for case in cases(section)
    ]


# Items


@pytest.mark.parametrize(("section", "item"), of_each(accepted))
def test_item_is_accepted(section: str, item: str) -> None:
    assert read(section, item) == at_prompt(section, item) == (item, None)


@pytest.mark.parametrize(("section", "item", "canonical"), of_each(rewritten))
def test_item_is_rewritten(section: str, item: str, canonical: str) -> None:
    assert read(section, item) == at_prompt(section, item) == (canonical, None)
    assert read(section, canonical) == (canonical, None)


@pytest.mark.parametrize(("section", "item", "written", "reason"), of_each(refused))
def test_item_is_refused(section: str, item: str, written: str | None, reason: str) -> None:
    problem = at_prompt(section, item)[1]
    assert at_start(section, item) == (item, problem)
    assert problem is not None
    assert_advises(item, problem, written)
    assert reason in problem
    if written is not None and " " not in written:  # it is an item, so it must be a better one
        assert reason not in follow(section, item)


def assert_advises(item: str, problem: str, written: str | None) -> None:
    """An advice that is an item is named whole, another one by how it begins."""
    given = advice(item, problem)
    if written is None or " " not in written:
        assert given == written
    else:
        assert given is not None and given.startswith(written)


@pytest.mark.parametrize(
    ("kind", "item", "canonical"),
    [
        (kind, *case)
        for kind, cases in CASES["origins_at_start"]["rewritten"].items()
        for case in cases
    ],
)
def test_start_rewrites_what_the_prompt_accepts(kind: str, item: str, canonical: str) -> None:
    assert at_start("origins", item) == (canonical, None)
    assert left_to_start(at_prompt("origins", item), at_start("origins", item)) == kind


@pytest.mark.parametrize(
    ("kind", "item", "written", "reason"),
    [
        (kind, *case)
        for kind, cases in CASES["origins_at_start"]["refused"].items()
        for case in cases
    ],
)
def test_start_refuses_what_the_prompt_accepts(
    kind: str, item: str, written: str, reason: str
) -> None:
    problem = at_start("origins", item)[1]
    assert problem is not None
    assert_advises(item, problem, written)
    assert problem.endswith(f": {reason}")
    assert left_to_start(at_prompt("origins", item), (item, problem)) in (kind, f"{kind[:-2]}")


WITH_CREDENTIALS = accepted("credentials") + [case[0] for case in refused("credentials")]


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        ("origin", all_items("origins")),
        ("origin with credentials", WITH_CREDENTIALS),
        ("method", all_items("methods")),
        ("allowed header", all_items("allowed_headers")),
        ("exposed header", all_items("exposed_headers")),
        ("header with credentials", all_items("exposed_headers")),
        ("note", accepted("origins") + WITH_CREDENTIALS),
    ],
)
def test_no_row_is_idle(kind: str, items: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one of the rows, one of the cases gets another verdict or message."""

    def verdicts() -> list[Any]:
        if kind == "note":
            return [list(origins.origin_notes(item)) for item in items]
        return [origins.read_item(kind, item) for item in items]

    rows, expected, idle = origins.rules_for(kind), verdicts(), []
    for row in rows:
        others = tuple(other for other in rows if other is not row)
        monkeypatch.setattr(origins, "rules_for", lambda _, others=others: others)
        if verdicts() == expected:
            idle.append(row.pattern.pattern)
    # The first row is there for speed, and says the same as all others together.
    assert idle == ([rows[0].pattern.pattern] if kind == "origin" else [])


# Lists

LISTS = (
    ("origins", "origin_lists"),
    ("allowed_headers", "header_lists"),
    ("exposed_headers", "header_lists"),
)


@pytest.mark.parametrize(
    ("section", "value", "items"),
    [(section, *case) for section, cases in LISTS for case in accepted(cases)],
)
def test_list_is_accepted(section: str, value: Any, items: list[str]) -> None:
    assert read_list(section, value) == (tuple(items), [])


@pytest.mark.parametrize(
    ("section", "value", "expected"),
    [(section, *case) for section, cases in LISTS for case in refused(cases)],
)
def test_list_is_refused(section: str, value: Any, expected: list[str]) -> None:
    problems = read_list(section, value)[1]
    assert len(problems) == len(expected)
    for problem, part in zip(problems, expected, strict=True):
        assert problem.startswith(part) or (section != "origins" and part in problem)
        assert problem.startswith(("write ", "remove ")) and problem.isprintable()


@pytest.mark.parametrize("value", [b"https://a.example", {"https://a.example"}, 1 + 2j, object])
def test_other_types_are_refused(value: object) -> None:
    assert "it is not a list or a text" in read_list("origins", value)[1][0]


def test_every_problem_of_a_list_is_reported_at_once() -> None:
    for section in ("origins", "allowed_headers", "exposed_headers"):
        items = [case[0] for case in refused(section)]
        assert len(read_list(section, items)[1]) == len(items)


def test_methods_at_the_prompt_are_accepted_at_start() -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    assert questions["allowed_methods"]["choices"] == accepted("methods")
    for method in accepted("methods"):
        assert at_start("methods", method) == at_start("methods", method.lower()) == (method, None)


# Other answers


@pytest.mark.parametrize("seconds", accepted("max_age"))
def test_max_age_is_accepted(seconds: int) -> None:
    assert str(PROBLEMS.max_age_problem(seconds, seconds)) == ""


@pytest.mark.parametrize(("seconds", "corrected", "reason"), refused("max_age"))
def test_max_age_is_refused(seconds: Any, corrected: int, reason: str) -> None:
    converted = seconds if isinstance(seconds, int) else 0
    problem = f"write {corrected}, not {origins.shown(str(seconds))}: {reason}"
    assert str(PROBLEMS.max_age_problem(seconds, converted)) == problem


# Policies


@pytest.mark.parametrize("origin", accepted("credentials"))
def test_origin_may_use_credentials(origin: str) -> None:
    canonical = at_start("origins", origin)[0]
    assert origins.credentials_problem(canonical) is None
    assert str(PROBLEMS.credentials_problem(True, [origin])) == ""


@pytest.mark.parametrize(("origin", "written", "reason"), refused("credentials"))
def test_origin_may_not_use_credentials(origin: str, written: str, reason: str) -> None:
    assert at_start("origins", origin) == (origin, None)
    problem = origins.credentials_problem(origin)
    assert problem is not None and problem.startswith(f"write {written}") and reason in problem
    assert str(PROBLEMS.credentials_problem(True, [origin])) == f"{problem} (in frontend_origins)"
    advised = advice(origin, problem)
    if advised and " " not in advised:
        assert origins.credentials_problem(advised) is None


@pytest.mark.parametrize(
    ("origin", "written", "reason"), flatten(CASES["credentials"]["refused_at_start"])
)
def test_start_refuses_credentials(origin: str, written: str, reason: str) -> None:
    problem = origins.credentials_problem(origin)
    assert problem is not None and problem.startswith(f"write {written}") and reason in problem
    assert str(PROBLEMS.credentials_problem(True, [origin])) == ""


@pytest.mark.parametrize("answers", accepted("policies"), ids=str)
def test_policy_is_accepted(answers: dict[str, Any]) -> None:
    assert read_policy(answers) == []


@pytest.mark.parametrize(("answers", "expected"), refused("policies"), ids=str)
def test_policy_is_refused(answers: dict[str, Any], expected: list[str]) -> None:
    problems = read_policy(answers)
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(start)


# What an accepted origin brings with it

NOTES = {
    "capacitor://localhost": "has the origin https://localhost",
    "https://localhost": "on iOS it has capacitor://localhost",
    "ionic://localhost": "has the origin https://localhost",
    "tauri://localhost": "has the origin http://tauri.localhost",
    "http://tauri.localhost": "has the origin tauri://localhost",
    "moz-extension://0f4f1c3a-2b7d-4e5f-8a9b-0c1d2e3f4a5b": "one machine only",
    "safari-web-extension://0F4F1C3A-2B7D-4E5F-8A9B-0C1D2E3F4A5B": "one machine only",
    "https://myapp-*-team.vercel.app": "a name under vercel.app that fits",
    "http://pr-*.netlify.app:*": "a name under netlify.app that fits",
    "https://*--mysite.netlify.app": "a name under netlify.app that fits",
    "https://deploy-preview-*--mysite.netlify.app": "a name under netlify.app that fits",
}


@pytest.mark.parametrize("origin", sorted({*NOTES, *accepted("origins")}))
def test_notes(origin: str) -> None:
    """An app has a second origin, an extension one for each machine, a shared host is shared."""
    notes = list(origins.origin_notes(origin))
    assert notes == json.loads(str(READ.read("note", [origin], "")))["problems"]
    assert len(notes) == (origin in NOTES)
    assert all(NOTES[origin] in note for note in notes)
