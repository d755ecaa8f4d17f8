"""Each detail of log-in, tried in a project: tests/project/test_accounts.py copies it there."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event
from time import process_time
from typing import Any

import pytest
from account_fixtures import HASH, PASSWORD
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from app import account_mail, account_views, create_app
from app.accounts import Account, limits, links, passwords, sessions
from app.accounts.models import Attempts, Secret, now
from app.sqldb import db

ADA = {"email": "ada@example.com", "password": PASSWORD}
WRONG = {**ADA, "password": "x"}
PAGE = "https://app.example.com"
MAIL = {"MAIL_URL": "log:", "MAIL_FROM": "api@example.com", "PASSWORD_PAGE": f"{PAGE}/password"}
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)

Add = Callable[[Account], Account]


def made(**config: Any) -> Flask:
    return create_app({"TESTING": True, "CORS_ORIGINS": [PAGE], **config})


def log_in(client: FlaskClient, body: dict[str, str] = ADA, **options: Any) -> int:
    return client.post("/api/session", json=body, **options).status_code


def row(app: Flask, carrier: str, **changed: datetime) -> Secret:
    """Return the secret of a carrier, after a change."""
    with app.app_context():
        if changed:
            db.session.execute(update(Secret).where(Secret.carrier == carrier).values(changed))
            db.session.commit()
        return db.session.scalars(select(Secret).where(Secret.carrier == carrier)).one()


def about(time: datetime, expected: datetime) -> bool:
    return abs(time - expected) < MINUTE


# Cookies


@pytest.mark.parametrize(
    ("values", "name", "attributes"),
    [
        ((True, "Lax", False), "__Host-login", {"Secure", "SameSite=Lax"}),
        ((True, "None", True), "__Host-login", {"Secure", "SameSite=None", "Partitioned"}),
        ((False, "Lax", False), "login", {"SameSite=Lax"}),
    ],
)
def test_cookie_is_set_and_deleted_with_the_same_attributes(
    account: Account, values: tuple[Any, ...], name: str, attributes: set[str]
) -> None:
    names = (f"SESSION_COOKIE_{it}" for it in ("SECURE", "SAMESITE", "PARTITIONED"))
    client = made(**dict(zip(names, values, strict=True))).test_client()
    answers = [client.post("/api/session", json=ADA), client.delete("/api/session")]
    for answer, ends in zip(answers, (False, True), strict=True):
        pair, *found = answer.headers["Set-Cookie"].split("; ")
        kept = {it for it in found if not it.startswith(("Expires", "Max-Age"))}
        assert (pair.startswith(f"{name}="), pair == f"{name}=") == (True, ends)
        assert kept == attributes | {"HttpOnly", "Path=/"}
        assert ("Max-Age=0" in found) is ends


def test_cookie_that_is_planted_or_on_a_public_path_is_none(logged_in: FlaskClient) -> None:
    cookie = logged_in.get_cookie("__Host-login")
    assert cookie is not None
    mine, planted = f"__Host-login={cookie.value}", "__Host-login=planted"
    public = {"CORS_PATHS": {"/api/session": {"origins": ["any"], "supports_credentials": False}}}
    for config, given, status in (
        ({}, mine, 200),
        ({}, f"{mine}; {planted}", 401),
        ({}, f"{planted}; {mine}", 401),
        (public, mine, 401),
    ):
        client = made(**config).test_client(use_cookies=False)
        for other in ({}, {"Authorization": "Basic YTpi"}):
            headers = {"Cookie": given, **other}
            assert client.get("/api/session", headers=headers).status_code == status


def test_each_log_in_has_a_secret_of_its_own(logged_in: FlaskClient) -> None:
    first = logged_in.get_cookie("__Host-login")
    assert log_in(logged_in) == 201
    second = logged_in.get_cookie("__Host-login")
    assert first is not None and second is not None and first.value != second.value
    assert logged_in.get("/api/session").status_code == 200
    logged_in.set_cookie("__Host-login", first.value)
    assert logged_in.get("/api/session").status_code == 401


def test_change_of_the_address_ends_all_sessions(logged_in: FlaskClient) -> None:
    created = logged_in.post("/api/tokens", json={**ADA, "name": "x"}).json or {}
    token = {"Authorization": f"Bearer {created['token']}"}
    assert logged_in.get("/api/session", headers=token).status_code == 200
    change = {"email": "ada@example.org", "password": PASSWORD}
    assert logged_in.put("/api/me/email", json=change).status_code == 204
    assert logged_in.get("/api/session", headers=token).status_code == 401


def test_without_mail_nobody_signs_up_or_resets(client: FlaskClient) -> None:
    for path in ("/api/users", "/api/password-resets"):
        assert client.post(path, json={"email": "ada@example.com"}).status_code == 404
    by_mail = made(**MAIL).test_client()
    assert by_mail.post("/api/users", json={"email": "ada@example.com"}).status_code == 404


def test_page_reads_what_is_refused_and_no_preflight_is(account: Account) -> None:
    client, origin = made(CORS_SUPPORTS_CREDENTIALS=True).test_client(), {"Origin": PAGE}
    refused = client.get("/api/session", headers=origin)
    limited = [client.post("/api/session", json=WRONG, headers=origin) for _ in range(11)][-1]
    for answer, status in ((refused, 401), (limited, 429)):
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Cache-Control"] == "no-store"
    assert "Retry-After" in limited.headers["Access-Control-Expose-Headers"]
    asked = {**origin, "Access-Control-Request-Method": "DELETE"}
    preflight = client.options("/api/session", headers=asked)
    assert preflight.status_code < 300 and "DELETE" in str(preflight.headers)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("capacitor://localhost", 201),
        ("https://localhost", 201),
        ("http://localhost", 201),
        ("http://tauri.localhost", 201),
        ("http://localhost:5173", 403),
        ("null", 403),
    ],
)
def test_apps_alone_get_tokens(account: Account, origin: str, status: int) -> None:
    client = made(CORS_ORIGINS=[PAGE if origin == "null" else origin]).test_client()
    body = {**ADA, "name": "x"}
    for headers, expected in (({"Origin": origin}, status), ({}, 201)):
        assert client.post("/api/tokens", json=body, headers=headers).status_code == expected


# Passwords


def test_hash_is_renewed_once_when_the_parameters_rise(
    app: Flask, client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert passwords.NOBODYS.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    monkeypatch.setattr(passwords, "hasher", PasswordHasher(2, 16, 1))
    found = []
    for _ in range(2):
        assert log_in(client) == 201
        with app.app_context():
            found.append(db.session.scalars(select(Account.password)).one())
    assert found[0] == found[1] != HASH and "m=16,t=2," in found[0]


def test_passwords_are_compared_in_one_form(logged_in: FlaskClient) -> None:
    change = {"old_password": PASSWORD, "new_password": "cafe\u0301s in the old town"}
    assert logged_in.put("/api/me/password", json=change).status_code == 204
    assert log_in(logged_in, {**ADA, "password": "caf\u00e9s in the old town"}) == 201


def test_common_passwords_are_refused_in_capitals_too(logged_in: FlaskClient) -> None:
    change = {"old_password": PASSWORD, "new_password": "PasswordPassword"}
    assert logged_in.put("/api/me/password", json=change).status_code == 422


def test_log_in_that_is_overtaken_by_another_password_fails(
    app: Flask, client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    matches = passwords.matches

    def overtaken(*arguments: Any) -> bool:
        app.test_cli_runner().invoke(args=["users", "disable", "Ada@example.com"])
        return matches(*arguments)

    monkeypatch.setattr(passwords, "matches", overtaken)
    assert log_in(client) == 401


@pytest.mark.parametrize(("length", "status"), [(14, 422), (15, 204), (128, 204), (129, 422)])
def test_length_is_that_of_code_points(logged_in: FlaskClient, length: int, status: int) -> None:
    horses = "".join(chr(0x1F400 + number) for number in range(length))
    change = {"old_password": PASSWORD, "new_password": horses}
    assert logged_in.put("/api/me/password", json=change).status_code == status


def test_password_of_any_length_takes_no_time(client: FlaskClient, account: Account) -> None:
    began = process_time()
    assert log_in(client, {**ADA, "password": "a" + "\u0301\u0327" * 80_000}) == 401
    assert process_time() - began < 1


# Guessing


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
def test_account_is_limited_over_all_networks(
    client: FlaskClient, account: Account, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = now()
    monkeypatch.setattr(limits, "now", lambda: began)  # in nine seconds, there is one more

    def guess(number: int) -> int:
        address = {"REMOTE_ADDR": f"10.0.{number}.1"}
        return log_in(client, {**WRONG, "email": email}, environ_base=address)

    assert [guess(number) for number in range(101)] == [401] * 100 + [429]


def test_browser_of_one_account_is_a_stranger_to_others(logged_in: FlaskClient, add: Add) -> None:
    add(Account(email="eve@example.com", password=HASH))
    for _ in range(10):
        log_in(logged_in.application.test_client(), {**WRONG, "email": "eve@example.com"})
    assert log_in(logged_in, {**ADA, "email": "eve@example.com"}) == 429


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1/32"),
        ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("", ""),
    ],
)
def test_network_of_an_address(app: Flask, address: str, network: str) -> None:
    with app.test_request_context(environ_base={"REMOTE_ADDR": address}):
        assert limits.network() == network


def test_reset_lets_in_an_owner_who_is_locked_out(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(account_mail, "send_mail", lambda *mail: sent.append(mail))
    client = made(**MAIL).test_client()
    assert [log_in(client, WRONG) for _ in range(10)] == [401] * 10
    assert log_in(client) == 429
    client.post("/api/password-resets", json={"email": account.email}, buffered=True)
    links.queue.submit(int).result()
    body = {"token": sent[0][2].partition("#")[2].strip(), "password": "another poem has more"}
    assert client.put("/api/password-resets", json=body).status_code == 204
    assert log_in(client, {**ADA, "password": body["password"]}) == 201
    assert log_in(client.application.test_client()) == 429


def test_no_secret_and_no_address_is_stored(app: Flask, logged_in: FlaskClient) -> None:
    created = logged_in.post("/api/tokens", json={**ADA, "name": "x"})
    log_in(app.test_client(), WRONG)
    shown = [(created.json or {})["token"], "127.0.0.1", PASSWORD]
    for name in ("__Host-login", "__Host-device"):
        cookie = logged_in.get_cookie(name)
        assert cookie is not None
        shown.append(cookie.value)
    with app.app_context():
        tables = (Secret.__table__, Attempts.__table__, Account.__table__)
        stored = str([db.session.execute(select(table)).all() for table in tables])
    assert [it for it in shown if it in stored] == []


def test_content_is_in_no_representation() -> None:
    for model in (account_views.Credentials, account_views.NewToken):
        given = repr(model.model_validate({**ADA, "name": "x"} if "New" in str(model) else ADA))
        assert "ada" not in given and PASSWORD not in given


# Lifetimes


def test_session_ends_without_use_and_in_any_case(app: Flask, logged_in: FlaskClient) -> None:
    assert about(row(app, "cookie").ends_at, now() + 14 * DAY)
    before = row(app, "cookie", created_at=now() - 20 * DAY, used_at=now() - MINUTE / 2)
    assert logged_in.get("/api/session").status_code == 200
    assert row(app, "cookie").used_at == before.used_at  # written at most once a minute
    row(app, "cookie", used_at=now() - 2 * MINUTE)
    assert logged_in.get("/api/session").status_code == 200
    after = row(app, "cookie")
    assert about(after.used_at, now()) and about(after.ends_at, now() + 10 * DAY)


def test_session_that_has_ended_is_not_listed(app: Flask, logged_in: FlaskClient) -> None:
    logged_in.post("/api/tokens", json={**ADA, "name": "x"})
    row(app, "token", ends_at=now())
    assert [it["carrier"] for it in logged_in.get("/api/sessions").json or []] == ["cookie"]


def test_link_is_good_for_half_an_hour(app: Flask, account: Account) -> None:
    client = made(**MAIL).test_client()
    with app.app_context():
        body = {"token": sessions.issue("mail", account, ""), "password": "another poem has more"}
    assert about(row(app, "mail").ends_at, now() + 30 * MINUTE)
    row(app, "mail", ends_at=now())
    assert client.put("/api/password-resets", json=body).status_code == 422


@pytest.mark.parametrize("by_a_log_in", [True, False])
def test_what_has_ended_is_removed(
    app: Flask, logged_in: FlaskClient, monkeypatch: pytest.MonkeyPatch, by_a_log_in: bool
) -> None:
    log_in(app.test_client(), WRONG)
    row(app, "cookie", ends_at=now() - MINUTE)
    with app.app_context():
        db.session.execute(update(Attempts).values(until=0))
        db.session.add(Attempts(key="kept", until=now().timestamp() + 60))
        db.session.commit()
    if by_a_log_in:
        monkeypatch.setattr(sessions, "randbelow", lambda _: 0)
        assert log_in(app.test_client()) == 201
    else:
        assert app.test_cli_runner().invoke(args=["users", "clean"]).exit_code == 0
    with app.app_context():
        assert db.session.scalars(select(Attempts.key)).all() == ["kept"]
        left = db.session.scalars(select(Secret.ends_at)).all()
    assert left and min(left) > now()


# Mail


def test_so_many_mails_wait_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(links, "send", lambda email, _kind: sent.append(email))
    client, slow = made(**MAIL).test_client(), Event()
    links.queue.submit(slow.wait)
    for number in range(105):
        body = {"email": f"{number}@example.com"}
        assert client.post("/api/password-resets", json=body, buffered=True).status_code == 202
    assert sent == []
    slow.set()
    links.queue.submit(int).result()
    assert len(sent) == 100 and caplog.text.count("A mail is dropped") == 5


def test_no_mail_to_a_disabled_account(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add(Account(email="eve@example.com", password=""))
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(account_mail, "send_mail", lambda *mail: sent.append(mail))
    client = made(**MAIL).test_client()
    body = {"email": "eve@example.com"}
    assert client.post("/api/password-resets", json=body, buffered=True).status_code == 202
    links.queue.submit(int).result()
    assert sent == []
