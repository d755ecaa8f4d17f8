"""Runs many `flask cors` commands of a rendered project in one process, each in a new app."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import ROOT

# Reads a command a line, and answers with a line. The app is made by a config, without a log of
# requests as `flask` makes it for a command, and gets the
# commands as its own. By the fixture `installed`, `flask` finds them as it does for users.
# Hosts under .invalid have no address, whatever the machine's resolver makes of them, and those
# under .test and .local have this machine's. A command that hangs ends the process. By
# `color=True`, escape sequences come through as on a terminal.
DRIVER = """
import json, os, signal, socket, sys
from app import create_app
from whycors.commands import commands

look_up = socket.getaddrinfo

def getaddrinfo(host, *arguments, **options):
    if host.endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if host.endswith((".test", ".local")):
        host = "127.0.0.1"
    return look_up(host, *arguments, **options)

socket.getaddrinfo = getaddrinfo
for line in sys.stdin:
    arguments, variables, config = json.loads(line)
    signal.alarm(60)
    os.environ.update(variables)
    app = create_app({"LOG_LEVEL": "WARNING", **(config or {})})
    app.cli.add_command(commands)
    result = app.test_cli_runner().invoke(args=["cors", *arguments], color=True)
    signal.alarm(0)
    for name in variables:
        del os.environ[name]
    print(json.dumps([result.exit_code, result.stdout, result.stderr]), flush=True)
"""


def add_routes(project: Path, routes: str) -> None:
    """Add routes, which may redirect, to the sample resource."""
    echo = project / "app/echo.py"
    text = echo.read_text().replace("Blueprint, request", "Blueprint, redirect, request")
    echo.write_text(text + routes)


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one line, after the usage, that says what is wrong."""
        *usage, line = self.stderr.splitlines()
        assert all(text.startswith(("Usage: ", "Try ")) or not text for text in usage), self.stderr
        return line

    def line(self, start: str) -> str:
        """The rest of the one line that begins so."""
        (found,) = [line for line in self.stdout.splitlines() if line.startswith(start)]
        return found.removeprefix(start).strip()


class Commands:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def __call__(
        self, *arguments: str, config: Mapping[str, Any] | None = None, **variables: str
    ) -> Result:
        """Run `flask cors` with arguments, environment variables and `create_app`'s config."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps([arguments, variables, config]), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, "the driver ended: the command hung, or see standard error"
        return Result(*json.loads(line))


@contextmanager
def running_commands(project: Path) -> Iterator[Commands]:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Commands(process)
        assert process.stdin
        process.stdin.close()
