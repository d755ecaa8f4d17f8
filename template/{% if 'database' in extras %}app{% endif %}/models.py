"""The tables. After a change here: `flask db revision "What it does"`, then `flask db upgrade`."""

from sqlalchemy import MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Model(DeclarativeBase):
    # Migrations need a name for each constraint, the same on every database.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Item(Model):
    __tablename__ = "items"
    __table_args__ = {"sqlite_autoincrement": True}  # the id of a deleted item never comes back

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    quantity: Mapped[int]
    version: Mapped[int] = mapped_column()

    # Each UPDATE and DELETE names the version that was read. If another request was faster, none
    # matches, and SQLAlchemy raises StaleDataError.
    __mapper_args__ = {"version_id_col": version}
