"""What Copier makes of answers: bad ones are refused with a message, and nothing is rendered."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cases import accepted, refused, refused_items
from conftest import copy
from copier.errors import CopierError
from yaml import YAMLError


@pytest.fixture(scope="module")
def questions(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without git, which Copier reads in half the time."""
    folder = tmp_path_factory.mktemp("questions") / "template"
    return Path(shutil.copytree(template, folder, ignore=shutil.ignore_patterns(".git")))


def refusal(questions: Path, project: Path, answers: dict[str, Any]) -> str:
    """Return the message of the error that ends `copier copy` with nothing rendered."""
    with pytest.raises((ValueError, TypeError, YAMLError, CopierError)) as error:
        copy(questions, project, answers)
    assert not project.exists()
    return str(error.value)


def settings(questions: Path, project: Path, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the rendered settings."""
    copy(questions, project, answers)
    return runpy.run_path(str(project / "app/settings.py"))


def typed(value: Any) -> Any:
    """Return an answer as a user has to type it: quoted, if its text would be read as YAML."""
    read_as_yaml = isinstance(value, str) and re.match(r"\s*[\[{\"'-]", value)
    return json.dumps(value) if read_as_yaml else value


def assert_told(message: str, question: str, causes: list[str]) -> None:
    assert message.startswith(f"Validation error for question '{question}': ")
    for cause in causes:
        assert cause in message


LISTS = (
    ("frontend_origins", "origin_lists"),
    ("allowed_headers", "header_lists"),
    ("exposed_headers", "header_lists"),
)


@pytest.mark.parametrize(
    ("question", "value", "causes"),
    [(question, *case) for question, cases in LISTS for case in refused(cases)],
)
def test_list_is_refused(
    questions: Path, tmp_path: Path, question: str, value: Any, causes: list[str]
) -> None:
    assert_told(refusal(questions, tmp_path / "p", {question: typed(value)}), question, causes)


@pytest.mark.parametrize(
    ("question", "cases"),
    [
        ("frontend_origins", "origins"),
        ("allowed_headers", "allowed_headers"),
        ("exposed_headers", "exposed_headers"),
    ],
)
def test_all_refused_items_are_told_at_once(
    questions: Path, tmp_path: Path, question: str, cases: str
) -> None:
    items = refused_items(cases)
    message = refusal(questions, tmp_path / "p", {question: [item for item, _, _ in items]})
    assert_told(message, question, [cause for _, cause, _ in items])


@pytest.mark.parametrize(("answers", "causes"), refused("policies"), ids=str)
def test_policy_is_refused(
    questions: Path, tmp_path: Path, answers: dict[str, Any], causes: list[str]
) -> None:
    message = refusal(questions, tmp_path / "p", answers)
    assert message.startswith(("Validation error for question '", "Invalid choice for '"))
    assert any(cause in message for cause in causes)  # Copier stops at the first question


@pytest.mark.parametrize("method", [method for method, _, _ in refused_items("methods")])
def test_method_is_refused(questions: Path, tmp_path: Path, method: str) -> None:
    message = refusal(questions, tmp_path / "p", {"allowed_methods": ["GET", method]})
    assert f"'allowed_methods': {method!r} is not in ['GET', 'HEAD'" in message


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ([], "choose at least one method, such as GET"),
        ("[]", "choose at least one method, such as GET"),
        ({"GET": True, "PUT": False}, "is not a list: write [GET, POST]"),
        ("GET", "Not a YAML list: 'GET'"),
        ("GET, POST", "Not a YAML list: 'GET, POST'"),
        ("any", "Not a YAML list: 'any'"),
        ("[GET", "while parsing a flow sequence"),
        (None, "'NoneType' object is not iterable"),
        (7, "'int' object is not iterable"),
    ],
)
def test_methods_are_refused(questions: Path, tmp_path: Path, value: Any, cause: str) -> None:
    assert cause in refusal(questions, tmp_path / "p", {"allowed_methods": value})


@pytest.mark.parametrize("value", ["flase", "maybe", "ja", "-1", 2, 0.5, [True], {"a": 1}, None])
def test_credentials_are_allowed_by_no_accident(
    questions: Path, tmp_path: Path, value: Any
) -> None:
    message = refusal(questions, tmp_path / "p", {"allow_credentials": value})
    assert "is neither yes nor no" in message or "Invalid answer" in message


@pytest.mark.parametrize(("value", "cause", "corrected"), refused_items("max_age"))
def test_max_age_is_refused(
    questions: Path, tmp_path: Path, value: Any, cause: str, corrected: int
) -> None:
    message = refusal(questions, tmp_path / "p", {"preflight_max_age": value})
    if isinstance(value, (int, float)):
        assert_told(message, "preflight_max_age", [f"{cause}: {corrected}"])
    else:  # Copier's own words, where it cannot convert
        assert repr(value) in message or "Invalid answer" in message or not message


@pytest.mark.parametrize("value", ["1_000", "６００", "+5", "9" * 5_000])
def test_max_age_is_written_in_plain_digits(questions: Path, tmp_path: Path, value: str) -> None:
    message = refusal(questions, tmp_path / "p", {"preflight_max_age": value})
    assert "must be a whole number of seconds: 600" in message or "4300 digits" in message


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("", "is empty: write a name such as Bookshop API"),
        ("  ", "is empty"),
        ("\u200b", "is empty"),
        (" Shop ", '" Shop ": drop the spaces around it: Shop'),
        ("Shop\n# Evil", "write it in one line, without control characters: Shop # Evil"),
        ("Shop\r\n", "without control characters: Shop"),
        ("Shop\0\x1b[31m", "without control characters: Shop [31m"),
        ("Shop\u2028API", "without control characters: Shop API"),
        ("\ufeffShop", "without control characters: Shop"),
        ("Shop\udcff", "without control characters: Shop"),
        ("x" * 81, "is longer than 80 characters"),
        ("x" * 10_000, "is longer than 80 characters"),
        ({"name": "Shop"}, "Could not convert {'name': 'Shop'} to string"),
        (None, 'Invalid answer "None"'),
    ],
)
def test_project_name_is_refused(questions: Path, tmp_path: Path, value: Any, cause: str) -> None:
    message = refusal(questions, tmp_path / "p", {"project_name": value})
    assert cause in message
    assert len(message) < 300


@pytest.mark.parametrize(("value", "origins"), accepted("origin_lists"))
def test_origins_are_rendered(
    questions: Path, tmp_path: Path, value: Any, origins: list[str]
) -> None:
    rendered = settings(questions, tmp_path / "p", {"frontend_origins": typed(value)})
    assert rendered["CORS_ORIGINS"] == origins


def test_every_accepted_item_is_rendered_as_it_is(questions: Path, tmp_path: Path) -> None:
    headers = [item for item in accepted("allowed_headers") if item not in ("any", "content-type")]
    names = [item for item in accepted("exposed_headers") if item != "any"]
    origins = [item for item in accepted("origins") if "*" not in item]
    rendered = settings(
        questions,
        tmp_path / "p",
        {"frontend_origins": origins, "allowed_headers": headers, "exposed_headers": names},
    )
    assert rendered["CORS_ORIGINS"] == origins
    assert rendered["CORS_ALLOW_HEADERS"] == headers
    assert rendered["CORS_EXPOSE_HEADERS"] == names


@pytest.mark.parametrize("answers", accepted("policies"), ids=str)
def test_policy_is_accepted(questions: Path, tmp_path: Path, answers: dict[str, Any]) -> None:
    rendered = settings(questions, tmp_path / "p", answers)
    assert rendered["CORS_SUPPORTS_CREDENTIALS"] is answers.get("allow_credentials", False)


@pytest.mark.parametrize(
    ("answers", "setting", "value"),
    [
        ({"allowed_methods": "[PUT, GET]"}, "CORS_METHODS", ["GET", "PUT"]),
        ({"allow_credentials": "yes"}, "CORS_SUPPORTS_CREDENTIALS", True),
        ({"allow_credentials": "off"}, "CORS_SUPPORTS_CREDENTIALS", False),
        ({"preflight_max_age": "-1"}, "CORS_MAX_AGE", -1),
        ({"preflight_max_age": 86400}, "CORS_MAX_AGE", 86400),
        ({"allowed_headers": None}, "CORS_ALLOW_HEADERS", []),
        ({"exposed_headers": "*, ETag"}, "CORS_EXPOSE_HEADERS", ["*", "ETag"]),
    ],
)
def test_other_answers_are_rendered(
    questions: Path, tmp_path: Path, answers: dict[str, Any], setting: str, value: Any
) -> None:
    assert settings(questions, tmp_path / "p", answers)[setting] == value


def copier_copy(questions: Path, project: Path, *data: str) -> subprocess.CompletedProcess[str]:
    options = [argument for answer in data for argument in ("-d", answer)]
    return subprocess.run(
        [sys.executable, "-m", "copier", "copy", "--defaults", *options, questions, project],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            ["frontend_origins=https://a.example/, b.example https://*.github.io"],
            "ValueError: Validation error for question 'frontend_origins': "
            + "; ".join(
                [
                    "https://a.example/: drop the trailing slash: https://a.example",
                    "b.example: add the scheme: https://b.example",
                    "https://*.github.io: anyone can get a name under github.io: name your own,"
                    + " as in https://yours.github.io",
                ]
            ),
        ),
        (
            ["frontend_origins=http://app.example.com", "allow_credentials=true"],
            "ValueError: Invalid choice for 'allow_credentials': frontend_origins:"
            + " http://app.example.com: with credentials, anyone on the network could act as"
            + " the user: https://app.example.com",
        ),
        (["frontend_origins=any", "allow_credentials=flase"], "flase: is neither yes nor no"),
        (["allowed_methods=GET"], "TypeError: Not a YAML list: 'GET'"),
    ],
)
def test_command_line_ends_with_the_message(
    questions: Path, tmp_path: Path, data: list[str], told: str
) -> None:
    result = copier_copy(questions, tmp_path / "p", *data)
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith(told)
    assert not (tmp_path / "p").exists()


def test_command_line_renders_what_it_accepts(questions: Path, tmp_path: Path) -> None:
    project = tmp_path / "p"
    result = copier_copy(
        questions, project, "frontend_origins=https://*.example.com http://localhost:*"
    )
    assert result.returncode == 0, result.stderr
    rendered = runpy.run_path(str(project / "app/settings.py"))
    assert rendered["CORS_ORIGINS"] == ["https://*.example.com", "http://localhost:*"]
