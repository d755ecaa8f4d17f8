"""The tables. After a change here: `flask db revision "What it does"`, then `flask db upgrade`."""

import enum
from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, Enum, MetaData, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {  # each constraint needs one, the same on every database
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Utc(TypeDecorator[datetime]):  # a time: SQLite forgets its zone, and pages take it for theirs
    impl, cache_ok = DateTime(timezone=True), True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)

    process_result_value = process_bind_param


class Model(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    # An enum of PostgreSQL's own would stay when its table goes.
    type_annotation_map = {datetime: Utc, enum.Enum: Enum(enum.Enum, native_enum=False, length=50)}


class Item(Model):
    __tablename__ = "items"
    __table_args__ = {"sqlite_autoincrement": True}  # the id of a deleted item never comes back
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    quantity: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
