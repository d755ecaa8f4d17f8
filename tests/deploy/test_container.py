"""The image, and Compose: built, started and stopped as shipped, by the README's commands."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chromium import Certificate, Chromium
from containers import Docker, wait_for
from proxied import DOCS, behind_nginx
from servers import free_port
from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import HTTPError

ORIGIN, STRANGER = "https://app.example.com", "https://evil.example"


def commands(project: Path, heading: str) -> list[str]:
    """Return the shell commands of the README under a heading."""
    readme = (project / "README.md").read_text(encoding="utf-8")
    section = readme.partition(f"\n## {heading}\n")[2]
    return section.partition("```sh\n")[2].partition("```")[0].strip().splitlines()


def test_compose_takes_each_setting_that_is_offered(deployed: dict[str, Path]) -> None:
    project = deployed["smallest"]
    offered = re.findall(r"^# (FLASK_\w+)=", (project / ".env.example").read_text(), re.MULTILINE)
    compose = yaml.safe_load((project / "compose.yaml").read_text())
    assert offered and set(offered) <= set(compose["services"]["api"]["environment"])


class Stack:
    """What compose.yaml has started."""

    def __init__(self, docker: Docker, project: Path) -> None:
        self.docker = docker
        self.project = project
        self.containers: dict[str, str] = {}
        self.port = free_port()
        self.variables = {
            "PORT": str(self.port),
            "FLASK_CORS_ORIGINS": ORIGIN,
            "FLASK_PROXIES": "1",
            "FLASK_TRUSTED_HOSTS": "api.example.com, localhost",
            "REVISION": "abc123",
            "WEB_CONCURRENCY": "2",
        }

    def run(self, command: str) -> str:
        return self.docker.shell(command, self.project, **self.variables)

    def container(self, service: str) -> str:
        if service not in self.containers:
            self.containers[service] = self.run(f"docker compose ps --quiet {service}")
        return self.containers[service]

    def inspect(self, service: str, part: str) -> str:
        return self.docker("inspect", "--format", part, self.container(service))

    def describe(self, image: str, part: str) -> str:
        return self.docker("image", "inspect", "--format", part, image)

    def wait(self, service: str) -> None:
        wait_for(
            lambda: self.inspect(service, "{{.State.Health.Status}}") == "healthy",
            60,
            lambda: self.run("docker compose logs"),
        )

    def ask(self, path: str, origin: str = ORIGIN, method: str = "GET", **options: Any) -> Any:
        pool = HTTPConnectionPool("localhost", self.port, retries=False, timeout=20)
        headers = {"Origin": origin, **options.pop("headers", {})}
        return pool.request(method, path, headers=headers, **options)


@pytest.fixture(scope="module")
def stack(docker: Docker, deployed: dict[str, Path]) -> Iterator[Stack]:
    project = deployed["full"]
    *before, down = commands(project, "In a container")
    stack = Stack(docker, project)
    try:
        for command in before:
            with docker.alone():
                stack.run(command)
        stack.wait("db")
        stack.wait("api")
        yield stack
        stack.run(down)
    finally:
        stack.run("docker compose down --volumes --rmi local")


# What a page does, who waits for each answer.
CRUD = """
async (api) => {
  const send = async (method, path, body, etag) => {
    const headers = {"Content-Type": "application/json", ...(etag && {"If-Match": etag})};
    const response = await fetch(api + path, {method, headers, body: body && JSON.stringify(body)});
    return {status: response.status, etag: response.headers.get("ETag"), path:
      response.headers.get("Location"), text: await response.text()};
  };
  const created = await send("POST", "/api/items", {name: "Pencil"});
  const read = await send("GET", created.path);
  const updated = await send("PATCH", created.path, {quantity: 4}, read.etag);
  const deleted = await send("DELETE", created.path, null, updated.etag);
  const gone = await send("GET", created.path);
  const statuses = [created, read, updated, deleted, gone].map(({status}) => status);
  return [...statuses, JSON.parse(updated.text).quantity];
}
"""
# What a page at another origin tries, and what it learns.
ATTACK = """
async ([api, item]) => {
  const body = JSON.stringify({name: "Pen"}), headers = {"Content-Type": "application/json"};
  const tries = [
    [api + "/api/items", {method: "POST", headers, body}],
    [api + "/api/items", {method: "POST", body}],
    [api + "/api/items", {method: "POST", body, mode: "no-cors"}],
    [api + item, {method: "PATCH", headers: {...headers, "If-Match": "*"}, body}],
    [api + item, {method: "DELETE", headers: {"If-Match": "*"}}],
    [api + item, {}],
  ];
  return Promise.all(tries.map((it) => fetch(...it).then(({status}) => status, () => "blocked")));
}
"""


@pytest.fixture(scope="module")
def secure_api(
    stack: Stack, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("nginx")
    with behind_nginx(folder, stack.port, certificate) as (_, secure, _):
        yield f"https://api.example.com:{secure}"


@pytest.mark.parametrize("way", ["the published port", "nginx with TLS"])
def test_only_allowed_pages_create_read_update_and_delete(
    stack: Stack, secure_api: str, browser: Chromium, way: str
) -> None:
    api = secure_api if way == "nginx with TLS" else f"http://localhost:{stack.port}"
    browser.open(ORIGIN)
    assert browser.tab.evaluate(CRUD, api) == [201, 200, 200, 204, 404, 4]
    item = stack.ask("/api/items", method="POST", json={"name": "Pencil"}).headers["Location"]
    before = stack.ask("/api/items").data
    browser.open(STRANGER)
    assert browser.tab.evaluate(ATTACK, [api, item]) == ["blocked"] * 6
    assert stack.ask("/api/items", STRANGER, "POST", json={"name": "Pen"}).status == 403
    assert stack.ask("/api/items").data == before


# Python's --host-resolver-rules.
RESOLVER = """
import socket
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **options: look_up("127.0.0.1", *more, **options)
"""


def test_probe_finds_nothing_to_fix(
    stack: Stack,
    secure_api: str,
    certificate: Certificate,
    whycors_folder: Path,
    tmp_path: Path,
) -> None:
    """By the command of the docs, on the API behind their nginx."""
    (tmp_path / "sitecustomize.py").write_text(RESOLVER)
    (command,) = re.findall(r"^FLASK_CORS_ORIGINS.+ flask cors probe .+", DOCS, re.MULTILINE)
    checked = stack.docker.shell(
        command.replace("https://api.example.com", secure_api),
        stack.project,
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        PYTHONPATH=f"{tmp_path}:{whycors_folder}",
        SSL_CERT_FILE=str(certificate.authority),
    )
    assert checked.endswith("The deployed API keeps the policy here."), checked


def test_settings_come_from_the_environment(stack: Stack) -> None:
    assert stack.ask("/health/live", headers={"Host": "api.example.com"}).status == 200
    assert stack.ask("/health/live", headers={"Host": "other.example"}).status == 400


# Prints what there is for somebody who has broken in.
LOOK = """
import importlib.util, json, os, shutil
def is_writable(folder):
    try:
        os.close(os.open(folder + "/mine", os.O_CREAT)); os.unlink(folder + "/mine")
        return True
    except OSError:
        return False
