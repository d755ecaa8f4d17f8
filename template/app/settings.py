"""Your settings. The environment overrides them: `FLASK_X` there sets `X`.

The CORS policy is in app/answers.py, and `copier update` changes it (README.md). Of what is
there, set only the session cookie's attributes here if you need others.
"""

# The largest request body accepted, in bytes; a larger one is answered 413.
MAX_CONTENT_LENGTH = 1_000_000
