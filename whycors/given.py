"""Makes a page's request of what a person has: words, a console's text, or a copied command."""

import argparse
import json
import re
import shlex
import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NoReturn
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
from .explain import Explanation, as_text, explain, own_url, printable
from .origins import read_item, read_origin, shown, to_punycode
from .policies import policy_for
from .probe import public_base

# What a browser adds to each request, and copies, but a page's code did not set.
BROWSERS_OWN = re.compile(
    r"(?:cache-control|if-modified-since|if-none-match|pragma|priority|user-agent)\Z", re.IGNORECASE
)

CURL = re.compile(r"\s*(?:\$ )?curl(?:\.exe)?(?:\s|\Z)")
FETCH = re.compile(r"\A\s*(?:await )?fetch\(")
POWERSHELL = re.compile(r"\bInvoke-(?:WebRequest|RestMethod)\b")
# Quotes of bash; of these, $'…' has escapes. And those of JavaScript and PowerShell.
QUOTED = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*"|\$'((?:[^\\']|\\.)*)'""", re.DOTALL)
STRING = r'("(?:[^"\\]|\\.)*")'
TEXT = r'"((?:[^"`]|`.)*)"'


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


def read_curl(words: list[str]) -> tuple[list[str], str, str | None, str]:
    """Return the `page_options` for a curl command, its URL, its Origin if any, and its method."""
    given, _ = Parser().parse_known_args(words)
    # The value of an option that is not known here is among the words, too.
    patterns = ("https?://", r".*[/.]|localhost\b")
    found = (word for pattern in patterns for word in given.words if re.match(pattern, word))
    url = given.url or next(found, None)
    if url is None:
        raise click.UsageError("add the URL to the curl command")
    lines = [line.partition(":") for line in given.headers]
    headers = [(name.strip(), value.strip()) for name, _, value in lines]
    names = {name.lower(): value for name, value in headers}
    content_type = "multipart/form-data" if given.form else ""
    if given.data and not given.as_query:
        content_type = "application/x-www-form-urlencoded"
    if given.json is not None:
        content_type = "application/json"
        given.data.append(given.json)
    if content_type and "content-type" not in names:
        headers.append(("Content-Type", content_type))
    if given.user is not None:
        headers.append(("Authorization", f"Basic {b64encode(given.user.encode()).decode()}"))
    body = "&".join(given.data) if given.data else None
    if given.as_query and body is not None:
        url, body = f"{url}{'&' if '?' in url else '?'}{body}", None
    posts = body is not None or given.form is not None
    method = given.method or ("HEAD" if given.head else "POST" if posts else "GET")
    is_browsers = "sec-fetch-mode" in names or names.get("user-agent", "").startswith("Mozilla/")
    headers = [
        (name, value)
        for name, value in headers
        if not is_forbidden_header(name.lower()) and not (is_browsers and BROWSERS_OWN.match(name))
    ]
    if method == "OPTIONS" and "access-control-request-method" in names:  # a preflight
        method = names["access-control-request-method"]
        asked = names.get("access-control-request-headers", "").split(",")
        headers += [(name.strip(), "") for name in asked if name.strip()]
    page = [f"--header={name}: {value}" for name, value in headers]
    if body is not None:
        page.append(f"--data={body}")
    if given.cookie is not None or "cookie" in names:
        page.append("--credentials")
    url = url if "://" in url else f"http://{url}"
    return page, url, given.origin or names.get("origin"), method


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
        self.add_argument(*(f"-{one}" for one in "AemowxcE"), dest="ignored")
        self.add_argument(*(f"-{one}" for one in "LSfgiksv"), dest="ignored", action="store_true")

    def error(self, message: str) -> NoReturn:
        raise click.UsageError(f"correct the curl command: {message}")


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


