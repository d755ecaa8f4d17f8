"""A newer template takes every answer as it stands, or says why not."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, assert_green, commit, copy, copy_template, git, update
from copier import run_update

QUESTIONS = [
    name for name in yaml.safe_load((ROOT / "copier.yml").read_text()) if not name.startswith("_")
]

ANSWERS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "project_name": "Bookshop",
        "frontend_origins": ["https://*.example.com", "http://localhost:*"],
        "allowed_methods": ["GET", "PUT"],
        "allow_credentials": True,
        "allowed_headers": ["Content-Type"],
        "exposed_headers": "ETag, Link",
        "preflight_max_age": -1,
    },
    "public": {"frontend_origins": "any", "allowed_headers": [], "exposed_headers": "any"},
}


def answers(project: Path) -> dict[str, Any]:
    """Return what was answered, without what Copier notes for itself."""
    found = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return {name: value for name, value in found.items() if not name.startswith("_")}


# Answers never fall back on a default.


def refuse(template: Path, question: str, answer: Any) -> None:
    """Commit a newer template that no longer accepts one answer, but the default."""
    questions = yaml.safe_load((template / "copier.yml").read_text())
    questions[question]["validator"] = (
        f"{{% if {question} == {answer!r} %}}{question} is refused by this version{{% endif %}}"
    )
    (template / "copier.yml").write_text(yaml.safe_dump(questions, sort_keys=False))
    commit(template, "Stricter")


@pytest.mark.parametrize("how", ["defaults", "skip_answered"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_refused_answer_stops_the_update(tmp_path: Path, question: str, how: str) -> None:
    assert question in ANSWERS["everything"], "give it an answer that is not its default"
    template = copy_template(tmp_path / "template")
    project = tmp_path / "project"
    copy(template, project, ANSWERS["everything"])
    commit(project)
    refuse(template, question, answers(project)[question])
    with pytest.raises(ValueError, match=f"{question} is refused by this version"):
        run_update(project, overwrite=True, quiet=True, **{how: True})
    assert git(project, "status", "--porcelain") == ""


def test_choice_that_is_gone_stops_the_update(tmp_path: Path) -> None:
    template = copy_template(tmp_path / "template")
    project = tmp_path / "project"
    copy(template, project, ANSWERS["everything"])
    commit(project)
    questions = (template / "copier.yml").read_text()
    assert "POST, PUT, PATCH" in questions
    (template / "copier.yml").write_text(questions.replace("POST, PUT, PATCH", "POST, PATCH"))
    commit(template)
    with pytest.raises(ValueError, match="'PUT' is not in"):
        update(project, vcs_ref="HEAD")
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ANSWERS)
def test_update_without_a_change_changes_nothing(template: Path, tmp_path: Path, name: str) -> None:
    copy(template, tmp_path / "project", ANSWERS[name])
    commit(tmp_path / "project")
    update(tmp_path / "project", vcs_ref="HEAD")
    assert git(tmp_path / "project", "status", "--porcelain") == ""


# Releases, as CHANGELOG.md names them. A release is the commit that first has its heading, for
# tags can be lost; a heading that is not committed yet is the release being made.


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository whose newest commit is the working tree."""
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
        pytest.fail("the releases are in the history, which is cut off: git fetch --unshallow")
    clone = tmp_path_factory.mktemp("history") / "template"
    git(ROOT, "clone", "--quiet", str(ROOT), str(clone))
    git(clone, "rm", "-r", "--quiet", ".")
    return copy_template(clone)


def releases() -> dict[str, str]:
    """Return the version and the commit of each release."""
    found = {}
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for heading in re.findall(r"^## \d+\.\d+\.\d+\b.*$", changelog, re.MULTILINE):
        commits = git(ROOT, "log", "--reverse", "--format=%h", f"-S{heading}", "--", "CHANGELOG.md")
        if commits:
            found[heading.split()[1]] = commits.split()[0]
    return found


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("version", releases())
def test_project_of_a_release_updates(
    history: Path, tmp_path: Path, version: str, name: str
) -> None:
    project = tmp_path / "project"
    copy(history, project, ANSWERS[name], vcs_ref=releases()[version])
    commit(project)
    before = answers(project)
    update(project, vcs_ref="HEAD")
    assert before.items() <= answers(project).items()
    deleted = git(project, "diff", "--name-only", "--diff-filter=D").split()
    assert [path for path in deleted if not path.startswith("app/cors/")] == [], (
        "Copier deletes what a template drops, the owner's edits as well"
    )
    assert "<<<<<<<" not in git(project, "diff")
    assert git(project, "status", "--porcelain", "--", "*.rej") == ""
    assert_green(project)


def test_changelog_names_releases() -> None:
    assert releases(), "no heading of CHANGELOG.md is in the history"
