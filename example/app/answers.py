"""Your answers to the template's questions. Updates change this file: do not edit it."""

# Pages on these origins may use the API.
CORS_ORIGINS: list[str] = ["http://localhost:5173"]

# The methods that they may use.
CORS_METHODS: list[str] = ["GET", "POST", "PUT", "PATCH", "DELETE"]

# Whether they may send cookies and HTTP authentication.
CORS_SUPPORTS_CREDENTIALS = False

# The request headers that they may set, besides those that any page may.
CORS_ALLOW_HEADERS: list[str] = ["Content-Type", "Authorization"]

# The response headers that they may read, besides those that any page may.
CORS_EXPOSE_HEADERS: list[str] = ["X-Request-ID"]

# For how many seconds a browser may remember a preflight; -1 for never.
CORS_MAX_AGE = 600

# The session cookie: sent over https only, and to the API from pages of its own site.
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_PARTITIONED = False

# The modules of your extras, which create_app connects.
EXTRAS: list[str] = []
