"""`flask cors` goes by the path's own policy, and tells a refusal from what a browser blocks."""

import copy
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chromium import serve
from commands import Commands, Result
from conftest import copy as copy_project
from flask import Flask
from flask_cors import CORS

from app import cors as app_cors
from whycors.origins import fetch_site, metadata

APP = "https://app.example.com"
STRANGER = "https://zzz.test"
PARTNER = "https://qqqq.test"
PATHS: dict[str, Any] = {
    "/api/public/": {"origins": ["any"], "methods": ["GET"]},
    "/api/echo": {"methods": ["GET", "POST"], "max_age": 60},
    "/api/echo/partner": {"origins": PARTNER},
    "/saml": {"protection": False},
}
SETTINGS = f"\nCORS_PATHS = {PATHS!r}\n"


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths") / "project"
    answers = {"frontend_origins": APP, "allowed_methods": ["GET", "PUT"]}
    copy_project(template, folder, answers)
    with (folder / "app/settings.py").open("a") as settings:
        settings.write(SETTINGS)
    return folder


def shown(result: Result) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def paths_setting(result: Result) -> dict[str, Any]:
    (found,) = [one for one in shown(result)["settings"] if one["name"] == "CORS_PATHS"]
    return dict(found)


def test_show_has_the_policy_of_each_path_and_its_source(cors: Commands) -> None:
    setting = paths_setting(cors("show", "--json"))
    assert setting["source"] == "app/settings.py"
    assert set(setting["value"]) == {path.rstrip("/") for path in PATHS}
    assert setting["value"]["/api/echo"] == {
        "origins": [APP],
        "methods": ["GET", "POST"],
        "supports_credentials": False,
        "allow_headers": ["Content-Type", "Authorization"],
        "expose_headers": ["X-Request-ID"],
        "max_age": 60,
        "protection": True,
    }
    assert shown(cors("show", "--json"))["own"]["/api/echo"] == ["methods", "max_age"]
    # Credentials are not inherited by `any`.
    credentials = {"FLASK_CORS_SUPPORTS_CREDENTIALS": "true"}
    own = shown(cors("show", "--json", **credentials))["own"]
    assert own["/api/public"] == ["origins", "methods", "supports_credentials"]

    overridden = paths_setting(cors("show", "--json", FLASK_CORS_PATHS='{"/x": {"max_age": 1}}'))
    assert overridden["source"] == "environment, FLASK_CORS_PATHS"
    assert overridden["value"]["/x"]["max_age"] == 1
    given = paths_setting(cors("show", "--json", config={"CORS_PATHS": {}}))
    assert (given["source"], given["value"]) == ("create_app", {})


def test_show_as_text(cors: Commands) -> None:
    lines = cors("show").stdout.splitlines()
    assert "CORS_PATHS  (app/settings.py)" in lines
    start = lines.index("  /api/public")
    assert lines[start + 1 : start + 8] == [
        "    origins: *",
        "    methods: GET",
        "    supports_credentials: false  (inherited)",
        "    allow_headers: Content-Type, Authorization  (inherited)",
        "    expose_headers: X-Request-ID  (inherited)",
        "    max_age: 600  (inherited)",
        "    protection: true  (inherited)",
    ]
    assert lines[lines.index("CORS_PROTECTION  (default)") + 1] == "  true"
    none = cors("show", FLASK_CORS_PATHS="{}").stdout.splitlines()
    assert none[none.index("CORS_PATHS  (environment, FLASK_CORS_PATHS)") + 1] == "  none"


OFF = "the protection is off: nothing is refused, so every site can make the API act"


