"""The app does not start with settings that are invalid, or that it would ignore."""

import json
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
        ("=1\nFLASK_DEBUG=1\n'=2\n", "line 1"),
        ("FLASK_DEBUG=1\n\n'=2\n", "line 3"),
        ("# all right\nFLASK_CORS_ORIGINS\n", "line 2"),
        ("FLASK_CORS_ORIGINS: https://a.example\n", "line 1"),
    ],
)
def test_line_that_is_no_assignment_is_refused(tmp_path: Path, text: str, line: str) -> None:
    env = tmp_path / ".env"
    env.write_text(text)
    message = refusal(env)
    assert message.startswith(f"write NAME=value in {env}, {line}:")
    assert not os.environ.get("FLASK_CORS_ORIGINS")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_env_file_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    env = tmp_path / ".env"
    env.write_bytes("FLASK_NAME=Café\n".encode(encoding))
    assert refusal(env).startswith(f"make {env} a readable file in UTF-8: ")


def test_env_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".env"
    folder.mkdir()
    assert refusal(folder).startswith(f"make {folder} a readable file in UTF-8: ")

    def forbid(path: Path, **options: Any) -> str:
        raise PermissionError(13, "Permission denied")

    env = tmp_path / "secret.env"
    env.touch()
    monkeypatch.setattr(Path, "read_text", forbid)
    assert refusal(env).endswith("Permission denied")


# The settings


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ORIGINS", ["localhost:3000"], "CORS_ORIGINS: write http://localhost:3000, not localhost"),
        ("ORIGINS", [], "CORS_ORIGINS: write at least one, such as https://app.example.com"),
        ("ORIGINS", "any https://a.test", "CORS_ORIGINS: write any alone, or remove it: "),
        ("ORIGINS", "https://*.co.uk", "CORS_ORIGINS: name the domain that is yours in https://*."),
        ("METHODS", "GET, POTS", "CORS_METHODS: write POST, not POTS"),
        ("METHODS", "gte", "CORS_METHODS: write GET, not gte"),
        ("METHODS", "Delet", "CORS_METHODS: write DELETE, not Delet"),
        ("METHODS", "*", "CORS_METHODS: write methods by name, such as GET, POST, not *"),
        ("SUPPORTS_CREDENTIALS", "yes", "CORS_SUPPORTS_CREDENTIALS: write true or false, not yes"),
        ("SUPPORTS_CREDENTIALS", 1, "CORS_SUPPORTS_CREDENTIALS: write true or false, not 1"),
        ("ALLOW_HEADERS", ["X Y"], "CORS_ALLOW_HEADERS: write the name of a header, such as X-"),
        ("ALLOW_HEADERS", "Content Type", "CORS_ALLOW_HEADERS: write Content-Type with its hyphen"),
        ("EXPOSE_HEADERS", 7, "CORS_EXPOSE_HEADERS: write a list such as X-Request-ID, not 7"),
        ("MAX_AGE", 100_000, "CORS_MAX_AGE: write a number of seconds from -1 to 86400, not 1"),
        ("MAX_AGE", True, "CORS_MAX_AGE: write a number of seconds from -1 to 86400, not True"),
        ("PROTECTION", "off", "CORS_PROTECTION: write true or false, not off"),
    ],
)
@pytest.mark.parametrize("place", ["code", "environment"])
def test_problem_names_its_setting_and_what_to_write(
    name: str, value: Any, message: str, place: str
) -> None:
    if place == "environment":
        os.environ[f"FLASK_CORS_{name}"] = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(PolicyError) as caught:
        policy(**{f"CORS_{name}": value} if place == "code" else {})
    assert caught.value.message.startswith(message)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("CORS_ORIGIN", "CORS_ORIGINS"), ("CORS_ALLOWED_HEADERS", "CORS_ALLOW_HEADERS")],
)
def test_setting_that_nobody_reads_is_refused(name: str, meant: str) -> None:
    with pytest.raises(PolicyError, match=f"^write {meant}, not {name}: nothing reads that name"):
        policy(**{name: "https://app.example.com"})


def test_start_stops_at_the_first_problem_without_a_traceback() -> None:
    with pytest.raises(PolicyError) as caught:
        policy(CORS_ORIGINS="localhost:3000", CORS_MAX_AGE="ten")
    assert isinstance(caught.value, ClickException) and isinstance(caught.value, ValueError)
    assert "CORS_MAX_AGE" not in caught.value.message


@pytest.mark.parametrize(
    ("origin", "credentials", "who"),
    [
        ("any", True, "every site could act as the user"),
        ("http://app.example.com", True, "anyone on the network could act as the user"),
        ("https://pr-*.vercel.app", True, "anyone with a name under vercel.app could act as"),
        ("https://*--mysite.netlify.app", True, "anyone with a name under netlify.app could"),
        ("https://*--mysite.netlify.app", False, None),
        ("https://pr-*.vercel.app", False, None),
        ("http://localhost:*", True, None),
        ("https://*.example.com", True, None),
    ],
)
def test_credentials_go_to_nobody_who_could_act_as_the_user(
    origin: str, credentials: bool, who: str | None
) -> None:
    given = {"CORS_ORIGINS": [origin], "CORS_SUPPORTS_CREDENTIALS": credentials}
    if who is None:
        assert policy(**given).supports_credentials is credentials
        return
    with pytest.raises(PolicyError, match=f"^CORS_ORIGINS: remove .*: with credentials, {who}"):
        policy(**given)


@pytest.mark.parametrize("name", ["ALLOW_HEADERS", "EXPOSE_HEADERS"])
def test_star_is_no_wildcard_with_credentials(name: str) -> None:
    with pytest.raises(PolicyError, match=f"^CORS_{name}: write names: with credentials"):
        policy(**{f"CORS_{name}": "*", "CORS_SUPPORTS_CREDENTIALS": True})


@pytest.mark.parametrize("method", ["PROPPATCH", "PROPFIND", "QUERY", "ORDERPATCH", "REPORT"])
def test_other_methods_can_be_named(method: str) -> None:
    assert policy(CORS_METHODS=["GET", method.lower()]).methods == ("GET", method)


@pytest.mark.parametrize("name", CONFIG)
@pytest.mark.parametrize("value", [None, "", [], {}, 1.5, [None], [[]], object()])
def test_no_value_ends_in_another_error(name: str, value: Any) -> None:
    optional = name.endswith("_HEADERS") and (value is None or value in ("", []))
    if optional:
        policy(**{name: value})
    else:
        with pytest.raises(PolicyError):
            policy(**{name: value})
