"""`flask cors`: show the policy, and try what a browser makes of it, here and deployed."""

import json
import re
import threading
import webbrowser
from dataclasses import asdict
from urllib.parse import quote, urlsplit

import click
from flask import Flask, current_app
from flask.cli import AppGroup

from app.cors import explain as explaining
from app.cors import playground as playing
from app.cors import rules
from app.cors.fetch import Request, http_origin
from app.cors.show import effective_settings, warnings

commands = AppGroup("cors", help="Show, explain and try the CORS policy.")


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print for a program to read.")
def show(as_json: bool) -> None:
    """Show the policy in force and where it was set.

    \b
    Example:
      flask cors show
      FLASK_CORS_ORIGINS=https://app.example.com flask cors show --json
    """
    settings = effective_settings(current_app)
    found = warnings(current_app.extensions["cors_policy"], current_app.debug)
    if as_json:
        click.echo(json.dumps({"settings": [asdict(s) for s in settings], "warnings": found}))
        return
    for setting in settings:
        click.echo(f"{setting.name}  ({setting.source})")
        if isinstance(setting.value, tuple):
            between = "\n  " if setting.name == "CORS_ORIGINS" else ", "
            click.echo(f"  {between.join(setting.value) or 'none'}")
        else:
            click.echo(f"  {str(setting.value).lower()}")
    for warning in found:
        click.echo(f"Warning: {warning}")


def checked_origin(_: click.Context, __: click.Parameter, origin: str) -> str:
    if origin != "null" and (problem := one_origin_problem(origin)):
        raise click.BadParameter(problem)
    return origin


def checked_api(_: click.Context, __: click.Parameter, api: str | None) -> str | None:
    if api is not None and (problem := one_origin_problem(api)):
        raise click.BadParameter(problem)
    return api


def one_origin_problem(origin: str) -> str | None:
    problem = rules.origin_problem(origin)
    if problem is None and "*" in origin:
        return f"{origin}: name one origin, such as https://app.example.com"
    return problem


def checked_method(_: click.Context, __: click.Parameter, method: str) -> str:
    if not rules.TOKEN.match(method):
        raise click.BadParameter(f"{rules.show(method)}: is not a method: write a name such as GET")
    if method.upper() in rules.FORBIDDEN_METHODS:
        raise click.BadParameter(f"{method}: no page may send it")
    return method


def checked_path(_: click.Context, __: click.Parameter, path: str) -> str:
    if not path.startswith("/"):
        raise click.BadParameter(f"{rules.show(path)}: start it with a slash: /{path}")
    if " " in path or not path.isprintable():
        raise click.BadParameter(f"{rules.show(path)}: percent-encode it: {encoded(path)}")
    return path


