"""What surrounds the API, under real servers: ids, the log, security headers, proxies, settings."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from conftest import copy, run_python
from servers import answers, free_port, running

ALLOWED = "https://app.example.com"
STRANGER = "https://evil.example"

# What an owner adds: lines of his own, failures, a stream, headers, a redirect.
VIEWS = """
import logging

import structlog
from flask import Response, redirect, url_for

from wsgi import app


@app.get("/own/<name>")
def own(name):
    logging.getLogger("app.own").info("logging says %s", name)
    app.logger.info("flask says %s", name)
    structlog.get_logger().info("structlog says", name=name)
    return ""


@app.get("/fails/<name>")
def fails(name):
    raise ValueError(name)


@app.get("/stream")
def stream():
    return (part for part in "ab")


OWN = {"Content-Security-Policy": "default-src 'self'", "cache-control": "max-age=60"}


@app.get("/public/page")
def page():
    return Response(headers={**OWN, "X-Request-ID": "upstream"})


@app.get("/control")
def control():
    return Response(headers={"X-Name": "a\x1bb"})


@app.get("/dict")
def logs_a_dict():
    logging.getLogger("app.own").info({"key": 1})
    return ""


@app.get("/away")
def away():
    return redirect(url_for("own", name="x", _external=True))
"""

HOSTILE = 'x%0A{"level":"info","event":"forged"}%0D%1B[2J%C2%85%E2%80%A8%ED%A0%80'


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operations") / "project"
    copy(template, folder, {"frontend_origins": ALLOWED})
    (folder / "views.py").write_text(VIEWS)
    return folder


class Server:
    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self.log = log

    def send(self, target: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
        """Return the status and the headers of the answer to a request, as it is on the wire."""
        fields = {"Host": "api.example", "Connection": "close", "Content-Length": "0"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        with create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")
        status, *lines = answer.partition("\r\n\r\n")[0].split("\r\n")
        found = [line.partition(": ") for line in lines]
        assert len(found) == len({name.lower() for name, _, _ in found} - {""}), (
            "a header is there twice"
        )
        return int(status.split()[1]), {name: value for name, _, value in found}

    def lines(self) -> list[str]:
        """Return the app's lines, without those of the server about itself."""
        time.sleep(0.3)
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not re.match(r"\[20| \* |WARNING: |Press", line)]

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


GUNICORN = "-m gunicorn -w1 --worker-class=gthread --threads=4 {app}:app --bind 127.0.0.1:{port}"
FLASK = "-m flask --app={app} run --port {port}"


@contextmanager
def serving(
    project: Path, log: Path, command: str = GUNICORN, app: str = "views", **environment: str
) -> Iterator[Server]:
    port = free_port()
    words = [sys.executable, *command.format(app=app, port=port).split()]
    with running(words, project, lambda: answers(port), log, **environment):
        yield Server(port, log)


@pytest.fixture(scope="module")
def gunicorn(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(project, tmp_path_factory.mktemp("log") / "log") as server:
        yield server


def asked(server: Server, name: str, target: str, **how: str) -> list[dict[str, Any]]:
    """Send a request with this id, and return its records."""
    server.send(target, X_Request_ID=name, **how)
    return [record for record in server.records() if record["id"] == name]


# The log


def test_each_request_has_one_line_whatever_answers_it(gunicorn: Server) -> None:
    preflight = {"Access_Control_Request_Method": "PUT"}
    kinds: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
        "get": ("/api/echo?q=secret", {"Cookie": "secret=1"}, {"status": 200, "cors": None}),
        "page": ("/api/echo", {"Origin": ALLOWED}, {"status": 200, "cors": "allowed"}),
        "stranger": ("/api/echo", {"Origin": STRANGER}, {"status": 200, "cors": "denied"}),
        "own page": ("/none", {"Origin": "http://api.example"}, {"cors": "same-origin"}),
        "none": ("/none?q=secret", {}, {"status": 404, "route": None, "path": "/none"}),
        "stream": ("/stream", {}, {"status": 200, "route": "/stream", "path": None}),
        "refused": (
            "/api/echo",
            {"method": "POST", "Origin": STRANGER},
            {"status": 403, "cors": "refused", "route": None},
        ),
        "preflight": (
            "/api/echo",
            {"method": "OPTIONS", "Origin": ALLOWED, **preflight},
            {"status": 204, "cors": "allowed", "method": "OPTIONS"},
        ),
        "preflight that is denied": (
            "/x",
            {"method": "OPTIONS", "Origin": STRANGER, **preflight},
            {"status": 204, "cors": "denied", "path": "/x"},
        ),
    }
    keys = ["time", "level", "event", "id", "method", "route", "path", "status", "duration"]
    keys += ["client", "origin", "cors"]
    for name, (target, how, expected) in kinds.items():
        request_id = name.replace(" ", "-")
        found = asked(gunicorn, request_id, target, **how)
        (line,) = [record for record in found if record["event"] == "request"]
        assert list(line) == keys
        assert line.items() >= expected.items(), name
        assert line["origin"] == how.get("Origin")
        assert "secret" not in json.dumps(found)
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT[0-9:]{8}\.\d{3}Z", line["time"])
        assert 0 <= line["duration"] < 10_000


