# Lines to read in the log, in place of JSON.
FLASK_LOG_FORMAT=text

# Safari drops a Secure cookie on http://localhost, so nobody could log in there.
FLASK_SESSION_COOKIE_SECURE=false
FLASK_SESSION_COOKIE_SAMESITE=Lax
FLASK_SESSION_COOKIE_PARTITIONED=false

# Read by `flask` on your machine. macOS has taken port 5000, Flask's own choice.
FLASK_RUN_PORT=8000
