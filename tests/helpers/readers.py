"""The two readers of the table of rules: the prompt's, in Jinja, and that of whycors.

They agree on every item, but for what rows cannot say: `left_to_start` names those kinds. What
is called the start here is whycors' reader; the app's own is stricter.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from copier._main import Worker

from whycors import origins, policies

ROOT = Path(__file__).parent.parent.parent

Verdict = tuple[str, str | None]  # canonical and None, or the item and what is wrong with it
Listed = tuple[tuple[str, ...], list[str]]  # the canonical items, and what is wrong with others


def includes(*names: str) -> list[Any]:
    """Return the macros of includes/, in the environment that Copier makes for them."""
    with TemporaryDirectory() as folder:
        for path in ("copier.yml", "includes", "whycors/rules.tsv"):
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            copy: Callable[..., Any] = shutil.copytree if path == "includes" else shutil.copy
            copy(ROOT / path, Path(folder) / path)
        jinja = Worker(src_path=folder).jinja_env
        return [jinja.get_template(f"includes/{name}.jinja").module for name in names]


READ, PROBLEMS = includes("read", "problems")

# A section of cases.yml with the table's kind, and the example of a list.
SECTIONS = {
    "origins": ("origin", "https://app.example.com"),
    "methods": ("method", "GET, POST"),
    "allowed_headers": ("allowed header", "Content-Type"),
    "exposed_headers": ("exposed header", "X-Request-ID"),
}


def at_start(section: str, item: str) -> Verdict:
    if section == "origins":
        return origins.read_origin(item)
    return origins.read_item(SECTIONS[section][0], item)


def at_prompt(section: str, item: str) -> Verdict:
    values, problems = list_at_prompt(section, [item])
    return (item, problems[0]) if problems else (values[0], None)


def list_at_prompt(section: str, value: Any) -> Listed:
    """Return what the macro finds in a list, without what belongs to the list as a whole."""
    kind, example = SECTIONS[section]
    found = json.loads(str(READ.read(kind, value, example)))
    return tuple(found["items"]), found["problems"]


def left_to_start(prompted: Verdict, started: Verdict) -> str | None:
    """Return the kind of what the prompt accepts and the start alone can tell, None if neither."""
    (origin, refusal), (canonical, problem) = prompted, started
    if refusal is not None or not origin.startswith(("http://", "https://")):
        return None
    host = origin.partition("://")[2]
    if host.startswith("["):
        known = problem is None or problem.endswith(": it is not an IPv6 address")
        return "IPv6" if known and (problem or canonical != origin) else None
    if problem is None:
        return None
    if "xn--" in host and problem.endswith(" is not punycode"):
        return "punycode"
    if "*" in host and ": anyone can get a name under " in problem:
        return "public suffix"
    return None


def read(section: str, item: str) -> Verdict:
    """Return the verdict on an item, which is the same for both readers or left to the start."""
    prompted, started = at_prompt(section, item), at_start(section, item)
    if prompted != started:
        assert section == "origins" and left_to_start(prompted, started), (prompted, started)
    return started


def read_list(section: str, value: Any) -> Listed:
    """Return what the prompt finds in a list: whycors reads items only."""
    problem = problem_at_prompt(section, value)
    return list_at_prompt(section, value)[0], problem.split("; ") if problem else []


def problem_at_prompt(section: str, value: Any) -> str:
    """Return what the question's validator says of an answer."""
    if section == "origins":
        return str(PROBLEMS.origins_problem(value))
    kind, example = SECTIONS[section]
    return str(PROBLEMS.headers_problem(kind, value, False, example))


DEFAULTS = {
    "frontend_origins": "http://localhost:5173",
    "allow_credentials": False,
    "allowed_headers": "Content-Type, Authorization",
    "exposed_headers": "X-Request-ID",
}


# What is wrong with a list as a whole, and not with its items, which are all that whycors reads.
OF_LISTS = ("CORS_ORIGINS: write at least one origin", "CORS_ORIGINS: write any alone")


def read_policy(changes: dict[str, Any]) -> list[str]:
    """Return both readers' problems with a whole policy, as the prompt has them."""
    answers = {**DEFAULTS, **changes}
    problems = problems_at_prompt(answers)
    of_items = [problem for problem in problems if not problem.startswith(OF_LISTS)]
    assert sorted(of_items) == sorted(problems_at_start(answers))
    return [problem.partition(": ")[2] for problem in problems]


def problems_at_start(answers: dict[str, Any]) -> list[str]:
    origins, allowed, exposed = (
        items_at_start(section, answers[name])
        for section, name in (
            ("origins", "frontend_origins"),
            ("allowed_headers", "allowed_headers"),
            ("exposed_headers", "exposed_headers"),
        )
    )
    credentials = answers["allow_credentials"]
    policy = policies.Policy(origins, ("GET", "PUT"), credentials, allowed, exposed, 600)
    return [*policies.problems(policy)]


def items_at_start(section: str, value: Any) -> tuple[str, ...]:
    """Return the canonical items, each once, and those that are refused."""
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    verdicts = [at_start(section, item) for item in items]
    accepted: dict[str, str] = {}
    for item, problem in verdicts:
        if problem is None:
            accepted.setdefault(item.lower(), item)
    return (*accepted.values(), *(item for item, problem in verdicts if problem is not None))


def problems_at_prompt(answers: dict[str, Any]) -> list[str]:
    """Ask the validators, and put the setting's name before each problem as the start does."""
    origins, credentials = answers["frontend_origins"], answers["allow_credentials"]
    allowed, exposed = answers["allowed_headers"], answers["exposed_headers"]
    refusal = str(PROBLEMS.credentials_problem(True, origins)) if credentials else ""
    found = [
        ("CORS_ORIGINS", PROBLEMS.origins_problem(origins)),
        ("CORS_ORIGINS", refusal.removesuffix(" (in frontend_origins)")),
        ("CORS_ALLOW_HEADERS", headers_problem("allowed header", allowed, credentials)),
        ("CORS_EXPOSE_HEADERS", headers_problem("exposed header", exposed, credentials)),
    ]
    return [
        f"{setting}: {problem}"
        for setting, problems in found
        for problem in str(problems).split("; ")
        if problem
    ]


def headers_problem(kind: str, value: Any, credentials: bool) -> str:
    return str(PROBLEMS.headers_problem(kind, value, credentials, ""))


def advice(item: str, problem: str) -> str | None:
    """Return what a message says to write, None if it says to remove the item.

    Every message is one short line that starts with what to do and names the item.
    """
    shown = origins.shown(item)
    assert problem.isprintable() and len(problem) <= 360
    if problem.startswith(f"remove {shown}: "):
        return None
    assert problem.startswith("write ")
    written, named, reason = problem.removeprefix("write ").partition(f", not {shown}: ")
    assert written and named and reason
    return written


def follow(section: str, item: str) -> str:
    """Return the last problem on the way from an item to what its advice says, and so on.

    It is "" if that ends with an item that is accepted, else its advice is no item as it is.
    """
    steps = [item]
    while True:
        problem = read(section, steps[-1])[1]
        if problem is None:
            return ""
        written = advice(steps[-1], problem)
        if written is None or " " in written or "…" in written or '"' in written:
            return problem
        assert written not in steps
        steps.append(written)
