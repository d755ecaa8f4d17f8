"""The start command: what it makes of hostile clients and failing views, alone and behind nginx."""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from chromium import Certificate
from conftest import copy
from faults import (
    EVENTS,
    HALF_A_BODY,
    HALF_A_HEADER,
    IDLE,
    ORIGIN,
    Server,
    beside,
    chunked,
    in_flight,
    looks_whole,
    origin_twice,
    serving,
    upgraded,
)
from proxied import BELOW, DOCS, behind_nginx

START = [sys.executable, "-m", "gunicorn", "faulty:app"]
DEVELOPMENT = [sys.executable, "-m", "flask", "--app=faulty", "run", "--port={port}"]
OTHERS = {
    "gthread": [*START, "--worker-class=gthread", "--threads=4"],
    "sync": [*START, "--worker-class=sync"],
    "waitress": [sys.executable, "-m", "waitress", "--listen=127.0.0.1:{port}", "faulty:app"],
}


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("served") / "project"
    copy(template, project, {})
    return project


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[Server]:
    with serving(project, START, project / "start.log", {"WEB_CONCURRENCY": "2"}) as server:
        yield server


def body_of(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def status_of(answer: bytes) -> int:
    return int(answer[9:12])


def is_readable(answer: bytes) -> bool:
    return f"Access-Control-Allow-Origin: {ORIGIN}\r\n".encode() in answer


def test_environment_sets_it_up(server: Server) -> None:
    assert len(server.workers()) == 2
    assert body_of(server.ask("/here"))["multiprocess"] is True


@pytest.mark.parametrize("sent", [b"", IDLE, HALF_A_HEADER, HALF_A_BODY, EVENTS])
def test_slow_clients_hold_nobody_up(server: Server, sent: bytes) -> None:
    assert beside(server, sent, 100, settle=0.2) < 1


def test_answer_that_breaks_off_does_not_look_complete(server: Server) -> None:
    assert not looks_whole(server)


def test_origin_that_is_sent_twice_is_not_allowed(server: Server) -> None:
    assert not origin_twice(server)


def test_websocket(server: Server) -> None:
    assert upgraded(server)


def test_chunked_body(server: Server) -> None:
    assert body_of(chunked(server, b"5", b"hello", b"0")) == {"size": 5}
    malformed = chunked(server, b"5", b"hello", b"zz", b"no", b"0")
    assert status_of(malformed) == 500 and is_readable(malformed)  # the server's own exception


def test_page_can_read_that_its_body_is_too_large(server: Server) -> None:
    length = "Content-Length: 1000001"
    answer = server.ask("/take", length, f"Origin: {ORIGIN}", method="POST", body=b"x" * 1_000_001)
    assert status_of(answer) == 413 and is_readable(answer)


def test_body_that_stalls_is_given_up(project: Path) -> None:
    """Its connection, too, so that those who wait for one get it."""
    full = {"WEB_CONCURRENCY": "1", "GUNICORN_CMD_ARGS": "--worker-connections=10 --keep-alive=1"}
    with serving(project, START, project / "stalls.log", full) as server, ExitStack() as stack:
        stalled = [stack.enter_context(server.connect(HALF_A_BODY)) for _ in range(10)]
        assert server.seconds() < float("inf")  # it waits for a connection
        for client in stalled:
            answer = client.makefile("rb").read()
            assert status_of(answer) == 408 and body_of(answer)["title"] == "Request Timeout"
        late = "Content-Length: 2"
        assert body_of(server.ask("/take", late, method="POST", body=b"hi")) == {"size": 2}


@pytest.mark.parametrize("command", [START, DEVELOPMENT])
def test_eight_async_views_wait_at_once(project: Path, command: list[str]) -> None:
    environment = {"WEB_CONCURRENCY": "1", "FLASK_TRUSTED_HOSTS": "api.example.com"}

    def ask(server: Server, path: str, body: bytes) -> bytes:
        """Send a body in two parts: the view begins before the second is there."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: api.example.com\r\nOrigin: {ORIGIN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        with server.connect(head.encode() + body[:1]) as client:
            time.sleep(0.1)
            client.sendall(body[1:])
            return client.makefile("rb").read()

    log = project / "async.log"
    with (
        serving(project, command, log, environment) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        begin = time.monotonic()
        for answer in pool.map(lambda _: ask(server, "/async", b"[1, 2]"), range(8)):
            assert status_of(answer) == 200 and body_of(answer) == {"size": 6}
        assert time.monotonic() - begin < 8 * 0.5
        conflict, failed = (ask(server, "/async/fails", body) for body in (b"[1]", b"[ ]"))
        assert status_of(conflict) == 409 and body_of(conflict)["detail"] == "on purpose"
        assert status_of(failed) == 500 and is_readable(failed)
    assert "ZeroDivisionError" in log.read_text()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"/api/echo?{'x' * 8167}", [], 200),
        (f"/api/echo?{'x' * 8168}", [], 414),
        ("/api/echo", [f"X-A: {'x' * 8183}"], 200),
        ("/api/echo", [f"X-A: {'x' * 8184}"], 431),
        ("/api/echo", ["X-A: x"] * 97, 200),
        ("/api/echo", ["X-A: x"] * 98, 431),
    ],
)
def test_limits(server: Server, path: str, headers: list[str], status: int) -> None:
    assert status_of(server.ask(path, *headers)) == status


def test_refusal_of_the_server_is_logged(server: Server, project: Path) -> None:
    assert status_of(server.ask(f"/{'x' * 9000}")) == 414
    assert "Request Line is too large" in (project / "start.log").read_text()


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /api/public", "PATH_INFO: /x"])
def test_header_moves_no_path(project: Path, header: str) -> None:
    """gunicorn would take the path from it, where the client or its proxy is on this machine."""
    paths = {"FLASK_CORS_PATHS": '{"/api/public": {"origins": ["any"]}}'}
    with serving(project, START, project / "moved.log", paths) as server:
        evil = "Origin: https://evil.example"
        for path in ("/here", "/api/public/here", "/api/public/x", "/api/echo"):
            known, moved = server.ask(path, evil), server.ask(path, evil, header)
            assert status_of(moved) == status_of(known)
            assert (b"Allow-Origin: *" in moved) == path.startswith("/api/public")
        assert body_of(server.ask("/here", header))["url"] == "http://api.example.com/here"


def test_only_two_lines_of_the_log_have_a_query(project: Path) -> None:
    log = project / "query.log"
    with serving(project, START, log, {"FLASK_PROPAGATE_EXCEPTIONS": "true"}) as server:
        server.ask("/api/echo?secret=none")
        server.ask("/missing?secret=none")
        server.ask("/breaks?secret=none")
        server.ask("/slow?seconds=x&secret")
        server.connect(b"GET /?secret\r\n\r\n").recv(65536)
    told = [json.loads(line)["event"] for line in log.read_text().splitlines() if "secret" in line]
    assert [re.split(" GET| from", event)[0] for event in told] == [
        "Error handling request",
        "Invalid request",
    ]


@pytest.mark.parametrize("origins", [ORIGIN, "nonsense"])
def test_check_of_the_docs_finds_what_would_end_the_server(project: Path, origins: str) -> None:
    (check,) = re.findall(r"`gunicorn (--check-config wsgi:app)`", DOCS)
    command = [sys.executable, "-m", "gunicorn", *check.split()]
    environment = {**os.environ, "FLASK_CORS_ORIGINS": origins}
    checked = subprocess.run(command, cwd=project, env=environment, capture_output=True)
    assert (checked.returncode == 0) == (origins == ORIGIN)


def test_stop_lets_requests_finish(project: Path) -> None:
    with serving(project, START, project / "stop.log", {"WEB_CONCURRENCY": "2"}) as server:
        answered, took = in_flight(server)
        assert (answered, server.process.returncode) == (8, 0)
        assert took < 5


@pytest.mark.parametrize("name", OTHERS)
def test_other_servers_serve_it(project: Path, name: str) -> None:
    with serving(project, OTHERS[name], project / f"{name}.log") as server:
        preflight = ("Origin: " + ORIGIN, "Access-Control-Request-Method: PUT")
        assert server.ask("/x", *preflight, method="OPTIONS").startswith(b"HTTP/1.1 204")
        answer = server.ask("/missing", f"Origin: {ORIGIN}")
        assert status_of(answer) == 404 and is_readable(answer)
        refused = server.ask(
            "/take", "Origin: https://evil.example", "Content-Length: 1", method="POST", body=b"x"
        )
        assert status_of(refused) == 403
        assert not looks_whole(server)


# Behind nginx, as the block of docs/deploy.md configures it


class Proxied(Server):
    """A server behind TLS."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, authority: Path) -> None:
        super().__init__(process, port)
        self.context = ssl.create_default_context(cafile=str(authority))

    def connect(self, sent: bytes = b"", timeout: float = 5) -> socket.socket:
        plain = socket.create_connection(self.address, timeout=timeout)
        client = self.context.wrap_socket(plain, server_hostname="api.example.com")
        client.sendall(sent)
        return client


@pytest.fixture(scope="module")
def proxied(
    project: Path, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Proxied, int]]:
    log, folder = project / "behind.log", tmp_path_factory.mktemp("nginx")
    with (
        serving(project, START, log, {"FLASK_PROXIES": "1"}) as server,
        behind_nginx(folder, server.address[1], certificate, "500ms") as (process, secure, plain),
    ):
        yield Proxied(process, secure, certificate.authority), plain


