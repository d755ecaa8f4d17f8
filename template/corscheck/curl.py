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


BOUNDARY = "flask-cors-form"


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


def curl_words(arguments: list[str]) -> list[str]:
    """Return the words after `curl`, none if the arguments are not a curl command."""
    if len(arguments) == 1 and (start := re.match(r"\s*(\$ )?curl(\.exe)?\s", arguments[0])):
        try:
            arguments = ["curl", *shlex.split(for_posix(arguments[0][start.end() :]))]
        except ValueError as error:
            raise NotCurl(f"copy the whole curl command: {error}") from None
    if arguments[:1] != ["curl"]:
        return []
    # "Copy all as cURL" has a command for each request.
    end = next((at for at, word in enumerate(arguments) if word in (";", "&", "&&")), None)
    return arguments[1:end]


def for_posix(text: str) -> str:
    """Return a command without what only bash, or only Windows' cmd, reads."""
    text = re.sub(r"[\\^]\r?\n", " ", text)
    if '^"' in text:
        text = re.sub(r"\^(.)", r"\1", text)
    return re.sub(r"\$'((?:[^'\\]|\\.)*)'", lambda found: shlex.quote(unescaped(found[1])), text)


def unescaped(text: str) -> str:
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape")


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
    if given.form:
        headers.append(("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"))
        given.data.append(multipart(given.form))
    names = {name.lower(): value for name, value in headers}
    if given.data and not given.as_query and "content-type" not in names:
        headers.append(("Content-Type", content_type))
    if given.user is not None:
        headers.append(("Authorization", f"Basic {b64encode(given.user.encode()).decode()}"))
    body = "&".join(given.data) if given.data else None
    if given.as_query and body is not None:
        url, body = f"{url}{'&' if '?' in url else '?'}{body}", None
    method = given.method or ("HEAD" if given.head else "GET" if body is None else "POST")
    if method == "OPTIONS" and "access-control-request-method" in names:  # a preflight
        method = names["access-control-request-method"]
        asked = names.get("access-control-request-headers", "").split(",")
        headers += [(name.strip(), "1") for name in asked if name.strip()]
    is_browsers = "sec-fetch-mode" in names or names.get("user-agent", "").startswith("Mozilla/")
    return Named(
        url if "://" in url else f"http://{url}",
        method,
        names.get("origin", given.origin),
        tuple(header for header in headers if is_pages(header[0].lower(), is_browsers)),
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
        self.add_argument("-F", "--form", action="append", default=[])
        self.add_argument("--json")
        self.add_argument("-G", "--get", dest="as_query", action="store_true")
        self.add_argument("-I", "--head", action="store_true")
        self.add_argument("-b", "--cookie")
        self.add_argument("-u", "--user")
        self.add_argument("--origin")  # not curl's: the page's, where no header names it
        for ignored in ("-A", "-e", "-m", "-o", "-w", "-x", "-c", "-E"):
            self.add_argument(ignored, dest="ignored")
        for ignored in ("-L", "-S", "-f", "-g", "-i", "-k", "-s", "-v"):
            self.add_argument(ignored, dest="ignored", action="store_true")

    def error(self, message: str) -> NoReturn:
        raise NotCurl(f"correct the curl command: {message}")


def multipart(fields: list[str]) -> str:
    """Return the body of a form (RFC 7578)."""
    parts = ""
    for name, _, value in (field.partition("=") for field in fields):
        parts += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
    return f"{parts}--{BOUNDARY}--\r\n"


def split_header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def is_pages(name: str, is_browsers: bool) -> bool:
    """Return whether the code of a page set a header, in lower case, rather than the browser."""
    return not (is_forbidden_header(name) or (is_browsers and name in BROWSERS_OWN))
