"""Answers change in projects that their owners have edited: nothing of theirs is lost.

Copier merges file by file, so edits of different files go into one project, and a project goes
through several changes.
"""

import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import assert_green, commit, copy, files, git, run_python, run_tests, update
from copier import run_copy, run_update
from copier._cli import CopierApp
from edits import (
    Edit,
    append,
    auth_hook,
    body_limit,
    ci_file,
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
    policy_code_edited,
    readme,
    readme_rewritten,
    reformatted,
    replace,
    sample_deleted,
    sample_renamed,
    windows_lines,
    write,
)
from told import conflicts, disagreement, load

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


@pytest.fixture(scope="module")
def rendered(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Render a project with the answers of the start and of one change, once."""
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
    made = 0

    def edited(change: str, *edits: Edit) -> Path:
        nonlocal made
        made += 1
        project = tmp_path / f"project{made}"
        shutil.copytree(rendered(change), project)
        for edit in edits:
            edit(project)
        return project

    return edited


def policy(project: Path) -> dict[str, Any]:
    """Return the policy in a project's answers, lists in any order."""
    return {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in vars(load(project / "app/answers.py")).items()
        if name.startswith("CORS_")
    }


# The owner's files hold no answers.


@pytest.mark.parametrize("change", CHANGES)
def test_only_the_templates_files_hold_answers(
    rendered: Callable[[str], Path], change: str
) -> None:
    before, after = files(rendered("")), files(rendered(change))
    assert before.keys() == after.keys()
    differ = {path for path in before if before[path] != after[path]}
    assert differ == {"app/answers.py", ".copier-answers.yml"}


PROJECTS: dict[str, tuple[tuple[Edit, ...], tuple[str, ...]]] = {
    "grown": (
        (
            new_blueprint,
            auth_hook,
            own_settings,
            body_limit,
            own_errors,
            health_checks_database,
            own_tests,
            moved_test,
            dependency,
            locks,
            readme,
            env_file,
            ci_file,
            other_port,
        ),
        ("add", "methods"),
    ),
    "without-the-sample": (
        (sample_deleted, policy_code_edited, readme_rewritten),
        ("replace", "headers"),
    ),
    "reformatted": ((sample_renamed, reformatted), ("credentials",)),
}


@pytest.mark.parametrize("name", PROJECTS)
def test_edits_survive_and_the_policy_is_the_new_one(
    edited: Callable[..., Path], name: str
) -> None:
    edits, changes = PROJECTS[name]
    project = edited("", *edits)
    commit(project)
    for change in changes:
        update(project, **{**DEFAULTS, **START, **CHANGES[change]})
        assert files(project) == files(edited(change, *edits))
        assert disagreement(project) == ""
        commit(project)
    assert_green(project)
    if name == "grown":
        update(project, **CHANGES[changes[-1]])
        assert git(project, "status", "--porcelain") == ""


DEFAULTS: dict[str, Any] = {
    "allowed_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "allow_credentials": False,
    "allowed_headers": "Content-Type, Authorization",
    "exposed_headers": "X-Request-ID",
    "preflight_max_age": 600,
}


# An extra comes in addition, and stays.

# The files that an extra changes: its lines are not beside those that owners edit.
SHARED = {".copier-answers.yml", "README.md", "app/answers.py", "pyproject.toml"}

LOCKS = ("requirements.txt", "requirements-dev.txt")


@pytest.fixture(scope="module")
def relock(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Make the locks again, as the two commands would: as in a fresh project, and the owner's."""
    fresh = tmp_path_factory.mktemp("fresh") / "project"
    copy(template, fresh, {"extras": ["database"]})

    def relock(project: Path, *edits: Edit) -> None:
        for lock in LOCKS:
            shutil.copy(fresh / lock, project / lock)
        if locks in edits:
            locks(project)

    return relock


@pytest.mark.parametrize("name", PROJECTS)
def test_extra_is_added_to_an_edited_project(
    edited: Callable[..., Path], relock: Callable[..., None], name: str
) -> None:
    edits = PROJECTS[name][0]
    project = edited("", *edits)
    commit(project)
    before = files(project)
    update(project, extras=["database"])
    after = files(project)
    assert {path for path in before if after.get(path) != before[path]} <= SHARED
    assert "app/items.py" in after
    [told] = conflicts(project)
    assert told.startswith("the locks lack alembic, which pyproject.toml names: run\n    uv pip")
    relock(project, *edits)
    assert conflicts(project) == []
    assert disagreement(project) == ""
    expected = policy(edited("", *edits))
    expected["CORS_EXPOSE_HEADERS"] += ["Link", "Location", "Retry-After"]
    assert policy(project) == {
        key: sorted(value) if isinstance(value, list) else value for key, value in expected.items()
    }
    assert_green(project)


BOX = """

class Box(Model):
    __tablename__ = "boxes"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(50))
"""
OWNED = """

class Note(Model):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
"""


def flask(project: Path, *arguments: str) -> str:
    return run_python(project, "-m", "flask", *arguments)


def test_login_is_added_to_an_edited_project_with_data(template: Path, tmp_path: Path) -> None:
    """Its tables are a branch of the migrations, beside the owner's, who goes on with their own."""
    project, fresh = tmp_path / "project", tmp_path / "fresh"
    copy(template, project, START | {"extras": ["database"]})
    edits = PROJECTS["grown"][0]
    for edit in edits:
        edit(project)
    flask(project, "db", "upgrade")
    append(project / "app/models.py", BOX)
    flask(project, "db", "revision", "Add boxes")
    flask(project, "db", "upgrade")
    flask(project, "seed")
    commit(project)
    before = files(project)
    given = {"extras": ["database", "login"], "allow_credentials": True}
    update(project, **given)
    after = files(project)
    assert {path for path in before if after.get(path) != before[path]} <= SHARED
    [told] = conflicts(project)
    assert told.startswith("the locks lack argon2-cffi, which pyproject.toml names: run")
    copy(template, fresh, START | given)
    for lock in LOCKS:
        shutil.copy(fresh / lock, project / lock)
    locks(project)
    assert conflicts(project) == []
    assert disagreement(project) == ""
    commit(project)

    flask(project, "db", "upgrade")
    with closing(sqlite3.connect(project / "instance/app.db")) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        assert {"boxes", "accounts", "account_secrets"} <= tables
        assert database.execute("SELECT count(*) FROM items").fetchone() > (0,)
    replace(project / "app/models.py", "Enum, ", "Enum, ForeignKey, ")
    append(project / "app/models.py", OWNED)
    flask(project, "db", "revision", "Add notes")
    [migration] = (project / "app/migrations").glob("*add_notes*")
    assert re.findall(r'op\.(\w+_table)\(\s*"(\w+)"', migration.read_text()) == [
        ("create_table", "notes"),
        ("drop_table", "notes"),
    ]
    flask(project, "db", "upgrade")
    assert_green(project)
    commit(project)
    update(project, **given)
    assert git(project, "status", "--porcelain") == ""


def test_extras_for_deployment_are_the_owners(edited: Callable[..., Path]) -> None:
    """No other answer changes them; a database adds its files, and a line to the base."""
    project = edited("")
    commit(project)
    before = files(project)
    update(project, extras=["container", "kubernetes"])
    after = files(project)
    changed = {path for path in before if after.get(path) != before[path]}
    assert changed == {".copier-answers.yml", "README.md"}
    edits = {
        "Dockerfile": ("FROM python:3.13-slim\n", "FROM python:3.13-slim-bookworm\n"),
        "compose.yaml": ("    read_only: true\n", "    read_only: true\n    init: true\n"),
        "kubernetes/base/scaling.yaml": ("maxReplicas: 10", "maxReplicas: 4"),
        "kubernetes/base/kustomization.yaml": (
            "  - scaling.yaml\n",
            "  - scaling.yaml\n  - x.yaml\n",
        ),
        "kubernetes/example/kustomization.yaml": ("1.0.0", "1.0.1"),
    }
    for name, (old, new) in edits.items():
        replace(project / name, old, new)
    commit(project)
    before = files(project)
    update(project, extras=["database", "container", "kubernetes"])
    after = files(project)
    assert [told[:14] for told in conflicts(project)] == ["the locks lack"]
    changed = {path for path in before if after.get(path) != before[path]}
    assert changed <= SHARED | {"kubernetes/base/kustomization.yaml"}
    added = {"compose.override.yaml", "kubernetes/base/database.yaml", "app/items.py"}
    assert added <= after.keys() - before.keys()
    base = yaml.safe_load((project / "kubernetes/base/kustomization.yaml").read_text())
    assert {"database.yaml", "deployment.yaml", "x.yaml"} <= set(base["resources"])


def test_extra_stays(edited: Callable[..., Path]) -> None:
    """No answer removes a file. Another change leaves the extra as it is."""
    project = edited("")
    commit(project)
    update(project, extras=["database"])
    append(project / "app/items.py", "# Mine\n")
    commit(project)
    before = files(project)
    with pytest.raises(ValueError, match="keep database"):
        update(project, extras=[])
    assert files(project) == before
    update(project, frontend_origins="https://shop.example")
    after = files(project)
    assert {path for path in before if after.get(path) != before[path]} == {
        ".copier-answers.yml",
        "app/answers.py",
    }


def test_extra_can_be_removed_by_hand(
    edited: Callable[..., Path], relock: Callable[..., None]
) -> None:
    """As the message says; updates do not bring its files back."""
    project = edited("")
    without = files(project).keys()
    commit(project)
    update(project, extras=["database"])
    relock(project)
    commit(project)
    with pytest.raises(ValueError, match="keep database") as refused:
        update(project, extras=[])
    command = re.search("git rm -r .*", str(refused.value))
    assert command
    git(project, *shlex.split(command[0])[1:])
    write(project / "app/resources.py", REMOVED)
    metadata = project / "pyproject.toml"
    write(metadata, re.sub('(addopts = .*) -p .*"', r'\1"', metadata.read_text()))
    assert files(project).keys() - without == {"app/resources.py"}
    commit(project)
    before = files(project)
    update(project, frontend_origins="https://shop.example")
    assert files(project).keys() == before.keys()
    assert_green(project)


def test_login_can_be_removed_by_hand(template: Path, tmp_path: Path) -> None:
    """As the message says; the database goes on without its tables."""
    project = tmp_path / "project"
    copy(template, project, {"extras": ["database", "login"], "allow_credentials": True})
    commit(project)
    flask(project, "db", "upgrade")
    with pytest.raises(ValueError, match="keep login") as refused:
        update(project, extras=["database"])
    downgrade, remove = re.findall(r"^  (\S+ .*)$", str(refused.value), re.MULTILINE)
    flask(project, *shlex.split(downgrade)[1:])
    subprocess.run(remove, shell=True, cwd=project, check=True, capture_output=True)
    write(project / "app/accounts/__init__.py", REMOVED)
    replace(project / "pyproject.toml", " -p account_fixtures", "")
    assert not [path for path in files(project) if "account" in path and "__init__" not in path]
    commit(project)
    flask(project, "db", "upgrade")
    with closing(sqlite3.connect(project / "instance/app.db")) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    assert "items" in tables and not [name for name in tables if "account" in name]
    before = files(project).keys()
    update(project, frontend_origins="https://shop.example")
    assert files(project).keys() == before
    assert_green(project)


REMOVED = """\
from flask import Flask


def init_app(app: Flask) -> None:
    pass
"""


def test_owners_file_of_the_same_name_is_a_conflict(edited: Callable[..., Path]) -> None:
    project = edited("")
    write(project / "app/models.py", "MINE = 1\n")
    commit(project)
    update(project, extras=["database"])
    assert "MINE = 1\n" in (project / "app/models.py").read_text()
    assert conflicts(project)[0].startswith("app/models.py:")


# Edits of lines that hold answers may conflict.


def origin_by_hand(project: Path) -> None:
    replace(
        project / "app/answers.py",
        '    "http://localhost:5173",\n',
        '    "http://localhost:5173",\n    "https://by-hand.example",\n',
    )


def comment_at_an_origin(project: Path) -> None:
    replace(
        project / "app/answers.py",
        '    "https://admin.example.com",\n',
        '    "https://admin.example.com",  # until June\n',
    )


def comment_above_the_origins(project: Path) -> None:
    replace(
        project / "app/answers.py",
        "# Pages on these origins may use the API.\n",
        "# Agreed with the web team in May: ask them before you remove one.\n",
    )


def origins_in_one_line(project: Path) -> None:
    path = project / "app/answers.py"
    text = path.read_text()
    origins = re.search(r"CORS_ORIGINS: list\[str\] = \[\n.*?\]\n", text, re.DOTALL)
    assert origins
    one_line = re.sub(r",\n\]", "]", re.sub(r"\n    ", " ", origins[0])).replace("[ ", "[")
    write(path, text.replace(origins[0], one_line))


def single_quotes(project: Path) -> None:
    path = project / "app/answers.py"
    title, rest = path.read_text().split("\n", 1)
    write(path, f"{title}\n" + rest.replace('"', "'"))


def methods_in_other_order(project: Path) -> None:
    replace(project / "app/answers.py", '"GET", "POST"', '"POST", "GET"')


def own_setting_among_ours(project: Path) -> None:
    replace(
        project / "app/answers.py", "CORS_MAX_AGE = 600\n", "CORS_MAX_AGE = 600\nDEBUG_TB = 1\n"
    )


def answers_by_hand(project: Path) -> None:
    replace(project / ".copier-answers.yml", "https://admin.example.com", "https://by-hand.example")


def title(project: Path) -> None:
    replace(project / "README.md", "# My API\n", "# Our books\n")


# The edits, what they write, and the changes that can meet them.
MAY_CONFLICT: dict[str, tuple[tuple[Edit, ...], tuple[str, ...], tuple[str, ...]]] = {
    "policy by hand": (
        (origin_by_hand, methods_in_other_order, own_setting_among_ours),
        ("https://by-hand.example", '"POST", "GET"', "DEBUG_TB = 1"),
        ("add", "methods", "headers"),
    ),
    "comments": (
        (comment_at_an_origin, comment_above_the_origins),
        ("# until June", "# Agreed with the web team"),
        ("remove", "reorder", "credentials"),
    ),
    "origins in one line": (
        (origins_in_one_line,),
        ('= ["https://app.example.com", "https',),
        ("any",),
    ),
    "single quotes": ((single_quotes,), ("'https://admin",), ("replace",)),
    "Windows line endings": ((windows_lines,), (), ("replace",)),
    "record by hand": ((answers_by_hand,), ("https://admin.example.com",), ("replace", "methods")),
}

MARKER = "<<<<<<< before updating"
MERGE = "merge both versions, and delete <<<<<<<, ======= and >>>>>>>"


@pytest.mark.parametrize("name", MAY_CONFLICT)
def test_what_cannot_be_merged_is_told(edited: Callable[..., Path], name: str) -> None:
    edits, mine, changes = MAY_CONFLICT[name]
    project = edited("", *edits)
    commit(project)
    for change in changes:
        fresh = edited(change)
        update(project, **CHANGES[change])

        text = (project / "app/answers.py").read_text()
        for line in mine:
            assert line in text, f"{change}: an edit is lost"
        told = conflicts(project)
        check = subprocess.run(["git", "diff", "--check"], cwd=project, capture_output=True)
        numbers = [n for n, line in enumerate(text.splitlines(), 1) if MARKER in line]
        for number in numbers:
            place = f"app/answers.py:{number}: "
            assert f"{place}{MERGE}" in told
            assert f"{place}leftover conflict marker" in check.stdout.decode()
        assert len(told) == len(numbers)
        if numbers:
            theirs = rf"{MARKER}.*?=======\n(.*?)>>>>>>> .*?\n"
            write(project / "app/answers.py", re.sub(theirs, r"\1", text, flags=re.DOTALL))
        record = ".copier-answers.yml"
        same = (project / record).read_text() == (fresh / record).read_text()
        same = same and policy(project) == policy(fresh)
        assert (disagreement(project) == "") is same
        assert same or name in ("policy by hand", "record by hand")

        git(project, "add", "--all")
        git(project, "reset", "--quiet", "--hard")


def test_title_of_the_owner_and_another_name(edited: Callable[..., Path]) -> None:
    """The name is the one answer in files of the owner's."""
    project = edited("", title)
    commit(project)
    update(project, project_name="Bookshop")
    assert conflicts(project) == [f"README.md:1: {MERGE}"]
    assert "# Our books" in (project / "README.md").read_text()
    assert 'name = "bookshop"' in (project / "pyproject.toml").read_text()


# What the project's tests say.


def conflict(label: str = "before updating") -> str:
    return f"\n<<<<<<< {label}\nmine\n=======\ntheirs\n>>>>>>> after updating\n"


def test_conflicts_are_told_before_any_test_is_read(edited: Callable[..., Path]) -> None:
    """A merge can meet edits anywhere: in conftest.py, in a file of no code, in a new one."""
    project = edited("")
    places = {
        "tests/conftest.py": conflict(),
        ".copier-answers.yml": conflict("HEAD"),
        "README.md": conflict() * 2,
        "app/errors.py": conflict("HEAD"),
        "docs/Größe.md": "Title\n=======\n" + conflict().strip(),
    }
    expected = []
    for path, text in places.items():
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).open("a").write(text)
        lines = (project / path).read_text().splitlines()
        numbers = [number for number, line in enumerate(lines, 1) if line.startswith("<<<<<<<")]
        expected += [f"  {path}:{number}: {MERGE}" for number in numbers]
    write(project / "notes.md", "The markers are <<<<<<< and >>>>>>>\n")
    commit(project)
    write(project / "app/settings.py.rej", "@@ -1 +1 @@\n")
    write(project / "app/new.py", conflict())
    expected.append(f"  app/new.py:2: {MERGE}")
    expected.append("  app/settings.py.rej: make this edit of yours by hand, then delete the file")
    result = run_tests(project)
    assert result.returncode != 0
    first, *told = result.stderr.splitlines()
    assert first == "Do this first, then run pytest again:"
    assert sorted(told) == sorted(expected)


GONE = {
    "FLASK_APP=dev": ".flaskenv",
    "from app.wiring import init_app": "app/more.py",
    "from app.cors.environment import load": "app/more.py",
    "import app.operations.log": "app/more.py",
    "from corscheck.browser import PageRequest": "tests/test_mine.py",
    "    import dev": "tests/test_mine.py",
    "from pages import ALLOWED, bare_app": "tests/test_mine.py",
    "from app.cors.fetch import fetch": "tests/api/test_mine.py",
}


def test_lines_that_need_what_is_gone_are_told(edited: Callable[..., Path]) -> None:
    project = edited("")
    for line, path in GONE.items():
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).open("a").write(f"{line}\n")
    write(
        project / "app/mine.py",
        "import pages_of_mine\nfrom app import operations\nfrom app.cors import Policy, load_env\n"
        "from app.cors.policy import Policy\nimport developer\n# import corscheck\n",
    )
    commit(project)
    told = conflicts(project)
    assert len(told) == len(GONE), told
    for line, path in GONE.items():
        place = rf"{re.escape(path)}:\d+: change this line, which needs what is gone: "
        assert any(re.fullmatch(place + re.escape(line), item) for item in told), line


