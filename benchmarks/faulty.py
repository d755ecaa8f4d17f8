"""The rendered app with views that servers have trouble with. Copied into the project."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

from flask import Response, abort, request, url_for
from flask_sock import Sock
from simple_websocket import Server

from app import operations
from wsgi import app

operations.BODY_SECONDS = 1


@app.get("/breaks")
def breaks() -> Response:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        time.sleep(0.05)
        raise RuntimeError("on purpose")

    return Response(chunks(), mimetype="text/plain")


@app.get("/events")
def events() -> Response:
    def chunks() -> Iterator[bytes]:
        while True:
            yield b"data: x\n\n"
            time.sleep(0.2)

    return Response(chunks(), mimetype="text/event-stream")


@app.get("/slow")
def slow() -> dict[str, int]:
    time.sleep(float(request.args["seconds"]))
    return {"pid": os.getpid()}


@app.get("/big")
def big() -> Response:
    return Response((b"x" * 65536 for _ in range(160)), mimetype="application/octet-stream")


@app.post("/take")
def take() -> dict[str, int]:
    return {"size": len(request.get_data())}


@app.post("/async")
async def waits() -> dict[str, int]:
    await asyncio.sleep(0.5)
    return {"size": len(request.get_data())}


@app.post("/async/fails")
async def fails() -> dict[str, int]:
    await asyncio.sleep(0)
    abort(409, "on purpose") if request.get_json() else (1 / 0)


@app.get("/here")
def here() -> dict[str, Any]:
    return {
        "url": url_for("here", _external=True),
        "client": request.remote_addr,
        "multiprocess": request.is_multiprocess,
    }


@Sock(app).route("/socket")
def echo(socket: Server) -> None:
    socket.send(socket.receive(timeout=5))
