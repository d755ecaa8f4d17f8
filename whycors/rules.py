"""Reads an item of a policy by the table of rules: rules.tsv says what its rows mean."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("rules.tsv")


class Rule(NamedTuple):
    verdict: str
    pattern: re.Pattern[str]
    replacement: str
    reason: str


def read(kind: str, item: str) -> tuple[str, str | None]:
    """Return an item in its canonical form and None, or as it is and what is wrong with it.

    `kind` is the start of the rows to read: `origin`, `method`, `allowed header`, …
    """
    text = item
    for rule in rules_for(kind):
        match = rule.pattern.match(text)
        if match is None:
            continue
        if rule.verdict == "take":
            break
        if rule.verdict == "rewrite":
            text = match.expand(rule.replacement)
        elif rule.verdict == "instead":
            advice, reason = show(match.expand(rule.replacement)), match.expand(rule.reason)
            return item, f"write {advice}, not {show(item)}: {reason}"
        elif rule.verdict == "remove":
            return item, f"remove {show(item)}: {rule.reason}"
        else:
            text = f"{match[1]}{CONVERSIONS[rule.verdict](match[2])}{match[3]}"
    return text, None


def notes(origin: str) -> Iterator[str]:
    """Yield what the owner of a policy should know about an accepted origin."""
    for rule in rules_for("note"):
        if match := rule.pattern.match(origin):
            yield match.expand(rule.reason)


@cache
def rules_for(kind: str) -> tuple[Rule, ...]:
    """Return the rows for a kind; those for every `header` are for an `allowed header` too."""
    names: dict[str, str] = {}
    rules = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        row_kind, verdict, pattern, replacement, reason = (line.split("\t") + [""] * 4)[:5]
        for name, meaning in names.items():
            pattern = pattern.replace(name, meaning)
        if row_kind == "let":
            names[verdict] = pattern
        elif verdict and kind.endswith(row_kind):
            whole = re.compile(rf"(?:{pattern})\Z", re.ASCII | re.DOTALL)
            rules.append(Rule(verdict, whole, replacement, reason))
    return tuple(rules)


def to_punycode(host: str) -> str:
    """Return a host with each non-ASCII label in its ASCII form (RFC 3492)."""
    labels = re.split("[.\u3002\uff0e\uff61]", host)
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in labels
    )


CONVERSIONS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "punycode": to_punycode,
}


def show(text: str) -> str:
    """Return a text as it can be in one line of a message or a log."""
    shown = text if text.isprintable() and text.strip() else json.dumps(text)
    return shown if len(shown) <= 120 else f"{shown[:80]}…"
