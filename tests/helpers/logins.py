"""The apps of acts.py in a project with log-in, with an act for who is logged in.

Each line of mails.log is a mail, as JSON: whom it is for, and what it says.
"""

import json

from acts import APPS, METHODS, app, note
from flask import Response, g, request

from app import account_mail
from app.accounts import login_required

__all__ = ["app"]


def keep_mail(to: str, subject: str, text: str) -> None:
    with open("mails.log", "a") as log:
        log.write(json.dumps([to, text]) + "\n")


@login_required
def act_as_user() -> Response:
    note(request.args["act"], g.user.email.partition("@")[0].title())
    return Response("{}", mimetype="application/json")


def sent() -> list[str]:
    return sorted(request.cookies)


account_mail.send_mail = keep_mail
for made in APPS.values():
    made.add_url_rule("/private", view_func=act_as_user, methods=METHODS)
    made.add_url_rule("/sent", view_func=sent)
