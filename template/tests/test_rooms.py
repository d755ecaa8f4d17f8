"""What may import what: corscheck/ is a developer's tool, and a deployment works without it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def imports(path: Path) -> Iterator[str]:
    """Yield the top-level package of each import in a file, `.` for a relative one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else str(node.module).partition(".")[0]


def test_nothing_that_is_deployed_imports_corscheck() -> None:
    for path in (PROJECT / "wsgi.py", *(PROJECT / "app").rglob("*.py")):
        assert not {"corscheck", "dev"} & set(imports(path)), path


def test_browser_uses_only_the_standard_library() -> None:
    """The judge shares no code, and so no mistake, with the policy that it judges."""
    assert set(imports(PROJECT / "corscheck/browser.py")) <= sys.stdlib_module_names
