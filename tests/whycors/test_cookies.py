"""Three engines keep and send the cookies that whycors says they do, and lose the others."""

from collections.abc import Iterator
from typing import Any

import pytest
from chromium import Browser, Certificate, serve
from relay import tls_front

from whycors.browser import PageRequest
from whycors.causes import fate_of

COOKIES = {
    "plain": "",
    "lax": "SameSite=Lax",
    "strict": "SameSite=Strict",
    "secure": "Secure",
    "none": "SameSite=None",
    "secure-none": "SameSite=None; Secure",
    "partitioned": "SameSite=None; Secure; Partitioned",
}

# A page, and the API's host.
PLACES = {
    "same site": ("https://app.example.com", "https://api.example.com"),
    "other site": ("https://app.example.com", "https://api.example.net"),
    "this machine": ("http://localhost:5173", "http://localhost"),
    "two names": ("http://127.0.0.1:5173", "http://localhost"),
}

# Which engines lose a cookie of a fate, and which keep it; others do the one or the other.
LOST: dict[str | None, set[str]] = {
    None: set(),
    "plain-local": {"webkit"},
    "insecure": {"chromium", "firefox"},
    "same-site": {"chromium", "firefox", "webkit"},
    "unsaid": {"chromium", "webkit"},
    "unpartitioned": {"chromium", "webkit"},
    "third-party": {"webkit"},
    "two-names": {"chromium"},
}
KEPT: dict[str | None, set[str]] = {
    None: {"chromium", "firefox", "webkit"},
    "plain-local": {"chromium", "firefox"},
    "unsaid": {"firefox"},
    "unpartitioned": {"firefox"},
    "third-party": {"chromium", "firefox"},
}


def api(environ: Any, start_response: Any) -> list[bytes]:
    """Set every cookie, and say which came."""
    headers = [
        ("Access-Control-Allow-Origin", environ.get("HTTP_ORIGIN", "*")),
        ("Access-Control-Allow-Credentials", "true"),
        ("Content-Type", "text/plain"),
    ]
    if environ["PATH_INFO"] == "/log-in":
        headers += [("Set-Cookie", f"{name}=1; {more}") for name, more in COOKIES.items()]
    start_response("200 OK", headers)
    return [environ.get("HTTP_COOKIE", "").encode()]


@pytest.fixture(scope="module")
def ports(certificate: Certificate) -> Iterator[dict[str, int]]:
    with serve(api) as http, tls_front(http, certificate) as https:
        yield {"http": http, "https": https}


@pytest.mark.parametrize("place", PLACES)
def test_cookies(engine: Browser, ports: dict[str, int], place: str) -> None:
    page, host = PLACES[place]
    url = f"{host}:{ports[host.partition(':')[0]]}"
    request = PageRequest(page, credentials=True)
    engine.fetch(f"{url}/log-in", request)
    response = engine.fetch(f"{url}/user", request).response
    assert response is not None
    came = {pair.partition("=")[0] for pair in response.text.split("; ")}
    for name, text in COOKIES.items():
        parts = (part.strip().partition("=") for part in text.split(";"))
        fate = fate_of({key.lower(): value for key, _, value in parts if key}, request, url)
        if engine.name in LOST[fate]:
            assert name not in came, (name, fate)
        if engine.name in KEPT.get(fate, ()):
            assert name in came, (name, fate)
