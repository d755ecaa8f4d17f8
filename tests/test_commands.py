"""The commands of the rendered project, and its log, driven as its owner drives them."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Commands, Result, running_commands
from conftest import Render, commit, copy

APP = "https://app.example.com"
ORIGINS = [APP, "https://*.preview.example.com", "http://localhost:5173", "http://[::1]:3000"]


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "project"
    copy(template, folder, {"frontend_origins": ORIGINS, "allowed_methods": ["GET", "PATCH"]})
    return folder


@pytest.fixture(scope="module")
def cors(project: Path) -> Iterator[Commands]:
    with running_commands(project) as commands:
        yield commands


def shell(folder: Path, *arguments: str, **variables: str) -> Result:
    """Run a Python module as a user does, and see that it ends without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        check=False,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def value_and_source(result: Result, name: str) -> tuple[Any, str]:
    (found,) = [one for one in json.loads(result.stdout)["settings"] if one["name"] == name]
    return found["value"], found["source"]


def test_show_says_where_each_value_was_set(cors: Commands) -> None:
    result = cors(
        "show",
        "--json",
        config={"CORS_MAX_AGE": 60, "CORS_ALLOW_HEADERS": ["X-Mine"]},
        FLASK_CORS_METHODS="GET, POST",
        FLASK_CORS_EXPOSE_HEADERS='["ETag"]',
        FLASK_CORS_MAX_AGE="5",
    )
    assert result.exit_code == 0
    assert value_and_source(result, "CORS_ORIGINS") == (ORIGINS, "app/settings.py")
    assert value_and_source(result, "CORS_METHODS") == (
        ["GET", "POST"],
        "environment, FLASK_CORS_METHODS",
    )
    assert value_and_source(result, "CORS_EXPOSE_HEADERS") == (
        ["ETag"],
        "environment, FLASK_CORS_EXPOSE_HEADERS",
    )
    assert value_and_source(result, "CORS_ALLOW_HEADERS") == (["X-Mine"], "create_app")
    # What create_app is given wins over the environment.
    assert value_and_source(result, "CORS_MAX_AGE") == (60, "create_app")


def test_show_as_a_table(cors: Commands) -> None:
    result = cors("show", FLASK_CORS_ALLOW_HEADERS="", FLASK_CORS_METHODS="GET, POST")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:10] == [
        "CORS_ORIGINS  (app/settings.py)",
        *(f"  {origin}" for origin in ORIGINS),
        "CORS_METHODS  (environment, FLASK_CORS_METHODS)",
        "  GET, POST",
        "CORS_SUPPORTS_CREDENTIALS  (app/settings.py)",
        "  false",
        "CORS_ALLOW_HEADERS  (environment, FLASK_CORS_ALLOW_HEADERS)",
    ]
    assert "  none" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("variables", "warning"),
    [
        ({}, "http://localhost:5173: fit for development"),
        ({"FLASK_CORS_ORIGINS": "any"}, "every site may read what the API answers"),
        ({"FLASK_CORS_ORIGINS": "http://a.example"}, "http://a.example: anyone on the network"),
        (
            {
                "FLASK_CORS_ORIGINS": "https://*.a.example",
                "FLASK_CORS_SUPPORTS_CREDENTIALS": "true",
            },
            "https://*.a.example: any subdomain, a forgotten one too",
        ),
        (
            {
                "FLASK_CORS_ORIGINS": ", ".join(f"https://{n}.example" for n in range(11)),
                "FLASK_CORS_SUPPORTS_CREDENTIALS": "true",
            },
            "each of 11 origins can act as a logged-in user",
        ),
        ({"FLASK_CORS_METHODS": "GET"}, "POST is not allowed, and yet browsers send"),
        ({"FLASK_CORS_MAX_AGE": "86400"}, "86400 s: Chromium keeps them for 7200 s"),
    ],
)
def test_show_warns(cors: Commands, variables: dict[str, str], warning: str) -> None:
    lines = cors("show", **variables).stdout.splitlines()
    (found,) = [line for line in lines if line.startswith("Warning: ") and warning in line]
    as_json = json.loads(cors("show", "--json", **variables).stdout)
    assert found.removeprefix("Warning: ") in as_json["warnings"]


def test_show_has_nothing_to_warn_of(cors: Commands) -> None:
    result = cors("show", FLASK_CORS_ORIGINS=APP, FLASK_CORS_METHODS="GET, POST")
    assert "Warning" not in result.stdout


