"""`flask cors` and the log of a rendered project, as its owner sees them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Commands, Result, add_routes, running_commands
from conftest import Render, commit, copy

APP = "https://app.example.com"
ORIGINS = [
    APP,
    "https://*.preview.example.com",
    "https://pr-*.example.com",
    "http://localhost:5173",
    "http://[::1]:3000",
]

# What an owner might add to the sample resource.
ROUTES = """

@bp.route("/slash/", methods=["GET", "PATCH"])
def slash() -> str:
    return "here"


@bp.get("/away")
def away() -> Any:
    return redirect("https://other.example/x")


@bp.get("/own")
def own() -> Any:
    return "", [("Access-Control-Allow-Origin", "*")] * 2
"""


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "project"
    copy(template, folder, {"frontend_origins": ORIGINS, "allowed_methods": ["GET", "PATCH"]})
    add_routes(folder, ROUTES)
    return folder


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
    assert value_and_source(result, "CORS_ORIGINS") == (ORIGINS, "app/answers.py")
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
    assert result.stdout.splitlines()[:11] == [
        "CORS_ORIGINS  (app/answers.py)",
        *(f"  {origin}" for origin in ORIGINS),
        "CORS_METHODS  (environment, FLASK_CORS_METHODS)",
        "  GET, POST",
        "CORS_SUPPORTS_CREDENTIALS  (app/answers.py)",
        "  false",
        "CORS_ALLOW_HEADERS  (environment, FLASK_CORS_ALLOW_HEADERS)",
    ]
    assert "  none" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("variables", "warning"),
    [
        ({}, "http://localhost:5173: fine in development"),
        ({"FLASK_CORS_ORIGINS": "any"}, "every site can read the API's responses"),
        ({"FLASK_CORS_ORIGINS": "http://a.example"}, "http://a.example: anyone on the network"),
        (
            {"FLASK_CORS_ORIGINS": "https://shop-*-team.vercel.app"},
            "https://shop-*-team.vercel.app: anyone can register a name under vercel.app",
        ),
        (
            {
                "FLASK_CORS_ORIGINS": "https://*.a.example",
                "FLASK_CORS_SUPPORTS_CREDENTIALS": "true",
            },
            "https://*.a.example: any host that matches, even a forgotten one",
        ),
        (
            {
                "FLASK_CORS_ORIGINS": ", ".join(f"https://{n}.example" for n in range(11)),
                "FLASK_CORS_SUPPORTS_CREDENTIALS": "true",
            },
            "11 origins can each act as a logged-in user",
        ),
        ({"FLASK_CORS_PROTECTION": "false"}, "the protection is off: nothing is refused"),
        ({"FLASK_CORS_MAX_AGE": "86400"}, "86400 s, but Chromium caches them for at most 7200 s"),
    ],
)
def test_show_warns(cors: Commands, variables: dict[str, str], warning: str) -> None:
    lines = cors("show", **variables).stdout.splitlines()
    (found,) = [line for line in lines if line.startswith("Warning: ") and warning in line]
    as_json = json.loads(cors("show", "--json", **variables).stdout)
    assert found.removeprefix("Warning: ") in as_json["warnings"]


def test_show_has_nothing_to_warn_of(cors: Commands) -> None:
    result = cors("show", FLASK_CORS_ORIGINS=APP, FLASK_CORS_METHODS="GET, POST")
    assert "Warning" not in result.stdout and "Note" not in result.stdout


def test_show_names_the_other_origin_of_the_same_app(cors: Commands) -> None:
    result = cors("show", FLASK_CORS_ORIGINS="Capacitor://localhost, https://App.example.com/")
    assert "  capacitor://localhost" in result.stdout.splitlines()
    assert f"  {APP}" in result.stdout.splitlines()
    assert result.line("Note: capacitor://localhost:").endswith("https://localhost")


@pytest.mark.usefixtures("installed")
def test_flask_in_the_projects_folder(render: Render) -> None:
    """It reads .flaskenv and .env; what is wrong with the policy is all that it says then."""
    project = render()
    (project / ".env").write_text("FLASK_CORS_ORIGINS='https://dot.example'\n")
    result = shell(project, "flask", "cors", "show", "--json", FLASK_CORS_METHODS="GET")
    assert value_and_source(result, "CORS_ORIGINS") == (
        ["https://dot.example"],
        ".env, FLASK_CORS_ORIGINS",
    )
    assert value_and_source(result, "CORS_METHODS")[1] == "environment, FLASK_CORS_METHODS"
    (project / "outside.py").write_text(
        "from wsgi import app\n"
        "inside = app.wsgi_app\n"
        "def without_headers(environ, start_response):\n"
        "    return inside(environ, lambda status, headers, *_: start_response(status, []))\n"
        "app.wsgi_app = without_headers\n"
    )
    page = "https://dot.example"
    explained = shell(project, "flask", "--app", "outside", "cors", "explain", page, "GET", "/")
    assert explained.exit_code == 1
    assert "1. request: GET http://localhost:8000/" in explained.stdout.splitlines()
    assert explained.line("Why:").startswith("the policy allows this request, but other code")
    bad = {"FLASK_CORS_ORIGINS": "dot.example", "CORS_METHODS": "GET"}
    broken = shell(project, "flask", "cors", "show", **bad)
    assert broken.exit_code != 0
    assert "write FLASK_CORS_METHODS, not CORS_METHODS" in broken.stderr
    assert "No such command" not in broken.stderr
    del bad["CORS_METHODS"]
    broken = shell(project, "flask", "cors", "show", **bad)
    assert "CORS_ORIGINS: write https://dot.example, not dot.example:" in broken.stderr
    assert "No such command" not in broken.stderr


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
    "port": ("https://app.example.com:8443", [], f", but {APP} is: the port differs"),
    "scheme": ("http://app.example.com", [], f", but {APP} is: the scheme differs"),
    "scheme and port": (
        "http://app.example.com:8080",
        [],
        f", but {APP} is: the scheme and the port differ",
    ),
    "subdomain": (
        "https://www.app.example.com",
        [],
        f", but {APP} is: its subdomains are not included",
    ),
    "apex": (
        "https://preview.example.com",
        [],
        ", but https://*.preview.example.com is: the wildcard covers subdomains only",
    ),
    "port of a subdomain": (
        "https://a.preview.example.com:444",
        [],
        ", but https://*.preview.example.com is: the port differs",
    ),
    "scheme of a preview": (
        "http://pr-7.example.com",
        [],
        ", but https://pr-*.example.com is: the scheme differs",
    ),
    "localhost": (
        "http://127.0.0.1:5173",
        [],
        ", but http://localhost:5173 is: to a browser, these are two hosts",
    ),
    "port of localhost": (
        "http://localhost:3000",
        [],
        ", but http://localhost:5173 is: the port differs",
    ),
    "ipv6": ("http://[::1]:5173", [], ", but http://[::1]:3000 is: the port differs"),
    "typo": ("https://app.exmaple.com", [], f", but {APP} is: the host differs"),
    "stranger": (
        "https://zzz.test",
        [],
        f"; the policy allows {', '.join(ORIGINS[:3])} and 2 more",
    ),
    "extension": (
        f"chrome-extension://{32 * 'a'}",
        [],
        f"; the policy allows {', '.join(ORIGINS[:3])} and 2 more",
    ),
    "method": (APP, ["DELETE"], "DELETE is not allowed; the policy allows GET, PATCH"),
    "safelisted method": (
        APP,
        ["POST", "--content-type", "application/json"],
        "POST is not allowed; the policy allows GET, PATCH",
    ),
    "odd method": (APP, ["PURGE"], "PURGE is not allowed; the policy allows GET, PATCH"),
    "header": (APP, ["GET", "--header", "X-Trace"], "the header x-trace is not allowed"),
    "second header": (
        APP,
        ["GET", "--header", "Authorization", "--header", "X-Trace"],
        "the header x-trace is not allowed",
    ),
    "credentials": (
        APP,
        ["GET", "--credentials"],
        "the request sends credentials; the policy forbids them",
    ),
    "credentials in a preflight": (
        APP,
        ["PATCH", "--credentials"],
        "the request sends credentials; the policy forbids them",
    ),
}


@pytest.mark.parametrize("name", MISSES)
def test_explain_finds_the_nearest_miss_and_the_change_that_allows_it(
    cors: Commands, name: str
) -> None:
    page, options, miss = MISSES[name]
    arguments = ["explain", page, *(options[:1] or ["GET"]), "/api/echo", *options[1:]]
    result = cors(*arguments)
    assert result.exit_code == 1, result
    why = result.line("Why:")
    assert why == (f"{page} is not allowed{miss}" if page != APP else miss)
    assert result.line("Chrome's console: Access to fetch at 'http://localhost:").endswith(".")

    if name in ("scheme", "scheme of a preview"):  # anyone on the network could change that page
        secure = page.replace("http:", "https:")
        assert result.line("To allow it, open the page at:") == secure
        assert "FLASK_CORS" not in result.stdout
        assert cors("explain", secure, *arguments[2:]).exit_code == 0
        return
    (change,) = re.findall(r"deployment: (\S+=.*)", result.stdout)
    variable, _, value = "".join(shlex.split(change)).partition("=")
    changed = cors(*arguments, **{variable: value})
    assert changed.exit_code == 0, changed
    assert "\nAllowed" in changed.stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "why"),
    [
        (
            ["null", "GET"],
            {},
            "null is not allowed; the policy cannot allow it: CORS_ORIGINS: remove null: any site",
        ),
        (
            ["https://any.example", "GET", "--credentials"],
            {"FLASK_CORS_ORIGINS": "any"},
            (
                "the request sends credentials; the policy forbids them; the policy cannot allow"
                " it: CORS_ORIGINS: write the origins one by one, not *: with credentials, every"
            ),
        ),
        ([APP, "patch"], {}, "the page must write PATCH, not patch: browsers send this method as"),
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
    # What does not affect the verdict is not shown.
    assert "Content-Type" not in "".join(line.partition(":")[0] for line in step)
    assert result.line("Blocked by the browser at the preflight:") == (
        "the method is not in Access-Control-Allow-Methods."
    )
    assert result.line("Chrome's console:") == (
        f"Access to fetch at 'http://localhost:5000/api/echo' from origin '{APP}' has been blocked"
        " by CORS policy: Method DELETE is not allowed by Access-Control-Allow-Methods in preflight"
        " response."
    )


def test_copier_makes_the_printed_change(render: Render) -> None:
    """Both answers at once: a list in brackets, and what YAML reads otherwise."""
    project = render(allowed_headers=["*"], allowed_methods=["GET"])
    commit(project)
    blocked = [
        ("explain", "http://localhost:5173", "PUT", "/api/echo"),
        ("explain", "http://localhost:5173", "GET", "/api/echo", "--header", "Authorization"),
    ]
    with running_commands(project) as cors:
        changes = [shlex.split(cors(*one).line("To allow it:")) for one in blocked]
    assert changes[0][:-1] == changes[1][:-1]
    updated = shell(project, *changes[0][1:], "-d", changes[1][-1])
    assert updated.exit_code == 0, updated
    with running_commands(project) as cors:
        for arguments in blocked:
            assert cors(*arguments).exit_code == 0


def test_no_copier_command_for_what_copier_does_not_ask(cors: Commands) -> None:
    result = cors("explain", APP, "PURGE", "/api/echo")
    assert result.line("To allow it in one deployment:") == "FLASK_CORS_METHODS='GET, PATCH, PURGE'"
    assert "copier" not in result.stdout


def test_redirects(cors: Commands) -> None:
    followed = cors("explain", APP, "PATCH", "/api/slash")
    assert followed.exit_code == 0
    assert "4. request, not sent: PATCH http://localhost:5000/api/slash/" in followed.stdout
    away = cors("explain", APP, "GET", "/api/away")
    assert away.exit_code == 1
    assert away.error == (
        "Error: http://localhost:5000/api/away redirects to https://other.example/x, on another"
        " host: use `flask cors probe` instead"
    )


def test_headers_of_a_view_change_no_verdict(cors: Commands) -> None:
    assert cors("explain", APP, "GET", "/api/own").exit_code == 0
    stranger = cors("explain", "https://zzz.test", "GET", "/api/own")
    assert stranger.line("Blocked by the browser at the request:") == (
        "the response has no Access-Control-Allow-Origin."
    )


def test_explain_takes_what_is_pasted(cors: Commands) -> None:
    pasted = ("HTTPS://App.Example.com:443/log-in?next=/#top", "get")
    result = cors("explain", *pasted, "/api/echo", "--header", "Authorization:")
    assert result.exit_code == 0
    assert "   > Access-Control-Request-Headers: authorization" in result.stdout.splitlines()
    assert f"   > Origin: {APP}" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.example", "GET", "/"], "'ORIGIN': write https://a.example, not a.example: an origin"),
        (["https://*.a.example", "GET", "/"], "not https://*.a.example: it stands for several"),
        (["any", "GET", "/"], "not any: it stands for several"),
        (["", "GET", "/"], "'ORIGIN': write an origin such as https://app.example.com, not \"\": "),
        ([APP, "G T", "/"], "'METHOD': write each method as an item of its own, not G T: "),
        ([APP, "", "/"], "'METHOD': write a name such as GET, not \"\": it is not a method"),
        ([APP, "trace", "/"], "'METHOD': remove trace: no page may send it"),
        ([APP, "GET", "api"], "'PATH': write /api, not api: a path starts with a slash"),
        ([APP, "GET", "/a b"], "'PATH': write /a%20b, not /a b: "),
        ([APP, "GET", "/\x1b[2J"], "'PATH': write /%1B[2J, not "),
        ([APP, "GET", "/\udcff"], "'PATH': write /%FF, not "),
        ([APP, "GET", "/", "--header", "Cookie"], "'--header': remove Cookie: only the browser"),
        ([APP, "GET", "/", "--header", "X Y"], "'--header': write each header as an item"),
        ([APP, "GET", "/", "--header", "any"], "not any: it stands for every header"),
        ([APP, "GET", "/", "--header", "X-A: 1\r\nX-B: 2"], "a header is one line of Latin-1"),
        ([APP, "PUT", "/", "--content-type", "a/b\r\nX: y"], "it is not a media type"),
        ([APP, "PUT", "/", "--content-type", "json"], "such as application/json, not json: "),
        ([APP, "GET"], "write ORIGIN METHOD PATH, or put the browser's error in quotes"),
        ([APP, "GET", "/", "--cookie"], "No such option"),
    ],
)
def test_bad_input_gets_one_line(cors: Commands, arguments: list[str], message: str) -> None:
    result = cors("explain", *arguments)
    assert result.exit_code == 2
    assert message in result.error
    assert result.error.isprintable()
    assert result.stdout == ""


# Sends requests through the WSGI app, and marks on standard error, where its log goes, which
# lines belong to which.
LOGGED = """
import json, sys
from wsgi import app
client = app.test_client(use_cookies=False)
for number, (method, path, headers) in enumerate(json.load(sys.stdin)):
    print(f"step {number}", file=sys.stderr)
    client.open(path, method=method, headers=headers)