def test_lines_of_all_kinds_take_one_way_and_name_the_request(gunicorn: Server) -> None:
    found = asked(gunicorn, "ours", "/own/me")
    assert [(record["event"], record["level"]) for record in found] == [
        ("logging says me", "info"),
        ("flask says me", "info"),
        ("structlog says", "info"),
        ("request", "info"),
    ]
    found = asked(gunicorn, "blocked", "/api/echo", Origin=STRANGER)
    assert found[0]["event"].startswith("CORS: a browser blocks GET /api/echo")
    assert (found[0]["level"], found[0]["logger"]) == ("warning", "app.cors.gate")


@pytest.mark.parametrize("target", ["/own/", "/fails/", "/none/"])
def test_hostile_value_is_in_its_record_alone(gunicorn: Server, target: str) -> None:
    before = len(gunicorn.lines())
    origin = "https://é\x85.example".encode().decode("latin-1")  # gunicorn refuses an ESC here
    gunicorn.send(target + HOSTILE, Origin=origin)
    gunicorn.send(target + "y" * 3000, Origin="https://" + "z" * 3000)
    for line in gunicorn.lines()[before:]:
        assert line.isprintable(), line
        record = json.loads(line)
        assert record["event"] != "forged" and record["id"]
        assert "Traceback" not in record["event"]
        if record["event"] == "request":
            assert len(line) < 1500
    if target == "/fails/":
        assert any("ValueError: x" in record.get("exception", "") for record in gunicorn.records())


def test_log_says_the_status_that_the_page_got(gunicorn: Server) -> None:
    """What HTTP forbids in a header is the app's 500, which the page can read, not gunicorn's."""
    status, headers = gunicorn.send("/control", X_Request_ID="control", Origin=ALLOWED)
    assert (status, headers["Content-Type"]) == (500, "application/problem+json")
    assert headers["Access-Control-Allow-Origin"] == ALLOWED
    records = [record for record in gunicorn.records() if record["id"] == "control"]
    assert [record.get("status") for record in records if record["event"] == "request"] == [500]
    assert any("header contains" in record.get("exception", "") for record in records)


def test_dict_can_be_logged(gunicorn: Server) -> None:
    record, _ = asked(gunicorn, "dict", "/dict")
    assert record["key"] == 1


def test_development_server_writes_lines_to_read(project: Path, tmp_path: Path) -> None:
    with serving(project, tmp_path / "log", FLASK, FLASK_TRUSTED_HOSTS="api.example") as server:
        server.send("/api/echo", X_Request_ID="abc-3", Origin=ALLOWED)
        server.send("/own/me")
        server.send("/fails/" + HOSTILE)
        lines = server.lines()
    (line,) = [line for line in lines if "abc-3" in line]
    for said in ("method=GET", "route=/api/echo", "status=200", "cors=allowed"):
        assert said in line.split(" ")
    assert " info start " in lines[0] and ALLOWED in lines[0]
    for said in ("logging says me", "flask says me", "structlog says"):
        assert len([line for line in lines if said in line]) == 1
    assert not any("HTTP/1.1" in line for line in lines), "werkzeug's own line is the second one"
    for line in lines:
        assert line.isprintable(), line
        assert re.match(r"\d\d:\d\d:\d\d (info|warning|error) |  ", line), (
            f"a record begins with {line}"
        )


def test_log_of_requests_can_be_switched_off(project: Path, tmp_path: Path) -> None:
    with serving(project, tmp_path / "log", FLASK_LOG_LEVEL="WARNING") as server:
        assert server.send("/api/echo")[1]["X-Request-ID"]
        server.send("/api/echo", Origin=STRANGER)
        assert [record["level"] for record in server.records()] == ["warning"]


