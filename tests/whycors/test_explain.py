"""`flask cors explain` is a whole diagnosis: of three words, a console's text or a curl command."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Commands, Result, add_routes, running_commands
from conftest import Render, commit, copy

APP = "https://app.example.com"
API = "https://api.example.com/api/echo"
STRANGER = "https://zzz.test"

ROUTES = """

@bp.get("/list")
def list_all() -> Any:
    return [], 200, {"X-Total-Count": "0", "Link": "</api/list?page=2>", "ETag": "1"}


@bp.get("/loop")
def loop() -> Any:
    return redirect("/api/loop")


@bp.route("/see", methods=["GET", "POST"])
def see() -> Any:
    return redirect(request.args["other"], 303)
"""


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain") / "project"
    copy(template, folder, {"frontend_origins": APP, "allowed_methods": ["GET", "POST"]})
    add_routes(folder, ROUTES)
    return folder


def also(result: Result) -> list[str]:
    lines = result.stdout.splitlines()
    return [line.removeprefix("Also: ") for line in lines if line.startswith("Also: ")]


def variables(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(line))


EVERYTHING = ["PATCH", "/api/echo", "--header", "X-Trace: 1", "--header=X-Two", "--credentials"]


def test_all_causes_at_once(cors: Commands, render: Render) -> None:
    result = cors("explain", STRANGER, *EVERYTHING)
    assert result.line("Why:") == f"{STRANGER} is not allowed; the policy allows {APP}"
    assert also(result) == [
        "PATCH is not allowed; the policy allows GET, POST",
        "the headers x-trace, x-two are not allowed",
        "the request sends credentials; the policy forbids them",
    ]
    changes = variables(result.line("Or for one deployment:"))
    assert cors("explain", STRANGER, *EVERYTHING, **changes).exit_code == 0

    project = render(frontend_origins=APP, allowed_methods=["GET", "POST"])
    commit(project)
    subprocess.run(
        [sys.executable, "-m", *shlex.split(result.line("To allow it:"))[1:]],
        cwd=project,
        check=True,
        capture_output=True,
    )
    with running_commands(project) as updated:
        assert updated("explain", STRANGER, *EVERYTHING).exit_code == 0


def test_command_for_good_is_made_from_the_answers(cors: Commands) -> None:
    other = "https://staging.example.com"
    result = cors("explain", STRANGER, "PUT", "/api/echo", FLASK_CORS_ORIGINS=other)
    assert result.line("First:") == (
        "remove FLASK_CORS_ORIGINS (environment), which overrides the answers"
    )
    assert result.line("To allow it:") == (
        "uvx copier update --vcs-ref=:current: --defaults"
        f" -d 'frontend_origins={APP}, {STRANGER}' -d 'allowed_methods=[GET, POST, PUT]'"
    )
    assert variables(result.line("Or for one deployment:")) == {
        "FLASK_CORS_ORIGINS": f"{other}, {STRANGER}",
        "FLASK_CORS_METHODS": "GET, POST, PUT",
    }
    # What the answers allow already needs no command.
    result = cors("explain", APP, "GET", "/api/echo", FLASK_CORS_ORIGINS=other)
    assert result.line("First:").endswith("overrides the answers: they allow this")
    assert "copier" not in result.stdout


def test_deployment_is_not_offered_the_origins_of_this_machine(cors: Commands) -> None:
    """But for those of apps, which are on their users' machines."""
    mobile = "capacitor://localhost"
    origins = {"FLASK_CORS_ORIGINS": f"{APP}, {mobile}, http://localhost:5173"}
    for url, local in ((API, []), ("/api/echo", ["http://localhost:5173"])):
        result = cors("explain", STRANGER, "GET", url, **origins)
        found = variables(result.line("Or for one deployment:"))["FLASK_CORS_ORIGINS"]
        assert found.split(", ") == [APP, mobile, *local, STRANGER]


