"""What is rendered, for every combination of answers: clean as if written by hand, and green."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Render, assert_green
from shapes import COMBINATIONS

EVERY_COMBINATION = pytest.mark.parametrize("name", COMBINATIONS)


def run(project: Path, *command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


@EVERY_COMBINATION
def test_project_is_clean_and_its_tests_pass(render: Render, name: str) -> None:
    project = render(**COMBINATIONS[name])
    for path in project.rglob("*"):
        if path.is_file():
            assert_hand_written(path)
    run(project, "compileall", "-q", ".")
    run(project, "ruff", "format", "--check", "--no-cache", ".")
    run(project, "ruff", "check", "--no-cache", ".")
    assert_green(project)


def assert_hand_written(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\{\{|\{%|\{#", text), f"{path}: Jinja is left"
    assert not re.search(r"[ \t]+$", text, re.MULTILINE), f"{path}: spaces at a line's end"
    assert text.endswith("\n") and not text.endswith("\n\n"), f"{path}: its end"
    assert not text.startswith("\n"), f"{path}: its beginning"
    if path.suffix != ".py":
        assert "\n\n\n" not in text, f"{path}: two blank lines"


@pytest.mark.parametrize(
    "name", ["default-default-anonymous-default", "https-all-credentials-default"]
)
def test_project_type_checks(render: Render, name: str) -> None:
    run(render(**COMBINATIONS[name]), "mypy", "--strict", "app", "tests", "wsgi.py")


def test_this_repository_is_clean() -> None:
    run(ROOT, "ruff", "format", "--check", "--no-cache", ".")
    run(ROOT, "ruff", "check", "--no-cache", ".")


def test_settings_hold_the_answers(render: Render) -> None:
    project = render(
        frontend_origins="https://app.example.com, http://localhost:*",
        allowed_methods=["POST", "GET"],
        allow_credentials=True,
        allowed_headers=[],
        exposed_headers="ETag",
        preflight_max_age=-1,
    )
    settings: dict[str, Any] = {}
    exec((project / "app/settings.py").read_text(), settings)
    assert {key: value for key, value in settings.items() if key.startswith("CORS_")} == {
        "CORS_ORIGINS": ["https://app.example.com", "http://localhost:*"],
        "CORS_METHODS": ["GET", "POST"],
        "CORS_SUPPORTS_CREDENTIALS": True,
        "CORS_ALLOW_HEADERS": [],
        "CORS_EXPOSE_HEADERS": ["ETag"],
        "CORS_MAX_AGE": -1,
    }


@pytest.mark.parametrize(
    "name",
    [
        'Tom\'s "API"',
        "{{ 7 * 7 }}",
        "{% raw %}",
        "back\\slash",
        "Bücher 📚",
        "<b>#1</b>: yes",
        "日本",
    ],
)
def test_project_name_is_text_wherever_it_stands(render: Render, name: str) -> None:
    project = render(project_name=name)
    assert (project / "README.md").read_text(encoding="utf-8").startswith(f"# {name}\n")
    if sys.version_info >= (3, 11):
        import tomllib

        metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        assert metadata["project"]["description"] == name
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", metadata["project"]["name"])
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert answers["project_name"] == name


def test_no_secret_is_rendered(render: Render) -> None:
    project = render(allow_credentials=True)
    for path in project.rglob("*"):
        if path.is_file():
            found = re.findall(r"^(?!#).*SECRET_KEY\s*=.*", path.read_text(), re.MULTILINE)
            assert not found, f"{path}: {found}"


def test_only_files_with_answers_are_templates() -> None:
    """Every other file can be linted, type-checked and read as it stands."""
    for path in (ROOT / "template").rglob("*.jinja"):
        assert re.search(r"\{\{.*\}\}", path.read_text(encoding="utf-8")), path


def test_policy_code_is_the_same_in_every_project(render: Render) -> None:
    first = render(frontend_origins="any")
    second = render(frontend_origins=["https://app.example.com"], allow_credentials=True)
    for path in (first / "app/cors").rglob("*"):
        other = second / path.relative_to(first)
        assert path.read_bytes() == other.read_bytes(), path


def test_locks_hold_what_the_project_asks_for(render: Render) -> None:
    project = render()
    asked = re.findall(
        r'^    "([a-z0-9-]+)', (project / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert "flask-cors" in asked and "pytest" in asked
    pinned = (project / "requirements-dev.txt").read_text()
    for name in asked:
        assert re.search(rf"^{name}==[^\\]+\\\n +--hash=sha256:", pinned, re.MULTILINE), name
    for line in (project / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or line in pinned.splitlines() or "# via" in line, line
