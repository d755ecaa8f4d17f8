"""The sample resource: answers with what it received. Replace it by your own."""

from typing import Any

from flask import Blueprint, request

bp = Blueprint("echo", __name__, url_prefix="/api")


@bp.get("/echo")
@bp.delete("/echo")
def without_body() -> dict[str, Any]:
    return {"method": request.method, "args": request.args}


@bp.post("/echo")
@bp.put("/echo")
@bp.patch("/echo")
def with_body() -> dict[str, Any]:
    # `get_json` answers 415 unless the body is declared as JSON, and a page on another origin
    # cannot send JSON without a preflight: no request that changes data comes in unasked.
    return {"method": request.method, "args": request.args, "json": request.get_json()}
