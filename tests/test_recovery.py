"""When `copier update` cannot work: what Copier says, what the project's tests say, the way out.

README.md's sections "When an update cannot work" and "Leave the template" say what is held here.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Render, assert_green, commit, copy, copy_template, git, run_tests, update
from copier import run_copy
from copier.errors import UserMessageError

NEW = {"frontend_origins": "https://new.example"}


def note(project: Path, **lines: str) -> None:
    """Write lines into the answers file by hand, and commit."""
    path = project / ".copier-answers.yml"
    text = path.read_text()
    for name, value in lines.items():
        text = re.sub(rf"^{name}: .*\n", "", text, flags=re.MULTILINE)
        text += f"{name}: {value}\n"
    path.write_text(text)
    commit(project)


def assert_updates(project: Path) -> None:
    (project / "app/errors.py").open("a").write("# mine\n")
    commit(project)
    update(project, **NEW)
    assert "https://new.example" in (project / "app/settings.py").read_text()
    assert (project / "app/errors.py").read_text().endswith("# mine\n")
    result = run_tests(project, "tests/test_answers.py")
    assert result.returncode == 0 and "warning" not in result.stdout, result.stdout


def test_no_git(render: Render) -> None:
    project = render()
    with pytest.raises(UserMessageError, match="only supported in git-tracked subprojects"):
        update(project, **NEW)
    commit(project)
    assert_updates(project)


def test_uncommitted_work(render: Render) -> None:
    project = render()
    commit(project)
    (project / "notes.txt").write_text("mine\n")
    with pytest.raises(UserMessageError, match="Destination repository is dirty"):
        update(project, **NEW)
    git(project, "stash", "--include-untracked")
    update(project, **NEW)
    commit(project)
    git(project, "stash", "pop")
    assert (project / "notes.txt").read_text() == "mine\n"
    assert_updates(project)


def test_template_that_moved(tmp_path: Path) -> None:
    template = copy_template(tmp_path / "template")
    project = tmp_path / "project"
    copy(template, project, {})
    commit(project)
    template.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="Local template must be a directory"):
        update(project, **NEW)
    note(project, _src_path=str(tmp_path / "elsewhere"))
    assert_updates(project)


def test_relative_template_path(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(template, tmp_path)
    project = tmp_path / "project"
    run_copy(relative, project, vcs_ref="HEAD", defaults=True, quiet=True)
    commit(project)
    told = run_tests(project, "tests/test_answers.py")
    assert told.returncode == 0
    assert f"says that the template is in {relative}" in told.stdout
    assert "1 warning" in told.stdout
    monkeypatch.chdir(project)
    with pytest.raises(ValueError, match="Local template must be a directory"):
        update(project, **NEW)
    note(project, _src_path=str(template))
    assert_updates(project)


def test_project_copied_from_an_archive(template: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    shutil.copytree(template, archive, ignore=shutil.ignore_patterns(".git"))
    project = tmp_path / "project"
    run_copy(str(archive), project, defaults=True, quiet=True)
    commit(project)
    told = run_tests(project)
    assert told.returncode == 0
    assert "does not say which version of the template" in told.stdout
    with pytest.raises(UserMessageError, match="cannot obtain old template references"):
        update(project, **NEW)
    note(project, _src_path=str(template), _commit=git(template, "rev-parse", "--short", "HEAD"))
    assert_updates(project)


def test_commit_that_is_gone(render: Render, template: Path) -> None:
    """Copied from a checkout with uncommitted changes, or from history that was rewritten."""
    project = render()
    note(project, _commit="badc0de")
    with pytest.raises(ValueError, match="Unknown revision: 'badc0de'"):
        update(project, **NEW)
    note(project, _commit=git(template, "rev-parse", "--short", "HEAD"))
    assert_updates(project)


@pytest.mark.parametrize("committed", [True, False])
def test_missing_answers_file(render: Render, committed: bool) -> None:
    project = render()
    commit(project)
    (project / ".copier-answers.yml").unlink()
    if committed:
        commit(project)
        with pytest.raises(TypeError, match="Template not found"):
            update(project, **NEW)
    told = run_tests(project, "tests/test_answers.py")
    assert told.returncode == 1
    assert ".copier-answers.yml is missing" in told.stdout
    commands = re.findall(r"^  (git .*)$", told.stdout, re.MULTILINE)
    subprocess.run(commands[0], shell=True, cwd=project, check=True)
    assert_updates(project)


def test_leaving_the_template(render: Render) -> None:
    project = render()
    commit(project)
    for name in (".copier-answers.yml", "tests/test_answers.py", "tests/unmerged.py"):
        (project / name).unlink()
    metadata = (project / "pyproject.toml").read_text()
    assert metadata.count('addopts = "-p unmerged"\n') == 1
    (project / "pyproject.toml").write_text(metadata.replace('addopts = "-p unmerged"\n', ""))
    assert_green(project)
    for command in (["ruff", "check", "--no-cache", "."], ["mypy", "--strict", "app", "tests"]):
        subprocess.run([sys.executable, "-m", *command], cwd=project, check=True)


def test_leaving_needs_no_more_than_two_deletions(render: Render) -> None:
    project = render()
    (project / ".copier-answers.yml").unlink()
    (project / "tests/test_answers.py").unlink()
    assert_green(project)
