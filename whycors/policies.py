"""The CORS policy that an app goes by, and what a changed one may not allow.

Ours is read from `app.extensions["cors_policy"]`, by names that every version of the template's
policy has from 3.0.0 on: whatever its class is, a newer tool serves an older project. flask-cors
keeps its options only in what its functions close over.
"""

import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import click

from .browser import SAFELISTED_METHODS, Headers, Response
from .entry import FAILED, called_as
from .origins import (
    as_regex,
    credentials_problem,
    matches_wildcard,
    read_item,
    read_origin,
    shown,
)

# The title of the API's refusals. The detail is the reason.
REFUSED = "Refused by the CORS policy"

# RFC 9110, section 9.2.1: these change nothing. TRACE is no method for an API.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def parse_list(
    value: Any, read: Callable[[str], tuple[str, str | None]], example: str
) -> tuple[tuple[str, ...], list[str]]:
    """Return the items of a list, or of a string separated by commas or spaces, and problems.

    The items are canonical. Repeated ones are dropped, in any case of their letters.
    """
    if isinstance(value, str):
        value = re.findall(r"""[^\s,]*[^\s,;"'][^\s,]*""", value)
    elif not isinstance(value, (list, tuple, type(None))):
        return (), [f"write {example}, not {shown(str(value))}: it is not a list or a text"]
    found: dict[str, str] = {}
    problems = []
    for item in value or ():
        if not isinstance(item, str):
            problems.append(f"write {example}, not {shown(str(item))}: it is not a text")
            continue
        canonical, problem = read(item)
        if problem is None:
            found.setdefault(canonical.lower(), canonical)
        else:
            problems.append(problem)
    return tuple(found.values()), problems


def parse_origins(value: Any) -> tuple[tuple[str, ...], list[str]]:
    found, problems = parse_list(value, read_origin, "https://app.example.com")
    if not found and not problems:
        problems.append("write at least one origin, such as https://app.example.com")
    if "*" in found and len(found) > 1:
        problems.append("write any alone, or remove it: it stands for every origin")
    return found, problems


def parse_methods(value: Any) -> tuple[tuple[str, ...], list[str]]:
    found, problems = parse_list(value, lambda item: read_item("method", item), "GET, POST")
    if not found and not problems:
        problems.append("write at least one method, such as GET")
    return found, problems


parse_allow_headers = partial(
    parse_list, read=partial(read_item, "allowed header"), example="Content-Type"
)
parse_expose_headers = partial(
    parse_list, read=partial(read_item, "exposed header"), example="X-Request-ID"
)


def parse_bool(value: Any) -> tuple[bool, list[str]]:
    if isinstance(value, bool):
        return value, []
    corrected = "true" if str(value).strip().lower() in ("true", "yes", "on", "1") else "false"
    return False, [f"write {corrected}, not {shown(str(value))}: it is either true or false"]


def parse_max_age(value: Any) -> tuple[int, list[str]]:
    """Return the seconds for which a browser may cache a preflight (Fetch, section 3.3.3)."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0, [f"write 600, not {shown(str(value))}: it is a whole number of seconds"]
    if not -1 <= value <= 86400:
        corrected = min(max(value, -1), 86400)
        return 0, [f"write {corrected}, not {value}: it is from -1 to 86400 seconds"]
    return value, []


# The parts of a policy. As settings they are called CORS_ORIGINS and so on.
PARSERS: dict[str, Callable[[Any], tuple[Any, list[str]]]] = {
    "origins": parse_origins,
    "methods": parse_methods,
    "supports_credentials": parse_bool,
    "allow_headers": parse_allow_headers,
    "expose_headers": parse_expose_headers,
    "max_age": parse_max_age,
    "protection": parse_bool,
}


class PolicyError(ValueError):
    """No policy may be so; `problems` has a sentence for each cause, led by its setting's name."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True)
