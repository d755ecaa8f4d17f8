"""The prompt and the app's start read the same rules: one verdict, one message."""

import re
from functools import cache
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import make_public_suffixes
import pytest
import yaml
from cases import accepted, refused, refused_items
from conftest import ROOT
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import DictLoader, FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2.sandbox import SandboxedEnvironment
from jinja2_ansible_filters import AnsibleCoreFiltersExtension
from publicsuffixlist import PublicSuffixList

from app import cors
from app.cors import Policy, PolicyError, policy, rules

# As Copier makes it.
JINJA = SandboxedEnvironment(
    loader=FileSystemLoader(ROOT),
    undefined=StrictUndefined,
    extensions=[AnsibleCoreFiltersExtension],
)
ORIGINS = JINJA.get_template("includes/origins.jinja").module
NAMES = JINJA.get_template("includes/names.jinja").module
GIVEN = JINJA.get_template("includes/given.jinja").module


def read_item(section: str, item: str) -> str:
    """Return both readers' problem with an item, "" if it is accepted."""
    at_start, at_prompt = {
        "origins": (rules.origin_problem, ORIGINS.origin_problem),
        "allowed_headers": (rules.request_header_problem, NAMES.request_header_problem),
        "exposed_headers": (rules.exposed_header_problem, NAMES.exposed_header_problem),
    }[section]
    problem = at_start(item) or ""
    assert problem == at_prompt(item)
    return problem


def read_list(section: str, value: Any) -> tuple[tuple[str, ...], list[str]]:
    """Return the items of a list, and both readers' problems with it."""
    at_start, at_prompt = {
        "origins": (policy.parse_origins, ORIGINS.origins_problems),
        "allowed_headers": (
            policy.parse_allow_headers,
            lambda value: NAMES.allowed_headers_problems(value, False),
        ),
        "exposed_headers": (
            policy.parse_expose_headers,
            lambda value: NAMES.exposed_headers_problems(value, False),
        ),
    }[section]
    items, problems = at_start(value)
    assert "; ".join(problems) == at_prompt(value)
    return items, problems


def correction(problem: str) -> str | None:
    """Return what a problem says to write instead: its last part, if that is one word."""
    found = re.search(r": (\S+)\Z", problem)
    return found[1] if found else None


def assert_correction_is_accepted(section: str, problem: str) -> None:
    corrected = correction(problem)
    if corrected is not None:
        assert read_list(section, [corrected])[1] == []


ITEMS = ("origins", "allowed_headers", "exposed_headers")


@pytest.mark.parametrize(
    ("section", "item"), [(section, item) for section in ITEMS for item in accepted(section)]
)
def test_item_is_accepted(section: str, item: str) -> None:
    assert read_item(section, item) == ""
    assert read_list(section, [item]) == (("*" if item == "any" else item,), [])


@pytest.mark.parametrize(
    ("section", "item", "cause", "corrected"),
    [(section, *case) for section in ITEMS for case in refused_items(section)],
)
def test_item_is_refused(section: str, item: str, cause: str, corrected: str | None) -> None:
    problem = read_item(section, item)
    assert problem.startswith(f"{rules.show(item)}: ")
    assert cause in problem
    assert correction(problem) == corrected
    assert problem.isprintable()
    assert_correction_is_accepted(section, problem)


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
    ("section", "value", "causes"),
    [(section, *case) for section, cases in LISTS for case in refused(cases)],
)
def test_list_is_refused(section: str, value: Any, causes: list[str]) -> None:
    problems = read_list(section, value)[1]
    assert len(problems) == len(causes)
    for problem, cause in zip(problems, causes, strict=True):
        assert cause in problem
        assert problem.isprintable()


@pytest.mark.parametrize("value", [b"https://a.example", {"https://a.example"}, 1 + 2j, object])
def test_other_types_are_refused(value: object) -> None:
    assert "neither a list nor text" in read_list("origins", value)[1][0]


@pytest.mark.parametrize("header", accepted("allowed_headers"))
def test_accepted_header_passes_a_preflight(header: str) -> None:
    app = Flask(__name__)
    config = {"CORS_ALLOW_HEADERS": [header], "CORS_SUPPORTS_CREDENTIALS": False}
    config |= {"CORS_ORIGINS": "any", "CORS_METHODS": "GET, PUT", "CORS_MAX_AGE": 600}
    cors.init_app(app, Policy.from_config(config))
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
    answer = app.test_client(use_cookies=False).options("/", headers=asked)
    expected = "*" if header == "any" else header
    assert answer.headers["Access-Control-Allow-Headers"] == expected