def test_plain_flask_and_wsgi(render: Render) -> None:
    """`flask` reads .env and .flaskenv; a bad policy ends in its problems alone."""
    project = render()
    (project / ".env").write_text("FLASK_CORS_ORIGINS='https://dot.example'\n")
    for arguments in (["flask"], ["flask", "--app", "wsgi"]):
        result = shell(project, *arguments, "cors", "show", "--json", FLASK_CORS_METHODS="GET")
        assert value_and_source(result, "CORS_ORIGINS") == (
            ["https://dot.example"],
            ".env, FLASK_CORS_ORIGINS",
        )
        assert value_and_source(result, "CORS_METHODS")[1] == "environment, FLASK_CORS_METHODS"
    explained = shell(
        project, "flask", "--app", "wsgi", "cors", "explain", "https://dot.example", "GET", "/"
    )
    assert explained.exit_code == 0
    assert "1. request: GET http://localhost:8000/" in explained.stdout.splitlines()
    broken = shell(project, "flask", "cors", "show", FLASK_CORS_ORIGINS="https://dot.example/")
    assert broken.exit_code != 0
    assert "https://dot.example/: drop the trailing slash: https://dot.example" in broken.stderr


def test_every_command_has_an_example_that_works(cors: Commands) -> None:
    listed = cors("--help").stdout.partition("Commands:\n")[2]
    names = re.findall(r"^  (\w+)", listed, re.MULTILINE)
    assert {"show", "explain", "probe"} <= set(names)
    for name in names:
        text = cors(name, "--help").stdout
        examples = re.findall(rf"(\S+=\S+)? *flask cors ({name}\b.*)", text.partition("Example")[2])
        assert examples, text
        if name not in ("show", "explain", "probe"):
            continue
        for variable, command in examples:
            arguments = shlex.split(command.replace("api.example.com", "api.invalid"))
            variables = dict([variable.split("=")]) if variable else {}
            assert cors(*arguments, **variables).exit_code in (0, 1), command


# A page, what it sends, and what of the policy comes nearest.
MISSES = {
    "port": ("https://app.example.com:8443", [], f"{APP} is: the port differs"),
    "scheme": ("http://app.example.com", [], f"{APP} is: the scheme differs"),
    "scheme and port": (
        "http://app.example.com:8080",
        [],
        f"{APP} is: the scheme and the port differ",
    ),
    "subdomain": ("https://www.app.example.com", [], f"{APP} is: its subdomains are not"),
    "apex": (
        "https://preview.example.com",
        [],
        "https://*.preview.example.com is: that covers its subdomains, not itself",
    ),
    "port of a subdomain": (
        "https://a.preview.example.com:444",
        [],
        "https://*.preview.example.com is: the port differs",
    ),
    "localhost": (
        "http://127.0.0.1:5173",
        [],
        "http://localhost:5173 is: to a browser they are two hosts",
    ),
    "port of localhost": (
        "http://localhost:3000",
        [],
        "http://localhost:5173 is: the port differs",
    ),
    "ipv6": ("http://[::1]:5173", [], "http://[::1]:3000 is: the port differs"),
    "typo": ("https://app.exmaple.com", [], f"{APP} is: the host differs"),
    "stranger": (
        "https://zzz.test",
        [],
        f"allowed are {', '.join(ORIGINS[:3])} and 1 more",
    ),
    "method": (APP, ["DELETE"], "DELETE is not among GET, PATCH"),
    "safelisted method": (
        APP,
        ["POST", "--content-type", "application/json"],
        "POST is not among GET, PATCH",
    ),
    "odd method": (APP, ["PURGE"], "PURGE is not among GET, PATCH"),
    "header": (APP, ["GET", "--header", "X-Trace"], "header x-trace is not listed"),
    "second header": (
        APP,
        ["GET", "--header", "Authorization", "--header", "X-Trace"],
        "header x-trace is not listed",
    ),
    "credentials": (APP, ["GET", "--credentials"], "credentials are sent, and not allowed"),
    "credentials in a preflight": (
        APP,
        ["PATCH", "--credentials"],
        "credentials are sent, and not allowed",
    ),
}


