"""Makes a page's request of what a person has: words, a console's text, or a copied command."""

import argparse
import json
import re
import shlex
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urljoin, urlsplit

import click

from .browser import (
    BODILESS_METHODS,
    DEFAULT_PORTS,
    Block,
    Headers,
    PageRequest,
    http_origin,
    is_forbidden_header,
    normalize_method,
    preflight_headers,
)
from .consoles import Said, read
from .explain import own_url
from .origins import read_item, read_origin, shown, to_punycode
from .policies import Policy, policy_for

if TYPE_CHECKING:
    from flask import Flask

# What a browser adds to each request, and copies, but a page's code did not set.
BROWSERS_OWN = (
    "cache-control",
    "if-modified-since",
    "if-none-match",
    "pragma",
    "priority",
    "user-agent",
)

CURL = re.compile(r"\s*(?:\$ )?curl(?:\.exe)?(?:\s|\Z)")
FETCH = re.compile(r"\A\s*(?:await )?fetch\(")
POWERSHELL = re.compile(r"\bInvoke-(?:WebRequest|RestMethod)\b")
# Quotes of bash; of these, $'…' has escapes. And those of JavaScript and PowerShell.
QUOTED = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*"|\$'((?:[^\\']|\\.)*)'""", re.DOTALL)
STRING = r'("(?:[^"\\]|\\.)*")'
TEXT = r'"((?:[^"`]|`.)*)"'


@dataclass(frozen=True)
class Named:
    """What a copied command says of a request. `origin` is None if it does not name the page's."""

    url: str
    method: str
    origin: str | None
    headers: Headers
    body: str | None
    credentials: bool


