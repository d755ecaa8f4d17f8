"""Hostile requests to the running app; benchmarks/attack.py sends many more of them."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import copy
from hostile import POLICIES, attack_in_process, attack_on_the_wire


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    copy(template, folder, {})
    return folder


@pytest.fixture
def create_app(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    others = {name: module for name, module in sys.modules.items() if is_of_app(name)}
    for name in others:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(project)
    yield importlib.import_module("app").create_app
    for name in [name for name in sys.modules if is_of_app(name)]:
        del sys.modules[name]


def is_of_app(name: str) -> bool:
    return name.partition(".")[0] == "app"


@pytest.mark.parametrize("name", POLICIES)
def test_in_the_process(create_app: Callable[..., Any], name: str) -> None:
    counts = attack_in_process(create_app, POLICIES[name], Random(name), 2000)
    kinds = ("accepted", "preflights", "refused", "log lines")
    assert min(counts[kind] for kind in kinds) > 10 and counts["failed"] > 3, counts


@pytest.mark.parametrize("name", ["exact", "several", "both", "credentials", "any"])
def test_on_the_wire(project: Path, name: str, tmp_path: Path) -> None:
    counts = attack_on_the_wire(project, POLICIES[name], Random(name), 150, tmp_path / "log")
    kinds = ("accepted", "preflights", "refused by the server")
    assert min(counts[kind] for kind in kinds) > 10 and counts["refused"] > 3, counts