class Policy:
    """Which pages on other origins may do what with an API.

    `origins` holds exact origins and wildcards, or `*` alone; `max_age` is in seconds. `path` is
    the entry of CORS_PATHS that it is from, as it is written there.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    supports_credentials: bool
    allow_headers: tuple[str, ...]
    expose_headers: tuple[str, ...]
    max_age: Any
    protection: bool = True
    paths: "Mapping[str, Policy]" = field(default_factory=dict)
    path: str = ""

    @property
    def name(self) -> str:
        """What a sentence calls the policy."""
        return f"the policy of {self.path}" if self.path else "the policy"

    @cached_property
    def is_public(self) -> bool:
        """Whether pages on every origin are allowed."""
        return self.origins == ("*",)

    def allows(self, origin: str) -> bool:
        """Return whether a page on this origin may read the API's answers."""
        wildcards = (one for one in self.origins if "*" in one)
        return (
            self.is_public
            or ("*" not in origin and origin in self.origins)
            or any(matches_wildcard(one, origin) for one in wildcards)
        )

    def allows_method(self, method: str) -> bool:
        """Return whether an allowed page may use a method. What GET may, HEAD may."""
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def allows_header(self, name: str) -> bool:
        """Return whether a preflight for a header, in lower case, is answered with yes.

        A `*` does not stand for Authorization (Fetch, section 2.2.2).
        """
        names = [one.lower() for one in self.allow_headers]
        return name in names or ("*" in names and name != "authorization")

    def for_path(self, path: str) -> "Policy":
        """Return the policy of a path: that of the longest prefix in `paths`, or this one."""
        return longest_prefix(self.paths, path) or self

    def answer(self, method: str, url: str, headers: Headers) -> Response:
        """Answer a request as the policy alone does (`Send`): no code of the app runs."""
        sent = dict(headers)
        if not self.allows(sent["Origin"]):
            return Response(200, ())
        found = [("Access-Control-Allow-Origin", "*" if self.is_public else sent["Origin"])]
        if self.supports_credentials:
            found.append(("Access-Control-Allow-Credentials", "true"))
        asked = sent.get("Access-Control-Request-Method")
        if asked is None:
            return Response(200, tuple(found))
        found.append(("Access-Control-Allow-Methods", ", ".join(self.methods)))
        found.append(("Access-Control-Allow-Headers", ", ".join(self.allow_headers)))
        # Browsers let GET, HEAD and POST pass whatever is listed, so the status has to say no.
        is_refused = asked in SAFELISTED_METHODS and not self.allows_method(asked)
        return Response(403 if is_refused else 204, tuple(found))

    def changed(
        self, whole: "Policy", paths: Mapping[str, Any], values: dict[str, Any]
    ) -> "Policy":
        """Return this policy, which is `whole` or that of a path, with new values.

        `paths` is CORS_PATHS. Raises PolicyError if the policy may not be so.
        """
        if not self.path:
            return checked({**parts_of(whole), **values}, paths)
        own = {**paths, self.path: {**paths.get(self.path, {}), **values}}
        return checked(parts_of(whole), own).for_path(self.path.rstrip("/"))


class NoPolicy(click.ClickException):
    """There is no policy here to go by. The message says what to do."""


def policy_of(app: Any) -> Policy:
    """Return the template's policy of an app. Raises NoPolicy if it has none that can be read."""
    found = getattr(app, "extensions", {}).get("cors_policy")
    if found is None:
        raise NoPolicy(
            "run this for a project of the template, or name its app with --app: the app"
            f' {shown(getattr(app, "import_name", repr(app)))} has no app.extensions["cors_policy"]'
        )
    unread = [name for name in (*PARSERS, "paths") if not hasattr(found, name)]
    if unread:
        raise NoPolicy(
            "install this again, by the address in .copier-answers.yml: this version cannot read"
            f' {", ".join(unread)} of app.extensions["cors_policy"]'
        )
    written = {path.rstrip("/"): path for path in app.config.get("CORS_PATHS") or {}}
    paths = {
        path: Policy(**parts_of(own), path=written.get(path, path))
        for path, own in found.paths.items()
    }
    return Policy(**parts_of(found), paths=paths)


def policy_for(app: Any, url: str, method: str = "GET", origin: str | None = None) -> Policy | None:
    """Return the policy that a request goes by, None if the app has none that can be read.

    Where flask-cors was told several, the one that allows the origin, or the first.
    """
    extensions = getattr(app, "extensions", None)
    if extensions is None:  # not a Flask app
        return None
    if "cors_policy" in extensions:
        return policy_of(app).for_path(path_of(url))
    found = list(options_for(app, path_of(url), method))
    allowing = [one for one in found if origin is not None and one.allows(origin)]
    return next(iter([*allowing, *found]), None)


