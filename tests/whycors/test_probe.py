"""`flask cors probe`, of an API behind a real nginx that is misconfigured in each way."""

import socket
import time
from contextlib import ExitStack

import pytest
from proxied import PAGE, SECURE_PAGE, Probe, dripping, listening
from servers import free_port

CREDENTIALS = {"FLASK_CORS_SUPPORTS_CREDENTIALS": "true", "FLASK_CORS_ORIGINS": SECURE_PAGE}

GET = ("GET",)
PUT = ("PUT", "--content-type", "application/json", "--send")


def test_nothing_to_complain_of(probe: Probe) -> None:
    for fault, page in (("none", PAGE), ("good", SECURE_PAGE)):
        for options in (GET, PUT, ("DELETE", "--header", "Authorization", "--send")):
            result = probe(fault, *options, page=page)
            assert result.exit_code == 0, result
            assert result.stdout.splitlines()[-1] == (
                "Allowed, and the app answers 200: the page may read the response."
            )
            assert "Warning" not in result.stdout
    assert probe("good", "GET", "--credentials", page=SECURE_PAGE).exit_code == 1


@pytest.mark.parametrize(
    ("fault", "options", "cause", "fix"),
    [
        ("second", GET, "a proxy adds its own", "remove it from the proxy (nginx: add_header)"),
        ("second", PUT, "a proxy adds its own", "remove it from the proxy (nginx: add_header)"),
        ("strips", GET, "answers 200, without CORS headers", "that the proxy keeps its"),
        ("not-found", GET, "answers 404,", "correct the path"),
        ("not-found", PUT, "answers 404,", "correct the path"),
        ("forbidden", GET, "answers 403,", "find the rule that does"),
        ("small", PUT, "answers 413,", "client_max_body_size"),
        ("down", GET, "answers 502,", "start it, or correct the address"),
        ("down", PUT, "answers 502,", "start it, or correct the address"),
        ("slow", GET, "answers 504,", "proxy_read_timeout"),
        ("teapot", GET, "answers 418,", "see the proxy's log"),
        ("preflight-405", PUT, "answers 405,", "pass OPTIONS on to the API"),
        ("preflight-403", PUT, "answers 403,", "pass OPTIONS on to the API"),
        ("preflight-204", PUT, "answers 204,", "pass OPTIONS on to the API"),
        ("preflight-405-with-headers", PUT, "answers 405:", "pass OPTIONS on to the API"),
        ("to-https", GET, "redirects to https, without CORS headers", "call https://localhost/"),
        ("to-https", PUT, "redirects to https, which browsers do", "call https://localhost/"),
        ("to-www", GET, "redirects to another host, without", "call http://www.api.example/"),
        ("to-www", PUT, "redirects to another host, which", "call http://www.api.example/"),
        ("to-slash", GET, "redirects for the slash at the end, without", "/api/echo/"),
        ("to-slash", PUT, "redirects for the slash at the end, which", "/api/echo/"),
        (
            "to-log-in",
            PUT,
            "/log-in?next=/api/echo, perhaps for a login",
            "pass OPTIONS on to the API",
        ),
        (
            "to-log-in",
            GET,
            "/log-in?next=/api/echo, perhaps for a login",
            "pass this path on to the API",
        ),
        ("to-other", GET, "a browser sends Origin: null", "have the page call http://127.0.0.1:"),
        ("to-ftp", GET, "ftp://api.example/api/echo", "correct the Location header"),
        ("round", GET, "the redirects form a loop", "end it"),
        ("round", PUT, "redirects to itself", "end that"),
        ("fixed", GET, "is for https://other.example, without Vary", "empty the cache"),
    ],
)
def test_blocked_by_what_stands_before_the_api(
    probe: Probe, fault: str, options: tuple[str, ...], cause: str, fix: str
) -> None:
    result = probe(fault, *options)
    assert result.exit_code == 1, result
    why = result.line("Why:")
    assert cause in why and fix in why
    assert why.index(cause) < why.index(fix)
    # The policy is not at fault, and so no change of it is offered.
    assert "copier update" not in result.stdout
    assert result.stderr == ""


def test_nothing_that_may_change_data_is_sent_unless_told_to(probe: Probe) -> None:
    for options, sent in (((), {"OPTIONS", "GET"}), (("--send",), {"OPTIONS", "DELETE"})):
        before = len(probe.requests)
        result = probe("none", "DELETE", *options)
        assert result.exit_code == 0, result
        assert {request.split()[0] for request in probe.requests[before:]} == sent
        assert ("The DELETE itself was not sent" in result.stdout) == (options == ())


