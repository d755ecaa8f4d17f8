"""One line in the log for each request that a browser will block, and never a flood of them."""

import logging
import time
from threading import Lock
from typing import TYPE_CHECKING

from app.cors import why
from app.cors.fetch import Request, Response, Verdict, check_preflight, cors_check
from app.cors.policy import Policy
from app.cors.rules import show

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger(__name__)

# A hostile client can cause lines at will: this many at once, then one in so many seconds.
BURST = 20
SECONDS_A_LINE = 3.0

# Set in the environ of a request of `flask cors explain`, which says itself what is blocked.
EXPLAINED = "app.cors.explained"

# A value that is never safelisted: a preflight names only headers that are not.
UNSAFE = "\0"


class BlockedLog:
    """Judges responses as a browser will, and writes why it blocks them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.header_names = {"", *(name.lower() for name in policy.allow_headers)}
        self.longest = len(",".join(self.header_names))
        self.lock = Lock()
        # Each line written takes up some of the time to come (the generic cell rate algorithm).
        self.spent_until = 0.0
        self.left_out = 0

    def foresees(self, environ: "WSGIEnvironment") -> bool:
        """Return whether a preflight asks only for what the policy allows: then do not judge it."""
        names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        method = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
        return (
            method in self.policy.methods
            and len(names) <= self.longest
            and self.header_names.issuperset(names.split(","))
        )

    def judge(
        self,
        environ: "WSGIEnvironment",
        status: str,
        headers: list[tuple[str, str]],
        is_preflight: bool,
    ) -> None:
        """Write a line if a page sent this request and its browser will not let it go on."""
        origin: str = environ["HTTP_ORIGIN"]
        # A browser checks what `fetch` sends in mode "cors", and not within one origin.
        mode = environ.get("HTTP_SEC_FETCH_MODE", "cors")
        if mode != "cors" or origin.partition("://")[2] == environ.get("HTTP_HOST"):
            return
        if EXPLAINED in environ:
            return
        # Where no line may be written, do not judge: a hostile client can make it long.
        if self.spent_until > time.monotonic() + (BURST - 1) * SECONDS_A_LINE:
            with self.lock:
                self.left_out += "Access-Control-Allow-Origin" not in dict(headers)
            return
        method: str = environ["REQUEST_METHOD"]
        response = Response(int(status[:3]), tuple(headers))
        if is_preflight:
            method = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
            names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").split(",")
            asked = tuple((name.strip(), UNSAFE) for name in names if name.strip())
            request = Request(origin, method, asked, preflight=True)
            verdict = check_preflight(request, response)
        else:
            request = Request(origin, method, credentials="HTTP_COOKIE" in environ)
            verdict = cors_check(request, response)
        if not verdict.allowed:
            self.write(environ["PATH_INFO"], request, verdict)

    def write(self, path: str, request: Request, verdict: Verdict) -> None:
        with self.lock:
            self.spent_until = max(self.spent_until, time.monotonic()) + SECONDS_A_LINE
            left_out, self.left_out = self.left_out, 0
        assert verdict.block is not None
        logger.warning(
            "CORS: a browser blocks %s %s from %s: %s: %s%s",
            show(request.method),
            show(path),
            show(request.origin),
            verdict.block.value,
            why.remedy(self.policy, request, verdict).miss,
            f" ({left_out} more were left out)" if left_out else "",
        )
