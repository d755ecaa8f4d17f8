"""What is valid in a policy, but rarely right in production."""

from collections.abc import Iterator

from .origins import is_for_development, is_loopback, origin_notes, site, split_origin
from .policies import SAFE_METHODS, Policy

# How long Chromium caches a preflight at most, in seconds. Only Firefox caches them for longer.
CHROMIUM_MAX_AGE = 7200


def risks(policy: Policy, debug: bool, whose: str = "the API's") -> Iterator[str]:
    """Yield the risks of a policy. `whose` responses go by it."""
    if policy.is_public:
        yield f"every site can read {whose} responses"
        if unsafe := [method for method in policy.methods if method not in SAFE_METHODS]:
            yield f"every page may run {', '.join(unsafe)}: no origin is refused"
    for origin in policy.origins:
        yield from origin_risks(policy, origin, debug)
    if not policy.protection:
        yield (
            "the protection is off: nothing is refused, so every site can make the API act, by a"
            " form for example"
        )
    if policy.supports_credentials and len(policy.origins) > 10:
        yield f"{len(policy.origins)} origins can each act as a logged-in user"
    if policy.max_age > CHROMIUM_MAX_AGE:
        yield (
            f"preflights may be cached for {policy.max_age} s, but Chromium caches them for at most"
            f" {CHROMIUM_MAX_AGE} s, and Safari for 600 s"
        )


def origin_risks(policy: Policy, origin: str, debug: bool) -> Iterator[str]:
    if is_loopback(origin):
        if not debug and is_for_development(origin):
            yield f"{origin}: fine in development; remove it in production"
    elif origin.startswith("http://"):
        yield f"{origin}: anyone on the network can change a page that is sent over plain http"
    if "*" in split_origin(origin)[1]:
        yield from (f"{origin}: {note}" for note in origin_notes(origin))
        if policy.supports_credentials:
            yield f"{origin}: any host that matches, even a forgotten one, can act as the user"


def cookie_risks(policy: Policy, same_site: str | None) -> Iterator[str]:
    """Yield whose pages get no session cookie: `same_site` is its attribute in a deployment."""
    if not policy.supports_credentials or same_site != "Lax":
        return
    first: dict[object, str] = {}
    for origin in policy.origins:
        if not is_for_development(origin):
            first.setdefault(site(origin), origin)
    if len(first) > 1:
        yield (
            f"{' and '.join(first.values())} are on several sites, and the session cookie is sent"
            " from the API's own only; to send it from all: uvx copier update"
            " --vcs-ref=:current: --defaults -d frontends_share_site=no"
        )


def risks_of_paths(policy: Policy, debug: bool) -> Iterator[str]:
    """Yield the risks of paths with a policy of their own, but for those that they inherit."""
    inherited = set(risks(policy, debug, "its"))
    for path, own in policy.paths.items():
        found = risks(own, debug, "its")
        yield from (f"{path}: {risk}" for risk in found if risk not in inherited)


def notes(policy: Policy, api: str) -> Iterator[str]:
    """Yield what the owner should know, such as which origin an app has on other systems."""
    for origin in policy.origins:
        if "*" not in origin:
            yield from (f"{origin}: {note}" for note in origin_notes(origin))
    if policy.supports_credentials:
        yield asking_for_credentials(f"{api}/api/echo")
    for path, own in policy.paths.items():
        if own.supports_credentials and not policy.supports_credentials:
            yield asking_for_credentials(f"{api}{path}")


def asking_for_credentials(url: str) -> str:
    return (
        "the frontend has to ask for credentials, each time:"
        f' fetch("{url}", {{ credentials: "include" }})'
    )
