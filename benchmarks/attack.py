"""Send hostile requests to a rendered app, in the process and to a server. See README.md."""

import argparse
import gc
import importlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from hostile import (
    POLICIES,
    Faults,
    Policy,
    Request,
    attack_in_process,
    attack_on_the_wire,
    example,
    lengthen,
    send_in_process,
)
from project import rendered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("app").addHandler(logging.NullHandler())  # else it writes to the terminal
    with rendered() as project:
        sys.path.insert(0, str(project))
        create_app = importlib.import_module("app").create_app
        try:
            attack(project, create_app, options.requests, options.seed)
        except Faults as fault:
            sys.exit(f"seed {options.seed}: {fault}")
        long_headers(create_app)


def attack(project: Path, create_app: Callable[..., Any], count: int, seed: int) -> None:
    """Send a twentieth of the requests to a server, the others through the WSGI app."""
    wire, process = count // 20 // len(POLICIES), count * 19 // 20 // len(POLICIES)
    columns = ["requests", "accepted", "preflights", "refused", "failed", "log lines"]
    columns += ["refused by the server"]
    row = "{:13}" + "{:>11}" * 6 + "{:>23}"
    print(row.format("policy", *columns))
    total: Counter[str] = Counter()
    for name, policy in POLICIES.items():
        counts = attack_in_process(create_app, policy, Random(f"{seed} {name}"), process)
        log = project / "log"
        counts += attack_on_the_wire(project, policy, Random(f"{seed} {name} wire"), wire, log)
        print(row.format(name, *(counts[column] for column in columns)), flush=True)
        total += counts
    print(row.format("all", *(total[column] for column in columns)))
    print("no false acceptance or refusal, no other 5xx, no broken log line\n")


def long_headers(create_app: Callable[..., Any]) -> None:
    """Print what long values cost, as a multiple of a GET with a usual `Origin`."""
    print("cost of a long header value, as a multiple of a usual GET (the worst of many kinds)")
    print(f"{'policy':13}{'8 KB':>11}{'64 KB':>11}")
    for name, policy in POLICIES.items():
        app = create_app({**policy.config(), "LOG_LEVEL": "WARNING"})
        fill_the_log(app)
        worst = (max(ratios(app, policy, size)) for size in (8_000, 64_000))
        print(f"{name:13}" + "".join(f"{ratio:>11.2f}" for ratio in worst), flush=True)


def fill_the_log(app: Any) -> None:
    """Use up the lines that the app writes of blocked requests before it leaves most out."""
    headers = (("Origin", "null"), ("Access-Control-Request-Method", "NONE"))
    for _ in range(100):
        send_in_process(app, Request("OPTIONS", "/", headers))


def ratios(app: Any, policy: Policy, size: int) -> list[float]:
    rng = Random(size)
    origin = example(policy, rng)
    navigates = ("Sec-Fetch-Mode", "navigate")  # so that it runs without GET among the methods
    usual = Request("GET", "/api/echo", (("Origin", origin), navigates))
    found = [
        ratio(app, usual, Request("GET", "/api/echo", (("Origin", lengthen(origin, size, rng)),)))
        for _ in range(40)
    ]
    for name in ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Upgrade"):
        foreign = {"Origin": f"{origin}.evil.example"}
        for method in ("GET", "POST"):
            long = tuple({**foreign, name: lengthen(origin, size, rng)}.items())
            found.append(ratio(app, usual, Request(method, "/api/echo", long)))
    for name in ("Access-Control-Request-Method", "Access-Control-Request-Headers"):
        asked = {"Access-Control-Request-Method": "PUT", "Origin": origin}
        for token in ("content-type,", "a", ",", "a,", "é"):
            long = tuple({**asked, name: (token * size)[:size]}.items())
            found.append(ratio(app, usual, Request("OPTIONS", "/api/echo", long)))
    return found


def ratio(app: Any, usual: Request, long: Request) -> float:
    """Return how much longer one request takes than another, by the medians of turns."""
    times: dict[Request, list[float]] = {usual: [], long: []}
    gc.disable()
    for _ in range(9):
        for request, taken in times.items():
            start = time.perf_counter()
            for _ in range(5):
                send_in_process(app, request)
            taken.append(time.perf_counter() - start)
    gc.enable()
    return median(times[long]) / median(times[usual])


if __name__ == "__main__":
    main()
