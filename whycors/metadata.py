"""The headers by which a browser tells an API where a request comes from.

The sections named here are those of Fetch Metadata Request Headers.
"""

from functools import cache
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

from .browser import Headers, Response, Send, http_origin, is_loopback_url


def with_metadata(send: Send, page: str) -> Send:
    """Return `send` with the headers that a browser adds to what a page's `fetch` sends.

    `page` is the page's origin. Redirects count, so take a new one for each fetch.
    """
    urls: list[str] = []

    def send_as_browser(method: str, url: str, headers: Headers) -> Response:
        urls.append(url)
        return send(method, url, (*headers, *metadata(page, urls)))

    return send_as_browser


def metadata(page: str, urls: list[str]) -> Headers:
    """Section 2: browsers send these to https and to this machine, and to nobody else."""
    if urlsplit(urls[-1]).scheme != "https" and not is_loopback_url(urls[-1]):
        return ()
    return (
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", fetch_site(page, urls)),
    )


def fetch_site(page: str, urls: list[str]) -> str:
    """Section 2.3, "Sec-Fetch-Site", which goes by every URL that a request was redirected to."""
    found = "same-origin"
    for url in urls:
        if http_origin(url) == http_origin(page):
            continue
        if site(url) is None or site(url) != site(page):
            return "cross-site"
        found = "same-site"
    return found


def site(url: str) -> tuple[str, str] | None:
    """Return the site of a URL or an origin (HTML, "obtain a site")."""
    origin = http_origin(url)
    if origin is None:
        return None
    scheme, host, _ = origin
    is_address = ":" in host or host.rpartition(".")[2].isdigit()
    domain = None if is_address else suffixes().privatesuffix(host)
    return scheme, domain or host


@cache
def suffixes() -> PublicSuffixList:
    return PublicSuffixList()