def options(*found: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what adds several options to a command."""
    return lambda command: reduce(lambda added, option: option(added), found, command)


# What a page sends: `page_request` takes the values.
page_options = options(
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
)
# What names a page's request: `answers` takes the values.
request_options = options(
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
)


def page_request(
    origin: str,
    method: str,
    headers: Headers,
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
            args = [*self.from_curl(*read_curl(words)), *others]
        return super().parse_args(ctx, args)

    def from_curl(self, page: list[str], url: str, origin: str | None, method: str) -> list[str]:
        """Return this command's own arguments for what a copied command names."""
        if origin is None:
            raise click.UsageError(
                "add -H 'Origin: https://app.example.com', the origin of the page"
            )
        return [*page, url, origin, method]


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

    def from_curl(self, page: list[str], url: str, origin: str | None, method: str) -> list[str]:
        named = [] if origin is None else [f"--origin={origin}"]
        return [*page, *named, f"--method={method}", url]


# What a page may ask for by each of them is tried where a text names no method.
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

# The host of an origin that no page can have (RFC 6761, section 6.4), and that resembles none.
STRANGER = "0000000000000000000000000000.invalid"

# What browsers call differently, or an older version of the API answered otherwise.
ALIKE = (
    {Block.NO_ALLOW_ORIGIN, Block.SEVERAL_ALLOW_ORIGINS, Block.OTHER_ALLOW_ORIGIN},
    {Block.WILDCARD_WITH_CREDENTIALS, Block.NO_ALLOW_CREDENTIALS},
)

WEBSOCKET = (
    "Browsers do not apply CORS to WebSockets: they send the page's origin, and the server decides."
)


@dataclass(frozen=True)
class Answer:
    """What is to be said of a request, in the lines of `text`.

    `methods` and `origins` are those for which it holds, if what was given names none. The exit
    code is that of the explanation, but 2 for each of several answers that differ.
    """

    explanation: Explanation
    text: tuple[str, ...]
    exit_code: int
    methods: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """What is known of a page's request: None is what nothing names.

    `page` has the other arguments of `page_request`, and `notes` the lines before the answer.
    """

    app: Any
    url: str
    origin: str | None
    method: str | None
    said: Said | None
    page: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def stranger(self) -> str:
        return f"{urlsplit(self.url).scheme}://{STRANGER}"

    def explain(self, origin: str, method: str, send: bool = False) -> Explanation:
        request = page_request(origin, method, **self.page)
        if self.said and self.said.preflight and preflight_headers(request) is None:
            request = replace(request, preflight=True)
        return explain(self.app, self.url, request, self.said, send)


def answers(app: Any, *, words: tuple[str, ...], send: bool, **given: Any) -> list[Answer]:
    """Return what is to be said of a request, or of each request in a text that was pasted.

    `given` has the other values of `request_options`. What nothing names is tried, by requests
    that change nothing; where the answers differ, a terminal is asked. Raises UsageError.
    """
    if len(words) == 2:
        raise click.MissingParameter(param_type="argument", param_hint="'PATH'")
    if len(words) > 3:
        raise click.UsageError("put the browser's error in quotes")
    if len(words) == 3:
        given["origin"] = read_as(page_origin, "ORIGIN", words[0])
        given["method"] = read_as(page_method, "METHOD", words[1])
    text = words[-1]
    if len(words) == 3 or re.match(r"/|(?:https?|wss?)://\S+\Z", text):
        asked = [question(app, text, None, **given)]
    elif said := read(text):
        asked = [question(app, one.url, one, **given) for one in said]
    elif "ERR_CONNECTION_REFUSED" in text:
        raise click.UsageError("start the API, or correct the URL: the browser found nothing there")
    else:
        raise click.UsageError(
            "paste the whole error about CORS from the browser's console, or a curl command, or"
            f" write ORIGIN METHOD PATH, not {shown(text)}"
        )
    return [answer for one in asked for answer in answers_to(one, send)]


def question(
    app: Any,
    target: str | None,
    said: Said | None,
    *,
    origin: str | None,
    method: str | None,
    headers: Headers,
    credentials: bool,
    **sent: str | None,
) -> Question:
    """Return what is known of a request to a target. `sent` is the body and its type."""
    if target is None:
        raise click.UsageError("copy the line that has it: the text names no URL")
    if target.startswith("file:"):
        raise click.UsageError(
            "serve the page over http, as the frontend's development server does: browsers keep a"
            " page that is a file from what it imports"
        )
    notes = []
    if re.match("wss?:", target):
        notes.append(WEBSOCKET)
        target, method = f"http{target[2:]}", "GET"
    url = urljoin(own_url(app), read_as(path_or_url, "PATH", target))
    base = public_base(app, url) if hasattr(app, "url_map") else ""
    if base and base != urlsplit(url).path.rstrip("/"):  # and not for want of any route
        url = url.replace(base, "", 1)
        notes.append(f"Read as {url}: the app has this path, so a proxy strips {base}.")
    if said is None:
        policy = policy_for(app, url)
        if origin is None and policy and len(policy.origins) == 1 and "*" not in policy.origins[0]:
            origin = policy.origins[0]
        method = method or "GET"  # as fetch(url) does
    else:
        origin, method = origin or said.origin, method or said.method
        credentials = credentials or said.credentials
        if said.header and said.header.lower() not in {name.lower() for name, _ in headers}:
            headers += (page_header(said.header),)
        if said.browser is None and said.block is None:
            notes.append(
                "Only the URL was read: the language, or the wording, of the rest is not known."
            )
    if origin:
        origin = read_as(page_origin, "--origin", origin)
        check_other_origin(url, origin)
    page = {"headers": headers, "credentials": credentials, **sent}
    return Question(app, url, origin, method, said, page, tuple(notes))


def answers_to(asked: Question, send: bool) -> list[Answer]:
    """Return one answer for each cause, of what fits the browser's words."""
    if WEBSOCKET in asked.notes:
        return [to_websocket(asked)]
    if asked.origin and asked.method:
        return [to_known(asked, asked.explain(asked.origin, asked.method, send))]
    bodiless = BODILESS_METHODS if asked.page["body"] is not None else ()
    methods = [asked.method] if asked.method else [one for one in METHODS if one not in bodiless]
    origins = [asked.origin] if asked.origin else [*likely_origins(asked), asked.stranger]
    tried = [asked.explain(origin, method) for origin in origins for method in methods]
    known = [one for one in tried if one.known] or tried
    best = max(fit(one, asked.said) for one in known)
    fitting = [one for one in known if fit(one, asked.said) == best]
    if not best:
        fitting = [one for one in known if one.allowed] or known
    shared = set.intersection(*({*causes_of(one)} for one in fitting))
    groups: dict[str, list[Explanation]] = {}
    for one in fitting:
        causes = [cause for cause in causes_of(fitting[0]) if cause in shared] or causes_of(one)
        groups.setdefault(causes[0], []).append(one)
    is_of_others = not best and asked.origin is None and not fitting[0].allowed
    differing = (
        ["origin"]
        if is_of_others
        else [
            name
            for name in ("method", "origin")
            if getattr(asked, name) is None
            and len({frozenset(values(group, name)) for group in groups.values()}) > 1
        ]
    )
    if differing and sys.stdin.isatty():
        name = differing[0]
        convert = {"method": page_method, "origin": page_origin}[name]
        named: Any = {name: click.prompt(f"The page's {name}", value_proc=convert, err=True)}
        return answers_to(replace(asked, **named), send)
    if is_of_others:
        text = "What the browser said does not happen to pages that are known here: add --origin."
        return [Answer(fitting[0], (*asked.notes, text), 2)]
    if len(fitting) == 1 and known == tried and asked.stranger != fitting[0].request.origin:
        return [to_known(asked, fitting[0])]
    found = [to_group(asked, cause, group, tried) for cause, group in groups.items()]
    found[0] = replace(found[0], text=(*asked.notes, *found[0].text))
    if differing:
        hint = f"To know which it is, add {' and '.join(f'--{name}' for name in differing)}."
        found = [replace(one, exit_code=2) for one in found]
        found[-1] = replace(found[-1], text=(*found[-1].text, hint))
    return found


def to_known(asked: Question, one: Explanation) -> Answer:
    return Answer(one, (*asked.notes, *as_text(one)), one.exit_code)


def values(group: list[Explanation], name: str) -> tuple[str, ...]:
    """Return the methods or the origins of a group."""
    return tuple(dict.fromkeys(getattr(one.request, name) for one in group))


def reasons(one: Explanation) -> tuple[str, ...]:
    return one.advice.reasons if one.advice else ("the page may read the response",)


def causes_of(one: Explanation) -> list[str]:
    """Return the reasons as they are the same for each method and origin."""
    method = rf"\b{one.request.method}\b"
    return [re.sub(method, "M", text.replace(one.request.origin, "O")) for text in reasons(one)]


def to_group(
    asked: Question, cause: str, group: list[Explanation], tried: list[Explanation]
) -> Answer:
    """Return the answer for requests that have a cause in common, among all that were tried."""
    one = min(group, key=lambda one: len(reasons(one)))
    origins = () if asked.origin else values(group, "origin")
    methods = () if asked.method else values(group, "method")
    others = [other for other in tried if other.request.origin in values(group, "origin")]
    which = f" for {in_words(methods)}" if methods else ""
    if methods and all(other.known and cause in causes_of(other) for other in others):
        which = ", whatever the method"
    where = f" from {in_words(origins)}" if origins and asked.stranger not in origins else ""

    texts = {}
    for key, text in zip(causes_of(one), reasons(one), strict=True):
        text = text.replace(asked.stranger, "the page's origin")
        method = rf"(^|without ){one.request.method}\b"
        texts[key] = re.sub(method, r"\1the method", text) if methods else text
    verdict = "Allowed" if one.allowed else "Refused" if one.outcome.allowed else "Blocked"
    lines = [f"{verdict}{where}{which}: {texts.pop(cause)}"]
    lines += [f"Also: {text}" for text in texts.values()]
    shortest = [other for other in group if len(reasons(other)) == len(reasons(one))]
    changes = {other.advice.changes for other in shortest if other.advice}
    names_stranger = any(asked.stranger in change.text for found in changes for change in found)
    if names_stranger:
        lines.append("To see what to change, add --origin.")
    else:
        if len(changes) > 1:
            lines.append(f"If it was {one.request.method} (for others, add --method):")
        lines += map(str, one.advice.changes if one.advice else ())
    if one.allowed:
        lines += [f"Warning: {text.replace(asked.stranger, 'ORIGIN')}" for text in one.warnings]
    unknown = [other.request.method for other in others if not other.known]
    if unknown and not (asked.said and asked.said.preflight):
        lines.append(
            f"Not tried, since it may change data: {in_words(unknown)}. To try it, add"
            f" --method {unknown[0]} --send."
        )
    return Answer(one, tuple(map(printable, lines)), one.exit_code, methods, origins)


def in_words(items: Sequence[str]) -> str:
    found = list(dict.fromkeys(items))
    return " and ".join(filter(None, [", ".join(found[:-1]), found[-1]]))


def to_websocket(asked: Question) -> Answer:
    """Return what the policy says of a page's WebSocket: browsers leave it to the server."""
    one = asked.explain(asked.origin or asked.stranger, "GET")
    policy = policy_for(asked.app, asked.url)
    if one.outcome.verdict.block is Block.MIXED_CONTENT:
        text, code = f"Blocked: {reasons(one)[0].replace('call http', 'call ws')}", 1
    elif policy is None or "cors_policy" not in asked.app.extensions:
        text, code = "No CORS setting decides it here: see the server's log for its answer.", 2
    elif asked.origin is None:
        text, code = f"Pages on {in_words(policy.origins)} may connect. Add --origin.", 2
    elif policy.allows(asked.origin):
        text, code = f"{asked.origin} may connect: see the server's log for its answer.", 0
    else:
        text, code = f"Refused: {reasons(one)[0]}", 1
    changes = map(str, one.advice.changes) if one.advice and code == 1 else ()
    return Answer(one, (*asked.notes, printable(text), *map(printable, changes)), code)


def likely_origins(asked: Question) -> list[str]:
    """Return up to three origins that the app allows."""
    policy = policy_for(asked.app, asked.url)
    if policy is not None:
        named = list(policy.origins)
    else:
        exchanges = asked.explain(asked.stranger, "GET").outcome.exchanges
        named = [sent.response.get("access-control-allow-origin") or "" for sent in exchanges]
    samples = [one.replace(":*", ":3000").replace("*", "app") for one in named]
    own = http_origin(asked.url)
    found = [one for one in samples if read_origin(one) == (one, None) and http_origin(one) != own]
    return found[:3]


def fit(one: Explanation, said: Said | None) -> int:
    """Return how well an outcome fits what the browser said: 2, by its kind alone 1, or 0."""
    verdict = one.outcome.verdict
    if said is None or said.block is Block.LOCAL_NETWORK:
        return 2
    if one.allowed or said.block is None:
        return 0 if one.allowed else 2
    if verdict.during_preflight is not said.preflight and (
        said.preflight or said.browser == "Chrome"
    ):
        return 0
    foretold = [text for name, text in one.consoles.items() if said.browser in (name, None)]
    if said.block in (verdict.block, *(found.block for text in foretold for found in read(text))):
        return 2
    return int(any({verdict.block, said.block} <= kind for kind in ALIKE))


def read_as(convert: Callable[[str], str], hint: str, text: str) -> str:
    try:
        return convert(text)
    except click.BadParameter as error:
        error.param_hint = f"'{hint}'"
        raise
