"""Makes a page's request of what a person has: words, a console's text, or a copied command."""

import argparse
import json
import re
import shlex
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import click
from click import Option

from . import browser
from .browser import Block, Headers, PageRequest
from .consoles import Said, read
from .explain import Explanation, as_text, explain, own_url, printable
from .origins import read_item, read_origin, sample, shown, to_punycode
from .policies import Policy, policy_for
from .probe import in_app

# What a browser adds to each request, and copies, but a page's code did not set.
BROWSERS_OWN = re.compile(
    "cache-control|if-modified-since|if-none-match|pragma|priority|user-agent", re.IGNORECASE
)

# Quotes of bash; of these, $'…' has escapes. And those of PowerShell.
QUOTED = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*"|\$'((?:[^\\']|\\.)*)'""", re.DOTALL)
TEXT = r'"((?:[^"`]|`.)*)"'

# Of curl's options with values, those that decide what a page would send, and usual others.
# The last is not curl's: it may be written after the command.
CURLS_OPTIONS = """\
--url, -X --request, -H --header, -b --cookie, -u --user, -F --form --form-string, --json,
-d --data --data-raw --data-ascii --data-binary --data-urlencode,
-A, -e, -m, -o, -w, -x, -c, -E, --origin"""
CURLS_FLAGS = "-G --get, -I --head, -L, -S, -f, -g, -i, -k, -s, -v"


# What is copied: the URL, the method, the headers (a Cookie where cookies are sent), and the body.
Copied = tuple[str, str, dict[str, str], str | None]


def as_words(
    url: str, method: str, headers: dict[str, str], body: str | None
) -> tuple[list[str], str, str, str]:
    """Return a copied request as one would type it: options, the URL, the origin and the method.

    The origin is empty where no header names it. The options have those headers that the page's
    code can have set.
    """
    named = {name.lower(): value for name, value in headers.items()}
    is_browsers = "sec-fetch-mode" in named or named.get("user-agent", "").startswith("Mozilla/")
    options = [
        f"--header={name}: {value}"
        for name, value in headers.items()
        if not browser.is_forbidden_header(name.lower())
        and not (is_browsers and BROWSERS_OWN.fullmatch(name))
    ]
    if method == "OPTIONS" and "access-control-request-method" in named:  # a preflight
        method = named["access-control-request-method"]
        asked = named.get("access-control-request-headers", "")
        options += [f"--header={name}" for name in re.findall(r"[^\s,]+", asked)]
    options += ["--credentials"] if "cookie" in named else []
    options += [] if body is None else [f"--data={body}"]
    return options, url, named.get("origin", ""), method


def read_fetch(text: str) -> Copied:
    """Read `fetch(URL, {…})`, in which a browser writes all as JSON."""
    call = r'fetch\(\s*("(?:[^"\\]|\\.)*")\s*(?:,\s*(\{.*\})\s*)?\)'
    ((url, given),) = re.findall(call, text, re.DOTALL)
    options = json.loads(given or "{}")
    headers = {"Sec-Fetch-Mode": "cors", "Origin": options.get("referrer", "")}
    headers |= {"Cookie": ""} if options.get("credentials") == "include" else {}
    headers |= options.get("headers", {})
    return json.loads(url), options.get("method", "GET"), headers, options.get("body")


def read_powershell(text: str) -> Copied:
    """Read `Invoke-WebRequest`, in whose strings a backtick escapes."""

    def plain(quoted: str) -> str:
        quoted = re.sub(r"\$\(\[char\](\d+)\)", lambda code: chr(int(code[1])), quoted)
        return re.sub(r"`(.)", r"\1", quoted, flags=re.DOTALL)

    options = re.findall(rf'-(Uri|Method|ContentType|Body)\s[^"\n]*{TEXT}', text)
    named = {name: plain(value) for name, value in options}
    headers = {"Sec-Fetch-Mode": "cors"} | ({"Cookie": ""} if "Cookies.Add" in text else {})
    for name, value in re.findall(rf"{TEXT}\s*=\s*{TEXT}", text):
        headers[plain(name)] = plain(value)
    if "ContentType" in named:
        headers["Content-Type"] = named["ContentType"]
    return named["Uri"], named.get("Method", "GET"), headers, named.get("Body")


