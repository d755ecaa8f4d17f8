"""Links that set a password: mailed after the answer, so that no wait tells who has an account."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import sqlalchemy as sa
from flask import Response, after_this_request, copy_current_request_context, current_app
from pydantic import SecretStr
from werkzeug.exceptions import TooManyRequests

from app import account_mail
from app.accounts import limits, passwords, sessions
from app.accounts.models import Account, Secret
from app.sqldb import db
from app.typed_views import problem

queue = ThreadPoolExecutor(1)


def ask(email: str, kind: str) -> None:
    """Mail a link: to an account for a `reset`, to nobody yet for a `new` one."""
    with suppress(TooManyRequests):
        limits.reserve("mail", email)
        mail = partial(copy_current_request_context(send), email, kind)

        @after_this_request
        def enqueue(response: Response) -> Response:
            if queue._work_queue.qsize() < 100:
                response.call_on_close(partial(queue.submit, mail))
            else:
                current_app.logger.error("A mail is dropped: 100 are waiting.")
            return response


def send(email: str, kind: str) -> None:
    try:
        account = db.session.scalar(sa.select(Account).where(Account.email == email))
        if not (account.password if account else kind == "new"):
            return
        subject, text = account_mail.TEXTS["exists" if account and kind == "new" else kind]
        if "{link}" in text:
            secret = sessions.issue("mail", account, email)
            text = text.format(link=f"{current_app.config['PASSWORD_PAGE']}#{secret}")
        account_mail.send_mail(email, subject, text)
    except Exception as error:  # noqa: BLE001  # its text may have the address
        current_app.logger.error("A mail is not sent: %s", type(error).__name__)


def redeem(secret: str, password: SecretStr) -> Account:
    """Set the password of a link's account, or make the account: once. Commits."""
    found = sessions.find("mail", secret)
    if found and (found.user is None or found.user.password):
        new = passwords.hashed(password)
        once = sa.delete(Secret).where(Secret.id == found.id).returning(Secret.id)
        if db.session.scalar(once):
            account = found.user or Account(email=found.name)
            account.password = new
            db.session.add(account)
            db.session.flush()
            sessions.end(Secret.account_id == account.id)
            return account
    raise problem(422, "Ask for a new link.", ("/token", "is wrong, used, or too old"))
