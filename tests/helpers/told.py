"""What the tests of a project say of it, asked in this process: pytest takes a second to start."""

import sys
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
import yaml

import app


def load(path: Path, **given: Any) -> ModuleType:
    spec = spec_from_file_location(f"told_{path.stem}", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(given)
    return module


TESTS = Path(__file__).parents[2] / "template/tests"


def conflicts(project: Path) -> list[str]:
    """Return what tests/unmerged.py says, one conflict an item."""
    return list(load(TESTS / "unmerged.py", PROJECT=project).unmerged())


def disagreement(project: Path) -> str:
    """Return what tests/test_answers.py says, if it fails or warns."""
    answers = load(project / "app/answers.py")
    with (
        patch.dict(sys.modules, {"app.answers": answers}),
        patch.object(app, "answers", answers, create=True),
    ):
        tests = load(TESTS / "test_answers.py")
    record = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            tests.test_app_follows_the_answers(record)
            tests.test_template_can_be_found_again(record)
        except pytest.fail.Exception as failure:
            return str(failure)
    return "\n".join(str(warning.message) for warning in found)
