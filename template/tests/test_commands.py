"""`flask cors` shows the policy, and explains what a browser does with a request."""

import json
import logging

import pytest
from pages import ALLOWED, ORIGINS, PUBLIC, STRANGERS, bare_app

import corscheck
from app import answers


def test_show() -> None:
    result = bare_app().test_cli_runner().invoke(corscheck.commands, ["show", "--json"])
    shown = {one["name"]: one["value"] for one in json.loads(result.stdout)["settings"]}
    answered = {name: value for name, value in vars(answers).items() if name.startswith("CORS_")}
    assert shown.items() >= (answered | {"CORS_ORIGINS": list(ORIGINS)}).items()


@pytest.mark.parametrize("origin", [ALLOWED[0], STRANGERS[0]])
def test_explain(caplog: pytest.LogCaptureFixture, origin: str) -> None:
    with caplog.at_level(logging.WARNING, "app.cors"):
        arguments = ["explain", origin, answers.CORS_METHODS[0], "/"]
        result = bare_app().test_cli_runner().invoke(corscheck.commands, arguments)
    assert result.exit_code == (0 if origin == ALLOWED[0] or PUBLIC else 1), result.output
    assert not [record for record in caplog.records if record.name.startswith("app.cors")]