programs = "pip gcc cc g++ ld make curl wget git".split()
modules = "pip ensurepip setuptools pytest mypy ruff whycors tests".split()
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "privileges": [status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs")],
    "programs": [name for name in programs if shutil.which(name)],
    "modules": [name for name in modules if importlib.util.find_spec(name)],
    "files": sorted(os.listdir()),
    "writable": sorted(folder for folder, names, _ in os.walk("/")
        if not folder.startswith(("/proc", "/sys")) and is_writable(folder)),
}))
"""


def test_image_has_what_serves_and_nothing_else(stack: Stack) -> None:
    found = json.loads(stack.docker("exec", stack.container("api"), "python", "-c", LOOK))
    assert found == {
        "user": [10001, 10001],
        "privileges": ["0" * 16, "0" * 16, "1"],
        "programs": [],
        "modules": [],
        "files": ["__pycache__", "app", "gunicorn.conf.py", "requirements.txt", "wsgi.py"],
        "writable": ["/dev/mqueue", "/dev/shm", "/tmp"],
    }
    image = stack.inspect("api", "{{.Image}}")
    sizes = [int(stack.describe(name, "{{.Size}}")) for name in (image, "python:3.13-slim")]
    assert sizes[0] - sizes[1] < 100_000_000
    labels = json.loads(stack.describe(image, "{{json .Config.Labels}}"))
    assert labels["org.opencontainers.image.title"] == "bookshop-api"
    assert labels["org.opencontainers.image.revision"] == "abc123"


# Prints what the API's own connection to PostgreSQL may do.
ASK = """
import os, psycopg
connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
def is_allowed(statement):
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True
me = "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = user"
print(connection.execute(me).fetchone(), [is_allowed(statement) for statement in (
    "SELECT 1 FROM items", "CREATE TABLE mine ()", "DROP TABLE items", "TRUNCATE items",
    "SELECT 1 FROM pg_authid", "COPY items TO PROGRAM 'true'")])