def test_app_knows_the_address_that_was_asked_for(proxied: tuple[Proxied, int]) -> None:
    proxy, _ = proxied
    for host in ("api.example.com", "api.example.com:8443"):
        spoofed = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Prefix: /evil")
        answer = body_of(proxy.ask("/here", *spoofed, host=host))
        assert answer["url"] == f"https://{host}/here"
        assert answer["client"] == "127.0.0.1"


def test_own_pages_are_not_foreign(proxied: tuple[Proxied, int]) -> None:
    """A browser without Sec-Fetch-Site: the origin is compared with the host."""
    proxy, _ = proxied
    for host in ("api.example.com", "api.example.com:8443"):
        own = f"Origin: https://{host}"
        answer = proxy.ask("/take", own, "Content-Length: 0", method="POST", host=host)
        assert status_of(answer) == 200
    foreign = ("Origin: https://evil.example", "Content-Length: 0")
    assert status_of(proxy.ask("/take", *foreign, method="POST")) == 403


def test_websocket_passes(proxied: tuple[Proxied, int]) -> None:
    assert upgraded(proxied[0])


def test_events_come_at_once(proxied: tuple[Proxied, int]) -> None:
    with proxied[0].connect(EVENTS, timeout=2) as client:
        received = b""
        begin = time.monotonic()
        while received.count(b"data: x") < 3:
            received += client.recv(65536)
    assert time.monotonic() - begin < 1.5


