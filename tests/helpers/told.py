"""What the tests of a project say of it, asked in this process: pytest takes a second to start."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest

import app


def load(path: Path) -> ModuleType:
    """Run a file as it stands: a cache would have an edit of the same second as it was before."""
    module = ModuleType(f"told_{path.stem}")
    module.__file__ = str(path)
    exec(compile(path.read_bytes(), path, "exec"), vars(module))
    return module


def conflicts(project: Path) -> list[str]:
    """Return what its tests/unmerged.py says, one place an item."""
    try:
        load(project / "tests/unmerged.py")
    except SystemExit as told:
        return re.split(r"\n  (?! )", str(told))[1:]
    return []


def disagreement(project: Path) -> str:
    """Return what tests/test_cors.py says, if it fails."""
    modules: dict[str, Any] = {
        name: load(project / f"app/{name}.py") for name in ("answers", "settings")
    }
    with (
        patch.dict(sys.modules, {f"app.{name}": module for name, module in modules.items()}),
        patch.multiple(app, create=True, **modules),
    ):
        tests = load(project / "tests/test_cors.py")
        try:
            tests.test_app_follows_the_answers()
        except (AssertionError, pytest.fail.Exception) as failure:
            return str(failure)
    return ""
