"""The app does not start with settings that are invalid, or that it would ignore."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from flask import Flask

from app.cors import Policy, PolicyError, load_env

CONFIG: dict[str, Any] = {
    "CORS_ORIGINS": ["https://app.example.com"],
    "CORS_METHODS": ["GET", "PUT"],
    "CORS_SUPPORTS_CREDENTIALS": False,
    "CORS_ALLOW_HEADERS": [],
    "CORS_EXPOSE_HEADERS": [],
    "CORS_MAX_AGE": 600,
}


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Undo what a test and `load_env` set."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def policy(**config: Any) -> Policy:
    """Return the policy of an app as `create_app` configures it."""
    app = Flask(__name__)
    app.config.from_mapping(CONFIG)
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    return Policy.from_config(app.config)


def refusal(path: Path) -> str:
    with pytest.raises(ClickException) as caught:
        load_env(path)
    return caught.value.message


# Variables


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CORS_ORIGINS", "FLASK_CORS_ORIGINS"),
        ("CORS_MAX_AGE", "FLASK_CORS_MAX_AGE"),
        ("cors_origins", "FLASK_CORS_ORIGINS"),
        ("flask_cors_origins", "FLASK_CORS_ORIGINS"),
        ("Flask_Cors_Supports_Credentials", "FLASK_CORS_SUPPORTS_CREDENTIALS"),
        ("FLASK_CORS__ORIGINS", "FLASK_CORS_ORIGINS"),
        ("FLASK__CORS_ORIGINS", "FLASK_CORS_ORIGINS"),
        ("FLASK_CORS_ORIGINS__0", "FLASK_CORS_ORIGINS"),
        ("FLASK_CORS_METHODS__1", "FLASK_CORS_METHODS"),
        ("FLASK_CORS_ORIGIN", "FLASK_CORS_ORIGINS"),
        ("FLASK_CORS_ALLOWED_HEADERS", "FLASK_CORS_ALLOW_HEADERS"),
        ("CORS_ALLOWED_ORIGINS", "FLASK_CORS_ORIGINS"),
        ("FLASK_CORS_ALLOW_CREDENTIALS", "FLASK_CORS_SUPPORTS_CREDENTIALS"),
    ],
)
@pytest.mark.parametrize("place", ["shell", ".env"])
def test_variable_that_nobody_reads_is_refused(
    tmp_path: Path, variable: str, meant: str, place: str
) -> None:
    env = tmp_path / ".env"
    if place == "shell":
        os.environ[variable] = "https://other.example"
    else:
        env.write_text(f"{variable}=https://other.example\n")
    message = refusal(env)
    assert f"write {meant}, not {variable}:" in message


def test_variable_that_nobody_reads_is_refused_by_an_app_without_env_file() -> None:
    os.environ["CORS_ORIGINS"] = "https://other.example"
    with pytest.raises(PolicyError, match="write FLASK_CORS_ORIGINS, not CORS_ORIGINS"):
        policy()


@pytest.mark.parametrize(
    "variable",
    [
        "FLASK_DEBUG",
        "FLASK_SECRET_KEY",
        "FLASK_MAX_CONTENT_LENGTH",
        "CORSAIR_HOME",
        "MY_CORS_ORIGINS",
    ],
)
def test_variable_of_something_else_is_left_alone(tmp_path: Path, variable: str) -> None:
    os.environ[variable] = "1"
    load_env(tmp_path / ".env")
    assert policy().max_age == 600


# The file .env


def test_env_file_sets_what_the_environment_does_not(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(
        "# A comment, and a blank line\n\n"
        'export FLASK_CORS_ORIGINS="https://One.example/, https://two.example"\n'
        "FLASK_CORS_MAX_AGE=5\n"
        "FLASK_CORS_METHODS='[\"get\"]'\n"
        "FLASK_CORS_SUPPORTS_CREDENTIALS=true\n"
        "LONG='one\ntwo'\n",
        encoding="utf-8-sig" if os.name == "nt" else "utf-8",
    )
    os.environ["FLASK_CORS_MAX_AGE"] = "7"
    load_env(env)
    found = policy()
    assert found.origins == ("https://one.example", "https://two.example")
    assert (found.max_age, found.methods, found.supports_credentials) == (7, ("GET",), True)


def test_env_file_may_be_missing(tmp_path: Path) -> None:
    load_env(tmp_path / ".env")
    assert policy().origins == ("https://app.example.com",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('FLASK_DEBUG=1\nFLASK_CORS_ORIGINS="https://a.example\n', "line 2"),
        ("FLASK_CORS_ORIGINS 'https://a.example'\n", "line 1"),
        ("\n\nFLASK_CORS_ORIGINS = 'https://a.example' x\n", "line 3"),
        ("=1\nFLASK_DEBUG=1\n'=2\n", "line 1, 3"),
        ("# all right\nFLASK_CORS_ORIGINS\n", "line 2"),
        ("FLASK_CORS_ORIGINS: https://a.example\n", "line 1"),
    ],
)
def test_line_that_is_no_assignment_is_refused(tmp_path: Path, text: str, line: str) -> None:
    env = tmp_path / ".env"
    env.write_text(text)
    message = refusal(env)
    assert message.startswith(f"write NAME=value in {env}, {line}")
    assert not os.environ.get("FLASK_CORS_ORIGINS")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_env_file_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    env = tmp_path / ".env"
    env.write_bytes("FLASK_NAME=Café\n".encode(encoding))
    assert refusal(env).startswith(f"save {env} as UTF-8")


def test_env_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".env"
    folder.mkdir()
    assert refusal(folder).startswith(f"make {folder} readable: ")

    def forbid(path: Path, **options: Any) -> str:
        raise PermissionError(13, "Permission denied")

    env = tmp_path / "secret.env"
    env.touch()
    monkeypatch.setattr(Path, "read_text", forbid)
    assert refusal(env) == f"make {env} readable: Permission denied"


# The settings


def test_every_problem_is_listed_with_what_to_write() -> None:
    bad = {
        "CORS_ORIGINS": ["localhost:3000", "https://app.example.com."],
        "CORS_METHODS": "GET, TRACE",
        "CORS_SUPPORTS_CREDENTIALS": "yes",
        "CORS_ALLOW_HEADERS": ["Cookie"],
        "CORS_EXPOSE_HEADERS": 7,
        "CORS_MAX_AGE": 100_000,
        "CORS_ORIGIN": "https://app.example.com",
    }
    with pytest.raises(PolicyError) as caught:
        policy(**bad)
    starts = [
        "CORS_ORIGINS: write http://localhost:3000, not localhost:3000: ",
        "CORS_ORIGINS: write https://app.example.com, not https://app.example.com.: ",
        "CORS_METHODS: remove TRACE: ",
        "CORS_SUPPORTS_CREDENTIALS: write true, not yes: ",
        "CORS_ALLOW_HEADERS: remove Cookie: ",
        "CORS_EXPOSE_HEADERS: write X-Request-ID, not 7: ",
        "CORS_MAX_AGE: write 86400, not 100000: ",
        "CORS_ORIGIN: write CORS_ORIGINS: ",
    ]
    assert len(caught.value.problems) == len(starts)
    for problem, start in zip(caught.value.problems, starts, strict=True):
        assert problem.startswith(start), problem
    assert str(caught.value.format_message()).count("\n") == len(starts)


@pytest.mark.parametrize("name", CONFIG)
@pytest.mark.parametrize("value", [None, "", [], {}, 1.5, [None], [[]], object()])
def test_no_value_ends_in_another_error(name: str, value: Any) -> None:
    optional = name.endswith("_HEADERS") and (value is None or value in ("", []))
    if optional:
        policy(**{name: value})
    else:
        with pytest.raises(PolicyError):
            policy(**{name: value})
