"""Real Chromium, which alone can say whether a page may read a response, and why not.

Pages and servers are on this machine. Chromium looks for every host here, so that a page can
have any origin, and nothing is between it and the servers.
"""

import base64
import hashlib
import json
import shutil
import ssl
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

import trustme
from conftest import skip
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from playwright.sync_api import ConsoleMessage, Page, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from whycors.browser import PageRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Where a page may be: an origin without a port has the scheme's default.
HTTP_PORTS = (80, 3000, 4444, 5173, 8080)
HTTPS_PORTS = (443, 8443)

# An extension of the browser, without a permission. Its key decides its id, and so its origin.
KEY = b"The key of an extension for tests"
EXTENSION_ID = (
    hashlib.sha256(KEY)
    .hexdigest()[:32]
    .translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))
)
EXTENSION = f"chrome-extension://{EXTENSION_ID}"
MANIFEST = {
    "manifest_version": 3,
    "name": "A frontend",
    "version": "1",
    "key": base64.b64encode(KEY).decode(),
}

HTML = b"<!doctype html><title>A page</title>"

# What a page's script does, one request after the other: `fetch`, or XMLHttpRequest where an
# upload is watched, which is the only way to set the standard's use-CORS-preflight flag.
RUN = """
async (asked) => {
  const fetched = async ({url, method, headers, credentials, body}) => {
    const mode = credentials ? "include" : "same-origin";
    try {
      const response = await fetch(url, {method, headers, body, credentials: mode});
      return [response.status, [...response.headers], await response.text()];
    } catch (error) {
      return null;
    }
  };
  const watched = ({url, method, headers, credentials, body}) => new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.withCredentials = credentials;
    headers.forEach(([name, value]) => request.setRequestHeader(name, value));
    request.upload.onprogress = () => {};
    request.onerror = () => setTimeout(resolve, 0, null); // the console hears of it after this
    request.onload = () => {
      const lines = request.getAllResponseHeaders().trim().split("\\r\\n");
      const pairs = lines.map((line) => line.split(/: (.*)/s).slice(0, 2));
      resolve([request.status, pairs, request.responseText]);
    };
    request.send(body);
  });
  const got = [];
  for (const one of asked) {
    if (location.origin !== one.origin) throw new Error(`the page is on ${location.origin}`);
    got.push(await (one.preflight ? watched(one) : fetched(one)));
  }
  return got;
}
"""

LOAD_SCRIPT = """
(url) => new Promise((resolve, reject) => {
  const script = document.createElement("script");
  Object.assign(script, {src: url, onload: resolve, onerror: reject});
  document.head.append(script);
}).then(() => undefined)
"""


# A URL, a page's request for it, and its body.
Asked = tuple[str, PageRequest, str | None]


@dataclass(frozen=True)
class Answer:
    """What the page got, None if Chromium blocked it, and what Chromium's console said of it."""

    response: "PageResponse | None"
    console: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        return self.response is not None


@dataclass(frozen=True)
class PageResponse:
    """A response as the page may read it: header names in lower case."""

    status: int
    headers: dict[str, str]
    text: str


class Certificate:
    """A certificate in a PEM file, key and all, that Chromium trusts for every host."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        issued = authority.issue_cert("*.example.com")
        self.path = folder / "certificate.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.path))
        key = load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pin = base64.b64encode(hashlib.sha256(spki).digest()).decode()


class Tab(Protocol):
    """What a test does with a browser: what Playwright's page can, and two methods suffice."""

    def goto(self, url: str, /) -> Any:
        """Show a page, and return when it is loaded."""

    def evaluate(self, script: str, argument: Any, /) -> Any:
        """Call a JavaScript function in the page, and return what comes of it."""


class Browser:
    """A browser with one tab.

    `servers` holds the real port of each port that its pages seem to be on.
    """

    def __init__(
        self, name: str, tab: Tab, certificate: Certificate, servers: dict[int, int]
    ) -> None:
        self.name = name
        self.tab = tab
        self.certificate = certificate
        self.servers = servers
        self.origin: str | None = None
        self.console: list[str] = []

    def open(self, origin: str) -> None:
        """Show a page of this origin, which may be `null` or EXTENSION."""
        page = {"null": "data:text/html,", EXTENSION: f"{EXTENSION}/page.html"}
        self.tab.goto(page.get(origin, f"{origin}/"))
        self.origin = origin

    def fetch(self, url: str, request: PageRequest, body: str | None = None) -> Answer:
        """Fetch from a page of the request's origin, and return what the page got."""
        answer = self.fetch_all([(url, request, body)])[0]
        return replace(answer, console=tuple(self.console))

    def fetch_all(self, asked: Sequence[Asked]) -> list[Answer]:
        """Fetch one URL after the other, and open a page whenever the origin changes.

        The console's messages go to the URL that they name.
        """
        self.console.clear()
        got = []
        for origin, its in groupby(asked, lambda one: one[1].origin):
            if origin != self.origin:
                self.open(origin)
            calls = [{**asdict(request), "url": url, "body": body} for url, request, body in its]
            got += self.tab.evaluate(RUN, calls)
        return [
            Answer(
                response and PageResponse(response[0], dict(response[1]), response[2]),
                tuple(text for text in self.console if f"'{url}'" in text),
            )
            for response, (url, _, _) in zip(got, asked, strict=True)
        ]

    def load_script(self, url: str) -> None:
        """Load a script into the page that is shown, as `<script src>` does: without Origin."""
        self.tab.evaluate(LOAD_SCRIPT, url)


