"""A PostgreSQL server of the tests' own: an ordinary user's, in a folder, on a Unix socket."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import skip


def program(name: str) -> Path:
    """Return a program of PostgreSQL's, or skip the test: Debian keeps them out of PATH."""
    found = [*Path("/usr/lib/postgresql").glob(f"*/bin/{name}")]
    if on_path := shutil.which(name):
        found.append(Path(on_path))
    if not found:
        skip("install PostgreSQL (Debian: apt install postgresql)")
    return max(found)


class Postgres:
    """A server that can be stopped and started again, with what is stored in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # It refuses to run as root, who has another user for it.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            try:
                owner = pwd.getpwnam(self.user)
            except KeyError:
                skip("run the tests as an ordinary user, or add a user postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self.data = folder / "data"
        account = ["--username", "tester", "--auth", "trust"]
        self.run("initdb", "--no-sync", "-D", str(self.data), "--locale", "C.UTF-8", *account)
        self.databases = 0

    def new_database(self) -> str:
        """Make an empty database, and return its URL."""
        self.databases += 1
        name = f"test{self.databases}"
        self.run("createdb", "--host", str(self.folder), "--username", "tester", name)
        return f"postgresql://tester@/{name}?host={self.folder}"

    def run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [program(name), *arguments],
            cwd=self.folder,
            user=self.user,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        options = f"-k {self.folder} -h '' -c fsync=off"
        log = str(self.folder / "log")
        self.run("pg_ctl", "start", "--wait", "-D", str(self.data), "-l", log, "-o", options)

    def stop(self) -> None:
        """Stop it as an administrator would who does not wait for clients."""
        self.run("pg_ctl", "stop", "--wait", "-D", str(self.data), "--mode", "fast")

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Stop all of its processes where they are, until the block ends: none answers or ends."""
        pid = (self.data / "postmaster.pid").read_text().partition("\n")[0]
        children = subprocess.run(["pgrep", "-P", pid], check=True, capture_output=True, text=True)
        for process in (*children.stdout.split(), pid):
            os.kill(int(process), signal.SIGSTOP)
        try:
            yield
        finally:
            for process in (pid, *children.stdout.split()):
                os.kill(int(process), signal.SIGCONT)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server until the block ends, or skip the test."""
    # A socket's path may have about 100 characters, and other users must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
