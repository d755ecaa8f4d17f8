"""The sample resource, `/api/items`. Replace it by your own."""

from typing import Annotated, Any

from flask import Blueprint, Response, url_for
from pydantic import ConfigDict, Field
from sqlalchemy import select
from werkzeug.exceptions import NotFound

from app import models
from app.contract import Body, Integer, Operation, Query, check_version, read_patched, respond
from app.database import db

bp = Blueprint("items", __name__, url_prefix="/api/items")

MAX_ID = 2**31 - 1  # PostgreSQL's largest integer

ITEM = "/<int:item_id>"
ItemId = Annotated[int, Field(ge=1, le=MAX_ID)]

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # PostgreSQL stores no null characters


class NewItem(Body):
    """What a client writes."""

    name: Text = Field(min_length=1, max_length=200, examples=["Pencil"])
    description: Text | None = Field(default=None, max_length=2000)
    quantity: Integer = Field(default=0, ge=0, le=1_000_000)


class Item(NewItem):
    """What it reads."""

    model_config = ConfigDict(extra="ignore", json_schema_serialization_defaults_required=True)

    id: int


class Page(Query):
    """Which items: at most `limit` of them, after the one with the id `after`."""

    limit: int = Field(default=20, ge=1, le=100)
    after: int = Field(default=0, ge=0, le=MAX_ID)


@bp.get("")
@Operation(
    {200: list[Item]},
    query=Page,
    request_headers=("If-None-Match",),
    response_headers=("ETag", "Link"),
)
def index(query: Page) -> Response:
    """List items, oldest first, page by page."""
    after = select(models.Item).where(models.Item.id > query.after).order_by(models.Item.id)
    found = db.session.scalars(after.limit(query.limit + 1)).all()
    page = found[: query.limit]
    response = respond([shown(item) for item in page])
    if len(found) > query.limit:
        following = url_for(".index", limit=query.limit, after=page[-1].id)
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


@bp.post("")
@Operation({201: Item}, body=NewItem, response_headers=("ETag", "Location"))
def create(body: NewItem) -> Response:
    """Create an item."""
    item = models.Item(**body.model_dump())
    db.session.add(item)
    save(item)
    response = respond(shown(item), 201)
    response.location = url_for(".read", item_id=item.id)
    return response


@bp.get(ITEM)
@Operation({200: Item}, request_headers=("If-None-Match",), response_headers=("ETag",))
def read(item_id: ItemId) -> Response:
    """Read an item."""
    return respond(shown(find(item_id)))


@bp.put(ITEM)
@Operation({200: Item}, body=NewItem, request_headers=("If-Match",), response_headers=("ETag",))
def replace(item_id: ItemId, body: NewItem) -> Response:
    """Replace an item."""
    return write(find_unchanged(item_id), body)


@bp.patch(ITEM)
@Operation({200: Item}, patch=NewItem, request_headers=("If-Match",), response_headers=("ETag",))
def patch(item_id: ItemId) -> Response:
    """Change some fields of an item."""
    item = find_unchanged(item_id)
    current = {name: getattr(item, name) for name in NewItem.model_fields}
    return write(item, read_patched(NewItem, current))


@bp.delete(ITEM)
@Operation({204: None}, request_headers=("If-Match",))
def delete(item_id: ItemId) -> Response:
    """Delete an item."""
    db.session.delete(find_unchanged(item_id))
    db.session.commit()
    return Response(status=204)


def find(item_id: int) -> models.Item:
    item = db.session.get(models.Item, item_id) if item_id <= MAX_ID else None
    if item is None:
        raise NotFound("There is no such item.")
    return item


def find_unchanged(item_id: int) -> models.Item:
    """Return an item that is still as the client has seen it, as its If-Match says."""
    item = find(item_id)
    check_version(shown(item))
    return item


def write(item: models.Item, new: NewItem) -> Response:
    for name, value in new:
        setattr(item, name, value)
    save(item)
    return respond(shown(item))


def save(item: models.Item) -> None:
    """Commit, and read what the database has made of it: the ETag is of that."""
    db.session.commit()
    db.session.refresh(item)


def shown(item: models.Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in Item.model_fields}