@pytest.mark.parametrize("name", MISSES)
def test_explain_finds_the_nearest_miss_and_its_change_mends_it(cors: Commands, name: str) -> None:
    page, options, miss = MISSES[name]
    arguments = ["explain", page, *(options[:1] or ["GET"]), "/api/echo", *options[1:]]
    result = cors(*arguments)
    assert result.exit_code == 1, result
    why = result.line("Why:")
    assert why == (f"{page} is not allowed; {miss}" if page != APP else miss)
    assert result.line("Chromium's console: Access to fetch at 'http://localhost:").endswith(".")

    (change,) = re.findall(r"deployment: (\S+=.*)", result.stdout)
    variable, _, value = "".join(shlex.split(change)).partition("=")
    mended = cors(*arguments, **{variable: value})
    assert mended.exit_code == 0, mended
    assert mended.stdout.splitlines()[-1] == "Allowed: the page may read the answer."


@pytest.mark.parametrize(
    ("arguments", "variables", "why"),
    [
        (
            ["null", "GET"],
            {},
            (
                "null is not allowed, and no page over http or https has this origin; the policy"
                " cannot allow it: CORS_ORIGINS: null: is the origin of sandboxed pages"
            ),
        ),
        (
            ["https://any.example", "GET", "--credentials"],
            {"FLASK_CORS_ORIGINS": "any"},
            (
                "credentials are sent, and not allowed; the policy cannot allow it: CORS_ORIGINS: with"
                " credentials, every site could act as the user who visits it"
            ),
        ),
        ([APP, "patch"], {}, "patch is not PATCH: browsers send it as the page writes it"),
    ],
)
def test_explain_offers_no_change_that_is_refused(
    cors: Commands, arguments: list[str], variables: dict[str, str], why: str
) -> None:
    page, method, *options = arguments
    result = cors("explain", page, method, "/api/echo", *options, **variables)
    assert result.exit_code == 1
    assert result.line("Why:").startswith(why)
    assert "FLASK_CORS_" not in result.stdout and "copier" not in result.stdout


def test_explain_shows_each_step(cors: Commands) -> None:
    result = cors("explain", APP, "DELETE", "/api/echo", "--header", "Authorization")
    step = result.stdout.partition("\n\n")[0].splitlines()
    assert step[:5] == [
        "1. preflight: OPTIONS http://localhost:5000/api/echo",
        f"   > Origin: {APP}",
        "   > Access-Control-Request-Method: DELETE",
        "   > Access-Control-Request-Headers: authorization",
        "   < 204 No Content",
    ]
    assert {
        f"   < Access-Control-Allow-Origin: {APP}",
        "   < Access-Control-Allow-Methods: GET, PATCH",
        "   < Vary: Origin",
    } <= set(step[5:])
    # What does not bear on the verdict is left out.
    assert "Content-Type" not in "".join(line.partition(":")[0] for line in step)
    assert result.line("Blocked at the preflight:") == (
        "the method is not in Access-Control-Allow-Methods."
    )
    assert result.line("Chromium's console:") == (
        f"Access to fetch at 'http://localhost:5000/api/echo' from origin '{APP}' has been blocked"
        " by CORS policy: Method DELETE is not allowed by Access-Control-Allow-Methods in preflight"
        " response."
    )


def test_copier_makes_the_printed_change(render: Render) -> None:
    project = render(allowed_headers=["*"], allowed_methods=["GET"])
    commit(project)
    blocked = [
        ("explain", "http://localhost:5173", "PUT", "/api/echo"),
        ("explain", "http://localhost:5173", "GET", "/api/echo", "--header", "Authorization"),
    ]
    with running_commands(project) as cors:
        changes = [cors(*arguments).line("To allow it:") for arguments in blocked]
    for change in changes:
        updated = shell(project, *shlex.split(change))
        assert updated.exit_code == 0, updated
        commit(project)
    with running_commands(project) as cors:
        for arguments in blocked:
            assert cors(*arguments).exit_code == 0


def test_no_copier_command_for_what_copier_does_not_ask(cors: Commands) -> None:
    result = cors("explain", APP, "PURGE", "/api/echo")
    assert result.line("To allow it in one deployment:") == "FLASK_CORS_METHODS='GET, PATCH, PURGE'"
    assert "copier" not in result.stdout


