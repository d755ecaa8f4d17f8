"""Answers change in projects that their owners have edited: nothing of theirs is lost.

Copier merges file by file, so edits of different files go into one project: the matrix of
edits and changes is complete, though not each pair has a project of its own.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import assert_green, commit, copy, git, run_tests, update
from copier import run_update

Edit = Callable[[Path], None]

START: dict[str, Any] = {
    "frontend_origins": "https://app.example.com, https://admin.example.com, http://localhost:5173"
}

CHANGES: dict[str, dict[str, Any]] = {
    "add": {"frontend_origins": f"{START['frontend_origins']}, https://*.preview.example.com"},
    "remove": {"frontend_origins": "https://app.example.com, http://localhost:5173"},
    "replace": {"frontend_origins": ["https://shop.example"]},
    "reorder": {
        "frontend_origins": "http://localhost:5173, https://admin.example.com, https://app.example.com"
    },
    "any": {"frontend_origins": "any"},
    "methods": {"allowed_methods": ["GET", "HEAD"]},
    "credentials": {"allow_credentials": True},
    "headers": {
        "allowed_headers": ["Content-Type", "X-CSRF-Token"],
        "exposed_headers": "",
        "preflight_max_age": -1,
    },
}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path}: {old}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


# What owners do. Each takes a project, edited or new.


def new_blueprint(project: Path) -> None:
    write(
        project / "app/books.py",
        'from flask import Blueprint\n\nbp = Blueprint("books", __name__, url_prefix="/api")\n\n\n'
        '@bp.get("/books")\ndef books() -> list[str]:\n    return []\n',
    )
    factory = project / "app/__init__.py"
    replace(factory, "from app import cors, ", "from app import books, cors, ")
    replace(
        factory,
        "    app.register_blueprint(health.bp)\n",
        "    app.register_blueprint(health.bp)\n    app.register_blueprint(books.bp)\n",
    )


def auth_hook(project: Path) -> None:
    factory = project / "app/__init__.py"
    replace(factory, "from flask import Flask\n", "from flask import Flask, abort, request\n")
    replace(
        factory,
        "    errors.init_app(app)\n",
        "    errors.init_app(app)\n\n    @app.before_request\n    def check_key() -> None:\n"
        '        if request.headers.get("X-Key") == "stolen":\n            abort(401)\n',
    )


def sample_deleted(project: Path) -> None:
    (project / "app/echo.py").unlink()
    (project / "tests/test_echo.py").unlink()
    replace(project / "app/__init__.py", "cors, echo, errors", "cors, errors")
    replace(project / "app/__init__.py", "    app.register_blueprint(echo.bp)\n", "")


def sample_renamed(project: Path) -> None:
    (project / "app/echo.py").rename(project / "app/mirror.py")
    replace(project / "app/mirror.py", 'Blueprint("echo"', 'Blueprint("mirror"')
    replace(
        project / "app/__init__.py", "cors, echo, errors, health", "cors, errors, health, mirror"
    )
    replace(project / "app/__init__.py", "echo.bp", "mirror.bp")


def own_tests(project: Path) -> None:
    write(project / "tests/test_mine.py", "def test_mine() -> None:\n    assert True\n")
    append(
        project / "tests/conftest.py",
        "\n\n@pytest.fixture\ndef book() -> str:\n    return 'Emma'\n",
    )


def moved_test(project: Path) -> None:
    (project / "tests/api").mkdir()
    (project / "tests/test_health.py").rename(project / "tests/api/test_health.py")


def deleted_test(project: Path) -> None:
    (project / "tests/test_errors.py").unlink()


def dependency(project: Path) -> None:
    replace(project / "pyproject.toml", '    "gunicorn', '    "httpx>=0.28",\n    "gunicorn')
    for lock in ("requirements.txt", "requirements-dev.txt"):
        replace(
            project / lock,
            "\nitsdangerous==",
            f"\nhttpx==0.28.1 \\\n    --hash=sha256:{'0' * 64}\nitsdangerous==",
        )
        text = (project / lock).read_text()
        write(project / lock, re.sub(r"--hash=sha256:f\w+", f"--hash=sha256:{'f' * 64}", text))


def own_settings(project: Path) -> None:
    settings = project / "app/settings.py"
    replace(settings, "MAX_CONTENT_LENGTH = 1_000_000", "MAX_CONTENT_LENGTH = 5_000_000")
    append(settings, '\nDATABASE = "sqlite:///books.db"\n')


def comment_near_the_origins(project: Path) -> None:
    replace(
        project / "app/settings.py",
        "# Pages on these origins may read what the API answers.\n",
        "# Agreed with the web team in May: ask them before you take one out.\n",
    )


def readme(project: Path) -> None:
    path = project / "README.md"
    replace(path, "# My API\n\nAn API in Flask", "# Books\n\nAll our books, in Flask")
    replace(path, "## Deploy\n", "## Where it runs\n\nOn the third shelf.\n\n## Deploy\n")
    text = path.read_text()
    write(path, text.partition("## Change dependencies")[0].rstrip() + "\n")


def env_file(project: Path) -> None:
    write(project / ".env", 'FLASK_CORS_ORIGINS="https://staging.example"\nFLASK_SECRET_KEY=x\n')


def ci_file(project: Path) -> None:
    write(project / ".github/workflows/test.yml", "on: push\njobs: {}\n")
    append(project / ".gitignore", "*.db\n")


def other_port(project: Path) -> None:
    replace(project / ".flaskenv", "FLASK_RUN_PORT=8000", "FLASK_RUN_PORT=9000")


def own_errors(project: Path) -> None:
    replace(
        project / "app/errors.py",
        '"status": response.status_code, "detail": detail}',
        '"status": response.status_code, "detail": detail, "help": "/help"}',
    )


def health_checks_database(project: Path) -> None:
    replace(
        project / "app/health.py",
        '    """The process can serve; check here what it needs, a database say."""\n',
        '    """The process can serve: the database answers."""\n    ping()\n',
    )
    append(project / "app/health.py", "\n\ndef ping() -> None:\n    pass\n")


def policy_code_edited(project: Path) -> None:
    append(project / "app/cors/policy.py", "\n# Reviewed by the security team.\n")


def reformatted(project: Path) -> None:
    command = [sys.executable, "-m", "ruff", "format", "-q", "--no-cache", "--line-length=79", "."]
    subprocess.run(command, cwd=project, check=True)


PROJECTS: dict[str, tuple[Edit, ...]] = {
    "grown": (
        new_blueprint,
        own_tests,
        dependency,
        own_settings,
        readme,
        env_file,
        ci_file,
        own_errors,
    ),
    "guarded": (
        auth_hook,
        moved_test,
        comment_near_the_origins,
        other_port,
        health_checks_database,
    ),
    "without-the-sample": (sample_deleted, deleted_test, policy_code_edited),
    "reformatted": (sample_renamed, reformatted),
}

# Edits of lines that hold answers: these may conflict.


def origin_by_hand(project: Path) -> None:
    replace(
        project / "app/settings.py",
        '    "http://localhost:5173",\n',
        '    "http://localhost:5173",\n    "https://by-hand.example",\n',
    )


def comment_at_an_origin(project: Path) -> None:
    replace(
        project / "app/settings.py",
        '    "https://admin.example.com",\n',
        '    "https://admin.example.com",  # until June\n',
    )


def origins_in_one_line(project: Path) -> None:
    path = project / "app/settings.py"
    text = path.read_text()
    origins = re.search(r"CORS_ORIGINS: list\[str\] = \[\n.*?\]\n", text, re.DOTALL)
    assert origins
    one_line = re.sub(r",\n\]", "]", re.sub(r"\n    ", " ", origins[0])).replace("[ ", "[")
    write(path, text.replace(origins[0], one_line))


def single_quotes(project: Path) -> None:
    path = project / "app/settings.py"
    write(path, path.read_text().replace('    "', "    '").replace('",\n', "',\n"))


def windows_lines(project: Path) -> None:
    path = project / "app/settings.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def methods_in_other_order(project: Path) -> None:
    replace(project / "app/settings.py", '    "GET",\n    "POST",\n', '    "POST",\n    "GET",\n')


def own_setting_among_ours(project: Path) -> None:
    replace(
        project / "app/settings.py", "CORS_MAX_AGE = 600\n", "CORS_MAX_AGE = 600\nDEBUG_TB = 1\n"
    )


def answers_by_hand(project: Path) -> None:
    replace(project / ".copier-answers.yml", "https://admin.example.com", "https://by-hand.example")


MAY_CONFLICT: dict[str, tuple[Edit, str]] = {
    "origin by hand": (origin_by_hand, "https://by-hand.example"),
    "comment at an origin": (comment_at_an_origin, "# until June"),
    "origins in one line": (origins_in_one_line, '= ["https://app.example.com", "https'),
    "single quotes": (single_quotes, "'Content-Type'"),
    "Windows lines": (windows_lines, "MAX_CONTENT_LENGTH"),
    "methods in another order": (methods_in_other_order, '    "POST",\n    "GET",'),
    "own setting among ours": (own_setting_among_ours, "DEBUG_TB = 1"),
    "answers by hand": (answers_by_hand, "https://admin.example.com"),
}


@pytest.fixture(scope="module")
def rendered(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A fresh copy with the answers of the start and of one change, made once."""
    folder = tmp_path_factory.mktemp("rendered")

    def rendered(change: str) -> Path:
        project = folder / (change or "start")
        if not project.exists():
            copy(template, project, START | CHANGES.get(change, {}))
        return project

    return rendered


