"""`flask cors`: shows the policy, and explains a verdict by its exit code."""

import json

from flask import Flask
from test_cors import ALLOWED, is_meant

from app import settings


def test_show(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["cors", "show", "--json"])
    shown = {one["name"]: one["value"] for one in json.loads(result.stdout)["settings"]}
    assert shown == {name: getattr(settings, name) for name in shown}


def test_explain(app: Flask) -> None:
    for origin in (ALLOWED[0], "https://evil.example"):
        arguments = ["cors", "explain", origin, "GET", "/api/echo"]
        result = app.test_cli_runner().invoke(args=arguments)
        assert result.exit_code == (0 if is_meant(origin) else 1), result.output
