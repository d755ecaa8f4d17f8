"""Sessions are rows: a page has its cookie, an app or a script a bearer token."""

from datetime import datetime, timedelta
from functools import partial, wraps
from hashlib import sha256
from secrets import randbelow, token_urlsafe
from typing import Any

import sqlalchemy as sa
from flask import Response, after_this_request, current_app, g, request
from pydantic import SecretStr
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from app.accounts import limits, passwords
from app.accounts.models import Account, Attempts, Secret, now
from app.sqldb import db
from app.typed_views import View, secured

unguarded: set[View] = set()  # what login_required was given

BEARER = WWWAuthenticate("bearer")
COOKIES = {"cookie": "login", "device": "device"}
APPS = ("http://localhost", "https://localhost", "http://tauri.localhost")


def login_required(view: View | None = None, /, *, admin: bool = False) -> View:
    """Answer 401 unless one is logged in: `g.user` is the account.

    Write it, or `@login_required(admin=True)`, below the route and above `@gives`.
    """
    if view is None:
        return partial(login_required, admin=admin)
    unguarded.add(view)

    @wraps(view)
    def guarded(**arguments: Any) -> Any:
        g.secret = find(*shown())
        if g.secret is None:
            raise Unauthorized("Log in first.", www_authenticate=BEARER)
        if g.secret.used_at < now() - timedelta(minutes=1):
            used = {"used_at": now(), "ends_at": end_of(g.secret.carrier, g.secret.created_at)}
            db.session.execute(sa.update(Secret).where(Secret.id == g.secret.id).values(used))
            db.session.commit()
        g.user = g.secret.user
        if admin and not g.user.is_admin:
            raise Forbidden("Only an admin may do this.")
        return view(**arguments)

    return secured(guarded, "cookie", "token")


def shown() -> tuple[str, str]:
    """Return the carrier of the request's session, and its secret, empty if there is none."""
    given = request.authorization
    if given and given.type == "bearer":
        return "token", given.token or ""
    return "cookie", cookie("cookie")


def cookie(carrier: str) -> str:
    """Return a cookie, empty if there are two: a subdomain may have planted one."""
    values = request.cookies.getlist(cookie_name(carrier))
    # Where any page may send requests, a cookie does not say who does.
    return values[0] if len(values) == 1 and not request.environ.get("cors.is_public") else ""


def cookie_name(carrier: str) -> str:
    return ("__Host-" if current_app.config["SESSION_COOKIE_SECURE"] else "") + COOKIES[carrier]


def set_cookie(carrier: str, value: str, days: int = 365) -> None:
    """Set a cookie with the answer; the row ends before. 0 days delete one of these attributes."""
    attributes = ("secure", "samesite", "partitioned")
    options = {it: current_app.config[f"SESSION_COOKIE_{it.upper()}"] for it in attributes}

    @after_this_request
    def add(response: Response) -> Response:
        response.set_cookie(cookie_name(carrier), value, timedelta(days), httponly=True, **options)
        return response


def digest(carrier: str, secret: str) -> str:
    return sha256(f"{carrier} {secret}".encode(errors="replace")).hexdigest()


def find(carrier: str, secret: str) -> Secret | None:
    """Return the row of a secret, None if it has ended."""
    alive = (Secret.hash == digest(carrier, secret), Secret.ends_at > now())
    return db.session.scalar(sa.select(Secret).where(*alive))


def end_of(carrier: str, created_at: datetime) -> datetime:
    """Return when a secret ends that is used now."""
    idle, most = (timedelta(current_app.config[f"LOGIN_{of}DAYS"]) for of in ("IDLE_", ""))
    ends = {"device": now() + timedelta(365), "mail": now() + timedelta(minutes=30)}
    return ends.get(carrier) or min(now() + idle, created_at + most)


def issue(carrier: str, account: Account | None, name: str) -> str:
    """Store a new secret, and return it. Commits."""
    secret = token_urlsafe(32)
    row = Secret(carrier=carrier, user=account, hash=digest(carrier, secret), name=name)
    row.ends_at = end_of(carrier, now())
    db.session.add(row)
    db.session.commit()
    return secret


def check(email: str, password: SecretStr, new: SecretStr | None = None) -> Account:
    """Return whose password this is, and set a new one, if there is one. The caller commits.

    Raises Unauthorized, TooManyRequests, ServiceUnavailable.
    """
    account = db.session.scalar(sa.select(Account).where(Account.email == email))
    device = find("device", cookie("device"))
    known = device.id if device and device.user is account else None
    attempt = limits.reserve("log in again", known) if known else limits.reserve("log in", email)
    stored = account.password if account else ""
    if passwords.matches(stored, password) and account:
        is_old = passwords.hasher.check_needs_rehash(stored)
        changed = passwords.hashed(new or password) if new or is_old else stored
        same = (Account.id == account.id, Account.password == stored)  # by now, it may be another
        update = sa.update(Account).where(*same).values(password=changed)
        if db.session.scalar(update.returning(Account.id)):
            limits.undo(attempt)
            return account
    raise Unauthorized("The email or the password is wrong.", www_authenticate=BEARER)


def let_in(account: Account, *carriers: str) -> None:
    """Give the browser new cookies, in place of those that it had."""
    end(Secret.hash.in_([digest(carrier, cookie(carrier)) for carrier in carriers]))
    for carrier in carriers:
        set_cookie(carrier, issue(carrier, account, request.user_agent.string[:100]))
    if randbelow(100) == 0:
        clean()


def end(*which: sa.ColumnElement[bool]) -> None:
    """End sessions, and all else that is a secret. Commits."""
    db.session.execute(sa.delete(Secret).where(*which))
    db.session.commit()


def log_out(*which: sa.ColumnElement[bool]) -> None:
    """End these, or else the session of the request, and take its cookie away."""
    end(*which or [Secret.hash == digest(*shown())])
    set_cookie("cookie", "", days=0)


def of(account: Account) -> sa.Select[Any]:
    alive = (Secret.account_id == account.id, Secret.ends_at > now())
    carriers = Secret.carrier.in_(["cookie", "token"])
    return sa.select(Secret).where(carriers, *alive).order_by(Secret.id)


def refuse_pages() -> None:
    """Raise Forbidden for a page that is not an app's: a script in it could read a token."""
    origin = request.headers.get("Origin", "")
    if origin.startswith(("http:", "https:", "null")) and origin not in APPS:
        raise Forbidden("Log in with POST /api/session: no script can read its cookie.")


def clean() -> None:
    """Remove what has ended."""
    end(Secret.ends_at <= now())
    over = sa.select(Attempts.key).where(Attempts.until <= now().timestamp())
    mine = over.with_for_update(skip_locked=True)
    db.session.execute(sa.delete(Attempts).where(Attempts.key.in_(mine)))
    db.session.commit()
