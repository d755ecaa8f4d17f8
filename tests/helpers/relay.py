"""What is between a browser and a server here: both only pass bytes on.

- `relay` is a SOCKS proxy (RFC 1928) that takes every host for this machine, as Chromium's
  resolver rules do. Firefox and WebKit have no such rules.
- `tls_front` puts TLS before a server, which then may write to a connection while it reads.
"""

import asyncio
import ssl
import threading
from asyncio import StreamReader, StreamWriter, open_connection, start_server
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chromium import Certificate

VERSION = b"\x05"
NO_AUTHENTICATION = b"\x00"
SUCCEEDED = b"\x00"
CONNECTION_REFUSED = b"\x05"
NO_ADDRESS = b"\x00\x01" + bytes(6)

IPV4, NAME, IPV6 = 1, 3, 4

Handle = Callable[[StreamReader, StreamWriter], Awaitable[None]]


@contextmanager
def relay(servers: dict[int, int]) -> Iterator[int]:
    """Run a SOCKS proxy until the block ends; yields its port.

    `servers` holds the real port of each port that a browser asks for; others are real.
    """

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        port = await asked_port(reader, writer)
        try:
            server = await open_connection("127.0.0.1", servers.get(port, port))
        except OSError:
            writer.write(VERSION + CONNECTION_REFUSED + NO_ADDRESS)
            writer.close()
        else:
            writer.write(VERSION + SUCCEEDED + NO_ADDRESS)
            await join(reader, writer, *server)

    with listening(handle) as port:
        yield port


@contextmanager
def tls_front(port: int, certificate: "Certificate") -> Iterator[int]:
    """Put TLS before the server of a port until the block ends; yields the port to ask."""

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        await join(reader, writer, *await open_connection("127.0.0.1", port))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path)
    with listening(handle, ssl=context) as front:
        yield front


async def asked_port(reader: StreamReader, writer: StreamWriter) -> int:
    """Read what a browser asks a proxy for, up to the port of the host that it wants to reach."""
    _, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(VERSION + NO_AUTHENTICATION)
    kind = (await reader.readexactly(4))[3]
    length = (await reader.readexactly(1))[0] if kind == NAME else {IPV4: 4, IPV6: 16}[kind]
    return int.from_bytes((await reader.readexactly(length + 2))[-2:], "big")


async def join(
    reader: StreamReader, writer: StreamWriter, other: StreamReader, other_writer: StreamWriter
) -> None:
    """Join two connections until one of them ends."""
    await asyncio.gather(pump(reader, other_writer), pump(other, writer))


async def pump(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def listening(handle: Handle, **options: Any) -> Iterator[int]:
    """Handle the connections to a free port, in a thread of its own, until the block ends."""

    async def quiet(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, EOFError):  # browsers open connections that they do not use
            await handle(reader, writer)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started = start_server(quiet, "127.0.0.1", 0, backlog=128, **options)
    server = asyncio.run_coroutine_threadsafe(started, loop).result()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
