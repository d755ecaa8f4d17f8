"""`flask cors probe URL`: the whole policy, against a real nginx with each fault and without."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

import pexpect
import pytest
from commands import Result
from proxied import FAULTS, PAGE, SECURE, SECURE_PAGE, Probe, listening
from servers import free_port

from whycors.browser import Headers, Response
from whycors.policies import Policy
from whycors.probe import NO_ROUTE
from whycors.trials import NOT_NEEDED, Place, check_origin, check_plain_http

# The policy of the API that allows credentials (DEPLOYED in tests/helpers/proxied.py).
CREDENTIALS = {
    "FLASK_CORS_ORIGINS": "https://app.example, https://*.app.example, https://pr-*.dev.example",
    "FLASK_CORS_METHODS": "GET, POST",
    "FLASK_CORS_SUPPORTS_CREDENTIALS": "true",
    "FLASK_CORS_MAX_AGE": "-1",
    "FLASK_CORS_PATHS": '{"/api/public": {"origins": ["any"], "methods": ["GET"]}}',
}


def check(
    probe: Probe, fault: str, *options: str, path: str = "", **variables: str
) -> tuple[Result, str]:
    """Check a server's whole policy; return the result, and its text in one line."""
    variables = {"SSL_CERT_FILE": str(probe.authority), **variables}
    result = probe.commands("probe", probe.url(fault, path), *options, **variables)
    return result, " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("fault", "path", "variables", "rows"),
    [
        ("none", "", {}, {PAGE: "GET 200, 5 preflights", SECURE_PAGE: "GET 200, 5 preflights"}),
        ("none", "/api/echo", {}, {PAGE: "GET 200, 5 preflights"}),
        ("none", "//elsewhere.invalid/", {}, {PAGE: "GET 404, 5 preflights"}),
        ("good", "", {"FLASK_CORS_ORIGINS": SECURE_PAGE}, {SECURE_PAGE: "GET 200, 5 preflights"}),
        (
            "credentials",
            "",
            CREDENTIALS,
            {
                "https://*.app.example": "GET 200, 2 preflights",
                "https://pr-*.dev.example": "GET 200, 2 preflights",
                "*": "GET 404, 1 preflight",
            },
        ),
    ],
)
def test_right_deployment(
    probe: Probe, fault: str, path: str, variables: dict[str, str], rows: dict[str, str]
) -> None:
    result, text = check(probe, fault, path=path, **variables)
    assert result.exit_code == 0, result
    assert result.stderr == ""
    for row, shown in rows.items():
        assert f"ok {row} {shown}" in text
    assert "ok other methods and headers refused" in text
    assert "strangers and look-alikes refused" in text
    assert "ok path without a route GET 404, readable" in text
    assert "ok a stranger's POST POST 403, refused" in text
    assert "ok a POST of its own pages POST 404" in text
    assert "fix" not in text.lower()
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/health/live", "/v1/api/echo"])
def test_every_path_is_below_what_a_proxy_strips(probe: Probe, path: str) -> None:
    result, text = check(probe, "below", path=path, **CREDENTIALS)
    assert result.exit_code == 0, result
    asked = path if path.endswith(("live", "echo")) else "/v1/health/live"
    assert [line for line in result.stdout.splitlines() if line.startswith("https")] == [
        probe.url("below", asked),
        probe.url("below", "/v1/api/public"),
    ]
    assert "ok * GET 404, 1 preflight" in text
    assert "ok path without a route GET 404, readable" in text


def test_one_request_below_what_a_proxy_strips(probe: Probe) -> None:
    stranger = "https://stranger.example"
    for path, code in (("/v1/api/public/x", 0), ("/v1/api/echo", 1)):
        result = probe("below", "GET", page=stranger, path=path, **CREDENTIALS)
        assert result.exit_code == code, result
        assert "the policy here does not allow this" not in result.stdout
        if code:
            assert result.line("Why:").startswith(f"{stranger} is not allowed")


def test_nothing_is_sent_that_changes_data(probe: Probe) -> None:
    before = len(probe.requests)
    check(probe, "none", "--body-limit", "10")
    sent = [request.split() for request in probe.requests[before:]]
    assert {method for method, _ in sent} == {"GET", "OPTIONS", "POST"}
    assert {path for method, path in sent if method == "POST"} == {NO_ROUTE}


