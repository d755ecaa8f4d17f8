"""The sentences that browsers print in their consoles about blocked requests, word for word.

One table serves both ways: what each browser prints about an outcome, and what a pasted text says.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from .browser import TOKEN, Block, Outcome, PageRequest, list_items

# By browser, or other words of Firefox: the words of each cause, and what is around them.
WORDS: Mapping[str, Any] = tomllib.loads(
    Path(__file__).with_name("consoles.toml").read_text(encoding="utf-8")
)
CHROME, FIREFOX, SAFARI = (WORDS[browser] for browser in ("Chrome", "Firefox", "Safari"))

# Chrome says `preflight` only of what every response is checked for.
ONLY_PREFLIGHTS = (Block.METHOD, Block.HEADER, Block.MALFORMED_LIST)
PREFLIGHTS_FAIL = (Block.PREFLIGHT_REDIRECT, Block.PREFLIGHT_STATUS)


def sentences(request: PageRequest, url: str, outcome: Outcome) -> dict[str, str]:
    """Return what each browser prints about an outcome, by its name.

    `url` is the URL that the page asked for. Some browsers print nothing about some outcomes.
    """
    block, found = outcome.verdict.block, outcome.verdict.found
    if block is Block.MIXED_CONTENT:
        api = "XMLHttpRequest endpoint" if request.preflight else "resource"
        values: dict[str, Any] = {"origin": request.origin, "url": found, "api": api}
        return {
            browser: WORDS[browser][block.name].format(**values)
            for browser in ("Chrome", "Firefox", "Safari")
        }
    if block is None or block.name not in CHROME:
        return {}
    last = outcome.exchanges[-1]
    values = {
        "origin": request.origin,
        "url": last.url,
        "status": last.response.status,
        "found": found,
        "value": malformed_item(last.response.get(found.lower())),
    }
    watched = request.preflight  # which only XMLHttpRequest can
    return {
        "Chrome": in_chrome(outcome, url, "XMLHttpRequest" if watched else "fetch", values),
        "Firefox": in_firefox(outcome, values),
        "Safari": in_safari(outcome, request, "XMLHttpRequest" if watched else "Fetch API", values),
    }


def in_chrome(outcome: Outcome, url: str, api: str, values: dict[str, Any]) -> str:
    block, found = cast(Block, outcome.verdict.block), outcome.verdict.found
    cause = CHROME[block.name]
    if block is Block.OTHER_ALLOW_ORIGIN:
        cause = cause[not is_like_a_url(found)]
    if outcome.verdict.during_preflight and block not in ONLY_PREFLIGHTS:
        cause = CHROME["preflight"].replace("{cause}", cause)
    redirected = f" (redirected from '{url}')" if values["url"] != url else ""
    return in_frame(CHROME, cause, {**values, "api": api, "redirected": redirected})


def is_like_a_url(value: str) -> bool:
    return value == "null" or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", value) is not None


def in_firefox(outcome: Outcome, values: dict[str, Any]) -> str:
    block = cast(Block, outcome.verdict.block)
    names = [name.lower() for name, _ in outcome.response.headers]
    if block is Block.SEVERAL_ALLOW_ORIGINS and names.count("access-control-allow-origin") == 1:
        block = Block.OTHER_ALLOW_ORIGIN
    sentence = in_frame(FIREFOX, FIREFOX[block.name], values)
    if block is Block.WILDCARD_WITH_CREDENTIALS:
        return sentence.replace(values["url"], f"‘{values['url']}’")
    has_status = block in (Block.NO_ALLOW_ORIGIN, Block.PREFLIGHT_STATUS)
    return f"{sentence} Status code: {values['status']}." if has_status else sentence


def in_safari(outcome: Outcome, request: PageRequest, api: str, values: dict[str, Any]) -> str:
    block, found = cast(Block, outcome.verdict.block), outcome.verdict.found
    is_list = block is Block.SEVERAL_ALLOW_ORIGINS and "," in found
    if outcome.verdict.during_preflight and not 200 <= outcome.response.status <= 299:
        block = Block.PREFLIGHT_STATUS  # it looks at the status first
    elif block in (Block.OTHER_ALLOW_ORIGIN, Block.SEVERAL_ALLOW_ORIGINS) and not is_list:
        block = Block.NO_ALLOW_ORIGIN
    elif block is Block.HEADER:
        as_written = {name.lower(): name for name, _ in request.headers}
        values = {**values, "found": as_written[found]}
    return in_frame(SAFARI, SAFARI[block.name], {**values, "api": api})


def in_frame(words: Mapping[str, Any], cause: str, values: Mapping[str, Any]) -> str:
    sentence: str = words["frame"].format(**values, cause=cause.format(**values))
    return sentence


def malformed_item(value: str | None) -> str:
    return next((item for item in list_items(value) if not TOKEN.match(item)), "")


@dataclass(frozen=True)
class Said:
    """What a text from a console says of a blocked request: None is what it does not name.

    `block` is None too if the cause is in words that are not known here. `preflight` is whether
    the browser asked by a preflight.
    """

    url: str | None
    origin: str | None
    method: str | None
    header: str | None
    block: Block | None
    preflight: bool
    browser: str | None

    @property
    def credentials(self) -> bool:
        return self.block in (Block.WILDCARD_WITH_CREDENTIALS, Block.NO_ALLOW_CREDENTIALS)


# How that looks which a sentence names.
FIELDS = {
    "api": r"(?P<api>[\w ]{1,30}?)",
    "found": r"(?P<found>[^']*?)",
    "origin": r"(?P<origin>\S+?)",
    "page": r"(?P<origin>\w+://[^\s/']+)/\S*?",
    "redirected": r"(?: \(redirected from '(?P<first>\S+?)'\))?",
    "status": r"\d+",
    "url": r"'?(?P<url>\S+?)'?",
    "value": r".*?",
}
QUOTES = str.maketrans("‘’“”", "''\"\"")


def plain(text: str) -> str:
    return re.sub(r"«\s*|\s*»", "'", text.translate(QUOTES))


def to_pattern(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", plain(sentence).replace("{origin}/", "{page}"))
    return re.compile(
        "".join(FIELDS[part] if at % 2 else re.escape(part) for at, part in enumerate(parts))
    )


def all_words() -> Iterator[tuple[str, str, str]]:
    """Yield each sentence with the browser that says it and the name that it has in the table."""
    for section, words in WORDS.items():
        browser = section if section in ("Chrome", "Safari") else "Firefox"
        for name, sentences in words.items():
            for sentence in [sentences] if isinstance(sentences, str) else sentences:
                yield browser, name, sentence


def around(sentence: str) -> str:
    """Return what of a sentence names the URL, without the cause and what other versions say."""
    (line, *_) = (line for line in sentence.split("\n") if "{url}" in line)
    return re.split(r"\{cause\}| (?:content was|request has)", line)[0]


FRAMES = [
    (browser, to_pattern(around(sentence)))
    for browser, name, sentence in all_words()
    if name in ("frame", "MIXED_CONTENT", "WEBSOCKET")
]
CAUSES = [
    # Other versions end in other words, or in none.
    (Block[name], to_pattern(re.split(" Have the server| Status code|{url}", sentence)[0]))
    for _, name, sentence in all_words()
    if name in Block.__members__
]
# What Firefox says where no response came, and after a preflight that failed.
NO_RESPONSE = [to_pattern(sentence) for _, name, sentence in all_words() if name == "NO_RESPONSE"]
# Chrome and Firefox print each request that failed, too.
REQUEST = re.compile(
    r"\b(?:XHR ?)?(?!XHR)(?P<method>[A-Z]+) ?(?P<url>https?://\S+?) (?:net::ERR_FAILED|CORS [A-Z])"
)
ANY_URL = re.compile(r"(?P<url>https?://[^\s'\"()<>]*[\w/])")
# What Chrome calls that which it loads by GET.
LOADED = ("audio", "CSS stylesheet", "font", "image", "manifest", "script", "text track", "video")


def read(text: str) -> list[Said]:
    """Return what a pasted text says of each request that was blocked, in its order."""
    text = re.sub(r"^> ", "", plain(text), flags=re.MULTILINE)  # as e-mail quotes it
    text = " ".join(text.split())
    frames = [(match, name) for name, frame in FRAMES for match in frame.finditer(text)]
    tried = [
        (match, "Firefox" if "CORS" in match[0] else "Chrome") for match in REQUEST.finditer(text)
    ]
    by_place = {match.start(): (match, name) for match, name in frames or tried}
    marks = [by_place[place] for place in sorted(by_place)]
    if not marks:
        url = ANY_URL.search(text)
        said = said_in(text, url.groupdict() if url else {}, None, [])
        return [said] if said.block or (url and "CORS" in text) else []
    starts = [*(match.start() for match, _ in marks), len(text)]
    ends = [0, *(match.end() for match, _ in marks)]
    methods: dict[str, list[str]] = {}
    for match, _ in tried:
        methods.setdefault(match["url"], []).append(match["method"])
    found: list[Said] = []
    for at, (match, browser) in enumerate(marks):
        is_last = match[0].endswith("checks.")  # Safari names the URL after the cause
        part = text[ends[at] : ends[at + 1]] if is_last else text[starts[at] : starts[at + 1]]
        named = match.groupdict()
        asked = methods.get(named.get("first") or named["url"]) or methods.get(named["url"], [])
        said = said_in(part, named, browser, asked, -1 if is_last else 0)
        same = [number for number, one in enumerate(found) if one.url == said.url]
        if said.block is not None or not same:
            found.append(said)
            del asked[: len(asked) > 1]
        elif any(pattern.search(part) for pattern in NO_RESPONSE):
            found[same[-1]] = replace(found[same[-1]], preflight=True)
    return list(dict.fromkeys(found))


def said_in(
    part: str, named: dict[str, str], browser: str | None, asked: list[str], which: int = 0
) -> Said:
    """Return what a part of a text says of one request.

    `named` is what is around the cause, `asked` has the methods of the requests for its URL, and
    `which` is the place of its cause among those in the part.
    """
    causes = [(match, block) for block, cause in CAUSES for match in cause.finditer(part)]
    causes.sort(key=lambda one: one[0].start())
    cause, block = causes[which] if causes else (None, None)
    found = cause.groupdict().get("found") if cause else None
    origin = named.get("origin") or (cause and cause.groupdict().get("origin"))
    method = "GET" if named.get("api") in LOADED else next(iter(asked), named.get("method"))
    is_preflight = method == "OPTIONS"  # whose page does not say what it asked for
    return Said(
        url=named.get("first") or named.get("url"),
        origin=origin,
        method=found if block is Block.METHOD and found else None if is_preflight else method,
        header=found if block is Block.HEADER else None,
        block=block,
        preflight=is_preflight
        or CHROME["preflight"].removesuffix("{cause}") in part
        or block in (*ONLY_PREFLIGHTS, *PREFLIGHTS_FAIL),
        browser=browser,
    )
