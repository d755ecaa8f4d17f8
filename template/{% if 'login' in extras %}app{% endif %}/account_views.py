"""What accounts can do, `/api/session` first. It is yours; app/accounts keeps the rules."""

from datetime import datetime

from flask import Blueprint, g
from pydantic import BaseModel, Field, SecretStr

from app.accounts import links, sessions
from app.accounts.models import Email, Secret
from app.accounts.passwords import NewPassword
from app.accounts.sessions import login_required
from app.sqldb import db
from app.typed_views import Input, gives

bp = Blueprint("accounts", __name__, url_prefix="/api")
by_mail = Blueprint("by_mail", __name__, url_prefix="/api")
sign_up = Blueprint("sign_up", __name__, url_prefix="/api")

PRIVATE = {"Cache-Control": "no-store"}  # as all that has a cookie is by itself


class Address(Input):
    email: Email = Field(repr=False)


class Password(Input):
    password: SecretStr


class Credentials(Address, Password):
    pass


class NewToken(Credentials):
    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")


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
    return Login(user=g.user, session=g.secret)


@bp.delete("/session")
@gives(204)
def log_out() -> None:
    sessions.log_out()


@bp.get("/sessions")
@login_required
@gives()
def index() -> list[Session]:
    return [Session.model_validate(it) for it in db.session.scalars(sessions.of(g.user))]


@bp.delete("/sessions/<int:session_id>")
@login_required
@gives(204)
def end(session_id: int) -> None:
    db.session.delete(db.one_or_abort(sessions.of(g.user).where(Secret.id == session_id)))
    db.session.commit()


@bp.post("/tokens")
@gives(201)
def create_token(json: NewToken) -> tuple[Token, dict[str, str]]:
    sessions.refuse_pages()
    account = sessions.check(json.email, json.password)
    return Token(token=sessions.issue("token", account, json.name)), PRIVATE


@bp.put("/me/password")
@login_required
@gives(204)
def change_password(json: PasswordChange) -> None:
    sessions.check(g.user.email, json.old_password, json.new_password)
    sessions.end(Secret.account_id == g.user.id, Secret.id != g.secret.id)


@bp.put("/me/email")
@login_required
@gives(204)
def change_email(json: Credentials) -> None:
    sessions.check(g.user.email, json.password)
    g.user.email = json.email
    sessions.log_out(Secret.account_id == g.user.id)  # 409 if it is taken


@bp.delete("/me")
@login_required
@gives(204)
def delete(json: Password) -> None:
    sessions.check(g.user.email, json.password)
    db.session.delete(g.user)
    sessions.log_out(Secret.account_id == g.user.id)


@sign_up.post("/users", defaults={"kind": "new"})
@by_mail.post("/password-resets", defaults={"kind": "reset"})
@gives(202)
def ask_for_link(json: Address, kind: str) -> tuple[None, dict[str, str]]:
    links.ask(json.email, kind)
    return None, PRIVATE


@by_mail.put("/password-resets")
@gives(204)
def reset(json: PasswordReset) -> None:
    account = links.redeem(json.token.get_secret_value(), json.password)
    sessions.let_in(account, "device")
