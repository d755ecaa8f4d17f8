"""Print how long a copy, an update and the way to green tests take. See README.md."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from project import ROOT

FLOOR = {
    "copier.yml": "_subdirectory: template\nanswer:\n  type: str\n  default: a\n",
    "template/file.txt.jinja": "{{ answer }}\n",
    "template/{{_copier_conf.answers_file}}.jinja": "{{ _copier_answers | to_nice_yaml }}\n",
}
Times = tuple[list[tuple[float, float]], list[tuple[float, float]]]
UPDATE = ("update", "--vcs-ref=:current:", "--defaults", "--quiet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=in_memory()) as name:
        folder = Path(name)
        isolate(folder)
        ours, floor = this_template(folder / "ours"), floor_template(folder / "floor")
        compare("copy", *copies(folder, ours, floor, options.turns))
        compare("update", *updates(folder, ours, floor, options.turns))
        to_green_tests(folder, ours)


def in_memory() -> str | None:
    """Return a folder on tmpfs, if there is one: on a disk, what was deleted before counts too."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def isolate(folder: Path) -> None:
    """Keep the disk, and the user's settings of Python, git and Copier, out of the figures."""
    (folder / "tmp").mkdir()
    os.environ["TMPDIR"] = str(folder / "tmp")  # for Copier's clones
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    (folder / "gitconfig").write_text("[user]\n\tname = Nobody\n\temail = nobody@example.com\n")
    os.environ["GIT_CONFIG_GLOBAL"] = str(folder / "gitconfig")
    os.environ["COPIER_SETTINGS_PATH"] = str(folder / "settings.yml")
    (folder / "settings.yml").write_text("{}\n")


def this_template(to: Path) -> Path:
    """Put what this checkout would commit into a git repository without tags."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    return packed(to)


def floor_template(to: Path) -> Path:
    """Make a template of one question and one file: the least that Copier can be asked."""
    for name, text in FLOOR.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(text)
    return packed(to)


def packed(template: Path) -> Path:
    """Commit a template, into one file as a clone from a server has it."""
    commit(template)
    subprocess.run(["git", "-C", str(template), "gc", "--quiet"], check=True)
    return template


def commit(folder: Path) -> None:
    git = ["git", "-C", str(folder)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "Work"], check=True)


def copier(*arguments: str, folder: Path) -> tuple[float, float]:
    """Return the seconds that a command takes, and those of the processor."""
    start, used = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "copier", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    now = os.times()
    processor = now.children_user + now.children_system - used.children_user - used.children_system
    return time.perf_counter() - start, processor


def copies(folder: Path, ours: Path, floor: Path, turns: int) -> Times:
    took: Times = ([], [])
    for turn in range(turns + 1):
        for times, template in zip(took, (ours, floor), strict=True):
            to = f"{template.name}-{turn}"
            command = ("copy", "--defaults", "--quiet", str(template), to)
            times.append(copier(*command, folder=folder))
    return without_first(took)


def updates(folder: Path, ours: Path, floor: Path, turns: int) -> Times:
    took: Times = ([], [])
    projects = (folder / f"{ours.name}-0", folder / f"{floor.name}-0")
    for turn in range(turns + 1):
        answers = (f"frontend_origins=https://app{turn}.example.com", f"answer={turn}")
        for times, project, answer in zip(took, projects, answers, strict=True):
            commit(project)
            times.append(copier(*UPDATE, "-d", answer, folder=project))
    return without_first(took)


def without_first(took: Times) -> Times:
    """Leave out the first turn, in which Python compiled what it imported."""
    return took[0][1:], took[1][1:]


def compare(
    what: str, ours: Sequence[tuple[float, float]], floor: Sequence[tuple[float, float]]
) -> None:
    def ratio(which: int) -> float:
        return median(a[which] / b[which] for a, b in zip(ours, floor, strict=True))

    seconds = [median(times[0] for times in took) for took in (ours, floor)]
    print(
        f"{what:8}{seconds[0]:6.2f} s   one question, one file {seconds[1]:6.2f} s"
        f"   ratio {ratio(0):.2f} (of processor time {ratio(1):.2f})",
        flush=True,
    )


def to_green_tests(folder: Path, ours: Path) -> None:
    """Go the two ways of a new user twice, and print the second time: the caches are warm then."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    uv = shutil.which("uv", path=path) or sys.exit("uv is not installed: pip install uv")
    ways = {
        "pip": (
            [sys.executable, "-m", "venv", ".venv"],
            [".venv/bin/python", "-m", "pip", "install", "--quiet"],
            [".venv/bin/python", "-m", "pytest", "-q"],
        ),
        "uv": (
            [uv, "venv", "--quiet", "--python", sys.executable],
            [uv, "pip", "install", "--quiet"],
            [uv, "run", "--no-project", "pytest", "-q"],
        ),
    }
    # An environment that is active would be the one that uv installs into.
    environment = {key: text for key, text in os.environ.items() if key != "VIRTUAL_ENV"}
    for tool, (venv, install, pytest) in ways.items():
        for turn in range(2):
            project = folder / f"{tool}-{turn}"
            project.mkdir()
            steps = {
                "render": [sys.executable, "-m", "copier", "copy", "--defaults", "--quiet"]
                + [str(ours), str(project)],
                "venv": venv,
                "install": [*install, "-r", "requirements-dev.txt"],
                "pytest": pytest,
            }
            took, output = time_steps(steps, project, environment)
        passed = re.findall(r"[0-9]+ passed", output)[-1]
        shown = ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items())
        total = sum(took.values())
        print(f"to green tests by {tool:4}{total:5.1f} s ({shown}), {passed}", flush=True)


def time_steps(
    steps: dict[str, list[str]], project: Path, environment: dict[str, str]
) -> tuple[dict[str, float], str]:
    """Return the seconds that each command takes, and what the last one prints."""
    took, output = {}, ""
    for name, command in steps.items():
        start = time.perf_counter()
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
        took[name] = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stdout}{done.stderr}")
        output = done.stdout
    return took, output


if __name__ == "__main__":
    main()