def test_headers_that_the_page_cannot_read(cors: Commands) -> None:
    result = cors("explain", APP, "GET", "/api/list")
    assert result.exit_code == 0
    assert result.line("But the page cannot read") == "X-Total-Count, Link, ETag: it gets null."
    assert result.line("To allow it:") == (
        "uvx copier update --vcs-ref=:current: --defaults"
        " -d 'exposed_headers=X-Request-ID, X-Total-Count, Link, ETag'"
    )
    exposed = variables(result.line("Or for one deployment:"))
    result = cors("explain", APP, "GET", "/api/list", **exposed)
    assert result.stdout.endswith(
        "\nAllowed, and the app answers 200: the page may read the response.\n"
    )


@pytest.mark.parametrize(
    ("page", "url", "options", "why"),
    [
        (APP, "/api/loop", [], "the redirects form a loop"),
        (APP, "http://api.example.com/", [], "the page is on https: have it call https://api."),
        (APP, "/api/see?other=ftp://x/y", [], "no cross-origin request may go to ftp://x/y: corr"),
        (
            APP,
            "https://api.test/api/see?other=http://api.test/",
            [],
            "https://api.test/api/see?other=http://api.test/ redirects to http://api.test/, which",
        ),
        (
            APP,
            "/api/see?other=https://localhost:5000/",
            [],
            "http://localhost:5000/api/see?other=https://localhost:5000/ redirects to another",
        ),
        (APP, "/api/loop", ["--credentials"], "the request sends credentials; the policy forbids"),
        (
            APP,
            "http://api.example.com/",
            ["--credentials"],
            "the page is on https: have it call https://api.example.com/",
        ),
    ],
)
def test_why_is_about_the_block(
    cors: Commands, page: str, url: str, options: list[str], why: str
) -> None:
    result = cors("explain", page, "GET", url, *options)
    assert result.exit_code == 1
    assert result.line("Why:").startswith(why)


def test_refused_after_a_redirect(cors: Commands) -> None:
    arguments = (APP, "POST", "/api/see?other=/api/echo", "--send")
    result = cors("explain", *arguments, FLASK_CORS_METHODS="POST")
    assert result.line("Why:").startswith("the policy allows this request, but the API answers:")


NO_ORIGIN = "is not allowed; the policy allows"

# What each console printed.
TEXTS = {
    "Chrome": (
        f"index.js:1 Access to fetch at '{API}' from\n origin '{STRANGER}' has been blocked by"
        " CORS policy: No 'Access-Control-Allow-Origin' header is\npresent on the requested"
        f" resource.\nindex.js:1 GET {API} net::ERR_FAILED 200 (OK)"
    ),
    "Chrome, redirected": (
        f"Access to XMLHttpRequest at 'https://x.example/' (redirected from '{API}') from origin"
        f" '{STRANGER}' has been blocked by CORS policy: Words of another version."
    ),
    "Chrome, method": (
        f"Access to fetch at '{API}' from origin '{APP}' has been blocked by CORS policy: Method"
        " PUT is not allowed by Access-Control-Allow-Methods in preflight response."
    ),
    "Chrome, header": (
        f"Access to fetch at '{API}' from origin '{APP}' has been blocked by CORS policy: Request"
        " header field x-trace is not allowed by Access-Control-Allow-Headers in preflight"
        " response."
    ),
    "Firefox": (
        "Cross-Origin Request Blocked: The Same Origin Policy disallows reading the remote resource"
        f" at {API}. (Reason: CORS header ‘Access-Control-Allow-Origin’ missing). Status code: 200."
        " [Learn More]"
    ),
    "Firefox, method": (
        f"XHR\nPUT\n{API}\nCORS Method Not Found\n\nCross-Origin Request Blocked: The Same Origin"
        f" Policy disallows reading the remote resource at {API}. (Reason: Did not find method in"
        " CORS header 'Access-Control-Allow-Methods').\n\nCross-Origin Request Blocked: The Same"
        f" Origin Policy disallows reading the remote resource at {API}. (Reason: CORS request did"
        " not succeed). Status code: (null)."
    ),
    "Firefox, in one word": (
        f"XHRPUT{API}\nCORS Method Not Found\n\nCross-Origin Request Blocked: The Same Origin"
        f" Policy disallows reading the remote resource at {API}. (Reason: Did not find method in"
        " CORS header 'Access-Control-Allow-Methods')."
    ),
    "Firefox, credentials": (
        "Cross-Origin Request Blocked: The Same Origin Policy disallows reading the remote resource"
        f" at ‘{API}’. (Reason: Credential is not supported if the CORS header"
        " ‘Access-Control-Allow-Origin’ is ‘*’)."
    ),
    "Safari": (
        f"[Error] Origin {STRANGER} is not allowed by Access-Control-Allow-Origin. Status code:"
        f" 200\n[Error] Fetch API cannot load {API} due to access control checks.\n[Error] Failed"
        f" to load resource: Origin {STRANGER} is not allowed by Access-Control-Allow-Origin."
        " Status code: 200 (echo, line 0)"
    ),
    "Safari, header": (
        "[Error] Request header field X-Trace is not allowed by Access-Control-Allow-Headers.\n"
        f"[Error] Fetch API cannot load {API} due to access control checks."
    ),
}

