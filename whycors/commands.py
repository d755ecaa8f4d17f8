"""`flask cors` and `whycors`: why a browser blocks a request, of an app here or of any server."""

import json
import sys
import threading
import webbrowser
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NoReturn

import click

from . import given
from .entry import called_as
from .explain import Explanation, as_text, own_url, printable, report, report_as_text
from .policies import app_option, in_one_line, load_app
from .probe import Check, check_deployment, check_server, exit_code, probe
from .probe import as_text as checks_as_text
from .senders import OtherHost, Unreachable
from .trials import BLOCKED

send_option = click.option(
    "--send", is_flag=True, help="Send the request even if it may change data: a DELETE deletes."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")


class Tool(click.Group):
    """Says each error in one line, a fault of its own too, or as JSON where that is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (OtherHost, Unreachable) as error:
            failed = click.ClickException(printable(str(error)))
        except click.ClickException as error:  # such as an app that cannot start: nobody can say
            is_usage = isinstance(error, click.UsageError)
            failed = error if is_usage else click.UsageError(error.format_message())
        except Exception as error:  # noqa: BLE001
            failed = click.UsageError(f"report this fault of whycors: {in_one_line(error)}")
        if not as_json:
            raise failed
        click.echo(json.dumps({"error": failed.format_message()}))
        ctx.exit(failed.exit_code)


commands = Tool("cors", help="Explain why a browser blocks a request, and what to change.")


@commands.command("show")
@app_option
@json_option
@click.pass_context
def show_command(context: click.Context, /, **_: bool) -> None:
    """Show the CORS policy in force, and where each value is set.

    \b
    Example:
      flask cors show
      FLASK_CORS_ORIGINS=https://app.example.com flask cors show --json
    """
    found = report(load_app(context))
    finish(context, asdict(found), report_as_text(found), 0)


@commands.command("explain", cls=given.TakesTexts, params=given.page_options())
@app_option
@click.argument("words", nargs=-1, metavar="[ORIGIN METHOD PATH | TEXT]")
@send_option
@json_option
@click.pass_context
def explain_command(context: click.Context, /, as_json: bool, **asked: Any) -> None:
    """Explain why a browser blocks a request to this app, or the app refuses it.

    Shows each step, all reasons, and what would allow the request. ORIGIN is the origin of the
    page, such as https://app.example.com, and PATH is a path of this app or a whole URL. TEXT is
    what the console of Chrome, Firefox or Safari printed, or a request that was copied there;
    without arguments, it is read from standard input. Nothing that may change data is sent without
    --send.

    Exits with 0 if the request is allowed, 1 if the browser blocks it or the API refuses it, and 2
    if the arguments are wrong, or nobody can say without --send.

    \b
    Example:
      flask cors explain http://localhost:5173 PUT /api/echo --content-type application/json
      flask cors explain curl http://localhost:8000/api/echo -H 'Origin: http://localhost:5173'
    """
    found = given.answers(load_app(context), **asked)
    data = [as_data(one.explanation, methods=one.methods, origins=one.origins) for one in found]
    text = "\n\n".join("\n".join(one.text) for one in found)
    finish(context, data, [text], max(one.exit_code for one in found))


@commands.command("probe", cls=given.TakesCurl, params=given.page_options(many=True))
@app_option
@click.argument("url", type=given.api_url)
@click.argument("page", metavar="[ORIGIN]", type=given.page_origin, required=False)
@click.argument("its_method", metavar="[METHOD]", type=given.page_method, required=False)
@send_option
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
@json_option
@click.pass_context
def probe_command(
    context: click.Context,
    /,
    url: str,
    page: str | None,
    its_method: str | None,
    origin: tuple[str, ...],
    method: tuple[str, ...],
    timeout: float,
    body_limit: int | None,
    send: bool,
    as_json: bool,
    **sent: Any,
) -> None:
    """Check a deployed API as browsers see it, through its proxy, cache and certificate.

    With URL alone, the whole policy here: every origin and method, look-alikes and strangers, what
    caches and cookies need, the proxy's own errors. Set the deployment's FLASK_CORS_ variables for
    this command too.

    With --origin, any server, without a policy: what the page on this origin may do, what is
    broken, and the headers to send. --origin, --method and --header can be repeated.

    With ORIGIN and METHOD, one request, and why a browser blocks it or the API refuses it. A second
    request, from https://probe.invalid, checks that strangers are refused.

    Nothing that may change data is sent without --send.

    Exits with 0 if all is right, 1 if something is to be fixed, is blocked or does not respond, and
    2 if the arguments are wrong, or what was sent cannot tell.

    \b
    Example:
      flask cors probe https://api.example.com
      flask cors probe https://api.example.com --origin https://app.example.com --method PUT
      flask cors probe https://api.example.com/api/echo https://app.example.com GET --credentials
    """
    for one_page in filter(None, (page, *origin)):
        given.check_other_origin(url, one_page)
    if page is not None:
        if its_method is None:
            raise click.UsageError("write METHOD too, such as GET, or only the URL")
        if body_limit is not None or origin or method:
            raise click.UsageError("remove ORIGIN and METHOD, or --body-limit, --origin, --method")
        request = given.page_request(page, its_method, **sent)
        one = probe(app_to_compare_with(context), url, request, timeout, send)
        finish(context, [as_data(one)], as_text(one), one.exit_code)
    if not origin and (method or send or any(sent.values())):
        raise click.UsageError("write ORIGIN and METHOD too, or no options of a request")
    all_right = "The deployed API keeps the policy here."
    progress = sys.stderr.isatty()
    try:
        if origin:
            names = [name for name, _ in sent["headers"]]
            names += ["Content-Type"] if sent["content_type"] else []
            asked = (origin, method, tuple(names), sent["credentials"])
            checks = check_server(url, *asked, timeout, progress)
            all_right = f"Nothing to fix: a browser lets {', '.join(origin)} do this."
        else:
            checks = check_deployment(load_app(context), url, timeout, body_limit, progress)
    except Unreachable as error:
        if not as_json:
            raise
        checks = [Check(url, "first request", BLOCKED, [str(error)])]
    lines = map(printable, checks_as_text(checks, all_right))
    finish(context, [asdict(check) for check in checks], lines, exit_code(checks))


@commands.command("playground")
@app_option
@click.option(
    "--api",
    metavar="URL",
    type=given.one_origin,
    help="The origin of the API, unless it is where `flask run` serves it.",
)
@click.option("--no-open", is_flag=True, help="Print the address of the page, but do not open it.")
@json_option
@click.pass_context
def playground_command(
    context: click.Context, /, api: str | None, no_open: bool, as_json: bool
) -> None:
    """Open a page that tries the API from an allowed origin.

    Only this machine can open the page. It is at the first allowed origin of this machine, until
    you press Ctrl+C. It calls the API as your frontend does, so `flask run` must be running.

    \b
    Example:
      flask cors playground
      flask cors playground --no-open --api https://api.example.com
    """
    app = load_app(context)
    from .playground import playground

    api = api or own_url(app)
    server = playground(app, api)
    text = f"It calls {api}, which `flask run` starts. Press Ctrl+C to stop."
    data = json.dumps({"playground": server.origin, "api": api})
    click.echo(data if as_json else f"Playground: {server.origin}/\n{text}")
    if not no_open:
        threading.Thread(target=webbrowser.open, args=[server.origin], daemon=True).start()
    with suppress(KeyboardInterrupt):
        server.serve_forever()


def app_to_compare_with(context: click.Context) -> Any:
    """Return the app here, None where `whycors` is told of none and finds none that starts."""
    try:
        return load_app(context)
    except click.ClickException as error:
        if context.obj is not None:
            raise
        click.echo(f"There is no policy here to compare with: {error.message}", err=True)
        return None


def finish(context: click.Context, data: Any, lines: Iterable[str], code: int) -> NoReturn:
    """Print what was found, as JSON where that is asked for, and exit."""
    for line in [json.dumps(data)] if context.params["as_json"] else lines:
        click.echo(line)
    context.exit(code)


def as_data(one: Explanation, **more: Any) -> dict[str, Any]:
    """Return an explanation as docs/whycors.md describes it."""
    verdict = one.outcome.verdict
    answer = ("allowed", "blocked", "unknown")[one.exit_code]
    advices = [found for found in (one.advice, one.hidden) if found]
    changes = [change for found in advices for change in found.changes]
    return {
        "verdict": "refused" if one.refused else answer,
        "url": one.url,
        "origin": one.request.origin,
        "method": one.request.method,
        "status": one.status,
        "block": verdict.block and verdict.block.name.lower().replace("_", "-"),
        "preflight": verdict.during_preflight,
        "why": one.advice.reasons if one.advice else (),
        "changes": [{"where": change.lead, "text": change.text} for change in changes],
        "warnings": one.warnings,
        "consoles": one.consoles,
        "steps": [
            {
                "method": sent.method,
                "url": sent.url,
                "headers": sent.headers,
                "status": sent.response.status,
                "response": sent.response.headers,
            }
            for sent in one.outcome.exchanges
        ],
        **more,
    }


for command in commands.commands.values():
    command.help = (command.help or "").replace("flask cors", called_as())
