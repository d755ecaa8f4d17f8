"""`flask cors probe`, of an API behind a real nginx that is misconfigured in each way."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Thread

import pytest
import trustme
from commands import Commands, Result, running_commands
from conftest import ROOT, copy

PAGE = "http://app.example:3000"
SECURE_PAGE = "https://app.example"
CREDENTIALS = {"FLASK_CORS_SUPPORTS_CREDENTIALS": "true", "FLASK_CORS_ORIGINS": SECURE_PAGE}

GET = ("GET",)
PUT = ("PUT", "--content-type", "application/json")

PASS_ON = "proxy_pass http://api;"
ADD_ALLOW_ORIGIN = "add_header Access-Control-Allow-Origin $http_origin always;"
OPTIONS = "if ($request_method = OPTIONS)"
SET_ALLOW_ORIGIN = (
    f"{PASS_ON} proxy_hide_header Access-Control-Allow-Origin;"
    " add_header Access-Control-Allow-Origin"
)
NO_VARY = f"{PASS_ON} proxy_hide_header Vary;"

# What is in `location /`, or another location, of each server.
FAULTS = {
    "none": PASS_ON,
    "second": f"{PASS_ON} add_header Access-Control-Allow-Origin * always;",
    "no-vary": f"{NO_VARY} add_header Vary Accept-Encoding;",
    "cached": f'{NO_VARY} add_header Cache-Control "public, max-age=600";',
    "uncached": f'{NO_VARY} add_header Cache-Control "no-store, max-age=600";',
    "fixed": f"{SET_ALLOW_ORIGIN} https://other.example; proxy_hide_header Vary;",
    "star": f"{SET_ALLOW_ORIGIN} *; proxy_hide_header Vary;",
    "star-with-credentials": (
        f"{SET_ALLOW_ORIGIN} *; add_header Access-Control-Allow-Credentials true;"
    ),
    "reflects": f"{SET_ALLOW_ORIGIN} $http_origin always;",
    "reflects-with-credentials": (
        f"{SET_ALLOW_ORIGIN} $http_origin always;"
        " add_header Access-Control-Allow-Credentials true always;"
    ),
    "strips": f"{NO_VARY} proxy_hide_header Access-Control-Allow-Origin;",
    "not-found": "return 404;",
    "forbidden": "deny all;",
    "small": f"{PASS_ON} client_max_body_size 1;",
    "down": "proxy_pass http://down;",
    "slow": "proxy_pass http://slow; proxy_read_timeout 200ms;",
    "teapot": "return 418;",
    "preflight-405": f"{OPTIONS} {{ return 405; }} {PASS_ON}",
    "preflight-403": f"limit_except GET PUT {{ deny all; }} {PASS_ON}",
    "preflight-204": f"{OPTIONS} {{ return 204; }} {PASS_ON}",
    "preflight-405-with-headers": f"{ADD_ALLOW_ORIGIN} {OPTIONS} {{ return 405; }} {PASS_ON}",
    "to-https": "return 301 https://$host$request_uri;",
    "to-www": "return 301 http://www.api.example$request_uri;",
    "to-slash": "rewrite ^(.*[^/])$ $1/ permanent;",
    "to-log-in": "return 302 /log-in?next=$request_uri;",
    "round": f"{ADD_ALLOW_ORIGIN} return 307 $request_uri;",
    "to-other": f"{ADD_ALLOW_ORIGIN} return 307 http://127.0.0.1:{{none}}$request_uri;",
    "to-ftp": f"{ADD_ALLOW_ORIGIN} return 307 ftp://api.example$request_uri;",
}

# What is served over TLS: the location, and whose certificate.
SECURE = {
    "good": (PASS_ON, "good"),
    "to-http": (f"{ADD_ALLOW_ORIGIN} return 307 http://api.example$request_uri;", "good"),
    "expired": (PASS_ON, "expired"),
    "other-name": (PASS_ON, "other-name"),
    "self-signed": (PASS_ON, "self-signed"),
}

# What docs/deploy.md adds to a proxy, so that pages can read the proxy's own errors.
DOCS = (
    (ROOT / "docs/deploy.md").read_text(encoding="utf-8").replace("https://app.example.com", PAGE)
)
ORIGINS, _, SERVER = DOCS.partition("```nginx\n")[2].partition("```")[0].partition("server {")
READABLE_ERRORS = SERVER.partition("location / {")[0]

CONFIG = """
daemon off; master_process off; pid nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    proxy_set_header Host $http_host;
    upstream api {{ server unix:{folder}/api.sock; }}
    upstream down {{ server unix:{folder}/down.sock; }}
    upstream slow {{ server 127.0.0.1:{slow}; }}
    {maps}
    {servers}
}}
"""


@contextmanager
def nginx(folder: Path, config: str, port: int) -> Iterator[None]:
    """Run Debian's nginx, everything of it within a folder, as whatever user this is."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert program, "nginx is not installed: apt-get install nginx-light"
    (folder / "nginx.conf").write_text(config)
    log = folder / "error.log"
    command = [program, "-p", str(folder), "-c", "nginx.conf", "-e", str(log)]
    with running(command, folder, lambda: answers(port), log):
        yield


