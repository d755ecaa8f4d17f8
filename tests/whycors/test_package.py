"""whycors as it is installed: beside the app, beside any other package, and alone."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from chromium import serve
from conftest import ROOT, Render, copy, git, run_python
from flask import Flask
from servers import free_port

BIN = Path(sys.executable).parent
APP = "http://localhost:5173"


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command, and see that it ends without a traceback."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def flask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, "-m", "flask", *arguments)


@pytest.fixture
def whycors(whycors_folder: Path, installed: None) -> Path:
    """The console script, in an environment that has Flask and the app's packages."""
    return whycors_folder / "bin/whycors"


# Other commands of flask


@pytest.mark.usefixtures("installed")
def test_flask_imports_the_entry_point_and_click_alone(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    routes = "import sys; from flask.cli import cli; cli.main(['routes'], standalone_mode=False)"
    imported = "print(*[name for name in sys.modules if name.startswith('whycors')])"
    done = run(tmp_path, sys.executable, "-c", f"{routes}; {imported}")
    assert done.stdout.splitlines()[-1] == "whycors whycors.entry"
    before = "import sys, typing, click; before = {*sys.modules}; import whycors.entry"
    done = run(tmp_path, sys.executable, "-c", f"{before}; print({{*sys.modules}} - before)")
    assert set(re.findall(r"[\w.]+", done.stdout)) == {"whycors", "whycors.entry"}


OWN = """
import click
from flask import Flask, current_app

app = Flask(__name__)

@app.cli.{kind}("cors")
def cors():
    "The app's own."
    print("own", current_app.name)
"""
SUBCOMMAND = """

@cors.command("show")
def show():
    print("own show", current_app.name)
"""


@pytest.mark.usefixtures("installed")
def test_a_command_or_group_of_the_app_wins(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(OWN.format(kind="command"))
    assert flask(tmp_path, "cors").stdout == "own app\n"
    (tmp_path / "app.py").write_text(OWN.format(kind="group") + SUBCOMMAND)
    assert flask(tmp_path, "cors", "show").stdout.splitlines()[-1] == "own show app"
    assert "probe" not in flask(tmp_path, "cors", "--help").stdout


@pytest.mark.usefixtures("installed")
def test_a_fault_in_the_package_is_one_line_in_its_own_commands(
    whycors_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    (tmp_path / "publicsuffixlist.py").write_text("raise RuntimeError('broken')\n")
    assert flask(tmp_path, "routes").returncode == 0
    broken = flask(tmp_path, "cors", "show")
    assert broken.returncode == 1
    (line,) = broken.stderr.splitlines()
    assert line.startswith("Error: install this again") and "RuntimeError('broken')" in line
    # Not when it is imported, but when it is used.
    (tmp_path / "publicsuffixlist.py").write_text("def PublicSuffixList(**_):\n    return 1 / 0\n")
    broken = flask(tmp_path, "cors", "explain", APP, "GET", "/")
    assert broken.returncode == 2
    (line,) = broken.stderr.splitlines()
    assert line.startswith("Error: report this fault of whycors: ZeroDivisionError: division by")
    assert line.endswith("(publicsuffixlist.py:2)")


@pytest.mark.usefixtures("installed")
def test_an_app_that_cannot_start_is_loaded_once(whycors: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print('loaded')\nraise RuntimeError('no way')\n")
    for command in ([sys.executable, "-m", "flask", "cors"], [whycors]):
        for arguments in (["show"], ["explain", APP, "GET", "/"], ["playground"]):
            done = run(tmp_path, *command, *arguments)
            assert done.returncode == 2 and done.stdout == "loaded\n"
            assert done.stderr == "Error: the app cannot start: RuntimeError: no way (app.py:2)\n"


# How it is called


@pytest.mark.usefixtures("installed")
def test_help_names_the_command_as_it_was_called(whycors: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    for name, command in {"flask cors": (), "whycors": (whycors,)}.items():
        called = [*(command or (sys.executable, "-m", "flask", "cors"))]
        for sub in ("show", "explain", "probe", "playground"):
            text = run(tmp_path, *called, sub, "--help").stdout
            named = set(re.findall(r"flask cors|whycors", text.partition("\n")[2]))
            assert named == {name}, text


# The app


def test_project_of_3_0_0(tmp_path: Path, whycors: Path) -> None:
    """It has its own group, and is served with it and without it."""
    release = git(ROOT, "log", "-n1", "--format=%h", "-S## 3.0.0 ", "--", "CHANGELOG.md")
    git(ROOT, "clone", "--quiet", "--no-checkout", str(ROOT), str(tmp_path / "template"))
    project = tmp_path / "project"
    copy(tmp_path / "template", project, {}, vcs_ref=release)
    with (project / "app/settings.py").open("a") as settings:
        settings.write('\nCORS_PATHS = {"/api/public/": {"origins": ["any"]}}\n')
    assert "--app" not in flask(project, "cors", "show", "--help").stdout
    shown = json.loads(run(project, whycors, "show", "--json").stdout)
    assert [*shown["own"]] == ["/api/public"]
    (project / "corscheck").rename(tmp_path / "corscheck")
    error = run(project, whycors, "show").stderr
    assert error.startswith("Error: name the app with --app MODULE:NAME") and "corscheck" in error
    explain = ("explain", "--app", "wsgi", "http://localhost:3000", "PUT", "/api/echo")
    blocked = run(project, whycors, *explain)
    assert (blocked.returncode, blocked.stderr) == (1, "")
    assert "-d 'frontend_origins=http://localhost:5173, http://localhost:3000'" in blocked.stdout
    refused = run(project, whycors, "explain", "--app", "wsgi", "null", "POST", "/api/echo")
    assert "Refused by the API, before its code ran: the origin is not allowed." in refused.stdout


NO_POLICY = """
from flask import Flask

app = Flask("shop")
"""
BROKEN_APPS = {
    "error": ("x = 1\nraise RuntimeError('no\\nway')", "start: RuntimeError: no way (wsgi.py:2)"),
    "import": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "syntax": ("app = ]", "the app cannot start: SyntaxError"),
    "its own": ("import click\nraise click.ClickException('write this')", "Error: write this"),
    "no app": ("x = 1", "Failed to find Flask application or factory in module 'wsgi'"),
    "other policy": (
        f"{NO_POLICY}app.extensions['cors_policy'] = object()",
        "this version cannot read origins, methods, supports_credentials, ",
    ),
}


@pytest.mark.parametrize("name", BROKEN_APPS)
def test_app_that_cannot_be_read_gets_one_line(tmp_path: Path, whycors: Path, name: str) -> None:
    app, says = BROKEN_APPS[name]
    (tmp_path / "wsgi.py").write_text(app)
    for command in (
        [sys.executable, "-m", "flask", "cors", "show"],
        [whycors, "show"],
        [whycors, "explain", APP, "GET", "/"],
        [whycors, "probe", "http://localhost:1"],
    ):
        done = run(tmp_path, *command)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ") and says in line


def test_app_without_a_policy_is_explained_but_not_compared(tmp_path: Path, whycors: Path) -> None:
    (tmp_path / "wsgi.py").write_text(NO_POLICY)
    done = run(tmp_path, whycors, "explain", APP, "GET", "/static/none")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"Access-Control-Allow-Origin: {APP}" in done.stdout.splitlines()[-1]
    done = run(tmp_path, whycors, "probe", "http://localhost:1")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("Error: run this for a project of the template")


def test_app_is_found_by_its_name(render: Render, whycors: Path, tmp_path: Path) -> None:
    project = render()
    for name in ("wsgi", "wsgi:app", "app:create_app"):
        done = run(project, whycors, "explain", "--app", name, APP, "GET", "/api/echo")
        assert done.returncode == 0, done
        assert done.stdout.endswith(
            "Allowed, and the app answers 200: the page may read the response.\n"
        )
    assert run(project, whycors, "--help").stdout.startswith("Usage: whycors ")


# Alone


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script in an environment of its own, with what it says that it needs."""
    folder = tmp_path_factory.mktemp("alone")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", f"--python={sys.executable}", folder], check=True)
    install = [*uv, "pip", "install", "--quiet", f"--python={folder}/bin/python", ROOT]
    subprocess.run(install, check=True)
    return folder / "bin/whycors"


def test_probe_without_an_app(alone: Path, tmp_path: Path) -> None:
    """It judges one request; what needs the policy says so."""
    other = Flask("other", static_folder=None)
    other.add_url_rule("/", "named", lambda: ("", {"Access-Control-Allow-Origin": APP}))
    other.add_url_rule("/none", "none", lambda: "")
    with serve(other) as port:
        url = f"http://localhost:{port}/"
        allowed = run(tmp_path, alone, "probe", url, APP, "GET")
        assert allowed.returncode == 0, allowed
        assert (
            "Allowed, and the app answers 200: the page may read the response."
            in allowed.stdout.splitlines()
        )
        assert "Warning" not in allowed.stdout  # for one origin, Vary changes nothing
        blocked = run(tmp_path, alone, "probe", f"{url}none", APP, "GET")
        assert blocked.returncode == 1
        assert (
            f"Why: allow {APP}: the response has no Access-Control-Allow-Origin" in blocked.stdout
        )
        for done in (allowed, blocked):
            (note,) = done.stderr.splitlines()
            assert note.startswith("There is no policy here to compare with: ")
        any_server = run(tmp_path, alone, "probe", f"{url}none", "--origin", APP)
        assert (any_server.returncode, any_server.stderr) == (1, "")
        assert f"Access-Control-Allow-Origin: {APP}" in any_server.stdout
        whole = run(tmp_path, alone, "probe", url)
    shown = run(tmp_path, alone, "show")
    explained = run(tmp_path, alone, "explain", APP, "GET", "/")
    for done in (whole, shown, explained):
        assert done.returncode == 2
        assert done.stderr == (
            "Error: name the app with --app MODULE:NAME, or run this in its folder and with its"
            " packages: Flask is not here. Or ask any server: whycors probe URL --origin ORIGIN\n"
        )


WSGI = """
def application(environ, start_response):
    start_response("200 OK", [("Access-Control-Allow-Origin", "http://localhost:5173")])
    return [b""]
"""


def test_wsgi_application_without_flask(alone: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(WSGI)
    explain = ("explain", "--app", "plain:application")
    allowed = run(tmp_path, alone, *explain, APP, "GET", "/")
    assert (allowed.returncode, allowed.stderr) == (0, ""), allowed
    blocked = run(tmp_path, alone, *explain, "http://localhost:3000", "GET", "/")
    assert (blocked.returncode, blocked.stderr) == (1, "")
    assert "Access-Control-Allow-Origin: http://localhost:3000" in blocked.stdout
    assert run(tmp_path, alone, "show", "--app", "plain:application").returncode == 0


# Its text

DOCS = ROOT / "docs/whycors.md"
# A sample, its program if it has one, and a command with its output.
SAMPLE = re.compile(
    r"<!-- run in: (\w+) -->\n(?:```python\n(.*?)```\n\n)?```console\n\$ ([^\n]*)\n(.*?)```",
    re.DOTALL,
)


def test_samples_of_the_docs(render: Render, whycors: Path, tmp_path: Path) -> None:
    """EXAMPLE=write writes what the commands print now."""

    def really(sample: re.Match[str]) -> str:
        where, program, command, _ = sample.groups()
        folder = render() if where == "project" else tmp_path / where
        folder.mkdir(exist_ok=True)
        with ExitStack() as stack:
            port = "8000"
            if where == "server":
                port = str(stack.enter_context(serve_asgi(folder, program)))
            elif program:
                (folder / "app.py").write_text(program)
            done = subprocess.run(
                command.replace(":8000", f":{port}"),
                shell=True,
                cwd=folder,
                env={**os.environ, "PATH": f"{whycors.parent}:{BIN}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
            )
        assert done.stderr == ""
        printed = done.stdout.rstrip().replace(f":{port}", ":8000")
        start = sample[0][: sample.start(4) - sample.start()]
        return f"{start}{printed}\n```"

    text = DOCS.read_text(encoding="utf-8")
    found, number = SAMPLE.subn(really, text)
    assert number == 3
    if os.environ.get("EXAMPLE") == "write":
        DOCS.write_text(found, encoding="utf-8")
    assert found == DOCS.read_text(encoding="utf-8")


@contextmanager
def serve_asgi(folder: Path, program: str) -> Iterator[int]:
    (folder / "server.py").write_text(program)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "server:app", f"--port={port}", "--log-level=error"]
    with subprocess.Popen(command, cwd=folder) as server:
        try:
            for _ in range(200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port
        finally:
            server.terminate()


def test_size() -> None:
    """It may only shrink, but for a fault that is mended: 3,700 lines of Python were planned."""
    modules = {path.stem: path.read_text() for path in (ROOT / "whycors").glob("*.py")}
    lines = {name: len(text.splitlines()) for name, text in modules.items()}
    assert lines.pop("__init__") < 5
    assert len(lines) <= 13
    assert sum(lines.values()) <= 4959, lines
    page = (ROOT / "whycors/playground.html").read_text().splitlines()
    assert lines["playground"] + len(page) <= 450
    # The judge is independent of what it judges.
    imports = r"^\s*(?:from \.|import whycors|from whycors)"
    assert not re.search(imports, modules["browser"], re.MULTILINE)


def test_types(tmp_path: Path) -> None:
    run_python(ROOT, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", "whycors")


def test_nothing_in_it_is_unused() -> None:
    """Each function, class and constant is named once more, but for what a library calls."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "whycors").glob("*.py")]
    texts.append((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    words = Counter(word for text in texts for word in re.findall(r"\w+", text))
    names = r"^\n *(?:def|class) (\w+)|^([A-Z]\w*)(?:: .*)? = "
    found = ["".join(pair) for text in texts for pair in re.findall(names, text, re.MULTILINE)]
    assert len(found) > 100
    called = {*dir(BaseHTTPRequestHandler), "do_GET", "do_POST", "__call__"}
    assert [name for name in found if words[name] == 1 and name not in called] == []


BARE = re.compile(
    r"(?:pip3? install|pipx? run|uv add|uv tool \w+|uvx|pipx install|--with|--from)[ =]"
    r"(?:-\S+ )*[\"']?whycors\b(?!/)"
)


def test_nothing_tells_anybody_to_install_it_by_its_bare_name() -> None:
    """Nobody has registered the name: whoever does would be run."""
    assert BARE.search("uv pip install --upgrade whycors") and BARE.search("`uvx whycors probe`")
    assert not BARE.search("uvx --from git+https://example.com/repo whycors probe")
    for name in git(ROOT, "ls-files", "-z").split("\0"):
        path = ROOT / name
        if path.is_file() and path != Path(__file__):
            found = BARE.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{name}: {found and found[0]}"
