"""Which origins a policy allows: its one matcher, held to the attack's independent judge."""

import random
import re
from collections import Counter

import hostile
import pytest
from cases import refused
from publicsuffixlist import PublicSuffixList
from readers import ROOT, at_prompt, at_start
from test_start_takes import started

from app.cors import Policy

STARTS = ["*.", "*.", "*.a_b.", "pr-*.", "*--shop.", "a-*-b.", "*-.", "-*.", "-*-."]
DOMAINS = ["example.com", "a.example.com", "b-b.example.com", "x" * 63 + ".example", "localhost"]
PORTS = ["", "", ":*", ":8443"]


def policy_of(*allowed: str) -> Policy:
    return Policy(tuple(allowed), ("GET",), False, (), (), 600)


def a_policy(rng: random.Random) -> tuple[str, ...]:
    return tuple(
        {
            f"{rng.choice(['http', 'https'])}://{rng.choice(STARTS)}{rng.choice(DOMAINS)}{rng.choice(PORTS)}"
            for _ in range(rng.choice([1, 1, 2, 5, 30]))
        }
    )


def test_wildcards_are_judged_alike() -> None:
    """Of what each stands for, of mutations and of look-alikes."""
    rng = random.Random(13)
    verdicts = {True: 0, False: 0}
    for _ in range(400):
        allowed = a_policy(rng)
        assert [at_start("origins", origin) for origin in allowed] == [(o, None) for o in allowed]
        policy, judged = policy_of(*allowed), hostile.Policy(allowed)
        for _ in range(50):
            origin = hostile.example(judged, rng)
            if rng.random() < 0.7:
                origin = hostile.hostile_origin(judged, rng)[:2000]
            meant = hostile.is_meant(judged, origin)
            assert policy.allows(origin) == meant, (allowed, origin)
            verdicts[meant] += 1
    assert min(verdicts.values()) > 4000


LONG = ".".join(["a" * 63] * 3)  # 191 characters


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b-_c.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://aexample.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "https://a..example.com", False),
        ("https://*.example.com", "https://A.example.com", False),
        ("https://*.example.com", "https://a.example.com.", False),
        ("https://*.example.com", "https://a.example.com\n", False),
        ("https://*.example.com", f"https://{'a' * 63}.example.com", True),
        ("https://*.example.com", f"https://{'a' * 64}.example.com", False),
        ("https://*.example.com", f"https://{LONG}.{'a' * 49}.example.com", True),
        ("https://*.example.com", f"https://{LONG}.{'a' * 50}.example.com", False),
        ("https://*.example.com:*", f"https://{LONG}.{'a' * 49}.example.com:65535", True),
        ("https://*.example.com:*", f"https://{LONG}.{'a' * 50}.example.com:65535", False),
        ("https://*.example.com:*", "https://a.example.com", True),
        ("https://*.example.com:*", "https://a.example.com:65536", False),
        ("https://*.example.com:*", "https://a.example.com:0", False),
        ("https://*.example.com:*", "https://a.example.com:", False),
        ("http://[::1]:*", "http://[::1]:3000", True),
        ("http://[::1]:*", "http://[::11]:3000", False),
        ("https://pr-*.example.com", "https://pr-7.example.com", True),
        ("https://pr-*.example.com", "https://pr-a-b.example.com", True),
        ("https://pr-*.example.com", "https://pr-.example.com", False),
        ("https://pr-*.example.com", "https://pr-a.b.example.com", False),
        ("https://pr-*.example.com", "https://pr-a_b.example.com", False),
        ("https://pr-*.example.com", "https://xpr-7.example.com", False),
        ("https://pr-*.example.com", f"https://pr-{'a' * 60}.example.com", True),
        ("https://pr-*.example.com", f"https://pr-{'a' * 61}.example.com", False),
        ("https://*--shop.netlify.app", "https://deploy-preview-7--shop.netlify.app", True),
        ("https://*--shop.netlify.app", "https://--shop.netlify.app", False),
        ("https://*--shop.netlify.app", "https://a--shop--evil.netlify.app", False),
        ("https://*--shop.netlify.app", "https://a-shop.netlify.app", False),
        ("https://a-*-b.example.com", "https://a-b.example.com", False),
        ("https://a-*-b.example.com", "https://a-x-b.example.com", True),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("capacitor://localhost", "capacitor://localhost:80", False),
        ("*", "https://anything.example", True),
    ],
)
def test_origin(allowed: str, origin: str, expected: bool) -> None:
    assert policy_of(allowed).allows(origin) is expected
    assert hostile.is_meant(hostile.Policy((allowed,)), origin) is expected


