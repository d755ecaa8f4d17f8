"""The cases of cases.yml, whose head says how they are written."""

from pathlib import Path
from typing import Any

import yaml

SECTIONS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))


def accepted(section: str) -> list[Any]:
    return flatten(SECTIONS[section]["accepted"])


def refused(section: str) -> list[Any]:
    return flatten(SECTIONS[section]["refused"])


def refused_items(section: str) -> list[tuple[Any, str, str | None]]:
    """Return each item with a part of its problem's cause, and what to write instead."""
    return [(item, cause, *(correction or [None])) for item, cause, *correction in refused(section)]


def flatten(cases: Any) -> list[Any]:
    return (
        [case for group in cases.values() for case in group] if isinstance(cases, dict) else cases
    )
