"""`example/` is the default project as it is rendered, for people to read before they have one."""

import os
import shutil
from pathlib import Path

from conftest import ROOT, copy, files, git

EXAMPLE = ROOT / "example"
ADDRESS = "https://git.example/flask-cors-api-template"
WRITE = "EXAMPLE=write .venv/bin/pytest tests/project/test_example.py"


def rendered(template: Path, folder: Path) -> dict[str, str]:
    """Render from a folder that has no commit, and hide where it lies; links lead to our docs/."""
    source = shutil.copytree(template, folder / "source", ignore=shutil.ignore_patterns(".git"))
    copy(source, folder / "project", {})
    texts = {}
    for name, content in files(folder / "project").items():
        if name not in ("requirements.txt", "requirements-dev.txt"):
            text = content.decode().replace(f"]({source}/", "](../")
            texts[name] = text.replace(f"file://{source}", ADDRESS).replace(str(source), ADDRESS)
    return texts


def test_example_is_what_is_rendered(template: Path, tmp_path: Path) -> None:
    texts = rendered(template, tmp_path)
    if os.environ.get("EXAMPLE") == "write":
        shutil.rmtree(EXAMPLE, ignore_errors=True)
        for name, text in texts.items():
            (EXAMPLE / name).parent.mkdir(parents=True, exist_ok=True)
            (EXAMPLE / name).write_text(text, encoding="utf-8")
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "example")
    paths = [path for path in map(ROOT.joinpath, listed.splitlines()) if path.is_file()]
    kept = {str(path.relative_to(EXAMPLE)): path.read_text(encoding="utf-8") for path in paths}
    changed = sorted(name for name in texts | kept if texts.get(name) != kept.get(name))
    assert not changed, f"run {WRITE}, and commit example/: it differs in {', '.join(changed)}"