@pytest.mark.parametrize(
    ("variables", "warnings"),
    [
        ({}, ["/api/public: every site can read its responses", f"/saml: {OFF}"]),
        ({"FLASK_CORS_PATHS": "{}"}, []),
        # What a path inherits is said once.
        ({"FLASK_CORS_PROTECTION": "false", "FLASK_CORS_PATHS": '{"/x": {"max_age": 5}}'}, [OFF]),
        (
            {"FLASK_CORS_PROTECTION": "false", "FLASK_CORS_PATHS": '{"/x": {"protection": true}}'},
            [OFF],
        ),
        (
            {"FLASK_CORS_PATHS": '{"/x": {"origins": "any", "methods": "GET, HEAD, POST, QUERY"}}'},
            [
                "/x: every site can read its responses",
                "/x: every page may run POST, QUERY: no origin is refused",
            ],
        ),
        (
            {"FLASK_CORS_PATHS": "{}", "FLASK_CORS_ORIGINS": "any"},
            ["every site can read the API's responses", "every page may run PUT: no origin"],
        ),
        (
            {"FLASK_CORS_PATHS": '{"/x": {"origins": "https://*.example.com"}}'}
            | {"FLASK_CORS_SUPPORTS_CREDENTIALS": "true"},
            [
                "/x: https://*.example.com: any host that matches, even a forgotten one, can act",
            ],
        ),
        (
            {"FLASK_CORS_PATHS": "{}", "FLASK_CORS_SUPPORTS_CREDENTIALS": "true"}
            | {"FLASK_CORS_ORIGINS": f"{APP}, https://www.example.com, https://other.example"},
            [f"{APP} and https://other.example are on several sites, and the session cookie is"],
        ),
    ],
)
def test_show_warns(cors: Commands, variables: dict[str, str], warnings: list[str]) -> None:
    found = shown(cors("show", "--json", **variables))["warnings"]
    assert len(found) == len(warnings), found
    for warning, start in zip(found, warnings, strict=True):
        assert warning.startswith(start)
    text = cors("show", **variables).stdout
    assert text.count("\nWarning: ") == len(warnings)


def test_show_gives_the_frontend_its_line(cors: Commands) -> None:
    credentials = {"FLASK_CORS_SUPPORTS_CREDENTIALS": "true"}
    line = 'fetch("http://localhost:5000/api/echo", { credentials: "include" })'
    assert cors("show", **credentials).stdout.rstrip().endswith(line)
    assert "fetch(" not in cors("show").stdout
    paths = json.dumps({"/account": {"supports_credentials": True}})
    line = 'fetch("http://localhost:5000/account", { credentials: "include" })'
    assert cors("show", FLASK_CORS_PATHS=paths).stdout.rstrip().endswith(line)


# A page, its request and its options; why it is not allowed, and the line that allows it.
MISSES: dict[str, tuple[list[str], str, str]] = {
    "method": (
        [APP, "PUT", "/api/echo"],
        "PUT is not allowed; the policy of /api/echo allows GET, POST",
        'CORS_PATHS["/api/echo"] |= {"methods": ["GET", "POST", "PUT"]}',
    ),
    "method, below the path, encoded": (
        [APP, "PUT", "/%61pi/echo/below?a=/api/public"],
        "PUT is not allowed; the policy of /api/echo allows GET, POST",
        'CORS_PATHS["/api/echo"] |= {"methods": ["GET", "POST", "PUT"]}',
    ),
    "origin": (
        [STRANGER, "GET", "/api/echo"],
        f"{STRANGER} is not allowed; the policy of /api/echo allows {APP}",
        f'CORS_PATHS["/api/echo"] |= {{"origins": ["{APP}", "{STRANGER}"]}}',
    ),
    "origin that the whole API allows": (
        [APP, "GET", "/api/echo/partner/1"],
        f"{APP} is not allowed; the policy of /api/echo/partner allows {PARTNER}",
        f'CORS_PATHS["/api/echo/partner"] |= {{"origins": ["{PARTNER}", "{APP}"]}}',
    ),
    "header": (
        [STRANGER, "GET", "/api/public", "--header", "X-Trace"],
        "the header x-trace is not allowed by the policy of /api/public/",
        (
            'CORS_PATHS["/api/public/"]'
            ' |= {"allow_headers": ["Content-Type", "Authorization", "x-trace"]}'
        ),
    ),
    "credentials": (
        [APP, "GET", "/api/echo", "--credentials"],
        "the request sends credentials; the policy of /api/echo forbids them",
        'CORS_PATHS["/api/echo"] |= {"supports_credentials": True}',
    ),
    "refused": (
        [STRANGER, "POST", "/api/public/x"],
        "POST is not allowed; the policy of /api/public/ allows GET",
        'CORS_PATHS["/api/public/"] |= {"methods": ["GET", "POST"]}',
    ),
}