def test_what_the_policy_here_refuses_is_not_said_to_be_allowed(probe: Probe) -> None:
    result = probe("none", "POST", FLASK_CORS_METHODS="GET")
    assert result.exit_code == 1, result
    assert result.line("Why:").startswith("POST is not allowed; the policy allows GET")
    assert "FLASK_CORS_METHODS='GET, POST'" in result.stdout


def test_both_headers_are_shown(probe: Probe) -> None:
    shown = probe("second", "GET").stdout.splitlines()
    assert f"   < Access-Control-Allow-Origin: {PAGE}" in shown
    assert "   < Access-Control-Allow-Origin: *" in shown


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        ("no-vary", "the response lacks Vary: Origin: a cache may give"),
        ("cached", "lacks Vary: Origin, and caches keep it (public, max-age=600): a cache"),
        ("uncached", "the response lacks Vary: Origin: a cache may give"),
        ("star", "every site can read the responses, which the policy here does not allow"),
        ("reflects", "every site can read the responses, which the policy here does not allow"),
        ("reflects-with-credentials", "every site can act as your logged-in users"),
    ],
)
@pytest.mark.parametrize("options", [GET, PUT])
def test_allowed_with_a_warning(
    probe: Probe, fault: str, options: tuple[str, ...], warning: str
) -> None:
    result = probe(fault, *options)
    assert result.exit_code == 0, result
    assert warning in result.line("Warning:")


def test_star_with_credentials(probe: Probe) -> None:
    result = probe("star-with-credentials", "GET", page=SECURE_PAGE)
    assert result.exit_code == 0
    assert "Warning: Access-Control-Allow-Credentials: true has no effect" in result.stdout
    blocked = probe(
        "star-with-credentials", "GET", "--credentials", page=SECURE_PAGE, **CREDENTIALS
    )
    assert blocked.exit_code == 1
    assert blocked.line("Blocked by the browser at the request:").startswith(
        "Access-Control-Allow-Origin is *"
    )
    assert "check that no proxy changes the headers" in blocked.line("Why:")


def test_strangers_are_told_from_a_public_api(probe: Probe) -> None:
    public = {"FLASK_CORS_ORIGINS": "any"}
    for fault in ("star", "reflects"):
        assert "every site" not in probe(fault, "GET", **public).stdout
    assert "Warning" not in probe("star", "GET", **public).stdout
    assert "every site can act" in probe("reflects-with-credentials", "GET", **public).stdout


@pytest.mark.parametrize(
    ("variables", "options", "block"),
    [
        (
            {"FLASK_CORS_ORIGINS": "https://new.example"},
            ("https://new.example", "GET"),
            "has no Access-Control-Allow-Origin",
        ),
        (
            {"FLASK_CORS_METHODS": "GET, PURGE"},
            (SECURE_PAGE, "PURGE"),
            "method is not in",
        ),
        (
            {"FLASK_CORS_ALLOW_HEADERS": "X-New"},
            (SECURE_PAGE, "GET", "--header", "X-New"),
            "header is not in",
        ),
        (CREDENTIALS, (SECURE_PAGE, "GET", "--credentials"), "Allow-Credentials is not true"),
    ],
)
def test_old_version_is_deployed(
    probe: Probe, variables: dict[str, str], options: tuple[str, ...], block: str
) -> None:
    page, *rest = options
    result = probe("good", *rest, page=page, **variables)
    assert result.exit_code == 1
    assert block in result.line("Blocked by the browser at the")
    assert "the policy here allows this" in result.line("Why:")
    assert "deploy this version" in result.line("Why:")


def test_deployed_api_allows_what_the_policy_here_does_not(probe: Probe) -> None:
    result = probe("none", "GET", FLASK_CORS_ORIGINS="http://app.example:3001")
    assert result.exit_code == 0
    assert result.line("Warning: the policy here does not allow this:") == (
        f"{PAGE} is not allowed, but http://app.example:3001 is: the port differs"
    )


def test_neither_allows_it(probe: Probe) -> None:
    page = "http://app.example:3001"
    # Its own redirect is not at fault, nor what keeps the API's headers from an answer.
    for fault, path in (("none", "/api/echo"), ("none", "/slash"), ("strips", "/api/echo")):
        result = probe(fault, "GET", page=page, path=path)
        assert result.exit_code == 1
        assert result.line("Why:") == f"{page} is not allowed, but {PAGE} is: the port differs"
        assert page in result.line("To allow it: uvx copier update")
        assert "Warning" not in result.stdout
    assert probe("none", "GET", page="null").line("Why:").startswith("null is not allowed")
    # A fault before the API comes first: nothing of the policy matters until it is gone.
    result = probe("down", "GET", page=page)
    assert "answers 502" in result.line("Why:")
    assert "the port differs" in result.line("Warning:")


