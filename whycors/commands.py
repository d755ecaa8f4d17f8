"""`flask cors`: shows the policy, and tries what a browser does with it, here and deployed."""

import json
import sys
import threading
import webbrowser
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .explain import (
    Explanation,
    OtherHost,
    as_text,
    explain,
    own_url,
    printable,
    report,
    report_as_text,
)
from .given import (
    TakesCurl,
    TakesTexts,
    api_url,
    asked,
    check_other_origin,
    one_origin,
    page_method,
    page_options,
    page_origin,
    page_request,
    request_options,
)
from .policies import NoPolicy, app_option, load_app, policy_of
from .probe import Check, check_deployment, probe
from .probe import as_text as checks_as_text
from .senders import Unreachable
from .trials import BLOCKED

if TYPE_CHECKING:
    from flask import Flask

commands = click.Group("cors", help="Show, explain and try the CORS policy.")


@commands.command("show")
@app_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
@click.pass_context
def show_command(context: click.Context, as_json: bool) -> None:
    """Show the CORS policy in force, and where each value is set.

    \b
    Example:
      flask cors show
      FLASK_CORS_ORIGINS=https://app.example.com flask cors show --json
    """
    found = report(load_app(context))
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    for line in report_as_text(found):
        click.echo(line)


@commands.command("explain", cls=TakesTexts)
@app_option
@request_options
@click.pass_context
def explain_command(context: click.Context, /, **given: Any) -> None:
    """Explain why a browser blocks a request to this app, or the app refuses it.

    Shows each step, all reasons, and what would allow the request. ORIGIN is the origin of the
    page, such as https://app.example.com, and PATH is a path of this app or a whole URL. TEXT is
    what the console of Chrome, Firefox or Safari printed, or a curl command; without arguments,
    it is read from standard input. The app handles the request for real, so a DELETE deletes.
    Exits with 0 if the request is allowed, and with 1 if the browser blocks it or the API refuses
    it.

    \b
    Example:
      flask cors explain http://localhost:5173 PUT /api/echo --content-type application/json
      flask cors explain curl http://localhost:8000/api/echo -H 'Origin: http://localhost:5173'
    """
    app = load_app(context)
    url, request, said = asked(app, **given)
    try:
        finish(context, explain(app, url, request, said))
    except OtherHost as error:
        raise click.ClickException(printable(str(error))) from None


@commands.command("probe", cls=TakesCurl)
@app_option
@click.argument("url", type=api_url)
@click.argument("origin", type=page_origin, required=False)
@click.argument("method", type=page_method, required=False)
@page_options
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=10,
    show_default=True,
    help="How long to wait for each response, the connection included.",
)
@click.option(
    "--body-limit",
    metavar="BYTES",
    type=click.IntRange(min=0),
    help="For the whole policy: also send a body that is one byte larger, for a readable 413.",
)
@click.option("--json", "as_json", is_flag=True, help="For the whole policy: print JSON.")
@click.pass_context
def probe_command(
    context: click.Context,
    url: str,
    origin: str | None,
    method: str | None,
    headers: tuple[tuple[str, str], ...],
    content_type: str | None,
    body: str | None,
    credentials: bool,
    timeout: float,
    body_limit: int | None,
    as_json: bool,
) -> None:
    """Check a deployed API as browsers see it, through its proxy, cache and certificate.

    With URL alone, the whole policy here: every origin and method, look-alikes and strangers, what
    caches and cookies need, the proxy's own errors. Nothing that is sent changes data. Set the
    deployment's FLASK_CORS_ variables for this command too.

    With ORIGIN and METHOD, one request, and why a browser blocks it or the API refuses it. The API
    handles it for real, so a DELETE deletes. A second request, from https://probe.invalid, checks
    that strangers are refused.

    Exits with 0 if all is right, 1 if something is to be fixed, is blocked or does not respond, and
    2 if the arguments are wrong.

    \b
    Example:
      flask cors probe https://api.example.com
      flask cors probe https://api.example.com/api/echo https://app.example.com GET --credentials
    """
    try:
        if origin is None:
            if headers or content_type or body or credentials:
                raise click.UsageError("write ORIGIN and METHOD too, or no options of a request")
            prove(context, load_app(context), url, timeout, body_limit, as_json)
            return
        if method is None:
            raise click.UsageError("write METHOD too, such as GET, or only the URL")
        if as_json or body_limit is not None:
            raise click.UsageError("remove ORIGIN and METHOD: --json and --body-limit are for all")
        check_other_origin(url, origin)
        request = page_request(origin, method, headers, content_type, body, credentials)
        finish(context, probe(app_to_compare_with(context), url, request, timeout))
    except Unreachable as error:
        raise click.ClickException(printable(str(error))) from None


@commands.command("playground")
@app_option
@click.option(
    "--api",
    metavar="URL",
    type=one_origin,
    help="The origin of the API, unless it is where `flask run` serves it.",
)
@click.option("--no-open", is_flag=True, help="Print the address of the page, but do not open it.")
@click.pass_context
def playground_command(context: click.Context, /, api: str | None, no_open: bool) -> None:
    """Open a page that tries the API from an allowed origin.

    Only this machine can open the page. It is at the first allowed origin of this machine, until
    you press Ctrl+C. It calls the API as your frontend does, so `flask run` must be running.

    \b
    Example:
      flask cors playground
      flask cors playground --no-open --api https://api.example.com
    """
    app = load_app(context)
    from .playground import NoPlace, playground  # which needs Flask

    api = api or own_url(app)
    try:
        origin, server = playground(app, api)
    except NoPlace as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Playground: {origin}/")
    click.echo(f"It calls {api}, which `flask run` starts. Press Ctrl+C to stop.")
    if not no_open:
        threading.Thread(target=webbrowser.open, args=[origin], daemon=True).start()
    server.serve_forever()


def app_to_compare_with(context: click.Context) -> "Flask | None":
    """Return the app with the policy here, None where `whycors` is told of none and finds none."""
    is_named = context.obj is not None
    try:
        app = load_app(context)
        policy_of(app)
    except NoPolicy as error:
        if is_named:
            raise
        click.echo(f"There is no policy here to compare with: {error.message}", err=True)
        return None
    return app


def prove(
    context: click.Context,
    app: "Flask",
    url: str,
    timeout: float,
    body_limit: int | None,
    as_json: bool,
) -> None:
    """Print how a deployment keeps the policy, and exit with 0 if it does, 1 if it does not."""
    progress = sys.stderr.isatty()
    try:
        checks = check_deployment(app, url, timeout, body_limit, progress)
    except Unreachable as error:
        if not as_json:
            raise
        checks = [Check(url, "first request", BLOCKED, [str(error)])]
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks]))
    else:
        for line in checks_as_text(checks):
            click.echo(printable(line))
    context.exit(1 if any(check.faults for check in checks) else 0)


def finish(context: click.Context, explanation: Explanation) -> None:
    """Print an explanation, and exit with 0 if the request is allowed, 1 if it is not."""
    for line in as_text(explanation):
        click.echo(line)
    context.exit(0 if explanation.allowed else 1)
