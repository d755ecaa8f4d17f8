"""A newer template takes every answer as it stands, or says why not, and loses no edit."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from conftest import (
    ROOT,
    TEMPLATE,
    assert_green,
    commit,
    copy,
    copy_template,
    files,
    git,
    run_python,
    run_tests,
    update,
)
from copier import run_update
from edits import (
    Edit,
    append,
    auth_hook,
    body_limit,
    ci_file,
    deleted_test,
    dependency,
    env_file,
    health_checks_database,
    locks,
    moved_test,
    new_blueprint,
    other_port,
    own_errors,
    own_settings,
    own_tests,
    readme,
    readme_rewritten,
    replace,
    sample_deleted,
    windows_lines,
    write,
)
from told import conflicts, disagreement

QUESTIONS = [
    name
    for name, question in yaml.safe_load((ROOT / "copier.yml").read_text()).items()
    if not name.startswith("_") and question.get("when") is not False
]

ANSWERS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "project_name": "Bookshop",
        "frontend_origins": ["https://*.example.com", "http://localhost:*"],
        "allowed_methods": ["GET", "PUT"],
        "allow_credentials": True,
        "frontends_share_site": False,
        "allowed_headers": ["Content-Type"],
        "exposed_headers": "ETag, Link",
        "preflight_max_age": -1,
        "extras": ["database", "container", "kubernetes", "github", "gitlab"],
        "database_extra": "4.0.0",
    },
    "public": {"frontend_origins": "any", "allowed_headers": [], "exposed_headers": "any"},
}


def answers(project: Path) -> dict[str, Any]:
    """Return what was answered, without what Copier notes for itself."""
    found = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return {name: value for name, value in found.items() if not name.startswith("_")}


# Answers never fall back on a default.


@pytest.fixture(scope="module")
def stricter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project, and its template, whose branches accept less."""
    folder = tmp_path_factory.mktemp("stricter")
    template = copy_template(folder / "template", *TEMPLATE)
    copy(template, folder / "project", ANSWERS["everything"])
    commit(folder / "project")
    return template, folder / "project"


def assert_stopped(project: Path, message: str, **how: Any) -> None:
    with pytest.raises(ValueError, match=message):
        run_update(project, overwrite=True, quiet=True, **how)
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("question", QUESTIONS)
def test_refused_answer_stops_the_update(stricter: tuple[Path, Path], question: str) -> None:
    template, project = stricter
    assert question in ANSWERS["everything"], "give it one that an update would not come to"
    answer = answers(project)[question]
    git(template, "checkout", "-b", question, "main")
    questions = yaml.safe_load((template / "copier.yml").read_text())
    questions[question]["validator"] = (
        f"{{% if {question} == {answer!r} %}}{question} is refused by this version{{% endif %}}"
    )
    (template / "copier.yml").write_text(yaml.safe_dump(questions, sort_keys=False))
    commit(template, "Stricter")
    message = f"{question} is refused by this version"
    assert_stopped(project, message, vcs_ref=question, defaults=True)
    assert_stopped(project, message, vcs_ref=question, skip_answered=True)


def test_choice_that_is_gone_stops_the_update(stricter: tuple[Path, Path]) -> None:
    template, project = stricter
    git(template, "checkout", "-b", "no-put", "main")
    replace(template / "copier.yml", "POST, PUT, PATCH", "POST, PATCH")
    commit(template)
    assert_stopped(project, "'PUT' is not in", vcs_ref="no-put", defaults=True)