def test_all_problems_of_a_list_are_reported_at_once() -> None:
    for section in ITEMS:
        cases = refused_items(section)
        assert len(read_list(section, [item for item, _, _ in cases])[1]) >= len(cases)


@cache
def questions() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    return found


def test_methods_at_the_prompt_are_accepted_at_start() -> None:
    assert questions()["allowed_methods"]["choices"] == accepted("methods")
    assert policy.parse_methods(accepted("methods")) == (tuple(accepted("methods")), [])
    for method in accepted("methods"):
        assert method in policy.parse_methods(method)[0]


@pytest.mark.parametrize(("method", "cause", "corrected"), refused_items("methods"))
def test_method_is_refused(method: str, cause: str, corrected: str | None) -> None:
    assert method not in questions()["allowed_methods"]["choices"]
    problems = policy.parse_methods([method])[1]
    assert len(problems) == 1
    assert cause in problems[0]
    assert correction(problems[0]) == corrected
    assert corrected is None or policy.parse_methods([corrected])[1] == []


@pytest.mark.parametrize("seconds", accepted("max_age"))
def test_max_age_is_accepted(seconds: int) -> None:
    assert policy.parse_max_age(seconds) == (seconds, [])
    assert str(GIVEN.max_age_problem(seconds, seconds)) == ""


@pytest.mark.parametrize(("seconds", "cause", "corrected"), refused_items("max_age"))
def test_max_age_is_refused(seconds: Any, cause: str, corrected: int) -> None:
    converted = seconds if isinstance(seconds, int) else 0
    problems = [*policy.parse_max_age(seconds)[1], GIVEN.max_age_problem(seconds, converted)]
    for problem in problems:
        assert problem.endswith(f"{cause}: {corrected}")
    assert policy.parse_max_age(corrected)[1] == []


SETTING_OF = {
    "frontend_origins": "CORS_ORIGINS",
    "allow_credentials": "CORS_SUPPORTS_CREDENTIALS",
    "allowed_headers": "CORS_ALLOW_HEADERS",
    "exposed_headers": "CORS_EXPOSE_HEADERS",
}
DEFAULTS = {
    "frontend_origins": "http://localhost:5173",
    "allow_credentials": False,
    "allowed_headers": "Content-Type, Authorization",
    "exposed_headers": "X-Request-ID",
}


def read_policy(answers: dict[str, Any]) -> list[str]:
    """Return both readers' problems with a whole policy, in any order."""
    answers = DEFAULTS | answers
    config = {SETTING_OF[name]: value for name, value in answers.items()}
    problems = []
    try:
        Policy.from_config({**config, "CORS_METHODS": "GET", "CORS_MAX_AGE": 600})
    except PolicyError as error:
        problems = [re.sub(r"\ACORS_[A-Z_]+: ", "", problem) for problem in error.problems]

    origins, credentials = answers["frontend_origins"], answers["allow_credentials"]
    found = [
        ORIGINS.origins_problems(origins),
        ORIGINS.credentials_problems(origins) if credentials else "",
        NAMES.allowed_headers_problems(answers["allowed_headers"], credentials),
        NAMES.exposed_headers_problems(answers["exposed_headers"], credentials),
    ]
    at_prompt = [problem for text in found for problem in text.split("; ") if problem]
    at_prompt = [problem.removeprefix("frontend_origins: ") for problem in at_prompt]
    in_settings = "or set CORS_SUPPORTS_CREDENTIALS to false"
    assert sorted(at_prompt) == sorted(
        problem.replace(in_settings, "or answer no") for problem in problems
    )
    return problems


@pytest.mark.parametrize("answers", accepted("policies"), ids=str)
def test_policy_is_accepted(answers: dict[str, Any]) -> None:
    assert read_policy(answers) == []


@pytest.mark.parametrize(("answers", "causes"), refused("policies"), ids=str)
def test_policy_is_refused(answers: dict[str, Any], causes: list[str]) -> None:
    problems = read_policy(answers)
    assert len(problems) == len(causes)
    for cause in causes:
        assert any(cause in problem for problem in problems)