# What must be added to each text, and why the request is blocked.
PASTED: dict[str, tuple[list[str], str]] = {
    "Chrome": ([], f"{STRANGER} {NO_ORIGIN} {APP}"),
    "Chrome, redirected": (["--method=GET"], f"{STRANGER} {NO_ORIGIN} {APP}"),
    "Chrome, method": ([], "PUT is not allowed; the policy allows GET, POST"),
    "Chrome, header": (["--method=POST"], "the header x-trace is not allowed"),
    "Firefox": ([f"--origin={STRANGER}", "--method=GET"], f"{STRANGER} {NO_ORIGIN} {APP}"),
    "Firefox, method": ([], "PUT is not allowed; the policy allows GET, POST"),
    "Firefox, in one word": ([], "PUT is not allowed; the policy allows GET, POST"),
    "Firefox, credentials": (
        ["--method=GET"],
        "the request sends credentials; the policy forbids them",
    ),
    "Safari": (["--method=GET"], f"{STRANGER} {NO_ORIGIN} {APP}"),
    "Safari, header": (["--method=GET"], "the header x-trace is not allowed"),
}


@pytest.mark.parametrize("name", PASTED)
def test_pasted_error(cors: Commands, name: str) -> None:
    """One allowed origin needs no question."""
    text, (options, why) = TEXTS[name], PASTED[name]
    result = cors("explain", *options, text)
    assert result.exit_code == 1, result
    assert f" {API}\n" in result.stdout
    assert result.line("Why:") == why
    assert not also(result)
    if "another version" not in text and "‘*’" not in text:  # what this policy never makes it say
        printed = result.line(f"{name.partition(',')[0]}'s console:").split(" Status code")[0]
        assert plain(printed) in plain(text)


def test_method_is_taken_from_the_line_about_the_url(cors: Commands) -> None:
    """Among others, and quoted as e-mails quote."""
    result = cors(
        "explain",
        "> GET https://cdn.example.net/a.js net::ERR_FAILED\n"
        f"> Access to fetch at '{API}' from\n> origin '{STRANGER}' has been blocked by CORS policy:"
        " No 'Access-Control-Allow-Origin' header is present on the requested resource.\n"
        f"> PATCH {API} net::ERR_FAILED\n",
    )
    assert result.line("Why:") == f"{STRANGER} {NO_ORIGIN} {APP}"
    assert also(result) == ["PATCH is not allowed; the policy allows GET, POST"]


