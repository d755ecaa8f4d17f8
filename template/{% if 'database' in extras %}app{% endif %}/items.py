"""The sample resource, `/api/items`. Replace it by your own."""

from datetime import datetime
from typing import Annotated

from flask import Blueprint, url_for
from pydantic import BaseModel, Field
from sqlalchemy import select

from app import models
from app.sqldb import db
from app.typed_views import Input, gives

bp = Blueprint("items", __name__, url_prefix="/api/items", cli_group=None)

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # PostgreSQL stores no null characters


class NewItem(Input):  # what a client writes
    name: Text = Field(min_length=1, max_length=200, examples=["Pencil"])
    description: Text | None = Field(default=None, max_length=2000)
    quantity: int = Field(default=0, ge=0, le=1_000_000)


class ItemPatch(NewItem):  # what it changes: a field that is not there stays as it is
    name: Text = Field(default_factory=str, min_length=1, max_length=200)


class Item(BaseModel, from_attributes=True):  # what it reads
    id: int
    name: str
    description: str | None
    quantity: int
    created_at: datetime


class Page(Input):
    """Which items: at most `limit` of them, after the one with the id `after`."""

    limit: int = Field(default=20, ge=1, le=100)
    after: int = Field(default=0, ge=0, le=2**31 - 1)


@bp.get("")
@gives()
def index(query: Page) -> tuple[list[Item], dict[str, str]]:
    """List items, oldest first, page by page."""
    after = select(models.Item).where(models.Item.id > query.after).order_by(models.Item.id)
    found = db.session.scalars(after.limit(query.limit + 1)).all()
    page = [Item.model_validate(item) for item in found[: query.limit]]
    if len(found) <= query.limit:
        return page, {}
    following = url_for(".index", limit=query.limit, after=page[-1].id)
    return page, {"Link": f'<{following}>; rel="next"'}


@bp.post("")
@gives(201)
def create(json: NewItem) -> tuple[Item, dict[str, str]]:
    """Create an item."""
    item = models.Item(**json.model_dump())
    db.session.add(item)
    db.session.commit()
    return Item.model_validate(item), {"Location": url_for(".read", item_id=item.id)}


@bp.get("/<int:item_id>")
@gives()
def read(item_id: int) -> Item:
    """Read an item."""
    return Item.model_validate(db.get_or_abort(models.Item, item_id))


@bp.patch("/<int:item_id>")
@gives()
def patch(item_id: int, json: ItemPatch) -> Item:
    """Change some fields of an item."""
    item = db.get_or_abort(models.Item, item_id)
    for name, value in json.model_dump(exclude_unset=True).items():
        setattr(item, name, value)
    db.session.commit()
    return Item.model_validate(item)


@bp.delete("/<int:item_id>")
@gives(204)
def delete(item_id: int) -> None:
    """Delete an item."""
    db.session.delete(db.get_or_abort(models.Item, item_id))
    db.session.commit()


@bp.cli.command("seed")
def seed() -> None:
    """Store items to develop with."""
    db.session.add_all(models.Item(name=f"Pencil {n}", quantity=n) for n in range(1, 31))
    db.session.commit()
