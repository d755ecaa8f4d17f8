"""Reads a curl command, such as a browser's "Copy as cURL" makes, for what a page would send."""

import argparse
import re
import shlex
from base64 import b64encode
from dataclasses import dataclass
from typing import NoReturn

from .browser import Headers, is_forbidden_header

# What a browser adds to each request, and copies, but a page's code did not set.
BROWSERS_OWN = (
    "cache-control",
    "if-modified-since",
    "if-none-match",
    "pragma",
    "priority",
    "user-agent",
)

START = re.compile(r"\s*(?:\$ )?curl(?:\.exe)?(?:\s|\Z)")
# Quotes of bash; of these, $'…' has escapes.
QUOTED = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*"|\$'((?:[^\\']|\\.)*)'""", re.DOTALL)


class NotCurl(ValueError):
    """The text is no curl command that a page could follow. The message says what to write."""


@dataclass(frozen=True)
class Named:
    """What a curl command says of a request. `origin` is None if it does not name the page's."""

    url: str
    method: str
    origin: str | None
    headers: Headers
    body: str | None
    credentials: bool


def find_curl(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments that are not the curl command's, and the words after `curl`.

    The command is one argument, or all from `curl` on. Raises NotCurl.
    """
    for at, argument in enumerate(arguments):
        if start := START.match(argument):
            before, after = arguments[:at], arguments[at + 1 :]
            text = argument[start.end() :]
            return ([*before, *after], split_words(text)) if text else (before, after)
    return arguments, []


def split_words(text: str) -> list[str]:
    """Split what is after `curl` as a shell does, or cmd.exe if it is quoted for that."""
    text = re.sub(r"[\\^]\r?\n", " ", text)
    if re.match(r"""[^"']*\^["']""", text):
        text = re.sub(r"\^(.)", r"\1", text)
    try:
        words = shlex.split(QUOTED.sub(unescape, text))
    except ValueError as error:
        raise NotCurl(f"copy the whole curl command: {error}") from None
    if "curl" in words or "curl.exe" in words:
        raise NotCurl("copy one request as cURL: this text has several curl commands")
    return words


def unescape(quoted: re.Match[str]) -> str:
    """Return `$'…'`, whose escapes are nearly Python's, in plain quotes; others as they are."""
    if quoted[1] is None:
        return quoted[0]
    text = quoted[1].encode("latin-1", errors="backslashreplace").decode("unicode_escape")
    # Firefox writes a character beyond U+FFFF as two surrogates.
    return shlex.quote(text.encode("utf-16", errors="surrogatepass").decode("utf-16"))


def read_curl(words: list[str]) -> Named:
    """Return what a curl command names. Raises NotCurl."""
    given, _ = Parser().parse_known_args(words)
    # The value of an option that is not known here is among the words, too.
    patterns = ("https?://", r".*[/.]|localhost\b")
    found = (word for pattern in patterns for word in given.words if re.match(pattern, word))
    url = given.url or next(found, None)
    if url is None:
        raise NotCurl("add the URL to the curl command")
    headers = [split_header(line) for line in given.headers]
    content_type = "application/x-www-form-urlencoded"
    if given.json is not None:
        content_type = "application/json"
        given.data.append(given.json)
    names = {name.lower(): value for name, value in headers}
    if given.data and not given.as_query and "content-type" not in names:
        headers.append(("Content-Type", content_type))
    if given.form and "content-type" not in names:
        headers.append(("Content-Type", "multipart/form-data"))
    if given.user is not None:
        headers.append(("Authorization", f"Basic {b64encode(given.user.encode()).decode()}"))
    body = "&".join(given.data) if given.data else None
    if given.as_query and body is not None:
        url, body = f"{url}{'&' if '?' in url else '?'}{body}", None
    posts = body is not None or given.form is not None
    method = given.method or ("HEAD" if given.head else "POST" if posts else "GET")
    is_browsers = "sec-fetch-mode" in names or names.get("user-agent", "").startswith("Mozilla/")
    headers = [header for header in headers if is_pages(header[0].lower(), is_browsers)]
    if method == "OPTIONS" and "access-control-request-method" in names:  # a preflight
        method = names["access-control-request-method"]
        asked = names.get("access-control-request-headers", "").split(",")
        headers += [(name.strip(), "") for name in asked if name.strip()]
    return Named(
        url if "://" in url else f"http://{url}",
        method,
        given.origin or names.get("origin"),
        tuple(headers),
        body,
        given.cookie is not None or "cookie" in names,
    )


class Parser(argparse.ArgumentParser):
    """Knows those of curl's options that decide what a page would send, and their values."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.add_argument("words", nargs="*")
        self.add_argument("--url")
        self.add_argument("-X", "--request", dest="method")
        self.add_argument("-H", "--header", dest="headers", action="append", default=[])
        data = ("--data", "--data-raw", "--data-ascii", "--data-binary", "--data-urlencode")
        self.add_argument("-d", *data, dest="data", action="append", default=[])
        self.add_argument("--json")
        self.add_argument("-F", "--form", "--form-string", action="append")
        self.add_argument("--origin")  # not curl's: it may be written last
        self.add_argument("-G", "--get", dest="as_query", action="store_true")
        self.add_argument("-I", "--head", action="store_true")
        self.add_argument("-b", "--cookie")
        self.add_argument("-u", "--user")
        for ignored in ("-A", "-e", "-m", "-o", "-w", "-x", "-c", "-E"):
            self.add_argument(ignored, dest="ignored")
        for ignored in ("-L", "-S", "-f", "-g", "-i", "-k", "-s", "-v"):
            self.add_argument(ignored, dest="ignored", action="store_true")

    def error(self, message: str) -> NoReturn:
        raise NotCurl(f"correct the curl command: {message}")


def split_header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def is_pages(name: str, is_browsers: bool) -> bool:
    """Return whether the code of a page set a header, in lower case, rather than the browser."""
    return not (is_forbidden_header(name) or (is_browsers and name in BROWSERS_OWN))
