"""Who is let in, and who is no more. It is yours, as app/account_views.py and _mail.py are."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from account_fixtures import HASH, PASSWORD
from click import ClickException
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from app import account_mail, account_views, create_app
from app.accounts import Account, links, login_required, sessions
from app.accounts.models import Attempts, Secret, now
from app.sqldb import db
from app.typed_views import gives

ADA = {"email": "ada@example.com", "password": PASSWORD}
NEW = "another poem has more words"
PAGE = "https://app.example.com"

Add = Callable[[Account], Account]


def make_token(client: FlaskClient) -> dict[str, str]:
    created = client.post("/api/tokens", json={**ADA, "name": "Backup"})
    assert created.status_code == 201 and created.json is not None
    return {"Authorization": f"Bearer {created.json['token']}"}


def test_log_in(client: FlaskClient, account: Account) -> None:
    response = client.post("/api/session", json={**ADA, "email": "Ada@Example.com"})
    user = {"id": account.id, "email": account.email, "is_admin": False}
    assert (response.status_code, response.json) == (201, user)
    session, device = response.headers.getlist("Set-Cookie")
    assert (session[:13], device[:14]) == ("__Host-login=", "__Host-device=")
    assert {"Secure", "HttpOnly", "Path=/"} <= set(session.split("; "))
    assert "Domain" not in session
    shown = client.get("/api/session")
    assert shown.headers["Cache-Control"] == "no-store" and shown.json is not None
    assert (shown.json["user"], shown.json["session"]["carrier"]) == (user, "cookie")


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
def test_wrong_or_unknown(app: Flask, client: FlaskClient, account: Account, email: str) -> None:
    wrong = {"email": email, "password": "x"}
    tried = [client.post("/api/session", json=wrong) for _ in range(11)]
    assert [response.status_code for response in tried] == [401] * 10 + [429]
    assert tried[0].headers["WWW-Authenticate"] == "Bearer"
    assert (tried[0].json or {})["detail"] == "The email or the password is wrong."
    seconds = int(tried[10].headers["Retry-After"])
    with app.app_context():
        db.session.execute(update(Attempts).values(until=Attempts.until - seconds))
        db.session.commit()
    again = [client.post("/api/session", json=wrong).status_code for _ in range(2)]
    assert (seconds, again) == (90, [401, 429])


def test_nobody_locks_an_owner_out(logged_in: FlaskClient) -> None:
    stranger = logged_in.application.test_client()
    for _ in range(10):
        stranger.post("/api/session", json={**ADA, "password": "x"})
    assert stranger.post("/api/session", json=ADA).status_code == 429
    assert logged_in.post("/api/session", json=ADA).status_code == 201


def test_log_out(logged_in: FlaskClient) -> None:
    cookie = logged_in.get_cookie("__Host-login")
    assert cookie is not None
    assert logged_in.delete("/api/session").status_code == 204
    assert logged_in.get_cookie("__Host-login") is None
    logged_in.set_cookie("__Host-login", cookie.value)
    assert logged_in.get("/api/session").status_code == 401
    assert logged_in.put("/api/me/password", json={}).status_code == 401  # before 422


def test_two_cookies_count_as_none(app: Flask, logged_in: FlaskClient) -> None:
    cookie = logged_in.get_cookie("__Host-login")
    assert cookie is not None
    both = {"Cookie": f"__Host-login=planted; __Host-login={cookie.value}"}
    assert app.test_client(use_cookies=False).get("/api/session", headers=both).status_code == 401


def test_a_session_ends_by_itself(app: Flask, logged_in: FlaskClient) -> None:
    for ends_at, status in ((now() + timedelta(1), 200), (now() - timedelta(1), 401)):
        with app.app_context():
            db.session.execute(update(Secret).values(ends_at=ends_at))
            db.session.commit()
        assert logged_in.get("/api/session").status_code == status


def test_token(client: FlaskClient, account: Account) -> None:
    token = make_token(client)
    assert client.get("/api/session", headers=token).status_code == 200
    assert client.get("/api/session").status_code == 401
    assert client.delete("/api/session", headers=token).status_code == 204
    assert client.get("/api/session", headers=token).status_code == 401


@pytest.mark.parametrize(("origin", "status"), [(PAGE, 403), ("tauri://localhost", 201)])
def test_no_page_gets_a_token(account: Account, origin: str, status: int) -> None:
    client = create_app({"TESTING": True, "CORS_ORIGINS": [origin]}).test_client()
    body, headers = {**ADA, "name": "x"}, {"Origin": origin}
    assert client.post("/api/tokens", json=body, headers=headers).status_code == status


def test_sessions(app: Flask, logged_in: FlaskClient, add: Add) -> None:
    make_token(logged_in)
    cookie, token = logged_in.get("/api/sessions").json or []
    assert (cookie["carrier"], token["carrier"], token["name"]) == ("cookie", "token", "Backup")
    eve = app.test_client()
    add(Account(email="eve@example.com", password=HASH))
    assert eve.post("/api/session", json={**ADA, "email": "eve@example.com"}).status_code == 201
    assert eve.delete(f"/api/sessions/{token['id']}").status_code == 404
    assert logged_in.delete(f"/api/sessions/{token['id']}").status_code == 204
    assert logged_in.get("/api/sessions").json == [cookie]


def test_change_of_the_password(logged_in: FlaskClient) -> None:
    token = make_token(logged_in)
    for old, status in (("wrong", 401), (PASSWORD, 204)):
        change = {"old_password": old, "new_password": NEW}
        assert logged_in.put("/api/me/password", json=change).status_code == status
    assert logged_in.get("/api/session").status_code == 200
    assert logged_in.get("/api/session", headers=token).status_code == 401
    assert logged_in.post("/api/session", json={**ADA, "password": NEW}).status_code == 201


@pytest.mark.parametrize("poor", ["short", "x" * 129, "passwordpassword", "123456789012345"])
def test_poor_passwords(logged_in: FlaskClient, poor: str) -> None:
    change = {"old_password": PASSWORD, "new_password": poor}
    response = logged_in.put("/api/me/password", json=change)
    assert response.status_code == 422 and poor not in response.text
    (error,) = (response.json or {})["errors"]
    assert error["pointer"] == "/new_password" and "passphrase" in error["message"]


def test_change_of_the_address(logged_in: FlaskClient, add: Add) -> None:
    add(Account(email="eve@example.com", password=HASH))
    for email, status in (("Eve@example.com", 409), ("ada@example.org", 204)):
        change = {"email": email, "password": PASSWORD}
        assert logged_in.put("/api/me/email", json=change).status_code == status
    assert logged_in.get("/api/session").status_code == 401
    assert logged_in.post("/api/session", json=change).status_code == 201


def test_deletion(logged_in: FlaskClient) -> None:
    token = make_token(logged_in)
    assert logged_in.delete("/api/me", json={"password": PASSWORD}).status_code == 204
    assert logged_in.get("/api/session", headers=token).status_code == 401
    assert logged_in.post("/api/session", json=ADA).status_code == 401


def test_mail(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(account_mail, "send_mail", lambda *mail: sent.append(mail))
    mail = {"MAIL_URL": "log:", "MAIL_FROM": "api@example.com", "PASSWORD_PAGE": f"{PAGE}/password"}
    app = create_app({"TESTING": True, "CORS_ORIGINS": [PAGE], "SIGN_UP": True, **mail})
    client = app.test_client()

    def ask(path: str, email: str) -> tuple[int, bytes]:
        answer = client.post(path, json={"email": email}, buffered=True)
        links.queue.submit(int).result()  # the mail is sent after the answer
        return answer.status_code, answer.data

    for path in ("/api/password-resets", "/api/users"):
        for email in ("ada@example.com", "nobody@example.com"):
            assert ask(path, email) == (202, b"")
    assert [to for to, *_ in sent] == ["ada@example.com", "ada@example.com", "nobody@example.com"]
    with app.app_context():  # a text without a link has no secret
        assert db.session.query(Secret).filter_by(carrier="mail").count() == 2
    for (to, _, text), status in zip(sent, (204, None, 204), strict=True):
        assert (f"{PAGE}/password#" in text) == (status is not None)
        body = {"token": text.partition("#")[2].strip(), "password": NEW}
        for expected in (status, 422) if status else (422,):
            assert client.put("/api/password-resets", json=body).status_code == expected
        if status:
            log_in = client.post("/api/session", json={"email": to, "password": NEW})
            assert log_in.status_code == 201
    for _ in range(5):
        ask("/api/password-resets", account.email)
    assert len(sent) == 4  # three, and then one an hour


def test_commands(app: Flask, client: FlaskClient) -> None:
    runner = app.test_cli_runner()

    def run(*arguments: str) -> str:
        return runner.invoke(args=["users", *arguments], input=f"{PASSWORD}\n").output

    def log_in() -> int:
        return client.post("/api/session", json=ADA).status_code

    assert (run("add", "Ada@example.com", "--admin"), log_in()) == ("", 201)
    assert "has an account" in run("add", "ada@example.com")
    assert (run("disable", "ada@example.com"), log_in()) == ("", 401)
    assert client.get("/api/session").status_code == 401
    assert run("list").split("\t")[::3] == ["ada@example.com", "disabled\n"]
    assert (run("reset", "ada@example.com"), log_in()) == ("", 201)
    assert "flask users list" in run("disable", "nobody@example.com")


def test_admins(app: Flask, client: FlaskClient, account: Account) -> None:
    app.add_url_rule("/admin", view_func=login_required(admin=True)(lambda: "secret"))
    assert client.get("/admin").status_code == 401
    client.post("/api/session", json=ADA)
    assert client.get("/admin").status_code == 403


def test_wrong_order_of_decorators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "unguarded", set())
    guarded = login_required(account_views.log_out)
    with pytest.raises(TypeError, match="write @gives below"):
        gives()(guarded)
    with pytest.raises(ClickException, match="write @login_required below the route"):
        create_app({"TESTING": True})
