"""Answers change in projects that their owners have edited: nothing of theirs is lost.

Copier merges file by file, so edits of different files go into one project, and a project goes
through several changes.
"""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import assert_green, commit, copy, files, git, run_tests, update
from copier import run_update
from copier._cli import CopierApp
from edits import (
    Edit,
    append,
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
        (sample_deleted, deleted_test, policy_code_edited, readme_rewritten),
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
SHARED = {
    ".copier-answers.yml",
    "README.md",
    "app/answers.py",
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
}


@pytest.mark.parametrize("name", PROJECTS)
def test_extra_is_added_to_an_edited_project(edited: Callable[..., Path], name: str) -> None:
    project = edited("", *PROJECTS[name][0])
    commit(project)
    before = files(project)
    update(project, extras=["database"])
    after = files(project)
    assert conflicts(project) == []
    assert {path for path in before if after.get(path) != before[path]} <= SHARED
    assert "app/items.py" in after
    assert disagreement(project) == ""
    expected = policy(edited("", *PROJECTS[name][0]))
    expected["CORS_ALLOW_HEADERS"] += ["If-Match"]
    expected["CORS_EXPOSE_HEADERS"] += ["ETag", "Link", "Location", "Retry-After"]
    assert policy(project) == {
        key: sorted(value) if isinstance(value, list) else value for key, value in expected.items()
    }
    assert_green(project)


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
        "compose.yaml": ("      - WEB_CONCURRENCY\n", "      - WEB_CONCURRENCY\n      - MINE\n"),
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
    assert conflicts(project) == []
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
    with pytest.raises(ValueError, match="keep database") as refused:
        update(project, extras=[])
    command = re.search("git rm -r (.*)", str(refused.value))
    assert command
    assert all((project / path).exists() for path in command[1].split())
    assert files(project) == before
    update(project, frontend_origins="https://shop.example")
    after = files(project)
    assert {path for path in before if after.get(path) != before[path]} == {
        ".copier-answers.yml",
        "app/answers.py",
    }


def test_extra_can_be_removed_by_hand(edited: Callable[..., Path]) -> None:
    """As the message says; updates do not bring its files back."""
    project = edited("")
    commit(project)
    update(project, extras=["database"])
    commit(project)
    with pytest.raises(ValueError, match="keep database") as refused:
        update(project, extras=[])
    command = re.search("git rm -r .*", str(refused.value))
    assert command
    git(project, *shlex.split(command[0])[1:])
    write(project / "app/resources.py", REMOVED)
    write(project / "tests/database.py", '"""No database."""\n')
    commit(project)
    before = files(project)
    update(project, frontend_origins="https://shop.example")
    assert files(project).keys() == before.keys()
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
    assert [told.partition(":")[0] for told in conflicts(project)] == ["app/models.py"]


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
    write(path, path.read_text().replace('    "', "    '").replace('",\n', "',\n"))


def methods_in_other_order(project: Path) -> None:
    replace(project / "app/answers.py", '    "GET",\n    "POST",\n', '    "POST",\n    "GET",\n')


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
        ("https://by-hand.example", '    "POST",\n    "GET",', "DEBUG_TB = 1"),
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
    "single quotes": ((single_quotes,), ("'Content-Type'",), ("replace",)),
    "Windows line endings": ((windows_lines,), (), ("replace",)),
    "record by hand": ((answers_by_hand,), ("https://admin.example.com",), ("replace", "methods")),
}

MARKER = "<<<<<<< before updating"


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
            assert any(line.startswith(f"{place}merge the two versions, yours") for line in told)
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
    [told] = conflicts(project)
    assert told == (
        "README.md:1: merge the two versions, yours first and the template's last; delete the"
        " lines <<<<<<<, ======= and >>>>>>>"
    )
    assert "# Our books" in (project / "README.md").read_text()
    assert 'name = "bookshop"' in (project / "pyproject.toml").read_text()


# What the project's tests say.


def conflict(label: str = "before updating", base: str = "") -> str:
    return f"\n<<<<<<< {label}\nmine\n{base}=======\ntheirs\n>>>>>>> after updating\n"


def test_conflicts_are_told_before_any_test_is_read(edited: Callable[..., Path]) -> None:
    """A merge can meet edits anywhere: in conftest.py, in a lock, in a file of no code."""
    project = edited("")
    places = {
        "tests/conftest.py": conflict(),
        ".copier-answers.yml": conflict("HEAD"),
        "requirements.txt": conflict() * 2,
        "app/errors.py": conflict("HEAD", "||||||| 1234567\nbefore\n"),
        "app/health.py": conflict().replace("theirs\n", ""),
        "wsgi.py": conflict().replace("mine\n", "mine\r\n"),
        "docs/Größe.md": "Title\n=======\n" + conflict().strip(),
    }
    for path, text in places.items():
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).open("a").write(text)
    write(project / "notes.md", "<<<<<<<\nHeading\n=======\nThe markers are <<<<<<< and >>>>>>>\n")
    commit(project)
    write(project / "app/settings.py.rej", "@@ -1 +1 @@\n")
    result = run_tests(project)
    assert result.returncode != 0
    told = result.stderr
    assert told.startswith("Resolve these conflicts, then run pytest again:\n")
    merge = "merge the two versions, yours first and the template's last; delete the lines"
    for path in ("tests/conftest.py", "app/health.py", "docs/Größe.md"):
        line = (project / path).read_text().splitlines().index(MARKER) + 1
        assert f"  {path}:{line}: {merge} <<<<<<<, ======= and >>>>>>>\n" in told
    assert "merge the two versions; delete the lines <<<<<<< and >>>>>>>, and those from" in told
    assert "keep one line for each answer, and the newer _commit; delete" in told
    assert told.count("  requirements.txt: take either side (git checkout --theirs requirem") == 1
    assert "  wsgi.py: undo the update, save your files with the line endings" in told
    assert "  app/settings.py.rej: make this edit of yours in app/settings.py by hand" in told
    assert told.count("\n  ") == 8 + 3  # the others, and three commands
    assert "notes.md" not in told and "Error" not in told


