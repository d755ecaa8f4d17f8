"""How often one may guess: exact over all workers, because the database counts."""

from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Any

import sqlalchemy as sa
from flask import current_app, request
from sqlalchemy.dialects import postgresql, sqlite
from werkzeug.exceptions import TooManyRequests

from app.accounts.models import Attempts, now
from app.sqldb import db

INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def of_log_in(email: str, device: int | None) -> dict[str, int]:
    """Return what is limited, and how often it may be.

    A browser that has logged in before is counted by itself (OWASP's device cookies): nobody can
    lock an owner out.
    """
    if device:
        return {f"device {device}": 10}
    return {f"{email} {network()}": 10, email: 100, **of_network("log-in")}


def of_network(what: str) -> dict[str, int]:
    return {f"{what} {network()}": 50} if current_app.config["LOGIN_COUNTS_NETWORKS"] else {}


def network() -> str:
    """Return the client's address, of IPv6 the /64, all of which it has."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:  # it is a Unix socket's, or a proxy adds a port
        return request.remote_addr or ""
    address = getattr(address, "ipv4_mapped", None) or address
    return str(ip_network(f"{address}/{min(address.max_prefixlen, 64)}", strict=False))


def reserve(limits: dict[str, int], period: timedelta = timedelta(minutes=15)) -> list[Any]:
    """Count an attempt against each limit, or none, and return it. Raises TooManyRequests."""
    time = now()
    # No address is stored. In one order, no two requests wait for each other.
    keys = sorted((sha256(what.encode()).hexdigest(), most) for what, most in limits.items())
    rows = [{"key": key, "remaining": most - 1, "until": time + period} for key, most in keys]
    insert = INSERT[db.engine.dialect.name](Attempts).values(rows)
    old, new, is_over = Attempts, insert.excluded, Attempts.until <= time
    upsert = insert.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "remaining": sa.case((is_over, new.remaining), else_=old.remaining - 1),
            "until": sa.case((is_over, new.until), else_=old.until),
        },
        where=is_over | (old.remaining > 0),
    )
    counted = db.session.execute(upsert.returning(old.key, old.until)).all()
    if len(counted) == len(rows):
        db.session.commit()
        return sorted(counted)
    db.session.rollback()
    used_up = old.key.in_(dict(keys)) & (old.remaining == 0)
    end = db.session.scalar(sa.select(sa.func.max(old.until)).where(used_up)) or time
    seconds = max(1, round((end - time).total_seconds()))
    raise TooManyRequests("Too many attempts. Try again later.", retry_after=seconds)


def undo(attempt: list[Any]) -> None:
    """Take back an attempt that was none. The caller commits."""
    for key, until in attempt:
        same, more = (Attempts.key == key, Attempts.until == until), Attempts.remaining + 1
        db.session.execute(sa.update(Attempts).where(*same).values(remaining=more))