class Chromium(Browser):
    """The browser whose console is read, and whose tab can do all that Playwright can."""

    tab: Page

    def __init__(self, tab: Page, certificate: Certificate, servers: dict[int, int]) -> None:
        super().__init__("chromium", tab, certificate, servers)
        tab.on("console", self.note)

    def note(self, message: ConsoleMessage) -> None:
        self.console.append(message.text)


@contextmanager
def chromium(folder: Path, certificate: Certificate) -> Iterator[Chromium]:
    """Start Debian's Chromium, and the servers of its pages, until the block ends."""
    program = shutil.which("chromium")
    if program is None:
        skip("install chromium (Debian: apt install chromium)")
    extension = folder / "extension"
    extension.mkdir()
    (extension / "manifest.json").write_text(json.dumps(MANIFEST))
    (extension / "page.html").write_bytes(HTML)
    with ExitStack() as stack:
        servers = stack.enter_context(page_servers(certificate))
        rules = [f"MAP *:{port} 127.0.0.1:{server}" for port, server in servers.items()]
        playwright = stack.enter_context(sync_playwright())
        profile = playwright.chromium.launch_persistent_context(
            folder / "profile",
            executable_path=without_netlink(program, folder / "chromium"),
            args=[
                "--no-sandbox",
                f"--host-resolver-rules={','.join([*rules, 'MAP * 127.0.0.1'])}",
                f"--ignore-certificate-errors-spki-list={certificate.pin}",
                f"--disable-extensions-except={extension}",
                f"--load-extension={extension}",
                # Takes the place of Playwright's own list, which changes how redirects and
                # cookies work.
                "--disable-features=HttpsUpgrades,LocalNetworkAccessChecks",
            ],
        )
        stack.callback(profile.close)
        yield Chromium(profile.pages[0], certificate, servers)


def without_netlink(program: str, launcher: Path) -> str:
    """Return a program that starts this one without news of the machine's network interfaces.

    Chromium gives up its requests (ERR_NETWORK_CHANGED) whenever one comes or goes, as those of
    other tests' containers do.
    """
    if sys.platform != "linux":
        return program
    launcher.write_text(
        f"""#!{sys.executable}
import errno, os, socket, sys
from pyseccomp import ALLOW, EQ, ERRNO, Arg, SyscallFilter

rules = SyscallFilter(ALLOW)
rules.add_rule(ERRNO(errno.EAFNOSUPPORT), "socket", Arg(0, EQ, socket.AF_NETLINK))
rules.load()
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""
    )
    launcher.chmod(0o755)
    return str(launcher)


@contextmanager
def page_servers(certificate: Certificate) -> Iterator[dict[int, int]]:
    """Serve pages until the block ends; yields the real port of each that they seem to be on."""
    with serve(show_page) as http, serve(show_page, certificate) as https:
        yield dict.fromkeys(HTTP_PORTS, http) | dict.fromkeys(HTTPS_PORTS, https)


def show_page(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
    """Show a page, or redirect to the URL of `?to=`, whoever asks and with whatever method."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    to = parse_qs(environ["QUERY_STRING"]).get("to")
    if not to:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [HTML]
    headers = [
        ("Location", to[0]),
        ("Access-Control-Allow-Origin", environ.get("HTTP_ORIGIN", "*")),
        ("Access-Control-Allow-Credentials", "true"),
    ]
    start_response("307 Temporary Redirect", headers)
    return []


class QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        pass


@contextmanager
def serve(
    app: "WSGIApplication", certificate: Certificate | None = None, port: int = 0
) -> Iterator[int]:
    """Serve an app on a port of this machine, or on a free one, until the block ends."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.path)
    server = make_server(
        "127.0.0.1", port, app, threaded=True, request_handler=QuietHandler, ssl_context=context
    )
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
