"""The shapes that answers come in, and every combination of them that is accepted."""

from itertools import product
from typing import Any

ORIGINS: dict[str, Any] = {
    "default": "http://localhost:5173",
    "https": ["https://app.example.com"],
    "several": "https://app.example.com, https://admin.example.com:8443, http://localhost:3000",
    "subdomains": ["https://*.example.com", "https://example.com"],
    "ports": "http://localhost:*",
    "ipv4": ["http://127.0.0.1:5500"],
    "ipv6": ["http://[::1]:3000", "http://localhost:5173"],
    "plain-http": ["http://intranet.example:8080"],
    "any": "any",
}

METHODS: dict[str, list[str]] = {
    "default": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "read": ["GET"],
    "write": ["PUT", "DELETE"],
    "all": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
}

HEADERS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"allowed_headers": [], "exposed_headers": [], "preflight_max_age": -1},
    "own": {
        "allowed_headers": "Content-Type, X-CSRF-Token",
        "exposed_headers": ["ETag", "X-Total-Count"],
        "preflight_max_age": 0,
    },
    "any": {"allowed_headers": ["*", "Authorization"], "exposed_headers": "any"},
}


def combinations() -> dict[str, dict[str, Any]]:
    """Return the answers of each combination by name; forbidden ones are left out."""
    found = {}
    for origins, methods, credentials in product(ORIGINS, METHODS, (False, True)):
        if credentials and origins in ("any", "plain-http"):
            continue
        headers = [name for name in HEADERS if not (credentials and name == "any")]
        chosen = headers[len(found) % len(headers)]
        name = f"{origins}-{methods}-{'credentials' if credentials else 'anonymous'}-{chosen}"
        found[name] = {
            "project_name": 'The "Café" \\ API',
            "frontend_origins": ORIGINS[origins],
            "allowed_methods": METHODS[methods],
            "allow_credentials": credentials,
            **HEADERS[chosen],
        }
    return found


COMBINATIONS = combinations()
