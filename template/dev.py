"""The app of wsgi.py with `flask cors`. On your machine, `flask` loads it (.flaskenv)."""

import corscheck
from wsgi import app

# Safari drops a Secure cookie on http://localhost, so nobody could log in there.
app.config.update(
    SESSION_COOKIE_SECURE=False,
    SESSION_COOKIE_SAMESITE="Lax",
    SESSION_COOKIE_PARTITIONED=False,
)

app.cli.add_command(corscheck.commands)
