"""The app of wsgi.py with `flask cors`. On your machine, `flask` loads it (.flaskenv)."""

import corscheck
from wsgi import app

app.cli.add_command(corscheck.commands)
