"""Real servers: their ports, programs that listen, and apps of a rendered project."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

if TYPE_CHECKING:
    from chromium import Certificate

SHARE_SITE = "{% from 'includes/sites.jinja' import share_site %}{{ share_site(origins) }}"


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def free_port() -> int:
    return free_ports(1)[0]


@contextmanager
def held_ports(number: int) -> Iterator[list[int]]:
    """Hold ports that a server with `reuseport` can listen on: nobody else can take them."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    command: Sequence[str | Path],
    folder: Path,
    ready: Callable[[], bool],
    log: Path,
    **environment: str,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program from when it is ready until the block ends; the log has what it writes."""
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 20
        while not ready():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


def render_answers(template: Path, project: Path, policies: Mapping[str, dict[str, Any]]) -> None:
    """Render app/answers.py of a project into policies/NAME.py, as Copier does it.

    What is not given is answered as in the project, which Copier has not asked about the site.
    """
    jinja = SandboxedEnvironment(
        loader=FileSystemLoader(template),
        undefined=StrictUndefined,
        extensions=[AnsibleCoreFiltersExtension],
    )
    rendered = jinja.get_template("template/app/answers.py.jinja")
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    (project / "policies").mkdir()
    for name, given in policies.items():
        origins = given["frontend_origins"]
        shared = jinja.from_string(SHARE_SITE).render(origins=origins) == "True"
        text = rendered.render({**answers, "frontends_share_site": shared, **given})
        (project / "policies" / f"{name}.py").write_text(text)


@contextmanager
def gunicorn(project: Path, app: str, certificate: "Certificate | None" = None) -> Iterator[int]:
    """Serve an app of this folder, `module:name`, in a project, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = ["--bind", f"fd://{listener.fileno()}", "--worker-class=gthread", "--threads=8"]
        options += ["--workers=1", "--log-level=error", "--pythonpath", str(Path(__file__).parent)]
        if certificate:
            options += ["--certfile", str(certificate.path)]
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, app],
            cwd=project,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        try:
            yield listener.getsockname()[1]
        finally:
            # At once, workers and all: browsers keep their connections open.
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
