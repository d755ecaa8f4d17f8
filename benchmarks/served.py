"""Print how many requests a second a served project and its peers answer. See README.md."""

import argparse
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from project import rendered

ORIGIN = "https://app.example.com"
KINDS = {
    "GET": {"Origin": ORIGIN},
    "OPTIONS": {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    },
}
CONNECTIONS = 16
OURS, BARE_FLASK, PLAIN_CORS = "this template", "bare Flask", "plain CORS"
LOGGED = "this template, logged"

# The peers answer the same request with the same JSON, by the same policy.

BARE = """\
from flask import Flask
from app import echo, health

app = Flask("app")
app.register_blueprint(echo.bp)
app.register_blueprint(health.bp)
"""
PLAIN = f"""\
from bare import app
from flask_cors import CORS

CORS(app, origins=["{ORIGIN}"])
"""
STARLETTE = f"""\
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({{"method": request.method, "args": dict(request.query_params)}})


async def live(request: Request) -> JSONResponse:
    return JSONResponse({{"status": "ok"}})


cors = Middleware(
    CORSMiddleware,
    allow_origins=["{ORIGIN}"],
    allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
    allow_headers=["Content-Type", "Authorization"],
    expose_headers=["X-Request-ID"],
    max_age=600,
)
app = Starlette(routes=[Route("/api/echo", echo), Route("/health/live", live)], middleware=[cors])
"""
EXPRESS = f"""\
const cors = require("cors");
const express = require("express");

const app = express();
if (process.argv[3] === "logged") {{
  app.use(require("pino-http")());
}}
app.use(cors({{
  origin: ["{ORIGIN}"],
  methods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
  allowedHeaders: ["Content-Type", "Authorization"],
  exposedHeaders: ["X-Request-ID"],
  maxAge: 600,
}}));
app.get("/api/echo", (request, response) => {{
  response.json({{ method: request.method, args: request.query }});
}});
app.get("/health/live", (request, response) => {{
  response.json({{ status: "ok" }});
}});
app.listen(process.argv[2], "127.0.0.1");
"""


@dataclass
class Server:
    """A command that serves an app on a port, and the requests a second of each turn."""

    app: str
    by: str
    folder: Path
    command: list[str]
    environment: dict[str, str] = field(default_factory=lambda: {"FLASK_LOG_LEVEL": "WARNING"})
    took: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    port: int = 0
    group: int = 0  # of its processes

    def ratio(self, other: "Server", kind: str) -> float:
        return median(a / b for a, b in zip(self.took[kind], other.took[kind], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9, help="of each server, for each request")
    parser.add_argument("--seconds", type=int, default=3, help="of each turn")
    parser.add_argument("--others", action="store_true", help="serve by other servers as well")
    options = parser.parse_args()
    for program, package in {"wrk": "wrk", "taskset": "util-linux", "npm": "npm"}.items():
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed: apt-get install {package}")
    if len(cores()) < 2:
        sys.exit("one core for the server and one for the load are needed")
    with rendered() as project, tempfile.TemporaryDirectory() as folder:
        servers = by_flask(project, options.others) + peers(Path(folder))
        with running(servers):
            for server in servers:
                check(server)
            measure(servers, options.turns, options.seconds)
    table(servers)


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


# The servers, each in an environment of its own


def by_flask(project: Path, others: bool) -> list[Server]:
    """Serve the project, and what it has without the policy and with plain flask-cors."""
    (project / "bare.py").write_text(BARE)
    (project / "plain.py").write_text(PLAIN)
    packages = ["granian", "fastpysgi"] if others else []
    bin = environment(project / ".venv", "-r", "requirements.txt", *packages)
    # gunicorn.conf.py makes it one worker, on one core.
    gunicorn = f"{bin}/gunicorn --log-level=warning --bind=127.0.0.1:{{port}}"
    commands = {
        "gunicorn": gunicorn,
        "gthread": f"{gunicorn} --worker-class=gthread --threads=4",
        "granian": f"{bin}/granian --interface=wsgi --workers=1 --blocking-threads=16 --no-ws"
        " --log-level=warning --port={port}",
        "fastpysgi": f"{bin}/fastpysgi --host=127.0.0.1 --port={{port}}",
    }
    if not others:
        commands = {"gunicorn": gunicorn}
    modules = {OURS: "wsgi", BARE_FLASK: "bare", PLAIN_CORS: "plain"}
    logged = [*gunicorn.split(), "wsgi:app"]
    return [
        Server(name, by, project, [*command.split(), f"{module}:app"])
        for by, command in commands.items()
        for name, module in modules.items()
    ] + [Server(LOGGED, "gunicorn", project, logged, {"FLASK_LOG_LEVEL": "INFO"})]


def peers(folder: Path) -> list[Server]:
    (folder / "starlette_app.py").write_text(STARLETTE)
    bin = environment(folder / ".venv", "starlette", "uvicorn", "uvloop", "httptools")
    uvicorn = [f"{bin}/uvicorn", "starlette_app:app", "--loop=uvloop", "--http=httptools"]
    uvicorn += ["--no-access-log", "--log-level=warning", "--port={port}"]
    (folder / "express_app.js").write_text(EXPRESS)
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "express@5", "cors@2"]
    npm += ["pino-http@11"]
    subprocess.run(npm, cwd=folder, check=True)
    node = ["node", "express_app.js", "{port}"]
    return [
        Server("Express with cors", "node", folder, node),
        Server("Express, logged", "node", folder, [*node, "logged"]),
        Server("Starlette", "uvicorn", folder, uvicorn),
    ]