def unescape(quoted: re.Match[str]) -> str:
    """Return `$'…'`, whose escapes are nearly Python's, in plain quotes; others as they are."""
    if quoted[1] is None:
        return quoted[0]
    text = quoted[1].encode("latin-1", errors="backslashreplace").decode("unicode_escape")
    # Firefox writes a character beyond U+FFFF as two surrogates.
    return shlex.quote(text.encode("utf-16", errors="surrogatepass").decode("utf-16"))


def read_curl(text: str) -> Copied:
    """Read a command of curl as a shell does, or cmd.exe if it is quoted for that."""
    if re.match(r"""[^"']*\^["']""", text):
        # A line that ends with ^ goes on; an empty one after it is a line break in the text.
        text = re.sub(r"\^\r?\n(\r?\n)?", lambda end: "\n" if end[1] else " ", text)
        text = re.sub(r"\^(.)", r"\1", text)
    words = shlex.split(QUOTED.sub(unescape, re.sub(r"[\\^]\r?\n", " ", text)))
    curl, *words = [word for word in words if word != "$"]
    if curl in words:
        raise ValueError("these are several commands")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("words", nargs="*")
    for names in CURLS_OPTIONS.split(","):
        parser.add_argument(*names.split(), action="append", default=[])
    for names in CURLS_FLAGS.split(","):
        parser.add_argument(*names.split(), action="store_true")
    given, _ = parser.parse_known_args(words)
    # The value of an option that is not known here is among the words, too.
    likely = [word for word in given.words if re.match(r".*[/.]|localhost\b", word)]
    likely.sort(key=lambda word: not re.match("https?://", word))
    url = [*given.url, *likely][0]
    url = url if "://" in url else f"http://{url}"
    lines = [line.partition(":") for line in given.header]
    headers = {name.strip(): value.strip() for name, _, value in lines}
    users = [f"Basic {b64encode(user.encode()).decode()}" for user in given.user]
    others = {"Cookie": given.cookie, "Origin": given.origin, "Authorization": users}
    headers |= {name: values[-1] for name, values in others.items() if values}
    data = [*given.data, *given.json]
    body = "&".join(data) if data else None
    if given.get and body is not None:
        url, body = f"{url}{'&' if '?' in url else '?'}{body}", None
    posts = body is not None or given.form
    if posts and "content-type" not in {name.lower() for name in headers}:
        encoding = "multipart/form-data" if given.form else "application/x-www-form-urlencoded"
        headers["Content-Type"] = "application/json" if given.json else encoding
    usual = "HEAD" if given.head else "POST" if posts else "GET"
    return url, [usual, *given.request][-1], headers, body


FORMS: dict[str, Callable[[str], Copied]] = {
    r"\A\s*(?:\$ )?curl(?:\.exe)?\s": read_curl,
    r"\A\s*(?:await )?fetch\(": read_fetch,
    r"\bInvoke-(?:WebRequest|RestMethod)\b": read_powershell,
}


def accepted(found: tuple[str, str | None]) -> str:
    """Return what was read by the table of rules. Raises BadParameter if it has a problem."""
    text, problem = found
    if problem is not None:
        raise click.BadParameter(problem)
    return text


def write(instead: str, item: str, reason: str) -> click.BadParameter:
    return click.BadParameter(f"write {instead}, not {shown(item)}: {reason}")


def page_origin(text: str) -> str:
    """The origin of a page, `null` included."""
    return text if text == "null" else one_origin(text)


def one_origin(text: str) -> str:
    origin = accepted(read_origin(text))
    if "*" in origin:
        raise write("one origin such as https://app.example.com", text, "it stands for several")
    return origin


def page_method(text: str) -> str:
    """A method as the page writes it, because browsers do not upper-case every method."""
    method = accepted(read_item("method", text))
    return text if text.upper() == method else method


