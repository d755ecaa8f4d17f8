"""`flask users`: accounts from the command line."""

import sys
from functools import partial

import sqlalchemy as sa
from click import ClickException, argument, echo, option, prompt
from flask.cli import AppGroup
from pydantic import SecretStr, TypeAdapter

from app.accounts import passwords, sessions
from app.accounts.models import Account, Email, Secret
from app.sqldb import db

users = AppGroup("users", help="Add, reset, disable and list accounts.")


@users.command()
@argument("email")
@option("--admin", is_flag=True)
def add(email: str, admin: bool) -> None:
    """Make an account; the password is prompted for, or read from standard input."""
    try:
        email = TypeAdapter(Email).validate_python(email)
    except ValueError:
        raise ClickException("write an address, such as ada@example.com") from None
    if db.session.scalar(sa.select(Account).where(Account.email == email)):
        raise ClickException("write another address, or `flask users reset`: it has an account")
    db.session.add(Account(email=email, password=read_password(), is_admin=admin))
    db.session.commit()


@users.command()
@argument("email")
def reset(email: str) -> None:
    """Set another password, end the sessions, and enable the account."""
    change(email, is_disabled=False, password=read_password())


@users.command()
@argument("email")
def disable(email: str) -> None:
    """Let nobody log in, and end the sessions."""
    change(email, is_disabled=True)


@users.command("list")
def show() -> None:
    """List the accounts."""
    for account in db.session.scalars(sa.select(Account).order_by(Account.email)):
        marks = [mark for mark in ("admin", "disabled") if getattr(account, f"is_{mark}")]
        echo("\t".join([account.email, f"{account.created_at:%Y-%m-%d}", *marks]))


@users.command()
def clean() -> None:
    """Remove sessions, links and counters that have ended."""
    sessions.clean()


def read_password() -> str:
    """Return the hash of a password that is typed, or piped in."""
    is_typed = sys.stdin.isatty()
    ask = partial(prompt, "Password", hide_input=True, confirmation_prompt=True)
    text = ask() if is_typed else sys.stdin.readline().rstrip("\r\n")
    try:
        return passwords.hashed(passwords.choose(SecretStr(text)))
    except ValueError as error:
        raise ClickException(str(error)) from None


def change(email: str, **values: object) -> None:
    update = sa.update(Account).where(Account.email == email.casefold()).values(values)
    account_id = db.session.scalar(update.returning(Account.id))
    if account_id is None:
        raise ClickException("write the address of an account: `flask users list` has them")
    sessions.end(Secret.account_id == account_id)
    db.session.commit()
