"""The mail that accounts get. It is your file: send it another way, or in other words."""

import logging
import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from flask import current_app

TEXTS = {
    "new": ("Welcome", "Set your password here within 30 minutes:\n\n{link}\n"),
    "exists": ("You have an account", "You have an account already. Log in, or ask for a reset.\n"),
    "reset": ("Your password", "Set another password here within 30 minutes:\n\n{link}\n"),
}


def send_mail(to: str, subject: str, text: str) -> None:
    """Send a mail by MAIL_URL: `smtp://` (with TLS where one logs in), `smtps://`, or `log:`."""
    url = urlsplit(current_app.config["MAIL_URL"])
    if url.scheme == "log":
        logging.getLogger(__name__).warning("Mail to %s: %s", to, text)
        return
    message = EmailMessage()
    message["From"], message["To"] = current_app.config["MAIL_FROM"], to
    message["Subject"] = subject
    message.set_content(text)
    tls = ssl.create_default_context()
    if url.scheme == "smtps":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            url.hostname or "", url.port or 465, timeout=10, context=tls
        )
    else:
        smtp = smtplib.SMTP(url.hostname or "", url.port or 587, timeout=10)
    with smtp:
        if url.username:
            if url.scheme == "smtp":
                smtp.starttls(context=tls)
            smtp.login(unquote(url.username), unquote(url.password or ""))
        smtp.send_message(message, to_addrs=[to])