def path_of(url: str) -> str:
    return "/" + unquote(urlsplit(url).path).lstrip("/")  # as Flask routes it


# What flask-cors was told.

# The options that its versions share.
OPTIONS = (
    "origins",
    "methods",
    "allow_headers",
    "expose_headers",
    "supports_credentials",
    "max_age",
    "send_wildcard",
    "vary_header",
    "always_send",
    "automatic_options",
    "intercept_exceptions",
)


@dataclass(frozen=True)
class FlaskCors(Policy):
    """One set of options of `CORS(…)`, with the pattern of its paths, or of `@cross_origin(…)`.

    `call` is how the call begins, and `place` where it is. `resources` are all patterns of the
    call with their options, and `at` says which of them this is.
    """

    call: str = ""
    place: str = ""
    app: Any = field(default=None, compare=False)
    resources: tuple[tuple[str, Any], ...] = ()
    at: int = 0

    @property
    def name(self) -> str:
        if self.call == "@cross_origin(":
            return f"@cross_origin at {self.place}"
        pattern = self.resources[self.at][0]
        return f"{self.call})" + ("" if pattern in ("/*", ".*", "/.*") else f" for {pattern}")

    @cached_property
    def is_public(self) -> bool:
        return bool({"*", ".*"} & {*self.origins})

    def allows(self, origin: str) -> bool:
        answer = self.answer("GET", "", (("Origin", origin),))
        return answer.get("access-control-allow-origin") in (origin, "*")

    def allows_method(self, method: str) -> bool:
        return method in self.methods

    def allows_header(self, name: str) -> bool:
        return any(matches(one, name) for one in self.allow_headers)

    def answer(self, method: str, url: str, headers: Headers) -> Response:
        options = self.resources[self.at][1]
        found = sys.modules["flask_cors.core"].get_cors_headers(options, dict(headers), method)
        return Response(200, tuple((name, str(value)) for name, value in found.items()))

    @classmethod
    def told(
        cls, app: Any, call: str, place: str, values: dict[str, Any], pattern: str = "/*"
    ) -> "FlaskCors":
        """Return the options of a call with these values."""
        options = computed(app, values)
        return cls(
            **policy_parts(options),
            call=call,
            place=place,
            app=app,
            resources=((pattern, options),),
        )

    def with_options(self, values: dict[str, Any]) -> "FlaskCors":
        """Return the options with new values, as flask-cors reads them."""
        options = computed(self.app, {**raw(self.resources[self.at][1]), **values})
        resources = list(self.resources)
        resources[self.at] = (resources[self.at][0], options)
        return replace(self, resources=tuple(resources), **policy_parts(options))

    def with_path(self, pattern: str, values: dict[str, Any]) -> "FlaskCors":
        """Return the same call with one more pattern."""
        added = (pattern, computed(self.app, {**raw(self.resources[self.at][1]), **values}))
        return replace(self, resources=(*self.resources, added), at=len(self.resources))

    def __str__(self) -> str:
        """Return the whole call, as Python to paste."""
        usual = raw(computed(self.app, {}))
        own = [
            {name: value for name, value in raw(options).items() if value != usual[name]}
            for _, options in self.resources
        ]
        common = {
            name: value
            for name, value in own[0].items()
            if all(one.get(name, ...) == value for one in own)
        }
        rest = [{k: v for k, v in one.items() if k not in common} for one in own]
        patterns: Any = [pattern for pattern, _ in self.resources]
        if any(rest):
            patterns = dict(zip(patterns, rest, strict=True))
        elif len(patterns) == 1:
            patterns = patterns[0]
        parts = [] if patterns in ("/*", "") else [f"resources={as_python(patterns)}"]
        parts += [f"{name}={as_python(value)}" for name, value in common.items()]
        separator = "" if self.call.endswith("(") or not parts else ", "
        return f"{self.call}{separator}{', '.join(parts)})"


def as_python(value: Any) -> str:
    """Return a value as it is written in Python, patterns as raw text."""
    if isinstance(value, dict):
        items = (f"{as_python(name)}: {as_python(one)}" for name, one in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_python, value))}]"
    if isinstance(value, str):
        return f'r"{value}"' if "\\" in value else json.dumps(value, ensure_ascii=False)
    return str(value)