@pytest.mark.parametrize(
    "item",
    [
        "https://" + "a" * 10_000,
        "https://" + "a." * 5_000 + "example",
        "https://" + "日" * 10_000,
        "https://[" + "1:" * 5_000,
        "1:" * 5_000,
        "http://a.example:" + "0" * 10_000 + "1",
        "https://" + "@" * 10_000,
        "https://a.example" + "/" * 10_000,
        "https://a.example" + " " * 10_000,
        "'" * 10_000,
        "\0" * 10_000,
        "https://xn--" + "9" * 10_000 + ".example",
    ],
    ids=lambda item: item[:20].encode("unicode-escape").decode(),
)
def test_long_items_make_short_messages(item: str) -> None:
    problem = read_item("origins", item)
    assert problem
    assert len(problem) < 400
    assert_correction_is_accepted("origins", problem)


def test_a_thousand_wildcards_are_read() -> None:
    wildcards = [f"https://*.n{number}.example" for number in range(1_000)]
    covered = [f"https://a.n{number}.example" for number in range(0, 1_000, 100)]
    assert len(read_list("origins", ", ".join(wildcards + covered))[1]) == len(covered)


# What is written into valid texts, to make them almost valid.
FRAGMENTS = st.one_of(
    st.sampled_from(
        [
            *"abzAX019-._~*:/?#@[]%\\,; \t\n\r\0\x1b'\"`<>(){}|^$!&+=",
            *"\u200b\ufeff\u202e\xa0\xad\u0308\u3002\uff0e\uff61日éßİıſKΣς１ａ。\x85\udcff😀",
            *("*.", ":*", "://", "..", "::", "//", "xn--", "null", "any", "http", "https:", "ws:"),
            *(":80", ":443", ":0", ":65536", "[::1]", "%eth0", "0x7f", "127.0.0.1", "ffff:", "{{"),
            *("co.uk", "ck", "github.io", "localhost", "sec-", "Proxy-", "cookie", "a" * 63),
        ]
    ),
    st.characters(),
)


# Where, and in place of how many characters.
EDITS = st.tuples(st.integers(0, 40), st.sampled_from([0, 0, 1, 2]), FRAGMENTS | st.just(""))


def mutations(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """Generate a text with what it becomes edit by edit."""
    return st.builds(edited, texts, st.lists(EDITS, max_size=4))


def edited(text: str, edits: list[tuple[int, int, str]]) -> list[str]:
    found = [text]
    for start, length, fragment in edits:
        text = text[:start] + fragment + text[start + length :]
        found.append(text)
    return found


LABELS = st.sampled_from(["a", "app", "x-1", "example", "com", "1", "xn--bcher-kva", "a" * 63])
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.sampled_from(["localhost", "app.localhost", "127.0.0.1", "10.0.0.255", "[::1]"]),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]"),
)
VALID_ORIGINS = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["", "", "*."]),
    HOSTS,
    st.sampled_from(["", "", ":*", ":1", ":80", ":443", ":8443", ":65535"]),
)
ALMOST_ORIGINS = mutations(
    VALID_ORIGINS | st.sampled_from(accepted("origins") + [item[0] for item in refused("origins")])
)


def names(section: str) -> st.SearchStrategy[str]:
    return st.sampled_from(accepted(section) + [item[0] for item in refused(section)])


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None)


@examples(3_500)
@given(ALMOST_ORIGINS)
def test_any_origin_gets_one_verdict(origins: list[str]) -> None:
    for origin in origins:
        problem = read_item("origins", origin)
        assert problem.isprintable()
        assert_correction_is_accepted("origins", problem)
        if not problem:
            assert_as_browsers_write_it(origin)


def assert_as_browsers_write_it(origin: str) -> None:
    """Python's own URL parser takes an accepted origin apart into itself."""
    scheme, wildcard, rest = origin.partition("://*.")
    url = urlsplit(f"{scheme}://{rest}" if wildcard else origin)
    host = f"[{url.hostname}]" if ":" in str(url.hostname) else url.hostname
    any_port = origin.endswith(":*")
    port = ":*" if any_port else "" if url.port is None else f":{url.port}"
    assert origin == f"{url.scheme}://{'*.' if wildcard else ''}{host}{port}"
    assert origin.isascii() and origin == origin.lower()
    assert any_port or url.port not in (0, {"http": 80, "https": 443}[url.scheme])


