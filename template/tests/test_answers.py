"""The app does what the answers given to Copier say."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from flask import Flask

from app.cors import Policy

ANSWERS = Path(__file__).parent.parent / ".copier-answers.yml"

ANSWER_OF = {
    "origins": "frontend_origins",
    "methods": "allowed_methods",
    "supports_credentials": "allow_credentials",
    "allow_headers": "allowed_headers",
    "expose_headers": "exposed_headers",
    "max_age": "preflight_max_age",
}


def test_app_follows_the_answers(app: Flask) -> None:
    answers = yaml.safe_load(ANSWERS.read_text(encoding="utf-8"))
    answered = Policy.from_config(
        {f"CORS_{name.upper()}": answers[answer] for name, answer in ANSWER_OF.items()}
    )
    policy = app.extensions["cors_policy"]
    for field in fields(Policy):
        in_app, in_answers = getattr(policy, field.name), getattr(answered, field.name)
        if in_app != in_answers:
            name = ANSWER_OF[field.name]
            value = in_app if isinstance(in_app, (bool, int)) else f"[{', '.join(in_app)}]"
            pytest.fail(
                f"app/settings.py and .copier-answers.yml differ in {name}:\n"
                f"  the app has      {in_app}\n"
                f"  the answers have {in_answers}\n"
                "If app/settings.py is right, tell Copier, and it will keep it so:\n"
                f"  copier update --vcs-ref=:current: --defaults -d '{name}={value}'\n"
                f"If the answers are right, write {name}: {value} back into .copier-answers.yml,\n"
                "commit, and give Copier the new value by the same command.",
                pytrace=False,
            )