"""


def test_api_reads_and_writes_rows_and_no_more(stack: Stack) -> None:
    found = stack.docker("exec", stack.container("api"), "python", "-c", ASK)
    assert found == f"{('api', False, False, False)} {[True] + [False] * 5}"
    stack.run("docker compose up --detach")  # makes no role twice


@pytest.mark.parametrize("service", ["api", "db"])
def test_containers_have_limits(stack: Stack, service: str) -> None:
    assert "no-new-privileges" in stack.inspect(service, "{{.HostConfig.SecurityOpt}}")
    for limit in ("Memory", "PidsLimit"):
        assert int(stack.inspect(service, "{{.HostConfig." + limit + "}}")) > 0


def test_database_goes_away_and_comes_back(stack: Stack) -> None:
    stack.run("docker compose stop db")
    answer = stack.ask("/api/items")
    assert answer.status == 503
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    statuses = [stack.ask(f"/health/{name}").status for name in ("live", "ready")]
    assert statuses == [200, 503]
    stack.run("docker compose start db")
    stack.wait("db")
    wait_for(lambda: stack.ask("/health/ready").status == 200, 20, str)
    assert stack.ask("/api/items").status == 200


def test_stop_under_load_fails_no_request(stack: Stack) -> None:
    """Requests that have begun are answered. Later ones find no server: they are refused, or reset
    where they wait for their turn."""
    address = stack.inspect("api", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    held = [begin_request(address) for _ in range(20)]
    failed: list[str] = []
    clients = [threading.Thread(target=ask_until_gone, args=(address, failed)) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.5)
    stop = threading.Thread(target=stack.run, args=["docker compose stop api"])
    stop.start()
    for client in clients:
        client.join(20)
    assert failed == []
    assert [end_request(client) for client in held] == [OK] * 20
    stop.join()
    assert stack.inspect("api", "{{.State.ExitCode}}") == "0"
    stack.run("docker compose start api")
    wait_for(lambda: is_up(address), 20, str)


def is_up(address: str) -> bool:
    try:
        return end_request(begin_request(address)) == OK
    except OSError:
        return False


OK = b"HTTP/1.1 200 OK"
BEGINNING = """\
PUT /api/echo HTTP/1.1\r
Host: localhost\r
Content-Type: application/json\r
Content-Length: 2\r
\r
{"""


def begin_request(address: str) -> socket.socket:
    client = socket.create_connection((address, 8000), timeout=20)
    client.sendall(BEGINNING.encode())
    return client


def end_request(client: socket.socket) -> bytes:
    with client:
        client.sendall(b"}")
        return client.recv(65536).partition(b"\r\n")[0]


def ask_until_gone(address: str, failed: list[str]) -> None:
    while True:
        pool = HTTPConnectionPool(address, 8000, retries=False, timeout=20)
        try:
            answer: BaseHTTPResponse = pool.request(
                "GET", "/api/items", headers={"Host": "localhost", "Connection": "close"}
            )
        except HTTPError as error:
            if not re.search("refused|reset", str(error)):
                failed.append(str(error))
            return
        if answer.status != 200:
            failed.append(f"{answer.status}")


def test_compose_is_valid_without_a_database(docker: Docker, deployed: dict[str, Path]) -> None:
    services = docker.shell("docker compose config --services", deployed["smallest"])
    assert services == "api"


# Without a daemon


def test_dockerfile_is_clean(deployed: dict[str, Path]) -> None:
    for project in deployed.values():
        command = [
            Path(sys.executable).with_name("hadolint"),
            "--failure-threshold=style",
            "Dockerfile",
        ]
        subprocess.run(command, cwd=project, check=True)


def test_passwords_stay_out_of_the_files(deployed: dict[str, Path]) -> None:
    for project in deployed.values():
        for path in (project / "Dockerfile", *project.glob("compose*"), *project.rglob("*/*.yaml")):
            found = re.search(r"(?i)(secret_key|password)[=:] *\w", path.read_text())
            assert not found, (path, found)