# The request's id


@pytest.mark.parametrize("given", ["a" * 128, "7f1c-4.b_c:d/e+f=@", "0"])
def test_id_of_the_right_form_is_taken_in(gunicorn: Server, given: str) -> None:
    assert gunicorn.send("/health/live", X_Request_ID=given)[1]["X-Request-ID"] == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "a b", "a,b", "é", '"', "{}", "a\tb"])
def test_another_id_is_made(gunicorn: Server, given: str | None) -> None:
    headers = {} if given is None else {"X_Request_ID": given}
    ids = [gunicorn.send("/health/live", **headers)[1]["X-Request-ID"] for _ in range(2)]
    assert ids[0] != ids[1] and all(re.fullmatch("[0-9a-f]{32}", made) for made in ids)


# Security headers

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
}


def test_every_answer_has_security_headers(gunicorn: Server) -> None:
    preflight = {"Origin": ALLOWED, "Access_Control_Request_Method": "PUT"}
    for target, how, stored in (
        ("/api/echo", {}, True),
        ("/api/echo", {"method": "HEAD"}, True),
        ("/api/echo", {"method": "OPTIONS", **preflight}, True),
        ("/api/echo", {"Authorization": "Bearer 1"}, False),
        ("/api/echo", {"Cookie": "a=1"}, False),
        ("/none", {}, False),
        ("/fails/x", {}, False),
        ("/api/echo", {"method": "DELETE", "Origin": STRANGER}, False),
    ):
        headers = gunicorn.send(target, **how)[1]
        assert headers.items() >= SECURITY.items(), (target, how)
        assert headers.get("Cache-Control") == (None if stored else "no-store"), (target, how)


