"""Stops pytest, before it reads any test, at each conflict that `copier update` or git left."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parent.parent

# With merge.conflictStyle=diff3, a line of ||||||| comes before the version that both sides had.
MARKER = re.compile(r"(<{7}|\|{7}|={7}|>{7})(?: (.*?))?\r?\Z")


@dataclass
class Conflict:
    """Two versions of the same lines, as a merge leaves them in a file."""

    line: int
    label: str
    versions: dict[str, list[str]] = field(default_factory=lambda: {"<<<<<<<": []})


def conflicts(text: str) -> Iterator[Conflict]:
    """Yield each conflict. A line of ======= alone is not one: in Markdown, it makes a heading."""
    conflict: Conflict | None = None
    version: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        marker = MARKER.match(line)
        if marker and marker[1] == "<<<<<<<":
            conflict = Conflict(number, marker[2] or "")
            version = conflict.versions[marker[1]]
        elif conflict and marker and marker[1] == ">>>>>>>" and "=======" in conflict.versions:
            yield conflict
            conflict = None
        elif conflict and marker and marker[1] in ("|||||||", "======="):
            version = conflict.versions.setdefault(marker[1], [])
        else:
            version.append(line)


def advice(path: str, conflict: Conflict) -> str:
    """Return what to do about a conflict."""
    delete = "delete the lines <<<<<<<, ======= and >>>>>>>"
    if "|||||||" in conflict.versions:
        delete = "delete the lines <<<<<<< and >>>>>>>, and those from ||||||| to ======="
    if path.endswith(".copier-answers.yml"):
        return f"keep one line for each answer, and the newer _commit; {delete}"
    by_copier = conflict.label == "before updating"
    sides = ", yours first and the template's last" if by_copier else ""
    return f"merge the two versions{sides}; {delete}"


def line_ends_differ(conflict: Conflict) -> bool:
    """Return whether one version has Windows line endings, and the other does not."""
    mine, theirs = conflict.versions["<<<<<<<"], conflict.versions["======="]
    return bool(mine and theirs) and mine[0].endswith("\r") != theirs[0].endswith("\r")


def git(*arguments: str) -> list[str]:
    """Return the lines that git prints, none outside a git tree."""
    command = ["git", "-c", "core.quotePath=false", *arguments]
    try:
        result = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True)
    except FileNotFoundError:
        return []
    return result.stdout.decode(errors="replace").splitlines()


def unmerged() -> Iterator[str]:
    """Yield where each unresolved conflict is, and what to do about it."""
    with_other_line_ends = []
    for path in git("grep", "--untracked", "-I", "--name-only", "--basic-regexp", "^<<<<<<<"):
        found = list(conflicts((PROJECT / path).read_bytes().decode(errors="replace")))
        if any(map(line_ends_differ, found)):
            with_other_line_ends.append(path)
        elif found and re.search(r"requirements[^/]*\.txt\Z", path):
            yield (
                f"{path}: take either side (git checkout --theirs {path}), then run the two lock"
                ' commands in README.md, "Change dependencies"'
            )
        else:
            yield from (f"{path}:{each.line}: {advice(path, each)}" for each in found)
    if with_other_line_ends:
        yield (
            f"{', '.join(with_other_line_ends)}: undo the update, save your files with the line"
            " endings of the template, and update again:\n"
            "    git add --all && git reset --hard\n"
            "    git config core.autocrlf input && git add --renormalize .\n"
            '    git commit --message "Use LF line endings"'
        )
    for path in git("ls-files", "--cached", "--others", "--exclude-standard", "--", "*.rej"):
        edited = path.removesuffix(".rej")
        yield f"{path}: make this edit of yours in {edited} by hand, then delete {path}"


if places := list(unmerged()):
    raise SystemExit("\n  ".join(["Resolve these conflicts, then run pytest again:", *places]))
