"""Make the README's pictures again, with Debian's Chromium; ports 5173 and 8000 must be free.

pip install . --group docs && python docs/make_pictures.py
"""

import io
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from copier import run_copy
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

DOCS = Path(__file__).parent
FLASK = (sys.executable, "-m", "flask")

ANSWERS = {
    "frontend_origins": "http://localhost:5173, https://app.example.com",
    "allowed_methods": ["GET", "HEAD", "POST", "PUT", "PATCH"],
    "allow_credentials": True,
}

EXPLAIN = "explain https://app.example.com:8443 PUT /api/echo --content-type application/json"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        run_copy(str(DOCS.parent), project, data=ANSWERS, vcs_ref="HEAD", defaults=True, quiet=True)
        (DOCS / "explain.svg").write_text(terminal(project), encoding="utf-8")
        with running(project, "run"), running(project, "cors", "playground", "--no-open"):
            screenshot("light").save(DOCS / "playground.png", optimize=True)
            screenshot("dark").save(DOCS / "playground-dark.png", optimize=True)


@contextmanager
def running(project: Path, *command: str) -> Iterator[None]:
    process = subprocess.Popen([*FLASK, *command], cwd=project, stdout=subprocess.PIPE)
    try:
        assert process.stdout and process.stdout.readline(), f"flask {command} did not start"
        yield
    finally:
        process.terminate()
        process.wait()


def screenshot(scheme: Literal["light", "dark"]) -> Image.Image:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(
            viewport={"width": 1040, "height": 900},
            device_scale_factor=1.5,
            color_scheme=scheme,
            bypass_csp=True,  # for the font
        )
        page.goto("http://localhost:5173/")
        page.add_style_tag(content="body, small { font-family: 'Liberation Sans' !important; }")
        the_rest = page.get_by_role("button", name="Send POST")
        the_rest.click()
        expect(the_rest).to_be_hidden()
        end = page.locator("#changes").bounding_box()
        assert end
        picture = page.screenshot(
            full_page=True,
            clip={"x": 0, "y": 0, "width": 1040, "height": end["y"] + end["height"] + 24},
        )
        browser.close()
    # Few colours, so a palette does; the file is a third as large.
    return Image.open(io.BytesIO(picture)).convert("RGB").quantize(128, dither=Image.Dither.NONE)


# The dark page's ink and paper; the command prints no colours.
INK, PAPER = (231, 229, 223), (31, 34, 39)
THEME = TerminalTheme(PAPER, INK, [PAPER, *[INK] * 7])


def terminal(project: Path) -> str:
    """Return a terminal session with `flask cors explain` as SVG."""
    printed = subprocess.run(
        [*FLASK, "cors", *shlex.split(EXPLAIN)],
        cwd=project,
        capture_output=True,
        text=True,
    ).stdout
    console = Console(record=True, width=96, file=io.StringIO())
    console.print(Text(f"$ flask cors {EXPLAIN}"))
    console.print(Text(printed.rstrip()))
    svg = console.export_svg(title="flask cors explain", theme=THEME)
    # Nothing from elsewhere: the fonts are those of who looks.
    svg = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "ui-monospace, Menlo, Consolas")
    return re.sub(r"\s*\n\s*", "\n", svg)


if __name__ == "__main__":
    main()