def test_half_an_answer_breaks_behind_the_proxy_too(proxied: tuple[Proxied, int]) -> None:
    assert not looks_whole(proxied[0])


@pytest.mark.parametrize("origin", [ORIGIN, "https://pr-1.preview.example.com"])
def test_pages_can_read_the_proxys_own_errors(proxied: tuple[Proxied, int], origin: str) -> None:
    proxy, _ = proxied
    sent = f"Origin: {origin}"
    body = b"x" * 1_100_000
    too_large = proxy.ask("/take", sent, f"Content-Length: {len(body)}", method="POST", body=body)
    too_slow = proxy.ask("/slow?seconds=1", sent)
    for answer, status in ((too_large, 413), (too_slow, 504)):
        assert status_of(answer) == status
        assert answer.count(f"Access-Control-Allow-Origin: {origin}\r\n".encode()) == 1
        assert body_of(answer) == {"status": status}
    stranger = proxy.ask("/slow?seconds=1", "Origin: https://evil.example")
    assert status_of(stranger) == 504 and b"Allow-Origin" not in stranger


def test_plain_http_is_redirected(proxied: tuple[Proxied, int]) -> None:
    proxy, plain = proxied
    answer = Server(proxy.process, plain).ask("/here?a=b")
    assert answer.startswith(b"HTTP/1.1 308 ")


def test_prefix_that_the_proxy_removes_is_in_urls(
    project: Path, certificate: Certificate, tmp_path: Path
) -> None:
    log, settings = project / "below.log", {"FLASK_PROXIES": "1", "FLASK_PREFIX_PROXIES": "1"}
    with (
        serving(project, START, log, settings) as server,
        behind_nginx(tmp_path, server.address[1], certificate, below=BELOW) as (process, secure, _),
    ):
        proxy = Proxied(process, secure, certificate.authority)
        answer = body_of(proxy.ask("/v1/here", "X-Forwarded-Prefix: /evil"))
        assert answer["url"] == "https://api.example.com/v1/here"
        own = ("Origin: https://api.example.com", "Content-Length: 0")
        assert status_of(proxy.ask("/v1/take", *own, method="POST")) == 200
