"""What Copier makes of answers: bad ones are refused with a message, and nothing is rendered."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import accepted, refused, rewritten
from conftest import commit, copy, git, update
from copier import run_copy
from copier._cli import CopierApp
from copier.errors import CopierError


@pytest.fixture(scope="module")
def questions(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without git, which Copier reads in half the time."""
    folder = tmp_path_factory.mktemp("questions") / "template"
    return Path(shutil.copytree(template, folder, ignore=shutil.ignore_patterns(".git")))


def refusal(questions: Path, project: Path, answers: dict[str, Any]) -> str:
    """Return the message of the error that ends `copier copy` with nothing rendered."""
    with pytest.raises((ValueError, TypeError, yaml.YAMLError, CopierError)) as error:
        copy(questions, project, answers)
    assert not project.exists()
    return str(error.value)


def assert_refused(message: str, question: str, problems: list[str]) -> None:
    assert message.startswith(f"Validation error for question '{question}': ")
    for problem in problems:
        assert problem in message


def rendered(questions: Path, project: Path, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the answers as the app has them."""
    copy(questions, project, answers)
    return runpy.run_path(str(project / "app/answers.py"))


# What is refused


@pytest.mark.parametrize(
    ("question", "section"),
    [
        ("frontend_origins", "origins"),
        ("allowed_headers", "allowed_headers"),
        ("exposed_headers", "exposed_headers"),
    ],
)
def test_every_refused_item_is_named_at_once(
    questions: Path, tmp_path: Path, question: str, section: str
) -> None:
    items = [case[0] for case in refused(section)]
    message = refusal(questions, tmp_path / "p", {question: items})
    assert_refused(message, question, [reason for _, _, reason in refused(section)])
    advised = [f"write {written}" for _, written, _ in refused(section) if written]
    assert_refused(message, question, advised)
    assert message.count(", not ") + message.count("; remove ") >= len(items) - 1


@pytest.mark.parametrize(
    ("question", "value", "problem"),
    [
        ("frontend_origins", "", "write at least one origin"),
        ("frontend_origins", None, "write at least one origin"),
        ("frontend_origins", 3000, "write https://app.example.com, not 3000: it is not a list"),
        ("frontend_origins", {"a": 1}, "not {'a': 1}: it is not a list or a text"),
        ("frontend_origins", [True, None, ["x"]], "not None: it is not a text"),
        ("frontend_origins", "any, https://a.example", "write any alone, or remove it"),
        ("frontend_origins", "a.example null", "write https://a.example, not a.example"),
        ("frontend_origins", "a.example null", "remove null: any site can send it"),
        ("allowed_headers", False, "write Content-Type, not False: it is not a list or a text"),
        ("exposed_headers", [1, "ETag"], "write X-Request-ID, not 1: it is not a text"),
    ],
)
def test_list_is_refused(
    questions: Path, tmp_path: Path, question: str, value: Any, problem: str
) -> None:
    assert_refused(refusal(questions, tmp_path / "p", {question: value}), question, [problem])


@pytest.mark.parametrize(("answers", "problems"), refused("policies"), ids=str)
def test_policy_is_refused(
    questions: Path, tmp_path: Path, answers: dict[str, Any], problems: list[str]
) -> None:
    message = refusal(questions, tmp_path / "p", answers)
    assert message.startswith(("Validation error for question '", "Invalid choice for '"))
    assert any(problem in message for problem in problems)  # Copier stops at the first question


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (["GET", "get"], "'allowed_methods': 'get' is not in ['GET', 'HEAD'"),
        (["TRACE"], "'allowed_methods': 'TRACE' is not in ['GET', 'HEAD'"),
        ("[*]", "while scanning an alias"),
        ([], "choose at least one method, such as GET"),
        ("[]", "choose at least one method, such as GET"),
        ({"GET": True, "PUT": False}, "write [GET, POST], not {'GET': True, 'PUT': False}"),
        ("GET", "Not a YAML list: 'GET'"),  # before any validator runs: README.md says [GET]
        ("GET, POST", "Not a YAML list: 'GET, POST'"),
        ("[GET", "while parsing a flow sequence"),
        (None, "'NoneType' object is not iterable"),
        (7, "'int' object is not iterable"),
    ],
)
def test_methods_are_refused(questions: Path, tmp_path: Path, value: Any, problem: str) -> None:
    assert problem in refusal(questions, tmp_path / "p", {"allowed_methods": value})


@pytest.mark.parametrize("value", ["flase", "maybe", "ja", "-1", 2, 0.5, [True], {"a": 1}, None])
def test_credentials_are_allowed_by_no_accident(
    questions: Path, tmp_path: Path, value: Any
) -> None:
    message = refusal(questions, tmp_path / "p", {"allow_credentials": value})
    assert f"write yes or no, not {value}" in message or "Invalid answer" in message


@pytest.mark.parametrize("value", ["flase", "maybe", "-1", 2, 0.5, [True], {"a": 1}, None])
def test_site_is_shared_by_no_accident(questions: Path, tmp_path: Path, value: Any) -> None:
    answers = {"allow_credentials": True, "frontends_share_site": value}
    message = refusal(questions, tmp_path / "p", answers)
    assert f"write yes or no, not {value}" in message or "Invalid answer" in message


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-2, "write -1, not -2: it is from -1 to 86400 seconds"),
        (31536000, "write 86400, not 31536000: it is from -1 to 86400 seconds"),
        (600.5, "write 600, not 600.5: it is a whole number of seconds"),
        (True, "write 600, not True: it is a whole number of seconds"),
        ("1_000", "write 600, not 1_000: it is a whole number of seconds"),
        ("６００", "write 600, not ６００: it is a whole number of seconds"),
        ("+5", "write 600, not +5: it is a whole number of seconds"),
        ("1h", "write 600, not 1h: it is a whole number of seconds"),
        ("600.5", "write 600, not 600.5: it is a whole number of seconds"),
        ("0600", "write 600, not 0600: it is a whole number of seconds"),  # octal in YAML
        ("", 'write 600, not "": it is a whole number of seconds'),
        (None, "write 600, not None: it is a whole number of seconds"),
        ("9" * 5_000, "4300 digits"),  # in Copier's words, as it cannot convert it
    ],
)
def test_max_age_is_refused(questions: Path, tmp_path: Path, value: Any, problem: str) -> None:
    assert problem in refusal(questions, tmp_path / "p", {"preflight_max_age": value})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "write a name, such as Bookshop API"),
        (" \u200b\n", "write a name, such as Bookshop API"),
        (" Shop ", 'write Shop, not " Shop ": it is one line, without spaces around it'),
        ("Shop\n# Evil", 'write Shop # Evil, not "Shop\\n# Evil"'),
        ("Shop\0\x1b[31m", "write Shop [31m, not "),
        ("Shop\u2028API\udcff", "write Shop API, not "),
        ("x" * 81, "write at most 80 characters, not 81: xxx"),
        ("x" * 10_000, "write at most 80 characters, not 10000: xxx"),
        ({"name": "Shop"}, "Could not convert {'name': 'Shop'} to string"),
        (None, 'Invalid answer "None"'),
    ],
)
def test_project_name_is_refused(questions: Path, tmp_path: Path, value: Any, problem: str) -> None:
    message = refusal(questions, tmp_path / "p", {"project_name": value})
    assert problem in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            ["databse"],
            "'extras': 'databse' is not in ['database', 'login', 'container', 'kubernetes',",
        ),
        ({"database": True}, "write [database], not {'database': True}: it is a list"),
        ("database", "Not a YAML list: 'database'"),
    ],
)
def test_extras_are_refused(questions: Path, tmp_path: Path, value: Any, problem: str) -> None:
    assert problem in refusal(questions, tmp_path / "p", {"extras": value})


WITH_LOGIN: dict[str, Any] = {"extras": ["database", "login"], "allow_credentials": True}
ANSWER_YES = "answer yes to allow_credentials (-d allow_credentials=yes)"


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (
            {"extras": ["container", "login"]},
            "choose database as well (-d 'extras=[database, login, container]'): ",
        ),
        (
            {"allow_credentials": False},
            f"{ANSWER_YES}: the log-in of http://localhost:5173 is a cookie",
        ),
        (
            {
                "allow_credentials": False,
                "frontend_origins": "capacitor://localhost, https://*.example.com",
            },
            f"{ANSWER_YES}: the log-in of https://*.example.com is a cookie",
        ),
        (
            {"allow_credentials": False, "frontend_origins": "any"},
            "name the frontends in place of any (-d frontend_origins=https://app.example.com): ",
        ),
        ({"database_extra": "3.0.0"}, "move to the database extra of 4.0.0 first: "),
    ],
)
def test_login_is_refused_without_what_it_needs(
    questions: Path, tmp_path: Path, answers: dict[str, Any], problem: str
) -> None:
    message = refusal(questions, tmp_path / "p", {**WITH_LOGIN, **answers})
    assert message.startswith(f"Validation error for question 'extras': {problem}")


APPS_ORIGINS = "capacitor://localhost, https://localhost, http://localhost, http://tauri.localhost"


@pytest.mark.parametrize(
    "answers", [{}, {"frontend_origins": APPS_ORIGINS, "allow_credentials": False}], ids=str
)
def test_login_is_rendered(questions: Path, tmp_path: Path, answers: dict[str, Any]) -> None:
    """For apps, which have tokens, without credentials too."""
    settings = rendered(questions, tmp_path / "p", {**WITH_LOGIN, **answers})
    assert settings["EXTRAS"] == ["app.resources", "app.accounts"]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"frontends_share_site": True}, "log in by a cookie of the API's own site: give the API"),
        ({"frontends_share_site": False}, "and Safari drops it where the API is on another\nsite"),
        ({"frontend_origins": APPS_ORIGINS, "allow_credentials": False}, ""),
    ],
)
def test_message_says_what_login_asks_for(
    questions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: dict[str, Any],
    told: str,
) -> None:
    run_copy(str(questions), tmp_path / "p", data={**WITH_LOGIN, **answers}, defaults=True)
    message = capsys.readouterr().err
    assert "\n  flask users add you@example.com\n" in message
    assert told in message
    assert ("a name under" in message) is bool(told)


# The questions' names: Copier ignores all others

GUESSED = {
    "project_name": "name title project app_name api_name",
    "frontend_origins": """
        origin origins allow_origins allowed_origins allowedOrigins cors_origins CORS_ORIGINS
        cors-allowed-origins frontend frontends
    """,
    "allowed_methods": "method methods allow_methods cors_methods",
    "allow_credentials": "credentials supports_credentials CORS_SUPPORTS_CREDENTIALS",
    "frontends_share_site": "share_site same_site",
    "allowed_headers": "header headers allow_headers allowedHeaders cors_allow_headers",
    "exposed_headers": "expose_headers exposedHeaders cors_expose_headers",
    "preflight_max_age": "max_age maxAge cors_max_age",
    "extras": "extra",
}
MISSPELT = {
    "project-name": "project_name",
    "projectname": "project_name",
    "frontend_origin": "frontend_origins",
    "frontend-origins": "frontend_origins",
    "Frontend_Origin": "frontend_origins",
    "frontendOrigins": "frontend_origins",
    "frontned_origins": "frontend_origins",
    "Allowed_Methods": "allowed_methods",
    "allowed_method": "allowed_methods",
    "allow_methods": "allowed_methods",
    "allow_credential": "allow_credentials",
    "allow_credentails": "allow_credentials",
    "frontend_share_site": "frontends_share_site",
    "frontends_share_sites": "frontends_share_site",
    "allowed_header": "allowed_headers",
    "expose_headers": "exposed_headers",
    "preflight_maxage": "preflight_max_age",
    "extra": "extras",
}
OTHERS = """
    project_slug project_version description author_name python_version license framework
    frontend_url frontend_port allowed_hosts database
    allow_signup expose_metrics project_namespace allowed_headers_all _private
"""


@pytest.mark.parametrize(
    ("question", "guess"),
    [(question, guess) for question, guesses in GUESSED.items() for guess in guesses.split()],
)
def test_guessed_name_is_refused(
    questions: Path, tmp_path: Path, question: str, guess: str
) -> None:
    """With the name that was meant, and nothing else."""
    problem = f"write {question}, not {guess}: no question has that name"
    message = refusal(questions, tmp_path / "p", {guess: "https://app.example.com"})
    assert message == f"Validation error for question 'project_name': {problem}"


def test_misspelt_name_is_refused(questions: Path, tmp_path: Path) -> None:
    answers = dict.fromkeys([*MISSPELT, *OTHERS.split()], "https://app.example.com")
    message = refusal(questions, tmp_path / "p", answers)
    problems = [f"write {name}, not {typed}" for typed, name in MISSPELT.items()]
    assert_refused(message, "project_name", problems)
    assert message.count(": no question has that name") == len(MISSPELT)


def test_other_names_are_accepted(questions: Path, tmp_path: Path) -> None:
    """People share a file of answers among templates, and an update passes on retired ones."""
    copy(questions, tmp_path / "p", dict.fromkeys(OTHERS.split(), "x"))
    assert (tmp_path / "p/app/answers.py").exists()


def test_update_of_old_answers(template: Path, tmp_path: Path) -> None:
    """An answer that is no longer asked for is forgotten; what was typed is kept as it was."""
    project = tmp_path / "p"
    copy(template, project, {"frontend_origins": "HTTPS://Shop.example/, https://shop.example"})
    file = project / ".copier-answers.yml"
    file.write_text(f"{file.read_text()}framework: flask\nold_answer: [1]\n")
    commit(project)
    update(project, allow_credentials=True)
    stored = yaml.safe_load(file.read_text())
    assert stored["frontend_origins"] == "HTTPS://Shop.example/, https://shop.example"
    assert "framework" not in stored
    found = runpy.run_path(str(project / "app/answers.py"))
    assert found["CORS_ORIGINS"] == ["https://shop.example"]
    assert found["CORS_SUPPORTS_CREDENTIALS"] is True
    commit(project)
    with pytest.raises(ValueError, match=r"write https://shop\.example, not http://shop\.example"):
        update(project, frontend_origins="http://shop.example")  # with the stored credentials
    assert git(project, "status", "--porcelain") == ""


# What is rendered


def test_every_accepted_item_is_rendered_canonical(questions: Path, tmp_path: Path) -> None:
    expected = {}
    answers = {}
    for question, setting, section in (
        ("frontend_origins", "CORS_ORIGINS", "origins"),
        ("allowed_headers", "CORS_ALLOW_HEADERS", "allowed_headers"),
        ("exposed_headers", "CORS_EXPOSE_HEADERS", "exposed_headers"),
    ):
        cases = [[item, item] for item in accepted(section)] + rewritten(section)
        if section == "origins":
            cases = [case for case in cases if case[1] != "*"]
        answers[question] = [item for item, _ in cases]
        canonical = {value.lower(): value for _, value in reversed(cases)}
        expected[setting] = sorted(canonical.values())
    found = rendered(questions, tmp_path / "p", answers)
    assert {setting: sorted(found[setting]) for setting in expected} == expected


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("https://a.example, https://b.example", ["https://a.example", "https://b.example"]),
        (["https://b.example", "https://a.example"], ["https://b.example", "https://a.example"]),
        ('["https://a.example", HTTPS://B.example/]', ["https://a.example", "https://b.example"]),
        ("'https://a.example' \"https://b.example\"", ["https://a.example", "https://b.example"]),
        ("- https://a.example\n- b.example", None),
        ("any", ["*"]),
        ("*", ["*"]),
        ('"*"', ["*"]),
        (["*", "any"], ["*"]),
    ],
)
def test_origins_are_rendered(
    questions: Path, tmp_path: Path, value: Any, origins: list[str] | None
) -> None:
    if origins is None:
        message = refusal(questions, tmp_path / "p", {"frontend_origins": value})
        assert message.endswith(": write https://b.example, not b.example: an origin has a scheme")
    else:
        found = rendered(questions, tmp_path / "p", {"frontend_origins": value})
        assert found["CORS_ORIGINS"] == origins


@pytest.mark.parametrize("answers", accepted("policies"), ids=str)
def test_policy_is_accepted(questions: Path, tmp_path: Path, answers: dict[str, Any]) -> None:
    found = rendered(questions, tmp_path / "p", answers)
    assert found["CORS_SUPPORTS_CREDENTIALS"] is answers.get("allow_credentials", False)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            {
                "allowed_methods": "[PUT, GET]",
                "allow_credentials": "yes",
                "preflight_max_age": "-1",
            },
            {"CORS_METHODS": ["GET", "PUT"], "CORS_SUPPORTS_CREDENTIALS": True, "CORS_MAX_AGE": -1},
        ),
        (
            {"allowed_headers": None, "exposed_headers": "*, ETag:", "preflight_max_age": 86400},
            {"CORS_ALLOW_HEADERS": [], "CORS_EXPOSE_HEADERS": ["*", "ETag"], "CORS_MAX_AGE": 86400},
        ),
        (
            {"allow_credentials": "off", "allowed_headers": "", "exposed_headers": []},
            {
                "CORS_SUPPORTS_CREDENTIALS": False,
                "CORS_ALLOW_HEADERS": [],
                "CORS_EXPOSE_HEADERS": [],
            },
        ),
    ],
)
def test_other_answers_are_rendered(
    questions: Path, tmp_path: Path, answers: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = rendered(questions, tmp_path / "p", answers)
    assert {setting: found[setting] for setting in expected} == expected


LAX = ("Lax", False)
NONE = ("None", True)


def cookie(settings: dict[str, Any]) -> tuple[str, bool]:
    assert settings["SESSION_COOKIE_SECURE"] is True
    return settings["SESSION_COOKIE_SAMESITE"], settings["SESSION_COOKIE_PARTITIONED"]


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ("https://app.example.com", LAX),
        ("https://*.example.com, https://example.com, https://pr-*.shop.example.com:*", LAX),
        ("https://app.example.co.uk HTTPS://Example.co.uk/", LAX),
        ("http://localhost:*, http://*.localhost:3000", LAX),
        ("http://127.0.0.1:5500, http://127.0.0.1:*", LAX),
        ("http://[::1]:3000, http://[::1]:5173", LAX),
        ("http://[0:0:0:0:0:0:0:1]:3000, https://app.example.com", LAX),
        ("http://localhost:5173, https://app.example.com", LAX),
        ("http://127.0.0.1:5500, https://app.example.com", LAX),
        # What browsers take for other sites, though it is one machine.
        ("http://localhost:5173, http://127.0.0.1:5500", NONE),
        ("http://localhost:5173, http://[::1]:3000, https://app.example.com", NONE),
        ("http://127.0.0.1:5500, http://[::1]:3000", NONE),
        ("http://127.0.0.1:5500, http://127.0.0.2:5500", NONE),
        ("https://10.0.0.1, https://10.0.0.1:8443", LAX),
        ("https://app.example.com, https://app.example.net", NONE),
        ("https://a.co.uk, https://b.co.uk", NONE),
        ("https://10.0.0.1, https://10.0.0.2", NONE),
        ("capacitor://localhost", NONE),
        ("http://tauri.localhost", NONE),
        ("https://localhost", NONE),  # a Capacitor app's on Android
        ("https://app.example.com, chrome-extension://abcdefghijklmnopabcdefghijklmnop", NONE),
        ("https://mysite.netlify.app", NONE),
        ("https://app.example.com https://yours.github.io", NONE),
    ],
)
def test_session_cookie_goes_where_the_frontends_are(
    questions: Path, tmp_path: Path, origins: str, expected: tuple[str, bool]
) -> None:
    answers = {"frontend_origins": origins, "allow_credentials": True}
    assert cookie(rendered(questions, tmp_path / "p", answers)) == expected
    stored = yaml.safe_load((tmp_path / "p/.copier-answers.yml").read_text())
    assert stored["frontends_share_site"] is (expected == LAX)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"frontend_origins": "any"}, LAX),
        ({"frontend_origins": "capacitor://localhost"}, LAX),
        ({"frontends_share_site": False}, LAX),  # not asked without credentials
        ({"allow_credentials": True, "frontends_share_site": "no"}, NONE),
        (
            {
                "frontend_origins": "https://mysite.netlify.app",
                "allow_credentials": True,
                "frontends_share_site": "on",
            },
            LAX,
        ),
    ],
)
def test_session_cookie_is_as_answered(
    questions: Path, tmp_path: Path, answers: dict[str, Any], expected: tuple[str, bool]
) -> None:
    assert cookie(rendered(questions, tmp_path / "p", answers)) == expected


def test_message_lists_the_origins_as_enforced(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = "HTTPS://App.example/, capacitor://localhost https://app.example"
    run_copy(str(questions), tmp_path / "p", data={"frontend_origins": typed}, defaults=True)
    listed = """
    https://app.example
    capacitor://localhost
      Note: on Android, the same app has the origin https://localhost
"""
    assert listed in capsys.readouterr().err
    run_copy(str(questions), tmp_path / "q", data={"frontend_origins": "any"}, defaults=True)
    assert "Pages on every site may call it." in capsys.readouterr().err


# At the command line


def arguments(questions: Path, project: Path, *data: str) -> list[str]:
    options = [argument for answer in data for argument in ("-d", answer)]
    return ["copy", "--defaults", "--quiet", *options, str(questions), str(project)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            ["frontend_origins=http://app.example.com", "allow_credentials=true"],
            "'allow_credentials': write https://app.example.com, not http://app.example.com: with"
            + " credentials, anyone on the network could act as the user (in frontend_origins)",
        ),
        (["frontend_origins=any", "allow_credentials=flase"], "write yes or no, not flase"),
        (["allowed_methods=GET"], "Not a YAML list: 'GET'"),
        (
            ["frontend_origin=https://app.example.com"],
            "write frontend_origins, not frontend_origin: no question has that name",
        ),
    ],
)
def test_command_ends_with_the_message(
    questions: Path, tmp_path: Path, data: list[str], message: str
) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        CopierApp.run(["copier", *arguments(questions, tmp_path / "p", *data)], exit=False)
    assert str(error.value).endswith(message)
    assert not (tmp_path / "p").exists()


def test_traceback_ends_with_the_message(questions: Path, tmp_path: Path) -> None:
    origins = "frontend_origins=a.example, https://b.example/ https://*.github.io null"
    result = subprocess.run(
        [sys.executable, "-m", "copier", *arguments(questions, tmp_path / "p", origins)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith(
        "\nValueError: Validation error for question 'frontend_origins': "
        "write https://a.example, not a.example: an origin has a scheme; "
        "write https://yours.github.io, not https://*.github.io: anyone can get a name under"
        " github.io; remove null: any site can send it, from a sandboxed frame or a local file"
    )
    assert not (tmp_path / "p").exists()


def test_command_renders_what_it_accepts(questions: Path, tmp_path: Path) -> None:
    data = [
        "frontend_origins=https://*.Example.com/ http://localhost:*, capacitor://localhost",
        "allowed_methods=[GET]",
        'exposed_headers=""',
    ]
    CopierApp.run(["copier", *arguments(questions, tmp_path / "p", *data)], exit=False)
    found = runpy.run_path(str(tmp_path / "p/app/answers.py"))
    assert found["CORS_ORIGINS"] == [
        "https://*.example.com",
        "http://localhost:*",
        "capacitor://localhost",
    ]
    assert (found["CORS_METHODS"], found["CORS_EXPOSE_HEADERS"]) == (["GET"], [])
