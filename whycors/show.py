"""The policy in force: each value, its source, and what to think about before deploying."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .explain import own_url
from .policies import Policy, parts_of, policy_of
from .risks import cookie_risks, notes, risks, risks_of_paths
from .sources import SHOWN, settings_in, source

if TYPE_CHECKING:
    from flask import Flask


@dataclass(frozen=True)
class Setting:
    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class Report:
    """The policy and other settings as the app uses them, and what to know about them.

    Each path in CORS_PATHS has all parts of its policy; `own` are those that it does not inherit.
    """

    settings: list[Setting]
    own: dict[str, list[str]]
    warnings: list[str]
    notes: list[str]


def report(app: "Flask") -> Report:
    policy = policy_of(app)
    used: dict[str, Any] = {f"CORS_{name.upper()}": part for name, part in parts_of(policy).items()}
    used["CORS_PATHS"] = {path: parts_of(own) for path, own in policy.paths.items()}
    answers = settings_in("app.answers")
    # The environment of this machine sets another.
    deployed = answers | settings_in("app.settings")
    same_site = deployed.get("SESSION_COOKIE_SAMESITE")
    return Report(
        [
            Setting(name, used.get(name, app.config.get(name)), source(app, name))
            for name in [*used, *(name for name in answers if name not in used)]
        ]
        + [Setting(name, other_setting(app, name), source(app, name)) for name in SHOWN],
        own_parts(app, policy),
        [
            *risks(policy, app.debug),
            *risks_of_paths(policy, app.debug),
            *cookie_risks(policy, same_site),
        ],
        list(notes(policy, own_url(app))),
    )


def other_setting(app: "Flask", name: str) -> Any:
    """Return a setting as it can be shown: of a secret, only whether it is set."""
    value = app.config.get(name, SHOWN[name])
    if name == "SECRET_KEY":
        return "set" if value else "not set"
    return ", ".join(value) if isinstance(value, (list, tuple)) else value


def own_parts(app: "Flask", policy: Policy) -> dict[str, list[str]]:
    """Return the parts that each path does not inherit: what is written, and what follows."""
    paths = app.config.get("CORS_PATHS") or {}
    written = {path.rstrip("/"): entry for path, entry in paths.items()}
    return {
        path: [
            name
            for name, value in parts_of(own).items()
            if name in written.get(path, ()) or value != getattr(policy, name)
        ]
        for path, own in policy.paths.items()
    }


def as_text(shown: Report) -> Iterator[str]:
    """Yield the report's lines, for a person to read."""
    for setting in shown.settings:
        yield f"{setting.name}  ({setting.source})"
        if setting.name == "CORS_PATHS":
            yield from path_lines(setting.value, shown.own)
        elif setting.name == "CORS_ORIGINS":
            yield from (f"  {origin}" for origin in setting.value)
        else:
            yield f"  {in_one_line(setting.value)}"
    yield from (f"Warning: {warning}" for warning in shown.warnings)
    yield from (f"Note: {note}" for note in shown.notes)


def path_lines(paths: dict[str, dict[str, Any]], own: dict[str, list[str]]) -> Iterator[str]:
    """Yield the policy of each path, with what it has in common with the whole API's marked."""
    for path, policy in paths.items():
        yield f"  {path}"
        for name, value in policy.items():
            inherited = "" if name in own[path] else "  (inherited)"
            yield f"    {name}: {in_one_line(value)}{inherited}"
    if not paths:
        yield "  none"


def in_one_line(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
