"""The shapes that answers have, and every combination of them that is accepted."""

from itertools import combinations as choices
from itertools import product
from typing import Any

ORIGINS: dict[str, Any] = {
    "default": "http://localhost:5173",
    "https": ["https://app.example.com"],
    "several": "https://app.example.com, https://admin.example.com:8443, http://localhost:3000",
    "pasted": [
        ' "https://App.Example.com/login?next=/" ',
        "http://LOCALHOST:03000/",
        "https://bücher.example:443",
        "https://app.example.com",
        "http://[0:0:0:0:0:0:0:1]:3000",
    ],
    "subdomains": ["https://*.example.com", "https://example.com"],
    "ports": "http://localhost:*",
    "previews": ["https://pr-*.example.com", "https://*.myapp.pages.dev"],
    "shared-previews": ["https://myapp-*-team.vercel.app", "https://*--mysite.netlify.app"],
    "ipv4": ["http://127.0.0.1:5500"],
    "ipv6": ["http://[::1]:3000", "http://localhost:5173"],
    "plain-http": ["http://intranet.example:8080"],
    "apps": [
        "capacitor://localhost",
        "https://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    ],
    "any": "any",
}

# Others could act as the user, so credentials are refused with these.
WITHOUT_CREDENTIALS = ("shared-previews", "plain-http", "any")

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
        "allowed_headers": "Content-Type, X-CSRF-Token, content-type",
        "exposed_headers": ["ETag", "X-Total-Count"],
        "preflight_max_age": 0,
    },
    "any": {"allowed_headers": ["*", "Authorization"], "exposed_headers": "any"},
}

NAMES = ("database", "container", "kubernetes", "github", "gitlab")
# The project with all of them comes first, so its own tests are among those that are run.
EXTRAS = [list(chosen) for size in (5, 0, 1, 2, 3, 4) for chosen in choices(NAMES, size)]


def with_login(extras: list[str]) -> list[str]:
    """Return extras with log-in, where they have the database that it needs."""
    return ["database", "login", *extras[1:]] if "database" in extras else extras


# With credentials, whether the frontends are on the API's site. The first is worked out.
SITES: list[dict[str, Any]] = [
    {},
    {"frontends_share_site": True},
    {"frontends_share_site": False},
]


def combinations() -> dict[str, dict[str, Any]]:
    """Return the answers of each combination by name, without those that are refused."""
    found = {}
    for number, (origins, methods, credentials) in enumerate(
        product(ORIGINS, METHODS, (False, True))
    ):
        if credentials and origins in WITHOUT_CREDENTIALS:
            continue
        headers = [name for name in HEADERS if not (credentials and name == "any")]
        chosen = headers[(number // 2 + number // 8) % len(headers)]
        # Five behind with credentials, which log-in needs: so all extras come with it and without.
        extras = EXTRAS[(number // 2 + number // 8 - 5 * credentials) % len(EXTRAS)]
        name = f"{origins}-{methods}-{'credentials' if credentials else 'anonymous'}-{chosen}"
        found[name] = {
            "project_name": 'The "Café" \\ API',
            "frontend_origins": ORIGINS[origins],
            "allowed_methods": METHODS[methods],
            "allow_credentials": credentials,
            **HEADERS[chosen],
            "extras": with_login(extras) if credentials else extras,
            **(SITES[number // 8 % len(SITES)] if credentials else {}),
        }
    return found


COMBINATIONS = combinations()


def pairs(name: str) -> set[tuple[str, str]]:
    """Return a combination's shapes of methods and of headers, each with its credentials."""
    methods, credentials, headers = name.split("-")[-3:]
    return {(f"{methods} methods", credentials), (f"{headers} headers", credentials)}


def covering() -> dict[str, dict[str, Any]]:
    """Return one combination for each shape of origins; together they have all pairs."""
    found: dict[str, dict[str, Any]] = {}
    seen: set[tuple[str, str]] = set()
    for origins in ORIGINS:
        names = [name for name in COMBINATIONS if name.startswith(f"{origins}-")]
        best = max(names, key=lambda name: len(pairs(name) - seen))
        seen |= pairs(best)
        found[best] = COMBINATIONS[best]
    return found


COVERING = covering()
