"""Print how much longer `flask` takes to start where whycors is installed. See README.md."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

from project import ROOT

TURNS = 40
APP = "from flask import Flask\n\napp = Flask(__name__)\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.py").write_text(APP)
        where = {"with": folder / "with", "without": folder / "without"}
        install = ["uv", "pip", "install", "--quiet", "--no-deps", "--compile-bytecode"]
        command = [sys.executable, "-m", *install, f"--python={sys.executable}"]
        subprocess.run([*command, f"--target={where['with']}", ROOT], check=True)
        times: dict[str, list[float]] = {whose: [] for whose in where}
        for _ in range(TURNS + 1):
            for whose, path in where.items():
                times[whose].append(start(folder, path))
    found = {whose: median(taken[1:]) * 1000 for whose, taken in times.items()}
    extra = found["with"] - found["without"]
    print(f"flask routes takes {found['without']:.0f} ms, with whycors {extra:.1f} ms more")


def start(folder: Path, path: Path) -> float:
    """Return the seconds of processor time that a `flask` command takes until it ends."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "flask", "routes"],
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path)},
        stdout=subprocess.DEVNULL,
    )
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