@contextmanager
def running(
    command: list[str], folder: Path, ready: Callable[[], bool], log: Path
) -> Iterator[None]:
    with log.open("a") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 20
        while not ready():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """Listen on a port that answers every connection so, or never."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            while True:
                try:
                    client = server.accept()[0]
                except OSError:
                    return
                if answer is None:
                    held.append(client)
                else:
                    with client:
                        client.recv(4096)
                        client.sendall(answer)

        Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for client in held:
            client.close()


def certificates(folder: Path) -> None:
    """Make a certificate for each name in SECURE, and ca.pem, the authority to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    for name, leaf in {
        "good": authority.issue_cert("localhost", "127.0.0.1"),
        "expired": authority.issue_cert(
            "localhost", not_before=yesterday - timedelta(days=90), not_after=yesterday
        ),
        "other-name": authority.issue_cert("other.example"),
    }.items():
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    alone = trustme.CA()
    alone.private_key_pem.write_to_path(str(folder / "self-signed.pem"))
    alone.cert_pem.write_to_path(str(folder / "self-signed.pem"), append=True)


class Probe:
    """Probes a server by the name of its fault."""

    def __init__(self, commands: Commands, ports: dict[str, int], authority: Path) -> None:
        self.commands = commands
        self.ports = ports
        self.authority = authority

    def url(self, fault: str, path: str = "/api/echo") -> str:
        scheme = "https" if fault in SECURE else "http"
        return f"{scheme}://localhost:{self.ports[fault]}{path}"

    def __call__(
        self, fault: str, *options: str, page: str = PAGE, path: str = "/api/echo", **variables: str
    ) -> Result:
        variables = {"SSL_CERT_FILE": str(self.authority), **variables}
        arguments = (self.url(fault, path), page, *(options or ("GET",)))
        return self.commands("probe", *arguments, **variables)


@pytest.fixture(scope="module")
def probe(template: Path) -> Iterator[Probe]:
    """The rendered project under gunicorn, behind one nginx that has a server for each fault."""
    with ExitStack() as stack:
        # A short name, as that of a Unix socket must be.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = folder / "project"
        copy(template, project, {"frontend_origins": [PAGE, SECURE_PAGE]})
        (project / "deployed.py").write_text(
            "from wsgi import app\napp.add_url_rule('/slash/', view_func=lambda: 'here')\n"
        )
        certificates(folder)
        names = [*FAULTS, *SECURE, "readable"]
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        servers = [
            f"server {{ listen 127.0.0.1:{ports[name]}; location / {{ {location} }} }}"
            for name, location in FAULTS.items()
        ]
        servers += [
            f"server {{ listen 127.0.0.1:{ports[name]} ssl; ssl_certificate {certificate}.pem;"
            f" ssl_certificate_key {certificate}.pem; location / {{ {location} }} }}"
            for name, (location, certificate) in SECURE.items()
        ]
        servers.append(
            f"server {{ listen 127.0.0.1:{ports['readable']}; {READABLE_ERRORS}"
            f" location / {{ {PASS_ON} }}"
            f" location /small {{ {FAULTS['small']} }}"
            f" location /down {{ {FAULTS['down']} }}"
            f" location /slow {{ {FAULTS['slow']} }} }}"
        )
        text = "\n".join(servers).replace("{none}", str(ports["none"]))
        slow = stack.enter_context(listening(None))
        config = CONFIG.format(folder=folder, slow=slow, maps=ORIGINS, servers=text)
        api = [sys.executable, "-m", "gunicorn", f"--bind=unix:{folder}/api.sock", "deployed:app"]
        log = folder / "api.log"
        socket_file = folder / "api.sock"
        stack.enter_context(running(api, project, socket_file.exists, log))
        stack.enter_context(nginx(folder, config, ports["none"]))
        commands = stack.enter_context(running_commands(project))
        yield Probe(commands, ports, folder / "ca.pem")


