"""`flask users`: accounts from the command line."""

import sys

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
@option("--admin", "is_admin", is_flag=True)
def add(email: str, is_admin: bool) -> None:
    """Make an account. Its password is typed, or comes from standard input."""
    try:
        email = TypeAdapter(Email).validate_python(email)
        db.session.add(Account(email=email, password=read_password(), is_admin=is_admin))
        db.session.commit()
    except ValueError:
        raise ClickException("write an address, such as ada@example.com") from None
    except sa.exc.IntegrityError:
        raise ClickException("write another address: this one has an account") from None


@users.command()
@argument("email")
def reset(email: str) -> None:
    """Set another password, end all sessions, and enable the account."""
    change(email, read_password())


@users.command()
@argument("email")
def disable(email: str) -> None:
    """Let nobody log in, and end all sessions."""
    change(email, "")


@users.command("list")
def show() -> None:
    """List the accounts."""
    for account in db.session.scalars(sa.select(Account).order_by(Account.email)):
        marks = "\tadmin" * account.is_admin + "\tdisabled" * (not account.password)
        echo(f"{account.email}\t{account.created_at:%Y-%m-%d}{marks}")


users.command(help="Remove the sessions, links and attempts that have ended.")(sessions.clean)


def read_password() -> str:
    """Return the hash of a password."""
    is_typed = sys.stdin.isatty()
    text = prompt("Password", hide_input=True, confirmation_prompt=True) if is_typed else input()
    try:
        return passwords.hashed(passwords.choose(SecretStr(text)))
    except ValueError as error:
        raise ClickException(str(error)) from None


def change(email: str, password: str) -> None:
    changed = sa.update(Account).where(Account.email == email.casefold()).values(password=password)
    account_id = db.session.scalar(changed.returning(Account.id))
    if account_id is None:
        raise ClickException("write the address of an account: `flask users list` has them")
    sessions.end(Secret.account_id == account_id)
