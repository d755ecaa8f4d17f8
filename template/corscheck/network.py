"""Sends one request over the network, and explains why no response comes.

It needs urllib3, which is a dev dependency: the API itself runs without it.
"""

import ssl
from contextlib import closing
from urllib.parse import urlsplit

from urllib3 import HTTPHeaderDict, PoolManager, exceptions

from app.cors import rules

from .browser import Headers, PageRequest, Response, Send
from .explain import body

# A refusal is a few lines of JSON.
MAX_BODY = 4096

# Why a browser rejects a certificate, by OpenSSL's verify code.
CERTIFICATE_FAULTS = {
    9: "is not valid yet: correct the clock of this machine, or of the machine that issued it",
    10: "has expired: renew it, and reload the proxy",
    18: "is self-signed, so browsers reject it: get one from an authority that they trust",
    19: "comes from a private authority: browsers reject it unless that authority is installed",
    20: (
        "comes from an unknown authority, or its chain is incomplete: have the proxy send the"
        " intermediate certificates too (fullchain.pem)"
    ),
    62: "is for other host names: call the API by one of them, or get a certificate for this one",
    64: "is not for this address: call the API by the name in the certificate",
}


class Unreachable(Exception):
    """No response came. The message says why, and what to do."""


def sender(request: PageRequest, timeout: float) -> Send:
    """Return a function that sends one HTTP request, with the page's body where it has one.

    Only of a 403 is the body read, since it may be the API's refusal. `timeout` is in seconds,
    for the connection and again for the response. The function raises Unreachable.
    """
    pool = PoolManager()

    def send(method: str, url: str, headers: Headers) -> Response:
        try:
            # Unlike `request`, `urlopen` does not change the case of the method.
            response = pool.urlopen(
                method,
                url,
                body=body(request, method, headers),
                headers=HTTPHeaderDict(headers),
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            with closing(response):
                its_body = response.read(MAX_BODY) if response.status == 403 else b""
        except exceptions.HTTPError as error:
            fault = network_fault(error, url, timeout)
            raise Unreachable(f"{method} {rules.show(url)}: {fault}") from None
        return Response(response.status, tuple(response.headers.iteritems()), its_body)

    return send


def network_fault(error: exceptions.HTTPError, url: str, timeout: float) -> str:
    """Return why a request got no response, and what to do."""
    host = urlsplit(url).netloc
    cause = error.__cause__ or error.args[-1]
    if isinstance(error, (exceptions.NameResolutionError, exceptions.LocationParseError)):
        return f"no host has the name {urlsplit(url).hostname}: correct it, or its DNS entry"
    if isinstance(error, exceptions.ReadTimeoutError):
        return f"no response within {timeout:g} s: find what is slow, or set a longer --timeout"
    if isinstance(cause, ConnectionRefusedError):
        return f"nothing listens at {host}: start the API or its proxy, or correct the port"
    if isinstance(error, exceptions.NewConnectionError):
        return f"{host} cannot be reached ({cause}): check the address and the network"
    if isinstance(error, exceptions.ConnectTimeoutError):
        return (
            f"{host} did not accept the connection within {timeout:g} s: check the address, the"
            " port and any firewall"
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        rejected = f"is rejected: {cause.verify_message}"
        return f"the certificate {CERTIFICATE_FAULTS.get(cause.verify_code, rejected)}"
    if isinstance(error, exceptions.SSLError):
        return f"{host} does not speak TLS as browsers do: call it over http://, or set up TLS"
    if isinstance(cause, ConnectionError):
        return f"{host} closed the connection without a response: see the log of what runs there"
    return f"{host} does not speak HTTP: correct the port"
