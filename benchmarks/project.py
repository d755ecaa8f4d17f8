"""A project rendered from this checkout, as it stands, and a server for it."""

import os
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from copier import run_copy
from copier.errors import DirtyLocalWarning

ROOT = Path(__file__).parent.parent


@contextmanager
def rendered() -> Iterator[Path]:
    """Render with the default answers into a folder that goes away afterwards."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DirtyLocalWarning)
        run_copy(str(ROOT), folder, defaults=True, quiet=True, vcs_ref="HEAD")
        yield Path(folder)


@contextmanager
def served(project: Path, environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Serve a project by gunicorn on a free port of the loopback address. Yields the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    address = f"fd://{listener.fileno()}"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", address]
            + ["--workers=1", "--access-logfile=-"],
            cwd=project,
            env={**os.environ, **environment},
            pass_fds=[listener.fileno()],
            stdout=stream,
            stderr=stream,
        )
        port = listener.getsockname()[1]
        listener.close()
        try:
            yield port
        finally:
            server.terminate()
            server.wait()
