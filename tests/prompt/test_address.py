"""The template's address, as Copier records it, for pip and for a browser."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import git
from copier import run_copy
from readers import includes

(ADDRESS,) = includes("whycors")


def pinned(source: str, commit: str | None = "v4.0.0") -> str:
    recorded = {"_src_path": source, **({"_commit": commit} if commit else {})}
    return str(ADDRESS.pinned(recorded))


@pytest.mark.parametrize(
    ("source", "for_pip", "page"),
    [
        ("gh:owner/repo", "git+https://github.com/owner/repo", "https://github.com/owner/repo"),
        ("gh:owner/repo.git", "git+https://github.com/owner/repo.git", "https://github.com/owner/repo"),
        ("gl:a/b/repo", "git+https://gitlab.com/a/b/repo", "https://gitlab.com/a/b/repo"),
        ("git@git.example:o/repo.git", "git+ssh://git@git.example/o/repo.git", "https://git.example/o/repo"),
        ("git+git@git.example:o/repo", "git+ssh://git@git.example/o/repo", "https://git.example/o/repo"),
        ("ssh://git@git.example:2222/o/r", "git+ssh://git@git.example:2222/o/r", "https://git.example/o/r"),
        ("git+https://git.example/o/r", "git+https://git.example/o/r", "https://git.example/o/r"),
        ("https://git.example:8443/o/r/", "git+https://git.example:8443/o/r", "https://git.example:8443/o/r"),
        ("https://me:t0k@n@git.example/o/r.git", "git+https://git.example/o/r.git", "https://git.example/o/r"),
        ("ssh://git:t0ken@git.example/o/r", "git+ssh://git@git.example/o/r", "https://git.example/o/r"),
        ("git://git.example/o/r.git", "git+git://git.example/o/r.git", "https://git.example/o/r"),
        ("/srv/our templates/api", "git+file:///srv/our%20templates/api", "/srv/our templates/api"),
        (r"C:\our\api", "git+file:///C:/our/api", r"C:\our\api"),
        ("git+file:///srv/api", "git+file:///srv/api", "git+file:///srv/api"),
        ("./api", "", "./api"),
        ("..", "", ".."),
    ],
)  # fmt: skip
def test_address_of_each_form(source: str, for_pip: str, page: str) -> None:
    assert str(ADDRESS.pip_address(source)) == for_pip
    assert pinned(source) == (f"{for_pip}@v4.0.0" if for_pip else "")
    assert str(ADDRESS.page(source)) == page
    assert "t0k" not in pinned(source) + str(ADDRESS.document(source, "docs/deploy.md"))


@pytest.mark.parametrize(
    ("commit", "ref"),
    [("v4.0.0", "v4.0.0"), ("1a2b3c4", "1a2b3c4"), ("v4.0.0-2-g1a2b3c4", "1a2b3c4")],
)
def test_version_is_one_that_pip_and_uv_take(commit: str, ref: str) -> None:
    assert pinned("gh:owner/repo", commit) == f"git+https://github.com/owner/repo@{ref}"


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("gh:owner/repo", "https://github.com/owner/repo/blob/HEAD/docs/deploy.md"),
        ("git@gitlab.example:o/r.git", "https://gitlab.example/o/r/-/blob/HEAD/docs/deploy.md"),
        ("https://git.example/o/r", "https://git.example/o/r"),
        ("/srv/api", "/srv/api/docs/deploy.md"),
    ],
)
def test_address_of_a_document(source: str, address: str) -> None:
    assert str(ADDRESS.document(source, "docs/deploy.md")) == address


def test_pinned_address_is_recorded_and_printed(
    template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pipelines read it by this grep."""
    project = tmp_path / "project"
    run_copy(str(template), project, defaults=True, vcs_ref="HEAD")
    commit = git(template, "rev-parse", "--short", "HEAD")
    address = f"git+file://{template}@{commit}"
    assert f'\n  pip install "{address}"\n' in capsys.readouterr().err
    found = subprocess.run(
        ["grep", "-m1", "-o", 'git+[^"]*', ".copier-answers.yml"],
        cwd=project, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout == f"{address}\n"
    assert yaml.safe_load((project / ".copier-answers.yml").read_text())["_commit"] == commit


def test_without_a_version_there_is_no_line(
    template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(template, "archive", "--output", str(tmp_path / "template.tar"), "HEAD")
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "xf", "../template.tar"], cwd=tmp_path / "unpacked", check=True)
    run_copy(str(tmp_path / "unpacked"), tmp_path / "project", defaults=True)
    record = (tmp_path / "project/.copier-answers.yml").read_text()
    assert not re.search(r"pip install|git\+|None", record)
    assert "pip install -r requirements-dev.txt\n" in (told := capsys.readouterr().err)
    assert "git+" not in told
