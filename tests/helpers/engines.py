"""Firefox and WebKit, driven as Chromium is: what one engine lets a page do, another may not.

Each runs without a window, with a profile of its own, and takes every certificate. Debian has
them all.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

from chromium import Browser, Certificate, chromium, page_servers
from conftest import skip
from relay import relay
from servers import free_port
from websockets.sync.client import ClientConnection, connect

# How long a browser may take to start or to do something, in seconds.
PATIENCE = 30

# Firefox is to leave http and localhost alone, and to call nobody.
PREFERENCES = {
    "dom.security.https_first": False,
    "network.proxy.type": 1,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.socks_remote_dns": True,
    "network.proxy.allow_hijacking_localhost": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
}


# How Firefox's console is read, which a page cannot do.
SYSTEM_ACCESS = ["--remote-allow-system-access"]
READ_CONSOLE = """(() => {
  const said = Services.console.getMessageArray().map(({message}) => message);
  Services.console.reset();
  return JSON.stringify(said);
})()"""


class FirefoxTab:
    """A tab of Firefox, by WebDriver BiDi."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.sent = 0
        self.loaded: set[str] = set()
        self.command("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self.command("session.subscribe", events=["browsingContext.load"])
        tree = self.command("browsingContext.getTree")
        self.context = tree["contexts"][0]["context"]
        tree = self.command("browsingContext.getTree", **{"moz:scope": "chrome"})
        self.chrome = tree["contexts"][0]["context"]

    def command(self, method: str, **parameters: Any) -> Any:
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while (said := self.receive()).get("id") != self.sent:
            pass
        if said["type"] == "error":
            raise RuntimeError(f"{said['error']}: {said['message']}")
        return said["result"]

    def receive(self) -> Any:
        said = json.loads(self.socket.recv(PATIENCE))
        if said.get("method") == "browsingContext.load":
            self.loaded.add(said["params"]["navigation"])
        return said

    def goto(self, url: str) -> None:
        # It cannot wait itself: a frame of the last page that fails meanwhile would end it.
        asked = self.command("browsingContext.navigate", context=self.context, url=url, wait="none")
        while asked["navigation"] not in self.loaded:
            self.receive()

    def evaluate(self, script: str, argument: Any) -> Any:
        function = f"async (text) => JSON.stringify(await ({script})(JSON.parse(text)))"
        said = self.command(
            "script.callFunction",
            functionDeclaration=function,
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            target={"context": self.context},
            awaitPromise=True,
        )
        if said["type"] == "exception":
            raise RuntimeError(said["exceptionDetails"]["text"])
        return json.loads(said["result"].get("value", "null"))

    def read_console(self) -> list[str]:
        """Return what the console says of pages, and clear it."""
        said = self.command(
            "script.evaluate",
            expression=READ_CONSOLE,
            target={"context": self.chrome},
            awaitPromise=False,
        )
        lines = "\n".join(json.loads(said["result"]["value"]))
        return re.findall(r'^\[JavaScript \w+: "(.*)"(?: \{.*|\])$', lines, re.MULTILINE)


class WebKitTab:
    """A tab of WebKit, by WebDriver."""

    def __init__(self, driver: HTTPConnection, arguments: list[str]) -> None:
        self.driver = driver
        self.session = ""
        capabilities = {
            "acceptInsecureCerts": True,
            "timeouts": {"pageLoad": 1000 * PATIENCE, "script": 1000 * PATIENCE},
            "webkitgtk:browserOptions": {"args": arguments},
        }
        answer = self.command("/session", capabilities={"alwaysMatch": capabilities})
        self.session = f"/session/{answer['sessionId']}"

    def command(self, path: str, **parameters: Any) -> Any:
        self.driver.request("POST", self.session + path, json.dumps(parameters))
        said = json.loads(self.driver.getresponse().read())["value"]
        if isinstance(said, dict) and "error" in said:
            raise RuntimeError(str(said))
        return said

    def goto(self, url: str) -> None:
        self.command("/url", url=url)

    def evaluate(self, script: str, argument: Any) -> Any:
        did, value = self.command(
            "/execute/async",
            script="const [argument, done] = arguments;"
            f" ({script})(argument).then((value) => done([true, value]),"
            " (error) => done([false, String(error)]));",
            args=[argument],
        )
        if not did:
            raise RuntimeError(value)
        return value


@contextmanager
def firefox(folder: Path, certificate: Certificate) -> Iterator[Browser]:
    """Start Firefox, and the servers of its pages, until the block ends."""
    (program,) = programs("firefox-esr")
    with ExitStack() as stack:
        servers = stack.enter_context(page_servers(certificate))
        port = stack.enter_context(relay(servers))
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in {**PREFERENCES, "network.proxy.socks_port": port}.items()
        ]
        (folder / "user.js").write_text("".join(lines))
        command = [program, "--headless", "--no-remote", "--profile", str(folder)]
        process = stack.enter_context(
            running([*command, "--remote-debugging-port=0", *SYSTEM_ACCESS], HOME=str(folder))
        )
        address = wait_for(process.stderr, r"WebDriver BiDi listening on (ws://\S+)")
        socket = connect(f"{address}/session", max_size=None, proxy=None)
        tab = FirefoxTab(stack.enter_context(socket))
        yield Browser("firefox", tab, certificate, servers)