def test_origins_of_this_machine_are_not_suggested_for_a_deployment(probe: Probe) -> None:
    port, page = probe.ports["none"], "http://new.example"
    origins = {"FLASK_CORS_ORIGINS": f"http://localhost:5173, {PAGE}"}
    for host, suggested in (("api.test", PAGE), ("localhost", f"http://localhost:5173, {PAGE}")):
        url = f"http://{host}:{port}/api/echo"
        result = probe.commands("probe", url, page, "GET", **origins)
        assert result.exit_code == 1
        variable = f"FLASK_CORS_ORIGINS='{suggested}, {page}'"
        assert [line for line in result.stdout.splitlines() if line.endswith(variable)], result


def test_chrome_asks_its_user_before_a_local_network(probe: Probe) -> None:
    port = probe.ports["none"]
    result = probe.commands("probe", f"http://api.local:{port}/api/echo", PAGE, "GET")
    assert result.exit_code == 0, result
    assert "Chrome lets no page on plain http reach api.local" in result.line("Warning:")
    result = probe.commands("probe", f"http://api.test:{port}/api/echo", PAGE, "GET")
    assert "Chrome" not in result.stdout


def test_https_page_and_plain_http(probe: Probe) -> None:
    result = probe.commands("probe", "http://api.example.com/x?y=1", SECURE_PAGE, "GET")
    assert result.exit_code == 1
    assert result.line("Why:") == "the page is on https: have it call https://api.example.com/x?y=1"
    result = probe("to-http", "GET", page=SECURE_PAGE)
    assert result.exit_code == 1
    assert "redirects to http://api.example/api/echo" in result.line("Why:")
    assert "X-Forwarded-Proto" in result.line("Why:")
    assert "X-Forwarded-Proto" in probe("to-http", *PUT, page=SECURE_PAGE).line("Why:")


@pytest.mark.parametrize(
    ("fault", "trusted", "message"),
    [
        ("expired", True, "the certificate has expired: renew it"),
        ("other-name", True, "the certificate is for other host names"),
        ("self-signed", True, "the certificate is self-signed"),
        ("good", False, "the certificate comes from an unknown authority"),
    ],
)
def test_bad_certificate(probe: Probe, fault: str, trusted: bool, message: str) -> None:
    variables = {"SSL_CERT_FILE": str(probe.authority) if trusted else ""}
    result = probe(fault, "GET", page=SECURE_PAGE, **variables)
    of_any = probe.commands("probe", probe.url(fault), "--origin", SECURE_PAGE, **variables)
    for one in (result, of_any):
        assert one.exit_code == 1
        assert one.error.startswith(f"Error: GET {probe.url(fault)}: {message}")
        assert one.stdout == ""


def test_no_answer(probe: Probe) -> None:
    def error(url: str, method: str = "GET", *options: str) -> str:
        result = probe.commands("probe", url, PAGE, method, *options)
        assert result.exit_code == 1
        assert result.stdout == ""
        return result.error

    closed = f"localhost:{free_port()}"
    assert f"nothing listens at {closed}: start the API" in error(f"http://{closed}/")
    assert "no host has the name api.invalid: correct it" in error("http://api.invalid/")
    assert "no host has the name a..example" in error("http://a..example/")
    with socket.socket() as server, ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(2):  # as many as wait to be accepted: the next gets no answer
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        host = f"127.0.0.1:{server.getsockname()[1]}"
        message = f"{host} did not accept the connection within 0.2 s: check the address,"
        assert message in error(f"http://{host}/", "GET", "--timeout", "0.2")
    plain = f"localhost:{probe.ports['none']}"
    assert f"{plain} does not speak TLS" in error(f"https://{plain}/")
    with listening(None) as port:
        url = f"http://localhost:{port}/"
        message = f"Error: OPTIONS {url}: no response within 0.2 s: find what is slow"
        assert error(url, "PUT", "--timeout", "0.2").startswith(message)
    for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\1\2\r\n\r\n"):
        with listening(answer) as port:
            url = f"http://localhost:{port}/"
            assert f"localhost:{port} does not speak HTTP: correct the port" in error(url)
    with listening(b"") as port:
        url = f"http://localhost:{port}/"
        assert f"localhost:{port} closed the connection without a response" in error(url)


