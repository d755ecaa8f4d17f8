"""Sessions are rows: a page has its cookie, an app or a script a bearer token."""

from collections.abc import Callable
from datetime import timedelta
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

# The pages of apps: another page may not have a token, which a script in it could read.
APPS = ("http://localhost", "https://localhost", "http://tauri.localhost")

unguarded: set[View] = set()  # what login_required was given


def login_required(view: View | None = None, /, *, admin: bool = False) -> View:
    """Answer 401 unless one is logged in: `g.user` is the account.

    Write it, or `@login_required(admin=True)`, below the route and above `@gives`.
    """
    if view is None:
        return partial(login_required, admin=admin)
    unguarded.add(view)

    @wraps(view)
    def guarded(**arguments: Any) -> Any:
        if (secret := current()) is None:
            raise unauthorized("Log in first.")
        g.secret, g.user = secret, secret.account
        if admin and not g.user.is_admin:
            raise Forbidden("Only an admin may do this.")
        return view(**arguments)

    return secured(guarded, "cookie", "token")


def unauthorized(why: str) -> Unauthorized:
    return Unauthorized(why, www_authenticate=WWWAuthenticate("bearer"))


def current() -> Secret | None:
    """Return the session of the request, None if there is none, or it has ended."""
    secret = find(*shown())
    if secret is None or secret.account is None or secret.account.is_disabled:
        return None
    if secret.used_at < now() - timedelta(minutes=1):
        idle, most = (timedelta(current_app.config[f"LOGIN_{of}DAYS"]) for of in ("IDLE_", ""))
        used = {"used_at": now(), "ends_at": min(now() + idle, secret.created_at + most)}
        db.session.execute(sa.update(Secret).where(Secret.id == secret.id).values(used))
        db.session.commit()
    return secret


def shown() -> tuple[str, str]:
    """Return the carrier of the request's secret, and the secret, empty if there is none."""
    given = request.authorization
    if given and given.type == "bearer":
        return "token", given.token or ""
    # Where any page may send requests, a cookie does not say who does.
    return "cookie", "" if request.environ.get("cors.is_public") else cookie("login")


def cookie(name: str) -> str:
    """Return a cookie's value, empty if there are two: a subdomain may have planted one."""
    values = request.cookies.getlist(cookie_name(name))
    return values[0] if len(values) == 1 else ""


def cookie_name(name: str) -> str:
    return f"__Host-{name}" if current_app.config["SESSION_COOKIE_SECURE"] else name


def set_cookie(name: str, value: str, lifetime: timedelta) -> None:
    """Set a cookie with the answer. Browsers delete it only with the same attributes."""
    attributes = ("secure", "samesite", "partitioned")
    options = {it: current_app.config[f"SESSION_COOKIE_{it.upper()}"] for it in attributes}
    name = cookie_name(name)

    @after_this_request
    def add(response: Response) -> Response:
        response.set_cookie(name, value, lifetime, httponly=True, **options)
        return response


def digest(secret: str) -> str:
    return sha256(secret.encode(errors="replace")).hexdigest()


def find(carrier: str, secret: str) -> Secret | None:
    """Return the row of a secret that is good for this."""
    same = (Secret.hash == digest(secret), Secret.carrier == carrier, Secret.ends_at > now())
    return db.session.scalar(sa.select(Secret).where(*same))


def issue(carrier: str, account: Account | None, name: str, lifetime: timedelta) -> str:
    """Return a new secret. The caller commits."""
    secret, owner = token_urlsafe(32), account and account.id
    row = Secret(carrier=carrier, account_id=owner, name=name, hash=digest(secret))
    row.ends_at = now() + lifetime
    db.session.add(row)
    return secret


def idle() -> timedelta:
    return timedelta(current_app.config["LOGIN_IDLE_DAYS"])


def check(email: str, password: SecretStr) -> Account:
    """Return the account of an address and a password. The caller commits.

    Raises Unauthorized, TooManyRequests, ServiceUnavailable.
    """
    device = find("device", cookie("device"))
    is_known = device and device.account and device.account.email == email
    reservation = limits.reserve_log_in(email, device.id if device and is_known else None)
    account = db.session.scalar(sa.select(Account).where(Account.email == email))
    stored = account.password if account else None
    matches = passwords.matches(stored, password)
    if account and matches:
        is_old = passwords.hasher.check_needs_rehash(account.password)
        values = {"password": passwords.hashed(password) if is_old else stored}
        # By now, somebody may have changed the password or disabled the account.
        same = (Account.id == account.id, Account.password == stored, ~Account.is_disabled)
        update = sa.update(Account).where(*same).values(values).returning(Account.id)
        if db.session.scalar(update):
            limits.undo(reservation)
            return account
    raise unauthorized("The email or the password is wrong.")


def start(account: Account) -> None:
    """Give a browser a new session, in place of the one that it had."""
    end(Secret.hash == digest(cookie("login")))
    secret = issue("cookie", account, request.user_agent.string[:100], idle())
    set_cookie("login", secret, timedelta(current_app.config["LOGIN_DAYS"]))
    remember(account)
    if randbelow(100) == 0:
        clean()


def remember(account: Account) -> None:
    """Count the attempts of this browser by themselves from now on."""
    end(Secret.hash == digest(cookie("device")))
    year = timedelta(days=365)
    set_cookie("device", issue("device", account, "", year), year)
    db.session.commit()


def end(*which: sa.ColumnElement[bool]) -> None:
    db.session.execute(sa.delete(Secret).where(*which))


def end_current() -> None:
    carrier, secret = shown()
    end(Secret.hash == digest(secret), Secret.carrier == carrier)
    forget()


def forget() -> None:
    """Commit, and take the cookie away."""
    db.session.commit()
    set_cookie("login", "", timedelta(0))


def of(account: Account) -> list[sa.ColumnElement[bool]]:
    carriers = Secret.carrier.in_(["cookie", "token"])
    return [Secret.account_id == account.id, carriers, Secret.ends_at > now()]


def refuse_pages() -> None:
    """Raise Forbidden for a page that is not an app's."""
    origin = request.headers.get("Origin", "")
    if origin.startswith(("http:", "https:", "null")) and origin not in APPS:
        raise Forbidden("Log in with POST /api/session: no script can read its cookie.")


def set_password(account: Account, new: str, but: int = 0) -> bool:
    """Set a hash, unless the account is disabled, and end all that let it in, but for one."""
    same = (Account.id == account.id, ~Account.is_disabled)
    update = sa.update(Account).where(*same).values(password=new).returning(Account.id)
    is_set = db.session.scalar(update) is not None
    # Now no log-in with the old one can make another.
    end(Secret.account_id == account.id, Secret.id != but)
    return is_set


def clean() -> None:
    """Remove what has ended."""
    end(Secret.ends_at <= now())
    over = sa.select(Attempts.key).where(Attempts.until <= now()).with_for_update(skip_locked=True)
    db.session.execute(sa.delete(Attempts).where(Attempts.key.in_(over)))
    db.session.commit()
