"""What every test of the template stands on: a clean machine, a git template, a render."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from copier import VcsRef, run_copy, run_update
from jinja2 import Environment
from plumbum import local

if TYPE_CHECKING:
    from chromium import Browser, Certificate, Chromium
    from commands import Commands
    from containers import Docker
    from postgres import Postgres
    from proxied import Probe

ROOT = Path(__file__).parent.parent

# What Copier reads of this repository.
TEMPLATE = ("copier.yml", "includes", "template", "whycors/rules.tsv")

# Nothing here has to last: git need not wait for the disk, nor compress.
GIT_CONFIG = """\
[user]
    name = Tester
    email = tester@example.com
[init]
    defaultBranch = main
    templateDir =
[core]
    compression = 0
    fsync = none
[gc]
    auto = 0
[maintenance]
    auto = false
"""

Render = Callable[..., Path]


def pytest_configure() -> None:
    """Keep temporary files in memory, where there is room: Copier and git write thousands."""
    memory = Path("/dev/shm")
    if "TMPDIR" not in os.environ and os.access(memory, os.W_OK):
        found = os.statvfs(memory)
        if found.f_bavail * found.f_frsize > 4 << 30 and not found.f_flag & os.ST_NOEXEC:
            os.environ["TMPDIR"] = str(memory)
            tempfile.tempdir = None  # it was worked out before


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: many tests wait, for containers, browsers and servers."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def clean_machine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the user's settings of Copier, git and Flask, which could supply answers."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "FLASK_", "COPIER_")):
            del os.environ[name]
    home = tmp_path_factory.mktemp("home")
    os.environ["COPIER_SETTINGS_PATH"] = str(home / "copier-settings.yml")
    (home / "copier-settings.yml").write_text("defaults: {}\n")
    os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
    os.environ["GIT_CONFIG_GLOBAL"] = str(home / "gitconfig")
    (home / "gitconfig").write_text(GIT_CONFIG)
    local.env.clear()  # Copier's git has a copy of the environment
    local.env.update(os.environ)


@pytest.fixture(scope="session", autouse=True)
def each_template_compiled_once() -> None:
    """Let renders share what Jinja compiled: Copier makes a new environment for each."""
    compile_source = Environment.compile
    compiled: dict[tuple[Any, ...], Any] = {}

    def compile_once(self: Environment, source: Any, *arguments: Any, **options: Any) -> Any:
        # A template is named by its path in the folder that Copier has cloned it to.
        name = arguments[0] if arguments else options.get("name")
        key = (type(self), source, name)
        if key not in compiled:
            compiled[key] = compile_source(self, source, *arguments, **options)
        return compiled[key]

    Environment.compile = compile_once  # type: ignore[method-assign]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, message: str = "Work") -> None:
    """Put a folder under git as it stands, or commit what is new in it."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


def copy_template(to: Path, *parts: str) -> Path:
    """Copy what this checkout would commit, or parts of it, into a git repository of its own."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *parts)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    commit(to, "The template as it stands")
    return to


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_template(tmp_path_factory.mktemp("template"), *TEMPLATE)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> "Certificate":
    """The certificate of every server that a browser asks."""
    from chromium import Certificate

    return Certificate(tmp_path_factory.mktemp("certificate"))


def skip(missing: str) -> NoReturn:
    """Skip a test for which something is not installed, which CI has to have."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


@pytest.fixture(scope="session")
def start_engine(
    tmp_path_factory: pytest.TempPathFactory, certificate: "Certificate"
) -> "Iterator[Callable[[str], Browser]]":
    """Start real browsers, one of each for each worker that has a test for it."""
    from engines import ENGINES

    started: dict[str, Browser] = {}
    with ExitStack() as stack:

        def start(name: str) -> "Browser":
            if name not in started:
                engine = ENGINES[name](tmp_path_factory.mktemp(name), certificate)
                started[name] = stack.enter_context(engine)
            return started[name]

        yield start


