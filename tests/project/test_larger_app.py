"""The project's tests stay green in a larger app; only `tests/conftest.py` has to know of it."""

from pathlib import Path

import pytest
from conftest import Render, assert_green

# What an owner adds to `create_app`, before its lines about the policy.
EXTENSIONS = """
    if not app.config.get("SECRET_KEY"):
        raise RuntimeError("set FLASK_SECRET_KEY")
    if not app.config.get("DATABASE_URL"):
        raise RuntimeError("set FLASK_DATABASE_URL")
    app.extensions["database"] = app.config["DATABASE_URL"]
"""

HOOKS = {
    "login": "abort(401)",
    "single sign-on": 'redirect("https://login.example/?next=/")',
    "database that is down": "1 / 0",
    "none": "None",
}


@pytest.mark.parametrize("name", HOOKS)
def test_tests_stay_green_in_a_larger_app(render: Render, name: str) -> None:
    project = render()
    policy = "\n    policy = cors.Policy"
    replace(project / "app/__init__.py", "from flask import Flask", IMPORT)
    hook = f"    app.before_request(lambda: {HOOKS[name]})\n"
    replace(project / "app/__init__.py", policy, f"{EXTENSIONS}{hook}{policy}")
    replace(
        project / "tests/conftest.py",
        'create_app({"TESTING": True})',
        'create_app({"TESTING": True, "SECRET_KEY": "a", "DATABASE_URL": "sqlite://"})',
    )
    if name == "none":
        remove_the_sample(project)
    assert_green(project)


IMPORT = "from flask import Flask, abort, redirect"


def remove_the_sample(project: Path) -> None:
    for name in ("app/echo.py", "app/errors.py", "tests/test_echo.py", "tests/test_errors.py"):
        (project / name).unlink()
    replace(project / "app/__init__.py", "cors, echo, errors,", "cors,")
    replace(project / "app/__init__.py", "    errors.init_app(app)\n", "")
    replace(project / "app/__init__.py", "    app.register_blueprint(echo.bp)\n", "")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has changed: {old}"
    path.write_text(text.replace(old, new))
