"""Passwords: which may be chosen, and their hashes, made in two threads of their own."""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerificationError
from flask import current_app
from pydantic import AfterValidator, SecretStr
from werkzeug.exceptions import ServiceUnavailable

from app.operations import gevent
from app.sqldb import db

R = TypeVar("R")

COMMON = Path(__file__).with_name("common_passwords.txt").read_text("utf-8")
# The hash of no password, with the parameters of all: argon2id, and what OWASP asks for. The
# library's own take 64 MiB.
NOBODYS = f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'A' * 43}"
hasher = PasswordHasher.from_parameters(extract_parameters(NOBODYS))
places = BoundedSemaphore(52)  # two are hashed, 50 wait


def choose(password: SecretStr) -> SecretStr:
    """Return a password that may be set. Raises ValueError."""
    text, least = normal(password), current_app.config["PASSWORD_MIN_LENGTH"]
    if not least <= len(text) <= 128:
        raise ValueError(f"use a passphrase, of {least} to 128 characters")
    text = text.casefold()[:128]
    core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text) or text  # without figures and signs around it
    repeated = next(core[:n] for n in range(1, 129) if (core[:n] * 128).startswith(core))
    if len(repeated) < 4 or repeated in COMMON:
        raise ValueError("use a passphrase that is less common")
    return password


NewPassword = Annotated[SecretStr, AfterValidator(choose)]


def normal(password: SecretStr) -> str:
    return normalize("NFKC", password.get_secret_value()[:1000])  # é in one form; 1e5 take 18 s


def hashed(password: SecretStr) -> str:
    return in_a_thread(hasher.hash, normal(password))


def matches(stored: str, password: SecretStr) -> bool:
    """Return whether a password has this hash: False after the same time if there is none."""
    return in_a_thread(verify, stored or NOBODYS, normal(password))


def verify(stored: str, password: str) -> bool:
    with suppress(VerificationError):
        return hasher.verify(stored, password)
    return False


def in_a_thread(job: Callable[..., R], *arguments: str) -> R:
    """Return what a job does, while the worker serves others, and its connection, too.

    Commits. Raises ServiceUnavailable where too many wait.
    """
    db.session.commit()
    if not places.acquire(blocking=False):
        raise ServiceUnavailable("Too many log-ins at once. Try again.", retry_after=5)
    try:
        return threads().submit(job, *arguments).result()  # type: ignore[no-any-return]
    finally:
        places.release()


@cache
def threads() -> Any:  # where gevent serves, Python's own would be none
    name = "gevent.threadpool" if gevent() else "concurrent.futures"
    return import_module(name).ThreadPoolExecutor(2)
