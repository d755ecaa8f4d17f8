"""`/api/items`, in an app that has nothing else of yours: these tests go with the sample."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import errors, items, models

URL = "/api/items"

PENCIL = {"name": "Pencil", "description": "HB", "quantity": 3}

Add = Callable[[models.Item], models.Item]


@pytest.fixture
def app(bare: Flask) -> Flask:
    errors.init_app(bare)
    bare.register_blueprint(items.bp)
    return bare


@pytest.fixture
def pencil(add: Add) -> models.Item:
    return add(models.Item(**PENCIL))


def test_create(client: FlaskClient) -> None:
    created = client.post(URL, json=PENCIL)
    assert created.status_code == 201
    assert created.json is not None
    assert {name: created.json[name] for name in PENCIL} == PENCIL
    assert created.headers["Location"] == f"{URL}/{created.json['id']}"
    assert client.get(created.headers["Location"]).json == created.json


def test_create_with_defaults(client: FlaskClient) -> None:
    created = client.post(URL, json={"name": "Pen"})
    assert created.json is not None
    assert (created.json["description"], created.json["quantity"]) == (None, 0)
    assert created.json["created_at"].endswith("Z")


def test_list_is_read_page_by_page(client: FlaskClient, add: Add) -> None:
    names = [add(models.Item(name=f"Pencil {number}", quantity=0)).name for number in range(5)]
    found, following = [], f"{URL}?limit=2"
    for _ in range(3):
        page = client.get(following)
        found += [item["name"] for item in page.json or []]
        following = page.headers.get("Link", "")[1:].partition(">")[0]
    assert found == names
    assert following == ""


@pytest.mark.parametrize("mimetype", ["application/merge-patch+json", "application/json"])
def test_patch(client: FlaskClient, pencil: models.Item, mimetype: str) -> None:
    """A field that is not there stays as it is, and null removes one."""
    url = f"{URL}/{pencil.id}"
    data = '{"quantity": 4, "description": null}'
    patched = client.patch(url, data=data, content_type=mimetype)
    assert (patched.status_code, patched.json) == (200, client.get(url).json)
    assert patched.json is not None
    assert (patched.json["name"], patched.json["quantity"]) == ("Pencil", 4)
    assert patched.json["description"] is None


def test_delete(client: FlaskClient, pencil: models.Item) -> None:
    deleted = client.delete(f"{URL}/{pencil.id}")
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert client.get(f"{URL}/{pencil.id}").status_code == 404


@pytest.mark.parametrize("item_id", ["0", "999999", "2147483648", "9" * 40, "-1", "a", "%00"])
def test_item_that_is_not_there(client: FlaskClient, item_id: str) -> None:
    response = client.get(f"{URL}/{item_id}")
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "a" * 201}, ["/name"]),
        ({"name": "a\0b"}, ["/name"]),
        ({"name": 1, "quantity": "3"}, ["/name", "/quantity"]),
        ({"name": "a", "quantity": -1}, ["/quantity"]),
        ({"name": "a", "quantity": 2**40}, ["/quantity"]),
    ],
)
def test_faults_are_named(client: FlaskClient, body: Any, pointers: list[str]) -> None:
    response = client.post(URL, json=body)
    assert (response.status_code, response.mimetype) == (422, "application/problem+json")
    assert response.json is not None
    assert [error["pointer"] for error in response.json["errors"]] == pointers
    assert client.get(URL).json == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=1&limit=2", "limt=1", "after=-1"])
def test_faults_of_the_query_are_named(client: FlaskClient, query: str) -> None:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 422
    assert response.json is not None
    pointers = [error["pointer"] for error in response.json["errors"]]
    assert pointers == [f"/{query.partition('=')[0]}"]


def test_seed(app: Flask, client: FlaskClient) -> None:
    assert app.test_cli_runner().invoke(args=["seed"]).exit_code == 0
    assert client.get(URL).json
