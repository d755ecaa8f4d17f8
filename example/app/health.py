"""Health checks for whatever runs the API: a load balancer, an orchestrator, a monitor."""

from flask import Blueprint

bp = Blueprint("health", __name__, url_prefix="/health")


@bp.get("/live")
def live() -> dict[str, str]:
    """The process answers; if not, restart it."""
    return {"status": "ok"}


@bp.get("/ready")
def ready() -> dict[str, str]:
    """The process can serve; check here what it needs, a database say."""
    return {"status": "ok"}
