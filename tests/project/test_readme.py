"""The README and docs/ are true: commands run word by word, samples are what is rendered."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Render, copy_template

from app.cors import Policy, PolicyError
from app.cors.origins import read_origin
from app.cors.policy import READERS, setting
from whycors import origins
from whycors.commands import commands

PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
}
PROJECTS = (ROOT / "template/README.md.jinja").read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    found = PAGES[page].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert found, heading
    return found


def blocks(heading: str, page: str = "README.md") -> list[str]:
    """Return the shell blocks under a heading."""
    return re.findall(r"```sh\n(.*?)```", section(page, heading), re.DOTALL)


def rows(pattern: str, heading: str, page: str = "README.md") -> list[Any]:
    """Return what a pattern finds in the lines under a heading, of which some are a table."""
    return re.findall(pattern, section(page, heading), re.MULTILINE)


def code(text: str) -> list[str]:
    """Return what is set as code within lines."""
    return re.findall(r"`([^`\n]+)`", text)


# Commands


def shell(script: str, folder: Path) -> str:
    variables = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # uv is a tool of the tests
        "PIP_NO_COMPILE": "1",
    }
    command = ["bash", "-euo", "pipefail", "-c", script]
    result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_commands_make_a_project_whose_tests_pass(tmp_path: Path, tool: str) -> None:
    checkout = copy_template(tmp_path / "checkout")
    make = blocks("Make a project")[0 if tool == "pip" else 1]
    shell(make.replace("copier copy", "copier copy --defaults"), checkout)
    run = blocks("Run and test it")[0]
    assert run.splitlines()[-1].startswith("flask run")
    if tool == "uv":
        (with_uv,) = re.findall(r"With uv: `([^`]+)`", PAGES["README.md"])
        venv, install = run.splitlines()[2:4]
        run = run.replace(venv, "").replace(install, with_uv.replace("\n", " "))
        run = run.replace("\nflask run", "\nuv run --no-project flask run")
    output = shell(run.replace("flask run", "flask routes"), checkout)
    assert " passed" in output and " failed" not in output
    assert "/api/echo" in output


def test_ci_runs_the_test_command() -> None:
    command = blocks("Work on the template")[0].strip()
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_commands_are_the_same_wherever_they_are_written() -> None:
    updates = PAGES["updates.md"]
    assert blocks("Change the origins")[0] in updates
    in_the_project = re.findall(r"```sh\n(uv pip .*?)```", PROJECTS, re.DOTALL)
    assert in_the_project[0] in updates
    for lock, command in zip(
        ("requirements.txt", "requirements-dev.txt"), in_the_project[0].splitlines(), strict=True
    ):
        paths = list((ROOT / "template").glob(f"*extras %}}{lock}{{*"))
        assert len(paths) == 3
        for path in paths:
            assert f"#    {command}\n" in path.read_text()


def test_flask_commands_exist() -> None:
    for text in (*PAGES.values(), PROJECTS):
        for name in re.findall(r"flask cors ([a-z]+)", text):
            assert name in commands.commands, name


# What is rendered


def test_sample_of_the_entry_point_is_rendered_so() -> None:
    sample = re.findall(r"```python\n(.*?)```", PAGES["README.md"], re.DOTALL)[0]
    assert sample in (ROOT / "template/app/__init__.py").read_text()


def test_tree_lists_what_is_rendered(render: Render) -> None:
    project = render()
    (tree,) = re.findall(r"```\nmy-api/\n(.*?)```", PAGES["README.md"], re.DOTALL)
    folders: list[str] = []
    listed = set()
    for line in tree.splitlines():
        depth = len(line) - len(line.lstrip("│├└─ "))
        names = line.lstrip("│├└─ ").split("  ")[0].split(", ")
        for name in names:
            path = project.joinpath(*folders[: depth // 4 - 1], name)
            assert path.exists(), path
            listed.add(path)
        if names[0].endswith("/"):
            folders[depth // 4 - 1 :] = [names[0]]
    for path in (*project.glob("[!.]*"), *project.glob("app/*")):
        assert path in listed, path


def test_questions_are_listed_with_their_defaults(template: Path, render: Render) -> None:
    questions = yaml.safe_load((template / "copier.yml").read_text(encoding="utf-8"))
    hidden = [name for name in questions if name[0] == "_" or questions[name].get("when") is False]
    listed = rows(r"^\| `([a-z_]+)`.*\|(.*)\|$", "The questions")
    assert [name for name in questions if name not in hidden] == [name for name, _ in listed]
    answers = yaml.safe_load((render() / ".copier-answers.yml").read_text(encoding="utf-8"))
    # Only with credentials, and only with a database.
    further = {"frontends_share_site": "worked out from the origins", "database_extra": "4.0.0"}
    assert [name for name, _ in listed if name not in answers] == list(further)
    answers |= further
    for name, default in listed:
        answer = answers[name]
        text = ", ".join(answer) or "none" if isinstance(answer, list) else str(answer)
        assert default.strip(" `") == {"False": "no"}.get(text, text), name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = ROOT / "docs" if (ROOT / "docs" / page).exists() else ROOT
    for link in re.findall(r'(?:\]\(|src="|srcset=")([^)"]+)', PAGES[page]):
        if link.startswith("https:"):
            continue
        name, _, anchor = link.partition("#")
        assert (folder / name).exists(), link
        if anchor:
            text = (folder / name).read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.+)$", text.lower(), re.MULTILINE)
            plain = [re.sub(r"[^a-z -]", "", heading) for heading in headings]
            assert anchor in [heading.replace(" ", "-") for heading in plain]


def test_paths_of_the_repository_exist() -> None:
    for cell in re.findall(r"^\| (`.+?`) \|", PAGES["CONTRIBUTING.md"], re.MULTILINE):
        for name in code(cell):
            if "/" in name:
                assert (ROOT / name).exists(), name


# Rules


def policy(origins: list[str], credentials: bool = False) -> Policy:
    config: dict[str, object] = {"CORS_ORIGINS": origins, "CORS_METHODS": "GET", "CORS_MAX_AGE": 0}
    return Policy.from_config({**config, "CORS_SUPPORTS_CREDENTIALS": credentials})


def test_origins_are_read_as_documented() -> None:
    pasted = rows(r"^\| `(.+?)` \| `(.+?)` \|$", "What you can write", "origins.md")
    assert len(pasted) >= 5
    for written, enforced in pasted:
        assert origins.read_origin(written) == (enforced, None)
        assert read_origin(enforced) == enforced
    accepted = rows(r"^\| (`.+?`) \| [^`]", "What you can write", "origins.md")
    assert len(accepted) >= 5
    for cell in accepted:
        for text in code(cell):
            policy([*text.replace(" ", "").split(",")])


def test_origins_are_rejected_as_documented() -> None:
    text = section("origins.md", "What is rejected")
    (message,) = re.findall(r"```\n(.*)\n```", text)
    item = re.findall(r", not (.+?): ", message)[0]
    assert origins.read_origin(item) == (item, message)
    bullets = "\n".join(line for line in text.splitlines() if line.startswith(("-", "  ")))
    examples = [example for example in code(bullets) if "://" in example or example == "null"]
    assert len(examples) >= 6
    for example in examples:
        with pytest.raises(PolicyError):
            policy([example])


def test_wildcards_with_credentials_are_as_documented() -> None:
    previews = rows(r"^\| `(https://.+?)` \| (\w+)", "Preview deployments", "origins.md")
    assert {verdict for _, verdict in previews} == {"safe", "anyone"}
    for origin, verdict in previews:
        policy([origin])
        if verdict == "safe":
            policy([origin], credentials=True)
        else:
            with pytest.raises(PolicyError):
                policy([origin], credentials=True)


def test_origins_of_apps_are_as_documented() -> None:
    table = section("origins.md", "Apps and browser extensions")
    found = [text for text in code(table) if "://" in text and not text.endswith("://")]
    assert len(found) >= 6
    for origin in found:
        assert read_origin(origin) == origin
        assert origins.read_origin(origin) == (origin, None)


def test_variables_are_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    text = section("deploy.md", "A policy for one deployment")
    listed = re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE)
    assert listed == [
        *(f"FLASK_{setting(part)}" for part in (*READERS, "paths")),
        "FLASK_PROXIES",
        "FLASK_PREFIX_PROXIES",
    ]
    (message,) = re.findall(r"```\n(.*)\n```", text)
    with pytest.raises(PolicyError) as stopped:
        policy([re.findall(r", not (.+?): ", message)[0]])
    assert str(stopped.value) == message
    (misspelt,) = re.findall(r"- a misspelt variable: (.*?);\n", text, re.DOTALL)
    names = [name for name in code(misspelt) if not name.endswith("_")]
    assert len(names) >= 5
    for name in names:
        with monkeypatch.context() as context, pytest.raises(PolicyError, match=f", not {name}:"):
            context.setenv(name, "https://app.example.com")
            policy(["https://app.example.com"])