def test_redirects(project: Path) -> None:
    (project / "odd.py").write_text(
        "from flask import redirect\n"
        "from app import create_app\n"
        "app = create_app()\n"
        "app.add_url_rule('/slash/', view_func=lambda: 'here', methods=['GET', 'PATCH'])\n"
        "app.add_url_rule('/away', 'away', lambda: redirect('https://other.example/x'))\n"
        "app.add_url_rule('/own', 'own', lambda: ('', {'Access-Control-Allow-Origin': '*'}))\n"
    )

    def explain(*arguments: str) -> Result:
        return shell(project, "flask", "--app", "odd", "cors", "explain", APP, *arguments)

    followed = explain("PATCH", "/slash")
    assert followed.exit_code == 0
    assert "4. request: PATCH http://localhost:8000/slash/" in followed.stdout
    away = explain("GET", "/away")
    assert away.exit_code == 1
    assert away.error == (
        "Error: http://localhost:8000/away redirects to https://other.example/x, which is not this"
        " app: probe it instead"
    )
    own = explain("GET", "/own", "--credentials")
    assert own.exit_code == 1
    assert own.line("Why:") == "credentials are sent, and not allowed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["https://a.example/", "GET", "/"], "'ORIGIN': https://a.example/: drop the trailing"),
        (["a.example", "GET", "/"], "add the scheme: https://a.example"),
        (["https://*.a.example", "GET", "/"], "https://*.a.example: name one origin"),
        (["any", "GET", "/"], "'ORIGIN': any: "),
        (["", "GET", "/"], "'ORIGIN': \"\": is empty"),
        ([APP, "G T", "/"], "'METHOD': G T: is not a method"),
        ([APP, "", "/"], "'METHOD': \"\": is not a method"),
        ([APP, "trace", "/"], "'METHOD': trace: no page may send it"),
        ([APP, "GET", "api"], "'PATH': api: start it with a slash: /api"),
        ([APP, "GET", "/a b"], "'PATH': /a b: percent-encode it: /a%20b"),
        ([APP, "GET", "/\x1b[2J"], "percent-encode it: /%1B[2J"),
        ([APP, "GET", "/\udcff"], "percent-encode it: /%FF"),
        ([APP, "GET", "/", "--header", "Cookie"], "Cookie: the browser alone sets this header"),
        ([APP, "GET", "/", "--header", "X:"], "'--header': X:: remove spaces, quotes"),
        ([APP, "PUT", "/", "--content-type", "a/b\r\nX: y"], "is not a media type"),
        ([APP, "PUT", "/", "--content-type", "json"], "json: is not a media type: write one such"),
        ([APP, "GET"], "Missing argument 'PATH'"),
        ([APP, "GET", "/", "--cookie"], "No such option"),
    ],
)
def test_bad_input_is_told_in_one_line(cors: Commands, arguments: list[str], message: str) -> None:
    result = cors("explain", *arguments)
    assert result.exit_code == 2
    assert message in result.error
    assert result.error.isprintable()
    assert result.stdout == ""


# Sends requests through the WSGI app, and marks on standard error, where its log goes, which
# lines belong to which. A number lets so many seconds pass.
LOGGED = """
import json, sys, time
now = 0.0
time.monotonic = lambda: now
from app import create_app
app = create_app({"SECRET_KEY": "for the cookie of this test"})
app.add_url_rule(
    "/twice", "twice", lambda: ("", [("Access-Control-Allow-Origin", "*")] * 2), methods=["GET"]
)
client = app.test_client(use_cookies=False)
for number, step in enumerate(json.load(sys.stdin)):
    print(f"step {number}", file=sys.stderr)
    if isinstance(step, (int, float)):
        now += step
    else:
        method, path, headers = step
        client.open(path, method=method, headers=headers)
"""

Step = tuple[str, str, dict[str, str]] | float


def logged(project: Path, *steps: Step) -> list[list[str]]:
    """Return the lines that each step wrote."""
    done = subprocess.run(
        [sys.executable, "-c", LOGGED],
        cwd=project,
        input=json.dumps(steps),
        capture_output=True,
        check=True,
        text=True,
    )
    lines: list[list[str]] = []
    # Not by splitlines, which takes other characters for line ends too.
    for line in done.stderr.removesuffix("\n").split("\n"):
        if line == f"step {len(lines)}":
            lines.append([])
        else:
            lines[-1].append(line)
    return lines


def preflight(origin: str, method: str, headers: str = "") -> Step:
    asked = {"Access-Control-Request-Headers": headers} if headers else {}
    return (
        "OPTIONS",
        "/api/echo",
        {
            "Origin": origin,
            "Access-Control-Request-Method": method,
            **asked,
        },
    )