FIXES = {
    "second": "a proxy adds its own: remove it from the proxy (nginx: add_header)",
    "no-vary": "the response lacks Vary: Origin: a cache may give",
    "no-vary-without-origin": "the response lacks Vary: Origin: a cache may give",
    "prefix": "the deployed API allows http://app.example.probe.invalid, http://app.example",
    "null": "the deployed API allows null (any site can send it), which the policy here does not",
    "cached": "lacks Vary: Origin, and caches keep it (public, max-age=600): a cache",
    "uncached": "the response lacks Vary: Origin: a cache may give",
    "fixed": "is for https://other.example, without Vary: Origin: a proxy sets the header",
    "star": "every site can read the responses, which the policy here does not allow",
    "star-with-credentials": "Access-Control-Allow-Credentials: true has no effect",
    "reflects": "every site can read the responses, which the policy here does not allow",
    "reflects-with-credentials": "every site can act as your logged-in users",
    "strips": "answers 200, without CORS headers: check that the path leads to the API",
    "not-found": "answers 404, without CORS headers: it does not forward this path",
    "forbidden": "answers 403, without CORS headers: it refuses the request: find the rule",
    "unprotected": "answers a stranger's POST with 404, not 403, so every site can make it act",
    "no-host": "because the proxy hides the host: have it pass the host on, with its port",
    "down": "answers 502, without CORS headers: the proxy cannot reach the API: start it",
    "slow": "answers 504, without CORS headers: the API responds too late for the proxy",
    "down-readable": "the answer is 502: the proxy cannot reach the API: start it",
    "slow-readable": "the answer is 504: the API responds too late for the proxy",
    "teapot": "answers 418, without CORS headers: see the proxy's log",
    "preflight-405": "answers 405, without CORS headers: have it pass OPTIONS on to the API",
    "preflight-403": "answers 403, without CORS headers: have it pass OPTIONS on to the API",
    "preflight-204": "answers 204, without CORS headers: have it pass OPTIONS on to the API",
    "preflight-405-with-headers": "a proxy adds its own: remove it from the proxy",
    "to-https": "redirects to https, without CORS headers: have the page call https://localhost/",
    "to-www": "redirects to another host, without CORS headers: have the page call http://www.api",
    "to-slash": "redirects for the slash at the end, without CORS headers: have the page call",
    "to-log-in": "/log-in?next=/health/live, perhaps for a login: have it pass this path on",
    "round": "the redirects form a loop: end it",
    "to-other": "a browser sends Origin: null, which no API should allow: have the page call",
    "to-ftp": "ftp://api.example/health/live: correct the Location header",
    "to-http": "which is plain http: redirect to https; behind a proxy, have it send X-Forwarded",
}


def test_every_fault_is_tried() -> None:
    certificates = {"expired", "other-name", "self-signed"}
    right = {"none", "good", "credentials", "below"}
    by_option = {"small", "no-flags"}
    assert {*FAULTS, *SECURE} == {*FIXES} | certificates | right | by_option


@pytest.mark.parametrize("fault", FIXES)
def test_fault_is_named(probe: Probe, fault: str) -> None:
    variables = {"FLASK_CORS_ORIGINS": SECURE_PAGE} if fault in SECURE else {}
    result, text = check(probe, fault, **variables)
    assert result.exit_code == 1, result
    assert FIXES[fault] in text
    assert "copier update" not in text
    assert result.stderr == ""
    assert all(len(line) <= 80 or "http" in line for line in result.stdout.splitlines())


@pytest.mark.parametrize("fault", ["strips", "down", "slow-readable", "to-https", "second"])
def test_one_fault_in_all_answers_is_one_fix(probe: Probe, fault: str) -> None:
    result, text = check(probe, fault)
    assert [line for line in result.stdout.splitlines() if line.startswith("Fix ")] == [
        line for line in result.stdout.splitlines() if line.startswith("Fix 1: ")
    ]
    assert "fix 1 all else not tried until then" in text


