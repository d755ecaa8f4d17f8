"""What owners do to a project, old or new: edits that no update may lose."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Edit = Callable[[Path], None]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path}: {old}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


# In app/


def new_blueprint(project: Path) -> None:
    write(
        project / "app/books.py",
        'from flask import Blueprint\n\nbp = Blueprint("books", __name__, url_prefix="/api")\n\n\n'
        '@bp.get("/books")\ndef books() -> list[str]:\n    return []\n',
    )
    factory = project / "app/__init__.py"
    replace(factory, "from app import cors, ", "from app import books, cors, ")
    replace(
        factory,
        "    app.register_blueprint(health.bp)\n",
        "    app.register_blueprint(health.bp)\n    app.register_blueprint(books.bp)\n",
    )


def auth_hook(project: Path) -> None:
    factory = project / "app/__init__.py"
    replace(factory, "from flask import Flask\n", "from flask import Flask, abort, request\n")
    replace(
        factory,
        "    errors.init_app(app)\n",
        "    errors.init_app(app)\n\n    @app.before_request\n    def check_key() -> None:\n"
        '        if request.headers.get("X-Key") == "stolen":\n            abort(401)\n',
    )


def sample_deleted(project: Path) -> None:
    (project / "app/echo.py").unlink()
    (project / "tests/test_echo.py").unlink()
    sample_unregistered(project)


def sample_unregistered(project: Path) -> None:
    replace(project / "app/__init__.py", "cors, echo, errors", "cors, errors")
    replace(project / "app/__init__.py", "    app.register_blueprint(echo.bp)\n", "")


def sample_renamed(project: Path) -> None:
    (project / "app/echo.py").rename(project / "app/mirror.py")
    replace(project / "app/mirror.py", 'Blueprint("echo"', 'Blueprint("mirror"')
    replace(
        project / "app/__init__.py", "cors, echo, errors, health", "cors, errors, health, mirror"
    )
    replace(project / "app/__init__.py", "echo.bp", "mirror.bp")
    path = project / "tests/test_echo.py"
    write(path, path.read_text().replace("from app import echo", "from app import mirror as echo"))


def own_settings(project: Path) -> None:
    append(
        project / "app/settings.py",
        '\nDATABASE = "sqlite:///books.db"\nSESSION_COOKIE_SAMESITE = "Strict"\n',
    )


def body_limit(project: Path) -> None:
    replace(
        project / "app/settings.py", "MAX_CONTENT_LENGTH = 1_000_000", "MAX_CONTENT_LENGTH = 5_000"
    )


def own_errors(project: Path) -> None:
    replace(
        project / "app/errors.py",
        '"status": response.status_code, "detail": detail}',
        '"status": response.status_code, "detail": detail, "help": "/help"}',
    )


def health_checks_database(project: Path) -> None:
    path = project / "app/health.py"
    text = path.read_text()
    assert text.count("def ready") == 1
    write(path, re.sub(r'(def ready\(.*\n)( +""".*"""\n)?', r"\1    ping()\n", text))
    append(path, "\n\ndef ping() -> None:\n    pass\n")


def policy_code_edited(project: Path) -> None:
    replace(project / "app/cors/policy.py", '"""', '"""Reviewed in May. ')


# Beside app/


def own_tests(project: Path) -> None:
    write(project / "tests/test_mine.py", "def test_mine(book: str) -> None:\n    assert book\n")
    append(
        project / "tests/conftest.py",
        "\n\n@pytest.fixture\ndef book() -> str:\n    return 'Emma'\n",
    )


def moved_test(project: Path) -> None:
    (project / "tests/api").mkdir()
    (project / "tests/test_echo.py").rename(project / "tests/api/test_echo.py")


def deleted_test(project: Path) -> None:
    """Delete a file of tests that 3.0.0 and older had, and that was its owner's."""
    (project / "tests/test_errors.py").unlink()


def dependency(project: Path) -> None:
    replace(project / "pyproject.toml", '    "gunicorn', '    "httpx>=0.28",\n    "gunicorn')


def locks(project: Path) -> None:
    for lock in ("requirements.txt", "requirements-dev.txt"):
        replace(
            project / lock,
            "\nitsdangerous==",
            f"\nhttpx==0.28.1 \\\n    --hash=sha256:{'0' * 64}\nitsdangerous==",
        )
        text = (project / lock).read_text()
        own = re.sub(r"--hash=sha256:f\w+", f"--hash=sha256:{'f' * 64}", text, count=3)
        write(project / lock, own)


def readme(project: Path) -> None:
    path = project / "README.md"
    append(path, "\n## Where it runs\n\nOn the third shelf.\n")
    replace(path, "## Deploy\n", "## Who runs it\n\nThe library.\n\n## Deploy\n")


def readme_rewritten(project: Path) -> None:
    path = project / "README.md"
    _title, _text, rest = path.read_text().split("\n\n", 2)
    write(path, f"# Books\n\nAll our books.\n\n{rest.partition('## Change dependencies')[0]}")


def env_file(project: Path) -> None:
    write(project / ".env", 'FLASK_CORS_ORIGINS="https://staging.example"\nFLASK_SECRET_KEY=x\n')
    append(project / ".env.example", "# FLASK_DATABASE=\n")


def ci_file(project: Path) -> None:
    write(project / ".github/workflows/test.yml", "on: push\njobs: {}\n")
    append(project / ".gitignore", "*.db\n")


def other_port(project: Path) -> None:
    replace(project / ".flaskenv", "FLASK_RUN_PORT=8000", "FLASK_RUN_PORT=9000")


def reformatted(project: Path) -> None:
    command = [sys.executable, "-m", "ruff", "format", "-q", "--no-cache", "--line-length=79", "."]
    subprocess.run(command, cwd=project, check=True)


def windows_lines(project: Path) -> None:
    for path in project.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