def test_odd_answers_are_shown_in_one_line(probe: Probe) -> None:
    answer = (
        b"HTTP/1.1 520 \x1b[31m\r\nAccess-Control-Allow-Origin: \x1b[31mred\r\n"
        b"Access-Control-\x1b[2J: 1\r\n\r\n"
    )
    with listening(answer) as port:
        result = probe.commands("probe", f"http://localhost:{port}/", PAGE, "GET")
    assert result.exit_code == 1
    assert "   < 520" in result.stdout.splitlines()
    assert all(line.isprintable() for line in result.stdout.splitlines())
    assert "\\u001b[31mred" in result.stdout
    answer = (
        f"HTTP/1.1 307 x\r\nAccess-Control-Allow-Origin: {PAGE}\r\n"
        "Location: http://\x1b[2J.invalid/\x1b[2J\r\n\r\n"
    )
    with listening(answer.encode()) as port:
        result = probe.commands("probe", f"http://localhost:{port}/", PAGE, "GET")
    assert result.exit_code == 1
    assert all(line.isprintable() for line in (*result.stdout.splitlines(), result.stderr[:-1]))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("api.example.com/x", "write https://api.example.com/x, not api.example.com/x: a URL has"),
        ("//api.example.com", "write https://api.example.com, not //api.example.com: "),
        ("ftp://api.example.com/", "the scheme must be http or https"),
        ("https://", "a host must follow"),
        ("https://:443/", "a host must follow"),
        ("https://api.example.com:0/", "a host must follow"),
        ("https://api.example.com:99999/", "Port out of range 0-65535"),
        ("https://api.example.com:http/", "Port could not be cast to integer"),
        ("http://[::1/", "Invalid IPv6 URL"),
        ("https://me:secret@api.example.com/", "write https://api.example.com/, not "),
        ("https://bücher.example/x", "write https://xn--bcher-kva.example/x, not "),
        ("http://me@bücher:80/", "write http://xn--bcher-kva:80/, not "),
        ("https://api.example.com/a b", "write https://api.example.com/a%20b, not "),
        ("https://api.example.com/\n", 'not "https://api.example.com/\\n": spaces'),
        ("https://api.example.com/\udcff", "write https://api.example.com/%FF, not "),
        ("", "write a URL such as https://api.example.com/api/echo, not"),
    ],
)
def test_bad_url(probe: Probe, url: str, message: str) -> None:
    result = probe.commands("probe", url, PAGE, "GET")
    assert result.exit_code == 2
    assert result.error.startswith("Error: Invalid value for 'URL': ")
    assert message in result.error


def test_headers_and_curl(probe: Probe) -> None:
    result = probe("none", "GET", "--header", "Authorization: Bearer abc")
    assert result.exit_code == 0
    assert "   > Authorization: Bearer abc" in result.stdout.splitlines()
    curl = ("curl", probe.url("none"), "-X", "PUT", "-H", f"Origin: {PAGE}", "-H")
    result = probe.commands("probe", *curl, "Content-Type: application/json", "--data", "{}")
    assert result.exit_code == 0, result
    assert "   > Access-Control-Request-Method: PUT" in result.stdout.splitlines()
    assert f"2. request: GET {probe.url('none')}" in result.stdout.splitlines()  # in its place
    assert "   < 200 OK" in result.stdout.splitlines()


def test_bad_arguments(probe: Probe) -> None:
    def error(*arguments: str) -> str:
        result = probe.commands("probe", *arguments)
        assert result.exit_code == 2
        return result.error

    url = "http://localhost:8000/x"
    for page in (["http://LOCALHOST:8000/", "GET"], ["--origin", "http://LOCALHOST:8000/"]):
        own = "'ORIGIN': write the origin of the page, not http://localhost:8000: the API is"
        assert own in error(url, *page)
    assert "add -H 'Origin: https://app.example.com', the origin" in error("curl", url)
    assert "'[ORIGIN]': write https://a.example, not a.example" in error(url, "a.example", "GET")
    assert "'--timeout': 0.0 is not in the range x>0" in error(url, PAGE, "GET", "--timeout", "0")


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/small", PUT, 413),
        ("/down", GET, 502),
        ("/down", PUT, 502),
        ("/slow", GET, 504),
        ("/slow", PUT, 504),
        ("/mistyped", GET, 404),
    ],
)
def test_pages_can_read_the_errors_of_the_nginx_in_the_docs(
    probe: Probe, path: str, options: tuple[str, ...], status: int
) -> None:
    result = probe("readable", *options, path=path)
    assert result.exit_code == 0, result
    assert "Warning" not in result.stdout
    *_, last = result.stdout.split("request: ")
    assert f"   < {status} " in last
    assert last.count(f"   < Access-Control-Allow-Origin: {PAGE}\n") == 1
    if path in ("/down", "/slow"):  # else the API answers, which does not allow credentials here
        assert probe("readable", *options, "--credentials", path=path).exit_code == 0
    page = "https://evil.example"
    for credentials in ((), ("--credentials",)):
        blocked = probe(
            "readable", *options, *credentials, path=path, page=page, FLASK_CORS_ORIGINS=page
        )
        assert blocked.exit_code == 1
        assert "< Access-Control-Allow-Origin" not in blocked.stdout


