"""CI of a rendered project, and of this repository: linted, and its own commands run in order.

No runner is at hand: what the jobs say beside their commands, such as triggers and images, is
checked by linters and schemas only.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Render, commit, copy, copy_template, git, update
from copier import VcsRef, run_update
from postgres import Postgres
from servers import gunicorn
from told import conflicts

TOOLS = Path(sys.executable).parent
TEST, PROBE = ".github/workflows/test.yml", ".github/workflows/probe.yml"
LOCKS = ("requirements.txt", "requirements-dev.txt")


@dataclass(frozen=True)
class Step:
    job: str
    name: str
    script: str
    variables: dict[str, str] = field(default_factory=dict)


def load(path: Path) -> Any:
    # GitHub's `on` is a word for yes in YAML 1.1: unused here.
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def github(project: Path, path: str = TEST) -> list[Step]:
    """Return the steps with commands that run in this project."""
    steps = []
    for job, its in load(project / path)["jobs"].items():
        for step in its["steps"]:
            needed = re.fullmatch(r"hashFiles\('(.+)'\) != ''", step.get("if", ""))
            assert needed or "if" not in step, step
            if "run" in step and (not needed or (project / needed[1]).exists()):
                assert "${{" not in step["run"], "an expression in a script can inject commands"
                steps.append(Step(job, step["name"], step["run"], step.get("env", {})))
    return steps


def gitlab(project: Path) -> list[Step]:
    """Return the jobs that run in this project for a merge request, each as one step."""
    found = load(project / ".gitlab-ci.yml")
    steps = []
    for name, own in found.items():
        job = {**found.get(own.get("extends"), {}), **own}
        if name.startswith(".") or "script" not in job:
            continue
        if all(
            all((project / path).exists() for path in rule.get("exists", ["no such path"]))
            for rule in job.get("rules", [])
        ):
            script = "\n".join(job.get("before_script", []) + job["script"])
            steps.append(Step(name, name, f"set -o pipefail\n{script}", job.get("variables", {})))
    return steps


class Runner:
    """Runs steps with bash, as both services do, in one environment.

    What cannot be done here (Docker, the audit's service, a release) is recorded instead.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "bin/uv").symlink_to(TOOLS / "uv")
        for name in ("docker", "uvx", "pip-audit", "gh", "flask"):
            self.program(name, f'echo {name} "$@" >> {self.calls}')
        # uv in pip's place, in a tenth of its time; uv and pip-audit themselves are not installed
        self.program("pip", 'case "$*" in *" -r "*|*git+*) exec uv pip "$@" ;; esac')
        self.run(folder, Step("", "", f"uv venv --quiet --python {sys.executable} {self.venv}"))

    @property
    def calls(self) -> Path:
        return self.folder / "calls"

    @property
    def venv(self) -> Path:
        return self.folder / "venv"

    def program(self, name: str, script: str) -> None:
        (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "bin" / name).chmod(0o755)

    def result(
        self, project: Path, step: Step, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-e", "-c", step.script],
            cwd=project,
            env={
                **os.environ,
                "CI": "true",
                "PATH": f"{self.folder}/bin:{self.venv}/bin:/usr/bin:/bin",
                "VIRTUAL_ENV": str(self.venv),
                "MYPY_CACHE_DIR": str(self.folder / "mypy"),
                **step.variables,
                **variables,
            },
            capture_output=True,
            text=True,
        )

    def run(self, project: Path, step: Step, **variables: str) -> None:
        result = self.result(project, step, **variables)
        assert result.returncode == 0, f"{step.name}\n{result.stdout}{result.stderr}"

    def recorded(self) -> list[str]:
        """Return the calls since the last time."""
        text = self.calls.read_text() if self.calls.exists() else ""
        self.calls.write_text("")
        return text.splitlines()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("runner"))


