"""What accounts can do, `/api/session` first. It is yours; app/accounts keeps the rules."""

from datetime import datetime

import sqlalchemy as sa
from flask import Blueprint, abort, g
from pydantic import BaseModel, Field, SecretStr

from app.accounts import links, passwords, sessions
from app.accounts.models import Email, Secret
from app.accounts.passwords import NewPassword
from app.accounts.sessions import login_required
from app.sqldb import db
from app.typed_views import Input, gives

bp = Blueprint("accounts", __name__, url_prefix="/api")
sign_up = Blueprint("sign_up", __name__, url_prefix="/api/users")
by_mail = Blueprint("by_mail", __name__, url_prefix="/api/password-resets")


class Address(Input):
    email: Email = Field(repr=False)


class Credentials(Address):
    password: SecretStr


class NewToken(Credentials):
    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")


class Confirmation(Input):
    password: SecretStr


class PasswordChange(Input):
    old_password: SecretStr
    new_password: NewPassword


class PasswordReset(Input):
    token: SecretStr
    password: NewPassword


class User(BaseModel, from_attributes=True):
    id: int
    email: str
    is_admin: bool


class Session(BaseModel, from_attributes=True):
    id: int
    carrier: str
    name: str
    created_at: datetime
    used_at: datetime


class Login(BaseModel):
    user: User
    session: Session


class Token(BaseModel):
    token: str


@bp.post("/session")
@gives(201)
def log_in(json: Credentials) -> User:
    account = sessions.check(json.email, json.password)
    sessions.let_in(account, "cookie", "device")
    return User.model_validate(account)


@bp.get("/session")
@login_required
@gives()
def read() -> Login:
    return Login(user=User.model_validate(g.user), session=Session.model_validate(g.secret))


@bp.delete("/session")
@gives(204)
def log_out() -> None:
    sessions.log_out()


@bp.get("/sessions")
@login_required
@gives()
def index() -> list[Session]:
    mine = sa.select(Secret).where(*sessions.of(g.user)).order_by(Secret.id)
    return [Session.model_validate(session) for session in db.session.scalars(mine)]


@bp.delete("/sessions/<int:session_id>")
@login_required
@gives(204)
def end(session_id: int) -> None:
    mine = sa.delete(Secret).where(*sessions.of(g.user), Secret.id == session_id)
    db.session.scalar(mine.returning(Secret.id)) or abort(404)
    db.session.commit()


@bp.post("/tokens")
@gives(201)
def create_token(json: NewToken) -> tuple[Token, dict[str, str]]:
    sessions.refuse_pages()
    account = sessions.check(json.email, json.password)
    token = sessions.issue("token", account, json.name)
    db.session.commit()
    return Token(token=token), {"Cache-Control": "no-store"}


@bp.put("/me/password")
@login_required
@gives(204)
def change_password(json: PasswordChange) -> None:
    account = sessions.check(g.user.email, json.old_password)
    sessions.update(account, passwords.hashed(json.new_password))
    sessions.end(Secret.account_id == account.id, Secret.id != g.secret.id)
    db.session.commit()


@bp.put("/me/email")
@login_required
@gives(204)
def change_email(json: Credentials) -> None:
    account = sessions.check(g.user.email, json.password)
    account.email = json.email
    db.session.flush()  # 409 if it is taken
    sessions.log_out(Secret.account_id == account.id)


@bp.delete("/me")
@login_required
@gives(204)
def delete(json: Confirmation) -> None:
    account = sessions.check(g.user.email, json.password)
    db.session.delete(account)
    sessions.log_out(Secret.account_id == account.id)


@sign_up.post("")
@gives(202)
def ask_for_account(json: Address) -> None:
    links.ask(json.email, "new")


@by_mail.post("")
@gives(202)
def ask_for_reset(json: Address) -> None:
    links.ask(json.email, "reset")


@by_mail.put("")
@gives(204)
def reset(json: PasswordReset) -> None:
    account = links.redeem(json.token.get_secret_value(), json.password)
    sessions.let_in(account, "device")