@contextmanager
def webkit(folder: Path, certificate: Certificate) -> Iterator[Browser]:
    """Start WebKit on a screen that is not there, and the servers of its pages."""
    (driver,) = programs("WebKitWebDriver")
    with ExitStack() as stack:
        servers = stack.enter_context(page_servers(certificate))
        proxy = f"--proxy=socks5://127.0.0.1:{stack.enter_context(relay(servers))}"
        environ = stack.enter_context(screen(folder))
        port = free_port()
        stack.enter_context(running([driver, f"--port={port}"], **environ))
        connection = HTTPConnection("127.0.0.1", port, timeout=2 * PATIENCE)
        stack.callback(connection.close)
        connect_patiently(connection)
        tab = WebKitTab(connection, ["--automation", proxy])
        yield Browser("webkit", tab, certificate, servers)


@contextmanager
def webkit_console(folder: Path, url: str, servers: dict[int, int]) -> Iterator[IO[str]]:
    """Show a page in WebKit without a driver, under which its console would say nothing.

    Yields the lines of the console. `servers` are those of `relay`.
    """
    programs("WebKitWebDriver")
    (browser,) = Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser")
    with relay(servers) as port, screen(folder) as environ:
        options = [f"--proxy=socks5://127.0.0.1:{port}", "--ignore-tls-errors"]
        options += ["--enable-write-console-messages-to-stdout=true", url]
        with running([str(browser), *options], **environ) as process:
            assert process.stderr
            yield process.stderr


@contextmanager
def screen(folder: Path) -> Iterator[dict[str, str]]:
    """Start a screen that is not there; yields the environment of WebKit on it."""
    (program,) = programs("Xvfb")
    with running([program, "-displayfd", "2", "-nolisten", "tcp"]) as process:
        number = wait_for(process.stderr, r"^(\d+)$")
        yield {
            "DISPLAY": f":{number}",
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            # Nobody is to be asked, and no other browser to be found, on the desktop's bus.
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",  # it does not start for root
        }


Start = Callable[[Path, Certificate], AbstractContextManager[Browser]]
ENGINES: dict[str, Start] = {"chromium": chromium, "firefox": firefox, "webkit": webkit}

# The package of each program, in Debian.
PACKAGES = {"firefox-esr": "firefox-esr", "WebKitWebDriver": "webkit2gtk-driver", "Xvfb": "xvfb"}


def programs(*names: str) -> list[str]:
    """Return where programs are. Skips the test if one is not there."""
    found = [shutil.which(name) for name in names]
    if missing := [PACKAGES[name] for name, path in zip(names, found, strict=True) if path is None]:
        skip(f"not installed: apt-get install {' '.join(missing)}")
    return [path for path in found if path is not None]


@contextmanager
def running(command: list[str], **environ: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a program until the block ends, and whatever it starts."""
    process = subprocess.Popen(
        command,
        env=os.environ | environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(lines: IO[str] | None, pattern: str) -> str:
    """Return the group of the first line that matches, and let the others go by."""
    assert lines
    said = ""
    for line in lines:
        if match := re.search(pattern, line):
            threading.Thread(target=lines.read, daemon=True).start()
            return match[1]
        said += line
    raise RuntimeError(f"no line is {pattern}: {said}")


def connect_patiently(connection: HTTPConnection) -> None:
    """Connect as soon as there is a server."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
