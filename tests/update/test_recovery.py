"""When `copier update` cannot work: what Copier says, what the project's tests say, the way out.

docs/updates.md says what is held here, in "When Copier stops" and "Leave the template".
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import (
    ROOT,
    TEMPLATE,
    Render,
    assert_green,
    commit,
    copy_template,
    git,
    run_tests,
    update,
)
from copier import run_copy
from copier.errors import UserMessageError
from edits import append
from told import disagreement

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
    append(project / "app/errors.py", "# mine\n")
    commit(project)
    update(project, **NEW, preflight_max_age=len((project / "app/errors.py").read_text()))
    assert "https://new.example" in (project / "app/answers.py").read_text()
    assert (project / "app/errors.py").read_text().endswith("# mine\n")
    assert disagreement(project) == ""


def test_no_git_and_uncommitted_work(render: Render) -> None:
    project = render()
    with pytest.raises(UserMessageError, match="only supported in git-tracked subprojects"):
        update(project, **NEW)
    commit(project)
    (project / "notes.txt").write_text("mine\n")
    with pytest.raises(UserMessageError, match="Destination repository is dirty"):
        update(project, **NEW)
    git(project, "stash", "--include-untracked")
    assert_updates(project)
    commit(project)
    git(project, "stash", "pop")
    assert (project / "notes.txt").read_text() == "mine\n"


def test_template_path_that_is_relative_or_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = copy_template(tmp_path / "template", *TEMPLATE)
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "project"
    run_copy("./template", project, vcs_ref="HEAD", defaults=True, quiet=True)
    commit(project)
    monkeypatch.chdir(project)
    with pytest.raises(ValueError, match="Local template must be a directory"):
        update(project, **NEW)
    note(project, _src_path=str(template))
    assert_updates(project)
    commit(project)
    template.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="Local template must be a directory"):
        update(project, **NEW)
    note(project, _src_path=str(tmp_path / "elsewhere"))
    assert_updates(project)


def test_version_that_is_not_known_or_gone(template: Path, tmp_path: Path) -> None:
    """Copied from an archive; from uncommitted changes, or from history that was rewritten."""
    archive = tmp_path / "archive"
    shutil.copytree(template, archive, ignore=shutil.ignore_patterns(".git"))
    project = tmp_path / "project"
    run_copy(str(archive), project, defaults=True, quiet=True)
    commit(project)
    with pytest.raises(UserMessageError, match="cannot obtain old template references"):
        update(project, **NEW)
    note(project, _src_path=str(template))
    note(project, _commit="badc0de")
    with pytest.raises(ValueError, match="Unknown revision: 'badc0de'"):
        update(project, **NEW)
    note(project, _commit=f"'{git(template, 'rev-parse', '--short', 'HEAD')}'")
    assert_updates(project)


def test_missing_answers_file(render: Render) -> None:
    project = render()
    commit(project)
    (project / ".copier-answers.yml").unlink()
    told = run_tests(project, "tests/test_cors.py")
    assert told.returncode == 1
    assert ".copier-answers.yml" in told.stdout
    commit(project)
    with pytest.raises(TypeError, match="Template not found"):
        update(project, **NEW)
    text = (ROOT / "docs/updates.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^git .*copier-answers.*$", text, re.MULTILINE)
    subprocess.run(command, shell=True, cwd=project, check=True)
    assert_updates(project)


def test_leaving_the_template(render: Render) -> None:
    """Two deletions will do; two more remove what is then of no use."""
    project = render()
    (project / ".copier-answers.yml").unlink()
    tests = project / "tests/test_cors.py"
    tests.write_text(
        tests.read_text().partition("\n\n\ndef test_app_follows_the_answers")[0] + "\n"
    )
    assert_green(project)
    (project / "tests/unmerged.py").unlink()
    metadata = (project / "pyproject.toml").read_text()
    assert metadata.count('addopts = "-p unmerged"\n') == 1
    (project / "pyproject.toml").write_text(metadata.replace('addopts = "-p unmerged"\n', ""))
    assert_green(project, "tests/test_echo.py")


def test_documents_say_so() -> None:
    """What Copier says above stands in the table, and updates warn of recopy."""
    text = (ROOT / "docs/updates.md").read_text(encoding="utf-8")
    for message in (
        "Updating is only supported in git-tracked subprojects",
        "Destination repository is dirty",
        "Local template must be a directory",
        "cannot obtain old template references",
        "Unknown revision",
        "Template not found",
        "Validation error for question",
    ):
        assert message in text
    assert "Delete `.copier-answers.yml` and the last test of `tests/test_cors.py`." in text
    for path in ("docs/updates.md", "includes/updated.jinja"):
        text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
        assert "Do not use `copier recopy --overwrite`" in text