@pytest.fixture
def edited(rendered: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Copy a rendered project and edit it."""

    def edited(change: str, *edits: Edit) -> Path:
        project = tmp_path / (change or "project")
        shutil.copytree(rendered(change), project)
        for edit in edits:
            edit(project)
        return project

    return edited


def files(project: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and not {".git", "__pycache__"} & set(path.parts)
    }


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", PROJECTS)
def test_edits_survive_and_the_policy_is_the_new_one(
    edited: Callable[..., Path], name: str, change: str
) -> None:
    project = edited("", *PROJECTS[name])
    commit(project)
    update(project, **CHANGES[change])

    assert files(project) == files(edited(change, *PROJECTS[name]))
    assert_green(project)

    commit(project)
    update(project, **CHANGES[change])
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", MAY_CONFLICT)
def test_what_cannot_be_merged_is_told(edited: Callable[..., Path], name: str, change: str) -> None:
    edit, mine = MAY_CONFLICT[name]
    project, fresh = edited("", edit), edited(change)
    commit(project)
    update(project, **CHANGES[change])

    path = project / "app/settings.py"
    settings = path.read_text()
    assert mine in settings, "an edit is lost"
    tests = run_tests(project, "tests/test_answers.py")
    told = tests.stdout + tests.stderr
    assert "SyntaxError" not in told and "Traceback" not in told

    if conflicts := [n for n, line in enumerate(settings.splitlines(), 1) if MARKER in line]:
        assert tests.returncode != 0
        check = subprocess.run(["git", "diff", "--check"], cwd=project, capture_output=True)
        for number in conflicts:
            assert f"app/settings.py:{number}: your lines come first, the template's last" in told
            assert f"app/settings.py:{number}: leftover conflict marker" in check.stdout.decode()
        write(
            path,
            re.sub(rf"{MARKER}.*?=======\n(.*?)>>>>>>> .*?\n", r"\1", settings, flags=re.DOTALL),
        )
        assert policy(project) == policy(fresh)
    else:
        answers = ".copier-answers.yml"
        same_answers = (project / answers).read_text() == (fresh / answers).read_text()
        assert (tests.returncode == 0) is (same_answers and policy(project) == policy(fresh)), told
        assert tests.returncode == 0 or "app/settings.py and .copier-answers.yml differ" in told


MARKER = "<<<<<<< before updating"


def policy(project: Path) -> dict[str, Any]:
    """Return the policy in a project's settings, lists in any order."""
    settings: dict[str, Any] = {}
    exec((project / "app/settings.py").read_text(), settings)
    return {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if name.startswith("CORS_")
    }


def test_edit_of_the_tests_own_foundation_is_told(
    edited: Callable[..., Path], tmp_path: Path
) -> None:
    """A newer template can meet edits anywhere: in conftest.py, in a lock, in a file of no code."""
    project = edited("")
    for path in ("tests/conftest.py", "requirements.txt", "README.md"):
        replace(project / path, "\n", f"\n{MARKER}\nmine\n=======\n>>>>>>> after updating\n")
    commit(project)
    result = run_tests(project)
    assert result.returncode != 0
    for path in ("tests/conftest.py", "requirements.txt", "README.md"):
        assert f"{path}:2: your lines come first" in result.stderr
    assert "SyntaxError" not in result.stdout + result.stderr


def test_rejects_are_told(edited: Callable[..., Path]) -> None:
    project = edited("", origin_by_hand)
    commit(project)
    run_update(
        project, data=CHANGES["replace"], defaults=True, overwrite=True, quiet=True, conflict="rej"
    )
    assert "by-hand" in (project / "app/settings.py.rej").read_text()
    result = run_tests(project)
    assert result.returncode != 0
    assert "app/settings.py.rej:1: holds an edit of yours that fits no more" in result.stderr
    (project / "app/settings.py.rej").unlink()
    assert_green(project, "tests/test_answers.py")


def test_project_in_a_folder_of_a_repository(edited: Callable[..., Path], tmp_path: Path) -> None:
    project = (tmp_path / "mono/services/api").absolute()
    project.parent.mkdir(parents=True)
    edited("", new_blueprint, origin_by_hand).rename(project)
    commit(tmp_path / "mono")
    update(project, **CHANGES["methods"])
    assert "books.bp" in (project / "app/__init__.py").read_text()
    commit(tmp_path / "mono")
    update(project, **CHANGES["replace"])
    assert "app/settings.py:9: your lines come first" in run_tests(project).stderr


def run_advice(project: Path, told: str) -> None:
    """Do what the tests of a project say."""
    commands = re.findall(r"^  ((?:copier|git) .*)$", told, re.MULTILINE)
    assert len(commands) == 1, told
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        commands[0], shell=True, cwd=project, env={**os.environ, "PATH": path}, capture_output=True
    )
    assert result.returncode == 0, result.stderr.decode()