def test_files_of_the_owners_by_such_a_name_are_not_gone(edited: Callable[..., Path]) -> None:
    project = edited("")
    write(project / "pages/home.py", "")
    write(project / "tests/dev.py", "from corscheck import x\n")
    write(project / "corscheck.py", "import dev\nfrom pages.home import x\n")
    commit(project)
    assert conflicts(project) == []


def test_what_a_lock_lacks_is_told(edited: Callable[..., Path]) -> None:
    """By the names that indexes compare. A project may have no such locks."""
    project = edited("", dependency)
    commit(project)
    [told] = conflicts(project)
    assert told.startswith("the locks lack httpx, which pyproject.toml names: run\n    uv pip ")
    locks(project)
    assert conflicts(project) == []
    replace(project / "pyproject.toml", '"flask-cors>=', '"Flask_CORS[x] >= ')
    assert conflicts(project) == []
    for lock in LOCKS:
        (project / lock).unlink()
    assert conflicts(project) == []


def test_rejects_are_told(edited: Callable[..., Path]) -> None:
    project = edited("", origin_by_hand)
    commit(project)
    run_update(
        project, data=CHANGES["replace"], defaults=True, overwrite=True, quiet=True, conflict="rej"
    )
    assert "by-hand" in (project / "app/answers.py.rej").read_text()
    rejected = "app/answers.py.rej: make this edit of yours by hand, then delete the file"
    assert conflicts(project) == [rejected]
    commit(project)
    assert conflicts(project) == [rejected]


