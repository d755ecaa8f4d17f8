"""app/answers.py, Copier's record of your answers, and what `copier update` needs fit together."""

import shlex
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from app import answers
from app.cors import Policy, PolicyError
from corscheck.advice import METHODS, QUESTIONS

RECORD = Path(__file__).parent.parent / ".copier-answers.yml"

RESTORE = (
    'git checkout "$(git log -n 1 --format=%h --diff-filter=AM -- .copier-answers.yml)"'
    " -- .copier-answers.yml"
)


# What an extra adds to the answers.
ADDED = {
    "database": {
        "allow_headers": ("If-Match",),
        "expose_headers": ("ETag", "Link", "Location", "Retry-After"),
    }
}


@pytest.fixture
def record() -> dict[str, Any]:
    if not RECORD.is_file():
        fail(
            "Restore .copier-answers.yml, which `copier update` needs:",
            f"  {RESTORE}",
            "Or, to leave the template, delete tests/test_answers.py as well.",
        )
    try:
        found = yaml.safe_load(RECORD.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        found = str(error)
    if not isinstance(found, dict):
        fail("Restore .copier-answers.yml, which is not a YAML mapping:", f"  {RESTORE}", found)
    return found


def test_app_follows_the_answers(record: dict[str, Any]) -> None:
    actual = read("app/answers.py", vars(answers))
    config = {f"CORS_{name.upper()}": record.get(asked) for name, asked in QUESTIONS.items()}
    recorded = with_extras(read(".copier-answers.yml", config), record.get("extras") or [])
    differ = [
        name for name in QUESTIONS if in_any_order(name, actual) != in_any_order(name, recorded)
    ]
    if differ:
        data = " ".join(f"-d {shlex.quote(as_answer(name, actual))}" for name in differ)
        fail(
            "To keep the policy in app/answers.py, commit your work, and run:",
            f"  copier update --vcs-ref=:current: --defaults {data}",
            "To use the recorded answers, write them into app/answers.py:",
            *(f"  {as_setting(name, recorded)}" for name in differ),
        )


def test_session_cookie_follows_the_answers(record: dict[str, Any]) -> None:
    crosses_sites = record.get("allow_credentials") and not record.get("frontends_share_site")
    expected = {
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_SAMESITE": "None" if crosses_sites else "Lax",
        "SESSION_COOKIE_PARTITIONED": bool(crosses_sites),
    }
    if {name: getattr(answers, name, None) for name in expected} != expected:
        fail(
            "To use the recorded answers, write them into app/answers.py:",
            *(f"  {name} = {value!r}" for name, value in expected.items()),
            "To send the cookie otherwise, set these in app/settings.py instead.",
        )


def read(path: str, config: Mapping[str, Any]) -> Policy:
    """Return the policy of a config in its canonical form."""
    try:
        return Policy.from_config(config)
    except PolicyError as error:
        fail(f"Correct {path}:", *(f"  {problem}" for problem in error.problems))


def with_extras(policy: Policy, extras: list[str]) -> Policy:
    for extra in extras:
        for name, added in ADDED.get(extra, {}).items():
            headers = getattr(policy, name)
            known = {header.lower() for header in headers}
            if "*" not in known:
                new = tuple(header for header in added if header.lower() not in known)
                policy = replace(policy, **{name: headers + new})
    return policy


def in_any_order(name: str, policy: Policy) -> Any:
    value = getattr(policy, name)
    if name == "methods":  # Copier asks for no others, and keeps those that you add by hand
        return {*value} & {*METHODS}
    return {*value} if isinstance(value, tuple) else value


def as_answer(name: str, policy: Policy) -> str:
    """Return a part of a policy as `copier update -d` takes it."""
    value = getattr(policy, name)
    if name == "methods":
        text = f"[{', '.join(method for method in value if method in METHODS)}]"
    elif isinstance(value, tuple):
        text = ", ".join("any" if item == "*" else item for item in value)
    else:
        text = str(value).lower()
    return f"{QUESTIONS[name]}={text}"


def as_setting(name: str, policy: Policy) -> str:
    value = getattr(policy, name)
    return f"CORS_{name.upper()} = {list(value) if isinstance(value, tuple) else value}"


def fail(*lines: object) -> NoReturn:
    pytest.fail("\n".join(map(str, lines)), pytrace=False)


def test_template_can_be_found_again(record: dict[str, Any]) -> None:
    source, commit = record.get("_src_path"), record.get("_commit")
    if not source or not commit:
        problem = "the record does not say which version of the template this project has"
    elif not (Path(source).is_absolute() or source.startswith("~") or ":" in source):
        problem = f"{source} is another place for each folder"
    elif not isinstance(commit, str):
        problem = f"_commit has to be in quotes: '{commit}'"
    else:
        return
    warnings.warn(
        "write into .copier-answers.yml, and commit, _src_path, the template's git URL or absolute"
        " path, and _commit, the release or commit that the project was made from: `copier update`"
        f" needs both, and {problem}",
        stacklevel=1,
    )
