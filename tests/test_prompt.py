"""Copier's questions as a person meets them, in a terminal of 80 columns."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
import yaml
from conftest import Render, assert_green, commit, copy, copy_template, git

ENTER = "\r"
CLEAR = "\x15"  # Ctrl-U
DOWN = "\x1b[B"

HELP = (
    """
 What is the API called? Its README is headed so. For example Bookshop API.
   My API""",
    """
 On which origins does the frontend run, as scheme://host[:port]? Several are
separated by commas: https://app.example.com, http://localhost:5173
Wildcards: https://*.example.com, http://localhost:*  Every site: any, or *
   http://localhost:5173""",
    """
 Which methods may the frontend use? A browser sends GET, HEAD and a plain
POST without asking, and if they are not allowed withholds only the answer.
   (Use arrow keys to move, <space> to select, <a> to toggle, <i> to invert)
 » ● GET
   ○ HEAD
   ● POST
   ● PUT
   ● PATCH
   ● DELETE
   ○ OPTIONS""",
    """
 May the frontend send cookies or HTTP authentication? Not needed for an
Authorization header that its code sets, such as a bearer token.
   (Use arrow keys)
 » no
   yes""",
)
LAST_QUESTION = "May the frontend send cookies"


class Terminal:
    """Copier in a terminal, and what its screen shows."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.screen = pyte.Screen(80, 100)
        self.stream = pyte.Stream(self.screen)
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "copier", *arguments],
            cwd=str(folder),
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            dimensions=(100, 80),
            encoding="utf-8",
        )

    @property
    def shown(self) -> str:
        lines = (line.replace("🎤", "").rstrip() for line in self.screen.display)
        return "\n".join(lines).rstrip()

    def see(self, text: str) -> None:
        """Read on until the screen shows a text."""
        while text not in self.shown:
            try:
                self.stream.feed(self.process.read_nonblocking(4096, timeout=30))
            except (pexpect.EOF, pexpect.TIMEOUT):
                pytest.fail(f"not on the screen: {text}\n\n{self.shown}", pytrace=False)

    def type(self, keys: str) -> None:
        self.process.send(keys)

    def widen(self, columns: int) -> None:
        self.screen.resize(columns=columns)
        self.process.setwinsize(100, columns)

    def end(self) -> int:
        """Read on until Copier ends, and return its exit code."""
        self.process.timeout = 60
        self.stream.feed(self.process.read())
        self.process.close()
        return self.process.exitstatus


Start = Callable[..., Terminal]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Copier in a folder, in a terminal of its own."""
    terminals = []

    def start(folder: Path, *arguments: str) -> Terminal:
        terminals.append(Terminal(folder, *arguments))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.process.close(force=True)


def answers(project: Path) -> dict[str, object]:
    found = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert isinstance(found, dict)
    return found


def test_defaults(start: Start, template: Path, tmp_path: Path) -> None:
    """Every question can be read whole, and Enter takes what it proposes."""
    terminal = start(tmp_path, "copy", str(template), "bookshop")
    for text in HELP:
        terminal.see(text)
        terminal.type(ENTER)
    assert terminal.end() == 0, terminal.shown
    assert "My API is in bookshop. Next:" in terminal.shown
    assert answers(tmp_path / "bookshop") == {
        **answers(tmp_path / "bookshop"),
        "project_name": "My API",
        "frontend_origins": "http://localhost:5173",
        "allowed_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allow_credentials": False,
        "allowed_headers": "Content-Type, Authorization",
        "exposed_headers": "X-Request-ID",
        "preflight_max_age": 600,
    }
    assert_green(tmp_path / "bookshop")


def test_corrected_mistake(start: Start, template: Path, tmp_path: Path) -> None:
    terminal = start(tmp_path, "copy", str(template), "bookshop")
    terminal.see("My API")
    terminal.type(CLEAR + "Bookshop" + ENTER)
    terminal.see("http://localhost:5173")
    terminal.type(CLEAR + "https://shop.example.com/" + ENTER)
    terminal.see("Validation error for question 'frontend_origins': https://shop.example.com/: dro")
    terminal.widen(160)
    terminal.see("https://shop.example.com/: drop the trailing slash: https://shop.example.com")
    terminal.type("\b" + ENTER)
    terminal.see("<space> to select")
    terminal.type(ENTER)
    terminal.see(LAST_QUESTION)
    terminal.type(DOWN + ENTER)
    assert terminal.end() == 0, terminal.shown
    found = answers(tmp_path / "bookshop")
    assert found["project_name"] == "Bookshop"
    assert found["frontend_origins"] == "https://shop.example.com"
    assert found["allow_credentials"] is True
    assert_green(tmp_path / "bookshop")


@pytest.mark.parametrize("origins", ["*", "any", "http://intranet.example"])
def test_credentials_cannot_be_chosen_where_they_would_be_refused(
    start: Start, template: Path, tmp_path: Path, origins: str
) -> None:
    terminal = start(tmp_path, "copy", str(template), "bookshop")
    terminal.see("My API")
    terminal.type(ENTER)
    terminal.see("http://localhost:5173")
    terminal.type(CLEAR + origins + ENTER)
    terminal.see("<space> to select")
    terminal.type(ENTER)
    terminal.see("- yes (frontend_origins: ")
    terminal.see("with credentials, ")
    terminal.type(DOWN + ENTER)
    assert terminal.end() == 0, terminal.shown
    assert answers(tmp_path / "bookshop")["allow_credentials"] is False
    assert_green(tmp_path / "bookshop", "tests/test_answers.py")


def test_update_proposes_the_present_answers(start: Start, render: Render) -> None:
    project = render(
        project_name="Bookshop",
        frontend_origins=["https://a.example", "https://b.example"],
        allowed_methods=["GET"],
        allow_credentials=True,
        exposed_headers="ETag",
    )
    commit(project)
    before = (project / ".copier-answers.yml").read_text()
    terminal = start(project, "update")
    terminal.see("Bookshop")
    terminal.type(ENTER)
    terminal.see("['https://a.example', 'https://b.example']")
    terminal.type(ENTER)
    terminal.see(" » ● GET\n   ○ HEAD\n   ○ POST")
    terminal.type(ENTER)
    terminal.see("   no\n » yes")
    terminal.type(ENTER)
    assert terminal.end() == 0, terminal.shown
    assert (project / ".copier-answers.yml").read_text() == before
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("options", [(), ("--skip-answered",)])
def test_update_stops_at_an_answer_that_is_now_refused(
    start: Start, tmp_path: Path, options: tuple[str, ...]
) -> None:
    template = copy_template(tmp_path / "template")
    project = tmp_path / "project"
    copy(template, project, {"frontend_origins": "https://shop.example"})
    commit(project)
    questions = (template / "copier.yml").read_text()
    strict = questions.replace("{{ origins_problems(frontend_origins) }}", "no longer accepted")
    assert strict != questions
    (template / "copier.yml").write_text(strict)
    commit(template)
    terminal = start(project, "update", *options)
    if not options:
        terminal.see("My API")
        terminal.type(ENTER)
    assert terminal.end() == 1
    message = "Validation error for question 'frontend_origins': no longer accepted"
    assert message in terminal.shown.replace("\n", "")
    assert git(project, "status", "--porcelain") == ""
