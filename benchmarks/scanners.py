"""Run public CORS scanners against every shape of policy. See README.md."""

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hostile import Policy
from project import rendered, served

Findings = set[str]


@dataclass(frozen=True)
class Shape:
    """A policy, the origin that the scanners make lookalikes of, and what they must find."""

    policy: Policy
    origin: str = "http://app.example.com"
    findings: tuple[str, ...] = ()


# What a wildcard and `any` are there for is all that may be found. CORScanner takes a * for
# no finding. What sorx says of headers and methods in a public policy is what was asked for:
# Authorization, and more than GET.
SHAPES = {
    "exact": Shape(Policy(("http://app.example.com", "https://app.example.com"))),
    "several": Shape(Policy(("http://app.example.com", "https://admin.example.com:8443"))),
    "subdomains": Shape(
        Policy(("http://*.example.com", "https://*.example.com")),
        findings=(
            "CORScanner: trust_any_subdomain",
            "corsair: sub-domain",
            "sorx: Attacker origin reflected",
        ),
    ),
    "ports": Shape(
        Policy(("http://127.0.0.1:*",)),
        origin="http://127.0.0.1",
        findings=("sorx: Attacker origin reflected",),
    ),
    "ipv6": Shape(Policy(("http://[::1]:3000", "http://app.example.com"))),
    "credentials": Shape(
        Policy(("https://app.example.com", "http://app.localhost:3000"), credentials=True)
    ),
    "credentials, subdomains": Shape(
        Policy(("https://*.example.com", "http://*.localhost"), credentials=True),
        origin="http://app.localhost",
        findings=(
            "CORScanner: trust_any_subdomain",
            "corsair: sub-domain",
            "sorx: Attacker origin reflected with credentials",
        ),
    ),
    "read only": Shape(Policy(("http://app.example.com",), methods=("GET",))),
    "any": Shape(
        Policy(("*",)),
        findings=(
            "corsair: fake_origin",
            "corsair: post-domain",
            "corsair: pre-domain",
            "corsair: sub-domain",
            "sorx: Dynamic request header reflection",
            "sorx: Dynamic request method reflection",
            "sorx: Sensitive request header allowed",
            "sorx: Wildcard origin",
        ),
    ),
}


def main() -> None:
    unexpected = False
    with tempfile.TemporaryDirectory() as folder, rendered() as project:
        scanners = install(Path(folder))
        print(f"{'policy':26}found")
        for name, shape in SHAPES.items():
            environment = shape.policy.environment()
            with served(project, environment, project / "log") as port:
                found = {finding for scan in scanners for finding in scan(shape.origin, port)}
            print(f"{name:26}{', '.join(sorted(found)) or 'nothing'}", flush=True)
            for finding in sorted(found - {*shape.findings}):
                unexpected = True
                print(f"{'':26}NOT ASKED FOR: {finding}")
            for finding in sorted({*shape.findings} - found):
                unexpected = True
                print(f"{'':26}NOT FOUND, though asked for: {finding}")
    sys.exit(unexpected)


def install(folder: Path) -> tuple[Callable[[str, int], Findings], ...]:
    """Install each scanner into an environment of its own."""

    def program(package: str, name: str) -> str:
        home = folder / name
        venv.create(home, with_pip=True)
        pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", package], check=True)
        return str(home / "bin" / name)

    corscanner = program("corscanner==0.9.7", "corscanner")
    corsair = program("corsair-scan==0.2.0", "corsair")
    sorx = program("sorx==0.4.0", "sorx")
    request, report = folder / "request.json", folder / "report.json"

    def run(port: int, *command: str) -> None:
        # With the app as its proxy, a scanner finds every host on it and leaves this machine
        # for none.
        proxy = f"http://127.0.0.1:{port}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        environment = {key: text for key, text in os.environ.items() if key.lower() != "no_proxy"}
        environment |= dict.fromkeys(names, proxy)
        environment["TLDEXTRACT_CACHE"] = str(folder / "suffixes")
        report.write_text("[]")
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)

    def by_corscanner(origin: str, port: int) -> Findings:
        run(port, corscanner, "-u", f"{origin}/api/echo", "-o", str(report))
        return {f"CORScanner: {finding['type']}" for finding in json.loads(report.read_text())}

    def by_corsair(origin: str, port: int) -> Findings:
        asked = {"url": f"{origin}/api/echo", "headers": {"Origin": origin}, "params": ""}
        verbs = ("GET", "POST", "PUT", "OPTIONS")
        request.write_text(json.dumps([{**asked, "verb": verb} for verb in verbs]))
        run(port, corsair, str(request), "-r", str(report))
        found = json.loads(report.read_text())["summary"]["misconfigured"]
        return {f"corsair: {test}" for scan in found for test in scan["misconfigured_test"]}

    def by_sorx(origin: str, port: int) -> Findings:
        run(port, sorx, "-u", f"{origin}/api/echo", "-m", "deep", "-j", str(report))
        (found,) = json.loads(report.read_text()).values()
        return {f"sorx: {finding['name']}" for finding in found}

    return by_corscanner, by_corsair, by_sorx


if __name__ == "__main__":
    main()
