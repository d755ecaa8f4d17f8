"""A rendered project's app, many times over with other answers, behind a real server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from typing import Any

import yaml
from chromium import Certificate
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

SHARE_SITE = "{% from 'includes/sites.jinja' import share_site %}{{ share_site(origins) }}"


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
def gunicorn(project: Path, app: str, certificate: Certificate | None = None) -> Iterator[int]:
    """Serve an app of this folder, `module:name`, in a project, until the block ends."""
    with create_server(("127.0.0.1", 0)) as listener:
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
