"""Links that set a password: mailed after the answer, so that no wait tells who has an account."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cache
from threading import BoundedSemaphore

import sqlalchemy as sa
from flask import Flask, current_app
from pydantic import SecretStr
from werkzeug.exceptions import TooManyRequests

from app import account_mail
from app.accounts import limits, passwords, sessions
from app.accounts.models import Account, Secret
from app.sqldb import db
from app.typed_views import problem

places = BoundedSemaphore(100)
queue = cache(lambda: ThreadPoolExecutor(1))  # of the worker that uses it


def ask(email: str, kind: str) -> None:
    """Mail a link: to an account for a `reset`, to nobody yet for a `new` one."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    with suppress(TooManyRequests):
        limits.reserve({f"mail {email}": 3, **limits.of_network("mail")}, timedelta(hours=1))
        if places.acquire(blocking=False):
            queue().submit(send, app, email, kind)
        else:
            app.logger.error("A mail is dropped: 100 are waiting.")


def send(app: Flask, email: str, kind: str) -> None:
    try:
        with app.app_context():
            account = db.session.scalar(sa.select(Account).where(Account.email == email))
            if account.is_disabled if account else kind == "reset":
                return
            subject, text = account_mail.TEXTS["exists" if account and kind == "new" else kind]
            if "{link}" in text:
                secret = sessions.issue("mail", account, email)
                text = text.format(link=f"{app.config['PASSWORD_PAGE']}#{secret}")
            db.session.commit()
            account_mail.send_mail(email, subject, text)
    except Exception as error:  # noqa: BLE001  # its text may have the address
        app.logger.error("A mail is not sent: %s", type(error).__name__)
    finally:
        places.release()


def redeem(secret: str, password: SecretStr) -> Account:
    """Set the password of a link's account, or make the account: once. The caller commits."""
    if found := sessions.find("mail", secret):
        new = passwords.hashed(password)
        once = sa.delete(Secret).where(Secret.id == found.id).returning(Secret.id)
        account = found.user or Account(email=found.name, password=new)
        if db.session.scalar(once):
            db.session.add(account)
            db.session.flush()
            if sessions.update(account, new):
                sessions.end(Secret.account_id == account.id)
                return account
    raise problem(
        422, "Ask for a new link.", ("/token", "is wrong, used, or older than 30 minutes")
    )
