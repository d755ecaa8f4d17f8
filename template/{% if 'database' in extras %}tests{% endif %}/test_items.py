"""`/api/items`, in the order of a table: what is asked, and what is answered."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

URL = "/api/items"

PENCIL = {"name": "Pencil", "description": "HB", "quantity": 3}


@pytest.fixture
def created(client: FlaskClient) -> TestResponse:
    return client.post(URL, json=PENCIL)


def if_match(response: TestResponse) -> dict[str, str]:
    return {"If-Match": response.headers["ETag"]}


def test_create(client: FlaskClient, created: TestResponse) -> None:
    assert created.status_code == 201
    item_id = (created.json or {})["id"]
    assert created.json == {**PENCIL, "id": item_id}
    assert created.headers["Location"] == f"{URL}/{item_id}"
    read = client.get(created.headers["Location"])
    assert (read.status_code, read.json) == (200, created.json)
    assert read.headers["ETag"] == created.headers["ETag"]


def test_create_with_defaults(client: FlaskClient) -> None:
    created = client.post(URL, json={"name": "Pen"})
    assert created.json is not None
    assert (created.json["description"], created.json["quantity"]) == (None, 0)


def test_list_is_read_page_by_page(client: FlaskClient) -> None:
    names = [f"Pencil {number}" for number in range(5)]
    for name in names:
        client.post(URL, json={"name": name})
    found, following = [], f"{URL}?limit=2"
    for _ in range(3):
        page = client.get(following)
        found += [item["name"] for item in page.json or []]
        following = page.headers.get("Link", "")[1:].partition(">")[0]
    assert found == names
    assert following == ""


def test_replace(client: FlaskClient, created: TestResponse) -> None:
    url = created.headers["Location"]
    replaced = client.put(url, json={"name": "Pen"}, headers=if_match(created))
    assert replaced.status_code == 200
    assert replaced.json == client.get(url).json
    assert replaced.json is not None
    assert (replaced.json["name"], replaced.json["description"]) == ("Pen", None)
    assert replaced.headers["ETag"] != created.headers["ETag"]


@pytest.mark.parametrize("mimetype", ["application/merge-patch+json", "application/json"])
def test_patch(client: FlaskClient, created: TestResponse, mimetype: str) -> None:
    """A field that is not there stays as it is, and null removes one."""
    url = created.headers["Location"]
    headers = {**if_match(created), "Content-Type": mimetype}
    patched = client.patch(url, data='{"quantity": 4, "description": null}', headers=headers)
    assert patched.status_code == 200
    assert patched.json == client.get(url).json
    assert patched.json == {**(created.json or {}), "quantity": 4, "description": None}


def test_delete(client: FlaskClient, created: TestResponse) -> None:
    url = created.headers["Location"]
    deleted = client.delete(url, headers=if_match(created))
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert client.get(url).status_code == 404


def test_what_has_not_changed_is_not_sent_again(client: FlaskClient, created: TestResponse) -> None:
    for url in (URL, created.headers["Location"]):
        etag = client.get(url).headers["ETag"]
        again = client.get(url, headers={"If-None-Match": etag})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    headers = if_match(created)
    client.patch(created.headers["Location"], json={"quantity": 9}, headers=headers)
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 200
    unmatched = client.get(url, headers={"If-Match": etag})
    assert (unmatched.status_code, unmatched.mimetype) == (412, "application/problem+json")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_change_of_what_somebody_else_has_changed_is_refused(
    client: FlaskClient, created: TestResponse, method: str
) -> None:
    url, body = created.headers["Location"], None if method == "DELETE" else {"name": "Mine"}
    theirs = client.put(url, json={"name": "Theirs"}, headers=if_match(created))
    assert client.open(url, method=method, json=body).status_code == 428
    mine = client.open(url, method=method, json=body, headers=if_match(created))
    assert (mine.status_code, mine.mimetype) == (412, "application/problem+json")
    assert client.get(url).json == theirs.json
    weak = {"If-Match": f"W/{theirs.headers['ETag']}"}  # as a proxy that compresses writes it
    assert client.open(url, method=method, json=body, headers=weak).status_code in (200, 204)


@pytest.mark.parametrize("item_id", ["0", "999999", "2147483648", "9" * 40, "-1", "a"])
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
        ({"name": "a", "quantity": -1, "~/": 0}, ["/quantity", "/~0~1"]),
        ({"name": "a", "quantity": 2**40}, ["/quantity"]),
        ([], [""]),
    ],
)
def test_faults_are_named(client: FlaskClient, body: Any, pointers: list[str]) -> None:
    response = client.post(URL, json=body)
    assert (response.status_code, response.mimetype) == (422, "application/problem+json")
    assert response.json is not None
    assert [error["pointer"] for error in response.json["errors"]] == pointers
    assert all(error["message"] for error in response.json["errors"])
    assert client.get(URL).json == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=a", "/limit"),
        ("limit=1&limit=2", "/limit"),
        ("limt=1", "/limt"),
        ("after=-1", "/after"),
    ],
)
def test_faults_of_the_query_are_named(client: FlaskClient, query: str, pointer: str) -> None:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 422
    assert response.json is not None
    assert [error["pointer"] for error in response.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("body", "mimetype", "status"),
    [
        ("{", "application/json", 400),
        ("", "application/json", 400),
        ('{"name": NaN}', "application/json", 400),
        ('{"name": "\\ud800"}', "application/json", 400),
        ("[" * 1_000, "application/json", 400),
        ("{}", "text/plain", 415),
        ("name=a", "application/x-www-form-urlencoded", 415),
    ],
)
def test_what_is_no_content(client: FlaskClient, body: str, mimetype: str, status: int) -> None:
    response = client.post(URL, data=body, content_type=mimetype)
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")


def test_too_large(app: Flask, client: FlaskClient) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10
    response = client.post(URL, json=PENCIL)
    assert (response.status_code, response.mimetype) == (413, "application/problem+json")