@pytest.mark.parametrize("name", MISSES)
def test_explain_changes_the_path_and_nothing_else(cors: Commands, name: str) -> None:
    arguments, why, line = MISSES[name]
    result = cors("explain", *arguments)
    assert result.exit_code == 1
    assert result.line("Why:") == why
    assert result.line("To allow it, write in app/settings.py:") == line
    assert "copier" not in result.stdout and "FLASK_CORS_ORIGINS" not in result.stdout

    variable, _, value = shlex.split(result.line("Or for one deployment:"))[0].partition("=")
    assert variable == "FLASK_CORS_PATHS"
    namespace = {"CORS_PATHS": copy.deepcopy(PATHS)}
    exec(line, namespace)
    assert json.loads(value) == namespace["CORS_PATHS"]
    assert cors("explain", *arguments, config={"CORS_PATHS": json.loads(value)}).exit_code == 0
    # Where the environment sets the paths, only the environment can change them.
    by_environment = cors("explain", *arguments, FLASK_CORS_PATHS=json.dumps(PATHS))
    assert (
        by_environment.line("To allow it in one deployment:") == f"{variable}={shlex.quote(value)}"
    )
    assert by_environment.line("First:") == (
        "change FLASK_CORS_PATHS (environment), which overrides app/settings.py"
    )
    assert "write in app/settings.py" not in by_environment.stdout


@pytest.mark.parametrize("path", ["/api/publicity", "/api", "/", "/api/echoes", "/api%2Fpubli"])
def test_explain_changes_the_answers_for_other_paths(cors: Commands, path: str) -> None:
    result = cors("explain", STRANGER, "GET", path)
    assert result.line("Why:") == f"{STRANGER} is not allowed; the policy allows {APP}"
    assert result.line("To allow it:").startswith("uvx copier update ")
    assert "CORS_PATHS" not in result.stdout


def test_what_a_path_allows_is_allowed(cors: Commands) -> None:
    for arguments in (
        [STRANGER, "GET", "/api/public"],
        [STRANGER, "HEAD", "/api/public/x"],
        [STRANGER, "GET", "/api%2Fpublic"],
        [APP, "POST", "/api/echo", "--content-type", "application/json"],
        [PARTNER, "PUT", "/api/echo/partner"],
        [APP, "PUT", "/elsewhere"],
    ):
        result = cors("explain", *arguments)
        assert result.exit_code == 0, result
        assert "\nAllowed" in result.stdout


def test_no_advice_that_the_app_would_reject(cors: Commands) -> None:
    result = cors("explain", STRANGER, "GET", "/api/public", "--credentials")
    assert "; the policy cannot allow it: CORS_PATHS['/api/public/']: " in result.line("Why:")
    assert "To allow it" not in result.stdout
    # The whole policy may not break that of a path either.
    previews = {"FLASK_CORS_PATHS": '{"/x": {"origins": "https://pr-*.vercel.app"}}'}
    result = cors("explain", APP, "GET", "/", "--credentials", **previews)
    assert "; the policy cannot allow it: CORS_PATHS['/x']: " in result.line("Why:")


NO_HEADER = "The browser hides this answer: the response has no Access-Control-Allow-Origin."
ORIGIN = "the origin is not in CORS_ORIGINS"
METHOD = "the method is not in CORS_METHODS"
READABLE = "The page may read this answer: the browser blocks nothing."


