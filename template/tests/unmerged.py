"""Stops pytest, before it reads any test, where `copier update` left two versions of a line."""

import subprocess
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def git(*arguments: str) -> list[str]:
    """Return the lines that git prints, none outside a git tree."""
    command = ["git", "-c", "core.quotePath=false", *arguments]
    try:
        result = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True)
    except FileNotFoundError:
        return []
    return result.stdout.decode(errors="replace").splitlines()


def unmerged() -> list[str]:
    """Return each place where an edit of the owner's and the update met, and what to do there."""
    grep = ("grep", "--untracked", "--line-number", "--no-column", "--no-color", "--basic-regexp")
    markers = git(*grep, "^<<<<<<< before updating")
    rejects = git("ls-files", "--others", "--exclude-standard", "--", "*.rej")
    return [
        *(
            f"{marker.rpartition(':')[0]}: your lines come first, the template's last: keep what is"
            " right, and delete the lines <<<<<<<, ======= and >>>>>>>"
            for marker in markers
        ),
        *(
            f"{reject}:1: holds an edit of yours that fits no more: make it in"
            f" {reject.removesuffix('.rej')} by hand, and delete {reject}"
            for reject in rejects
        ),
    ]


if places := unmerged():
    raise SystemExit("\n".join(["`copier update` changed lines that you had edited:", *places]))