def test_preflight_that_firefox_tells_of(cors: Commands) -> None:
    text = TEXTS["Firefox"]
    second = text.replace(
        "CORS header ‘Access-Control-Allow-Origin’ missing", "CORS request did not succeed"
    )
    for pasted, kind in ((text, "request: POST"), (f"{text}\n{second}", "preflight: OPTIONS")):
        result = cors("explain", f"--origin={STRANGER}", "--method=POST", pasted)
        assert result.stdout.startswith(f"1. {kind} {API}\n")


def plain(text: str) -> str:
    return " ".join(text.replace("‘", "'").replace("’", "'").split())


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("text", "options"),
    [
        (TEXTS["Chrome, method"], []),
        (f"- {TEXTS['Chrome, method']}", []),
        (TEXTS["Safari"], ["--method", "PUT"]),
    ],
)
def test_standard_input(project: Path, text: str, options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "cors", "explain", *options],
        cwd=project,
        input=text,
        capture_output=True,
        text=True,
    )
    assert "PUT is not allowed; the policy allows GET, POST" in done.stdout, done.stderr
    assert done.returncode == 1


def test_error_that_the_policy_here_does_not_explain(cors: Commands) -> None:
    text = TEXTS["Chrome"].replace(STRANGER, APP)
    result = cors("explain", text)
    assert result.exit_code == 0
    assert result.line("Warning: the policy here allows what the browser blocked:").endswith(
        f": flask cors probe {API} {APP} GET"
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Uncaught TypeError: Failed to fetch", "paste the whole error about CORS"),
        (f"GET {API} net::ERR_CONNECTION_REFUSED", "start the API, or correct the URL"),
        (
            "(Reason: CORS header ‘Access-Control-Allow-Origin’ missing).",
            "copy the line that has it: the text names no URL",
        ),
        (
            "Access to script at 'file:///a' from origin 'null' has been blocked by CORS policy: x",
            "serve the page over http",
        ),
    ],
)
def test_text_that_is_no_error(cors: Commands, text: str, error: str) -> None:
    result = cors("explain", text)
    assert result.exit_code == 2
    assert result.error.startswith(f"Error: {error}")


CURL = rf"""curl '{API}?a=b' \
  -X 'PUT' \
  -H 'accept: */*' \
  -H 'content-type: application/json' \
  -H 'origin: {APP}' \
  -H 'sec-fetch-mode: cors' \
  -H 'user-agent: Mozilla/5.0' \
  -H 'x-trace: 1' \
  -b 'session=1' \
  --data-raw '{{"a":1}}' --compressed"""


@pytest.mark.parametrize("words", [[CURL], shlex.split(CURL.replace("\\\n", " "))])
def test_curl_command(cors: Commands, words: list[str]) -> None:
    result = cors("explain", *words)
    assert result.exit_code == 1
    asked = "   > Access-Control-Request-Headers: content-type,x-trace"
    assert asked in result.stdout.splitlines()
    assert f"OPTIONS {API}?a=b" in result.stdout
    assert [result.line("Why:"), *also(result)] == [
        "PUT is not allowed; the policy allows GET, POST",
        "the header x-trace is not allowed",
        "the request sends credentials; the policy forbids them",
    ]


