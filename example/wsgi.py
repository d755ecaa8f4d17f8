"""The app for WSGI servers: `gunicorn wsgi:app`. `flask run` finds it, too."""

from pathlib import Path

from app import create_app
from app.cors import load_env

# The variables that are set already override those in .env.
load_env(Path(__file__).with_name(".env"))

app = create_app()