def matches(pattern: str, text: str) -> bool:
    """Return whether a text matches an item of flask-cors' options, which may be a pattern."""
    if set(pattern) & set("*\\]?$^[]()"):
        pattern = ".*" if pattern == "*" else pattern
        return re.match(pattern, text, re.IGNORECASE) is not None
    return pattern.casefold() == text.casefold()


def ended(pattern: str, page: str = "") -> tuple[str, str] | None:
    """Return a stranger that a pattern of origins lets in as it has no end, and one with an end.

    `page` is an origin that it is meant to match. None if the pattern is right.
    """
    if pattern in ("*", ".*"):
        return None
    plain = pattern.lstrip("^").rstrip("*")
    for old, new in ((r"\\d[+*]?", "1"), (r"\[[^]]*\][+*]?|\.[*+]", "a"), (r"\\(.)", r"\1")):
        plain = re.sub(old, new, plain)
    plain = re.sub(r"\(\?:|[()?+*]|\|[^)]*", "", plain)
    for sample in (page, plain):
        stranger = f"{re.sub(r':[0-9]*$', '', sample)}.evil.example"
        fixed = as_regex(pattern) or f"{pattern}$"
        lets_in_both = matches(pattern, sample) and matches(pattern, stranger)
        is_fixed = matches(fixed, sample) and not matches(fixed, stranger)
        if lets_in_both and is_fixed:
            return stranger, fixed
    return None


def computed(app: Any, values: dict[str, Any]) -> Any:
    return sys.modules["flask_cors.core"].get_cors_options(app, values)


def raw(options: Any) -> dict[str, Any]:
    """Return computed options, an object since flask-cors 6.0.4, as they can be written."""
    found = {}
    for name in OPTIONS:
        value = options.get(name) if isinstance(options, dict) else getattr(options, name)
        if name in ("methods", "expose_headers") and isinstance(value, str):
            value = value.split(", ")
        elif name in ("origins", "allow_headers"):
            value = ["*" if text_of(one) == ".*" else text_of(one) for one in value or ()]
        found[name] = value
    return found


def text_of(pattern: Any) -> str:
    return pattern.pattern if isinstance(pattern, re.Pattern) else str(pattern)


def policy_parts(options: Any) -> dict[str, Any]:
    found = raw(options)
    parts = ("origins", "methods", "allow_headers", "expose_headers")
    lists = {part: tuple(found[part] or ()) for part in parts}
    others = {part: found[part] for part in ("supports_credentials", "max_age")}
    return {**lists, **others, "protection": False}


def options_for(app: Any, path: str, method: str) -> Iterator[FlaskCors]:
    """Yield what flask-cors was told for a path, in the order in which it asks."""
    endpoint = endpoint_of(app, path, method)
    decorated = options_of(app, app.view_functions.get(endpoint), method)
    if (option := next(decorated, None)) is not None:  # flask-cors asks nothing else then
        yield option
        return
    blueprints = (endpoint or "").split(".")[:-1]
    owners = [".".join(blueprints[:end]) for end in range(len(blueprints), 0, -1)]
    for owner, function, resources in calls(app, [*owners, None]):
        scope = function.__globals__
        match = scope.get("try_match_pattern") or scope["try_match"]  # its name before 6.0.0
        at = next((at for at, (one, _) in enumerate(resources) if match(path, one)), None)
        if at is not None:
            yield call_of(app, owner, resources, at)


def endpoint_of(app: Any, path: str, method: str) -> str | None:
    """Return the endpoint that a path leads to, whatever its slash, None if there is none."""
    from werkzeug.exceptions import HTTPException

    for asked in ((path, method), (f"{path}/", method), (path, "OPTIONS"), (f"{path}/", "OPTIONS")):
        with suppress(HTTPException):  # redirects among them
            return str(app.url_map.bind("localhost").match(*asked)[0])
    return None


def options_of(app: Any, view: Any, method: str) -> Iterator[FlaskCors]:
    """Yield the options of `@cross_origin` around a view."""
    for layer in layers(view, method):
        values = closed_over(layer, "flask_cors.decorator", "_options")
        if values is not None:
            yield FlaskCors.told(app, "@cross_origin(", place_of(layer), values)