def test_resource_policy_agrees_with_the_policy_of_the_path(project: Path, tmp_path: Path) -> None:
    paths = json.dumps({"/public": {"origins": ["any"], "methods": ["GET"]}})
    with serving(project, tmp_path / "log", FLASK_CORS_PATHS=paths) as server:
        page = server.send("/public/page")[1]
        assert page["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert page["Content-Security-Policy"] == "default-src 'self'", "the view's own"
        assert page["cache-control"] == "max-age=60", "the view's own"
        assert page["X-Request-ID"] not in ("upstream", ""), "ours: the log has it"
        missing = server.send("/public/none")[1]
        assert missing["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert server.send("/health/live")[1].items() >= SECURITY.items()


# Proxies and hosts

FORWARDED = {
    "X_Forwarded_For": "203.0.113.9",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "api.example.com",
    "X_Forwarded_Prefix": "/evil",
}


def test_proxies_are_trusted_by_number(project: Path, tmp_path: Path) -> None:
    own = {"Origin": "https://api.example.com", **FORWARDED}
    for proxies, address, location, status in (
        ("0", "127.0.0.1", "http://api.example/own/x", 403),
        ("1", "203.0.113.9", "https://api.example.com/own/x", 200),
    ):
        # gunicorn believes X-Forwarded-Proto of this machine by itself.
        given = {
            "FLASK_PROXIES": proxies,
            "FLASK_LOG_FORMAT": "json",
            "FLASK_TRUSTED_HOSTS": f"api.example, {FORWARDED['X_Forwarded_Host']}",
        }
        with serving(project, tmp_path / proxies, FLASK, **given) as server:
            assert server.send("/away", **FORWARDED)[1]["Location"] == location
            assert server.send("/api/echo", method="DELETE", **own)[0] == status
            clients = {r["client"] for r in server.records() if r["event"] == "request"}
            assert clients == {address}
            server.send("/away", X_Forwarded_For="x" * 3000)
            assert len(server.lines()[-1]) < 600


def test_prefix_of_a_proxy_is_trusted_by_a_number_of_its_own(project: Path, tmp_path: Path) -> None:
    """PROXIES alone leaves it to the client, who could rewrite where a redirect leads."""
    with serving(
        project,
        tmp_path / "log",
        FLASK,
        FLASK_PREFIX_PROXIES="1",
        FLASK_TRUSTED_HOSTS="api.example",
    ) as server:
        headers = server.send("/away", X_Forwarded_Prefix="/v1")[1]
        assert headers["Location"] == "http://api.example/v1/own/x"


def test_other_hosts_are_refused_where_some_are_trusted(project: Path, tmp_path: Path) -> None:
    hosts = "api.example, .internal.example"
    with serving(project, tmp_path / "log", FLASK_TRUSTED_HOSTS=hosts) as server:
        for host, status in (
            ("api.example", 200),
            ("api.example:8000", 200),
            ("a.internal.example", 200),
            ("evil.example", 400),
            ("10.0.0.7", 400),
        ):
            found, headers = server.send("/health/live", Host=host)
            assert found == status, host
        assert headers["Content-Type"] == "application/problem+json"


def test_development_server_answers_by_local_names_alone(project: Path, tmp_path: Path) -> None:
    """A page can point a name of its own to this machine, and is then on the API's origin."""
    local = [
        "localhost",
        "localhost:8000",
        "127.0.0.1:8000",
        "app.localhost",
        "[::1]:8000",
        "[::1]",
    ]
    phone = "192.168.1.5:8000"
    others = [
        "evil.example",
        "localhost.evil.example:8000",
        "127.0.0.1.evil.example",
        "[::1]x",
        phone,
    ]
    with serving(project, tmp_path / "log", FLASK) as server:
        for host in local:
            assert server.send("/health/live", Host=host)[0] == 200, host
        for host in others:
            assert server.send("/api/echo", "DELETE", Host=host)[0] == 400, host
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/health/live", headers={"Host": phone})
        said = json.load(connection.getresponse())["detail"]
    (value,) = re.findall(r'FLASK_TRUSTED_HOSTS="(.*?)"', said)
    with serving(project, tmp_path / "log", FLASK, FLASK_TRUSTED_HOSTS=value) as server:
        for host, status in ((phone, 200), ("localhost:8000", 200), ("evil.example", 400)):
            assert server.send("/health/live", Host=host)[0] == status, host


# What stops the start


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"FLASK_PROXIES": "one"}, "PROXIES: write how many proxies are in front, such as 1"),
        ({"FLASK_PROXIES": "-1"}, "such as 1, not -1"),
        ({"FLASK_PROXIES": "1.0"}, "such as 1, not 1.0"),
        ({"FLASK_PROXIES": "true"}, "such as 1, not True"),
        ({"FLASK_TRUSTED_HOSTS": ""}, "TRUSTED_HOSTS: write api.example.com, not []"),
        ({"FLASK_TRUSTED_HOSTS": "7"}, "TRUSTED_HOSTS: write api.example.com, not 7"),
        (
            {"FLASK_TRUSTED_HOSTS": "https://a.test/v1"},
            "api.example.com, not ['https://a.test/v1']",
        ),
        ({"FLASK_TRUSTED_HOSTS": "*.acme.test"}, "api.example.com, not ['*.acme.test']"),
        ({"FLASK_LOG_LEVEL": "loud"}, "LOG_LEVEL: write a level, such as INFO, not 'loud'"),
        ({"FLASK_LOG_LEVEL": "info"}, "such as INFO, not 'info'"),
        ({"FLASK_LOG_FORMAT": "xml"}, "LOG_FORMAT: write json or text, not 'xml'"),
        ({"FLASK_MAX_CONTENT_LENGTH": "1MB"}, "such as 1000000, not '1MB'"),
        ({"FLASK_MAX_CONTENT_LENGTH": "1.5"}, "such as 1000000, not 1.5"),
        ({"FLASK_MAX_CONTENT_LENGTH": ""}, "such as 1000000, not ''"),
        ({"FLASK_MAX_CONTENT_LENGTH": "-1"}, "such as 1000000, not -1"),
    ],
)
def test_setting_that_is_wrong_stops_the_start(
    project: Path, variables: dict[str, str], message: str
) -> None:
    assert message in start(project, **variables)


def start(project: Path, *command: str, **variables: str) -> str:
    """Return what a start prints, which must fail without a traceback of `flask`."""
    result = run_flask(project, *(command or ["routes"]), **variables)
    assert result.returncode != 0, result.stdout
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr


