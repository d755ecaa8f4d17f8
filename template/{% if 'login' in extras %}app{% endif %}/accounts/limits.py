"""How often one may guess: exact over all workers, because the database counts."""

from datetime import datetime, timedelta
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
QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)

Reservation = list[tuple[str, datetime]]


def reserve_log_in(email: str, device: int | None) -> Reservation:
    """Count a log-in before its password is hashed. Raises TooManyRequests.

    The attempts of a browser that has logged in before are counted by themselves (OWASP's device
    cookies): nobody else's can lock it out.
    """
    if device:
        return reserve((f"device {device}", 10, QUARTER))
    pair = (f"log-in {email} {network()}", 10, QUARTER)
    return reserve(pair, (f"log-in {email}", 100, QUARTER), *of_network("log-in"))


def reserve_mail(email: str) -> Reservation:
    return reserve((f"mail {email}", 3, HOUR), *of_network("mail"))


def of_network(what: str) -> list[tuple[str, int, timedelta]]:
    counts = current_app.config["LOGIN_COUNTS_NETWORKS"]
    return [(f"{what} from {network()}", 50, QUARTER)] if counts else []


def network() -> str:
    """Return the client's address, of IPv6 the first half: the rest is up to the client."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:  # of a Unix socket
        return ""
    address = getattr(address, "ipv4_mapped", None) or address
    return str(address if address.version == 4 else ip_network(f"{address}/64", strict=False))


def reserve(*limits: tuple[str, int, timedelta]) -> Reservation:
    """Count an attempt in all limits or in none: of what, how many, in which time. Commits."""
    time = now()
    # Sorted, so that no two requests wait for each other.
    hashes = sorted(
        (sha256(what.encode()).hexdigest(), most, period) for what, most, period in limits
    )
    rows = [
        {"key": key, "remaining": most - 1, "until": time + period} for key, most, period in hashes
    ]
    is_over = Attempts.until <= time
    insert = INSERT[db.engine.dialect.name](Attempts).values(rows)
    remaining = sa.case((is_over, insert.excluded.remaining), else_=Attempts.remaining - 1)
    until = sa.case((is_over, insert.excluded.until), else_=Attempts.until)
    upsert = insert.on_conflict_do_update(
        index_elements=[Attempts.key],
        set_={"remaining": remaining, "until": until},
        where=is_over | (Attempts.remaining > 0),
    )
    counted = db.session.execute(upsert.returning(Attempts.key, Attempts.until)).all()
    if len(counted) == len(rows):
        db.session.commit()
        return sorted((key, until) for key, until in counted)
    db.session.rollback()
    used_up = Attempts.key.in_([row["key"] for row in rows]) & (Attempts.remaining == 0)
    end = db.session.scalar(sa.select(sa.func.max(Attempts.until)).where(used_up)) or time
    seconds = max(1, round((end - time).total_seconds()))
    raise TooManyRequests("Too many attempts. Try again later.", retry_after=seconds)


def undo(reservation: Reservation) -> None:
    """Take back an attempt that was a log-in. The caller commits."""
    for key, until in reservation:
        same = (Attempts.key == key) & (Attempts.until == until)
        more = sa.update(Attempts).where(same).values(remaining=Attempts.remaining + 1)
        db.session.execute(more)