BY_HAND: dict[str, dict[str, str]] = {
    "origins": {"https://admin.example.com": "https://by-hand.example"},
    "wildcards": {
        '"https://admin.example.com"': '"http://[::1]:*"',
        "http://localhost:5173": "http://localhost:*",
    },
    "methods and credentials": {
        '    "PUT",\n': "",
        "CORS_SUPPORTS_CREDENTIALS = False": "CORS_SUPPORTS_CREDENTIALS = True",
    },
    "headers": {
        '    "Content-Type",\n    "Authorization",\n': '    "*",\n',
        '= [\n    "X-Request-ID",\n]': "= []",
        "CORS_MAX_AGE = 600": "CORS_MAX_AGE = -1",
    },
}


@pytest.mark.parametrize("name", BY_HAND)
def test_settings_edited_by_hand_can_be_told_to_copier(
    edited: Callable[..., Path], name: str
) -> None:
    project = edited("")
    for old, new in BY_HAND[name].items():
        replace(project / "app/settings.py", old, new)
    wanted = policy(project)
    commit(project)
    result = run_tests(project, "tests/test_answers.py")
    assert result.returncode == 1
    run_advice(project, result.stdout)
    assert policy(project) == wanted
    assert_green(project, "tests/test_answers.py")


def test_answers_edited_by_hand_can_be_taken_back(edited: Callable[..., Path]) -> None:
    project = edited("", answers_by_hand)
    wanted = policy(project)
    commit(project)
    run_advice(project, run_tests(project, "tests/test_answers.py").stdout)
    assert policy(project) == wanted
    assert_green(project, "tests/test_answers.py")


