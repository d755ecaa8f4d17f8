"""A rendered project on a machine that has Python and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from conftest import Render, copy, skip
from servers import answers, free_port, running


def interpreter(version: str) -> Path:
    """Return a Python of this version that runs, from PATH or from pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [
        *(Path(folder) / f"python{version}" for folder in os.get_exec_path()),
        *pyenv.glob(f"versions/{version}.*/bin/python"),
    ]
    asks = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for python in filter(Path.is_file, found):
        # A shim of pyenv's is there for versions that it cannot run as well.
        answer = subprocess.run([python, "-c", asks], capture_output=True, text=True)
        if answer.stdout.strip() == version:
            return python
    skip(f"no Python {version} on PATH or in {pyenv}")


def uv(*arguments: str | Path, environment: Path) -> None:
    """Run uv, which the tests need: it makes an environment in a tenth of pip's time."""
    program = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "uv is not installed: pip install -r tests/requirements.txt"
    variables = {**os.environ, "VIRTUAL_ENV": str(environment)}
    subprocess.run([program, *arguments, "--quiet"], env=variables, check=True)


@pytest.mark.parametrize(
    ("version", "extras"),
    [
        ("3.11", []),
        ("3.12", []),
        ("3.13", []),
        ("3.11", ["database"]),
        ("3.13", ["database"]),
    ],
)
def test_install_and_tests(render: Render, version: str, extras: list[str]) -> None:
    python = interpreter(version)
    project = render(extras=extras)
    environment = project / ".venv"
    subprocess.run([python, "-m", "venv", "--without-pip", environment], check=True)
    uv("pip", "install", "-r", project / "requirements-dev.txt", environment=environment)
    steps = ". .venv/bin/activate && python --version && pytest"
    result = subprocess.run(["sh", "-c", steps], cwd=project, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Python {version}." in result.stdout
    assert " passed" in result.stdout and " skipped" not in result.stdout


@pytest.fixture(scope="module")
def production(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that holds what requirements.txt names, and no more."""
    folder = tmp_path_factory.mktemp("production")
    environment = folder / "venv"
    copy(template, folder / "project", {})
    uv("venv", environment, "--python", sys.executable, environment=environment)
    requirements = folder / "project/requirements.txt"
    uv("pip", "install", "-r", requirements, environment=environment)
    return environment / "bin"


def test_migration_without_the_developers_tools(render: Render, tmp_path: Path) -> None:
    """`flask --app wsgi db upgrade`, and the app is ready."""
    project = render(extras=["database"])
    environment = tmp_path / "venv"
    uv("venv", environment, "--python", sys.executable, environment=environment)
    uv("pip", "install", "-r", project / "requirements.txt", environment=environment)
    (project / ".flaskenv").unlink()
    shutil.rmtree(project / "tests")
    result = run(project, environment / "bin/flask", "--app", "wsgi", "db", "upgrade")
    assert result.returncode == 0, result.stderr
    code = "from wsgi import app; print(app.test_client().get('/health/ready').status)"
    result = run(project, environment / "bin/python", "-c", code)
    assert result.stdout == "200 OK\n", result.stderr


def get(url: str, origin: str) -> tuple[object, str | None]:
    """Return the JSON and the allowed origin of a response."""
    with urlopen(Request(url, headers={"Origin": origin}), timeout=10) as response:
        return json.load(response), response.headers["Access-Control-Allow-Origin"]


def test_flask_run(render: Render, production: Path, tmp_path: Path) -> None:
    project = render()
    port, environment = 8000, {}
    if answers(port):  # another program's: then by the way that a user would take
        port = free_port()
        environment = {"FLASK_RUN_PORT": str(port)}
    command = (production / "flask", "run")
    with running(command, project, lambda: answers(port), tmp_path / "log", **environment):
        answer = get(f"http://localhost:{port}/health/live", "http://localhost:5173")
    assert answer == ({"status": "ok"}, "http://localhost:5173")


def test_gunicorn_without_the_developers_tools(
    render: Render, production: Path, tmp_path: Path
) -> None:
    """With a policy from .env; the tests need not be deployed."""
    project = render()
    shutil.rmtree(project / "tests")
    (project / ".env").write_text('FLASK_CORS_ORIGINS="https://Staging.example/"\n')
    port = free_port()
    gunicorn = (production / "gunicorn", "--bind", f"127.0.0.1:{port}", "wsgi:app")
    with running(gunicorn, project, lambda: answers(port), tmp_path / "log"):
        url = f"http://127.0.0.1:{port}/health/ready"
        assert get(url, "https://staging.example") == ({"status": "ok"}, "https://staging.example")
        assert get(url, "http://localhost:5173") == ({"status": "ok"}, None)


BAD_POLICY = "FLASK_CORS_ORIGINS=localhost:3000\n"
PROBLEM = "CORS_ORIGINS: write http://localhost:3000, not localhost:3000: "


def test_gunicorn_stops_at_a_bad_policy(render: Render, production: Path) -> None:
    project = render()
    (project / ".env").write_text(BAD_POLICY)
    result = run(project, production / "gunicorn", "--bind", "127.0.0.1:0", "wsgi:app")
    assert result.returncode != 0
    assert PROBLEM in result.stderr


def test_flask_commands_end_with_the_problem(render: Render, production: Path) -> None:
    """And not with a traceback."""
    project = render()
    for env, told in (
        (BAD_POLICY, [PROBLEM]),
        ("FLASK_CORS_MAX_AGE=soon\n", ["CORS_MAX_AGE: write a number of seconds"]),
        ("CORS_ORIGINS=https://a.example\n", ["write FLASK_CORS_ORIGINS, not CORS_ORIGINS: "]),
        ("FLASK_CORS_ORIGINS__0=https://a.example\n", ["write FLASK_CORS_ORIGINS, not "]),
        ("FLASK_CORS_ORIGINS='https://a.example\n", ["write NAME=value in ", "/.env, line 1: "]),
    ):
        (project / ".env").write_text(env)
        result = run(project, production / "flask", "routes")
        assert result.returncode != 0
        for words in told:
            assert words in result.stderr
        assert result.stdout == ""
        assert "Traceback" not in result.stderr


def run(project: Path, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)
