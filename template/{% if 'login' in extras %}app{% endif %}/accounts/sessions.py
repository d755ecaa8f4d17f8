"""Sessions are rows: a page has its cookie, an app or a script a bearer token."""

from collections.abc import Callable
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
from app.typed_views import secured

View = Callable[..., Any]
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
        g.secret = current()
        g.user = g.secret.user
        if admin and not g.user.is_admin:
            raise Forbidden("Only an admin may do this.")
        return view(**arguments)

    return secured(guarded, "cookie", "token")


def current() -> Secret:
    """Return the session of the request. Raises Unauthorized."""
    secret = find(*shown())
    if secret is None or secret.user is None or secret.user.is_disabled:
        raise Unauthorized("Log in first.", www_authenticate=BEARER)
    if secret.used_at < now() - timedelta(minutes=1):
        used = {"used_at": now(), "ends_at": end_of(secret.carrier, secret.created_at)}
        db.session.execute(sa.update(Secret).where(Secret.id == secret.id).values(used))
        db.session.commit()
    return secret


def shown() -> tuple[str, str]:
    """Return the carrier of the request's secret, and the secret, empty if there is none."""
    given = request.authorization
    if given and given.type == "bearer":
        return "token", given.token or ""
    # Where any page may send requests, a cookie does not say who does.
    return "cookie", "" if request.environ.get("cors.is_public") else cookie("cookie")


def cookie(carrier: str) -> str:
    """Return a cookie, empty if there are two: a subdomain may have planted one."""
    values = request.cookies.getlist(cookie_name(carrier))
    return values[0] if len(values) == 1 else ""


def cookie_name(carrier: str) -> str:
    return ("__Host-" if current_app.config["SESSION_COOKIE_SECURE"] else "") + COOKIES[carrier]


def set_cookie(carrier: str, value: str, days: int = 365) -> None:
    """Set a cookie with the answer; the row ends before. 0 days delete one of these attributes."""
    attributes = ("secure", "samesite", "partitioned")
    options = {it: current_app.config[f"SESSION_COOKIE_{it.upper()}"] for it in attributes}
    options |= {"key": cookie_name(carrier), "value": value, "max_age": timedelta(days)}

    @after_this_request
    def add(response: Response) -> Response:
        response.set_cookie(httponly=True, **options)
        return response


def digest(secret: str) -> str:
    return sha256(secret.encode(errors="replace")).hexdigest()


def find(carrier: str, secret: str) -> Secret | None:
    """Return the row of a secret, None if it is another carrier's or has ended."""
    same = (Secret.hash == digest(secret), Secret.carrier == carrier, Secret.ends_at > now())
    return db.session.scalar(sa.select(Secret).where(*same))


def end_of(carrier: str, created_at: datetime) -> datetime:
    """Return when a secret ends that is used now."""
    idle, most = (timedelta(current_app.config[f"LOGIN_{of}DAYS"]) for of in ("IDLE_", ""))
    ends = {"device": now() + timedelta(days=365), "mail": created_at + timedelta(minutes=30)}
    return ends.get(carrier) or min(now() + idle, created_at + most)


def issue(carrier: str, account: Account | None, name: str) -> str:
    """Return a new secret. The caller commits."""
    secret, owner = token_urlsafe(32), account and account.id
    row = Secret(carrier=carrier, account_id=owner, hash=digest(secret), name=name)
    row.ends_at = end_of(carrier, now())
    db.session.add(row)
    return secret


def check(email: str, password: SecretStr) -> Account:
    """Return the account of an address and a password. The caller commits.

    Raises Unauthorized, TooManyRequests, ServiceUnavailable.
    """
    device = find("device", cookie("device"))
    is_known = device and device.user and device.user.email == email
    attempt = limits.reserve(limits.of_log_in(email, device.id if device and is_known else None))
    account = db.session.scalar(sa.select(Account).where(Account.email == email))
    stored = account.password if account else None
    if passwords.matches(stored, password) and account:
        is_old = passwords.hasher.check_needs_rehash(account.password)
        new = passwords.hashed(password) if is_old else stored
        # By now, the password may be another, or the account disabled.
        if update(account, new, Account.password == stored):
            limits.undo(attempt)
            return account
    raise Unauthorized("The email or the password is wrong.", www_authenticate=BEARER)


def update(account: Account, new: str | None, *same: sa.ColumnElement[bool]) -> bool:
    """Set the hash of an account's password, unless it is disabled or not the same."""
    enabled = (Account.id == account.id, ~Account.is_disabled, *same)
    changed = sa.update(Account).where(*enabled).values(password=new).returning(Account.id)
    return db.session.scalar(changed) is not None


def let_in(account: Account, *carriers: str) -> None:
    """Give the browser new cookies, in place of those that it had."""
    for carrier in carriers:
        end(Secret.hash == digest(cookie(carrier)))
        set_cookie(carrier, issue(carrier, account, request.user_agent.string[:100]))
    db.session.commit()
    if randbelow(100) == 0:
        clean()


def end(*which: sa.ColumnElement[bool]) -> None:
    """End sessions, and all else that is a secret. The caller commits."""
    db.session.execute(sa.delete(Secret).where(*which))


def log_out(*which: sa.ColumnElement[bool]) -> None:
    """End these, or else the session of the request, and take its cookie away."""
    carrier, secret = shown()
    end(*which or (Secret.hash == digest(secret), Secret.carrier == carrier))
    db.session.commit()
    set_cookie("cookie", "", days=0)


def of(account: Account) -> list[sa.ColumnElement[bool]]:
    carriers = Secret.carrier.in_(["cookie", "token"])
    return [Secret.account_id == account.id, carriers, Secret.ends_at > now()]


def refuse_pages() -> None:
    """Raise Forbidden for a page that is not an app's: a script in it could read a token."""
    origin = request.headers.get("Origin", "")
    if origin.startswith(("http:", "https:", "null")) and origin not in APPS:
        raise Forbidden("Log in with POST /api/session: no script can read its cookie.")


def clean() -> None:
    """Remove what has ended."""
    end(Secret.ends_at <= now())
    over = sa.select(Attempts.key).where(Attempts.until <= now()).with_for_update(skip_locked=True)
    db.session.execute(sa.delete(Attempts).where(Attempts.key.in_(over)))
    db.session.commit()