@pytest.fixture(params=["chromium", "firefox", "webkit"])
def engine(request: pytest.FixtureRequest, start_engine: "Callable[[str], Browser]") -> "Browser":
    """Each engine in turn, with the cookies of other tests."""
    return start_engine(request.param)


@pytest.fixture(scope="session")
def started_browser(start_engine: "Callable[[str], Browser]") -> "Chromium":
    from chromium import Chromium

    browser = start_engine("chromium")
    assert isinstance(browser, Chromium)
    return browser


@pytest.fixture
def browser(started_browser: "Chromium") -> "Chromium":
    """Real Chromium, without the cookies of other tests."""
    started_browser.tab.context.clear_cookies()
    return started_browser


@pytest.fixture(scope="session")
def docker() -> "Docker":
    """A daemon with the base images."""
    from containers import connect

    return connect()


@pytest.fixture(scope="session")
def postgresql() -> "Iterator[Postgres]":
    from postgres import postgres

    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def deployed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Projects with the extras for deployment: no other, and every other.

    Compose names what it makes by a project's folder, which no other worker's has.
    """
    from shapes import NAMES

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    extras = ["container", "kubernetes"]
    projects = {}
    for name, chosen in {"smallest": extras, "full": NAMES}.items():
        projects[name] = tmp_path_factory.mktemp("deployed") / f"{name}-{worker}"
        copy(template, projects[name], {"project_name": "Bookshop API", "extras": chosen})
    return projects


@pytest.fixture(scope="session")
def probe(template: Path) -> "Iterator[Probe]":
    """`flask cors probe`, and an API behind an nginx that has each fault."""
    from proxied import probing

    with probing(template) as probe:
        yield probe


@pytest.fixture(scope="session")
def whycors_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where whycors is installed as its users do, with its entry point."""
    folder = tmp_path_factory.mktemp("whycors")
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*uv, f"--python={sys.executable}", f"--target={folder}", ROOT], check=True)
    return folder


@pytest.fixture
def installed(whycors_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Python that a test runs in a project find whycors."""
    monkeypatch.setenv("PYTHONPATH", str(whycors_folder))


@pytest.fixture(scope="module")
def cors(project: Path) -> "Iterator[Commands]":
    """`flask cors` in the project of a module."""
    from commands import running_commands

    with running_commands(project) as commands:
        yield commands


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The DATABASE_URL of an empty database, set for the processes that the test starts."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/test.db"
    else:
        url = request.getfixturevalue("postgresql").new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    return url


@pytest.fixture
def render(template: Path, tmp_path: Path) -> Render:
    """Render a project with the answers given and defaults for the others."""
    made = 0

    def render(**answers: Any) -> Path:
        nonlocal made
        made += 1
        project = tmp_path / f"project{made}"
        copy(template, project, answers)
        return project

    return render


def copy(
    template: Path, project: Path, answers: Mapping[str, Any], *, vcs_ref: str = "HEAD"
) -> None:
    """Copy without trust, so that a template which comes to need it fails every test."""
    run_copy(
        str(template),
        project,
        data=dict(answers),
        vcs_ref=vcs_ref,
        defaults=True,
        quiet=True,
        unsafe=False,
    )


def update(project: Path, *, vcs_ref: VcsRef | str = VcsRef.CURRENT, **answers: Any) -> None:
    """Change answers in a committed project, as `copier update --defaults -d …` does."""
    run_update(
        project,
        data=answers,
        vcs_ref=vcs_ref,
        defaults=True,
        overwrite=True,
        quiet=True,
        unsafe=False,
    )


def files(project: Path) -> dict[str, bytes]:
    """Return the content of each file of a project, but for git's and Python's own."""
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and not {".git", "__pycache__"} & set(path.parts)
    }


def run_python(folder: Path, *arguments: str) -> str:
    """Run Python in a folder, and return what it wrote, errors last."""
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def run_tests(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a rendered project's own tests as its owner would: without CI, and our plugins."""
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env={**env, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )


def assert_green(project: Path, *arguments: str) -> None:
    result = run_tests(project, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
