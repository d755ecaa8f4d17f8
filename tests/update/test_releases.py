"""A newer template takes every answer as it stands, or says why not, and loses no edit."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import (
    ROOT,
    TEMPLATE,
    assert_green,
    commit,
    copy,
    copy_template,
    files,
    git,
    run_tests,
    update,
)
from copier import run_update
from edits import (
    Edit,
    auth_hook,
    body_limit,
    ci_file,
    deleted_test,
    dependency,
    env_file,
    health_checks_database,
    locks,
    moved_test,
    new_blueprint,
    other_port,
    own_errors,
    own_settings,
    own_tests,
    readme,
    readme_rewritten,
    replace,
    sample_deleted,
    sample_unregistered,
    windows_lines,
    write,
)
from told import conflicts, disagreement

QUESTIONS = [
    name
    for name, question in yaml.safe_load((ROOT / "copier.yml").read_text()).items()
    if not name.startswith("_") and question.get("when") is not False
]

ANSWERS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "project_name": "Bookshop",
        "frontend_origins": ["https://*.example.com", "http://localhost:*"],
        "allowed_methods": ["GET", "PUT"],
        "allow_credentials": True,
        "frontends_share_site": False,
        "allowed_headers": ["Content-Type"],
        "exposed_headers": "ETag, Link",
        "preflight_max_age": -1,
        "extras": ["database"],
    },
    "public": {"frontend_origins": "any", "allowed_headers": [], "exposed_headers": "any"},
}


def answers(project: Path) -> dict[str, Any]:
    """Return what was answered, without what Copier notes for itself."""
    found = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return {name: value for name, value in found.items() if not name.startswith("_")}


# Answers never fall back on a default.


@pytest.fixture(scope="module")
def stricter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project, and its template, whose branches accept less."""
    folder = tmp_path_factory.mktemp("stricter")
    template = copy_template(folder / "template", *TEMPLATE)
    copy(template, folder / "project", ANSWERS["everything"])
    commit(folder / "project")
    return template, folder / "project"


def assert_stopped(project: Path, message: str, **how: Any) -> None:
    with pytest.raises(ValueError, match=message):
        run_update(project, overwrite=True, quiet=True, **how)
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("question", QUESTIONS)
def test_refused_answer_stops_the_update(stricter: tuple[Path, Path], question: str) -> None:
    template, project = stricter
    assert question in ANSWERS["everything"], "give it an answer that is not its default"
    answer = answers(project)[question]
    git(template, "checkout", "-b", question, "main")
    questions = yaml.safe_load((template / "copier.yml").read_text())
    questions[question]["validator"] = (
        f"{{% if {question} == {answer!r} %}}{question} is refused by this version{{% endif %}}"
    )
    (template / "copier.yml").write_text(yaml.safe_dump(questions, sort_keys=False))
    commit(template, "Stricter")
    message = f"{question} is refused by this version"
    assert_stopped(project, message, vcs_ref=question, defaults=True)
    assert_stopped(project, message, vcs_ref=question, skip_answered=True)


def test_choice_that_is_gone_stops_the_update(stricter: tuple[Path, Path]) -> None:
    template, project = stricter
    git(template, "checkout", "-b", "no-put", "main")
    replace(template / "copier.yml", "POST, PUT, PATCH", "POST, PATCH")
    commit(template)
    assert_stopped(project, "'PUT' is not in", vcs_ref="no-put", defaults=True)


# Releases, as CHANGELOG.md names them. A release is the commit that adds its heading, for tags can
# be lost; a heading that is not committed yet is the release being made.


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository whose newest commit is the working tree."""
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
        pytest.fail("the releases are in the history, which is cut off: git fetch --unshallow")
    clone = tmp_path_factory.mktemp("history") / "template"
    git(ROOT, "clone", "--quiet", str(ROOT), str(clone))
    git(clone, "rm", "-r", "--quiet", ".")
    return copy_template(clone, *TEMPLATE)


def releases() -> dict[str, str]:
    """Return the version and the commit of each release."""
    found = {}
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for heading in re.findall(r"^## \d+\.\d+\.\d+\b.*$", changelog, re.MULTILINE):
        release = git(ROOT, "log", "-n1", "--format=%h", f"-S{heading}", "--", "CHANGELOG.md")
        if release:
            found[heading.split()[1]] = release
    return found


def test_changelog_names_releases() -> None:
    assert releases(), "no heading of CHANGELOG.md is in the history"


def deleted(project: Path) -> list[str]:
    """Return what the update deleted, but for the template's own files."""
    found = git(project, "diff", "--name-only", "--diff-filter=D").split()
    return [path for path in found if not path.startswith(("app/cors/", "corscheck/"))]