def test_nothing_to_complain_of(probe: Probe) -> None:
    for fault, page in (("none", PAGE), ("good", SECURE_PAGE)):
        for options in (GET, PUT, ("DELETE", "--header", "Authorization")):
            result = probe(fault, *options, page=page)
            assert result.exit_code == 0, result
            assert result.stdout.splitlines()[-1] == "Allowed: the page may read the response."
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
        ("preflight-405-with-headers", PUT, "preflight with 405", "pass OPTIONS on to the API"),
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
        assert page in result.line("To allow it: copier update")
        assert "Warning" not in result.stdout
    assert probe("none", "GET", page="null").line("Why:").startswith("null is not allowed")
    # A fault before the API comes first: nothing of the policy matters until it is gone.
    result = probe("down", "GET", page=page)
    assert "answers 502" in result.line("Why:")
    assert "the port differs" in result.line("Warning:")


def test_https_page_and_plain_http(probe: Probe) -> None:
    result = probe.commands("probe", "http://api.example.com/x?y=1", SECURE_PAGE, "GET")
    assert result.exit_code == 1
    assert result.line("Why:") == "have the page call https://api.example.com/x?y=1"
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
    variables = {} if trusted else {"SSL_CERT_FILE": ""}
    result = probe(fault, "GET", page=SECURE_PAGE, **variables)
    assert result.exit_code == 1
    assert result.error.startswith(f"Error: GET {probe.url(fault)}: {message}")
    assert result.stdout == ""


def test_no_answer(probe: Probe) -> None:
    def error(url: str, method: str = "GET", *options: str) -> str:
        result = probe.commands("probe", url, PAGE, method, *options)
        assert result.exit_code == 1
        assert result.stdout == ""
        return result.error

    closed = f"localhost:{free_ports(1)[0]}"
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
        ("https://", "names no host"),
        ("https://:443/", "names no host"),
        ("https://api.example.com:99999/", "Port out of range 0-65535"),
        ("https://api.example.com:http/", "Port could not be cast to integer"),
        ("http://[::1/", "Invalid IPv6 URL"),
        ("https://me:secret@api.example.com/", "write https://api.example.com/, not "),
        ("https://bücher.example/x", "write https://xn--bcher-kva.example/x, not "),
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


def test_bad_arguments(probe: Probe) -> None:
    def error(*arguments: str) -> str:
        result = probe.commands("probe", *arguments)
        assert result.exit_code == 2
        return result.error

    url = "http://localhost:8000/x"
    own = error(url, "http://LOCALHOST:8000/", "GET")
    assert "'ORIGIN': write the origin of the page, not http://localhost:8000: the API is" in own
    assert "'ORIGIN': write https://a.example, not a.example" in error(url, "a.example", "GET")
    assert "'--timeout': 0.0 is not in the range x>0" in error(url, PAGE, "GET", "--timeout", "0")


def test_missing_client_says_what_to_install(probe: Probe) -> None:
    block = "import sys; sys.modules['urllib3'] = None; "
    command = "from dev import app; app.cli(['cors', 'probe', *sys.argv[1:]])"
    result = subprocess.run(
        [sys.executable, "-c", block + command, "http://localhost/", PAGE, "GET"],
        check=False,
        cwd=probe.authority.with_name("project"),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        "Error: probe needs urllib3, which is not installed: pip install -r requirements-dev.txt"
    )


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [("/small", PUT, 413), ("/down", GET, 502), ("/slow", GET, 504), ("/mistyped", GET, 404)],
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
    blocked = probe(
        "readable",
        *GET,
        path=path,
        page="https://evil.example",
        FLASK_CORS_ORIGINS="https://evil.example",
    )
    assert blocked.exit_code == 1
    assert "< Access-Control-Allow-Origin" not in blocked.stdout