@pytest.mark.parametrize(
    ("fault", "options", "cause"),
    [
        ("down-readable", PUT, "answers 502: the proxy cannot reach the API: start it"),
        ("down-readable", (*GET, "--credentials"), "answers 502: the proxy cannot reach the API"),
        ("slow-readable", PUT, "answers 504: the API responds too late"),
    ],
)
def test_dead_api_is_named_though_its_proxy_adds_headers(
    probe: Probe, fault: str, options: tuple[str, ...], cause: str
) -> None:
    for variables in ({}, {"FLASK_CORS_SUPPORTS_CREDENTIALS": "true"}):
        result = probe(
            fault, *options, page=SECURE_PAGE, FLASK_CORS_ORIGINS=SECURE_PAGE, **variables
        )
        assert result.exit_code == 1
        assert cause in result.line("Why:")
        assert "copier update" not in result.stdout
    fix = "add Access-Control-Allow-Credentials: true to the proxy's own errors"
    assert (fix in result.line("Why:")) == ("--credentials" in options)


def test_limits_of_the_server_are_named(probe: Probe) -> None:
    long = f"/api/echo?{'x' * 5000}"  # this gunicorn takes 4094 bytes, nginx 8192
    for path, named in ((long, "gunicorn: --limit-request-line"), (long * 2, "nginx: large_cl")):
        why = probe("none", "GET", path=path).line("Why:")
        assert why.startswith("a server answers 414 before the API sees the request: the URL is")
        assert named in why
    with listening(b"HTTP/1.1 431 x\r\n\r\n") as port:
        result = probe.commands("probe", f"http://localhost:{port}/", PAGE, *PUT)
    assert result.exit_code == 1
    assert "a server answers 431 before the API sees the request" in result.line("Why:")


def test_interim_responses_are_no_answer(probe: Probe) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    answer = f"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: {PAGE}\r\nVary: Origin\r\n\r\n"
    with listening(hints * 2 + answer.encode()) as port:
        result = probe.commands("probe", f"http://localhost:{port}/", PAGE, "GET")
    assert result.exit_code == 0, result
    assert "   < 200 OK" in result.stdout.splitlines()
    assert "103" not in result.stdout


def test_what_a_response_has_too_much_of_is_named(probe: Probe) -> None:
    for headers in ("X-A: 1\r\n" * 150, f"X-A: {'x' * 70_000}\r\n"):
        with listening(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode()) as port:
            result = probe.commands("probe", f"http://localhost:{port}/", PAGE, "GET")
        assert f"shorten the headers of localhost:{port}, or send fewer: got more" in result.error


def test_body_of_a_refusal_need_not_be_readable(probe: Probe) -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    with listening(answer) as port:
        result = probe.commands("probe", f"http://localhost:{port}/", PAGE, "GET")
    assert result.line("Why:").startswith("something in front of the API answers 403"), result


@pytest.mark.parametrize("location", ["http://[", "http://[::1/x"])
def test_location_that_is_no_url(probe: Probe, location: str) -> None:
    answer = (
        f"HTTP/1.1 302 x\r\nAccess-Control-Allow-Origin: {PAGE}\r\nLocation: {location}\r\n\r\n"
    )
    with listening(answer.encode()) as port:
        url = f"http://localhost:{port}/"
        for options in (GET, PUT):
            result = probe.commands("probe", url, PAGE, *options)
            assert result.exit_code == 1
            assert "correct the Location header, " in result.error
            assert result.error.endswith(": it is not a URL")


def test_timeout_bounds_headers_that_drip(probe: Probe) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\n") as port:
        url = f"http://localhost:{port}/"
        begun = time.monotonic()
        result = probe.commands("probe", url, PAGE, "GET", "--timeout", "0.5")
        assert time.monotonic() - begun < 3
    assert result.error == (
        f"Error: GET {url}: no response within 0.5 s: find what is slow, or set a longer --timeout"
    )