@pytest.mark.parametrize(
    ("page", "method", "cause", "then", "why"),
    [
        (STRANGER, "POST", ORIGIN, NO_HEADER, f"{STRANGER} is not"),
        ("null", "POST", ORIGIN, NO_HEADER, "null is not allowed"),
        # By the host alone these would be one origin, but the browser sends Sec-Fetch-Site.
        (
            "https://localhost:5000",
            "POST",
            ORIGIN,
            NO_HEADER,
            "https://local",
        ),
        (
            APP,
            "POST",
            f"{METHOD}: GET, PUT",
            READABLE,
            "POST is not allowed; the",
        ),
        (
            APP,
            "HEAD",
            f"{METHOD}: PUT",
            READABLE,
            "HEAD is not allowed; the policy",
        ),
        (
            APP,
            "GET",
            f"{METHOD}: PUT",
            READABLE,
            "GET is not allowed; the policy",
        ),
    ],
)
def test_refused_by_the_api(
    cors: Commands, page: str, method: str, cause: str, then: str, why: str
) -> None:
    variables = {"FLASK_CORS_METHODS": "PUT"} if cause.endswith(": PUT") else {}
    result = cors("explain", page, method, "/elsewhere", **variables)
    assert result.exit_code == 1
    told = result.line("Refused by the API, before its code ran:")
    assert told == f"{cause}." or (method, told) == ("HEAD", "the method is not allowed.")
    assert then in result.stdout.splitlines()
    assert ("Chrome's console: " in result.stdout) is (then == NO_HEADER)
    assert result.line("Why:").startswith(why)
    assert "Blocked by the browser" not in result.stdout
    if variables:
        assert result.line("First:") == (
            "remove FLASK_CORS_METHODS (environment), which overrides the answers: they allow this"
        )
    elif page == APP:
        assert result.line("To allow it:").startswith("uvx copier update ")


def test_blocked_by_the_browser(cors: Commands) -> None:
    for arguments in (
        [STRANGER, "GET", "/elsewhere"],
        [STRANGER, "PUT", "/elsewhere"],
        [APP, "DELETE", "/elsewhere"],
        [STRANGER, "POST", "/saml/acs"],  # without the protection, it runs
    ):
        result = cors("explain", *arguments)
        assert result.exit_code == 1
        assert "\nBlocked by the browser at the " in result.stdout
        assert "Refused" not in result.stdout


@contextmanager
def served(**settings: Any) -> Iterator[str]:
    """Serve an app with one view under a policy, and yield its origin."""
    defaults: dict[str, Any] = {
        "CORS_ORIGINS": [APP],
        "CORS_METHODS": ["GET", "PUT"],
        "CORS_SUPPORTS_CREDENTIALS": False,
        "CORS_ALLOW_HEADERS": ["Content-Type", "Authorization"],
        "CORS_EXPOSE_HEADERS": ["X-Request-ID"],
        "CORS_MAX_AGE": 600,
    }
    app = Flask("served", static_folder=None)
    methods = ["GET", "POST", "PUT"]
    app.add_url_rule("/<path:path>", "view", lambda path: {"path": path}, methods=methods)
    policy = app_cors.Policy.from_config(defaults | settings)
    app_cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    with serve(app) as port:
        yield f"http://localhost:{port}"


def test_probe(cors: Commands) -> None:
    with served(CORS_PATHS=PATHS) as api:
        public = cors("probe", f"{api}/api/public/x", STRANGER, "GET")
        assert public.exit_code == 0, public
        assert "Warning" not in public.stdout  # strangers are welcome there
        line = "To allow it, write in app/settings.py:"
        blocked = cors("probe", f"{api}/api/echo", APP, "PUT")
        assert "Blocked by the browser at the preflight" in blocked.stdout
        assert blocked.line(line) == MISSES["method"][2]
        refused = cors("probe", f"{api}/api/public", STRANGER, "POST", "--send")
        assert refused.exit_code == 1
        assert refused.line("Refused by the API, before its code ran:") == (
            "the method is not in CORS_PATHS['/api/public/']['methods']: GET."
        )
        assert refused.line(line) == MISSES["refused"][2]
        refused = cors("probe", f"{api}/elsewhere", STRANGER, "POST", "--send")
        assert NO_HEADER in refused.stdout
        assert refused.line("To allow it:").startswith("uvx copier update ")
        head = cors("probe", f"{api}/elsewhere", APP, "HEAD", FLASK_CORS_METHODS="PUT")
        assert head.exit_code == 0  # the deployed API allows it
        assert head.line("Warning: the policy here does not allow this:").startswith("HEAD is not")


def test_probe_of_an_api_without_the_paths(cors: Commands) -> None:
    with served() as api:
        for method in ("GET", "POST"):
            paths = '{"/api/public": {"origins": "any", "methods": "GET, POST"}}'
            url = f"{api}/api/public"
            result = cors("probe", url, STRANGER, method, "--send", FLASK_CORS_PATHS=paths)
            assert result.exit_code == 1
            assert result.line("Why:").startswith("the policy here allows this, but the deployed")
            assert ("Refused by the API" in result.stdout) is (method == "POST")