def session_cookie(project: Path) -> str:
    """Return the SameSite attribute of the session cookie."""
    text = (project / "app/answers.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^SESSION_COOKIE_SAMESITE = "(\w+)"$', text, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("version", releases())
def test_project_of_a_release_becomes_one_of_today(
    history: Path, tmp_path: Path, version: str, name: str
) -> None:
    project = tmp_path / "project"
    copy(history, project, ANSWERS[name], vcs_ref=releases()[version])
    commit(project)
    before = answers(project)
    update(project, vcs_ref="HEAD")
    if version == "1.0.0" and before["allow_credentials"]:
        assert session_cookie(project) == "None", "it had no other"
    assert before.items() <= answers(project).items()
    assert deleted(project) == [], "an update deletes what a template drops, edited or not"
    copy(history, tmp_path / "copied", answers(project))
    assert files(project) == files(tmp_path / "copied")


def test_update_without_a_newer_template_changes_nothing(history: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    copy(history, project, ANSWERS["everything"])
    commit(project)
    update(project, vcs_ref="HEAD")
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("had_credentials", [True, False])
def test_session_cookie_is_kept_or_worked_out(
    history: Path, tmp_path: Path, had_credentials: bool
) -> None:
    """Of 1.0.0 with credentials, frontends of other sites may depend on it."""
    project = tmp_path / "project"
    given = {"frontend_origins": "https://app.example.com", "allow_credentials": had_credentials}
    copy(history, project, given, vcs_ref=releases()["1.0.0"])
    commit(project)
    update(project, vcs_ref="HEAD")
    assert conflicts(project) == []
    assert answers(project).get("frontends_share_site") is (False if had_credentials else None)
    assert session_cookie(project) == ("None" if had_credentials else "Lax")
    commit(project)

    update(project, preflight_max_age=60)  # another answer
    assert session_cookie(project) == ("None" if had_credentials else "Lax")
    commit(project)
    if had_credentials:
        update(project, frontends_share_site=True)
        assert session_cookie(project) == "Lax"
        return
    update(project, allow_credentials=True)
    assert answers(project)["frontends_share_site"] is True
    assert session_cookie(project) == "Lax"
    git(project, "reset", "--quiet", "--hard")
    update(project, allow_credentials=True, frontend_origins="capacitor://localhost")
    assert answers(project)["frontends_share_site"] is False
    assert session_cookie(project) == "None"


@pytest.mark.parametrize(
    ("origins", "expected"), [("https://app.example.com", "Lax"), ("capacitor://localhost", "None")]
)
def test_session_cookie_is_worked_out_where_the_update_brings_credentials(
    history: Path, tmp_path: Path, origins: str, expected: str
) -> None:
    project = tmp_path / "project"
    copy(history, project, {}, vcs_ref=releases()["1.0.0"])
    commit(project)
    update(project, vcs_ref="HEAD", allow_credentials=True, frontend_origins=origins)
    assert session_cookie(project) == expected


# Projects of 1.0.0 that their owners have edited. Its app/settings.py held the answers.


def policy_in_settings(project: Path) -> None:
    settings = project / "app/settings.py"
    replace(
        settings,
        '    "http://localhost:5173",\n',
        '    "http://localhost:5173",  # until June\n    "https://by-hand.example",\n',
    )
    replace(settings, '    "DELETE",\n', '    "DELETE",\n    "PURGE",\n')
    replace(settings, "CORS_MAX_AGE = 600\n", "CORS_MAX_AGE = 600\nDEBUG_TB = 1\n")


def names_that_the_template_took(project: Path) -> None:
    """Make files where 1.0.0 had none, and later releases have one."""
    write(project / ".gitattributes", "*.bin binary\n")
    write(project / "dev.py", "from wsgi import app as application\n")
    write(project / "app/answers.py", "ANSWERS = [42]\n")
    write(project / "corscheck/__init__.py", '"""My check."""\n')


@pytest.fixture(scope="module")
def first_release(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("first") / "project"
    copy(history, project, {}, vcs_ref=releases()["1.0.0"])
    commit(project)
    return project


@pytest.fixture
def edited(first_release: Path, tmp_path: Path) -> Callable[..., Path]:
    """Edit a project of 1.0.0, and commit."""

    def edited(*edits: Edit) -> Path:
        project = tmp_path / "project"
        shutil.copytree(first_release, project)
        for edit in edits:
            edit(project)
        commit(project, "Mine")
        return project

    return edited


def lost(project: Path) -> list[str]:
    """Return each line of the owner's that the update removed, by its file."""
    found, path = [], project
    for line in git(project, "diff", "--unified=0", "HEAD~", "HEAD").splitlines():
        if line.startswith("+++ "):
            path = project / line.removeprefix("+++ b/")
            text = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        elif line.startswith("+") and line[1:] not in text:
            found.append(f"{path}: {line[1:]}")
    return found


def test_edits_that_meet_no_line_of_the_update(edited: Callable[..., Path]) -> None:
    project = edited(
        new_blueprint,
        auth_hook,
        own_settings,
        body_limit,
        other_port,
        own_errors,
        health_checks_database,
        moved_test,
        dependency,
        readme,
        env_file,
        ci_file,
    )
    update(project, vcs_ref="HEAD")
    assert conflicts(project) == []
    assert lost(project) == [] and deleted(project) == []
    assert_green(project)


REDO: dict[str, tuple[Edit, ...]] = {
    "app/__init__.py": (new_blueprint, sample_unregistered),
    "app/settings.py": (body_limit,),
    ".flaskenv": (other_port,),
    "tests/conftest.py": (own_tests,),
    "README.md": (readme_rewritten,),
    "requirements.txt": (),
    "requirements-dev.txt": (),
}


def test_edits_that_may_meet_lines_of_the_update(edited: Callable[..., Path]) -> None:
    project = edited(
        new_blueprint,
        sample_deleted,
        deleted_test,
        body_limit,
        policy_in_settings,
        other_port,
        own_tests,
        locks,
        readme_rewritten,
    )
    update(project, vcs_ref="HEAD")
    assert lost(project) == [] and deleted(project) == []
    for name in ("app/echo.py", "tests/test_echo.py", "tests/test_errors.py"):
        assert not (project / name).exists()
    told = conflicts(project)
    unmerged = set(git(project, "diff", "--name-only", "--diff-filter=U").split())
    assert {line.partition(":")[0] for line in told} == unmerged <= {*REDO}
    result = run_tests(project)
    assert result.returncode != 0
    assert result.stderr.splitlines()[1:] == [f"  {line}" for line in told]

    for path in unmerged - {"app/settings.py"}:
        git(project, "checkout", "--theirs", path)
        for edit in REDO[path]:
            edit(project)
    git(project, "checkout", "--ours", "app/settings.py")
    result = subprocess.run(
        [sys.executable, "-m", "flask", "routes"], cwd=project, capture_output=True, text=True
    )
    assert "remove CORS_ORIGINS from app/settings.py: it is an answer" in result.stderr
    assert "Traceback" not in result.stderr
    git(project, "checkout", "--theirs", "app/settings.py")
    body_limit(project)
    assert disagreement(project) == ""
    assert_green(project)


def test_files_whose_names_the_template_took(edited: Callable[..., Path]) -> None:
    project = edited(names_that_the_template_took)
    update(project, vcs_ref="HEAD")
    assert lost(project) == []
    assert {line.partition(":")[0] for line in conflicts(project)} == {
        ".gitattributes",
        "dev.py",
        "app/answers.py",
        "corscheck/__init__.py",
    }


def test_windows_line_endings(edited: Callable[..., Path]) -> None:
    project = edited(own_settings, windows_lines)
    update(project, vcs_ref="HEAD")
    [told] = conflicts(project)
    assert "README.md, app/__init__.py, " in told
    assert ": undo the update, save your files with the line endings of the template" in told
    result = run_tests(project)
    assert result.returncode != 0 and "pyproject.toml" in result.stderr

    commands = re.findall(r"^    (git .*)$", told, re.MULTILINE)
    assert "\n".join(commands) in (ROOT / "docs/updates.md").read_text(encoding="utf-8")
    subprocess.run(" && ".join(commands), shell=True, cwd=project, check=True, capture_output=True)
    assert git(project, "status", "--porcelain") == ""
    update(project, vcs_ref="HEAD")
    assert conflicts(project) == []
    assert b"\r" not in (project / "app/settings.py").read_bytes()
    assert 'DATABASE = "sqlite:///books.db"' in (project / "app/settings.py").read_text()
    assert_green(project, "tests/test_answers.py")