def page_header(text: str) -> tuple[str, str]:
    """A header that a page may set: `Name: value`, or its name alone."""
    start, _, value = text.partition(":")
    name = accepted(read_item("allowed header", start))
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
    if "://" not in text and (bare := text.lstrip("/")):
        raise write(f"https://{bare}", text, "a URL has a scheme")
    try:
        parts = urlsplit(text)
        if parts.scheme not in browser.DEFAULT_PORTS or not parts.hostname or parts.port == 0:
            raise ValueError("the scheme must be http or https, and a host must follow")
    except ValueError as error:
        raise write("a URL such as https://api.example.com/api/echo", text, str(error)) from None
    host, *port = parts.netloc.rpartition("@")[2].partition(":")
    netloc = "".join([to_punycode(host), *port])
    if netloc != parts.netloc:
        reason = "a page sends no user name, and the host must be in punycode"
        raise write(parts._replace(netloc=netloc).geturl(), text, reason)
    return text


def percent_encoded(text: str) -> str:
    """Return a text that can be in a URL as it is."""
    if " " in text or not text.isprintable():
        encoded = quote(text.strip(), safe="/:?#[]@!$&'()*+,;=%~", errors="surrogateescape")
        raise write(encoded, text, "spaces and control characters must be percent-encoded")
    return text


def check_other_origin(url: str, origin: str) -> None:
    """Refuse a page on the API's own origin, since browsers check nothing there."""
    if browser.http_origin(url) == browser.http_origin(origin):
        reason = "the API is there, and browsers check nothing within one origin"
        raise click.BadParameter(
            f"write the origin of the page, not {origin}: {reason}", param_hint="'ORIGIN'"
        )


def page_options(many: bool = False) -> list[click.Parameter]:
    """Return the options for a page's request, or for several: `page_request` takes the values."""
    which = "That of the page. Can be repeated." if many else "If TEXT does not name it."
    return [
        Option(["--origin"], metavar="ORIGIN", type=page_origin, multiple=many, help=which),
        Option(["--method"], metavar="METHOD", type=page_method, multiple=many, help=which),
        Option(
            ["--header", "headers"],
            metavar="'NAME: VALUE'",
            multiple=True,
            type=page_header,
            help="A header that the page sets; its name suffices. Can be repeated.",
        ),
        Option(["--content-type"], metavar="TYPE", type=media_type, help="That of the body."),
        Option(["--data", "body"], metavar="BODY", help="The body that the page sends."),
        Option(["--credentials"], is_flag=True, help="Send cookies: credentials: 'include' does."),
    ]


def page_request(
    origin: str,
    method: str,
    headers: Headers,
    content_type: str | None,
    body: str | None,
    credentials: bool,
) -> PageRequest:
    """Return the request that a page makes by these values of `page_options`."""
    sent = browser.normalize_method(method)
    if body is not None and sent in browser.BODILESS_METHODS:
        problem = f"remove it: no page can send a body with {sent}"
        raise click.BadParameter(problem, param_hint="'--data'")
    if content_type is None and "content-type" not in {name.lower() for name, _ in headers}:
        content_type = "text/plain;charset=UTF-8" if body is not None else None  # what browsers add
    headers += (("Content-Type", content_type),) if content_type is not None else ()
    return PageRequest(origin, method, headers, credentials, body=body)