def test_project_in_a_folder_of_a_repository(edited: Callable[..., Path], tmp_path: Path) -> None:
    project = tmp_path / "mono/services/api"
    project.parent.mkdir(parents=True)
    edited("", new_blueprint, origin_by_hand).rename(project)
    write(tmp_path / "mono/other.txt", conflict())
    write(tmp_path / "mono/other.py", "import pages\n")
    commit(tmp_path / "mono")
    update(project, **CHANGES["replace"])
    assert "books.bp" in (project / "app/__init__.py").read_text()
    assert conflicts(project) == [f"app/answers.py:4: {MERGE}"]


def follow(project: Path, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command that the tests of a project print."""
    [command] = re.findall(r"^Commit, and run uvx (copier .*): \.copier-answers", told)
    commit(project)
    monkeypatch.chdir(project)
    CopierApp.run([*shlex.split(command), "--quiet"], exit=False)


BY_HAND: dict[str, dict[str, str]] = {
    "origin": {"https://admin.example.com": "https://by-hand.example"},
    "wildcards, methods and credentials": {
        '"https://admin.example.com"': '"http://[::1]:*",\n    "https://pr-*.example.com"',
        "http://localhost:5173": "http://localhost:*",
        ', "PUT"': "",
        "CORS_SUPPORTS_CREDENTIALS = False": "CORS_SUPPORTS_CREDENTIALS = True",
    },
    "any": {
        '\n    "https://app.example.com",\n    "https://admin.example.com",\n': "",
        '    "http://localhost:5173",\n': '"*"',
    },
}


@pytest.mark.parametrize("name", BY_HAND)
def test_answers_edited_by_hand_can_be_given_to_copier(
    edited: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    project = edited("")
    for old, new in BY_HAND[name].items():
        replace(project / "app/answers.py", old, new)
    wanted = policy(project)
    commit(project)
    if name == "origin":
        result = run_tests(project, "tests/test_cors.py")
        assert result.returncode == 1
        assert disagreement(project) in result.stdout
    for _ in range(3):
        if told := disagreement(project):
            follow(project, told, monkeypatch)
    assert policy(project) == wanted
    assert disagreement(project) == ""
    assert conflicts(project) == []


def test_record_edited_by_hand(
    edited: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is as it was: the command keeps it so."""
    project = edited("", answers_by_hand)
    wanted = policy(project)
    follow(project, disagreement(project), monkeypatch)
    assert policy(project) == wanted
    assert disagreement(project) == ""


def test_answers_file_of_another_name(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several templates in one project have a file each: what is printed names ours."""
    project, name = tmp_path / "project", ".copier-answers.api.yml"
    run_copy(str(template), project, vcs_ref="HEAD", defaults=True, quiet=True, answers_file=name)
    write(project / ".copier-answers.yml", "_src_path: another\nproject_name: Another\n")
    assert disagreement(project) == ""
    replace(project / "app/answers.py", "http://localhost:5173", "https://app.example.com")
    follow(project, disagreement(project), monkeypatch)
    assert disagreement(project) == ""
    assert "https://app.example.com" in (project / name).read_text()
    commit(project)
    for file in (name, "README.md"):
        text = (project / file).read_text()
        command = re.findall(r"^(?:#   )?uvx (copier update .* -d .*)$", text, re.MULTILINE)[0]
        CopierApp.run([*shlex.split(command), "--quiet"], exit=False)
        origin = re.findall(r"frontend_origins=([^,']*)", command)[0]
        assert origin in policy(project)["CORS_ORIGINS"]
        commit(project)
    assert "Another" in (project / ".copier-answers.yml").read_text()
    (project / name).unlink()
    assert disagreement(project).startswith("restore .copier-answers.yml")


def test_setting_that_overrides_an_answer_is_told(edited: Callable[..., Path]) -> None:
    project = edited("")
    append(project / "app/settings.py", 'CORS_PATHS = {"/a": {"origins": ["any"]}}\n')
    assert disagreement(project) == ""
    append(project / "app/settings.py", "CORS_MAX_AGE = 60\n")
    assert disagreement(project).startswith("remove CORS_MAX_AGE from app/settings.py: ")


def test_own_method_is_no_difference(edited: Callable[..., Path]) -> None:
    """Copier does not ask for it."""
    project = edited("")
    replace(project / "app/answers.py", '"DELETE"', '"DELETE", "PURGE"')
    assert "PURGE" in policy(project)["CORS_METHODS"]
    assert disagreement(project) == ""


# Locks


def test_lock_never_conflicts(edited: Callable[..., Path], template: Path) -> None:
    """An owner relocked, and a newer template has newer packages: nothing but the owner's lock."""
    project = edited("", dependency, locks)
    commit(project)
    before = {lock: (project / lock).read_bytes() for lock in LOCKS}
    git(template, "checkout", "--quiet", "-b", "newer")
    for lock in LOCKS:
        path = template / f"template/{{% if 'database' not in extras %}}{lock}{{% endif %}}"
        write(path, re.sub(r"==(\d+)", r"==9\1", path.read_text()))
    commit(template)
    update(project, vcs_ref="newer", preflight_max_age=60)
    git(template, "checkout", "--quiet", "main")
    assert {lock: (project / lock).read_bytes() for lock in LOCKS} == before
    assert conflicts(project) == []
    assert git(project, "diff", "--name-only", "HEAD").split() == [
        ".copier-answers.yml",
        "app/answers.py",
    ]
