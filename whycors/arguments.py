"""Checks the arguments of `flask cors`, and makes them canonical."""

import re
from urllib.parse import quote, urlsplit

import click

from . import rules
from .browser import BODILESS_METHODS, DEFAULT_PORTS, PageRequest, http_origin, normalize_method
from .curl import Named, NotCurl, find_curl, read_curl
from .origins import read_origin


def write(instead: str, item: str, reason: str) -> click.BadParameter:
    return click.BadParameter(f"write {instead}, not {rules.show(item)}: {reason}")


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
    method, problem = rules.read("method", text)
    if problem is not None:
        raise click.BadParameter(problem)
    return text if text.upper() == method else method


def page_header(text: str) -> tuple[str, str]:
    """A header that a page may set: `Name: value`, or its name alone."""
    start, _, value = text.partition(":")
    name, problem = rules.read("allowed header", start)
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
        raise click.BadParameter(f"correct {rules.show(text)}: {error}") from None
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
        netloc = rules.to_punycode(host) + (f":{port}" if port else "")
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
    """A command that also takes what curl takes, as a browser copies it: `… curl URL -H …`.

    The curl command can be one argument as well. Options of this command that are beside it win.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            others, words = find_curl(args)
            if words:
                args = [*self.from_curl(read_curl(words)), *others]
        except NotCurl as error:
            raise click.UsageError(str(error), ctx) from None
        return super().parse_args(ctx, args)

    def from_curl(self, named: Named) -> list[str]:
        """Return this command's own arguments for what a curl command names."""
        if named.origin is None:
            raise NotCurl("add -H 'Origin: https://app.example.com', the origin of the page")
        return [*page_arguments(named), named.url, named.origin, named.method]


def page_arguments(named: Named) -> list[str]:
    """Return the options for what a page sends, as `page_options` reads them."""
    found = [f"--header={name}: {value}" for name, value in named.headers]
    if named.body is not None:
        found.append(f"--data={named.body}")
    return [*found, "--credentials"] if named.credentials else found