@pytest.mark.parametrize(
    ("page", "urls", "site"),
    [
        ("http://localhost:5173", ["http://localhost:8000/"], "same-site"),
        ("http://localhost:8000", ["http://localhost:8000/a"], "same-origin"),
        ("https://localhost:8000", ["http://localhost:8000/"], "cross-site"),
        ("http://127.0.0.1:5173", ["http://localhost:8000/"], "cross-site"),
        ("http://127.0.0.1:5173", ["http://127.0.0.1:8000/"], "same-site"),
        ("http://127.0.0.2:5173", ["http://127.0.0.1:8000/"], "cross-site"),
        ("http://[::1]:5173", ["http://[::1]:8000/"], "same-site"),
        ("http://app.localhost", ["http://api.localhost/"], "cross-site"),
        ("https://app.example.com", ["https://api.example.com/"], "same-site"),
        ("https://app.example.com:8443", ["https://example.com/"], "same-site"),
        ("http://app.example.com", ["https://api.example.com/"], "cross-site"),
        ("https://a.co.uk", ["https://b.co.uk/"], "cross-site"),
        ("https://a.github.io", ["https://b.github.io/"], "cross-site"),
        ("https://app.unknown", ["https://app.unknown:8443/"], "same-site"),
        ("null", ["https://api.example.com/"], "cross-site"),
        ("capacitor://localhost", ["https://localhost/"], "cross-site"),
        # Every redirect counts.
        ("https://a.example.com", ["https://other.net/", "https://a.example.com/"], "cross-site"),
        (
            "https://a.example.com",
            ["https://b.example.com/", "https://a.example.com/"],
            "same-site",
        ),
    ],
)
def test_fetch_site_is_what_browsers_send(page: str, urls: list[str], site: str) -> None:
    assert fetch_site(page, urls) == site
    assert ("Sec-Fetch-Site", site) in metadata(page, urls)


def test_no_fetch_metadata_over_plain_http() -> None:
    assert metadata(APP, ["http://api.example.com/"]) == ()
    assert metadata(APP, ["http://192.168.0.1/"]) == ()


COOKIES = """
import json
{load}
from wsgi import app
app.config["SECRET_KEY"] = "for this test"
app.add_url_rule("/log-in", view_func=lambda: dict(done=__import__("flask").session.update(a=1)))
print(app.test_client().get("/log-in", base_url="https://localhost").headers["Set-Cookie"])
"""
LOAD = {
    "developer": "from flask.cli import load_dotenv; load_dotenv()",  # as `flask run` does
    "server": "",
}


@pytest.mark.usefixtures("installed")
def test_explain_names_an_answers_file_of_another_name(template: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    copy_project(template, project, {"frontend_origins": APP})
    (project / ".copier-answers.yml").rename(project / ".copier-answers.api.yml")
    (project / ".copier-answers.yml").write_text("_src_path: another\n")
    done = subprocess.run(
        [sys.executable, "-m", "flask", "cors", "explain", STRANGER, "GET", "/api/echo"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert "To allow it: uvx copier update -a .copier-answers.api.yml --vcs-ref" in done.stdout


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("shares_site", [True, False])
def test_session_cookie_of_a_developer_and_of_a_server(
    template: Path, tmp_path: Path, shares_site: bool
) -> None:
    answers = {"allow_credentials": True, "frontends_share_site": shares_site}
    copy_project(template, tmp_path / "project", {**answers, "frontend_origins": APP})

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path / "project",
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    attributes = {
        whose: set(run("-c", COOKIES.format(load=load)).strip().split("; ")[1:])
        - {"HttpOnly", "Path=/"}
        for whose, load in LOAD.items()
    }
    assert attributes["developer"] == {"SameSite=Lax"}
    other = {"SameSite=None", "Partitioned"}
    assert attributes["server"] == {"Secure"} | ({"SameSite=Lax"} if shares_site else other)
    source = "SESSION_COOKIE_SECURE  (.flaskenv, FLASK_SESSION_COOKIE_SECURE)\n  false\n"
    assert source in run("-m", "flask", "cors", "show")