@pytest.fixture(scope="module")
def rendered(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("rendered") / "project"
    copy(template, project, {"extras": ["github", "gitlab"]})
    commit(project)
    return project


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> Path:
    return shutil.copytree(rendered, tmp_path / "project")


# The commands


def test_github_runs_the_commands_of_a_project(render: Render, runner: Runner) -> None:
    project = render(extras=["github"])
    (project / "Dockerfile").touch()
    commit(project)
    steps = github(project)
    assert [step.name for step in steps] == [
        *("Install", "Test"),
        *("No conflicts left by an update", "Install", "Format", "Lint", "Types"),
        *("Locks match pyproject.toml", "Build the image", "Audit the locks"),
    ]
    runner.recorded()
    for step in steps:
        runner.run(project, step)
    build, audit = runner.recorded()
    assert build == "docker build ."
    assert audit.startswith("uvx pip-audit@")
    assert all(f"-r {lock}" in audit for lock in LOCKS)
    assert untracked(project) == ""


def test_github_tests_on_postgresql_where_there_is_a_database(
    render: Render, runner: Runner, postgresql: Postgres
) -> None:
    project = render(extras=["database", "github"])
    install, _, step = [step for step in github(project) if step.job == "test"]
    runner.run(project, install)
    nowhere = {"DATABASE_URL": "postgresql://localhost:1/none", "PYTEST_ADDOPTS": "-x"}
    assert "Connection refused" in runner.result(project, step, **nowhere).stdout
    runner.recorded()
    runner.run(project, step, DATABASE_URL=postgresql.new_database())
    start, ready = runner.recorded()
    assert start.startswith("docker run ") and " --publish 5432:5432 " in start
    assert ready.startswith("docker exec postgres pg_isready ")
    assert "@localhost/" in step.variables["DATABASE_URL"]


def untracked(project: Path) -> str:
    return git(project, "ls-files", "--others", "--exclude-standard")


def test_gitlab_runs_the_commands_of_a_project(render: Render, runner: Runner) -> None:
    project = render(extras=["gitlab"])
    commit(project)
    runner.recorded()
    for step in gitlab(project):
        runner.run(project, step)
    (audit,) = runner.recorded()
    assert audit.startswith("pip-audit ") and all(f"-r {lock}" in audit for lock in LOCKS)
    assert untracked(project) == ""


def test_both_run_the_same(project: Path) -> None:
    """So what fails on one, as below, fails on the other."""

    def commands(steps: list[Step]) -> set[str]:
        lines = (line.partition(" # ")[0] for step in steps for line in step.script.splitlines())
        return {re.sub("^python3 ", "python ", line) for line in lines if "pip install" not in line}

    audit = r"(?:uvx )?pip-audit(?:@\S+)?"
    for files in ([], ["Dockerfile"]):
        for name in files:
            (project / name).touch()
        ours, theirs = (
            {re.sub(audit, "pip-audit", line) for line in commands(steps)}
            for steps in (github(project), gitlab(project))
        )
        assert ours == theirs - {"set -o pipefail"}
    assert "docker build ." in ours


def test_gitlab_tests_on_postgresql_where_there_is_a_database(project: Path) -> None:
    before = {step.job for step in gitlab(project)}
    (project / "app/migrations").mkdir()
    (project / "app/migrations/script.py.mako").touch()
    (added,) = [step for step in gitlab(project) if step.job not in before]
    assert added.script.endswith("\npytest")
    job = load(project / ".gitlab-ci.yml")[added.job]
    assert all(service.startswith("postgres:") for service in job["services"])
    assert "@postgres/" in added.variables["DATABASE_URL"]


def test_python_versions_are_those_that_upstream_supports(project: Path) -> None:
    supported = ["3.11", "3.12", "3.13", "3.14"]
    assert load(project / TEST)["jobs"]["test"]["strategy"]["matrix"]["python"] == supported
    matrix = load(project / ".gitlab-ci.yml")[".test"]["parallel"]["matrix"]
    assert matrix == [{"PYTHON": supported}]


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def leave_a_conflict(project: Path) -> None:
    """As Renovate updates the template; Copier ends with 0."""
    answers = project / "app/answers.py"
    answers.write_text(answers.read_text().replace("localhost:5173", "localhost:4000"))
    commit(project)
    run_update(
        project,
        data={"frontend_origins": "https://shop.example"},
        vcs_ref=VcsRef.CURRENT,
        answers_file=".copier-answers.yml",
        defaults=True,
        skip_answered=True,
        overwrite=True,
        quiet=True,
    )
    commit(project)


def forget_the_locks(project: Path) -> None:
    path = project / "pyproject.toml"
    path.write_text(path.read_text().replace('"flask>=3.1",', '"flask>=3.1",\n    "pyyaml>=6",'))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "No conflicts left by an update": (leave_a_conflict, "app/answers.py:"),
    "Format": (lambda project: append(project / "app/echo.py", "x=1\n"), "app/echo.py"),
    "Lint": (lambda project: append(project / "app/health.py", "\n\nundefined()\n"), "F821"),
    "Types": (
        lambda project: append(project / "app/echo.py", '\n\nx: int = ""\n'),
        "Incompatible types",
    ),
    "Locks match pyproject.toml": (forget_the_locks, "+pyyaml=="),
    "Test": (
        lambda project: append(
            project / "tests/test_echo.py", "\n\ndef test_it() -> None:\n    assert 0\n"
        ),
        "1 failed",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_fails_the_step_for_it(project: Path, runner: Runner, name: str) -> None:
    break_it, shown = FAULTS[name]
    break_it(project)
    steps = github(project)
    (install,) = {step.script for step in steps if step.name == "Install"}
    runner.run(project, Step("", "Install", install))
    (step,) = [step for step in steps if step.name == name]
    result = runner.result(project, step)
    assert result.returncode != 0
    assert shown in result.stdout + result.stderr


def test_lock_commands_are_the_same_everywhere(project: Path) -> None:
    """In the locks' heads, as Renovate reads them: it refuses `-o`, and options without `=`."""
    commands = {
        re.findall("^#    (.*)$", (project / lock).read_text(), re.MULTILINE)[0] for lock in LOCKS
    }
    taken = (
        r"uv pip compile( --(universal|generate-hashes|(python-version|group|output-file)=\S+))+"
    )
    assert all(re.fullmatch(f"{taken} pyproject.toml", command) for command in commands)
    for text in (
        (project / "README.md").read_text(encoding="utf-8"),
        (ROOT / "docs/updates.md").read_text(encoding="utf-8"),
        *(step.script for step in github(project) if step.job == "check" and "Locks" in step.name),
        *(step.script for step in gitlab(project) if step.job == "locks"),
    ):
        found = re.findall("uv pip compile .*", text)
        assert {line.replace(" --quiet", "") for line in found} == commands


def probe_of_github(project: Path) -> Step:
    (job,) = load(project / PROBE)["jobs"].values()
    return Step("probe", "Probe", "\n".join(step["run"] for step in job["steps"] if "run" in step))


def probe_of_gitlab(project: Path) -> Step:
    script = load(project / ".gitlab-ci.yml")["probe"]["script"]
    return Step("probe", "probe", "\n".join(script))


@pytest.mark.parametrize("job", [probe_of_github, probe_of_gitlab])
def test_probe_is_that_of_the_projects_template(
    tmp_path: Path, job: Callable[[Path], Step]
) -> None:
    runner = Runner(tmp_path)
    (tmp_path / "bin/flask").unlink()
    project = tmp_path / "project"
    copy(copy_template(tmp_path / "template"), project, {"extras": ["github", "gitlab"]})
    with gunicorn(project, "wsgi:app") as port:
        url = f"http://127.0.0.1:{port}"
        result = runner.result(project, job(project), URL=url, API_URL=url, DOTENV="")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "The deployed API keeps the policy here." in result.stdout


@pytest.mark.parametrize("job", [probe_of_github, probe_of_gitlab])
def test_probe_without_an_address_says_what_to_write(
    project: Path, runner: Runner, job: Callable[[Path], Step]
) -> None:
    answers = project / ".copier-answers.yml"
    answers.write_text(re.sub(".*git\\+.*\n", "", answers.read_text()))
    result = runner.result(project, job(project), URL="", API_URL="", DOTENV="")
    assert result.returncode == 1
    assert "Name whycors here, as whycors=git+…: " in result.stdout


def test_probe_has_the_policy_of_the_deployment(project: Path, runner: Runner) -> None:
    (job,) = load(project / PROBE)["jobs"].values()
    step = next(step for step in job["steps"] if step.get("name") == "Probe")
    runner.recorded()
    runner.run(
        project,
        Step("probe", "Probe", step["run"]),
        URL="https://api.example.com/?a=1&b=$(date)",
        DOTENV='FLASK_CORS_ORIGINS="https://a.example, https://b.example"\nFLASK_CORS_MAX_AGE=5',
    )
    assert runner.recorded() == ["flask cors probe https://api.example.com/?a=1&b=$(date)"]
    assert (project / ".env").read_text().splitlines() == [
        'FLASK_CORS_ORIGINS="https://a.example, https://b.example"',
        "FLASK_CORS_MAX_AGE=5",
    ]
    assert untracked(project) == "", ".env could be committed"


# The files


def test_files_are_the_same_in_every_project(template: Path, rendered: Path) -> None:
    for path in (*(rendered / ".github").rglob("*.yml"), rendered / ".gitlab-ci.yml"):
        (source,) = (template / "template").rglob(f"*{path.name}*")
        assert source.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("extra", "absent"), [("github", ".gitlab-ci.yml"), ("gitlab", ".github")])
def test_each_service_has_its_own_files_and_renovate(
    render: Render, extra: str, absent: str
) -> None:
    project = render(extras=[extra])
    assert not (project / absent).exists()
    assert (project / "renovate.json").exists()


def lint(folder: Path, *command: str) -> None:
    environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}  # actionlint's shellcheck
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("whose", ["project", "template"])
def test_workflows_pass_the_linters(rendered: Path, whose: str) -> None:
    """zizmor finds, e.g., actions that are not pinned by hash, and needless permissions."""
    folder = rendered if whose == "project" else ROOT
    workflows = sorted(map(str, folder.glob(".github/workflows/*.yml")))
    assert workflows
    lint(folder, "actionlint", *workflows)
    lint(folder, "zizmor", "--offline", "--quiet", *workflows)
    for path in workflows:
        assert load(Path(path))["permissions"] == {"contents": "read"}


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        (".gitlab-ci.yml", ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
        ("renovate.json", ["vendor.renovate"]),
    ],
)
def test_file_is_of_its_published_schema(rendered: Path, path: str, arguments: list[str]) -> None:
    lint(rendered, "check-jsonschema", path, "--builtin-schema", *arguments)


