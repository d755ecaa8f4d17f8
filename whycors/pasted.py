"""Makes a page's request of what a person has: a console's text, a curl command, or three words."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import click

from . import rules
from .advice import policy_for
from .arguments import (
    TakesCurl,
    check_other_origin,
    page_arguments,
    page_header,
    page_method,
    page_options,
    page_origin,
    page_request,
    path_or_url,
)
from .browser import Block, Headers, PageRequest, preflight_headers
from .console import Said, read
from .curl import Named
from .explain import own_url
from .policies import Policy

if TYPE_CHECKING:
    from flask import Flask


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
    said = read(text)
    if said is None and "ERR_CONNECTION_REFUSED" in text:
        raise click.UsageError("start the API, or correct the URL: the browser found nothing there")
    if said is None:
        raise click.UsageError(
            "paste the whole error about CORS from the browser's console, or a curl command, or"
            f" write ORIGIN METHOD PATH, not {rules.show(text)}"
        )
    return said


def read_as(convert: Callable[[str], str], hint: str, text: str) -> str:
    try:
        return convert(text)
    except click.BadParameter as error:
        error.param_hint = f"'{hint}'"
        raise


def only_origin(policy: Policy) -> str | None:
    """Return the origin that a policy allows if there is no other."""
    (origin, *others) = policy.origins
    return None if others or "*" in origin else origin