"""


def test_log_on_standard_error(project: Path) -> None:
    """A terminal gets one line for each blocked request. test_log.py has each kind of line."""
    hostile = "https://evil.example\x1b[2J\x07\x85\u2028".encode().decode("latin-1")
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x-\x1b"}
    steps: dict[str, tuple[str, str, dict[str, str]]] = {
        "stranger": ("GET", "/api/echo?secret=1", {"Origin": "https://evil.example"}),
        "preflight": ("OPTIONS", "/none", {"Origin": APP, **asked}),
        "newline": ("GET", "/%0AERROR%20forged%1B[2J", {"Origin": hostile}),
        "long": ("GET", f"/{'x' * 5000}", {"Origin": f"https://{'y' * 5000}.example"}),
        "allowed": ("GET", "/api/echo", {"Origin": APP}),
        "without origin": ("GET", "/none", {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", LOGGED],
        cwd=project,
        env={**os.environ, "FLASK_LOG_LEVEL": "WARNING"},  # without a line for each request
        input=json.dumps(list(steps.values())),
        capture_output=True,
        check=True,
        text=True,
    )
    lines = re.split(r"(?m)^step \d+\n", done.stderr)[1:]
    found = dict(zip(steps, lines, strict=True))
    assert found["allowed"] == found["without origin"] == ""
    for name in ("stranger", "preflight", "newline", "long"):
        line = found[name].removesuffix("\n")
        assert line.isprintable() and len(line) < 1000, line
        record = json.loads(line)
        assert record["event"].startswith("CORS: a browser blocks "), line
        assert (record["level"], record["logger"]) == ("warning", "app.cors.gate")
        assert record["time"] and record["id"]
    assert "secret" not in done.stderr
    assert '"/\\nERROR forged\\u001b[2J"' in json.loads(found["newline"])["event"]
