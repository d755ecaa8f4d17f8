"""Passwords: which may be chosen, and their hashes, made in two threads of their own."""

import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from threading import BoundedSemaphore
from typing import Annotated, Any, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from flask import current_app
from pydantic import AfterValidator, SecretStr
from werkzeug.exceptions import ServiceUnavailable

from app.sqldb import db

R = TypeVar("R")

# argon2id with OWASP's parameters: the library's own take 64 MiB.
hasher = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)
THREADS = 2
places = BoundedSemaphore(THREADS + 50)  # of which 50 wait

COMMON = """
1234567890 0987654321 147258369 qwertyuiopasdfghjklzxcvbnm qwertzuiop azertyuiop abcdefghijklmnop
1q2w3e4r5t6y7u8i9o0p q1w2e3r4t5y6u7i8o9p0 1qaz2wsx3edc4rfv5tgb qazwsxedcrfvtgb zxcvbnmasdfghjkl
password passwort passw0rd p@ssw0rd motdepasse contraseña parola wachtwoord welcome administrator
thisismypassword iloveyousomuch iloveyouforever letmeinplease trustno1 correcthorsebatterystaple
monkey dragon football baseball basketball princess sunshine superman batman starwars pokemon
michaeljackson jennifer jordan ashley charlie liverpool manchesterunited chelsea barcelona juventus
whatever computer internet master shadow freedom chocolate butterfly hellokitty secret changeme
"""


def choose(password: SecretStr) -> SecretStr:
    """Return a password that may be set. Raises ValueError."""
    text, least = normal(password).casefold(), current_app.config["PASSWORD_MIN_LENGTH"]
    if not least <= len(text) <= 128:
        raise ValueError(f"use a passphrase, of {least} to 128 characters")
    # The commonest are repeated, or in between figures and signs.
    core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text) or text
    unit = next(core[:n] for n in range(1, 129) if (core[:n] * 128).startswith(core))
    if len(unit) < 4 or unit in COMMON:
        raise ValueError("use a passphrase that is less common")
    return password


NewPassword = Annotated[SecretStr, AfterValidator(choose)]


def normal(password: SecretStr) -> str:
    return normalize("NFKC", password.get_secret_value())  # what every keyboard writes alike


def hashed(password: SecretStr) -> str:
    return in_a_thread(hasher.hash, normal(password))


def matches(stored: str | None, password: SecretStr) -> bool:
    """Return whether a password has a hash: False if there is none, after the same time."""
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    nobodys = f"$argon2id$v=19${costs}${'A' * 22}${'A' * 43}"
    return in_a_thread(verify, stored or nobodys, normal(password))


def verify(stored: str, password: str) -> bool:
    try:
        return hasher.verify(stored, password)
    except VerificationError:
        return False


def in_a_thread(job: Callable[..., R], *arguments: str) -> R:
    """Return what a job does, while the worker serves others. Commits, and leaves the connection.

    Raises ServiceUnavailable where too many wait.
    """
    db.session.commit()
    if not places.acquire(blocking=False):
        raise ServiceUnavailable("Too many log-ins at once. Try again.", retry_after=5)
    try:
        result: R = threads().submit(job, *arguments).result()
        return result
    finally:
        places.release()


@cache
def threads() -> Any:
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey and monkey.is_module_patched("threading"):  # there, Python's own are no threads
        return import_module("gevent.threadpool").ThreadPoolExecutor(THREADS)
    return ThreadPoolExecutor(THREADS)
