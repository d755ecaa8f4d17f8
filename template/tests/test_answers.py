"""What Copier was told, what the app does, and what `copier update` needs go together."""

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from app.cors import Policy, PolicyError
from app.cors.why import QUESTIONS

ANSWERS = Path(__file__).parent.parent / ".copier-answers.yml"


@pytest.fixture
def answers() -> dict[str, Any]:
    if not ANSWERS.is_file():
        pytest.fail(
            ".copier-answers.yml is missing, and `copier update` cannot work without it.\n"
            "Bring back what was committed last:\n"
            '  git checkout "$(git log -n 1 --format=%h --diff-filter=AM -- .copier-answers.yml)"'
            " -- .copier-answers.yml\n"
            "Or, to leave the template, delete tests/test_answers.py as well.",
            pytrace=False,
        )
    return dict(yaml.safe_load(ANSWERS.read_text(encoding="utf-8")))


def test_app_follows_the_answers(app: Flask, answers: dict[str, Any]) -> None:
    try:
        answered = Policy.from_config(
            {f"CORS_{name.upper()}": answers.get(answer) for name, answer in QUESTIONS.items()}
        )
    except PolicyError as error:
        problems = "\n".join(f"  {problem}" for problem in error.problems)
        pytest.fail(f".copier-answers.yml cannot be used:\n{problems}", pytrace=False)
    policy = app.extensions["cors_policy"]
    differ = [
        field.name
        for field in fields(Policy)
        if in_any_order(policy, field.name) != in_any_order(answered, field.name)
    ]
    if differ:
        found = "\n".join(
            f"  CORS_{name.upper()}: {as_data(policy, name)}\n"
            f"  {QUESTIONS[name]}: {as_data(answered, name)}"
            for name in differ
        )
        told = " ".join(f"-d '{QUESTIONS[name]}={as_data(policy, name)}'" for name in differ)
        pytest.fail(
            f"app/settings.py and .copier-answers.yml differ:\n{found}\n"
            "Updates go by the answers: make both the same. To keep what the app does, commit, and"
            f" tell Copier:\n  copier update --vcs-ref=:current: --defaults {told}\n"
            "To do as the answers say, write them into app/settings.py as well.",
            pytrace=False,
        )


def in_any_order(policy: Policy, name: str) -> Any:
    value = getattr(policy, name)
    if name == "methods":  # Copier offers no others, and keeps what you add in app/settings.py
        return {*value} & {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    return {*value} if isinstance(value, tuple) else value


def as_data(policy: Policy, name: str) -> str:
    """Return a part of the policy as `copier update -d` takes it."""
    value = getattr(policy, name)
    if isinstance(value, (bool, int)):
        return str(value)
    return f"[{', '.join(value)}]" if name == "methods" else ", ".join(value)


def test_template_can_be_found_again(answers: dict[str, Any]) -> None:
    source, commit = answers.get("_src_path"), answers.get("_commit")
    if not source or not commit:
        problem = "does not say which version of the template this project was made from"
    elif not (Path(source).is_absolute() or source.startswith("~") or ":" in source):
        problem = f"says that the template is in {source}, which is another place for each folder"
    else:
        return
    warnings.warn(
        f".copier-answers.yml {problem}: `copier update` cannot work. Write into it, and commit:"
        " _src_path, the template's git URL or absolute path, and _commit, the release or commit"
        " that the project was made from.",
        stacklevel=1,
    )