class TakesCurl(click.Command):
    """A command that also takes what a browser copies: `… curl URL -H …`, fetch or PowerShell.

    The copied command is one argument, or all from `curl` on. Options beside it win.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        start = next((at for at, word in enumerate(args) if word in ("curl", "curl.exe")), None)
        if start is not None:
            args = [*args[:start], shlex.join(args[start:])]
        copied = ((word, form) for word in args for form in FORMS if re.search(form, word))
        if found := next(copied, None):
            word, form = found
            try:
                options, *request = as_words(*FORMS[form](word))
            except (LookupError, ValueError, argparse.ArgumentError):
                problem = "copy one whole request, with its URL, as the browser does"
                raise click.UsageError(problem) from None
            args.remove(word)
            args = [*options, *self.words(*request), *args]
        return super().parse_args(ctx, args)

    def words(self, url: str, origin: str, method: str) -> list[str]:
        """Return how this command is told where a request goes, and whose it is."""
        if not origin:
            example = "-H 'Origin: https://app.example.com'"
            raise click.UsageError(f"add {example}, the origin of the page")
        return [url, origin, method]


class TakesTexts(TakesCurl):
    """A command that reads a text from standard input where no word, or `-`, is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, [*args])
        if ctx.params["words"] not in ((), ("-",)):
            return rest
        if sys.stdin.isatty():
            click.echo("Paste the browser's error, then press Enter and Ctrl+D:", err=True)
        ctx.params.clear()
        options = [word for word in args if word != "-"]
        return super().parse_args(ctx, [*options, "--", sys.stdin.read()])

    def words(self, url: str, origin: str, method: str) -> list[str]:
        return [*([f"--origin={origin}"] if origin else []), f"--method={method}", url]


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
    """A page's request, whose origin or method is empty where nothing names it.

    `said` is what the browser said of it, and `notes` are the lines before the answer.
    """

    app: Any
    url: str
    page: PageRequest
    said: Said | None
    notes: tuple[str, ...]

    @property
    def stranger(self) -> str:
        return f"{urlsplit(self.url).scheme}://{STRANGER}"

    def explain(self, origin: str, method: str, send: bool = False) -> Explanation:
        request = replace(self.page, origin=origin, method=method)
        if self.said and self.said.preflight and browser.preflight_headers(request) is None:
            request = replace(request, preflight=True)
        return explain(self.app, self.url, request, self.said, send)

    def tries(self, send: bool) -> list[Explanation]:
        """Explain it for each method and for likely pages, where nothing names them.

        The last page is a stranger, if a browser blocked one or no other is known. Only a request
        whose origin and method are named may be sent.
        """
        usual = METHODS if self.page.body is None else METHODS[1:]  # a GET has none
        methods = (self.page.method,) if self.page.method else usual
        if page := self.page.origin:
            return [self.explain(page, method, send and len(methods) == 1) for method in methods]
        strangers = [self.explain(self.stranger, method) for method in methods]
        policy, sent = policy_for(self.app, self.url), strangers[0].outcome.exchanges
        by_hand = [one.response.get("access-control-allow-origin") or "" for one in sent]
        named = [sample(one) for one in (policy.origins if policy else by_hand) if one != "*"]
        own = browser.http_origin(self.url)
        pages = [one for one in named if read_origin(one) == (one, None)]
        pages = [one for one in pages if browser.http_origin(one) != own][:3]
        tried = [self.explain(page, method) for page in pages for method in methods]
        return tried + strangers if self.said or not tried else tried

    def reasons(self, one: Explanation) -> list[str]:
        """Return why it is blocked, without the origin and method if nothing names them."""
        found = list(one.advice.reasons) if one.advice else ["the page may read the response"]
        if not self.page.origin:
            found = [text.replace(one.request.origin, "the page's origin") for text in found]
        if not self.page.method:
            method = rf"(^|without ){one.request.method}\b"
            found = [re.sub(method, r"\1the method", text) for text in found]
        return found

    def values(self, group: list[Explanation], name: str) -> tuple[str, ...]:
        """Return the methods or the origins of a group, or nothing where one was named."""
        found = () if getattr(self.page, name) else (getattr(one.request, name) for one in group)
        return tuple(dict.fromkeys(found))


