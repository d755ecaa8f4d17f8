"""How often one may guess: exact over all workers, because the database counts."""

import hmac
from ipaddress import ip_address, ip_network

import sqlalchemy as sa
from flask import current_app, request
from sqlalchemy.dialects import postgresql, sqlite
from werkzeug.exceptions import TooManyRequests

from app.accounts.models import Attempts, now
from app.sqldb import db

# In how many seconds attempts are forgotten, and of what there may be how many at once.
LIMITS = {
    "log in": (900, {"{who} {network}": 10, "{who}": 100, "{network}": 50}),
    # A browser that has logged in before is counted by itself (OWASP's device cookies): nobody can
    # lock an owner out.
    "log in again": (900, {"{who}": 10}),
    "mail": (3 * 3600, {"{who}": 3, "{network}": 50}),
}


def reserve(act: str, who: str | int) -> dict[str, int]:
    """Count an attempt against each limit of an act, or against none. Returns what `undo` takes.

    These are leaky buckets (GCRA): a row has the time when all of its attempts are forgotten.
    Raises TooManyRequests.
    """
    (period, limits), time, counted = LIMITS[act], now().timestamp(), {}
    # No address is stored, and where there is a SECRET_KEY, nobody without it can try one.
    secret = str(current_app.secret_key).encode()
    for what, most in limits.items():
        if what != "{network}" or current_app.config["LOGIN_COUNTS_NETWORKS"]:
            key = f"{act} {what.format(who=who, network=network())}"
            counted[hmac.digest(secret, key.encode(), "sha256").hex()] = period // most
    counted = dict(sorted(counted.items()))  # in one order, no two requests wait for each other
    rows = [{"key": key, "until": time + seconds} for key, seconds in counted.items()]
    dialect = sqlite if db.engine.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(Attempts).values(rows)
    old, new = Attempts.until, insert.excluded.until
    later = sa.case((old > time, old + (new - time)), else_=new)
    upsert = insert.on_conflict_do_update(
        index_elements=["key"], set_={"until": later}, where=later <= time + period
    )
    done = db.session.scalars(upsert.returning(Attempts.key)).all()
    if used_up := counted.keys() - done:
        db.session.rollback()
        wait = max(counted[key] for key in used_up)
        raise TooManyRequests("Too many attempts. Try again later.", retry_after=wait)
    db.session.commit()
    return counted


def undo(attempt: dict[str, int]) -> None:
    """Take back an attempt that was none. The caller commits."""
    for key, seconds in attempt.items():
        less = {"until": Attempts.until - seconds}
        db.session.execute(sa.update(Attempts).where(Attempts.key == key).values(less))


def network() -> str:
    """Return the client's address, of IPv6 the /64, all of which it has."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:  # it is a Unix socket's, or a proxy adds a port
        return request.remote_addr or ""
    address = getattr(address, "ipv4_mapped", None) or address
    return str(ip_network(f"{address}/{min(address.max_prefixlen, 64)}", strict=False))
