"""Chromium is the oracle: what the readers accept is what `new URL(…).origin` says.

It is asked for an origin that a wildcard stands for, and for the parts of an app's origin, which
it calls opaque. What it takes and the readers refuse is refused for a reason that is named here.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

import pytest
from cases import SECTIONS, all_items, flatten
from chromium import Chromium
from readers import ROOT, advice, at_start, read

PARSE = """
(texts) => texts.map((text) => {
  try {
    const url = new URL(text);
    return [url.origin, `${url.protocol}//${url.host}`];
  } catch {
    return ["", ""];
  }
})
"""

# Parts of the reasons, by kind.
REASONS = {
    "not how an origin is written": [
        ":// follows the scheme",
        "it has two schemes",
        "browsers take a backslash for a slash",
        "an origin has no user name",
        "a space or a separator is inside",
        "a quote or an invisible character is inside",
        "a regular expression is not an origin",
        "it is too long for an origin",
    ],
    "a host that is another one than it looks like, or of no use on the web": [
        "with a dot at its end it is another host to a browser",
        "a part between two dots is empty",
        "a part between two dots is longer than 63 characters",
        "it is longer than 253 characters",
        "browsers take a host that ends in a number for an IPv4 address",
        "other punctuation is no part of a host's name",
        "browsers decode what follows a percent sign",
        "it is not an IPv6 address",  # an IPv4 address at its end that has a number such as 04
    ],
    "letters that the readers do not convert, and punycode that other browsers refuse": [
        "only a browser can convert some of its letters",
        "one part is in letters, another in punycode",
        "is not punycode",
    ],
    "no port of a server": ["the port is not a number in that range"],
    "a * that is no wildcard, or too wide a wildcard": [
        "a * is the whole first part of the host, or next to a hyphen in it",
        "a * alone is no host",
        "anyone can get a name under",
    ],
    "another scheme around it": ["the origin is that of the URL inside"],
}
# For these, Chromium takes the item for the origin that the advice says to write.
SAME_ORIGIN = [
    ":// follows the scheme",
    "browsers take a backslash for a slash",
    "an origin has no user name",
]


class Parsed(NamedTuple):
    origin: str
    parts: str


Ask = Callable[[Iterable[str]], list[Parsed]]


@pytest.fixture
def ask(browser: Chromium) -> Ask:
    """Ask Chromium what it makes of texts, "" if no URL. Its texts have no lone surrogates."""

    def ask(texts: Iterable[str]) -> list[Parsed]:
        given = [
            text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts
        ]
        return [Parsed(*answer) for answer in browser.tab.evaluate(PARSE, given)]

    return ask


def bare(text: str) -> str:
    """Return a text without the spaces, quotes and separators around it."""
    while text and is_around(text[0]):
        text = text[1:]
    while text and is_around(text[-1]):
        text = text[:-1]
    return text


def is_around(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp", "Pi", "Pf")
        or character in ",;\"'`<>\u201a\u201e"
        or "\ufe00" <= character <= "\ufe0f"
    )


def stand_in(origin: str) -> str:
    """Return an origin that a wildcard stands for, any other one as it is."""
    return origin.replace(":*", ":8443").replace("*", "a")


# What is generated

SCHEMES = [
    *["https://", "http://"] * 30,
    *["HTTPS://", "Http://", "https:", "https:/", "https:///", "http:\\\\", "HTTP:\\/", "//", ""],
    *["https;//", "http//", "htps://", "ttp://", "ftp://", "ws://", "wss://", "file://", "data:"],
    *["capacitor://", "TAURI://", "app://", "blob:https://", "chrome-extension://"],
    *["https://https://", "view-source:https://", "javascript:"],
]
PARTS = [
    *["a", "app", "App", "EXAMPLE", "com", "uk", "github", "io", "localhost", "my-app", "my_app"],
    *["-a", "a-", "_", "ab--c", "1", "123", "0x7f", "0x", "08", "256", "1a", "a" * 63, "a" * 64],
    *["xn--bcher-kva", "xn--4gbrim", "xn--zz9", "xn--0", "xn--a", "xn--", "XN--FA-HIA", "axn--b"],
    *["bücher", "BÜCHER", "faß", "FAẞ", "日本", "почта", "ПОЧТА", "한국", "カタカナ", "ー", "việt"],
    *["موقع", "אב", "אב1", "1אב", "אבa", "aאב", "א-ב", "א-", "-א", "א_ב", "א日本", "ñאב"],
    *["ΟΔΟΣ", "οδος", "İstanbul", "ıstanbul", "\u212aelvin", "é", "e\u0301", "☃", "ｅx", "ﬁn"],
    *["ü" * 30, "ü" * 60, "*", "*", "pr-*", "*-x", "ü-*", "a*", "**"],
]
ADDRESSES = [
    *["127.0.0.1", "127.1", "1.2.3", "256.1.1.1", "1.2.3.4.5", "0x7f.0.0.1", "2130706433"],
    *["127.0.0.01", "1.2.3.4.", "[::1]", "[0:0:0:0:0:0:0:1]", "[2001:DB8::A]", "[::ffff:1.2.3.4]"],
    *["[fe80::1%eth0]", "[1:2:3]", "[1::2::3]", "[::g]", "[]", "[::1", "::1", "[1:0:0:2::3]"],
    *["[::]", "[1:2:3:4:5:6:7::]", "[0:0:0:1::]", "[::1.2.3.04]", "[::1.2.3.4]", "[1::1:0:0:0]"],
]
PORTS = [
    *[""] * 30,
    *[":80", ":443", ":3000", ":0", ":00", ":080", ":0443", ":65535", ":65536", ":", "::", ":-1"],
    *[":+1", ":a", ":*", ":8080", ":٣", ":99999999999", ":3000:3000", ": 80", ":１２"],
]
TAILS = [
    *[""] * 30,
    *["/", "//", "/a/b", "/a b", "?q", "#f", "/?a#b", "/*", "/@x", "?x=https://y", "/a:80", "\\a"],
    *["/ü", "/%zz", "/a,b", "/'", "/a;b", "/$"],
]
AROUND = [*[""] * 40, *" '\"<>`,;\t\n\ufeff\u00a0“”\u200b\0\x1b"]
ODD = [
    *"-_.*:/\\?#@%[]!$&'()+,;=~^|`{}<>\" \t\n\rßẞİıKΣςüжЯ日한。．｡אא1０ａ☃😀・ー々〇·",
    *["\xad", "\u200b", "\u200d", "\u0301", "\ufeff", "\u202e", "\u2028", "\0", "\x7f", "\x85"],
    *["\xa0", "\ud800", "\ufffd", "\u0640", "..", "//", "--", "xn--", "%2e", "%41", "0x", "80"],
]


def generated(rng: Random, count: int) -> Iterable[str]:
    for _ in range(count):
        text = "".join(
            [
                rng.choice(SCHEMES),
                rng.choice([*[""] * 40, "u@", "u:p@", "@"]),
                a_host(rng),
                rng.choice(PORTS),
                rng.choice(TAILS),
            ]
        )
        text = f"{rng.choice(AROUND)}{text}{rng.choice(AROUND)}"
        for _ in range(rng.choice([0, 0, 0, 0, 0, 0, 1, 2])):
            text = edited(text, rng)
        yield text


def a_host(rng: Random) -> str:
    if rng.random() < 0.15:
        return rng.choice(ADDRESSES)
    parts = rng.choices(PARTS, k=rng.choice([1, 1, 2, 2, 2, 3, 3, 6]))
    if rng.random() < 0.5:
        parts.append(rng.choice(["com", "example.com", "de", "localhost"]))
    return ".".join(parts) + rng.choice([*[""] * 12, ".", ".."])


def edited(text: str, rng: Random) -> str:
    """Insert an odd character or any, drop one, or change the case of one."""
    at = rng.randrange(len(text) + 1)
    start, one, end = text[:at], text[at : at + 1], text[at + 1 :]
    anything = chr(rng.choice([rng.randrange(0x20, 0x700), rng.randrange(0x1E00, 0x20000)]))
    return rng.choice(
        [
            f"{start}{rng.choice(ODD)}{one}{end}",
            f"{start}{anything}{one}{end}",
            f"{start}{end}",
            f"{start}{one.swapcase()}{end}",
        ]
    )


# What is held to it


def test_accepted_is_what_chromium_says(ask: Ask) -> None:
    left = [case[0] for cases in SECTIONS["origins_at_start"].values() for case in flatten(cases)]
    items = [*all_items("origins"), *left, *generated(Random(13), 4000)]
    verdicts = [read("origins", item) for item in items]
    parsed = ask(map(bare, items))
    stood = ask(stand_in(origin) for origin, _ in verdicts)
    counts: Counter[str] = Counter()
    for item, verdict, asked, stand in zip(items, verdicts, parsed, stood, strict=True):
        origin, problem = verdict
        if problem is not None:
            counts.update(refused(item, problem, asked))
        elif origin != "*":
            counts["accepted"] += 1
            assert_is_as_parsed(origin, asked, stand)
    reasons = {reason for kind in REASONS.values() for reason in kind}
    assert reasons - set(counts) == set() and counts["accepted"] > 700, counts


def assert_is_as_parsed(origin: str, asked: Parsed, stand: Parsed) -> None:
    if not origin.startswith(("http://", "https://")):
        assert origin == asked.parts
    elif "*" in origin:
        assert stand_in(origin) == stand.origin
    else:
        assert origin == asked.origin == stand.origin


def refused(item: str, problem: str, asked: Parsed) -> list[str]:
    """Return the reason for which what Chromium takes for an origin is refused."""
    if not asked.origin.startswith(("http://", "https://")):
        return []
    (reason,) = {reason for kind in REASONS.values() for reason in kind if reason in problem[-150:]}
    if reason in SAME_ORIGIN and not any(mark in item for mark in " ;%*"):
        origin, further = at_start("origins", str(advice(item, problem)))
        assert further is not None or origin == asked.origin, item
    return [reason]


def test_letters_are_converted_as_chromium_does(ask: Ask) -> None:
    """Each range of letters that the table names, at its ends, and a sample, in each place."""
    rng = Random(13)
    ranges = [
        range(int(first, 16), int(last, 16) + 1)
        for row in re.findall(r"^(?:let\t<rtl>|.*only a browser).*$", TABLE, re.MULTILINE)
        for first, last in re.findall(r"\\[xu]([0-9a-f]+)-\\[xu]([0-9a-f]+)", row)
        if first != "00"
    ]
    ends = {code for r in ranges for code in (r[0] - 1, r[0], r[-1], r[-1] + 1)}
    sample = {rng.choice(r) for r in ranges for _ in range(20)} | {*rng.sample(ANYTHING, 800)}
    places = ["https://{}b.example", "https://a{}.example", "https://א{}", "https://x.א.{}:80"]
    items = [place.format(chr(code)) for code in sorted(ends | sample) for place in places]
    verdicts = [read("origins", item) for item in items]
    for (origin, problem), asked in zip(verdicts, ask(items), strict=True):
        assert problem is not None or origin == asked.origin
    assert sum(problem is None for _, problem in verdicts) > 1000


ANYTHING = [*range(0x80, 0xD800), *range(0xE000, 0x20000)]
TABLE = (ROOT / "whycors/rules.tsv").read_text(encoding="utf-8")