def answers(app: Any, *, words: tuple[str, ...], send: bool, **given: Any) -> list[Answer]:
    """Return what is to be said of a request, or of each request in a text that was pasted.

    `given` has the values of `page_options`. What nothing names is tried, by requests that change
    nothing; where the answers differ, a terminal is asked. Raises UsageError.
    """
    if len(words) not in (1, 3):
        raise click.UsageError("write ORIGIN METHOD PATH, or put the browser's error in quotes")
    if len(words) == 3:
        given["origin"] = read_as(page_origin, "ORIGIN", words[0])
        given["method"] = read_as(page_method, "METHOD", words[1])
    text = words[-1]
    if len(words) == 3 or re.match(r"/|(?:https?|wss?)://\S+\Z", text):
        asked = [question(app, text, None, given)]
    elif said := read(text):
        asked = [question(app, one.url, one, given) for one in said]
    elif "ERR_CONNECTION_REFUSED" in text:
        raise click.UsageError("start the API, or correct the URL: the browser found nothing there")
    else:
        raise click.UsageError(
            "paste the whole error about CORS from the browser's console, or a curl command, or"
            f" write ORIGIN METHOD PATH, not {shown(text)}"
        )
    found = []
    for one in asked:
        first, *more = answers_to(one, send)
        found += [replace(first, text=(*one.notes, *first.text)), *more]
    return found


def question(app: Any, target: str | None, said: Said | None, given: dict[str, Any]) -> Question:
    """Return what is known of a request to a target."""
    if target is None:
        raise click.UsageError("copy the line that has it: the text names no URL")
    if target.startswith("file:"):
        why = "browsers keep a page that is a file from what it imports"
        raise click.UsageError(f"serve the page over http, as its development server does: {why}")
    notes = []
    origin, method, headers = given["origin"], given["method"], given["headers"]
    if re.match("wss?:", target):
        notes.append(WEBSOCKET)
        target, method = f"http{target[2:]}", "GET"
    url = urljoin(own_url(app), read_as(path_or_url, "PATH", target))
    if not target.startswith("/") and (here := in_app(app, url)) != url:
        base = urlsplit(url).path.removesuffix(urlsplit(here).path)
        notes.append(f"Read as {here}: the app has this path, so a proxy strips {base}.")
        url = here
    if said is None:
        method = method or "GET"  # as fetch(url) does
    else:
        origin, method = origin or said.origin, method or said.method
        if said.header and said.header.lower() not in {name.lower() for name, _ in headers}:
            headers += (page_header(said.header),)
        if said.unanswered and said.block is None:
            notes.append("Start the API, or correct the URL: the browser got no response. Or else:")
        elif said.browser is None and said.block is None:
            unknown = "the language, or the wording, of the rest is not known"
            notes.append(f"Only the URL was read: {unknown}.")
    if origin:
        origin = read_as(page_origin, "--origin", origin)
        check_other_origin(url, origin)
    named = {"origin": origin or "", "method": method or "", "headers": headers}
    page = page_request(**(given | named))
    page = replace(page, credentials=page.credentials or bool(said and said.credentials))
    return Question(app, url, page, said, tuple(notes))


def answers_to(asked: Question, send: bool) -> list[Answer]:
    """Return one answer for each cause, of what fits the browser's words."""
    if WEBSOCKET in asked.notes:
        return [to_websocket(asked)]
    page, tried = asked.page, asked.tries(send)
    known = [one for one in tried if one.known] or tried
    likely = [one for one in known if fits(one, asked.said)]
    likely = likely or [one for one in known if one.allowed] or (known if page.origin else [])
    if not likely:
        text = "What the browser said does not happen to pages that are known here: add --origin."
        return [Answer(known[0], (text,), 2)]
    if len(likely) == 1 and known == tried and asked.stranger != likely[0].request.origin:
        return [Answer(likely[0], tuple(as_text(likely[0])), likely[0].exit_code)]
    groups: dict[str, list[Explanation]] = {}
    for one in sorted(likely, key=lambda one: len(asked.reasons(one))):
        causes = asked.reasons(one)
        cause = next((cause for cause in causes if cause in groups), causes[0])
        groups.setdefault(cause, []).append(one)
    differing = [
        name
        for name in ("method", "origin")
        if len({frozenset(asked.values(group, name)) for group in groups.values()}) > 1
    ]
    if differing and sys.stdin.isatty():
        name = differing[-1]
        convert = {"method": page_method, "origin": page_origin}[name]
        named: Any = {name: click.prompt(f"The page's {name}", value_proc=convert, err=True)}
        return answers_to(replace(asked, page=replace(page, **named)), send)
    found = [to_answer(asked, cause, group, tried) for cause, group in groups.items()]
    if differing:
        hint = f"To know which it is, add {' and '.join(f'--{name}' for name in differing)}."
        found = [replace(one, exit_code=2) for one in found]
        found[-1] = replace(found[-1], text=(*found[-1].text, hint))
    return found


