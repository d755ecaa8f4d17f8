"""The sentences that browsers print in their consoles about blocked requests, word for word.

One table serves both ways: what each browser prints about an outcome, and what a pasted text says.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .browser import TOKEN, Block, Outcome, PageRequest, list_items

# By browser, or other words of Firefox: the words of each cause, and what is around them.
WORDS: Mapping[str, Any] = tomllib.loads(
    Path(__file__).with_name("consoles.toml").read_text(encoding="utf-8")
)
CHROME = WORDS["Chrome"]
BROWSERS = ("Chrome", "Firefox", "Safari")

# Chrome says `preflight` only of what every response is checked for.
ONLY_PREFLIGHTS = (Block.METHOD, Block.HEADER, Block.MALFORMED_LIST)
PREFLIGHTS_FAIL = (Block.PREFLIGHT_REDIRECT, Block.PREFLIGHT_STATUS)


def sentences(request: PageRequest, url: str, outcome: Outcome) -> dict[str, str]:
    """Return what each browser prints about an outcome, by its name.

    `url` is the URL that the page asked for. Some browsers print nothing about some outcomes.
    """
    block, found = outcome.verdict.block, outcome.verdict.found
    if block is None or block.name not in CHROME:
        return {}
    xhr = "XMLHttpRequest" if request.preflight else ""  # only it watches an upload
    values: dict[str, Any] = {"origin": request.origin, "url": found, "found": found}
    if block is Block.MIXED_CONTENT:
        values["api"] = f"{xhr} endpoint" if xhr else "resource"
        return {browser: WORDS[browser][block.name].format(**values) for browser in BROWSERS}
    last = outcome.exchanges[-1]
    items = list_items(last.response.get(found.lower()))
    malformed = (one for one in items if not TOKEN.match(one))
    values |= {"url": last.url, "status": last.response.status, "value": next(malformed, "")}
    redirected = f" (redirected from '{url}')" if last.url != url else ""
    as_written = {name.lower(): name for name, _ in request.headers}.get(found, found)
    chrome = values | {"api": xhr or "fetch", "redirected": redirected}
    safari = values | {"api": xhr or "Fetch API", "found": as_written}
    return {
        "Chrome": in_chrome(block, outcome, chrome),
        "Firefox": in_firefox(block, outcome, values),
        "Safari": in_safari(block, outcome, safari),
    }


def in_chrome(block: Block, outcome: Outcome, values: dict[str, Any]) -> str:
    cause = CHROME[block.name]
    if block is Block.OTHER_ALLOW_ORIGIN:
        is_like_a_url = re.match(r"null\Z|[A-Za-z][A-Za-z0-9+.-]*:.", values["found"])
        cause = cause[is_like_a_url is None]
    if outcome.verdict.during_preflight and block not in ONLY_PREFLIGHTS:
        cause = CHROME["preflight"].replace("{cause}", cause)
    return framed("Chrome", cause, values)


def in_firefox(block: Block, outcome: Outcome, values: dict[str, Any]) -> str:
    names = [name.lower() for name, _ in outcome.response.headers]
    if block is Block.SEVERAL_ALLOW_ORIGINS and names.count("access-control-allow-origin") == 1:
        block = Block.OTHER_ALLOW_ORIGIN
    if block is Block.WILDCARD_WITH_CREDENTIALS:
        values = {**values, "url": f"‘{values['url']}’"}
    sentence = framed("Firefox", WORDS["Firefox"][block.name], values)
    has_status = block in (Block.NO_ALLOW_ORIGIN, Block.PREFLIGHT_STATUS)
    return f"{sentence} Status code: {values['status']}." if has_status else sentence


def in_safari(block: Block, outcome: Outcome, values: dict[str, Any]) -> str:
    is_list = "," in outcome.verdict.found
    if outcome.verdict.during_preflight and not 200 <= values["status"] <= 299:
        block = Block.PREFLIGHT_STATUS  # it looks at the status first
    elif block is Block.OTHER_ALLOW_ORIGIN or block is Block.SEVERAL_ALLOW_ORIGINS and not is_list:
        block = Block.NO_ALLOW_ORIGIN
    return framed("Safari", WORDS["Safari"][block.name], values)


def framed(browser: str, cause: str, values: dict[str, Any]) -> str:
    sentence: str = WORDS[browser]["frame"].replace("{cause}", cause)
    return sentence.format(**values)


@dataclass(frozen=True)
class Said:
    """What a text from a console says of a blocked request: None is what it does not name.

    `block` is None too if the cause is in words that are not known here. `preflight` is whether
    the browser asked by a preflight, and `unanswered` whether it got no response.
    """

    url: str | None
    origin: str | None
    method: str | None
    header: str | None
    block: Block | None
    preflight: bool
    unanswered: bool
    browser: str | None

    @property
    def credentials(self) -> bool:
        return self.block in (Block.WILDCARD_WITH_CREDENTIALS, Block.NO_ALLOW_CREDENTIALS)


# How that looks which a sentence names.
FIELDS = {
    "api": r"(?P<api>[\w ]{1,30}?)",
    "found": r"(?P<found>[^']*?)",
    "origin": r"(?P<origin>null|[\w+.-]+://[^\s/']*)(?:/\S*?)?",
    "redirected": r"(?: \(redirected from '(?P<first>\S+?)'\))?",
    "url": r"['\"]?(?P<url>\S+?)['\"]?\.?(?=\s|\Z)",
    "value": r".*?",
}


def plain(text: str) -> str:
    """Return a text with one kind of quotes, whatever the language."""
    return re.sub(r"«\s*|\s*»|[‘’]", "'", re.sub("[“”]", '"', text))


def to_pattern(sentence: str) -> re.Pattern[str]:
    sentence = re.sub(r"['\"]?\{url\}['\"]?\.?", "{url}", plain(sentence))
    escaped = re.escape(sentence.replace("{origin}/", "{origin}"))
    return re.compile(re.sub(r"\\\{(\w+)\\\}", lambda field: FIELDS[field[1]], escaped))


# What of a sentence names the URL, and what names the cause. Other versions end in other words.
FRAMES: list[tuple[str, re.Pattern[str]]] = []
CAUSES: list[tuple[Block, re.Pattern[str]]] = []
NO_RESPONSE: list[re.Pattern[str]] = []
for section, words in WORDS.items():
    for name, texts in words.items():
        for text in [texts] if isinstance(texts, str) else texts:
            if "{url}" in text:
                (line, *_) = (line for line in text.split("\n") if "{url}" in line)
                around = re.split(r"\{cause\}|(?<=This) ", line)[0]
                FRAMES.append((section if section in BROWSERS else "Firefox", to_pattern(around)))
            if name in Block.__members__:
                head = re.split(" Have the server| Status code|{url}", text)[0]
                CAUSES.append((Block[name], to_pattern(head)))
            if name == "NO_RESPONSE":
                NO_RESPONSE.append(to_pattern(text))

# Chrome and Firefox print each request that failed, too.
REQUEST = re.compile(
    r"\b(?:XHR ?)?(?!XHR)(?P<method>[A-Z]+) ?(?P<url>https?://\S+?) (?:net::ERR_FAILED|CORS [A-Z])"
)
ANY_URL = re.compile(r"(?P<url>https?://[^\s'\"()<>]*[\w/])|\Z")
# What Chrome calls that which it loads by GET.
LOADED = ("audio", "CSS stylesheet", "font", "image", "manifest", "script", "text track", "video")


def read(text: str) -> list[Said]:
    """Return what a pasted text says of each request that was blocked, in its order."""
    text = " ".join(re.sub(r"^> ", "", plain(text), flags=re.MULTILINE).split())  # > of e-mails
    methods: dict[str, list[str]] = {}
    requests = [*REQUEST.finditer(text)]
    for request in requests:
        methods.setdefault(request["url"], []).append(request["method"])
    marks = [(match, browser) for browser, frame in FRAMES for match in frame.finditer(text)]
    marks = marks or [(one, "Firefox" if "CORS" in one[0] else "Chrome") for one in requests]
    marks.sort(key=lambda mark: mark[0].start())
    before = [0, *(match.end() for match, _ in marks)]
    after = [*(match.start() for match, _ in marks[1:]), len(text)]
    found: list[Said] = []
    for (match, browser), start, end in zip(marks, before, after, strict=False):
        is_last = browser == "Safari"  # which names the URL after the cause
        part = text[start : match.end()] if is_last else text[match.start() : end]
        named = match.groupdict()
        asked = methods.get(named.get("first") or named["url"]) or methods.get(named["url"], [])
        said = said_in(part, named, browser, asked)
        same = [number for number, one in enumerate(found) if one.url == said.url]
        if said.block is not None or not same:
            found.append(said)
            del asked[: len(asked) > 1]
        elif said.unanswered:  # after a failed preflight
            found[same[-1]] = replace(found[same[-1]], preflight=True)
    if not marks and (url := ANY_URL.search(text)):
        said = said_in(text, url.groupdict(), None, [])
        found = [said] if said.block or (said.url and "CORS" in text) else []
    return list(dict.fromkeys(found))


def said_in(part: str, named: dict[str, str], browser: str | None, asked: list[str]) -> Said:
    """Return what a part of a text says of one request.

    `named` is what is around the cause, and `asked` has the methods of the requests for its URL.
    """
    causes = [(match, block) for block, cause in CAUSES for match in cause.finditer(part)]
    causes.sort(key=lambda one: one[0].start())
    cause, block = causes[-1 if browser == "Safari" else 0] if causes else (None, None)
    values = {**(cause.groupdict() if cause else {}), **named}
    found = values.get("found")
    method = "GET" if values.get("api") in LOADED else next(iter(asked), values.get("method"))
    is_preflight = method == "OPTIONS"  # whose page does not say what it asked for
    return Said(
        url=values.get("first") or values.get("url"),
        origin=values.get("origin"),
        method=(block is Block.METHOD and found) or (None if is_preflight else method),
        header=found if block is Block.HEADER else None,
        block=block,
        preflight=is_preflight
        or CHROME["preflight"].removesuffix("{cause}") in part
        or block in (*ONLY_PREFLIGHTS, *PREFLIGHTS_FAIL),
        unanswered=any(pattern.search(part) for pattern in NO_RESPONSE),
        browser=browser,
    )
