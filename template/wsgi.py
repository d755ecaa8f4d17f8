"""The app for WSGI servers: `gunicorn wsgi:app`, and `flask run` on your machine."""

from pathlib import Path

from dotenv import load_dotenv

from app import create_app

# `flask run` reads .env by itself, other servers do not. What is set already wins.
load_dotenv(Path(__file__).with_name(".env"))

app = create_app()