@pytest.mark.parametrize(
    ("command", "method", "headers"),
    [
        ("curl -I http://localhost/x -H 'Origin: {APP}'", "HEAD", set()),
        ("curl -d a=1 localhost:8000/x", "POST", {"Content-Type: application/x-www-form"}),
        ("curl --json {} -sSL localhost:8000/x", "POST", {"Content-Type: application/json"}),
        ("curl -G -d a=1 http://localhost/x", "GET", set()),
        ("curl -XPUT -uada:secret http://localhost/x", "PUT", {"authorization"}),
        ("curl --resolve a:80:127.0.0.1 http://localhost/x", "GET", set()),
        ("curl -F a=b http://localhost/x", "POST", {"Content-Type: multipart/form-data"}),
        (
            "curl -X OPTIONS localhost/x -H Access-Control-Request-Method:PUT"
            + " -H Access-Control-Request-Headers:authorization",
            "PUT",
            {"authorization"},
        ),
        # As Chrome copies an apostrophe, for cmd, and several requests at once.
        ("""curl http://localhost/x --data-raw $'{"it\\'s": 1}'""", "POST", set()),
        (
            '$ curl.exe ^"http://localhost/x^" ^\r\n  -X ^"PUT^" -d ^"^{^\\^"a^\\^":1^}^"',
            "PUT",
            set(),
        ),
    ],
)
def test_options_of_curl(cors: Commands, command: str, method: str, headers: set[str]) -> None:
    result = cors("explain", command.replace("{APP}", APP), FLASK_CORS_METHODS="GET, POST, PUT")
    assert result.exit_code == 0 and "Allowed" in result.stdout, result
    sent = [line for line in result.stdout.splitlines() if re.match(r"\d\. request", line)]
    assert sent[0].partition(": ")[2].split()[0] == method
    for header in headers:
        assert f"> {header}" in result.stdout or f": {header}" in result.stdout


@pytest.mark.parametrize(
    "words", [["curl", API, "--origin", STRANGER], [f"--origin={STRANGER}", "curl", API]]
)
def test_origin_that_no_header_of_curl_names(cors: Commands, words: list[str]) -> None:
    assert cors("explain", *words).line("Why:") == f"{STRANGER} {NO_ORIGIN} {APP}"


def test_body_and_values_reach_the_app(cors: Commands) -> None:
    """A body that is not JSON gets no answer but 415."""
    for body, status in (('{"a": 1}', "200 OK"), ("{", "400 Bad Request")):
        header = "--header=Content-Type: application/json"
        result = cors("explain", APP, "POST", "/api/echo", header, "--data", body, "--send")
        assert f"   < {status}" in result.stdout.splitlines(), result
        curl = shlex.join(["curl", API, "-H", f"Origin: {APP}", "--json", body])
        assert f"   < {status}" in cors("explain", curl, "--send").stdout.splitlines()
    plain = cors("explain", APP, "POST", "/api/echo", "--data", "text", "--send")
    assert "   > Content-Type: text/plain;charset=UTF-8" in plain.stdout.splitlines()
    refused = cors("explain", APP, "GET", "/api/echo", "--data", "text")
    assert refused.error.endswith("remove it: no page can send a body with GET")


@pytest.mark.parametrize(
    ("page", "url", "warning"),
    [
        (APP, "http://localhost:8000/", "Chrome asks its user before a page on https://app"),
        (APP, "https://192.168.0.9/", "Chrome asks its user before a page on https://app"),
        ("http://app.example.com", "http://127.0.0.1/", "serve the page over https: Chrome lets"),
        ("http://192.168.0.9", "http://127.0.0.1/", "serve the page over https: Chrome lets no"),
        ("http://localhost:5173", "http://localhost:8000/", ""),
        ("http://localhost:5173", "http://192.168.0.9/", ""),
        (APP, "https://api.example.com/api/echo", ""),
        (APP, "/api/echo", ""),
    ],
)
def test_local_network_access(cors: Commands, page: str, url: str, warning: str) -> None:
    result = cors("explain", page, "GET", url.replace(":8000/", ":5001/"))
    assert ("Warning: " + warning in result.stdout) if warning else "Warn" not in result.stdout


def test_error_about_the_local_network(cors: Commands) -> None:
    text = (
        f"Access to fetch at 'http://localhost:8000/api/echo' from origin '{APP}' has been blocked"
        " by CORS policy: Permission was denied for this request to access the `loopback` address"
        " space."
    )
    result = cors("explain", "--method=GET", text)
    assert result.line("Warning:").startswith("Chrome asks its user before a page on")
    assert "probe" not in result.stdout
