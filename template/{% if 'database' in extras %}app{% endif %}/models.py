"""The tables. After a change here: `flask db revision "What it does"`, then `flask db upgrade`."""

import enum
from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, Enum, MetaData, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Utc(TypeDecorator[datetime]):
    """A time in UTC. SQLite alone forgets the zone, and a page takes it for its user's."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)  # a time without a zone is this machine's

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class Model(DeclarativeBase):
    # Migrations need a name for each constraint, the same on every database.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # PostgreSQL would keep a type of its own for each enum when its table is gone.
    type_annotation_map = {enum.Enum: Enum(enum.Enum, native_enum=False, length=50), datetime: Utc}


class Item(Model):
    __tablename__ = "items"
    __table_args__ = {"sqlite_autoincrement": True}  # the id of a deleted item never comes back

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    quantity: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
