"""Your settings. The environment overrides them: `FLASK_X` there sets `X`.

The CORS policy is in app/answers.py, and `copier update` changes it (README.md). Of what is
there, set only the session cookie's attributes here if you need others.
"""

# Paths with a CORS policy of their own, each with all that is below it. What one leaves out is as
# in the answers: {"/api/public": {"origins": ["any"], "methods": ["GET"]}}.
CORS_PATHS: dict[str, dict[str, object]] = {}

# How many proxies are in front of the app and set X-Forwarded-For, -Proto and -Host.
PROXIES = 0

# The largest request body accepted, in bytes; a larger one is answered 413.
MAX_CONTENT_LENGTH = 1_000_000
