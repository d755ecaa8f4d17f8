"""The tables: accounts, the secrets that let them in, and the attempts to guess a password."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from sqlalchemy import Double, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models import Model

PART = r"[^\s\x00-\x1f\x7f@,;:<>()\"\\]+"  # which ends no line, and adds no recipient to a mail
text = Field(max_length=254, pattern=f"^{PART}@{PART}$")
Email = Annotated[str, text, AfterValidator(str.casefold)]


def now() -> datetime:
    return datetime.now(UTC)


class Account(Model):
    __tablename__ = "accounts"
    __table_args__ = {"sqlite_autoincrement": True}  # the id of a deleted account never comes back
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(762), unique=True)  # casefolded, which may lengthen
    password: Mapped[str] = mapped_column(String(200))  # its hash, empty if it is disabled
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Secret(Model):
    """What lets a client in while the row is there: a `cookie` or a `token` of a session.

    A `device` is a browser that has logged in before. A `mail` is good for one password: that of
    the user, or of a new account with the address in `name`.
    """

    __tablename__ = "account_secrets"
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int | None] = mapped_column(
        ForeignKey(Account.id, ondelete="CASCADE"), index=True
    )
    carrier: Mapped[str] = mapped_column(String(10))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(762))
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime] = mapped_column(default=now)
    ends_at: Mapped[datetime] = mapped_column(index=True)
    user: Mapped[Account | None] = relationship(lazy="joined")


class Attempts(Model):
    __tablename__ = "account_attempts"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)  # the hash of what is limited
    until: Mapped[float] = mapped_column(Double)  # when all are forgotten, since 1970