@pytest.mark.parametrize(
    ("variables", "fix"),
    [
        ({"FLASK_CORS_ORIGINS": f"{PAGE}, https://new.example"}, "policy here allows this, but"),
        ({"FLASK_CORS_ORIGINS": SECURE_PAGE}, ""),
        ({"FLASK_CORS_ORIGINS": PAGE}, f"allows {SECURE_PAGE}, which the policy here does not"),
        ({"FLASK_CORS_METHODS": "GET, POST"}, "allows PUT, which the policy here does not"),
        ({"FLASK_CORS_METHODS": "GET, PURGE"}, "policy here allows this, but the deployed API"),
        ({"FLASK_CORS_ALLOW_HEADERS": "X-New"}, "policy here allows this, but the deployed API"),
        ({"FLASK_CORS_EXPOSE_HEADERS": "ETag"}, "pages cannot read ETag, which the policy here"),
        ({"FLASK_CORS_MAX_AGE": "60"}, "may keep a preflight for 600 s, by the policy here for 60"),
        (
            {"FLASK_CORS_ORIGINS": SECURE_PAGE, "FLASK_CORS_SUPPORTS_CREDENTIALS": "true"},
            "policy here allows this, but the deployed API does not: deploy this version",
        ),
    ],
)
def test_another_policy_is_deployed(probe: Probe, variables: dict[str, str], fix: str) -> None:
    fault = "none" if PAGE in variables.get("FLASK_CORS_ORIGINS", "") else "good"
    result, text = check(probe, fault, **{"FLASK_CORS_ORIGINS": SECURE_PAGE, **variables})
    assert result.exit_code == (1 if fix else 0), result
    assert fix in text


def test_credentials_that_only_the_deployed_api_allows(probe: Probe) -> None:
    variables = {**CREDENTIALS, "FLASK_CORS_SUPPORTS_CREDENTIALS": "false"}
    result, text = check(probe, "credentials", **variables)
    assert result.exit_code == 1
    assert "Access-Control-Allow-Credentials is true, which the policy here does not" in text


def test_cookies_that_no_browser_would_send(probe: Probe) -> None:
    result, text = check(probe, "no-flags", **CREDENTIALS)
    assert result.exit_code == 1
    assert "the cookie session gets lost (Firefox may send it): the page is on another site" in text


def test_cookie_that_gets_lost_is_named_for_one_request(probe: Probe) -> None:
    request = ("GET", "--credentials")
    for fault, lost in (("no-flags", "the page is on another site than the API"), ("good", None)):
        result = probe(fault, *request, page="https://app.example", **CREDENTIALS)
        found = [line for line in result.stdout.splitlines() if "gets lost" in line]
        assert bool(found) == bool(lost), result
        assert not lost or lost in found[0]


def test_body_over_the_limit(probe: Probe) -> None:
    result, text = check(probe, "small", "--body-limit", "1")
    assert result.exit_code == 1
    assert "fix 1 body of 2 bytes POST 413" in text
    assert "the body is too large for the proxy: raise its limit" in text
    assert "add CORS headers to the proxy's own errors" in text
    result, text = check(probe, "readable", "--body-limit", "1", path="/small")
    assert result.exit_code == 0, result
    assert "ok body of 2 bytes POST 413, readable" in text
    result, text = check(probe, "none", "--body-limit", "10")
    assert result.exit_code == 1
    assert "nothing rejects a body of this size: correct --body-limit" in text
    # A large body is refused before all of it is sent.
    result, text = check(probe, "small", "--body-limit", "20000000")
    assert "body of 20000001 bytes POST 413" in text


def test_json(probe: Probe) -> None:
    result, _ = check(probe, "none", "--json")
    assert result.exit_code == 0
    first, *_ = checks = json.loads(result.stdout)
    assert first == {
        "url": probe.url("none", "/health/live"),
        "what": PAGE,
        "result": "GET 200, 5 preflights",
        "faults": [],
        "notes": [],
        "recipes": {},
    }
    assert not any(check["faults"] for check in checks)
    result, _ = check(probe, "no-vary", "--json")
    assert result.exit_code == 1
    assert "lacks Vary" in str([check["faults"] for check in json.loads(result.stdout)])


def test_no_response(probe: Probe) -> None:
    closed = f"localhost:{free_port()}"
    result = probe.commands("probe", f"http://{closed}")
    assert result.exit_code == 1
    assert f"nothing listens at {closed}: start the API" in result.error
    result = probe.commands("probe", probe.url("expired", ""), SSL_CERT_FILE=str(probe.authority))
    assert "the certificate has expired" in result.error
    with listening(b"HTTP/1.1 302 x\r\nLocation: http://[\r\n\r\n") as port:
        result = probe.commands("probe", f"http://localhost:{port}/")
    assert result.exit_code == 1
    assert "correct the Location header, http://[: it is not a URL" in result.error