def all_options(app: Any) -> Iterator[FlaskCors]:
    """Yield all that flask-cors was told for an app."""
    for owner, _, resources in calls(app, app.after_request_funcs):
        yield from (call_of(app, owner, resources, at) for at in range(len(resources)))
    for view in app.view_functions.values():
        methods = getattr(getattr(view, "view_class", None), "methods", None) or ("",)
        for method in sorted(methods):
            yield from options_of(app, view, method)


def calls(app: Any, owners: Iterable[str | None]) -> Iterator[tuple[str | None, Any, Any]]:
    """Yield each `CORS(…)` for the app (None) or its blueprints, the last first.

    It is whose it is, a function of flask-cors, and the patterns with their options.
    """
    for owner in owners:
        for function in reversed(app.after_request_funcs.get(owner, ())):
            for layer in layers(function):
                if found := closed_over(layer, "flask_cors.extension", "resources"):
                    yield owner, layer, found


def call_of(app: Any, owner: str | None, resources: Any, at: int) -> FlaskCors:
    return FlaskCors(
        **policy_parts(resources[at][1]),
        call=f"CORS({(owner or 'app').rpartition('.')[2]}",
        place=place_of_call(app),
        app=app,
        resources=tuple((text_of(pattern), options) for pattern, options in resources),
        at=at,
    )


def layers(view: Any, method: str = "", seen: frozenset[int] = frozenset()) -> Iterator[Any]:
    """Yield a function, what its decorators wrap, and the method of its class."""
    if not callable(view) or id(view) in seen:
        return
    yield view
    wrapped = [getattr(view, "__wrapped__", None), getattr(view, "func", None)]
    for cell in getattr(view, "__closure__", None) or ():
        with suppress(ValueError):  # it is empty
            wrapped.append(cell.cell_contents)
    if view_class := getattr(view, "view_class", None):
        wrapped.append(getattr(view_class, method.lower(), None))
    for part in wrapped:
        if inspect.isroutine(part):
            yield from layers(part, method, seen | {id(view)})


def closed_over(function: Any, module: str, name: str) -> Any:
    """Return what a function of flask-cors closes over: `wraps` hides where it is from."""
    if getattr(function, "__globals__", {}).get("__name__") != module:
        return None
    return inspect.getclosurevars(function).nonlocals.get(name)


def place_of(function: Any) -> str:
    """Return the name of a function and the line where it is."""
    function = inspect.unwrap(getattr(function, "func", function))
    function = getattr(function, "view_class", function)
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    if code is None:
        return name
    return f"{name}, {line_of(code.co_filename, code.co_firstlineno)}"


def line_of(file: str, line: int) -> str:
    here = os.path.relpath(file)
    return f"{Path(file).name if here.startswith('..') else here}:{line}"


def place_of_call(app: Any) -> str:
    """Return where the app calls CORS, empty if that is not one place."""
    found = []
    for module in [*sys.modules.values()]:
        file = getattr(module, "__file__", None) or ""
        if file.startswith(app.root_path) and "site-packages" not in file:
            lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
            found += [
                line_of(file, number)
                for number, line in enumerate(lines, start=1)
                if re.search(r"(?<![\w#])CORS\(", line)
            ]
    return found[0] if len(found) == 1 else ""


# Ours.


def parts_of(policy: Any) -> dict[str, Any]:
    return {part: getattr(policy, part) for part in PARSERS}


def checked(parts: Mapping[str, Any], paths: Mapping[str, Any] | None = None) -> Policy:
    """Return the policy of these parts and of CORS_PATHS. Raises PolicyError."""
    values, found = parse_parts(parts)
    policy = Policy(**values)
    found += credentials_problems(policy)
    problems = [f"CORS_{name.upper()}: {problem}" for name, problem in found]
    own = {}
    for path, entry in (paths or {}).items():
        values, found = parse_parts(entry)
        if values.get("origins") == ("*",):
            values.setdefault("supports_credentials", False)
        own[path.rstrip("/")] = part = replace(policy, **values)
        found += credentials_problems(part)
        problems += [f"CORS_PATHS[{path!r}]: {name}: {problem}" for name, problem in found]
    if problems:
        raise PolicyError(problems)
    return replace(policy, paths=own)