def checked_url(_: click.Context, __: click.Parameter, url: str) -> str:
    shown = rules.show(url)
    if " " in url or not url.isprintable():
        raise click.BadParameter(f"{shown}: percent-encode it: {encoded(url.strip())}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise click.BadParameter(f"{shown}: {error}") from None
    example = "https://api.example.com/api/echo"
    if "://" not in url:
        raise click.BadParameter(f"{shown}: add the scheme: https://{url.lstrip('/')}")
    if parts.scheme not in rules.DEFAULT_PORTS:
        raise click.BadParameter(f"{shown}: the scheme must be http or https, as in {example}")
    if not host or port == 0:
        raise click.BadParameter(f"{shown}: names no host to call: write one such as {example}")
    if parts.username is not None:
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        raise click.BadParameter(f"{shown}: no page may name a user in a URL: {bare}")
    if not host.isascii():
        ascii_url = url.replace(host, rules.to_punycode(host), 1)
        raise click.BadParameter(f"{shown}: write the host in punycode: {ascii_url}")
    return url


def encoded(text: str) -> str:
    return quote(text, safe="/:?#[]@!$&'()*+,;=%~", errors="surrogateescape")


def checked_type(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.match(r"[\w.+-]+/[\w.+-]+[\x20-\x7e]*\Z", value, re.ASCII):
        raise click.BadParameter(
            f"{rules.show(value)}: is not a media type: write one such as application/json"
        )
    return value


def checked_headers(
    _: click.Context, __: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    problems = filter(None, map(rules.request_header_problem, names))
    if problem := next(problems, None):
        raise click.BadParameter(problem)
    return names


def page_options(command: click.decorators.FC) -> click.decorators.FC:
    """What a page may send, for the commands that send it."""
    for option in (
        click.option("--credentials", is_flag=True, help="Send as with credentials: 'include'."),
        click.option(
            "--content-type",
            metavar="TYPE",
            callback=checked_type,
            help="The body's type, application/json say.",
        ),
        click.option(
            "--header",
            "headers",
            metavar="NAME",
            multiple=True,
            callback=checked_headers,
            help="A header that the page sets. May be given again.",
        ),
    ):
        command = option(command)
    return command


def page_request(
    origin: str,
    method: str,
    headers: tuple[str, ...],
    content_type: str | None,
    credentials: bool,
) -> Request:
    sent = [(name, "1") for name in headers]
    if content_type is not None:
        sent.append(("Content-Type", content_type))
    return Request(origin, method, tuple(sent), credentials)


@commands.command()
@click.argument("origin", callback=checked_origin)
@click.argument("method", callback=checked_method)
@click.argument("path", callback=checked_path)
@page_options
@click.pass_context
def explain(
    context: click.Context,
    origin: str,
    method: str,
    path: str,
    headers: tuple[str, ...],
    content_type: str | None,
    credentials: bool,
) -> None:
    """Say why a browser blocks a request to this app.

    Shows each step, what came nearest to the policy, and what would allow it. ORIGIN is the
    page's, as in https://app.example.com. The app handles the request for real,
    so a DELETE deletes. Exits with 0 if it is allowed, 1 if it is blocked.

    \b
    Example:
      flask cors explain http://localhost:5173 PUT /api/echo --content-type application/json
    """
    request = page_request(origin, method, headers, content_type, credentials)
    try:
        explanation = explaining.explain(current_app, f"{own_url(current_app)}{path}", request)
    except explaining.OtherHost as error:
        raise click.ClickException(printable(str(error))) from None
    report(context, explanation)


@commands.command()
@click.argument("url", callback=checked_url)
@click.argument("origin", callback=checked_origin)
@click.argument("method", callback=checked_method)
@page_options
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=10,
    show_default=True,
    help="How long to wait for the connection, and then for the answer.",
)
@click.pass_context
def probe(
    context: click.Context,
    url: str,
    origin: str,
    method: str,
    headers: tuple[str, ...],
    content_type: str | None,
    credentials: bool,
    timeout: float,
) -> None:
    """Say why a browser blocks one to a deployed API.

    Finds what a proxy, a cache or a certificate spoils. URL is the API's, ORIGIN the page's. The
    API handles the request for real, so a DELETE deletes; then one from https://probe.invalid
    tells whether every site is let in. Exits with 0 if it is allowed, warnings or not, with 1 if
    it is blocked or no answer comes.

    \b
    Example:
      flask cors probe https://api.example.com/api/echo https://app.example.com GET --credentials
    """
    try:
        from app.cors import probe as probing
    except ModuleNotFoundError as error:
        if error.name != "urllib3":
            raise
        raise click.UsageError(
            "probe needs urllib3, which is not installed: pip install -r requirements-dev.txt"
        ) from None
    if origin != "null" and http_origin(url) == http_origin(origin):
        raise click.BadParameter(
            f"{origin}: is the origin of the URL, where browsers check nothing: name the page's",
            param_hint="'ORIGIN'",
        )
    request = page_request(origin, method, headers, content_type, credentials)
    policy = current_app.extensions["cors_policy"]
    try:
        explanation = probing.probe(policy, url, request, timeout)
    except probing.Unreachable as error:
        raise click.ClickException(printable(str(error))) from None
    report(context, explanation)


def report(context: click.Context, explanation: explaining.Explanation) -> None:
    """Print what came of a request, and leave with the exit code that says it."""
    for line in explaining.as_text(explanation):
        click.echo(printable(line))
    context.exit(0 if explanation.outcome.allowed else 1)


def printable(line: str) -> str:
    """Return a line in which no server's answer steers the terminal."""
    return line if line.isprintable() else json.dumps(line)[1:-1]


@commands.command()
@click.option(
    "--api",
    metavar="URL",
    callback=checked_api,
    help="Where the API runs, unless it is where `flask run` serves it.",
)
@click.option("--no-open", is_flag=True, help="Print where the page is, and do not open it.")
def playground(api: str | None, no_open: bool) -> None:
    """Open a page that tries the API from an allowed origin.

    The page is served to this machine only, at the first allowed origin of this machine, until
    Ctrl+C. It calls the API as the frontend does, so `flask run` must be running.

    \b
    Example:
      flask cors playground
      flask cors playground --no-open --api https://api.example.com
    """
    api = api or own_url(current_app)
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        origin, server = playing.playground(app, api)
    except playing.NoPlace as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Playground: {origin}/")
    click.echo(f"It calls {api}, which `flask run` starts. Press Ctrl+C to end it.")
    if not no_open:
        threading.Thread(target=webbrowser.open, args=[origin], daemon=True).start()
    server.serve_forever()


def own_url(app: Flask) -> str:
    """Return where `flask run` serves the app."""
    return f"http://localhost:{app.config.get('RUN_PORT', 5000)}"
