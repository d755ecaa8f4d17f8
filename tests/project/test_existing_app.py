"""The README's "Add it to an app you already have": `app/cors/` in a package of another name."""

import ast
import importlib
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from flask import Flask

from whycors.browser import Headers, Outcome, PageRequest, Response, fetch

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Add it to an app you already have\n")[2].partition("\n## ")[0]
CORS = ROOT / "template/app/cors"

# What a plain app had before.
SHOP = """
from flask import Flask, abort, request

app = Flask(__name__)


@app.before_request
def log_in():
    if "Authorization" not in request.headers:
        abort(401)


@app.put("/items")
def items():
    return {"items": []}


"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """A plain app, with what the README says added as its last step."""
    package = tmp_path / "shop"
    shutil.copytree(CORS, package / "cors", ignore=shutil.ignore_patterns("__pycache__"))
    (block,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    (package / "__init__.py").touch()
    (package / "main.py").write_text(SHOP + block.replace("myapp", "shop"))
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    app = importlib.import_module("shop.main").app
    assert isinstance(app, Flask)
    return app


def browse(app: Flask, request: PageRequest) -> Outcome:
    client = app.test_client()

    def send(method: str, url: str, headers: Headers) -> Response:
        response = client.open(url, method=method, headers=list(headers))
        return Response(response.status_code, tuple(response.headers))

    return fetch("http://localhost/items", request, send)


def test_it_works_under_another_name(shop: Flask, caplog: pytest.LogCaptureFixture) -> None:
    policy = shop.extensions["cors_policy"]
    assert type(policy).__module__ == "shop.cors.policy"
    (origin,) = policy.origins
    posted = PageRequest(origin, "POST", (("Content-Type", "application/json"),))
    outcome = browse(shop, posted)
    assert outcome.allowed, outcome.verdict
    assert [exchange.response.status for exchange in outcome.exchanges] == [204, 401]
    assert not caplog.messages
    assert not browse(shop, PageRequest("https://evil.example")).allowed
    assert not browse(shop, PageRequest(origin, "PUT")).allowed
    assert {record.name for record in caplog.records} == {"shop.cors.gate"}


def test_it_needs_what_the_readme_says_and_no_module_of_the_project() -> None:
    come_with_flask = {"flask", "werkzeug", "click"}
    imported = set()
    for path in CORS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported |= absolute_imports(node)
    needed = imported - {*sys.stdlib_module_names, "_typeshed"} - come_with_flask
    names = {"flask_cors": "flask-cors", "dotenv": "python-dotenv"}
    for module in needed:
        assert names.get(module, module) in SECTION, module
    assert "app" not in needed


def absolute_imports(node: Any) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return {node.module.partition(".")[0]}
    return set()