def parse_parts(parts: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the value of each part of a policy, and each problem with the name of its part."""
    read = {name: PARSERS[name](value) for name, value in parts.items()}
    values = {name: value for name, (value, _) in read.items()}
    return values, [(name, problem) for name, (_, found) in read.items() for problem in found]


def credentials_problems(policy: Policy) -> list[tuple[str, str]]:
    """Return what a policy with credentials must not allow (Fetch, section 3.3.5)."""
    if not policy.supports_credentials:
        return []
    found = [("origins", credentials_problem(origin)) for origin in policy.origins]
    for name in ("allow_headers", "expose_headers"):
        for header in getattr(policy, name):
            found.append((name, read_item("header with credentials", header)[1]))
    return [(name, problem) for name, problem in found if problem is not None]


T = TypeVar("T")


def longest_prefix(paths: Mapping[str, T], path: str) -> T | None:
    """Return what is at the longest path that is this one or is above it, by whole segments."""
    depth = max(map(str.count, paths, repeat("/")), default=0)
    segments = path.split("/", depth + 1)[: depth + 1]
    above = ("/".join(segments[:end]) for end in range(len(segments), 1, -1))
    return next((paths[prefix] for prefix in above if prefix in paths), None)


# Which app it is.


def app_option(command: click.decorators.FC) -> click.decorators.FC:
    """Add --app to a command."""
    return click.option(
        "--app",
        metavar="MODULE:NAME",
        expose_value=False,
        callback=name_app,
        help="The Flask app. By default, it is found as `flask` finds it.",
    )(command)


def name_app(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta.pop(FAILED, None)
        context.obj = value


def load_app(context: click.Context) -> Any:
    """Return the app of a command: a Flask app, or any WSGI application that --app names.

    Raises NoPolicy, or ClickException if it cannot start.
    """
    named = context.obj if isinstance(context.obj, str) else None
    try:
        if FAILED in context.meta:
            raise context.meta[FAILED]
        return load_flask_app(context.obj, named)
    except click.ClickException as error:
        if named and type(error).__name__ == "NoAppException" and (found := wsgi_app(named)):
            return found
        if type(error).__name__ != "NoAppException":
            raise
        first, *rest = error.format_message().splitlines()
        why = f"{first} {rest[-1]}" if rest else first
        raise NoPolicy(
            "name the app with --app MODULE:NAME, or run this in its folder and with its packages:"
            f" {why}"
        ) from None
    except Exception as error:  # noqa: BLE001
        raise click.ClickException(f"the app cannot start: {in_one_line(error)}") from None


def load_flask_app(info: Any, named: str | None) -> Any:
    """Return the app at an import path, or the one that `flask` finds, as `info` knows it."""
    try:
        from flask.cli import FlaskGroup, ScriptInfo, load_dotenv
    except ImportError:
        if named and (found := wsgi_app(named)):
            return found
        raise NoPolicy("run this where the app's packages are: Flask is not here") from None
    if named or info is None:
        load_dotenv()
        os.environ["FLASK_RUN_FROM_CLI"] = "true"  # so that an app.run() does nothing
        info = ScriptInfo(app_import_path=named or os.environ.get("FLASK_APP"))
    with click.Context(FlaskGroup()):  # to the app, it is a command of `flask`
        return info.load_app()


def wsgi_app(path: str) -> Any:
    """Return what is at an import path if it can be called, as a WSGI application is."""
    module, _, name = path.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    found = None
    with suppress(ModuleNotFoundError):
        found = getattr(import_module(module), name or "application", None)
    if not callable(found):
        return None
    if any(map(inspect.iscoroutinefunction, (found, type(found).__call__))):
        raise NoPolicy(f"serve {path}, which is ASGI, and ask it: {called_as()} probe URL")
    return found


def in_one_line(error: Exception) -> str:
    """Return what an error says, and the line of the project where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    here = [
        frame
        for frame in frames
        if frame.filename.startswith(f"{Path.cwd()}/") and "site-packages" not in frame.filename
    ]
    place = (here or frames)[-1]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} ({os.path.relpath(place.filename)}:{place.lineno})"
