"""Print what the policy, and the log and the like, cost a request and a start. See README.md."""

import argparse
import gc
import importlib
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from flask import Flask
from flask_cors import CORS
from project import rendered
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

COUNTS = (1, 10, 1_000, 10_000)
STARTS = (*COUNTS, 100_000)
SECONDS_A_TURN = 0.01
WARM_UP = 1_000
PREFLIGHT = {
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "content-type",
}
FORWARDED = {
    "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "api.example.com",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=5, help="for each app, for each row")
    parser.add_argument("--turns", type=int, default=13, help="of each process, for each row")
    options = parser.parse_args()
    with rendered() as project:
        operations(project, options.processes, options.turns)
        costs(project, options.processes, options.turns)
        starts(project)


# The apps that are compared: the same routes, with and without CORS


def bare() -> Flask:
    app = Flask("app")
    for name in ("echo", "health"):
        app.register_blueprint(importlib.import_module(f"app.{name}").bp)
    return app


def plain(wildcard: bool, count: int) -> Flask:
    app = bare()
    names = [f"app{number}" for number in range(count)]
    if wildcard:
        origins = [rf"https://.*\.{name}\.example\.com" for name in names]
    else:
        origins = [f"https://{name}.example.com" for name in names]
    CORS(app, origins=origins)
    return app


def ours(wildcard: bool, count: int) -> Flask:
    logging.getLogger("app").addHandler(logging.NullHandler())  # else it writes to the terminal
    cors = importlib.import_module("app.cors")
    app = bare()
    start = "https://*." if wildcard else "https://"
    app.config.from_object("app.answers")
    app.config["CORS_ORIGINS"] = [f"{start}app{number}.example.com" for number in range(count)]
    policy = cors.Policy.from_config(app.config)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return app


def whole(**config: Any) -> Flask:
    """Return the app as it is deployed; its log goes where the system throws it away."""
    sys.stderr = open(os.devnull, "w", buffering=1)  # noqa: SIM115
    app = importlib.import_module("app").create_app
    return app({"CORS_ORIGINS": ["https://app0.example.com"], **config})


MAKE = {
    "bare": lambda wildcard, count: bare(),
    "plain": plain,
    "ours": ours,
    "quiet": lambda wildcard, count: whole(LOG_LEVEL="WARNING"),
    "whole": lambda wildcard, count: whole(),
    "proxied": lambda wildcard, count: whole(PROXIES=1),
}


def environs(wildcard: bool, count: int) -> dict[str, dict[str, Any]]:
    """Return each kind of request; the allowed origin stands in the middle of the list."""
    allowed = f"https://{'www.' if wildcard else ''}app{count // 2}.example.com"
    requests: dict[str, tuple[str, dict[str, str]]] = {
        "allowed": ("GET", {"Origin": allowed}),
        "denied": ("GET", {"Origin": "https://app.evil.example"}),
        "no Origin": ("GET", {}),
        "preflight": ("OPTIONS", {"Origin": allowed, **PREFLIGHT}),
    }
    found = {}
    for name, (method, headers) in requests.items():
        environ = EnvironBuilder("/api/echo", method=method, headers=Headers(headers)).get_environ()
        # A stream cannot be sent to another process, and nothing here reads it.
        found[name] = {key: value for key, value in environ.items() if key != "wsgi.input"}
        del found[name]["wsgi.errors"]
    return found


# Each app has a process of its own, so that one's ten thousand origins do not fill another's
# caches or slow its garbage collector; they take turns, so that noise hits all alike.


def work(connection: Connection, project: Path, kind: str, wildcard: bool, count: int) -> None:
    """Time requests as often as asked: (environ, times) in, seconds a request out."""
    sys.path.insert(0, str(project))
    app = MAKE[kind](wildcard, count)
    for environ in environs(wildcard, count).values():
        seconds_a_request(app, environ, WARM_UP)
    gc.collect()
    gc.freeze()
    gc.disable()
    connection.send(None)
    while True:
        environ, times = connection.recv()
        connection.send(seconds_a_request(app, environ, times))
        gc.collect()


def seconds_a_request(app: Flask, environ: dict[str, Any], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        body = app(environ.copy(), ignore)
        for _ in body:
            pass
        if hasattr(body, "close"):  # as every server does (PEP 3333)
            body.close()
    return (time.process_time() - start) / times


def ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
    """Stand in for a server's start_response."""


class App:
    def __init__(self, project: Path, kind: str, wildcard: bool, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, other = spawn.Pipe()
        self.process = spawn.Process(target=work, args=(other, project, kind, wildcard, count))
        self.process.start()
        other.close()  # so that `recv` fails if the process does
        self.connection.recv()

    def time(self, environ: dict[str, Any], times: int) -> float:
        """Return the processor's seconds that a request takes."""
        self.connection.send((environ, times))
        return float(self.connection.recv())

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()


@contextmanager
def running(*apps: App) -> Iterator[tuple[App, ...]]:
    try:
        yield apps
    finally:
        for app in apps:
            app.stop()


def operations(project: Path, processes: int, turns: int) -> None:
    """Print what ids, security headers and the log cost beside the policy, for one origin."""
    print("The app as it is deployed: what it costs more than the policy alone, in µs and of bare")
    row = "{:12}{:>10}{:>12}{:>16}{:>16}{:>18}"
    heads = ("bare, µs", "log off", "log on", "and ProxyFix", "log on / bare")
    print(row.format("request", *heads))
    kinds = ("bare", "ours", "quiet", "whole", "proxied")
    took: dict[str, list[list[float]]] = {name: [[] for _ in kinds] for name in environs(False, 1)}
    for _ in range(processes):
        with running(*(App(project, kind, False, 1) for kind in kinds)) as apps:
            for name, environ in environs(False, 1).items():
                asked = [environ] * 4 + [environ | FORWARDED]
                found = take_turns(list(zip(apps, asked, strict=True)), turns)
                took[name] = [a + b for a, b in zip(took[name], found, strict=True)]
    for name, (bare, policy, *others) in took.items():
        more = [f"{difference(other, policy) * 1e6:.1f}" for other in others]
        bare_µs = f"{median(bare) * 1e6:.1f}"
        print(row.format(name, bare_µs, *more, f"{ratio(others[1], bare):.2f}"), flush=True)
    print()


def costs(project: Path, processes: int, turns: int) -> None:
    print("A request through the WSGI app: its cost with the policy, and as a multiple of others'")
    row = "{:10}{:>8}  {:10}" + "{:>9}{:>14}{:>13}{:>13}"
    head = ("µs", "/ bare Flask", "/ plain CORS", "/ one origin")
    print(row.format("origins", "", "request", *head))
    for wildcard in (False, True):
        kind = "wildcard" if wildcard else "exact"
        for count in COUNTS:
            for name, took in rounds(project, wildcard, count, processes, turns).items():
                figures = (f"{ratio(took[0], other):.2f}" for other in took[1:])
                cost = f"{median(took[0]) * 1e6:.1f}"
                print(row.format(kind, count, name, cost, *figures), flush=True)


def rounds(
    project: Path, wildcard: bool, count: int, processes: int, turns: int
) -> dict[str, list[list[float]]]:
    """Return the seconds of each kind of request: ours, bare, plain, and ours for one origin."""
    one_environs = environs(wildcard, 1)
    took: dict[str, list[list[float]]] = {name: [[] for _ in range(4)] for name in one_environs}
    for _ in range(processes):
        trio = [App(project, kind, wildcard, count) for kind in ("ours", "bare", "plain")]
        with running(*trio, App(project, "ours", wildcard, 1)) as apps:
            for name, environ in environs(wildcard, count).items():
                asked = [*[environ] * 3, one_environs[name]]
                found = take_turns(list(zip(apps, asked, strict=True)), turns)
                took[name] = [a + b for a, b in zip(took[name], found, strict=True)]
    return took


def take_turns(apps: list[tuple[App, dict[str, Any]]], turns: int) -> list[list[float]]:
    """Return each app's seconds a request, one figure a turn."""
    # The least of several: a request that is written to the log takes longer than the others.
    fastest = [min(app.time(environ, 10) for _ in range(5)) for app, environ in apps]
    times = [max(1, int(SECONDS_A_TURN / seconds)) for seconds in fastest]
    took: list[list[float]] = [[] for _ in apps]
    order = Random(1)
    for _ in range(turns):
        # An app that always follows the same one, or itself, gains or loses a percent or two.
        for index in order.sample(range(len(apps)), len(apps)):
            app, environ = apps[index]
            took[index].append(app.time(environ, times[index]))
    return took


def difference(ours: list[float], others: list[float]) -> float:
    return median(a - b for a, b in zip(ours, others, strict=True))


def ratio(ours: list[float], others: list[float]) -> float:
    return median(a / b for a, b in zip(ours, others, strict=True))


def starts(project: Path) -> None:
    print("\nA start: making the app with the policy, in ms")
    print(f"{'origins':10}{'':>8}{'ours':>9}{'plain CORS':>14}")
    sys.path.insert(0, str(project))
    start(ours, False, 1)
    for wildcard in (False, True):
        for count in STARTS:
            figures = [f"{start(make, wildcard, count) * 1e3:.1f}" for make in (ours, plain)]
            kind = "wildcard" if wildcard else "exact"
            print(f"{kind:10}{count:>8}{figures[0]:>9}{figures[1]:>14}", flush=True)


def start(make: Any, wildcard: bool, count: int) -> float:
    """Return the seconds that making an app takes."""
    took = []
    for _ in range(5):
        importlib.import_module("re").purge()
        begin = time.process_time()
        make(wildcard, count)
        took.append(time.process_time() - begin)
    return median(took)


if __name__ == "__main__":
    main()
