"""The README tells the truth: its commands are run word by word, its samples are what is rendered."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Render, copy_template

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    """Return the shell blocks under a heading."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found


def shell(script: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # uv is among the tests' tools
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_commands_make_a_project_whose_tests_pass(tmp_path: Path, tool: str) -> None:
    checkout = copy_template(tmp_path / "checkout")
    make = blocks("Make a project")[0 if tool == "pip" else 1]
    shell(make.replace("copier copy", "copier copy --defaults"), checkout)
    run = blocks("Run and test it")[0]
    assert run.splitlines()[-1].startswith("flask run")
    output = shell(run.replace("\nflask run", "\nflask routes"), checkout)
    assert " passed" in output and " failed" not in output
    assert "/api/echo" in output


def test_ci_runs_the_test_command() -> None:
    command = blocks("Work on the template")[0].strip()
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_sample_of_the_entry_point_is_rendered_so(render: Render) -> None:
    sample = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert sample in (render() / "app/__init__.py").read_text()


def test_files_that_it_lists_are_rendered(render: Render) -> None:
    project = render()
    tree = re.findall(r"```\nmy-api/\n(.*?)```", README, re.DOTALL)[0]
    folders = []
    for line in tree.splitlines():
        depth = len(re.match(r"[│├└─ ]*", line)[0]) // 4 - 1  # type: ignore[index]
        names = line.lstrip("│├└─ ").split("  ")[0].split(", ")
        for name in names:
            path = project.joinpath(*folders[:depth], name)
            assert path.exists(), path
        if names[0].endswith("/"):
            folders[depth:] = [names[0]]


def test_questions_are_all_told(template: Path) -> None:
    asked = re.findall(r"^([a-z_]+):\n", (template / "copier.yml").read_text(), re.MULTILINE)
    told = re.findall(r"^\| `([a-z_]+)`", README, re.MULTILINE)
    assert [name for name in asked if not name.startswith("_")] == told
