"""`/api/items`, in an app that has nothing else of yours: these tests go with the sample."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import errors, items, models

URL = "/api/items"
Add = Callable[[models.Item], models.Item]


@pytest.fixture
def app(bare: Flask) -> Flask:
    errors.init_app(bare)
    bare.register_blueprint(items.bp)
    return bare


def test_create(client: FlaskClient) -> None:
    created = client.post(URL, json={"name": "Pencil", "description": "HB"})
    assert (created.status_code, client.get(created.location).json) == (201, created.json)
    assert created.json is not None
    assert created.json["created_at"].endswith("Z")
    assert (created.json["description"], created.json["quantity"]) == ("HB", 0)


def test_list_is_read_page_by_page(client: FlaskClient, add: Add) -> None:
    names = [add(models.Item(name=f"Pencil {number}", quantity=0)).name for number in range(5)]
    found, following = [], f"{URL}?limit=2"
    for _ in range(3):
        page = client.get(following)
        found += [item["name"] for item in page.json or []]
        following = page.headers.get("Link", "")[1:].partition(">")[0]
    assert (found, following) == (names, "")


@pytest.mark.parametrize("mimetype", ["application/merge-patch+json", "application/json"])
def test_patch(client: FlaskClient, add: Add, mimetype: str) -> None:
    """A field that is not there stays as it is, and null removes one."""
    item = add(models.Item(name="Pencil", description="HB", quantity=3))
    data = '{"quantity": 4, "description": null}'
    patched = client.patch(f"{URL}/{item.id}", data=data, content_type=mimetype)
    assert (patched.status_code, patched.json) == (200, client.get(f"{URL}/{item.id}").json)
    assert patched.json is not None
    assert [patched.json[it] for it in ("name", "description", "quantity")] == ["Pencil", None, 4]


def test_delete(client: FlaskClient, add: Add) -> None:
    url = f"{URL}/{add(models.Item(name='Pencil', quantity=3)).id}"
    assert [client.delete(url).status_code for _ in range(2)] == [204, 404]


@pytest.mark.parametrize("item_id", ["0", "2147483648", "9" * 40, "-1", "a", "%00"])
def test_item_that_is_not_there(client: FlaskClient, item_id: str) -> None:
    for response in (client.get(f"{URL}/{item_id}"), client.delete(f"{URL}/{item_id}")):
        assert (response.status_code, response.mimetype) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"name": ""}, ["/name"]),
        ({"name": "a\0b"}, ["/name"]),
        ({"quantity": "3"}, ["/name", "/quantity"]),
        ({"name": "a", "quantity": 2**40}, ["/quantity"]),
    ],
)
def test_faults_are_named(client: FlaskClient, body: Any, pointers: list[str]) -> None:
    response = client.post(URL, json=body)
    assert (response.status_code, response.mimetype) == (422, "application/problem+json")
    assert response.json is not None
    assert [error["pointer"] for error in response.json["errors"]] == pointers
    assert client.get(URL).json == []


def test_seed(app: Flask, client: FlaskClient) -> None:
    assert app.test_cli_runner().invoke(args=["seed"]).exit_code == 0
    assert client.get(URL).json
