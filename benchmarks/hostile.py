"""Hostile requests to a rendered app, and a judge of the answers and refusals.

tests/test_attacks.py sends some, benchmarks/attack.py sends many. The judge reads a policy as a
person would and shares no code with the app.
"""

import json
import random
import re
import socket
import string
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from project import served

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Policy:
    origins: tuple[str, ...]
    methods: tuple[str, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE")
    credentials: bool = False
    headers: tuple[str, ...] = ("Content-Type", "Authorization")

    @property
    def is_public(self) -> bool:
        return self.origins == ("*",)

    def config(self) -> dict[str, Any]:
        return {
            "CORS_ORIGINS": list(self.origins),
            "CORS_METHODS": list(self.methods),
            "CORS_SUPPORTS_CREDENTIALS": self.credentials,
            "CORS_ALLOW_HEADERS": list(self.headers),
        }

    def environment(self) -> dict[str, str]:
        return {
            "FLASK_CORS_ORIGINS": ", ".join(self.origins),
            "FLASK_CORS_METHODS": ", ".join(self.methods),
            "FLASK_CORS_SUPPORTS_CREDENTIALS": str(self.credentials).lower(),
            "FLASK_CORS_ALLOW_HEADERS": ", ".join(self.headers),
        }


POLICIES = {
    "exact": Policy(("https://app.example.com",)),
    "several": Policy(
        ("https://app.example.com", "https://admin.example.com:8443", "http://localhost:3000"),
        methods=("GET", "HEAD"),
    ),
    "subdomains": Policy(("https://*.example.com", "https://example.com")),
    "ports": Policy(("http://localhost:*", "http://127.0.0.1:5500")),
    "both": Policy(("http://*.app.localhost:*",), methods=("PUT",)),
    "ipv6": Policy(("http://[::1]:3000", "http://[2001:db8::1]:*")),
    "credentials": Policy(("https://app.example.com", "https://*.example.net"), credentials=True),
    "previews": Policy(
        ("https://pr-*.example.com", "https://*--shop.netlify.app", "http://a-*-b.test:*")
    ),
    "apps": Policy(("capacitor://localhost", "https://localhost"), credentials=True),
    "any": Policy(("*",)),
}


# What a person makes of a policy

PORTS = {"", *(f":{number}" for number in range(1, 65536))}


def is_meant(policy: Policy, origin: str) -> bool:
    return policy.is_public or any(stands_for(allowed, origin) for allowed in policy.origins)


def stands_for(allowed: str, origin: str) -> bool:
    scheme, host, port = take_apart(allowed)
    its_scheme, its_host, its_port = take_apart(origin)
    if scheme != its_scheme:
        return False
    if port == ":*":
        if its_port not in PORTS:
            return False
    elif port != its_port:
        return False
    if "*" not in host:
        return host == its_host
    if len(its_host) > 253:
        return False
    if host.startswith("*."):
        subdomains = its_host.removesuffix(host[1:])
        return subdomains != its_host and all(map(is_label, subdomains.split(".")))
    start, end = host.split("*")
    part = its_host.removeprefix(start).removesuffix(end)
    whole = its_host == f"{start}{part}{end}"  # the start and the end do not overlap
    return whole and is_label(its_host.split(".")[0]) and is_label(part) and "_" not in part


def take_apart(origin: str) -> tuple[str, str, str]:
    scheme, _, rest = origin.partition("://")
    end = rest.find("]") + 1
    colon = rest.find(":", end)
    host, port = (rest, "") if colon < 0 else (rest[:colon], rest[colon:])
    return scheme, host, port


def is_label(text: str) -> bool:
    return 1 <= len(text) <= 63 and set(text) <= set(string.ascii_lowercase + string.digits + "-_")


def is_refused(policy: Policy, request: "Request") -> bool:
    """Whether the app itself must refuse this, which is no preflight."""
    origins, sites = request.values("origin"), request.values("sec-fetch-site")
    if sites in (["same-origin"], ["none"]) or (not sites and all(map(is_own, origins))):
        return False
    trusted = policy.is_public or (len(origins) == 1 and is_allowed(policy, origins[0]))
    listed = {*policy.methods, "HEAD"} if "GET" in policy.methods else {*policy.methods}
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        return not trusted or request.method not in listed
    if [value.lower() for value in request.values("upgrade")] == ["websocket"]:
        return not trusted
    fetched = bool(origins) and request.values("sec-fetch-mode") in ([], ["cors"])
    return trusted and fetched and request.method not in listed


def is_allowed(policy: Policy, origin: str) -> bool:
    return policy.is_public or (origin != "" and is_meant(policy, origin))


def is_own(origin: str) -> bool:
    """The scheme is not known behind a proxy; the ports that go without saying are left out."""
    _, host, port = take_apart(origin)
    return host.lower() == HOST and port in ("", ":80", ":443")


# Requests

HOST = "api.example.com"


@dataclass(frozen=True)
class Request:
    """What goes on the wire, one character a byte."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


CONTROLS = [chr(code) for code in (*range(32), 127)]
ODD = [*CONTROLS, *"\x80\x85\xa0\xad\xfe", *" #/?@\\:%.*-_[](){}^$|+,;\"'<>`~!&=", *"aZ09é"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
SITES = ["same-origin", "none", "same-site", "cross-site"]
ODD_SITES = ["", "Same-Origin", "none, none", "same-origin;a=1", "same-origin x", "null", "\xe9"]
MODES = ["cors", "no-cors", "navigate", "websocket", "", "CORS", "cors, navigate"]
ODD_METHODS = ["get", "Post", "LETE", "QUERY", "TRACE", "CONNECT", "*", "PUT,GET", "G\x00T", "É"]
PATHS = ["/api/echo", "/health/live"]
ODD_PATHS = [
    "/",
    "*",
    "//",
    "//evil.example/",
    "//api//echo",
    "/api/echo/",
    "/api/../echo",
    "/none",
    "/none\r\nX-Injected: 1",
    "//api//echo\r\nX-Injected: 1",
    "/%0d%0aX-Injected:%201",
    "/\x00\x1b[31m\xff",
    "/" + "a" * 5000,
    "http://evil.example/api/echo",
]


def requests(policy: Policy, rng: random.Random) -> Iterator[Request]:
    """Yield requests without end: two in three about the origin, the others about preflights.

    Half of them say, truly or not, who made them, as browsers do (Fetch Metadata).
    """
    while True:
        headers: Headers = []
        method, path = rng.choice(METHODS), rng.choice(PATHS)
        origin = example(policy, rng) if rng.random() < 0.4 else hostile_origin(policy, rng)
        if rng.random() < 0.1:
            own = f"{rng.choice(['https', 'http'])}://{HOST}"
            kinds = [own, f"{own}:443", f"{own}:80", own.upper(), *lookalikes(own, rng)]
            origin = rng.choice(kinds)
        if rng.random() < 0.97:
            headers.append(("Origin", origin))
        if rng.random() < 0.05:
            headers.append((rng.choice(["Origin", "ORIGIN"]), example(policy, rng)))
        if rng.random() < 0.33:
            method = "OPTIONS"
            asked = rng.choice([*METHODS, *METHODS, hostile_token(rng, METHODS)])
            headers.append(("Access-Control-Request-Method", asked))
            if rng.random() < 0.1:
                headers.append(("Access-Control-Request-Method", rng.choice(METHODS)))
            while rng.random() < 0.5:
                names = hostile_token(rng, ["content-type", "x-evil", "content-type,x-evil"])
                headers.append(("Access-Control-Request-Headers", names))
        if rng.random() < 0.5:
            sites = [*SITES, *SITES, *SITES, *ODD_SITES]
            headers.append(("Sec-Fetch-Site", rng.choice(sites)))
            if rng.random() < 0.05:
                headers.append(("Sec-Fetch-Site", rng.choice(sites)))
        if rng.random() < 0.3:
            headers.append(("Sec-Fetch-Mode", rng.choice([*MODES, mutate("cors", rng)])))
        if rng.random() < 0.05:
            headers.append(("Upgrade", rng.choice(["websocket", "WebSocket", "h2c", "web socket"])))
        if rng.random() < 0.1:
            method = rng.choice(ODD_METHODS)
        if rng.random() < 0.2:
            path = rng.choice(ODD_PATHS)
        rng.shuffle(headers)
        yield Request(method, path, tuple(headers))


def example(policy: Policy, rng: random.Random) -> str:
    """An origin that the policy allows."""
    origin = rng.choice(policy.origins)
    if origin == "*":
        return "https://anything.example"
    subdomain = rng.choice(["a.", "a.b_.c.", "x--1.", f"{'a' * 63}."])
    port = rng.choice(["", ":1", ":3000", ":65535"])
    part = rng.choice(["7", "a-b", "--", "a" * 40])
    return origin.replace("//*.", f"//{subdomain}").replace(":*", port).replace("*", part)


def hostile_origin(policy: Policy, rng: random.Random) -> str:
    origin = example(policy, rng)
    kind = rng.randrange(10)
    if kind < 5:
        return mutate(origin, rng)
    if kind < 8:
        return rng.choice(lookalikes(origin, rng))
    if kind == 8:
        return "".join(rng.choices(ODD, k=rng.randrange(40)))
    if rng.random() < 0.8:
        return rng.choice(["null", "*", "", "file://", "https://evil.example", ".*", "any"])
    return lengthen(origin, rng.choice([8_000, 64_000]), rng)


def mutate(text: str, rng: random.Random) -> str:
    """Insert, drop, replace or repeat a few characters."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(text) + 1)
        odd = rng.choice(ODD)
        text = rng.choice(
            [
                text[:at] + odd + text[at:],
                text[:at] + text[at + 1 :],
                text[:at] + odd + text[at + 1 :],
                text[:at] + text[at : at + 3] + text[at:],
                text[:at] + text[at:].swapcase(),
            ]
        )
    return text


def lookalikes(origin: str, rng: random.Random) -> list[str]:
    scheme, _, authority = origin.partition("://")
    odd = rng.choice(ODD)
    other = "http" if scheme == "https" else "https"
    host = take_apart(origin)[1]
    return [
        f"{origin}.evil.example",
        f"{origin}{odd}.evil.example",
        f"{origin}{odd}",
        f"{odd}{origin}",
        f"{origin} {origin}",
        f"{origin},{origin}",
        f"{origin}\r\n {origin}",
        f"{origin}\r\nX-Injected: 1",
        f"{scheme}://evil{authority}",
        f"{scheme}://evil.example/{authority}",
        f"{scheme}://evil.example#.{authority}",
        f"{scheme}://evil.example\\.{authority}",
        f"{scheme}://evil.example:80@{authority}",
        f"{scheme}://{authority}@evil.example",
        f"{scheme}://{host}:{rng.randrange(100000)}",
        f"{scheme}://{host}:0{rng.randrange(100000)}",
        f"{scheme}://{host}:+1",
        f"{scheme}://{host}.:3000",
        f"{scheme}://sub.{authority}",
        f"{scheme}://.{authority}",
        f"{scheme}://{authority.partition('.')[2]}",
        f"{scheme}://{authority.replace('.', 'x', 1)}",
        f"{scheme}://{authority.replace('o', 'ο', 1).encode().decode('latin-1')}",
        f"{other}://{authority}",
        f"{scheme}:/{authority}",
        authority,
        origin.upper(),
    ]


def lengthen(origin: str, size: int, rng: random.Random) -> str:
    """Make a value of that many bytes that a careless pattern reads again and again."""
    scheme, _, authority = origin.partition("://")
    filler = rng.choice(["a", "a.", "1", "-", "é", ":", f"{authority}.", f"{'a' * 63}."])
    filler = (filler * size)[:size]
    return rng.choice(
        [
            f"{scheme}://{filler}{authority}",
            f"{scheme}://{filler}.{authority}",
            f"{origin}{filler}",
            f"{origin}:{filler}",
        ]
    )


def hostile_token(rng: random.Random, tokens: list[str]) -> str:
    kind = rng.randrange(10)
    if kind < 6:
        return mutate(rng.choice(tokens), rng)
    if kind < 9:
        return rng.choice([*ODD_METHODS, "", ",", ",,,", "*", "a" * 300, "put", "GET, PUT"])
    return (rng.choice(tokens) + rng.choice([",", ", ", ""])) * rng.choice([700, 6000])


# The judge


@dataclass(frozen=True)
class Response:
    status: int
    headers: Headers
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


def find_fault(policy: Policy, request: Request, response: Response) -> str | None:
    """Return what is wrong with the app's answer, None if nothing is."""
    origins = request.values("origin")
    allowed = len(origins) == 1 and origins[0] != "" and is_meant(policy, origins[0])
    named = response.values("access-control-allow-origin")
    if policy.is_public:
        if named != ["*"]:
            return "a public answer without its *"
    elif named != (origins if allowed else []):
        return "an origin is wrongly " + ("refused" if allowed else "accepted")

    told = [name for name, _ in response.headers if name.lower().startswith("access-control-")]
    if told and not (allowed or policy.is_public):
        return "a stranger is told the policy"
    credentials = response.values("access-control-allow-credentials")
    if credentials != (["true"] if policy.credentials and allowed else []):
        return "credentials are wrongly announced"
    vary = ",".join(response.values("vary")).lower().replace(" ", "").split(",")
    if ("origin" in vary) is (policy.is_public and "GET" in policy.methods):
        return "Vary is wrong"

    for methods in response.values("access-control-allow-methods"):
        if sorted(methods.split(", ")) != sorted(policy.methods):
            return "methods are reflected"
    for names in response.values("access-control-allow-headers"):
        if sorted(names.split(", ")) != sorted(policy.headers):
            return "request headers are reflected"
    if is_preflight(request):
        asked = request.values("access-control-request-method")
        listed = "GET" if asked[0] == "HEAD" and "HEAD" not in policy.methods else asked[0]
        no = asked[0] in ("GET", "HEAD", "POST") and listed not in policy.methods
        if len(asked) == 1 and response.status != (403 if no else 204):
            return "a preflight's status is wrong"
        if response.body:
            return "a preflight has a body"
    elif (response.status == 403) is not is_refused(policy, request):
        return "a request is wrongly " + ("refused" if response.status == 403 else "run")
    elif response.status == 403 and not is_refusal(request, response):
        return "a refusal does not say what it is"
    elif request.path.startswith(FAILURES) and response.status not in (403, 500):
        return "a failure is hidden"
    if request.method == "HEAD" and response.body:
        return "an answer to HEAD has a body"
    if response.status >= 500 and not request.path.startswith(FAILURES):
        return "the server failed"
    for name, value in response.headers:
        if name.lower() == "x-injected" or not (name + value).isprintable():
            return "a header is injected"
    return None


def is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and bool(request.values("access-control-request-method"))


def is_refusal(request: Request, response: Response) -> bool:
    """Whether an answer says by itself, to who may read it, that the app refused, and why."""
    if response.values("content-type") != ["application/problem+json"]:
        return False
    if request.method == "HEAD":
        return True
    problem = json.loads(response.body)
    reasons = ("the origin is not in CORS_", "the method is not in CORS_")
    return (
        response.values("content-length") == [str(len(response.body))]
        and (problem["title"], problem["status"]) == ("Refused by the CORS policy", 403)
        and problem["detail"].startswith(reasons)
    )


class Faults(AssertionError):
    """A hostile request was answered wrongly."""


def judge(policy: Policy, request: Request, response: Response, counts: Counter[str]) -> None:
    if fault := find_fault(policy, request, response):
        raise Faults(f"{fault}\n{policy}\n{request!r:.2000}\n{response}")
    counts["requests"] += 1
    counts["accepted"] += bool(response.values("access-control-allow-origin"))
    counts["preflights"] += is_preflight(request)
    counts["refused"] += response.status == 403 and not is_preflight(request)


# In the process

FAILURES = ("/fails/", "/breaks/")


def attack_in_process(
    create_app: Callable[..., Any], policy: Policy, rng: random.Random, count: int
) -> Counter[str]:
    """Send requests through the WSGI app. Raises Faults at the first wrong answer."""
    counts: Counter[str] = Counter()
    hostile = requests(policy, rng)
    with captured_log() as lines:
        app = create_app(policy.config())
        app.add_url_rule("/fails/<name>", view_func=fail)
        app.add_url_rule("/breaks/<name>", view_func=break_off)
        for _ in range(count):
            request = next(hostile)
            if rng.random() < 0.01:
                name = mutate("name", rng).replace("/", "")
                # A failing WebSocket is left to the server; pages cannot ask for an upgrade.
                headers = tuple(item for item in request.headers if item[0] != "Upgrade")
                request = Request("GET", rng.choice(FAILURES) + name, headers)
            response = send_in_process(app, request)
            judge(policy, request, response, counts)
            counts["failed"] += response.status == 500
    for line in lines:
        judge_line(line)
    counts["log lines"] = len(lines)
    return counts


def fail(name: str) -> str:
    raise RuntimeError


def break_off(name: str) -> Iterator[str]:
    """Fail outside the view, as a stream does whose first chunk cannot be made."""
    raise RuntimeError
    yield ""


def send_in_process(app: Any, request: Request) -> Response:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": "",
        "SERVER_NAME": HOST,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "HTTP_HOST": HOST,
    }
    for name, value in request.headers:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    started: list[tuple[str, Headers]] = []

    def start_response(status: str, headers: Headers, exc_info: Any = None) -> None:
        started.append((status, headers))

    body = app(environ, start_response)
    content = b"".join(body)
    if hasattr(body, "close"):
        body.close()
    status, headers = started[-1]
    return Response(int(status[:3]), headers, content)