def test_log_of_what_browsers_block(project: Path) -> None:
    start = "CORS: a browser blocks "
    expected = {
        ("GET", "/api/echo?secret=1", ("https://app.example.com:8443",)): (
            "GET /api/echo from https://app.example.com:8443: the response has no"
            " Access-Control-Allow-Origin: https://app.example.com:8443 is not allowed;"
            " https://app.example.com is: the port differs"
        ),
        ("GET", "/none", ("null",)): "GET /none from null: the response has no",
        ("GET", "/twice", (APP,)): (
            f"GET /twice from {APP}: Access-Control-Allow-Origin holds more than one value: the"
            " policy allows this: a view or a hook sets other CORS headers"
        ),
    }
    steps: list[Step] = [(method, path, {"Origin": origin}) for method, path, (origin,) in expected]
    steps += [
        preflight(APP, "DELETE"),
        preflight(APP, "POST", "content-type"),
        preflight(APP, "PATCH", "content-type,x-trace"),
        preflight("https://evil.example", "PATCH"),
        ("GET", "/api/echo", {"Origin": APP, "Cookie": "session=1"}),
    ]
    found = logged(project, *steps)
    for lines, beginning in zip(
        found,
        [
            *expected.values(),
            (
                f"DELETE /api/echo from {APP}: the method is not in Access-Control-Allow-Methods:"
                " DELETE is not among GET, PATCH"
            ),
            f"POST /api/echo from {APP}: the preflight's status is not from 200 to 299: POST is",
            (
                f"PATCH /api/echo from {APP}: a header is not in Access-Control-Allow-Headers: header"
                " x-trace is not listed"
            ),
            "PATCH /api/echo from https://evil.example: the response has no",
            f"GET /api/echo from {APP}: Access-Control-Allow-Credentials is not true: credentials",
        ],
        strict=True,
    ):
        assert len(lines) == 1, found
        assert lines[0].startswith(start + beginning)
    assert "secret" not in str(found)


def test_no_log_of_what_no_browser_blocks(project: Path) -> None:
    found = logged(
        project,
        ("GET", "/api/echo", {}),
        ("GET", "/api/echo", {"Origin": APP}),
        ("GET", "/none", {"Origin": APP}),
        preflight(APP, "PATCH", "content-type,authorization"),
        preflight("https://a.preview.example.com", "GET"),
        # Within one origin, and what is not fetched in mode "cors": a form, a link, an image.
        ("POST", "/api/echo", {"Origin": "http://localhost"}),
        ("POST", "/api/echo", {"Origin": "https://api.example", "Host": "api.example"}),
        ("POST", "/api/echo", {"Origin": "https://evil.example", "Sec-Fetch-Mode": "navigate"}),
        ("GET", "/api/echo", {"Origin": "https://evil.example", "Sec-Fetch-Mode": "no-cors"}),
    )
    assert found == [[]] * 9


def test_log_is_safe_against_control_characters(project: Path) -> None:
    odd = "https://evil.example\x1b[2J\x07\x85\u2028"
    sent = odd.encode().decode("latin-1")
    found = logged(
        project,
        ("GET", "/%0AERROR%20forged%1B[2J", {"Origin": sent}),
        preflight(APP, "\x1b[31mPUT", "x-\x1b"),
        ("GET", f"/{'x' * 5000}", {"Origin": f"https://{'y' * 5000}.example"}),
    )
    for lines in found:
        assert len(lines) == 1
        assert lines[0].isprintable()
        assert len(lines[0]) < 1000
    assert '"/\\nERROR forged\\u001b[2J"' in found[0][0]


def test_a_flood_is_limited_and_counted(project: Path) -> None:
    stranger: Step = ("GET", "/api/echo", {"Origin": "https://evil.example"})
    found = logged(project, *[stranger] * 100, 3.0, stranger, 3600.0, *[stranger] * 30)
    counts = [len(lines) for lines in found]
    assert counts[:100] == [1] * 20 + [0] * 80
    assert found[101][0].endswith(" (80 more were left out)")
    assert sum(counts[103:]) == 20
    assert "left out" not in found[103][0]
    # An allowed page's mistakes are limited too.
    assert sum(map(len, logged(project, *[preflight(APP, "DELETE")] * 30))) == 20
