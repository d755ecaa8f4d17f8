"""whycors/consoles.py foretells what each browser's console says, and reads it again."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from chromium import RUN, Browser, Certificate, serve
from conftest import skip
from engines import PATIENCE, PREFERENCES, FirefoxTab, firefox, webkit_console
from test_browser import GET, PAGE, Scripted, odd_replies, reply

from whycors.browser import (
    Block,
    Headers,
    Outcome,
    PageRequest,
    Response,
    fetch,
    normalize_method,
)
from whycors.consoles import Said, read, sentences

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CASES = [case for case in odd_replies() if case[3] is not None]
# And one that is redirected to the first that has no Access-Control-Allow-Origin, and one over
# plain http.
NUMBER = next(at for at, case in enumerate(CASES) if case[3] is Block.NO_ALLOW_ORIGIN)
LOCATION = f"/{NUMBER}?redirected"
REDIRECT = reply(302, origin=[PAGE])
REDIRECT = replace(REDIRECT, headers=(*REDIRECT.headers, ("Location", LOCATION)))
CASES.append((GET, REDIRECT, REDIRECT, Block.NO_ALLOW_ORIGIN))
CASES.append((GET, REDIRECT, REDIRECT, Block.MIXED_CONTENT))

# The URL that a line names.
URL = re.compile(r"https?://api[^\s’”]*/\d+(?:\?redirected)?")


@contextmanager
def server(certificate: Certificate) -> Iterator[list[str]]:
    """Serve the cases' replies until the block ends; yields the URL of each."""
    scripted = Scripted([(response, preflight) for _, response, preflight, _ in CASES])
    with serve(scripted, certificate) as port:
        yield to_urls(f"api.example.net:{port}")


def to_urls(host: str) -> list[str]:
    return [
        f"{'http' if block is Block.MIXED_CONTENT else 'https'}://{host}/{number}"
        for number, (*_, block) in enumerate(CASES)
    ]


def body(request: PageRequest) -> str | None:
    return "body" if request.method in ("POST", "PUT") else None


def reply_of(method: str, url: str, _: Headers) -> Response:
    _, response, preflight, _ = CASES[int(urlsplit(url).path[1:])]
    return preflight if method == "OPTIONS" else response


def differences(name: str, urls: list[str], said: dict[str, str]) -> Iterator[str]:
    """Yield where a console said something else than foretold, or its text is read otherwise.

    All at once are read as each alone.
    """
    one_by_one = [read(said[url])[0] for url in urls if url in said]
    yield from (str(one) for one in one_by_one if one.browser != name)
    together = read("\n".join(said[url] for url in urls if url in said))
    yield from (str(pair) for pair in zip(one_by_one, together, strict=True) if pair[0] != pair[1])
    for url, (request, *_) in zip(urls, CASES, strict=True):
        outcome = fetch(url, request, reply_of)
        foretold = sentences(request, url, outcome)[name]
        line = said.get(outcome.exchanges[-1].url if outcome.exchanges else url)
        if line != foretold:
            yield f"{request} {outcome.verdict}\n  {line}\n  {foretold}"
        elif found := misread(read(foretold.replace(" ", "\n", 9)), url, request, outcome):
            yield f"{foretold}\n  {found}"


def misread(found: list[Said], url: str, request: PageRequest, outcome: Outcome) -> Any:
    """Return what was read if it is not what the request was."""
    block, value = outcome.verdict.block, outcome.verdict.found
    (said,) = found
    right = (
        said.url in (url, *(sent.url for sent in outcome.exchanges))
        and said.origin in (PAGE, None)
        and said.method in (normalize_method(request.method), None)
        and (block is not Block.HEADER or (said.header or "").lower() == value)
        and said.block is not None
        and (request.credentials or not said.credentials)
    )
    return None if right else said


def test_chrome() -> None:
    """What test_browser.py holds to Chromium is read again."""
    for url, (request, *_) in zip(to_urls("api.example.net"), CASES, strict=True):
        outcome = fetch(url, request, reply_of)
        sentence = sentences(request, url, outcome)["Chrome"]
        assert not misread(read(sentence.replace(" ", "\n", 9)), url, request, outcome)


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
            said = {**by_url(tab.read_console()), **said}
    assert not list(differences("Firefox", urls, said))


def by_url(lines: list[str]) -> dict[str, str]:
    """Return the first line about each URL."""
    return {url[0]: line for line in reversed(lines) if (url := URL.search(line))}


LANGUAGES = Path("/usr/lib/firefox-esr/browser/extensions")


@pytest.mark.parametrize("language", ["de", "es-ES", "fr", "ja"])
def test_firefox_in_another_language(
    language: str, tmp_path: Path, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cause is read as it is in English."""
    pack = LANGUAGES / f"langpack-{language}@firefox-esr.mozilla.org.xpi"
    if not pack.exists():
        skip(f"not installed: apt-get install firefox-esr-l10n-{language.lower()}")
    # It speaks the language from the second start of its profile on.
    first = ["--headless", "--no-remote", "--profile", str(tmp_path)]
    shot = ["--screenshot", str(tmp_path / "shot.png"), "about:blank"]
    subprocess.run(["firefox-esr", *first, *shot], check=True, timeout=PATIENCE)
    monkeypatch.setitem(PREFERENCES, "intl.locale.requested", language)
    one_of_each = {case[3]: number for number, case in enumerate(CASES)}
    with firefox(tmp_path, certificate) as browser, server(certificate) as urls:
        tab = browser.tab
        assert isinstance(tab, FirefoxTab)
        tab.read_console()
        cases = [(urls[number], CASES[number][0]) for number in one_of_each.values()]
        browser.fetch_all([(url, request, body(request)) for url, request in cases])
        said = by_url(tab.read_console())
    for url, request in cases:
        outcome = fetch(url, request, reply_of)
        line = said[outcome.exchanges[-1].url if outcome.exchanges else url]
        english = sentences(request, url, outcome)["Firefox"]
        assert line != english
        assert read(line) == read(english), line


PAGE_OF_REQUESTS = """<!doctype html><script>
const run = RUN;
run(CALLS).finally(() => console.log("finished"));
</script>"""


def test_safari(tmp_path: Path, certificate: Certificate) -> None:
    """Of what it says about one request, the last line names the URL."""
    said: dict[str, str] = {}
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
                kind, _, text = line.partition("CONSOLE ")[2].strip().partition(" ")
                text = text.partition(" ")[2]
                if line.rstrip().endswith(" finished"):
                    break
                lines += [text] if kind in ("SECURITY", "JS") else []
                if kind == "JS":
                    url = URL.search(text)
                    assert url, line
                    said.setdefault(url[0], "\n".join(lines))
                    lines.clear()
    assert not list(differences("Safari", urls, said))
