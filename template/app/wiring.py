"""Wires what your answers chose into the app. Updates change this file: do not edit it."""

from flask import Flask
from flask_cors import CORS

from app import cors, settings


def init_app(app: Flask, policy: cors.Policy, flask_cors: CORS) -> None:
    """Put the policy in force. Raises `app.cors.PolicyError` if app/settings.py sets a part of it.

    What is set there would override the answers after every later update as well.
    """
    problems = [
        f"remove {name} from app/settings.py: it is an answer, which `copier update` changes in"
        " app/answers.py"
        for name in vars(settings)
        if name.startswith("CORS_")
    ]
    if problems:
        raise cors.PolicyError(problems)
    cors.init_app(app, policy, flask_cors)