def environment(folder: Path, *packages: str) -> Path:
    """Make a virtual environment with uv, and return the folder of its programs."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    uv = shutil.which("uv", path=path)
    if uv is None:
        sys.exit("uv is not installed: pip install uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python")]
    subprocess.run([*command, *packages], cwd=folder.parent, check=True)
    return folder / "bin"


@contextmanager
def running(servers: list[Server]) -> Iterator[None]:
    """Run all the servers on one core; those that are not asked anything take no time."""
    # fastpysgi does not import from the folder where it starts unless it is told to.
    settings = {
        "FLASK_CORS_ORIGINS": ORIGIN,
        "FLASK_LOG_LEVEL": "WARNING",
        "NODE_ENV": "production",
        "PYTHONPATH": ".",
    }
    processes = []
    try:
        for server in servers:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                server.port = listener.getsockname()[1]
            command = [word.format(port=server.port) for word in server.command]
            on_a_core = ["taskset", "--cpu-list", str(cores()[0])]
            process = subprocess.Popen(
                on_a_core + command,
                cwd=server.folder,
                env={**os.environ, **settings, **server.environment},
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            processes.append(process)
            server.group = process.pid
            wait_for(server, process)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(
                f"{server.app} by {server.by}: the server ended with exit code {process.returncode}"
            )
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{server.app} by {server.by}: the server does not answer")


def check(server: Server) -> None:
    """Stop unless a server gives the answers that are to be timed."""
    for method, headers in KINDS.items():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request(method, "/api/echo", headers=headers)
        response = connection.getresponse()
        allowed = None if server.app == BARE_FLASK else ORIGIN
        if response.status // 100 != 2:
            sys.exit(f"{server.app} by {server.by}: {method} was answered by {response.status}")
        if response.getheader("Access-Control-Allow-Origin") != allowed:
            sys.exit(f"{server.app} by {server.by}: {method} was not answered by the policy")
        connection.close()


# The load


def measure(servers: list[Server], turns: int, seconds: int) -> None:
    for kind in KINDS:
        for server in servers:
            requests_a_second(server, kind, seconds)  # to warm it up: node compiles as it runs
        for turn in range(turns):
            # Every second turn goes backwards: no server always follows the same one.
            for server in servers[:: 1 if turn % 2 else -1]:
                server.took[kind].append(requests_a_second(server, kind, seconds))


def requests_a_second(server: Server, method: str, seconds: int) -> float:
    """Ask from a core of its own. Counts the seconds in which the server had its core."""
    names = KINDS[method].items()
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in names)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "{method}"\n{headers}')
        script.flush()
        command = ["taskset", "--cpu-list", str(cores()[1]), "wrk", "--threads=1"]
        command += [f"--connections={CONNECTIONS}", f"--duration={seconds}s", "-s", script.name]
        command += [f"http://127.0.0.1:{server.port}/api/echo"]
        before = processor_seconds(server.group)
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        took = processor_seconds(server.group) - before
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"{server.app} by {server.by}: some of the requests failed:\n{output}")
    (found,) = re.findall(r"([0-9]+) requests in", output)
    return int(found) / took


def processor_seconds(group: int) -> float:
    """Return what the processes of a group have used, by /proc."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def table(servers: list[Server]) -> None:
    row = "{:24}{:12}{:>10}{:>14}"
    print(row.format("requests a second", "", "GET", "preflight"))
    for server in servers:
        figures = (f"{median(server.took[kind]):,.0f}" for kind in KINDS)
        print(row.format(server.app, server.by, *figures))
    print("\nas a multiple of")
    for ours in servers:
        if ours.app in (OURS, LOGGED):
            print(f"{ours.app} by {ours.by}")
            for other in servers:
                if other is not ours and other.by in (ours.by, "node", "uvicorn"):
                    figures = (f"{ours.ratio(other, kind):.2f}" for kind in KINDS)
                    print(row.format(f"  {other.app}", f"({other.by})", *figures))


if __name__ == "__main__":
    main()