@contextmanager
def captured_log() -> Iterator[list[str]]:
    """Collect the lines that are written to standard error."""
    lines: list[str] = []
    with redirect_stderr(StringIO()) as written:
        yield lines
    lines += written.getvalue().splitlines()  # at whatever a reader may take for a line's end


def judge_line(line: str) -> None:
    """Raise Faults unless a line of the log is a whole record, as the app writes it."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not (line.isprintable() and isinstance(record, dict) and record.keys() >= LOG_KEYS):
        raise Faults(f"a log line is broken: {line!r}")


LOG_KEYS = {"time", "level", "event", "id"}


# On the wire

SERVERS_LINE = re.compile(r"(\[[-0-9: +]+\] \[[0-9]+\] \[[A-Z]+\] |127\.0\.0\.1 - - \[)[ -~]*|\Z")


def attack_on_the_wire(
    project: Path, policy: Policy, rng: random.Random, count: int, log: Path
) -> Counter[str]:
    """Send raw bytes to a server. Raises Faults at the first wrong answer."""
    counts: Counter[str] = Counter()
    hostile = requests(policy, rng)
    with served(project, policy.environment(), log) as port:
        for _ in range(count):
            request = next(hostile)
            response = send_bytes(port, request)
            if response is None or not response.values("server"):
                # gunicorn itself refuses what is no HTTP.
                counts["refused by the server"] += 1
                named = response and response.values("access-control-allow-origin")
                if named or (response and response.status >= 500):
                    raise Faults(f"{request}\n{response}")
            else:
                judge(policy, as_read(request), response, counts)
    for line in log.read_text(encoding="utf-8").split("\n"):
        if not SERVERS_LINE.fullmatch(line):
            judge_line(line)
    return counts


def as_read(request: Request) -> Request:
    """Return the request as RFC 9112 has a server read it: a line a header, without its margins."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers).split("\r\n")
    fields = (line.partition(":") for line in lines if line)
    return replace(request, headers=tuple((name, value.strip(" \t")) for name, _, value in fields))


def send_bytes(port: int, request: Request) -> Response | None:
    """Return the answer, None if the server cut the connection."""
    head = f"{request.method} {request.path} HTTP/1.1\r\nHost: {HOST}\r\n"
    fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        received = b""
        try:
            connection.sendall((head + fields + "Connection: close\r\n\r\n").encode("latin-1"))
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionError:
            pass
    if not received:
        return None
    received, _, body = received.partition(b"\r\n\r\n")
    status, *lines = received.decode("latin-1").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Response(int(status.split(" ")[1]), headers, body)