def find_copied(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments that are not the copied command's, and that as the words after `curl`.

    The command is one argument, or all from `curl` on. Raises UsageError.
    """
    for at, argument in enumerate(arguments):
        before, after = arguments[:at], arguments[at + 1 :]
        if start := CURL.match(argument):
            text = argument[start.end() :]
            return ([*before, *after], split_words(text)) if text else (before, after)
        for pattern, read_words in ((FETCH, fetch_words), (POWERSHELL, powershell_words)):
            if pattern.search(argument):
                return [*before, *after], read_words(argument)
    return arguments, []


def fetch_words(text: str) -> list[str]:
    """Return what a browser copied as `fetch(URL, {…})`, in which all is JSON."""
    try:
        ((url, options),) = re.findall(
            rf"fetch\(\s*{STRING}\s*(?:,\s*(\{{.*\}})\s*)?\)", text, re.DOTALL
        )
        url, options = json.loads(url), json.loads(options or "{}")
    except ValueError:
        raise click.UsageError("copy the whole fetch, as the browser does") from None
    headers = {"Sec-Fetch-Mode": "cors", **options.get("headers", {})}
    if referrer := options.get("referrer"):
        headers.setdefault("Origin", "{0.scheme}://{0.netloc}".format(urlsplit(referrer)))
    cookie = ["-b", ""] if options.get("credentials") == "include" else []
    return to_words(url, options.get("method"), headers, options.get("body"), cookie)


def powershell_words(text: str) -> list[str]:
    """Return what a browser copied as PowerShell: its strings escape with a backtick."""

    def plain(quoted: str) -> str:
        quoted = re.sub(r"\$\(\[char\](\d+)\)", lambda code: chr(int(code[1])), quoted)
        return re.sub(r"`(.)", r"\1", quoted, flags=re.DOTALL)

    options = re.findall(rf'-(Uri|Method|ContentType|Body)\s[^"\n]*{TEXT}', text)
    named = {name: plain(value) for name, value in options}
    if "Uri" not in named:
        raise click.UsageError("copy the whole command: its -Uri is not here")
    headers = {"Sec-Fetch-Mode": "cors"}
    headers |= {
        plain(name): plain(value) for name, value in re.findall(rf"{TEXT}\s*=\s*{TEXT}", text)
    }
    if "ContentType" in named:
        headers["Content-Type"] = named["ContentType"]
    cookie = ["-b", ""] if "Cookies.Add" in text else []
    return to_words(named["Uri"], named.get("Method"), headers, named.get("Body"), cookie)


def to_words(
    url: str, method: str | None, headers: dict[str, str], body: str | None, others: list[str]
) -> list[str]:
    lines = [f"-H{name}: {value}" for name, value in headers.items()]
    asked = [f"-X{method}"] if method else []
    return [*asked, *lines, *([f"-d{body}"] if body else []), *others, "--url", url]


def split_words(text: str) -> list[str]:
    """Split what is after `curl` as a shell does, or cmd.exe if it is quoted for that."""
    if re.match(r"""[^"']*\^["']""", text):
        # A line that ends with ^ goes on; an empty one after it is a line break in the text.
        text = re.sub(r"\^\r?\n(\r?\n)?", lambda end: "\n" if end[1] else " ", text)
        text = re.sub(r"\^(.)", r"\1", text)
    try:
        words = shlex.split(QUOTED.sub(unescape, re.sub(r"[\\^]\r?\n", " ", text)))
    except ValueError as error:
        raise click.UsageError(f"copy the whole curl command: {error}") from None
    if "curl" in words or "curl.exe" in words:
        raise click.UsageError("copy one request as cURL: this text has several curl commands")
    return words


def unescape(quoted: re.Match[str]) -> str:
    """Return `$'…'`, whose escapes are nearly Python's, in plain quotes; others as they are."""
    if quoted[1] is None:
        return quoted[0]
    text = quoted[1].encode("latin-1", errors="backslashreplace").decode("unicode_escape")
    # Firefox writes a character beyond U+FFFF as two surrogates.
    return shlex.quote(text.encode("utf-16", errors="surrogatepass").decode("utf-16"))


def read_curl(words: list[str]) -> Named:
    """Return what a curl command names. Raises UsageError."""
    given, _ = Parser().parse_known_args(words)
    # The value of an option that is not known here is among the words, too.
    patterns = ("https?://", r".*[/.]|localhost\b")
    found = (word for pattern in patterns for word in given.words if re.match(pattern, word))
    url = given.url or next(found, None)
    if url is None:
        raise click.UsageError("add the URL to the curl command")
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
        raise click.UsageError(f"correct the curl command: {message}")


def split_header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def is_pages(name: str, is_browsers: bool) -> bool:
    """Return whether the code of a page set a header, in lower case, rather than the browser."""
    return not (is_forbidden_header(name) or (is_browsers and name in BROWSERS_OWN))


def write(instead: str, item: str, reason: str) -> click.BadParameter:
    return click.BadParameter(f"write {instead}, not {shown(item)}: {reason}")


def page_origin(text: str) -> str:
    """The origin of a page, `null` included."""
    return text if text == "null" else one_origin(text)


def one_origin(text: str) -> str:
    origin, problem = read_origin(text)
    if problem is not None:
        raise click.BadParameter(problem)
    if "*" in origin:
        raise write("one origin such as https://app.example.com", text, "it stands for several")
    return origin


def page_method(text: str) -> str:
    """A method as the page writes it, because browsers do not upper-case every method."""
    method, problem = read_item("method", text)
    if problem is not None:
        raise click.BadParameter(problem)
    return text if text.upper() == method else method


def page_header(text: str) -> tuple[str, str]:
    """A header that a page may set: `Name: value`, or its name alone."""
    start, _, value = text.partition(":")
    name, problem = read_item("allowed header", start)
    if problem is not None:
        raise click.BadParameter(problem)
    if name == "*":
        raise write("a name such as X-Request-ID", start, "it stands for every header")
    if not re.match(r"[\t\x20-\x7e\x80-\xff]*\Z", value):
        raise write(f"{name}: value", text, "a header is one line of Latin-1 text")
    return name, value.strip(" \t") or "1"


def media_type(text: str) -> str:
    if not re.match(r"[\w.+-]+/[\w.+-]+[\x20-\x7e]*\Z", text, re.ASCII):
        raise write("a media type such as application/json", text, "it is not a media type")
    return text


def path_or_url(text: str) -> str:
    """A path of this app, which may have a query, or a whole URL as a console prints it."""
    if re.match(r"https?:", text, re.IGNORECASE):
        return api_url(text)
    if not text.startswith("/"):
        raise write(f"/{text}", text, "a path starts with a slash")
    return percent_encoded(f"/{text.lstrip('/')}")  # as Flask routes it


def api_url(text: str) -> str:
    """The URL of a deployed API."""
    percent_encoded(text)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise click.BadParameter(f"correct {shown(text)}: {error}") from None
    example = "a URL such as https://api.example.com/api/echo"
    if "://" not in text and (bare := text.lstrip("/")):
        raise write(f"https://{bare}", text, "a URL has a scheme")
    if parts.scheme not in DEFAULT_PORTS:
        raise write(example, text, "the scheme must be http or https")
    if not host or port == 0:
        raise write(example, text, "it names no host to call")
    if parts.username is not None:
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        raise write(bare, text, "a page cannot call a URL with a user name")
    if not host.isascii():
        netloc = to_punycode(host) + (f":{port}" if port else "")
        raise write(parts._replace(netloc=netloc).geturl(), text, "the host must be in punycode")
    return text


def percent_encoded(text: str) -> str:
    """Return a text that can be in a URL as it is."""
    if " " in text or not text.isprintable():
        encoded = quote(text.strip(), safe="/:?#[]@!$&'()*+,;=%~", errors="surrogateescape")
        raise write(encoded, text, "spaces and control characters must be percent-encoded")
    return text


def check_other_origin(url: str, origin: str) -> None:
    """Refuse a page on the API's own origin, since browsers check nothing there."""
    if http_origin(url) == http_origin(origin):
        raise click.BadParameter(
            f"write the origin of the page, not {origin}: the API is there, and browsers check"
            " nothing within one origin",
            param_hint="'ORIGIN'",
        )


def page_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add the options for what a page sends. `page_request` takes their values."""
    for option in (
        click.option(
            "--credentials", is_flag=True, help="Send credentials, as credentials: 'include' does."
        ),
        click.option("--data", "body", metavar="BODY", help="The body that the page sends."),
        click.option(
            "--content-type",
            metavar="TYPE",
            type=media_type,
            help="Content-Type of the body, e.g. application/json.",
        ),
        click.option(
            "--header",
            "headers",
            metavar="'NAME: VALUE'",
            multiple=True,
            type=page_header,
            help="A header that the page sets; its name suffices. Can be repeated.",
        ),
    ):
        command = option(command)
    return command


def page_request(
    origin: str,
    method: str,
    headers: tuple[tuple[str, str], ...],
    content_type: str | None,
    body: str | None,
    credentials: bool,
) -> PageRequest:
    """Return the request that a page makes by these values of `page_options`."""
    if body is not None and normalize_method(method) in BODILESS_METHODS:
        raise click.BadParameter(
            f"remove it: no page can send a body with {normalize_method(method)}",
            param_hint="'--data'",
        )
    if content_type is not None:
        headers += (("Content-Type", content_type),)
    elif body is not None and "content-type" not in {name.lower() for name, _ in headers}:
        headers += (("Content-Type", "text/plain;charset=UTF-8"),)  # what browsers add
    return PageRequest(origin, method, headers, credentials, body=body)


class TakesCurl(click.Command):
    """A command that also takes what a browser copies: `… curl URL -H …`, fetch or PowerShell.

    The copied command can be one argument as well. Options of this command that are beside it win.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        others, words = find_copied(args)
        if words:
            args = [*self.from_curl(read_curl(words)), *others]
        return super().parse_args(ctx, args)

    def from_curl(self, named: Named) -> list[str]:
        """Return this command's own arguments for what a curl command names."""
        if named.origin is None:
            raise click.UsageError(
                "add -H 'Origin: https://app.example.com', the origin of the page"
            )
        return [*page_arguments(named), named.url, named.origin, named.method]


def page_arguments(named: Named) -> list[str]:
    """Return the options for what a page sends, as `page_options` reads them."""
    found = [f"--header={name}: {value}" for name, value in named.headers]
    if named.body is not None:
        found.append(f"--data={named.body}")
    return [*found, "--credentials"] if named.credentials else found


class TakesTexts(TakesCurl):
    """A command that reads a text from standard input where no word, or `-`, is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, [*args])
        if ctx.params["words"] not in ((), ("-",)):
            return rest
        if sys.stdin.isatty():
            click.echo("Paste the browser's error, then press Enter and Ctrl+D:", err=True)
        options = [argument for argument in args if argument != "-"]
        ctx.params.clear()
        return super().parse_args(ctx, [*options, "--", sys.stdin.read()])

    def from_curl(self, named: Named) -> list[str]:
        origin = [] if named.origin is None else [f"--origin={named.origin}"]
        return [*page_arguments(named), *origin, f"--method={named.method}", named.url]


def request_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add what names a page's request. `asked` takes the values."""
    for option in (
        page_options,
        click.option(
            "--method",
            metavar="METHOD",
            type=page_method,
            help="The method, if TEXT does not name it.",
        ),
        click.option(
            "--origin",
            metavar="ORIGIN",
            type=page_origin,
            help="The page's origin, if TEXT does not name it.",
        ),
        click.argument("words", nargs=-1, metavar="[ORIGIN METHOD PATH | TEXT]"),
    ):
        command = option(command)
    return command


@click.command(cls=TakesTexts)
@request_options
def read_options(**_: Any) -> None:
    """Its context has the values for `asked`."""


def ask(name: str, convert: Callable[[str], str], default: str | None = None) -> str:
    """Ask at the terminal. Raises UsageError where nobody is there to answer."""
    if not sys.stdin.isatty():
        missing = "copy the line that has it" if name == "URL" else f"add --{name}"
        raise click.UsageError(f"{missing}: the text names no {name}")
    question = f"{name[0].upper()}{name[1:]}"
    answer: str = click.prompt(question, default=default, value_proc=convert, err=True)
    return answer


def asked(
    app: "Flask",
    *,
    words: tuple[str, ...],
    origin: str | None,
    method: str | None,
    headers: Headers,
    credentials: bool,
    ask: Callable[..., str] = ask,
    **sent: str | None,
) -> tuple[str, PageRequest, Said | None]:
    """Return a URL, a page's request for it, and what the console said, if that was pasted.

    `sent` is the body and its type. `ask` gets what the words and the options do not name.
    """
    said = None
    target: str | None = words[-1]
    if len(words) == 3:
        origin = read_as(page_origin, "ORIGIN", words[0])
        method = read_as(page_method, "METHOD", words[1])
    elif len(words) > 1:
        missing = click.MissingParameter(param_type="argument", param_hint="'PATH'")
        raise missing if len(words) == 2 else click.UsageError("put the browser's error in quotes")
    elif not re.match(r"/|https?://\S+\Z", words[0]):
        said = read_text(words[0])
        target, origin, method = said.url, origin or said.origin, method or said.method
        credentials = credentials or said.credentials
        if said.header and said.header.lower() not in {name.lower() for name, _ in headers}:
            headers += (page_header(said.header),)
    target = target or ask("URL", path_or_url)
    if target.startswith("file:"):
        raise click.UsageError(
            "serve the page over http, as the frontend's development server does: browsers keep a"
            " page that is a file from what it imports"
        )
    url = urljoin(own_url(app), read_as(path_or_url, "PATH", target))
    origin = origin or only_origin(policy_for(app, url)) or ask("origin", page_origin)
    origin = read_as(page_origin, "--origin", origin)
    default = None if said and said.block is Block.METHOD else "GET"
    method = method or ask("method", page_method, default)
    check_other_origin(url, origin)
    request = page_request(origin, method, headers, credentials=credentials, **sent)
    if said and said.preflight and preflight_headers(request) is None:
        request = replace(request, preflight=True)
    return url, request, said


def read_text(text: str) -> Said:
    said = next(iter(read(text)), None)
    if said is None and "ERR_CONNECTION_REFUSED" in text:
        raise click.UsageError("start the API, or correct the URL: the browser found nothing there")
    if said is None:
        raise click.UsageError(
            "paste the whole error about CORS from the browser's console, or a curl command, or"
            f" write ORIGIN METHOD PATH, not {shown(text)}"
        )
    return said


def read_as(convert: Callable[[str], str], hint: str, text: str) -> str:
    try:
        return convert(text)
    except click.BadParameter as error:
        error.param_hint = f"'{hint}'"
        raise


def only_origin(policy: Policy | None) -> str | None:
    """Return the origin that a policy allows if there is no other."""
    if policy is None or len(policy.origins) != 1:
        return None
    (origin, *others) = policy.origins
    return None if others or "*" in origin else origin