def test_bad_arguments(probe: Probe) -> None:
    def error(*arguments: str) -> str:
        result = probe.commands("probe", *arguments)
        assert result.exit_code == 2
        return result.error

    url = "http://localhost:8000"
    assert "write METHOD too, such as GET" in error(url, PAGE)
    assert "write ORIGIN and METHOD too" in error(url, "--credentials")
    assert "remove ORIGIN and METHOD" in error(url, PAGE, "GET", "--body-limit", "5")
    assert "write https://api.example.com" in error("api.example.com")


class Counting(BaseHTTPRequestHandler):
    """Answers 404 after a while, and counts how many requests it handles at the same time."""

    lock = Lock()
    now = most = 0

    def do_GET(self) -> None:
        with Counting.lock:
            Counting.now += 1
            Counting.most = max(Counting.most, Counting.now)
        time.sleep(0.02)
        with Counting.lock:
            Counting.now -= 1
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("installed")
def test_long_run_is_bounded_and_shows_its_progress(probe: Probe) -> None:
    origins = ", ".join(f"https://a{number}.example" for number in range(30))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    with server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}"
        result = probe.commands("probe", url, FLASK_CORS_ORIGINS=origins)
        assert 1 < Counting.most <= 4
        assert result.exit_code == 1
        assert result.stderr == ""
        shown, status = pexpect.run(
            f"{sys.executable} -m flask cors probe {url}",
            cwd=probe.authority.with_name("project"),
            env={**os.environ, "FLASK_CORS_ORIGINS": origins},
            withexitstatus=True,
        )
        server.shutdown()
    assert status == 1
    assert b"Origins  [###" in shown


def test_origins_of_this_machine_are_not_needed_in_production() -> None:
    origins = ("http://localhost:5173", "capacitor://localhost", "https://app.example")
    policy = Policy(origins, ("GET",), False, (), (), 600)

    def refuse(method: str, url: str, headers: Headers) -> Response:
        return Response(200, (("Vary", "Origin"),))

    deployed = Place("https://api.example/", policy, refuse)
    assert check_origin(deployed, "http://localhost:5173") == (NOT_NEEDED, [])
    for origin in ("https://app.example", "capacitor://localhost"):
        assert check_origin(deployed, origin)[1]
    assert check_origin(Place("http://localhost:8000/", policy, refuse), "http://localhost:5173")[1]


def test_public_api_refuses_no_stranger(probe: Probe) -> None:
    _, text = check(probe, "star", FLASK_CORS_ORIGINS="any")
    assert "* GET 200" in text
    assert "stranger" not in text


def test_https_page_cannot_call_plain_http() -> None:
    def send(method: str, url: str, headers: Headers) -> Response:
        raise AssertionError("no browser sends this")

    policy = Policy(("https://app.example",), ("POST",), False, (), (), 600)
    _, faults = check_origin(Place("http://api.example/", policy, send), "https://app.example")
    assert faults == ["the page is on https: have it call https://api.example/"]


def test_origins_of_this_machine(probe: Probe) -> None:
    url = f"http://api.test:{probe.ports['none']}"
    result = probe.commands("probe", url, FLASK_CORS_ORIGINS=f"http://localhost:5173, {PAGE}")
    assert "  ok     http://localhost:5173         refused, as in production\n" in result.stdout
    result = probe.commands("probe", url, FLASK_CORS_ORIGINS="http://localhost:5173")
    assert result.exit_code == 2
    assert result.error.startswith("Error: set FLASK_CORS_ORIGINS as in the deployment: all")


@pytest.mark.parametrize(
    ("response", "result", "fix"),
    [
        (Response(301, (("Location", "https://api.example/"),)), "GET 301, to https", ""),
        (Response(302, (("Location", "/log-in"),)), "GET 302", "redirect it to https"),
        (Response(200, ()), "GET 200", "redirect it to https (nginx: return 308"),
    ],
)
def test_plain_http(response: Response, result: str, fix: str) -> None:
    found, faults = check_plain_http("http://api.example/", lambda *_: response)
    assert found == result
    assert fix in "".join(faults)
    assert bool(faults) == bool(fix)


def test_json_has_what_stopped_the_first_request(probe: Probe) -> None:
    result = probe.commands("probe", "http://localhost:9", "--json")
    (check,) = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "nothing listens at localhost:9: start the API" in check["faults"][0]
