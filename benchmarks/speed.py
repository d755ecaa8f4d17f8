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
# Other scaffolders: how each makes a project in api/ without questions, and how uv installs it.
OTHERS = {
    "brupy": (
        ["new", "api", "--framework=flask", "--template=rest-api", "--yes", "--no-remember"]
        + ["--no-docker", "--no-git", "--no-install"],
        ["sync", "--quiet"],
    ),
    "snapstack": (
        ["create", "api", "--framework=flask", "--db=sqlite", "--pm=uv", "--tests", "--no-auth"]
        + ["--no-docker", "--no-ci", "--no-preview", "--no-validate"],
        ["sync", "--quiet", "--extra=dev"],
    ),
}
UPDATE = ("update", "--vcs-ref=:current:", "--defaults", "--quiet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--only-tests", action="store_true", help="only the way to green tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=in_memory()) as name:
        folder = Path(name)
        isolate(folder)
        ours, floor = this_template(folder / "ours"), floor_template(folder / "floor")
        if not options.only_tests:
            compare("copy", *copies(folder, ours, floor, options.turns))
            compare("update", *updates(folder, ours, floor, options.turns))
        to_green_tests(folder, ours, turns=3)


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


def to_green_tests(folder: Path, ours: Path, turns: int) -> None:
    """Go the ways that READMEs give. The first turn, which fills the caches, is not counted."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    uv = shutil.which("uv") or sys.exit("uv is not installed: pip install uv")
    # An environment that is active would be the one that uv installs into.
    environment = {key: text for key, text in os.environ.items() if key != "VIRTUAL_ENV"}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment |= {"UV_CACHE_DIR": str(folder / "cache"), "UV_PYTHON": version}
    copy = [sys.executable, "-m", "copier", "copy", "--defaults", "--quiet", str(ours)]
    by_uv = {
        "venv": [uv, "venv", "--quiet"],
        "install": [uv, "pip", "install", "--quiet", "-r", "requirements-dev.txt"],
        "pytest": [uv, "run", "--no-project", "pytest", "-q"],
    }
    python = ".venv/bin/python"
    ways = {
        "ours": {"render": [*copy, "api"], **by_uv},
        "ours, database": {"render": [*copy, "-d", "extras=[database]", "api"], **by_uv},
        "ours, by pip": {
            "render": [*copy, "api"],
            "venv": [sys.executable, "-m", "venv", ".venv"],
            "install": [python, "-m", "pip", "install", "--quiet", "-r", "requirements-dev.txt"],
            "pytest": [python, "-m", "pytest", "-q"],
        },
    }
    for name, (create, install) in OTHERS.items():
        scaffolder = folder / name
        subprocess.run([uv, "venv", "--quiet", scaffolder], env=environment, check=True)
        command = [uv, "pip", "install", "--quiet", "--python", scaffolder, name]
        subprocess.run(command, env=environment, check=True)
        ways[name] = {
            "render": [str(scaffolder / "bin" / name), *create],
            "install": [uv, *install],
            "pytest": [uv, "run", "pytest", "-q"],
        }
    took: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    passed = {}
    for _ in range(turns + 1):
        for name, steps in ways.items():
            empty = Path(tempfile.mkdtemp(dir=folder))
            seconds, output = time_steps(steps, empty, environment)
            took[name].append(seconds)
            passed[name] = re.findall(r"[0-9]+ passed", output)[-1]
            shutil.rmtree(empty)
        environment["UV_OFFLINE"] = "1"  # it has all by now; an index may take seconds to answer
    print("to green tests, in seconds:")
    for name, counted in ((name, times[1:]) for name, times in took.items()):
        parts = ", ".join(f"{step} {median(t[step] for t in counted):.2f}" for step in counted[0])
        total = median(sum(times.values()) for times in counted)
        print(f"{name:16}{total:6.2f} ({parts}), {passed[name]}", flush=True)


def time_steps(
    steps: dict[str, list[str]], empty: Path, environment: dict[str, str]
) -> tuple[dict[str, float], str]:
    """Return the seconds that each command takes, and what the last one prints."""
    took, output = {}, ""
    for name, command in steps.items():
        start = time.perf_counter()
        folder = empty if name == "render" else empty / "api"
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        took[name] = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stdout}{done.stderr}")
        output = done.stdout
    return took, output


if __name__ == "__main__":
    main()