# Releases, as CHANGELOG.md names them. A release is the commit that adds its heading, for tags can
# be lost; a heading that is not committed yet is the release being made.


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository whose newest commit is the working tree."""
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
        pytest.fail("the releases are in the history, which is cut off: git fetch --unshallow")
    clone = tmp_path_factory.mktemp("history") / "template"
    git(ROOT, "clone", "--quiet", str(ROOT), str(clone))
    git(clone, "rm", "-r", "--quiet", ".")
    return copy_template(clone, *TEMPLATE)


def releases() -> dict[str, str]:
    """Return the version and the commit of each release."""
    found = {}
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for heading in re.findall(r"^## \d+\.\d+\.\d+\b.*$", changelog, re.MULTILINE):
        release = git(ROOT, "log", "-n1", "--format=%h", f"-S{heading}", "--", "CHANGELOG.md")
        if release:
            found[heading.split()[1]] = release
    return found


def test_changelog_names_releases() -> None:
    assert releases(), "no heading of CHANGELOG.md is in the history"


# The template's own files that it had and has no more.
GONE = re.compile(
    r"app/(cors|operations)/\w+\.(py|html|tsv)|corscheck/\w+\.(py|html)|app/wiring\.py|dev\.py"
    r"|tests/(pages|test_answers|test_commands|test_operations|test_rooms)\.py"
)
# The owner's that it renders no more, or renders once. Those of the database extra are of 3.0.0;
# later ones have some of them.
KEPT = re.compile(
    r"tests/test_(errors|health)\.py"
    r"|app/(contract|database|items|models|openapi|resources)\.py|app/migrations/.+"
    r"|tests/(database|test_database|test_items|test_openapi)\.py"
)


def owners(project: Path) -> dict[str, bytes]:
    return {path: text for path, text in files(project).items() if KEPT.fullmatch(path)}


def deleted(project: Path) -> list[str]:
    """Return what the update deleted, but for the template's own files."""
    found = git(project, "diff", "--name-only", "--diff-filter=D").split()
    return [path for path in found if not GONE.fullmatch(path)]


def unmerged(project: Path) -> set[str]:
    return set(git(project, "diff", "--name-only", "--diff-filter=U").split())


def relock(project: Path, fresh: Path) -> None:
    """Make the locks again, as the two commands would: as in a fresh project, and the owner's."""
    had_own = "httpx" in (project / "pyproject.toml").read_text(encoding="utf-8")
    for lock in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(fresh / lock, project / lock)
    if had_own:
        locks(project)


