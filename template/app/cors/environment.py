"""The environment: reads .env, and finds variables that were meant for the policy but miss it."""

import difflib
import os
import re
from io import StringIO
from pathlib import Path

from click import ClickException
from dotenv import load_dotenv
from dotenv.parser import parse_stream

# flask-cors' own names, and two more. The environment sets each with FLASK_ before its name.
SETTINGS = (
    "CORS_ORIGINS",
    "CORS_METHODS",
    "CORS_SUPPORTS_CREDENTIALS",
    "CORS_ALLOW_HEADERS",
    "CORS_EXPOSE_HEADERS",
    "CORS_MAX_AGE",
    "CORS_PATHS",
    "CORS_PROTECTION",
)


def load(path: Path) -> None:
    """Set the variables of a .env file, if there is one; those that are set already win.

    Raises ClickException if the file cannot be read, if a line of it is not an assignment, or
    if a variable misses the policy: all of them would leave another policy in force.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except UnicodeDecodeError:
        raise ClickException(f"save {path} as UTF-8: it has another encoding") from None
    except OSError as error:
        raise ClickException(f"make {path} readable: {error.strerror}") from None
    if broken := broken_lines(text):
        lines = ", ".join(map(str, broken))
        raise ClickException(f"write NAME=value in {path}, line {lines}: it is something else")
    load_dotenv(stream=StringIO(text))
    if found := problems():
        raise ClickException("\n  ".join(["the environment is wrong:", *found]))


def broken_lines(text: str) -> list[int]:
    """Return the number of each line that sets no variable and is no comment."""
    broken = []
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            before = re.match(r"\s*", binding.original.string)
            broken.append(binding.original.line + (before[0].count("\n") if before else 0))
    return broken


def problems() -> list[str]:
    """Return a problem for each variable that was meant for the policy and misses its settings."""
    names = {f"FLASK_{setting}" for setting in SETTINGS}
    found = []
    for variable in sorted(set(os.environ) - names):
        plain = re.sub("_+", "_", variable.upper()).removeprefix("FLASK_")
        close = difflib.get_close_matches(f"FLASK_{plain}", names, n=1, cutoff=0.8)
        if plain.startswith("CORS_") and close:
            found.append(f"write {close[0]}, not {variable}: the app does not read that variable")
    return found
