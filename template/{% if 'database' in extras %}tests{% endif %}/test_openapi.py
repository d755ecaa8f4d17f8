"""`/openapi.json` describes what the app has, and `/docs` loads nothing from elsewhere."""

import json
import re

import pytest
from click import ClickException
from flask import Flask
from flask.testing import FlaskClient

from app import create_app


def test_document(app: Flask, client: FlaskClient) -> None:
    served = client.get("/openapi.json").json
    printed = json.loads(app.test_cli_runner().invoke(args=["openapi"]).stdout)
    assert served is not None
    assert served.pop("servers") == [{"url": "/"}]
    assert served == printed
    assert served["openapi"] == "3.1.0"


def test_each_resource_is_described(app: Flask, client: FlaskClient) -> None:
    paths = (client.get("/openapi.json").json or {})["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("items."):
            path = re.sub(r"<.*:(\w+)>", r"{\1}", rule.rule)
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            assert {(method, path) for method in methods} <= described


def test_page(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for url in re.findall(r'(?:src|href)="(.+?)"', page.text):
        assert client.get(f"/{url}").status_code == 200, url


def test_switched_off(app: Flask) -> None:
    client = create_app({**app.config, "API_DOCS": False}).test_client()
    for path in ("/openapi.json", "/docs", "/docs/swagger-ui.css"):
        assert client.get(path).status_code == 404
    with pytest.raises(ClickException, match="API_DOCS: write true or false, not 'False'"):
        create_app({**app.config, "API_DOCS": "False"})
