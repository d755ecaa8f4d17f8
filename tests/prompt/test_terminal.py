"""Copier's questions as a person meets them, in a terminal of 80 columns."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
import yaml
from conftest import ROOT, Render, commit, copy, copy_template, git

ENTER = "\r"
CLEAR = "\x15"  # Ctrl-U
DOWN = "\x1b[B"


def help_of(question: str) -> str:
    """Return a question's help as the screen shows it, which must not break its lines."""
    found = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))[question]["help"]
    return f" {found}\n"


METHODS = """\
   (Use arrow keys to move, <space> to select, <a> to toggle, <i> to invert)
 » ● GET
   ○ HEAD
   ● POST
   ● PUT
   ● PATCH
   ● DELETE
   ○ OPTIONS"""
EXTRAS = """\
   (Use arrow keys to move, <space> to select, <a> to toggle, <i> to invert)
 » ○ database: a sample in SQLite or PostgreSQL, migrations, OpenAPI
   ○ login: accounts, a cookie for pages, tokens for apps; needs database
   ○ container: a Dockerfile for a small image, and Compose
   ○ kubernetes: manifests for a cluster
   ○ github: workflows that test, audit and probe, and Renovate
   ○ gitlab: a pipeline that tests, audits and probes, and Renovate"""
# The last line of the message: a command, whole.
WORTH_SEEING = 'curl --json "{}" -H "Origin: https://x.example" http://localhost:8000/api/echo'
# What a question is followed by.
ASKED = {
    "project_name": "   My API",
    "frontend_origins": "   http://localhost:5173",
    "allowed_methods": METHODS,
    "allow_credentials": "   (Use arrow keys)\n » no\n   yes",
    "extras": EXTRAS,
}


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
    for question, proposed in ASKED.items():
        terminal.see(help_of(question) + proposed)
        terminal.type(ENTER)
    assert terminal.end() == 0, terminal.shown
    assert "Are all frontends" not in terminal.shown
    assert "My API is in bookshop." in terminal.shown
    assert "\n    http://localhost:5173\n" in terminal.shown
    assert "\n  uvx copier update --vcs-ref=:current: --defaults -d '" in terminal.shown
    assert terminal.shown.endswith(f"\n  {WORTH_SEEING}")
    assert answers(tmp_path / "bookshop") == {
        **answers(tmp_path / "bookshop"),
        "project_name": "My API",
        "frontend_origins": "http://localhost:5173",
        "allowed_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allow_credentials": False,
        "allowed_headers": "Content-Type, Authorization",
        "exposed_headers": "X-Request-ID",
        "preflight_max_age": 600,
        "extras": [],
    }


# What is typed, and what a line of 80 columns shows of the refusal.
MISTAKES = {
    "localhost:3000": "write http://localhost:3000",
    "shop.example.com": "write https://shop.example.com",
    "https:/pay.example.com": "write https://pay.example.com",
    "https://*.vercel.app": "write https://yours.vercel.app",
    "https://www.example.com.": "write https://www.example.com",
    "null": "remove null: any site can send",
    "any, https://shop.example.com": "write any alone, or remove it",
    " ": "write at least one origin",
}


def test_mistakes(start: Start, template: Path, tmp_path: Path) -> None:
    """A refusal shows first what to write; credentials are no choice where they are refused."""
    terminal = start(tmp_path, "copy", str(template), "bookshop")
    terminal.see("My API")
    terminal.type(CLEAR + "Bookshop" + ENTER)
    terminal.see("http://localhost:5173")
    for typed, told in MISTAKES.items():
        terminal.type(CLEAR + typed + ENTER)
        terminal.see(f"Validation error for question 'frontend_origins': {told}")
    terminal.type(CLEAR + "ftp://shop.example" + ENTER)
    terminal.widen(160)
    terminal.see("write https://shop.example, not ftp://shop.example: no frontend is served by FTP")
    terminal.widen(80)
    terminal.type(CLEAR + "HTTP://Intranet.example/" + ENTER)
    terminal.see("<space> to select")
    terminal.type(ENTER)
    terminal.see(help_of("allow_credentials"))  # says the way back
    terminal.see("- yes (write https://intranet.example, not http://intranet.example: with cred")
    terminal.type(DOWN + ENTER)
    terminal.see(EXTRAS)
    terminal.type(DOWN + " " + ENTER)
    terminal.see(" » ● login")  # refused: the message needs a terminal that tells its size
    terminal.type(" " + ENTER)
    assert terminal.end() == 0, terminal.shown
    assert "\n    http://intranet.example\n" in terminal.shown
    found = answers(tmp_path / "bookshop")
    assert found["project_name"] == "Bookshop"
    assert found["frontend_origins"] == "HTTP://Intranet.example/"
    assert found["allow_credentials"] is False
    assert "frontends_share_site" not in found


@pytest.mark.parametrize(
    ("origins", "proposed", "keys", "answer"),
    [
        ("https://app.example.com https://*.example.com", "Y/n", ENTER, True),
        ("https://app.example.com https://app.example.net", "y/N", ENTER, False),
        ("capacitor://localhost", "y/N", ENTER, False),
        ("https://app.example.net http://localhost:*", "Y/n", "n", False),
        ("https://mysite.netlify.app", "y/N", "y", True),
    ],
)
def test_site_is_asked_for_where_cookies_are_sent(
    start: Start,
    template: Path,
    tmp_path: Path,
    origins: str,
    proposed: str,
    keys: str,
    answer: bool,
) -> None:
    """Enter takes what is worked out from the origins just given."""
    terminal = start(tmp_path, "copy", str(template), "bookshop", "-d", "project_name=Bookshop")
    terminal.see("http://localhost:5173")
    terminal.type(CLEAR + origins + ENTER)
    terminal.see("<space> to select")
    terminal.type(ENTER)
    terminal.see(ASKED["allow_credentials"])
    terminal.type(DOWN + ENTER)
    terminal.see(f"{help_of('frontends_share_site')}   ({proposed})")
    terminal.type(keys)
    terminal.see(EXTRAS)
    terminal.type(ENTER)
    assert terminal.end() == 0, terminal.shown
    assert answers(tmp_path / "bookshop")["frontends_share_site"] is answer


@pytest.mark.parametrize(("shares", "proposed"), [(True, "Y/n"), (False, "y/N")])
def test_update_proposes_the_present_answers(
    start: Start, render: Render, shares: bool, proposed: str
) -> None:
    project = render(
        project_name="Bookshop",
        frontend_origins=["https://a.example", "https://b.example"],
        allowed_methods=["GET"],
        allow_credentials=True,
        frontends_share_site=shares,  # worked out, it would be no
        exposed_headers="ETag",
        extras=["database"],
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
    terminal.see(f"{help_of('frontends_share_site')}   ({proposed})")
    terminal.type(ENTER)
    terminal.see(" » ● database")
    terminal.type(" " + ENTER)
    terminal.see(" » ○ database")  # refused: the message needs a terminal that tells its size
    terminal.type(" " + ENTER)
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
    strict = questions.replace("{{ origins_problem(frontend_origins) }}", "no longer accepted")
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