def run_flask(project: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flask", *command],
        cwd=project,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_secret_is_needed_where_the_session_is_used(template: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    copy(template, project, {})
    (project / "package.py").write_text("from flask import session\n")
    echo = project / "app/echo.py"
    own = f"import package\n{echo.read_text()}"
    echo.write_text(own)
    with serving(project, tmp_path / "log", app="wsgi") as server:
        assert server.send("/api/echo")[0] == 200, "a package has it, and the app may not use it"
    echo.write_text(own.replace("Blueprint, request", "Blueprint, request, session"))
    told = start(project, "run", "--port=0")
    assert "SECRET_KEY: set FLASK_SECRET_KEY to a text of 32 characters or more, or" in told
    run_python(project, "-m", "flask", "routes")  # it serves nothing
    for key in ("12345678901234567890", "true", '{"a": 1}'):  # which Flask reads as JSON
        assert "SECRET_KEY: set" in start(project, "run", "--port=0", FLASK_SECRET_KEY=key)
    for key in ("change-me", " " * 31):
        command = [sys.executable, "-c", "import wsgi"]
        environment = {**os.environ, "FLASK_SECRET_KEY": key}
        result = subprocess.run(command, cwd=project, env=environment, capture_output=True)
        assert b"SECRET_KEY: set FLASK_SECRET_KEY to a text of 32 characters" in result.stderr
    with serving(project, tmp_path / "log2", FLASK, "wsgi", FLASK_SECRET_KEY="short") as server:
        assert server.send("/api/echo", Host="localhost")[0] == 200, "on a developer's machine"
    with serving(project, tmp_path / "log", app="wsgi", FLASK_SECRET_KEY="hush" * 8) as server:
        assert server.send("/api/echo")[0] == 200
        assert "hush" not in str(server.records())


@pytest.mark.usefixtures("installed")
def test_start_and_show_say_what_is_in_force(project: Path, tmp_path: Path) -> None:
    given = {
        "FLASK_PROXIES": "2",
        "FLASK_TRUSTED_HOSTS": "api.example",
        "FLASK_SECRET_KEY": "hush" * 8,
        "FLASK_CORS_PATHS": '{"/api/public": {"origins": ["any"], "methods": ["GET"]}}',
    }
    with serving(project, tmp_path / "log", **given) as server:
        server.send("/health/live")  # so that it has started
        line, of_path = [record for record in server.records() if record["event"] == "start"]
    assert (of_path["path"], line["path"]) == ("/api/public", "")
    expected = {
        "origins": ALLOWED,
        "allow_headers": "Content-Type, Authorization",
        "supports_credentials": False,
        "max_age": 600,
    }
    assert line.items() >= expected.items()
    assert of_path.items() >= {"origins": "*", "methods": "GET", "max_age": 600}.items()
    shown = run_flask(project, "cors", "show", "--json", **given)
    assert shown.stderr == ""
    settings = {
        it["name"]: (it["value"], it["source"]) for it in json.loads(shown.stdout)["settings"]
    }
    for name, value in (("PROXIES", 2), ("TRUSTED_HOSTS", "api.example"), ("SECRET_KEY", "set")):
        assert settings[name] == (value, f"environment, FLASK_{name}")
    assert settings["LOG_LEVEL"] == ("INFO", "default")
    assert "hush" not in shown.stdout + str(line)


def warnings_of_a_start(project: Path, log: Path, **environment: str) -> list[str]:
    with serving(project, log, **environment) as server:
        server.send("/health/live")
        return [record["event"] for record in server.records() if record["level"] == "warning"]


def test_entry_of_cors_paths_below_which_no_route_is_is_told(project: Path, tmp_path: Path) -> None:
    """One with a mount's prefix protects nothing: policies go by the path that Flask routes."""
    paths = ("/v1/api/echo", "/api/echo/x", "/api/echo", "/static/css", "/health")
    entries = {path: {"methods": ["GET"]} for path in paths}
    told = warnings_of_a_start(project, tmp_path / "log", FLASK_CORS_PATHS=json.dumps(entries))
    expected = "CORS_PATHS: write '{}' as Flask routes it: no route is there"
    assert sorted(told) == [expected.format("/api/echo/x"), expected.format("/v1/api/echo")]


@pytest.mark.parametrize(
    ("origins", "credentials", "count"),
    [
        ("http://localhost:5173, http://127.0.0.1:5173", "true", 1),
        ("http://localhost:5173, http://127.0.0.1:5173", "false", 0),
        ("http://localhost:5173, http://localhost:8080", "true", 0),
    ],
)
def test_localhost_beside_127_is_told_where_cookies_are_sent(
    project: Path, tmp_path: Path, origins: str, credentials: str, count: int
) -> None:
    given = {"FLASK_CORS_ORIGINS": origins, "FLASK_CORS_SUPPORTS_CREDENTIALS": credentials}
    told = warnings_of_a_start(project, tmp_path / "log", **given)
    assert told == ["CORS_ORIGINS: write localhost or 127.0.0.1: they share no cookie"] * count
