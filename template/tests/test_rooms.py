"""What may import what: corscheck/ is a developer's tool, and a deployment works without it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

# As if the folder were missing: an import of it raises ModuleNotFoundError.
BLOCK_CORSCHECK = "import sys; sys.modules['corscheck'] = None; "
SERVE = "from wsgi import app; print(app.test_client().get('/health/live').status)"


def imports(path: Path) -> Iterator[str]:
    """Yield the top-level package of each import in a file, `.` for a relative one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else str(node.module).partition(".")[0]


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=PROJECT, capture_output=True, text=True
    )


def test_nothing_that_is_deployed_imports_corscheck() -> None:
    for path in (PROJECT / "wsgi.py", *(PROJECT / "app").rglob("*.py")):
        assert not {"corscheck", "dev"} & set(imports(path)), path


def test_deployment_works_without_corscheck() -> None:
    result = run(BLOCK_CORSCHECK + SERVE)
    if result.returncode != 0 and run(SERVE).returncode != 0:
        pytest.skip("wsgi.py needs settings that are not set here")
    assert result.returncode == 0, result.stderr
    assert result.stdout  # a status, whichever it is


def test_browser_uses_only_the_standard_library() -> None:
    """The judge shares no code, and so no mistake, with the policy that it judges."""
    assert set(imports(PROJECT / "corscheck/browser.py")) <= sys.stdlib_module_names
