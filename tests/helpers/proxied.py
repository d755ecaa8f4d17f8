"""A real nginx before an API: as docs/deploy.md configures it, or with a server for each fault."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import trustme
from commands import Commands, Result, running_commands
from conftest import ROOT, copy, skip
from servers import answers, free_ports, held_ports, running

if TYPE_CHECKING:
    from chromium import Certificate

PAGE = "http://app.example:3000"
SECURE_PAGE = "https://app.example"

PASS_ON = "proxy_pass http://api;"
ADD_ALLOW_ORIGIN = "add_header Access-Control-Allow-Origin $http_origin always;"
OPTIONS = "if ($request_method = OPTIONS)"
SET_ALLOW_ORIGIN = (
    f"{PASS_ON} proxy_hide_header Access-Control-Allow-Origin;"
    " add_header Access-Control-Allow-Origin"
)
NO_VARY = f"{PASS_ON} proxy_hide_header Vary;"
# As a proxy that serves the API below a path, which it strips.
BELOW_V1 = 'if ($uri !~ "^/v1/") { return 404; } rewrite ^/v1(/.*)$ $1 break;'


def to(app: str) -> str:
    """Pass on to one of the APIs in DEPLOYED. The Host is not inherited beside another header."""
    return f"proxy_set_header X-App {app}; proxy_set_header Host $http_host; {PASS_ON}"


def matching(origins: str) -> str:
    """Allow the origins that a pattern matches, instead of those that the API allows."""
    return (
        f'set $allowed ""; if ($http_origin ~ "{origins}") {{ set $allowed $http_origin; }}'
        f" {SET_ALLOW_ORIGIN} $allowed always;"
    )


# What is in `location /`, or another location, of each server.
FAULTS = {
    "none": PASS_ON,
    "second": f"{PASS_ON} add_header Access-Control-Allow-Origin * always;",
    "no-vary": f"{NO_VARY} add_header Vary Accept-Encoding;",
    "no-vary-without-origin": (
        f'set $vary Origin; if ($http_origin = "") {{ set $vary ""; }} {NO_VARY}'
        " add_header Vary $vary;"
    ),
    "prefix": matching("^https?://app.example"),
    "null": matching("^(null|https://app[.]example|http://app[.]example:3000)$"),
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
    "unprotected": to("unprotected"),
    "no-host": f"proxy_set_header Host $proxy_host; {PASS_ON}",
    "small": f"{PASS_ON} client_max_body_size 1;",
    "down": "proxy_pass http://down;",
    "slow": "proxy_pass http://slow; proxy_read_timeout 200ms;",
    "down-readable": f"{ADD_ALLOW_ORIGIN} add_header Vary Origin always; proxy_pass http://down;",
    "slow-readable": (
        f"{ADD_ALLOW_ORIGIN} add_header Vary Origin always;"
        " proxy_pass http://slow; proxy_read_timeout 200ms;"
    ),
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
    "credentials": (to("credentials"), "good"),
    "no-flags": (f"{to('credentials')} proxy_cookie_flags ~ nosecure nosamesite;", "good"),
    "below": (f"{BELOW_V1} {to('credentials')}", "good"),
    "to-http": (f"{ADD_ALLOW_ORIGIN} return 307 http://api.example$request_uri;", "good"),
    "expired": (PASS_ON, "expired"),
    "other-name": (PASS_ON, "other-name"),
    "self-signed": (PASS_ON, "self-signed"),
}

DOCS = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
BLOCK, BELOW = (text.partition("```")[0] for text in DOCS.split("```nginx\n")[1:])

LOCATION = "    location / {\n        proxy_pass http://127.0.0.1:8000;\n"

# What it adds to a proxy, so that pages can read the proxy's own errors.
ORIGINS, _, SERVER = BLOCK.replace("https://app.example.com", PAGE).partition("server {")
READABLE_ERRORS = "error_page" + SERVER.partition("error_page")[2].partition("location / {")[0]

# The APIs behind the proxy: it names one of them in a header. Each request is recorded.
DEPLOYED = """
from flask import session

from app import create_app

CREDENTIALS = {
    "CORS_ORIGINS": ["https://app.example", "https://*.app.example", "https://pr-*.dev.example"],
    "CORS_METHODS": ["GET", "POST"],
    "CORS_SUPPORTS_CREDENTIALS": True,
    "CORS_MAX_AGE": -1,
    "CORS_PATHS": {"/api/public": {"origins": ["any"], "methods": ["GET"]}},
    "SECRET_KEY": "for tests only",
    "SESSION_COOKIE_SAMESITE": "None",
    "SESSION_COOKIE_PARTITIONED": True,
}
APPS = {
    "plain": create_app(),
    "credentials": create_app(CREDENTIALS),
    "unprotected": create_app({"CORS_PROTECTION": False}),
}
APPS["plain"].add_url_rule("/slash/", view_func=lambda: "here")


@APPS["credentials"].before_request
def remember():
    session["seen"] = True


def app(environ, start_response):
    with open("requests.log", "a") as log:
        log.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}\\n")
    return APPS[environ.get("HTTP_X_APP", "plain")](environ, start_response)