def test_conflict_with_a_third_version(edited: Callable[..., Path]) -> None:
    project = edited("", origin_by_hand)
    commit(project)
    git(project, "config", "merge.conflictStyle", "diff3")
    update(project, **CHANGES["replace"])
    assert "\n|||||||" in (project / "app/answers.py").read_text()
    [told] = conflicts(project)
    assert told.startswith("app/answers.py:5: merge the two versions, yours first and the templ")
    assert told.endswith("and those from ||||||| to =======")


def test_rejects_are_told(edited: Callable[..., Path]) -> None:
    project = edited("", origin_by_hand)
    commit(project)
    run_update(
        project, data=CHANGES["replace"], defaults=True, overwrite=True, quiet=True, conflict="rej"
    )
    assert "by-hand" in (project / "app/answers.py.rej").read_text()
    rejected = (
        "app/answers.py.rej: make this edit of yours in app/answers.py by hand, then delete"
        " app/answers.py.rej"
    )
    assert conflicts(project) == [rejected]
    commit(project)
    assert conflicts(project) == [rejected]


def test_project_in_a_folder_of_a_repository(edited: Callable[..., Path], tmp_path: Path) -> None:
    project = tmp_path / "mono/services/api"
    project.parent.mkdir(parents=True)
    edited("", new_blueprint, origin_by_hand).rename(project)
    write(tmp_path / "mono/other.txt", conflict())
    commit(tmp_path / "mono")
    update(project, **CHANGES["replace"])
    assert "books.bp" in (project / "app/__init__.py").read_text()
    [told] = conflicts(project)
    assert told.startswith("app/answers.py:")


def follow(project: Path, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command that the tests of a project print."""
    [command] = re.findall(r"^  ((?:copier|git) .*)$", told, re.MULTILINE)
    monkeypatch.chdir(project)
    if command.startswith("git"):
        subprocess.run(command, shell=True, check=True, capture_output=True)
    else:
        CopierApp.run([*shlex.split(command), "--quiet"], exit=False)


BY_HAND: dict[str, dict[str, str]] = {
    "origin": {"https://admin.example.com": "https://by-hand.example"},
    "wildcards, methods and credentials": {
        '"https://admin.example.com"': '"http://[::1]:*",\n    "https://pr-*.example.com"',
        "http://localhost:5173": "http://localhost:*",
        '    "PUT",\n': "",
        '    "DELETE",\n': '    "DELETE",\n    "PURGE",\n',
        "CORS_SUPPORTS_CREDENTIALS = False": "CORS_SUPPORTS_CREDENTIALS = True",
    },
    "any and headers": {
        '    "https://app.example.com",\n    "https://admin.example.com",\n': "",
        "http://localhost:5173": "*",
        '    "Content-Type",\n': '    "*",\n',
        '= [\n    "X-Request-ID",\n]': "= []",
        "CORS_MAX_AGE = 600": "CORS_MAX_AGE = -1",
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
        result = run_tests(project, "tests/test_answers.py")
        assert result.returncode == 1
        assert disagreement(project) in result.stdout
    follow(project, disagreement(project), monkeypatch)
    assert policy(project) == wanted
    assert disagreement(project) == ""
    assert conflicts(project) == []


def test_record_edited_by_hand(
    edited: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is as it was: keep it so, or write the recorded answers into it."""
    kept, changed = edited("", answers_by_hand), edited("", answers_by_hand)
    wanted = policy(kept)
    commit(kept)
    told = disagreement(kept)
    follow(kept, told, monkeypatch)
    assert policy(kept) == wanted
    assert disagreement(kept) == ""

    [setting] = re.findall(r"^  (CORS_ORIGINS = .*)$", told, re.MULTILINE)
    path = changed / "app/answers.py"
    text, found = re.subn(
        r"^CORS_ORIGINS.*?\]$", setting, path.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    assert found == 1
    write(path, text)
    assert disagreement(changed) == ""


def test_what_is_refused_is_told(edited: Callable[..., Path]) -> None:
    project = edited("")
    replace(project / ".copier-answers.yml", "http://localhost:5173", "localhost:5173")
    told = disagreement(project)
    assert told.startswith("Correct .copier-answers.yml:\n")
    assert "write http://localhost:5173, not localhost:5173" in told
    append(project / "app/answers.py", "CORS_MAX_AGE = 86401\n")
    told = disagreement(project)
    assert told == (
        "Correct app/answers.py:\n"
        "  CORS_MAX_AGE: write 86400, not 86401: it is from -1 to 86400 seconds"
    )


def test_record_that_is_not_yaml(edited: Callable[..., Path]) -> None:
    project = edited("")
    append(project / ".copier-answers.yml", "<<<<<<< ours\n")
    result = run_tests(project, "tests/test_answers.py")
    assert result.returncode == 1
    assert "Restore .copier-answers.yml, which is not a YAML mapping:\n  git" in result.stdout
    assert "Traceback (most" not in result.stdout and "yaml.safe_load" not in result.stdout


def test_own_method_is_no_difference(edited: Callable[..., Path]) -> None:
    """Copier does not ask for it. Updates keep it, as those above do."""
    project = edited("")
    replace(project / "app/answers.py", '    "DELETE",\n', '    "DELETE",\n    "PURGE",\n')
    assert "PURGE" in policy(project)["CORS_METHODS"]
    assert disagreement(project) == ""
