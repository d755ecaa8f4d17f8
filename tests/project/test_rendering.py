"""What is rendered, for every combination of answers: clean as if written by hand, and green."""

import ast
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import hostile
import pytest
import yaml
from conftest import ROOT, Render, assert_green, copy, run_python
from edits import replace
from flask import Flask
from flask_cors import CORS
from shapes import COMBINATIONS, COVERING, EXTRAS, ORIGINS, pairs, with_login

from app import cors, errors, operations

TEMPLATE = ROOT / "template"


@pytest.fixture(scope="module")
def only_answers(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without the files of `template/` that are the same in every project."""
    folder = tmp_path_factory.mktemp("only_answers") / "template"
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns(".git"))
    for path in (folder / "template").rglob("*"):
        if path.is_file() and path.suffix != ".jinja":
            path.unlink()
    return folder


@pytest.mark.parametrize("origins", ORIGINS)
def test_answers_are_rendered_clean_and_enforced(
    template: Path, only_answers: Path, tmp_path: Path, origins: str
) -> None:
    """In every combination with these origins; ruff reads each project by its own settings."""
    for name in COMBINATIONS:
        if name.startswith(f"{origins}-"):
            copy(only_answers, tmp_path / name, COMBINATIONS[name])
            assert_hand_written(tmp_path / name, template)
            assert_policy_is_enforced(tmp_path / name)
            assert_cookie_goes_where_the_frontends_are(tmp_path / name)
    assert_linted(tmp_path)


@pytest.mark.parametrize("name", COVERING)
def test_project_is_clean_and_its_own_tests_pass(template: Path, render: Render, name: str) -> None:
    project = render(**COVERING[name])
    assert_hand_written(project, template)
    assert_linted(project)
    assert_green(project)


def test_all_combinations_of_extras_are_rendered() -> None:
    every = {frozenset(chosen) for chosen in EXTRAS + [with_login(chosen) for chosen in EXTRAS]}
    assert {frozenset(answers["extras"]) for answers in COMBINATIONS.values()} == every
    assert len(every) == 48


def test_all_pairs_of_shapes_have_their_own_tests_run() -> None:
    covered, accepted = (set().union(*map(pairs, names)) for names in (COVERING, COMBINATIONS))
    assert covered == accepted
    for combinations in (COVERING, COMBINATIONS):
        with_credentials = [it for it in combinations.values() if it["allow_credentials"]]
        told = {it.get("frontends_share_site") for it in with_credentials}
        assert told == {None, True, False}


def lines(paths: Iterable[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def test_default_project_is_read_in_an_hour(render: Render) -> None:
    """Each line of it costs every owner a reading."""
    project = render()
    every = [path for path in project.rglob("*") if path.is_file()]
    own = [path for path in every if not path.name.startswith("requirements")]
    assert len(every) <= 26
    assert lines(own) <= 1_750
    assert lines(path for path in own if path.suffix == ".py") <= 1_520
    assert lines([project / "README.md"]) <= 150


# Of the database extra; what is its owner's to read, and what is the template's.
LARGEST = {
    "app/typed_views.py": 191,
    "app/sqldb.py": 127,
    "app/sqldb_migrations.py": 127,
    "app/items.py": 100,
    "app/models.py": 40,
    "app/resources.py": 15,
    "app/errors.py": 35,
}
TESTS = ("sqldb_fixtures", "test_sqldb", "test_typed_views", "test_items")


def test_database_extra_is_small(render: Render) -> None:
    project = render(extras=["database"])
    assert {name: it for name, it in LARGEST.items() if lines([project / name]) > it} == {}
    assert lines(project / f"tests/{name}.py" for name in TESTS) <= 330


def test_readme_names_the_few_files_that_are_the_templates(render: Render) -> None:
    project = render()
    readme = (project / "README.md").read_text(encoding="utf-8")
    (told,) = [it for it in readme.split("\n\n") if "the template's" in it and "`app/" in it]
    named = [Path(name) for name in re.findall("`((?:app|tests)/.+?)`", told)]
    for folder, number, most in (("app", 6, 1_070), ("tests", 3, 240)):
        found = [project / path for path in named if path.parts[0] == folder]
        assert 0 < len(found) <= number
        assert lines(found) <= most


def assert_linted(folder: Path) -> None:
    run_python(folder, "-m", "ruff", "format", "--check", "--no-cache", ".")
    run_python(folder, "-m", "ruff", "check", "--no-cache", ".")


def assert_hand_written(project: Path, template: Path) -> None:
    """A file that has no answer in it is the template's, byte for byte."""
    for path in filter(Path.is_file, project.rglob("*")):
        source = template / "template" / path.relative_to(project)
        if source.exists():
            assert path.read_bytes() == source.read_bytes(), path
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<!\$)\{\{|\{%|\{#", text), f"{path}: Jinja is left"
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), f"{path}: spaces at a line's end"
        assert text.endswith("\n") and not text.endswith("\n\n"), f"{path}: its end"
        assert not text.startswith("\n"), f"{path}: its beginning"
        if path.suffix not in (".py", ".mako"):
            assert "\n\n\n" not in text, f"{path}: two blank lines"


def assert_policy_is_enforced(project: Path) -> None:
    """The rendered answers make an app whose answers a person, reading them, would expect."""
    answers = read_answers(project)

    def create_app(config: dict[str, Any]) -> Flask:
        app = Flask("rendered")
        app.config.from_mapping(answers)
        errors.init_app(app)
        app.add_url_rule("/api/echo", "echo", dict, methods=hostile.METHODS)
        policy = cors.Policy.from_config(app.config)
        cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
        operations.init_app(app)
        return app

    policy = hostile.Policy(
        # Rows cannot shorten an IPv6 address: that is left to the start.
        origins=tuple(
            origin.replace("[0:0:0:0:0:0:0:1]", "[::1]") for origin in answers["CORS_ORIGINS"]
        ),
        methods=tuple(answers["CORS_METHODS"]),
        credentials=answers["CORS_SUPPORTS_CREDENTIALS"],
        headers=tuple(answers["CORS_ALLOW_HEADERS"]),
    )
    counts = hostile.attack_in_process(create_app, policy, Random(project.name), 100)
    assert min(counts["accepted"], counts["preflights"]) > 10


def assert_cookie_goes_where_the_frontends_are(project: Path) -> None:
    """Over https only, and to other sites only with credentials and a frontend that is there."""
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert ("frontends_share_site" in recorded) is recorded["allow_credentials"]
    crosses_sites = recorded.get("frontends_share_site") is False
    answers = read_answers(project)
    cookie = {key: value for key, value in answers.items() if key.startswith("SESSION_COOKIE_")}
    assert cookie == {
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_SAMESITE": "None" if crosses_sites else "Lax",
        "SESSION_COOKIE_PARTITIONED": crosses_sites,
    }


def read_answers(project: Path) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    exec((project / "app/answers.py").read_text(encoding="utf-8"), answers)
    return answers


def test_projects_type_check(render: Render, tmp_path: Path) -> None:
    """By plain `mypy`, as an owner runs it."""
    for name in list(COVERING)[:2]:
        project = render(**COVERING[name])
        run_python(project, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"))


def test_this_repository_is_clean() -> None:
    assert_linted(ROOT)


def test_answers_are_rendered_in_their_canonical_form(render: Render) -> None:
    project = render(
        frontend_origins="https://App.example.com/login, http://localhost:*,https://app.example.com",
        allowed_methods=["POST", "GET"],
        allow_credentials=True,
        allowed_headers=[],
        exposed_headers="ETag, etag",
        preflight_max_age=-1,
    )
    answers = read_answers(project)
    assert {key: value for key, value in answers.items() if key.startswith("CORS_")} == {
        "CORS_ORIGINS": ["https://app.example.com", "http://localhost:*"],
        "CORS_METHODS": ["GET", "POST"],
        "CORS_SUPPORTS_CREDENTIALS": True,
        "CORS_ALLOW_HEADERS": [],
        "CORS_EXPOSE_HEADERS": ["ETag"],
        "CORS_MAX_AGE": -1,
    }
    typed = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert typed["frontend_origins"].startswith("https://App.example.com/login")


@pytest.mark.parametrize(
    "name",
    [
        'Tom\'s "API"',
        "{{ 7 * 7 }}",
        "{% raw %}",
        "back\\slash",
        "Bücher 📚",
        "<b>#1</b>: yes",
        "日本",
        "Flask",
        "PyYAML",
    ],
)
def test_project_name_is_text_wherever_it_is_used(render: Render, name: str) -> None:
    project = render(project_name=name)
    assert (project / "README.md").read_text(encoding="utf-8").startswith(f"# {name}\n")
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["description"] == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", metadata["name"])
    pinned = (project / "requirements-dev.txt").read_text()
    assert not re.search(rf"^{metadata['name']}==", pinned, re.MULTILINE), (
        "the package needs itself"
    )
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert answers["project_name"] == name


def test_no_secret_is_rendered(render: Render) -> None:
    project = render(allow_credentials=True)
    for path in project.rglob("*"):
        if path.is_file() and "tests" not in path.parts:
            found = re.findall(r"^(?!#).*SECRET_KEY\s*=.*", path.read_text(), re.MULTILINE)
            assert not found, f"{path}: {found}"


def test_only_files_with_answers_are_templates() -> None:
    """Every other file can be linted, type-checked and read as it stands."""
    for path in TEMPLATE.rglob("*.jinja"):
        assert re.search(r"\{\{.*\}\}|extras", path.read_text(encoding="utf-8")), path


CONFIGS = ("settings.py", "answers.py", "gunicorn.conf.py")  # Flask and gunicorn read them


def test_nothing_unused_is_rendered(render: Render) -> None:
    """Each function, class, method and constant is named at least once more."""
    project = render()
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in project.rglob("*")
        if path.suffix in (".py", ".toml")
    }
    words = Counter(word for text in texts.values() for word in re.findall(r"\w+", text))
    unused = [
        f"{path.relative_to(project)}: {name}"
        for path, text in texts.items()
        if path.suffix == ".py" and path.name not in CONFIGS
        for name in defined(ast.parse(text))
        if words[name] == 1 and not name.startswith(("test_", "__"))
    ]
    assert set(unused) <= {"app/operations.py: format"}  # logging calls it


def defined(module: ast.Module) -> list[str]:
    """Return the names that a module defines, without those that a decorator hands on."""
    names = []
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if not getattr(node, "decorator_list", None) or isinstance(node, ast.ClassDef):
                names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return names


def test_locks_hold_what_the_project_asks_for(render: Render) -> None:
    project = render()
    asked = re.findall(
        r'^    "([a-z0-9-]+)', (project / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert "flask-cors" in asked and "pytest" in asked
    pinned = (project / "requirements-dev.txt").read_text()
    for name in asked:
        assert re.search(rf"^{name}==[^\\]+\\\n +--hash=sha256:", pinned, re.MULTILINE), name
    for line in (project / "requirements.txt").read_text().splitlines():
        if not line.startswith(("#", "    #")):
            assert line.partition(" ;")[0] in pinned, line


def test_locks_hold_one_version_of_each() -> None:
    for path in TEMPLATE.glob("*requirements*"):
        pinned = Counter(re.findall(r"^([a-z0-9-]+)==", path.read_text(), re.MULTILINE))
        assert pinned and max(pinned.values()) == 1, path


def test_projects_tests_pass_whatever_its_app_asks_of_a_client(render: Render) -> None:
    """A log-in that answers 401 to all, and a session whose key conftest.py alone has."""
    project = render()
    replace(project / "app/echo.py", "Blueprint, request", "Blueprint, request, session")
    replace(project / "app/echo.py", "    return {", '    session.get("user")\n    return {')
    replace(project / "app/__init__.py", "import Flask\n", "import Flask, abort\n")
    hook = "    app.before_request(lambda: abort(401))\n\n    app.register_blueprint(echo.bp)"
    replace(project / "app/__init__.py", "    app.register_blueprint(echo.bp)", hook)
    replace(project / "tests/conftest.py", '"TESTING": True', '"TESTING": True, "SECRET_KEY": "k"')
    assert_green(project)
