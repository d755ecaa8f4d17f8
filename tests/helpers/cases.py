"""The cases of cases.yml, whose head says how they are written."""

from pathlib import Path
from typing import Any

import yaml

SECTIONS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))


def accepted(section: str) -> list[Any]:
    return flatten(SECTIONS[section]["accepted"])


def rewritten(section: str) -> list[Any]:
    return flatten(SECTIONS[section]["rewritten"])


def refused(section: str) -> list[Any]:
    return flatten(SECTIONS[section]["refused"])


def all_items(section: str) -> list[str]:
    """Return every item of a section, whatever becomes of it."""
    return accepted(section) + [case[0] for case in rewritten(section) + refused(section)]


def flatten(cases: Any) -> list[Any]:
    return (
        [case for group in cases.values() for case in group] if isinstance(cases, dict) else cases
    )
