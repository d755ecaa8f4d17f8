"""Whoever is let in has a secret that is alive: random sequences of requests against a model.

It runs in a project's folder, with an empty, migrated database: `python login_rules.py`.
"""

import sys
from datetime import timedelta
from typing import Any

sys.path.insert(0, ".")

from argon2 import PasswordHasher
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, update

from app import create_app
from app.accounts import Account, passwords
from app.accounts.models import Attempts, Secret, now
from app.accounts.sessions import digest
from app.sqldb import db

passwords.hasher = PasswordHasher(memory_cost=8, time_cost=1, parallelism=1)
COOKIE = "__Host-login"
WORDS = ["four words of a poem", "another poem has more words"]
NAMES = ["ada", "eve"]

app = create_app({"LOG_LEVEL": "ERROR"})


class Secrets(RuleBasedStateMachine):
    """`alive` maps each secret to its carrier and its owner, `gone` has those that have ended."""

    secrets: Bundle[str] = Bundle("secrets")

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[str, tuple[str, str]] = {}
        self.gone: dict[str, str] = {}
        self.password: dict[str, str] = {}
        with app.app_context():
            for table in (Secret, Account, Attempts):
                db.session.execute(delete(table))
            for name in NAMES:
                word = passwords.hasher.hash(WORDS[0])
                db.session.add(Account(email=f"{name}@example.com", password=word))
                self.password[name] = WORDS[0]
            db.session.commit()

    @initialize(target=secrets)
    def log_everybody_in(self) -> Any:
        acts = (self.log_in, self.make_token)
        return multiple(*(act(name=name, word=WORDS[0]) for name in NAMES for act in acts))

    def carrier(self, secret: str) -> str:
        return self.gone.get(secret) or self.alive.get(secret, ("", ""))[0]

    def hash(self, secret: str) -> str:
        return digest(self.carrier(secret), secret)

    def ask(self, method: str, path: str, secret: str = "", json: Any = None) -> Any:
        with app.app_context():  # the limits have tests of their own
            db.session.execute(delete(Attempts))
            db.session.commit()
        return self.show(self.carrier(secret), method, path, secret, json)

    def show(self, carrier: str, method: str, path: str, secret: str, json: Any = None) -> Any:
        client = app.test_client()
        if carrier == "cookie":
            client.set_cookie(COOKIE, secret)
        headers = {"Authorization": f"Bearer {secret}"} if carrier == "token" else {}
        response = client.open(path, method=method, json=json, headers=headers)
        assert response.status_code < 500, response.text
        self.cookie = client.get_cookie(COOKIE)
        return response

    def end(self, *secrets: str) -> None:
        for secret in secrets:
            carrier, _ = self.alive.pop(secret, ("", ""))
            if carrier:
                self.gone[secret] = carrier

    def end_all(self, name: str, but: str = "") -> None:
        self.end(*[it for it, (_, owner) in self.alive.items() if owner == name and it != but])

    @rule(target=secrets, name=st.sampled_from(NAMES), word=st.sampled_from(WORDS))
    def log_in(self, name: str, word: str) -> Any:
        body = {"email": f"{name}@example.com", "password": word}
        response = self.ask("POST", "/api/session", json=body)
        assert response.status_code == (201 if self.password.get(name) == word else 401)
        if response.status_code == 401:
            return multiple()
        self.alive[self.cookie.value] = ("cookie", name)
        return self.cookie.value

    @rule(target=secrets, name=st.sampled_from(NAMES), word=st.sampled_from(WORDS))
    def make_token(self, name: str, word: str) -> Any:
        body = {"email": f"{name}@example.com", "password": word, "name": "x"}
        response = self.ask("POST", "/api/tokens", json=body)
        assert response.status_code == (201 if self.password.get(name) == word else 401)
        if response.status_code == 401:
            return multiple()
        self.alive[response.json["token"]] = ("token", name)
        return response.json["token"]

    @rule(secret=secrets)
    def log_out(self, secret: str) -> None:
        assert self.ask("DELETE", "/api/session", secret).status_code == 204
        self.end(secret)

    @rule(secret=secrets, other=secrets)
    def end_another(self, secret: str, other: str) -> None:
        """Of one's own or of somebody else."""
        with app.app_context():
            row = db.session.query(Secret).filter_by(hash=self.hash(other)).first()
            number = row.id if row else 2**31 - 1
        response = self.ask("DELETE", f"/api/sessions/{number}", secret)
        if secret not in self.alive:
            assert response.status_code == 401
        elif other in self.alive and self.alive[other][1] == self.alive[secret][1]:
            assert response.status_code == 204
            self.end(other)
        else:
            assert response.status_code == 404

    @rule(secret=secrets, word=st.sampled_from(WORDS), new=st.sampled_from(WORDS))
    def change_password(self, secret: str, word: str, new: str) -> None:
        body = {"old_password": word, "new_password": new}
        response = self.ask("PUT", "/api/me/password", secret, body)
        _, name = self.alive.get(secret, ("", ""))
        may = bool(name) and self.password.get(name) == word
        assert response.status_code == (204 if may else 401)
        if may:
            self.password[name] = new
            self.end_all(name, but=secret)

    @rule(secret=secrets)
    def expire(self, secret: str) -> None:
        with app.app_context():
            past = {"ends_at": now() - timedelta(seconds=1)}
            same = Secret.hash == self.hash(secret)
            db.session.execute(update(Secret).where(same).values(past))
            db.session.commit()
        self.end(secret)

    @rule(name=st.sampled_from(NAMES))
    def disable(self, name: str) -> None:
        app.test_cli_runner().invoke(args=["users", "disable", f"{name}@example.com"])
        self.password.pop(name, None)
        self.end_all(name)

    @rule(name=st.sampled_from(NAMES), word=st.sampled_from(WORDS))
    def reset(self, name: str, word: str) -> None:
        arguments = ["users", "reset", f"{name}@example.com"]
        result = app.test_cli_runner().invoke(args=arguments, input=f"{word}\n")
        if result.exit_code == 0:
            self.password[name] = word
        self.end_all(name)

    @rule(secret=secrets, word=st.sampled_from(WORDS))
    def delete_account(self, secret: str, word: str) -> None:
        _, name = self.alive.get(secret, ("", ""))
        may = bool(name) and self.password.get(name) == word
        response = self.ask("DELETE", "/api/me", secret, {"password": word})
        assert response.status_code == (204 if may else 401)
        if may:
            self.end_all(name)
            del self.password[name]

    @invariant()
    def only_what_is_alive_is_let_in(self) -> None:
        for secret, (carrier, name) in self.alive.items():
            response = self.ask("GET", "/api/session", secret)
            assert response.status_code == 200
            assert response.json["user"]["email"] == f"{name}@example.com"
            other = "token" if carrier == "cookie" else "cookie"
            assert self.show(other, "GET", "/api/session", secret).status_code == 401
        for secret in self.gone:
            assert self.ask("GET", "/api/session", secret).status_code == 401
        for name in {*NAMES} - {*self.password}:  # disabled, or deleted
            for word in WORDS:
                body = {"email": f"{name}@example.com", "password": word}
                assert self.ask("POST", "/api/session", json=body).status_code == 401


run_state_machine_as_test(
    Secrets,
    settings=settings(
        max_examples=int(sys.argv[1]),
        stateful_step_count=10,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # a failure is told as it was found
        suppress_health_check=list(HealthCheck),
    ),
)
print("no secret was let in that had ended")