@pytest.mark.parametrize("section", ["allowed_headers", "exposed_headers"])
@examples(1_500)
@given(data=st.data())
def test_any_header_gets_one_verdict(section: str, data: st.DataObject) -> None:
    for header in data.draw(mutations(names(section))):
        problem = read_item(section, header)
        assert problem.isprintable()
        assert_correction_is_accepted(section, problem)
        assert problem or re.fullmatch(r"[!#$%&+.^_|~0-9A-Za-z-]+|\*", header)


ODD = st.none() | st.booleans() | st.integers() | st.lists(st.text(), max_size=2)


@pytest.mark.parametrize("section", ITEMS)
@examples(1_000)
@given(data=st.data())
def test_any_list_gets_one_verdict(section: str, data: st.DataObject) -> None:
    items = ALMOST_ORIGINS if section == "origins" else mutations(names(section))
    value = [*data.draw(items), *data.draw(items), *data.draw(st.lists(ODD, max_size=1))]
    read_list(section, value)
    read_list(section, data.draw(st.sampled_from([", ", ",", " ", "\n"])).join(map(str, value)))


@examples(1_500)
@given(st.lists(VALID_ORIGINS, min_size=1, max_size=5))
def test_following_every_correction_leads_to_acceptance(origins: list[str]) -> None:
    for _ in range(2):  # a corrected origin may turn out to be there already
        for problem in read_list("origins", origins or "any")[1]:
            at = origins.index(problem.partition(": ")[0])
            corrected = correction(problem)
            origins[at : at + 1] = [corrected] if corrected else []
    assert read_list("origins", origins or "any")[1] == []


@examples(1_500)
@given(
    st.fixed_dictionaries(
        {
            "frontend_origins": st.lists(VALID_ORIGINS, min_size=1, max_size=3)
            | st.sampled_from(["any", "*", ["*"]]),
            "allow_credentials": st.booleans(),
            "allowed_headers": st.lists(names("allowed_headers"), max_size=3),
            "exposed_headers": st.lists(names("exposed_headers"), max_size=3),
        }
    )
)
def test_any_policy_gets_one_verdict(answers: dict[str, Any]) -> None:
    origins = answers["frontend_origins"]
    if not read_list("origins", origins)[1]:  # as Copier asks: one question after the other
        read_policy(answers)


RULES = make_public_suffixes.read_rules()
SUFFIXES = PublicSuffixList(accept_unknown=False)


@examples(3_000)
@given(st.lists(LABELS, max_size=2), st.sampled_from(RULES), st.sampled_from(["", ":*", ":8443"]))
def test_wildcard_under_any_suffix(labels: list[str], rule: str, port: str) -> None:
    host = ".".join([*labels, rule.removeprefix("!").removeprefix("*.")])
    problem = read_item("origins", f"https://*.{host}{port}")
    assert bool(problem) == SUFFIXES.is_public(host)
    assert_correction_is_accepted("origins", problem)
    if problem:
        assert f"anyone can get a name under {host}" in problem
        instead = re.search(r"as in (\S+)\Z", problem)
        assert instead and read_item("origins", instead[1]) == ""


def test_every_suffix_is_known_to_the_prompt() -> None:
    is_public_suffix = JINJA.get_template("includes/public_suffixes.jinja").module.is_public_suffix
    for rule in RULES:
        host = rule.removeprefix("!").removeprefix("*.")
        assert bool(is_public_suffix(host)) == SUFFIXES.is_public(host), host


def test_public_suffixes_are_those_that_the_project_is_locked_to() -> None:
    """If this fails after an update of the locks: python tests/make_public_suffixes.py"""
    installed = version("publicsuffixlist")
    assert f"publicsuffixlist=={installed} " in (ROOT / "template/requirements.txt").read_text()
    assert make_public_suffixes.OUTPUT.read_text(encoding="utf-8") == make_public_suffixes.make()


def test_only_a_wildcard_makes_the_prompt_read_the_suffixes() -> None:
    paths = [f"includes/{name}.jinja" for name in ("lists", "origins")]
    without_suffixes = DictLoader({path: (ROOT / path).read_text() for path in paths})
    origins = JINJA.overlay(loader=without_suffixes).get_template(paths[1]).module
    assert origins.origins_problems(["https://a.example", "http://localhost:*"]) == ""
    with pytest.raises(TemplateNotFound, match="public_suffixes"):
        origins.origins_problems(["https://*.a.example"])
