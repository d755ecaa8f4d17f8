"""Print what each server makes of slow clients, broken streams, kills and stops. See README.md."""

import argparse
import http.client
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from shutil import copy

from project import rendered
from served import environment

ORIGIN = "https://app.example.com"
FAULTY = Path(__file__).with_name("faulty.py")

# Each has 16 threads, if it has threads, in two processes, if it can have two; for gunicorn,
# gunicorn.conf.py says so on two cores.
COMMANDS = {
    "gunicorn (gevent)": "gunicorn",
    "gunicorn (gthread)": "gunicorn -k gthread --threads=16",
    "granian": "granian --interface=wsgi --workers=2 --blocking-threads=16 --no-ws --port={port}"
    " --respawn-failed-workers --workers-kill-timeout=30",
    "waitress": "waitress-serve --threads=16 --listen=127.0.0.1:{port}",
    "cheroot": "cheroot --threads=16 --bind=127.0.0.1:{port}",
    "pyruvate": "python -c import+pyruvate,faulty;pyruvate.serve(faulty.app,'127.0.0.1:{port}',16)",
    "uwsgi": "uwsgi --master --workers=2 --threads=16 --die-on-term --http=127.0.0.1:{port}"
    " --http-keepalive --http-auto-chunked --need-app --disable-logging -w",
    "pyvoy": "pyvoy --interface=wsgi --port={port}",
    "fastpysgi": "fastpysgi --host=127.0.0.1 --port={port}",
    "bjoern": "python -c import+bjoern,faulty;bjoern.run(faulty.app,'127.0.0.1',{port})",
}
PACKAGES = [
    "granian",
    "waitress",
    "cheroot",
    "pyruvate",
    "pyuwsgi",
    "fastpysgi",
    "bjoern-binary",
    "pyvoy",
]


