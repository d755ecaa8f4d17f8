"""The mail that accounts get. It is yours: send it another way, or in other words."""

import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from flask import current_app

TEXTS = {
    "new": ("Welcome", "Set your password within 30 minutes:\n\n{link}\n"),
    "exists": ("Welcome back", "You have an account already: log in, or ask for a new password.\n"),
    "reset": ("A new password", "Set another password within 30 minutes:\n\n{link}\n"),
}


def send_mail(to: str, subject: str, text: str) -> None:
    """Send a mail by MAIL_URL, with TLS where one logs in; `log:` is for development."""
    url = urlsplit(current_app.config["MAIL_URL"])
    if url.scheme == "log":
        current_app.logger.warning("Mail to %s: %s", to, text)
        return
    message = EmailMessage()
    message["From"], message["To"] = current_app.config["MAIL_FROM"], to
    message["Subject"] = subject
    message.set_content(text)
    with smtplib.SMTP(url.hostname or "", url.port or 587, timeout=10) as smtp:
        if url.username and url.password:
            smtp.starttls(context=ssl.create_default_context())
            smtp.login(unquote(url.username), unquote(url.password))
        smtp.send_message(message, to_addrs=[to])