def test_wildcards_within_wildcards() -> None:
    """Each begins as the one before it, as deep as a host is long."""
    names = {(f"{LONG}." + "a" * 50)[:length].rstrip(".") for length in range(1, 242)}
    allowed = sorted(f"https://*.{name}b.test" for name in names)
    policy = policy_of(*allowed)
    for origin in allowed:
        assert policy.allows(origin.replace("*", "a")) and not policy.allows(origin)


# Public suffixes

RULES = (ROOT / "whycors/rules.tsv").read_text(encoding="utf-8")
EVERY_SUFFIX = PublicSuffixList(accept_unknown=False)
REGISTRIES = PublicSuffixList(accept_unknown=False, only_icann=True)

# Where frontends are hosted and previewed, and where companies have their names.
SHARED = """
amplifyapp.com appspot.com azurestaticapps.net azurewebsites.net cloudfront.net deno.dev fly.dev
firebaseapp.com github.io gitlab.io herokuapp.com lovable.app netlify.app ngrok.app ngrok-free.app
ngrok.io now.sh ondigitalocean.app onrender.com pages.dev replit.app run.app surge.sh web.app
trycloudflare.com up.railway.app vercel.app webflow.io workers.dev
"""
COMMON_REGISTRIES = """
ac.uk co.id co.il co.in co.jp co.ke co.kr co.nz co.th co.uk co.za com.ar com.au com.br com.cn
com.co com.hk com.mx com.my com.ng com.pe com.ph com.pk com.pl com.sa com.sg com.tr com.tw
com.ua com.vn gov.au gov.br gov.uk ne.jp net.au net.br or.jp org.au org.br org.uk
"""


def named(name: str) -> list[str]:
    row = re.search(rf"^let\t<{name}>\t\(\?:(.+)\)$", RULES, re.MULTILINE)
    assert row
    return row[1].replace("\\", "").split("|")


def test_table_names_the_suffixes_that_people_use() -> None:
    """All of them are on the public suffix list, in the part that they are said to be in."""
    registries, shared = named("registry"), named("shared")
    assert [host for host in registries if not REGISTRIES.is_public(host)] == []
    assert [host for host in shared if not EVERY_SUFFIX.is_public(host)] == []
    assert [host for host in shared if REGISTRIES.is_public(host)] == []
    assert set(COMMON_REGISTRIES.split()) - set(registries) == set()
    assert set(SHARED.split()) - set(shared) == set()
    assert [registries, shared] == [sorted(set(registries)), sorted(set(shared))]


@pytest.mark.parametrize("host", ["com", "dev", "app", *named("registry"), *named("shared")])
def test_prompt_refuses_wildcards_under_common_suffixes(host: str) -> None:
    assert at_prompt("origins", f"https://*.{host}")[1] is not None
    preview = at_prompt("origins", f"https://pr-*.{host}:*")
    assert (preview[1] is None) == (host in named("shared"))


def test_start_takes_of_refused_origins_only_what_no_other_page_has() -> None:
    """An app's origin, a host that no name can have, and hosts of the owner's own domain."""
    taken = [(reason, item) for item, _, reason in refused("origins") if started("origins", item)]
    assert Counter(reason for reason, _ in taken) == {
        "no frontend has this scheme": 3,
        "the scheme is misspelt": 2,
        "an id is 32 letters from a to p": 2,
        "an id is a UUID": 2,
        "253 characters": 2,
        "another in punycode": 1,
        "next to a hyphen": 1,
    }
    wildcards = [item for _, item in taken if "*" in item and len(item) < 200]
    assert wildcards == ["https://xn--*.example.com"]


@pytest.mark.parametrize("host", ["intra", "com", "dev", "co.uk", "lan2"])
def test_start_refuses_wildcards_under_names_that_anyone_can_have(host: str) -> None:
    assert started("origins", f"https://*.{host}") is None
    assert started("origins", f"https://*.yours.{host}") is not None


def test_start_refuses_wildcards_under_every_suffix() -> None:
    rng = random.Random(13)
    rules = [rule.strip("!*.") for rule in EVERY_SUFFIX._publicsuffix]
    listed = sorted(rule.encode("idna").decode() for rule in rules)
    for suffix in rng.sample(listed, 2000):
        host = ".".join([*rng.choice([[], [], ["a"], ["a", "b"]]), suffix])
        anyones, sold = EVERY_SUFFIX.is_public(host), REGISTRIES.is_public(host)
        for origin, expected in (
            (f"https://*.{host}", anyones),
            (f"https://pr-*.{host}:8443", sold),
        ):
            assert (started("origins", origin) is None) == expected, origin
            assert (at_start("origins", origin)[1] is not None) == expected, origin