"""

CONFIG = """
daemon off; master_process off; pid nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {servers}
}}
"""

WITH_FAULTS = """
    proxy_set_header Host $http_host;
    upstream api {{ server unix:{folder}/api.sock; }}
    upstream down {{ server unix:{folder}/down.sock; }}
    upstream slow {{ server 127.0.0.1:{slow}; }}
    {maps}
    {servers}
"""


@contextmanager
def nginx(folder: Path, servers: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Debian's nginx, everything of it within a folder, as whatever user this is."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        skip("install nginx (Debian: apt install nginx-light)")
    (folder / "nginx.conf").write_text(CONFIG.format(servers=servers))
    log = folder / "error.log"
    command = [program, "-p", str(folder), "-c", "nginx.conf", "-e", str(log)]
    with running(command, folder, lambda: answers(port), log) as process:
        yield process


@contextmanager
def behind_nginx(
    folder: Path, api: int, certificate: "Certificate", pause: str = "75s", below: str | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", int, int]]:
    """Run nginx by the block of the docs before the API's port. Yields it, and its ports for https
    and http. `pause` is the longest in an answer; `below` replaces the first lines of the location.
    """
    secure, plain = free_ports(2)
    block = BLOCK
    for shipped, here in {
        LOCATION: below or LOCATION,
        "listen 443": f"listen 127.0.0.1:{secure}",
        "listen 80": f"listen 127.0.0.1:{plain}",
        "/etc/ssl/api.example.com.pem": str(certificate.path),
        "/etc/ssl/api.example.com.key": str(certificate.path),
        "http://127.0.0.1:8000": f"http://127.0.0.1:{api}",
        "proxy_read_timeout 75s": f"proxy_read_timeout {pause}",
    }.items():
        assert shipped in block
        block = block.replace(shipped, here)
    with nginx(folder, block, secure) as process:
        yield process, secure, plain


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


@contextmanager
def dripping(start: bytes) -> Iterator[int]:
    """Listen on a port that sends a start at once, and then a byte of a header every 50 ms."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError), server.accept()[0] as client:
                client.sendall(start + b"X-Slow: ")
                while True:
                    time.sleep(0.05)
                    client.sendall(b"x")

        Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def certificates(folder: Path) -> None:
    """Make a certificate for each name in SECURE, and ca.pem, the authority to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    yesterday = datetime.now(UTC) - timedelta(days=1)
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
    """Probes a server by the name of its fault. `requests` is what reached the API."""

    def __init__(self, commands: Commands, ports: dict[str, int], authority: Path) -> None:
        self.commands = commands
        self.ports = ports
        self.authority = authority

    @property
    def requests(self) -> list[str]:
        log = self.authority.with_name("project") / "requests.log"
        return log.read_text().splitlines()

    def url(self, fault: str, path: str = "/api/echo") -> str:
        scheme = "https" if fault in SECURE else "http"
        return f"{scheme}://localhost:{self.ports[fault]}{path}"

    def __call__(
        self, fault: str, *options: str, page: str = PAGE, path: str = "/api/echo", **variables: str
    ) -> Result:
        variables = {"SSL_CERT_FILE": str(self.authority), **variables}
        arguments = (self.url(fault, path), page, *(options or ("GET",)))
        return self.commands("probe", *arguments, **variables)


@contextmanager
def probing(template: Path) -> Iterator[Probe]:
    """Run the rendered project under gunicorn, behind one nginx that has all servers."""
    with ExitStack() as stack:
        # A short name, as that of a Unix socket must be.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = folder / "project"
        copy(template, project, {"frontend_origins": [PAGE, SECURE_PAGE]})
        (project / "deployed.py").write_text(DEPLOYED)
        (project / "requests.log").touch()
        certificates(folder)
        names = [*FAULTS, *SECURE, "readable"]
        ports = dict(zip(names, stack.enter_context(held_ports(len(names))), strict=True))
        servers = [
            f"server {{ listen 127.0.0.1:{ports[name]} reuseport; location / {{ {location} }} }}"
            for name, location in FAULTS.items()
        ]
        servers += [
            f"server {{ listen 127.0.0.1:{ports[name]} ssl reuseport;"
            f" ssl_certificate {certificate}.pem; ssl_certificate_key {certificate}.pem;"
            f" location / {{ {location} }} }}"
            for name, (location, certificate) in SECURE.items()
        ]
        servers.append(
            f"server {{ listen 127.0.0.1:{ports['readable']} reuseport; {READABLE_ERRORS}"
            f" location / {{ {PASS_ON} }}"
            f" location /small {{ {FAULTS['small']} }}"
            f" location /down {{ {FAULTS['down']} }}"
            f" location /slow {{ {FAULTS['slow']} }} }}"
        )
        text = "\n".join(servers).replace("{none}", str(ports["none"]))
        slow = stack.enter_context(listening(None))
        config = WITH_FAULTS.format(folder=folder, slow=slow, maps=ORIGINS, servers=text)
        api = [sys.executable, "-m", "gunicorn", f"--bind=unix:{folder}/api.sock"]
        api += ["--limit-request-line=4094", "deployed:app"]  # less than nginx takes
        log = folder / "api.log"
        socket_file = folder / "api.sock"
        stack.enter_context(running(api, project, socket_file.exists, log))
        stack.enter_context(nginx(folder, config, ports["none"]))
        commands = stack.enter_context(running_commands(project))
        yield Probe(commands, ports, folder / "ca.pem")
