"""Check a million answers of the served project, and what they leave in memory. See README.md."""

import argparse
import os
import socket
import threading
import time
from itertools import cycle
from pathlib import Path

from faults import ORIGIN, Server, serving
from project import rendered
from served import environment

EVIL = "https://evil.example"
JSON = '{"hello": "world"}'
CONTENT = f"Content-Type: application/json\r\nContent-Length: {len(JSON)}\r\n"
PREFLIGHT = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: content-type\r\n"

# A request, and its answer: the status, who may read it, and whether it names the methods.
MIX: list[tuple[str, int, str | None, bool]] = [
    (f"GET /api/echo\r\nOrigin: {ORIGIN}\r\n", 200, ORIGIN, False),
    (f"POST /api/echo\r\nOrigin: {ORIGIN}\r\n{CONTENT}\r\n{JSON}", 200, ORIGIN, False),
    (f"OPTIONS /api/echo\r\nOrigin: {ORIGIN}\r\n{PREFLIGHT}", 204, ORIGIN, True),
    (f"GET /missing\r\nOrigin: {ORIGIN}\r\n", 404, ORIGIN, False),
    (f"GET /api/echo\r\nOrigin: {EVIL}\r\n", 200, None, False),
    (f"OPTIONS /api/echo\r\nOrigin: {EVIL}\r\n{PREFLIGHT}", 204, None, False),
    (f"POST /api/echo\r\nOrigin: {EVIL}\r\n{CONTENT}\r\n{JSON}", 403, None, False),
    ("GET /health/live\r\n", 200, None, False),
]


RIGHT: set[tuple[str, bytes]] = set()
DATE = len("Tue, 24 Nov 2026 11:00:00 GMT")


class Wrong(Exception):
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with rendered() as project:
        bin = environment(project / ".venv", "-r", "requirements.txt", "flask-sock")
        log = project / "server.log"
        with serving(project, [f"{bin}/gunicorn", "wsgi:app"], log) as server:
            run(server, options.requests, options.clients)
            errors = sum("ERROR" in line for line in log.read_text().splitlines())
            print(f"{errors} errors in the log")


def run(server: Server, requests: int, clients: int) -> None:
    """Stop at the first wrong answer."""
    begin, checked = time.monotonic(), 0
    print(f"{'answers':>12}{'MB':>8}  {'a second':>8}")
    for part in (requests // 10,) * 10:
        counts = [0] * clients
        wrong: list[BaseException] = []
        threads = [
            threading.Thread(target=ask, args=(server, part // clients, client, counts, wrong))
            for client in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if wrong:
            raise wrong[0]
        checked += sum(counts)
        rate = checked / (time.monotonic() - begin)
        print(f"{checked:>12,}{megabytes(server):>8.1f}  {rate:>8,.0f}", flush=True)


def ask(
    server: Server, number: int, client: int, counts: list[int], wrong: list[BaseException]
) -> None:
    cases = cycle(MIX)
    for _ in range(client):
        next(cases)
    try:
        with server.connect(timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(number):
                check(connection, *next(cases))
                counts[client] += 1
    except (Wrong, OSError, LookupError, ValueError) as error:
        wrong.append(error)


def check(
    connection: socket.socket, request: str, status: int, reader: str | None, methods: bool
) -> None:
    line, _, rest = request.partition("\r\n")
    head, _, body = rest.partition("\r\n\r\n") if JSON in rest else (rest[:-2], "", "")
    fields = f"{head}\r\n" if head else ""
    connection.sendall(f"{line} HTTP/1.1\r\nHost: api\r\n{fields}\r\n{body}".encode())
    received = connection.recv(65536)
    # Most answers are, but for their date, those that were right before.
    before, _, dated = received.partition(b"Date: ")
    if (request, before + dated[DATE:]) in RIGHT:
        return
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    first, _, content = received.partition(b"\r\n\r\n")
    lines = first.decode("latin-1").split("\r\n")
    headers: dict[str, list[str]] = {}
    for one in lines[1:]:
        name, _, value = one.partition(": ")
        headers.setdefault(name.lower(), []).append(value)
    length = int(headers.get("content-length", ["0"])[0])
    while len(content) < length:
        content += connection.recv(65536)
    right = (
        lines[0].split()[1] == str(status)
        and headers.get("access-control-allow-origin") == ([reader] if reader else None)
        and ("access-control-allow-methods" in headers) == methods
        and "Origin" in headers["vary"][0]
        and len(content) == length
    )
    if not right:
        raise Wrong(request, received)
    if len(received) == len(first) + 4 + length:  # else a part of it came later
        RIGHT.add((request, before + dated[DATE:]))


def megabytes(server: Server) -> float:
    """Return what the workers hold that they share with none, by /proc."""
    total = 0
    for worker in server.workers():
        for line in Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                total += int(line.split()[1])
    return total / 1024


if __name__ == "__main__":
    if not os.path.isdir("/proc"):
        raise SystemExit("/proc is needed: Linux only")
    main()