def session_cookie(project: Path) -> str:
    """Return the SameSite attribute of the session cookie."""
    text = (project / "app/answers.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^SESSION_COOKIE_SAMESITE = "(\w+)"$', text, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("version", releases())
def test_project_of_a_release_becomes_one_of_today(
    history: Path, tmp_path: Path, version: str, name: str
) -> None:
    project = tmp_path / "project"
    copy(history, project, ANSWERS[name], vcs_ref=releases()[version])
    commit(project)
    before = answers(project)
    kept = owners(project)
    assert ("app/items.py" in kept) is ("database" in before.get("extras", []))
    update(project, vcs_ref="HEAD")
    if version == "1.0.0" and before["allow_credentials"]:
        assert session_cookie(project) == "None", "it had no other"
    assert before.items() <= answers(project).items()
    assert deleted(project) == [], "an update deletes what a template drops, edited or not"
    copied = tmp_path / "copied"
    copy(history, copied, answers(project))
    relock(project, copied)
    assert files(project) == files(copied) | kept
    (project / "tests/test_errors.py").unlink(missing_ok=True)  # which tests what is gone
    assert conflicts(project) == []
    if name == "everything":
        assert_green(project)


def test_message_of_an_update_from_an_old_project(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names what is gone once: the next update is one of any project."""
    project = tmp_path / "project"
    copy(history, project, {"extras": ["database"]}, vcs_ref=releases()["3.0.0"])
    commit(project)
    for is_old in (True, False):
        capsys.readouterr()
        run_update(project, defaults=True, overwrite=True, vcs_ref="HEAD")
        commit(project)
        told = capsys.readouterr().err
        assert "Pages on these origins may call it:\n\n    http://localhost:5173\n\n" in told
        assert told.index("  git diff --check") < told.index("  uv pip compile")
        assert told.index("  uv pip compile") < told.index("  pip install")
        assert ("made by 3.0.0 or older" in told) is is_old
        assert ("  FLASK_APP=dev  " in told) is is_old
        assert "The database extra stays that of 3.0.0." in told


def test_update_without_a_newer_template_changes_nothing(history: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    copy(history, project, ANSWERS["everything"])
    commit(project)
    update(project, vcs_ref="HEAD")
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("had_credentials", [True, False])
def test_session_cookie_is_kept_or_worked_out(
    history: Path, tmp_path: Path, had_credentials: bool
) -> None:
    """Of 1.0.0 with credentials, frontends of other sites may depend on it."""
    project = tmp_path / "project"
    given = {"frontend_origins": "https://app.example.com", "allow_credentials": had_credentials}
    copy(history, project, given, vcs_ref=releases()["1.0.0"])
    commit(project)
    update(project, vcs_ref="HEAD")
    assert unmerged(project) == set()
    assert answers(project).get("frontends_share_site") is (False if had_credentials else None)
    assert session_cookie(project) == ("None" if had_credentials else "Lax")
    commit(project)

    update(project, preflight_max_age=60)  # another answer
    assert session_cookie(project) == ("None" if had_credentials else "Lax")
    commit(project)
    if had_credentials:
        update(project, frontends_share_site=True)
        assert session_cookie(project) == "Lax"
        return
    update(project, allow_credentials=True)
    assert answers(project)["frontends_share_site"] is True
    assert session_cookie(project) == "Lax"
    git(project, "reset", "--quiet", "--hard")
    update(project, allow_credentials=True, frontend_origins="capacitor://localhost")
    assert answers(project)["frontends_share_site"] is False
    assert session_cookie(project) == "None"


@pytest.mark.parametrize(
    ("origins", "expected"), [("https://app.example.com", "Lax"), ("capacitor://localhost", "None")]
)
def test_session_cookie_is_worked_out_where_the_update_brings_credentials(
    history: Path, tmp_path: Path, origins: str, expected: str
) -> None:
    project = tmp_path / "project"
    copy(history, project, {}, vcs_ref=releases()["1.0.0"])
    commit(project)
    update(project, vcs_ref="HEAD", allow_credentials=True, frontend_origins=origins)
    assert session_cookie(project) == expected


# Projects that their owners have edited.


@pytest.fixture(scope="module")
def rendered(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Render a project of a release, or of today (HEAD), once."""
    folder = tmp_path_factory.mktemp("rendered")

    def rendered(version: str) -> Path:
        project = folder / version
        if not project.exists():
            copy(history, project, {}, vcs_ref=releases().get(version, version))
            commit(project)
        return project

    return rendered


@pytest.fixture
def edited(rendered: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Edit a project of a release, and commit."""

    def edited(version: str, *edits: Edit) -> Path:
        project = tmp_path / "project"
        shutil.copytree(rendered(version), project)
        for edit in edits:
            edit(project)
        commit(project, "Mine")
        return project

    return edited


def lost(project: Path) -> list[str]:
    """Return each line of the owner's that the update removed, by its file."""
    found, path = [], project
    for line in git(project, "diff", "--unified=0", "HEAD~", "HEAD").splitlines():
        if line.startswith("+++ "):
            path = project / line.removeprefix("+++ b/")
            text = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        elif line.startswith("+") and line[1:] not in text:
            found.append(f"{path}: {line[1:]}")
    return found


def uses_what_is_gone(project: Path) -> None:
    """Use the template's code where 3.0.0 and older had it."""
    append(project / ".flaskenv", "FLASK_APP=dev\n")
    append(project / "tests/test_mine.py", "import dev\n")
    write(project / "app/check.py", "from app.cors.middleware import Middleware\n")


def use_what_is_there(project: Path) -> None:
    """Change each line as the upgrade notes say."""
    path = project / ".flaskenv"
    write(path, path.read_text().replace("FLASK_APP=dev\n", ""))
    replace(project / "tests/test_mine.py", "import dev\n", "import wsgi\n")
    replace(project / "app/check.py", "middleware import Middleware", "gate import Gate")


# The edits of each kind of owner, the files in which they meet lines of the update, by release,
# and how they are made again on the template's version.
GROWN: tuple[Edit, ...] = (
    new_blueprint,
    auth_hook,
    own_settings,
    body_limit,
    other_port,
    own_errors,
    health_checks_database,
    own_tests,
    moved_test,
    dependency,
    locks,
    readme,
    env_file,
    ci_file,
    uses_what_is_gone,
)
MET = {
    "1.0.0": {"tests/conftest.py"},
    "2.0.0": {".flaskenv", "app/__init__.py", "app/settings.py"},
    "3.0.0": set(),
}
REDO: dict[str, tuple[Edit, ...]] = {
    "app/__init__.py": (new_blueprint, auth_hook),
    "app/settings.py": (own_settings, body_limit),
    ".flaskenv": (other_port,),
    "tests/conftest.py": (
        own_tests,
        lambda project: append(project / "tests/test_mine.py", "import dev\n"),
    ),
}


@pytest.mark.parametrize("version", MET)
def test_edits_are_kept_and_the_documented_steps_make_it_green(
    edited: Callable[..., Path], rendered: Callable[[str], Path], version: str
) -> None:
    project = edited(version, *GROWN)
    before = files(project)
    update(project, vcs_ref="HEAD")
    assert unmerged(project) == MET[version]
    assert lost(project) == [] and deleted(project) == []
    for lock in ("requirements.txt", "requirements-dev.txt"):
        assert files(project)[lock] == before[lock]
    told = "\n".join(conflicts(project))
    for line in ("FLASK_APP=dev", "import dev", "from app.cors.middleware import Middleware"):
        assert f": change this line, which needs what is gone: {line}" in told
    if version != "1.0.0":
        assert re.search(r"tests/test_errors\.py:\d+: change this line", told)

    for path in MET[version]:
        git(project, "checkout", "--theirs", path)
        for edit in REDO[path]:
            edit(project)
    relock(project, rendered("HEAD"))
    use_what_is_there(project)
    errors = project / "tests/test_errors.py"
    if version == "3.0.0":
        import_of_pages = re.compile("^from pages import .*$", re.MULTILINE)
        write(errors, import_of_pages.sub(instead_of_pages(), errors.read_text(), count=1))
    else:  # it also tests what 3.0.0 made different
        errors.unlink()
    assert conflicts(project) == []
    assert disagreement(project) == ""
    assert_green(project)
    assert "from app import books" in (project / "app/__init__.py").read_text()


def instead_of_pages() -> str:
    """Return what the upgrade notes give a test of the owner's."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    [block] = re.findall(
        r"^ *```python\n(.*?def bare_app.*?)^ *```", text, re.MULTILINE | re.DOTALL
    )
    return dedent(block)


# The database extra: its owner's files are rendered once.


def models_edited(project: Path) -> None:
    append(project / "app/models.py", "\n# Mine\n")


def migration_added(project: Path) -> None:
    """Put a migration of the owner's after the sample's."""
    write(
        project / "app/migrations/0002_colour.py",
        'revision = "0002"\ndown_revision = "0001"\n\n\n'
        "def upgrade() -> None:\n    pass\n\n\ndef downgrade() -> None:\n    pass\n",
    )


def items_deleted(project: Path) -> None:
    """Delete the sample: another resource has taken its place."""
    for path in ("app/items.py", "tests/test_items.py"):
        (project / path).unlink()
    resources = project / "app/resources.py"
    replace(resources, "items, ", "")
    replace(resources, "    app.register_blueprint(items.bp)\n", "")


def database_tests_edited(project: Path) -> None:
    """Take the sample out of a test of 3.0.0 that asks for it."""
    replace(project / "tests/test_database.py", '("/api/items", ', '("/health/ready", ')


def larger_app(project: Path) -> None:
    """Build what the tests of 3.0.0 build: a log-in, a relation, an upload, a stream."""
    built: dict[str, Any] = {}
    exec(git(ROOT, "show", f"{releases()['3.0.0']}:tests/project/test_larger_app.py"), built)
    write(project / "app/notes.py", built["NOTES"])
    write(project / "tests/test_notes.py", built["TEST_NOTES"])
    resources = project / "app/resources.py"
    replace(resources, "items, openapi\n", "items, notes, openapi\n")
    replace(resources, "(items.bp)\n", "(items.bp)\n    app.register_blueprint(notes.bp)\n")
    replace(
        project / "tests/conftest.py", '{"TESTING": True}', '{"TESTING": True, "SECRET_KEY": "a"}'
    )
    run_python(project, "-c", built["MIGRATE"])


@pytest.mark.parametrize(
    "edits",
    [
        (),
        (models_edited, migration_added),
        (items_deleted, database_tests_edited),
        (larger_app,),
    ],
    ids=["unedited", "edited", "sample deleted", "larger app"],
)
def test_database_of_3_0_0_stays_as_it_is(
    history: Path,
    rendered: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    edits: tuple[Edit, ...],
) -> None:
    monkeypatch.setenv("FLASK_SECRET_KEY", "a" * 32)
    project = tmp_path / "project"
    copy(history, project, {"extras": ["database"]}, vcs_ref=releases()["3.0.0"])
    for edit in (deleted_test, *edits):
        edit(project)
    commit(project)
    had, before = owners(project), files(project)
    update(project, vcs_ref="HEAD")
    assert answers(project)["database_extra"] == "3.0.0"
    has = files(project)
    assert had.items() <= has.items()
    assert has.keys() - before.keys() <= files(rendered("HEAD")).keys(), "of no other extra"
    assert conflicts(project) == []
    assert_green(project)

    commit(project)
    update(project, vcs_ref="HEAD")
    assert git(project, "status", "--porcelain") == ""
    update(project, extras=["database", "container"])
    assert had.items() <= files(project).items()


def test_login_is_refused_to_the_database_of_3_0_0(history: Path, tmp_path: Path) -> None:
    """In the update that brings the choice, and in a later one."""
    project = tmp_path / "project"
    copy(history, project, {"extras": ["database"]}, vcs_ref=releases()["3.0.0"])
    commit(project)
    given = {"extras": ["database", "login"], "allow_credentials": True}
    for _ in range(2):
        with pytest.raises(ValueError, match="move to the database extra of 4.0.0 first"):
            update(project, vcs_ref="HEAD", **given)
        assert git(project, "status", "--porcelain") == ""
        update(project, vcs_ref="HEAD")
        commit(project)


def test_database_that_is_added_later_is_todays(history: Path, tmp_path: Path) -> None:
    project, copied = tmp_path / "project", tmp_path / "copied"
    copy(history, project, {}, vcs_ref=releases()["3.0.0"])
    deleted_test(project)
    (project / "tests/test_health.py").unlink()
    commit(project)
    update(project, vcs_ref="HEAD", extras=["database"])
    assert answers(project)["database_extra"] == "4.0.0"
    copy(history, copied, {"extras": ["database"]})
    relock(project, copied)
    assert files(project) == files(copied)
    commit(project)
    update(project, vcs_ref="HEAD")
    assert git(project, "status", "--porcelain") == ""


def test_no_answer_goes_back_to_the_database_of_3_0_0(history: Path, tmp_path: Path) -> None:
    """It would delete the files of today's, and a new project would have none of either."""
    project = tmp_path / "project"
    with pytest.raises(ValueError, match="write 4.0.0, not 3.0.0"):
        copy(history, project, {"extras": ["database"], "database_extra": "3.0.0"})
    copy(history, project, {"extras": ["database"]})
    commit(project)
    with pytest.raises(ValueError, match="write 4.0.0, not 3.0.0"):
        update(project, database_extra="3.0.0")
    assert git(project, "status", "--porcelain") == ""


def test_sample_that_a_release_changes_is_for_new_projects(history: Path, tmp_path: Path) -> None:
    """Its tables would be rewritten under a database that is in use."""
    project = tmp_path / "project"
    copy(history, project, {"extras": ["database"]})
    migration_added(project)
    items_deleted(project)
    commit(project)
    before = files(project)

    git(history, "checkout", "--quiet", "-b", "newer")
    questions = (history / "copier.yml").read_text(encoding="utf-8")
    for old, new in (("!= '4.0.0'", "!= '4.1.0'"), ("'4.0.0') }}", "'4.1.0') }}")):
        assert questions.count(old) == 1
        questions = questions.replace(old, new)
    write(history / "copier.yml", questions.replace('"4.0.0"]', '"4.0.0", "4.1.0"]'))
    for path in (history / "template").glob("{% if 'database' in extras %}*/**/*.py"):
        append(path, "\n# Newer\n")
    commit(history)
    update(project, vcs_ref="newer")
    copied = tmp_path / "copied"
    copy(history, copied, {"extras": ["database"]}, vcs_ref="newer")
    git(history, "checkout", "--quiet", "-")
    assert answers(project)["database_extra"] == "4.0.0"
    after = files(project)
    assert after.keys() == before.keys()
    changed = {path for path in before if after[path] != before[path]}
    assert "app/sqldb.py" in changed and not set(filter(KEPT.fullmatch, changed))
    assert files(copied)["app/models.py"].endswith(b"# Newer\n")


def policy_in_settings(project: Path) -> None:
    """Edit the answers of 1.0.0, which were in app/settings.py."""
    settings = project / "app/settings.py"
    replace(
        settings,
        '    "http://localhost:5173",\n',
        '    "http://localhost:5173",  # until June\n    "https://by-hand.example",\n',
    )
    replace(settings, '    "DELETE",\n', '    "DELETE",\n    "PURGE",\n')
    replace(settings, "CORS_MAX_AGE = 600\n", "CORS_MAX_AGE = 600\nDEBUG_TB = 1\n")


def test_policy_that_was_edited_in_the_settings(
    edited: Callable[..., Path], rendered: Callable[[str], Path]
) -> None:
    project = edited(
        "1.0.0", sample_deleted, deleted_test, body_limit, policy_in_settings, readme_rewritten
    )
    update(project, vcs_ref="HEAD")
    assert lost(project) == [] and deleted(project) == []
    for name in ("app/echo.py", "tests/test_echo.py", "tests/test_errors.py"):
        assert not (project / name).exists()
    assert unmerged(project) == {"README.md", "app/settings.py"}
    relock(project, rendered("HEAD"))
    told = conflicts(project)
    assert {line.partition(":")[0] for line in told} == {"README.md", "app/settings.py"}
    result = run_tests(project)
    assert result.returncode != 0
    assert result.stderr.splitlines()[1:] == [f"  {line}" for line in told]

    git(project, "checkout", "--theirs", "README.md")
    git(project, "checkout", "--ours", "app/settings.py")
    assert disagreement(project).startswith("remove CORS_ORIGINS from app/settings.py")
    git(project, "checkout", "--theirs", "app/settings.py")
    assert disagreement(project) == ""
    assert_green(project)


def names_that_the_template_took(project: Path) -> None:
    """Make files where 1.0.0 had none, and a later release has or had one."""
    write(project / ".gitattributes", "*.bin binary\n")
    write(project / "dev.py", "from wsgi import app as application\n")
    write(project / "app/answers.py", "ANSWERS = [42]\n")
    write(project / "corscheck/__init__.py", '"""My check."""\n')


def test_files_whose_names_the_template_took(edited: Callable[..., Path]) -> None:
    project = edited("1.0.0", names_that_the_template_took)
    update(project, vcs_ref="HEAD")
    assert lost(project) == []
    assert unmerged(project) == {".gitattributes", "app/answers.py"}


def test_windows_line_endings(edited: Callable[..., Path], rendered: Callable[[str], Path]) -> None:
    """Each file that changes is one large conflict, which stops pytest: undo, convert, update."""
    project = edited("1.0.0", own_settings, windows_lines)
    update(project, vcs_ref="HEAD")
    assert {"README.md", "app/__init__.py", "tests/unmerged.py"} <= unmerged(project)
    check = subprocess.run(["git", "diff", "--check"], cwd=project, capture_output=True, text=True)
    assert "app/__init__.py:1: leftover conflict marker" in check.stdout

    text = (ROOT / "docs/updates.md").read_text(encoding="utf-8")
    commands = text.partition("(CRLF)")[2].partition("```sh\n")[2].partition("```")[0]
    for command in commands.splitlines():
        subprocess.run(command, shell=True, cwd=project, check=True, capture_output=True)
    assert git(project, "status", "--porcelain") == ""
    update(project, vcs_ref="HEAD")
    assert unmerged(project) == set()
    assert b"\r" not in (project / "app/settings.py").read_bytes()
    assert 'DATABASE = "sqlite:///books.db"' in (project / "app/settings.py").read_text()
    relock(project, rendered("HEAD"))
    assert_green(project, "tests/test_cors.py")
