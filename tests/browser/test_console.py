"""corscheck/console.py foretells what each browser's console says, and reads it again."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chromium import RUN, Browser, Certificate, serve
from engines import FirefoxTab, webkit_console
from test_browser import PAGE, Scripted, judge, odd_replies

from corscheck.browser import Block, Outcome, PageRequest, normalize_method
from corscheck.console import Said, read, sentences

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CASES = [case for case in odd_replies() if case[3] is not None]


@contextmanager
def server(certificate: Certificate) -> Iterator[list[str]]:
    """Serve the cases' replies until the block ends; yields the URL of each."""
    scripted = Scripted([(response, preflight) for _, response, preflight, _ in CASES])
    with serve(scripted, certificate) as port:
        yield [f"https://api.example.net:{port}/{number}" for number in range(len(CASES))]


def body(request: PageRequest) -> str | None:
    return "body" if request.method in ("POST", "PUT") else None


def differences(name: str, urls: list[str], said: dict[str, str]) -> Iterator[str]:
    """Yield where a console said something else than foretold, or its text is read otherwise."""
    for url, (request, response, preflight, _) in zip(urls, CASES, strict=True):
        outcome = judge(url, request, response, preflight)
        foretold = sentences(request, url, outcome)[name]
        if said.get(url) != foretold:
            yield f"{request} {outcome.verdict}\n  {said.get(url)}\n  {foretold}"
        elif found := misread(read(foretold.replace(" ", "\n", 9)), url, request, outcome):
            yield f"{foretold}\n  {found}"


def misread(said: Said | None, url: str, request: PageRequest, outcome: Outcome) -> Any:
    """Return what was read if it is not what the request was."""
    block, found = outcome.verdict.block, outcome.verdict.found
    right = (
        said is not None
        and said.url == url
        and said.origin in (PAGE, None)
        and said.method in (normalize_method(request.method), None)
        and (block is not Block.HEADER or (said.header or "").lower() == found)
        and said.block is not None
        and (request.credentials or not said.credentials)
    )
    return None if right else said


def test_chrome() -> None:
    """What test_browser.py holds to Chromium is read again."""
    urls = [f"https://api.example.net/{number}" for number in range(len(CASES))]
    said = {
        url: sentences(request, url, judge(url, request, response, preflight))["Chrome"]
        for url, (request, response, preflight, _) in zip(urls, CASES, strict=True)
    }
    assert not list(differences("Chrome", urls, said))


def test_firefox(start_engine: Callable[[str], Browser], certificate: Certificate) -> None:
    """Of what it says about one request, the first line has the cause."""
    browser = start_engine("firefox")
    tab = browser.tab
    assert isinstance(tab, FirefoxTab)
    said: dict[str, str] = {}
    with server(certificate) as urls:
        asked = [(url, case[0], body(case[0])) for url, case in zip(urls, CASES, strict=True)]
        tab.read_console()
        for start in range(0, len(asked), 40):  # it keeps 250 messages
            browser.fetch_all(asked[start : start + 40])
            for line in tab.read_console():
                url = re.search(r"https://api[^\s’]*/\d+", line)
                assert url, line
                said.setdefault(url[0], line)
    assert not list(differences("Firefox", urls, said))


PAGE_OF_REQUESTS = """<!doctype html><script>
const run = RUN;
run(CALLS).then(() => console.log("finished"));
</script>"""


def test_safari(
    tmp_path: Path, start_engine: Callable[[str], Browser], certificate: Certificate
) -> None:
    start_engine("webkit")  # or the test is skipped
    said: dict[str, list[str]] = defaultdict(list)
    lines: list[str] = []
    with server(certificate) as urls:
        calls = [
            {**asdict(case[0]), "url": url, "body": body(case[0])}
            for url, case in zip(urls, CASES, strict=True)
        ]
        html = PAGE_OF_REQUESTS.replace("RUN", RUN).replace("CALLS", json.dumps(calls))

        def show(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/html")])
            return [html.encode()]

        with (
            serve(show, certificate) as page,
            webkit_console(tmp_path, f"{PAGE}/", {443: page}) as console,
        ):
            for line in console:
                kind, _, text = line.strip().removeprefix("CONSOLE ").partition(" ERROR ")
                lines += [text] if kind in ("SECURITY", "JS") else []
                if "finished" in line:
                    break
    for cause, then in zip(lines[::2], lines[1::2], strict=True):
        url = re.search(r"https://\S+", then)
        assert url, then
        said[url[0]].append(f"{cause}\n{then}")
    assert not list(differences("Safari", urls, {url: one[0] for url, one in said.items()}))