def test_renovate_reads_what_the_project_has(rendered: Path) -> None:
    settings = json.loads((rendered / "renovate.json").read_text())
    (pattern,) = settings["pip-compile"]["managerFilePatterns"]
    assert all(re.search(pattern.strip("/"), lock) for lock in LOCKS)


# Updates


def test_update_that_adds_an_extra_leaves_an_edited_workflow_alone(render: Render) -> None:
    project = render(extras=["github"])
    workflow, added = project / TEST, "  deploy:\n    runs-on: ubuntu-24.04\n"
    workflow.write_text(workflow.read_text().replace("  audit:\n", f"{added}  audit:\n"))
    (project / PROBE).unlink()
    commit(project)
    before = workflow.read_bytes()
    update(project, extras=["database", "github", "gitlab"])
    assert workflow.read_bytes() == before
    assert not (project / PROBE).exists()
    assert (project / "app/migrations").exists() and (project / ".gitlab-ci.yml").exists()
    (told,) = conflicts(project)
    assert told.startswith("the locks lack alembic, ")


# This repository


def release(folder: Path, runner: Runner, tag: str) -> "subprocess.CompletedProcess[str]":
    (folder / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- New.\n\n## 2.1.0 – 2026-12-01\n\n- Better.\n\n"
        "## 2.0.0 – 2026-11-24\n\n- Good.\n\n## 1.0.0 – 2026-11-20\n\n## 0.1.0 – 2026-11-19\n"
    )
    jobs = load(ROOT / TEST)["jobs"]
    assert jobs["release"]["needs"] == "test"
    step = jobs["release"]["steps"][-1]
    runner.recorded()
    return runner.result(folder, Step("release", "Release", step["run"]), GITHUB_REF_NAME=tag)


def test_release_has_the_notes_of_its_tag(tmp_path: Path, runner: Runner) -> None:
    assert release(tmp_path, runner, "v2.0.0").returncode == 0
    assert runner.recorded() == ["gh release create v2.0.0 --verify-tag --notes-file notes.md"]
    assert (tmp_path / "notes.md").read_text().strip() == "- Good."


@pytest.mark.parametrize("tag", ["v2.2.0", "v2.0", "v1.0.0", "v2x0.0"])
def test_release_without_notes_is_refused(tmp_path: Path, runner: Runner, tag: str) -> None:
    result = release(tmp_path, runner, tag)
    assert result.returncode == 1
    assert f"::error::Write ## {tag[1:]} – and the date into CHANGELOG.md" in result.stdout
    assert runner.recorded() == []


def test_this_repository_runs_what_ci_runs() -> None:
    assert any(step.get("run") == ".ci/run" for step in load(ROOT / TEST)["jobs"]["test"]["steps"])