def to_answer(
    asked: Question, cause: str, group: list[Explanation], tried: list[Explanation]
) -> Answer:
    """Return the answer for requests that have a cause in common, among all that were tried.

    The first has the fewest causes.
    """
    one, origins, methods = group[0], asked.values(group, "origin"), asked.values(group, "method")
    others = [other for other in tried if not origins or other.request.origin in origins]
    unknown = [other.request.method for other in others if not other.known]
    which = f" for {in_words(methods)}" if methods else ""
    if methods and not unknown and all(cause in asked.reasons(other) for other in others):
        which = ", whatever the method"
    where = f" from {in_words(origins)}" if origins and asked.stranger not in origins else ""
    verdict = "Allowed" if one.allowed else "Refused" if one.outcome.allowed else "Blocked"
    lines = [f"{verdict}{where}{which}: {cause}"] if one.known else []
    lines += [f"Also: {text}" for text in asked.reasons(one) if text != cause]
    changes = {other.advice.changes: None for other in group if other.advice}
    first = [str(change) for change in next(iter(changes), ())]
    if any(asked.stranger in change for change in first):
        first = ["To see what to change, add --origin."]
    elif methods and len(changes) > 1:
        lines.append(f"If it was {methods[0]} (for others, add --method):")
    lines += first
    if one.allowed:
        lines += [f"Warning: {text.replace(asked.stranger, 'ORIGIN')}" for text in one.warnings]
    if unknown and not (asked.said and asked.said.preflight):
        to_try = f"To try it, add --method {unknown[0]} --send."
        lines.append(f"Not tried, since it may change data: {in_words(unknown)}. {to_try}")
    return Answer(one, tuple(map(printable, lines)), one.exit_code, methods, origins)


def in_words(items: Iterable[str]) -> str:
    *found, last = dict.fromkeys(items)
    return f"{', '.join(found)} and {last}" if found else last


def to_websocket(asked: Question) -> Answer:
    """Return what the policy says of a page's WebSocket: browsers leave it to the server."""
    origin, policy = asked.page.origin, policy_for(asked.app, asked.url)
    one = asked.explain(origin or asked.stranger, "GET")
    why = one.advice.reasons[0] if one.advice else ""
    if one.outcome.verdict.block is Block.MIXED_CONTENT:
        lines, code = [f"Blocked: {why.replace('call http', 'call ws')}"], 1
    elif type(policy) is not Policy:
        lines, code = ["No CORS setting decides it here: see the server's log for its answer."], 2
    elif not origin:
        lines, code = [f"Pages on {in_words(policy.origins)} may connect. Add --origin."], 2
    elif policy.allows(origin):
        lines, code = [f"{origin} may connect: see the server's log for its answer."], 0
    else:
        lines, code = [f"Refused: {why}", *map(str, one.advice.changes if one.advice else ())], 1
    return Answer(one, tuple(map(printable, lines)), code)


def fits(one: Explanation, said: Said | None) -> bool:
    """Return whether an outcome is what the browser said, or what it may have been before."""
    verdict = one.outcome.verdict
    if said is None or said.block is Block.LOCAL_NETWORK:
        return True
    if one.allowed or said.block is None:
        return not one.allowed
    says_whether = said.preflight or said.browser == "Chrome"
    if says_whether and verdict.during_preflight is not said.preflight:
        return False
    foretold = [text for name, text in one.consoles.items() if said.browser in (name, None)]
    blocks = {verdict.block, *(found.block for text in foretold for found in read(text))}
    alike = next((kind for kind in ALIKE if said.block in kind), {said.block})
    return bool(alike & blocks)


def read_as(convert: Callable[[str], str], hint: str, text: str) -> str:
    try:
        return convert(text)
    except click.BadParameter as error:
        error.param_hint = f"'{hint}'"
        raise