def test_answers_edited_by_hand_can_be_written_into_the_settings(
    edited: Callable[..., Path],
) -> None:
    project = edited("", answers_by_hand)
    assert "write them into app/settings.py" in run_tests(project, "tests/test_answers.py").stdout
    replace(project / "app/settings.py", "https://admin.example.com", "https://by-hand.example")
    assert_green(project, "tests/test_answers.py")
    commit(project)
    update(project, **CHANGES["replace"])
    assert files(project) == files(edited("replace"))


def test_answers_edited_by_hand_to_what_is_refused(edited: Callable[..., Path]) -> None:
    project = edited("")
    replace(project / ".copier-answers.yml", "http://localhost:5173", "http://localhost:5173/")
    told = run_tests(project, "tests/test_answers.py").stdout
    assert "http://localhost:5173/: drop the trailing slash: http://localhost:5173" in told


def test_own_method_is_no_difference(edited: Callable[..., Path]) -> None:
    project = edited("")
    replace(project / "app/settings.py", '    "DELETE",\n', '    "DELETE",\n    "PURGE",\n')
    assert_green(project, "tests/test_answers.py")
    commit(project)
    update(project, **CHANGES["replace"])
    assert "PURGE" in policy(project)["CORS_METHODS"]
    assert_green(project, "tests/test_answers.py")