class Server:
    """A running server. `address` is where it listens."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self.address = ("127.0.0.1", port)

    def connect(self, sent: bytes = b"", timeout: float = 5) -> socket.socket:
        client = socket.create_connection(self.address, timeout=timeout)
        client.sendall(sent)
        return client

    def ask(
        self,
        path: str,
        *headers: str,
        method: str = "GET",
        body: bytes = b"",
        host: str = "api.example.com",
    ) -> bytes:
        """Send a request as it stands, and return what comes until the connection is closed."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        with self.connect("\r\n".join([*lines, "", ""]).encode("latin-1") + body) as client:
            received = b""
            try:
                while chunk := client.recv(65536):
                    received += chunk
            except ConnectionError:
                return received + b"(reset)"
            return received

    def seconds(self, path: str = "/api/echo") -> float:
        """Return how long a request takes that must be answered well, or infinity."""
        begin = time.monotonic()
        try:
            answer = self.ask(path, f"Origin: {ORIGIN}")
        except OSError:
            return float("inf")
        right = answer.startswith(b"HTTP/1.1 200") and ORIGIN.encode() in answer
        return time.monotonic() - begin if right else float("inf")

    def workers(self) -> list[int]:
        """Return its child processes, by /proc."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [
            int(child)
            for child in Path(path).read_text().split()
            if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def stop(self) -> float:
        """Stop it by SIGTERM, and return how many seconds it took."""
        begin = time.monotonic()
        self.process.terminate()
        self.process.wait(60)
        return time.monotonic() - begin


@contextmanager
def serving(
    project: Path, command: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Serve faulty.py of a project; `{port}` in the command is where."""
    copy(FAULTY, project)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = {"FLASK_CORS_ORIGINS": ORIGIN, "PORT": str(port), "PYTHONPATH": "."}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [word.format(port=port) for word in command],
            cwd=project,
            env={**os.environ, **settings, **(environment or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(process, port)
    try:
        deadline = time.monotonic() + 20
        while server.seconds("/health/live") == float("inf"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# The faults, each with what a server makes of it


def looks_whole(server: Server, path: str = "/breaks") -> bool:
    """Return whether an answer that broke off looks to its client as if it were complete."""
    answer = server.ask(path)
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    return not answer.endswith(b"(reset)")


HALF_A_HEADER = b"GET /api/echo HTTP/1.1\r\nHos"
HALF_A_BODY = b"POST /take HTTP/1.1\r\nHost: api\r\nContent-Length: 10\r\n\r\nx"
EVENTS = b"GET /events HTTP/1.1\r\nHost: api\r\n\r\n"
BIG = b"GET /big HTTP/1.1\r\nHost: api\r\n\r\n"  # 10 MB, which is more than the sockets hold
IDLE = b"GET /health/live HTTP/1.1\r\nHost: api\r\n\r\n"


def beside(server: Server, sent: bytes, clients: int, settle: float = 1) -> float:
    """Return the time of the slowest request while clients have sent this and wait."""
    with ExitStack() as stack:
        for _ in range(clients):
            try:
                stack.enter_context(server.connect(sent))
            except OSError:
                return float("inf")
        time.sleep(settle)
        return worst(server)


def worst(server: Server) -> float:
    """Return the time of the slowest of 10 requests, or infinity as soon as one fails."""
    slowest = 0.0
    for _ in range(10):
        slowest = max(slowest, server.seconds())
        if slowest == float("inf"):
            break
    return slowest


def run_away(server: Server, clients: int = 200) -> float:
    """Return the time of the slowest request after clients went away in the middle of an answer."""
    for number in range(clients):
        client = server.connect(EVENTS if number % 2 else BIG)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    time.sleep(2)
    return worst(server)


@contextmanager
def load(server: Server, clients: int = 8, pause: float = 0) -> Iterator[Counter[str]]:
    """Let clients ask, one request after the other; yields how many were answered, and so on."""
    counts: Counter[str] = Counter()
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(pause):
            connection = http.client.HTTPConnection(*server.address, timeout=20)
            try:
                connection.connect()
            except OSError:
                counts["refused"] += 1
                time.sleep(0.02)
            else:
                ask(connection)
            connection.close()

    def ask(connection: http.client.HTTPConnection) -> None:
        asked = 0
        while not ended.wait(pause):
            try:
                connection.request("GET", "/api/echo", headers={"Origin": ORIGIN})
                response = connection.getresponse()
                response.read()
            except (http.client.RemoteDisconnected, BrokenPipeError):
                # A connection may be closed while it is idle: clients then send it once more.
                counts["closed while idle" if asked else "failed"] += 1
                return
            except (http.client.HTTPException, OSError):
                counts["failed"] += 1
                return
            right = response.getheader("Access-Control-Allow-Origin") == ORIGIN
            counts["answered" if response.status == 200 and right else "failed"] += 1
            asked += 1
            if response.will_close:
                return

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def in_flight(server: Server, requests: int = 8) -> tuple[int, float]:
    """Stop it while requests are in flight: returns how many were answered, and its seconds."""
    answers: list[float] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.seconds("/slow?seconds=1.5")))
        for _ in range(requests)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    took = server.stop()
    for thread in threads:
        thread.join()
    return sum(answer < float("inf") for answer in answers), took


def origin_twice(server: Server) -> bool:
    """Return whether an allowed origin counts that is sent beside another, in either order."""
    origins = [f"Origin: {ORIGIN}", "Origin: https://evil.example"]
    answers = [server.ask("/api/echo", *order) for order in (origins, origins[::-1])]
    return any(b"allow-origin" in answer.lower() for answer in answers)


def chunked(server: Server, *chunks: bytes) -> bytes:
    headers = ("Transfer-Encoding: chunked", f"Origin: {ORIGIN}")
    return server.ask("/take", *headers, method="POST", body=b"\r\n".join([*chunks, b"", b""]))


def upgraded(server: Server) -> bool:
    """Return whether a WebSocket echoes what it is sent."""
    handshake = (
        b"GET /socket HTTP/1.1\r\nHost: api\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with server.connect(handshake) as client:
        head = client.recv(4096)
        client.sendall(b"\x81\x82\0\0\0\0hi")
        return head.startswith(b"HTTP/1.1 101") and b"hi" in client.recv(4096)


# The table


def shown(seconds: float) -> str:
    return "stalls" if seconds == float("inf") else f"{seconds * 1000:.0f} ms"


def status(answer: bytes) -> str:
    size = re.search(rb'"size":\s*([0-9]+)', answer)
    return (answer[9:12].decode() or "closed") + (f" ({size[1].decode()} bytes)" if size else "")


def killed(server: Server, kills: int = 5) -> str:
    if not server.workers():
        return "one process"
    with load(server) as counts:
        for _ in range(kills):
            time.sleep(1)
            if not server.workers():
                return "ends it"
            os.kill(server.workers()[0], signal.SIGKILL)
        time.sleep(1)
    failed, answered = counts["failed"], counts["answered"]
    return f"{failed / kills:.0f} of 8 connections a kill, {answered} answered"


def reloaded(server: Server) -> str:
    with load(server) as counts:
        time.sleep(0.5)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(5)
    if server.process.poll() is not None:
        return "ends it"
    return f"{counts['failed']} failed, {counts['answered']} answered"


def stopped(server: Server) -> str:
    with load(server, pause=0.02) as counts:
        time.sleep(0.5)
        answered, took = in_flight(server)
    return f"{answered} of 8 in flight answered, {counts['failed']} others failed, {took:.1f} s"


FAULTS: dict[str, Callable[[Server], str]] = {
    "200 idle connections": lambda server: shown(beside(server, IDLE, 200)),
    "200 silent connections": lambda server: shown(beside(server, b"", 200)),
    "20 event streams": lambda server: shown(beside(server, EVENTS, 20)),
    "300 half headers": lambda server: shown(beside(server, HALF_A_HEADER, 300)),
    "300 half bodies": lambda server: shown(beside(server, HALF_A_BODY, 300)),
    "100 slow readers": lambda server: shown(beside(server, BIG, 100)),
    "200 clients went away": lambda server: shown(run_away(server)),
    "raise in a stream": lambda server: "looks whole" if looks_whole(server) else "breaks",
    "body over the limit": lambda server: status(
        server.ask("/take", "Content-Length: 1000001", method="POST", body=b"x" * 1_000_001)
    ),
    "chunked body": lambda server: status(chunked(server, b"5", b"hello", b"0")),
    "invalid chunk": lambda server: status(chunked(server, b"5", b"hello", b"zz", b"no", b"0")),
    "Origin twice": lambda server: "one counts" if origin_twice(server) else "not allowed",
    "WebSocket": lambda server: "works" if upgraded(server) else "fails",
    "a worker killed": killed,
    "reload": reloaded,
    "stop": stopped,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=COMMANDS, help="try this one only")
    options = parser.parse_args()
    with rendered() as project:
        bin = environment(project / ".venv", "-r", "requirements.txt", "flask-sock", *PACKAGES)
        for name, command in COMMANDS.items():
            if options.server in (None, name):
                words = [word.replace("+", " ") for word in command.split()]
                words[0] = f"{bin}/{words[0]}"
                if "-c" not in words:
                    words.append("faulty:app")
                print(f"\n{name}")
                for fault, judge in FAULTS.items():
                    with serving(project, words, project / "server.log") as server:
                        try:
                            verdict = judge(server)
                        except (OSError, http.client.HTTPException, subprocess.TimeoutExpired):
                            verdict = "stalls"
                    print(f"  {fault:24}{verdict}", flush=True)


if __name__ == "__main__":
    main()
