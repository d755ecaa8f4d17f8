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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any
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
    sample,
    shown,
    write,
)

# The title of the API's refusals. The detail is the reason.
REFUSED = "Refused by the CORS policy"

# RFC 9110, section 9.2.1: these change nothing. TRACE is no method for an API.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

# The parts of a policy that are lists, and what the table of rules calls their items.
KINDS = {
    "origins": "origin",
    "methods": "method",
    "allow_headers": "allowed header",
    "expose_headers": "exposed header",
}


class PolicyError(ValueError):
    """No policy may be so: the message has a sentence for each cause, led by its setting's name."""


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

    @property
    def is_public(self) -> bool:
        """Whether pages on every origin are allowed."""
        return "*" in self.origins

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
        self, whole: "Policy", paths: Mapping[str, Any], values: Mapping[str, Any]
    ) -> "Policy":
        """Return this policy, which is `whole` or that of a path, with new values.

        `paths` is CORS_PATHS: what a path does not name there, it has from `whole`. Raises
        PolicyError if the policy, or that of a path then, may not be so.
        """
        lists = {part: tuple(value) for part, value in values.items() if part in KINDS}
        after = replace(self, **{**values, **lists})
        if not self.path:
            own = {path: one.below(after, paths) for path, one in whole.paths.items()}
            after = replace(after, paths=own)
        for one in (after, *after.paths.values()):
            if found := "; ".join(problems(one)):
                raise PolicyError(found)
        return after

    def below(self, whole: "Policy", paths: Mapping[str, Any]) -> "Policy":
        """Return this policy of a path with what it inherits from another than before."""
        # A path for every origin has no credentials, unless it names them.
        own = {*paths.get(self.path, ()), *(["supports_credentials"] if self.is_public else [])}
        return replace(whole, path=self.path, **{part: getattr(self, part) for part in own})


# The parts of a policy. As settings they are called CORS_ORIGINS and so on.
PARTS = [one.name for one in fields(Policy) if one.name not in ("paths", "path")]


def parts_of(policy: Any) -> dict[str, Any]:
    return {part: getattr(policy, part) for part in PARTS}


def problems(policy: Policy) -> Iterator[str]:
    """Yield why a policy may not be so: by the rules, and with credentials (section 3.3.5)."""
    for part, kind in KINDS.items():
        setting = f"CORS_PATHS[{policy.path!r}]: {part}" if policy.path else f"CORS_{part.upper()}"
        for item in getattr(policy, part):
            problem = read_item(kind, item)[1]
            if problem is None and policy.supports_credentials:
                problem = credentials_problem(item, kind)
            if problem is not None:
                yield f"{setting}: {problem}"


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
    unread = [name for name in (*PARTS, "paths") if not hasattr(found, name)]
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
    if not hasattr(app, "view_functions"):  # not a Flask app
        return None
    if "cors_policy" in app.extensions:
        return policy_of(app).for_path(path_of(url))
    found = options_for(app, path_of(url), method)
    return min(found, key=lambda one: origin is not None and not one.allows(origin), default=None)


def longest_prefix(paths: Mapping[str, Policy], path: str) -> Policy | None:
    """Return what is at the longest path that is this one or is above it, by whole segments."""
    above = [one for one in paths if f"{path}/".startswith(f"{one}/")]
    return paths[max(above, key=len)] if above else None


def path_of(url: str) -> str:
    return "/" + unquote(urlsplit(url).path).lstrip("/")  # as Flask routes it


# What flask-cors was told.

# Where it keeps that: in what functions of these modules close over, by this name.
TOLD = {"flask_cors.extension": "resources", "flask_cors.decorator": "_options"}


def core() -> Any:
    """Return the module with flask-cors' own functions, of the version that the app uses."""
    return sys.modules["flask_cors.core"]


@dataclass(frozen=True)
class FlaskCors(Policy):
    """One set of options of `CORS(…)`, with the pattern of its paths, or of `@cross_origin(…)`.

    `call` is how the call begins, and `place` where it is. `resources` are all patterns of the
    call with their options, and `at` says which of them this is.
    """

    call: str = ""
    place: str = ""
    resources: Sequence[tuple[Any, Any]] = ()
    at: int = 0

    @classmethod
    def of(
        cls, call: str, place: str, resources: Sequence[tuple[Any, Any]], at: int = 0
    ) -> "FlaskCors":
        """Return the options at one of the patterns of a call."""
        found = written(resources[at][1])
        parts = {part: found[part] for part in PARTS if part in found}
        parts["protection"] = False
        return cls(**parts, call=call, place=place, resources=resources, at=at)

    @classmethod
    def told(
        cls, app: Any, call: str, place: str, values: dict[str, Any], pattern: str = "/*"
    ) -> "FlaskCors":
        """Return the options of a call with these values, and those of the app's settings."""
        return cls.of(call, place, [(pattern, core().get_cors_options(app, values))])

    def with_options(self, values: dict[str, Any], pattern: str | None = None) -> "FlaskCors":
        """Return the same call with new values here, or with one more pattern that has them."""
        resources = [*self.resources]
        at = self.at if pattern is None else len(resources)
        options = computed(written(self.options) | values)
        resources[at : at + 1] = [(pattern or self.resources[at][0], options)]
        return self.of(self.call, self.place, resources, at)

    @property
    def options(self) -> Any:
        return self.resources[self.at][1]

    @property
    def patterns(self) -> list[str]:
        return [core().get_regexp_pattern(pattern) for pattern, _ in self.resources]

    @property
    def name(self) -> str:
        if self.call == "@cross_origin(":
            return f"@cross_origin at {self.place}"
        pattern = self.patterns[self.at]
        return f"{self.call})" + ("" if pattern in ("/*", ".*", "/.*") else f" for {pattern}")

    def covers(self, path: str) -> bool:
        """Return whether its pattern is for a path."""
        match = getattr(core(), "try_match_pattern", None) or core().try_match  # before 6.0.0
        return bool(match(path, self.resources[self.at][0]))

    def allows(self, origin: str) -> bool:
        return bool(core().get_cors_origins(self.options, origin))

    def allows_method(self, method: str) -> bool:
        return method in self.methods

    def allows_header(self, name: str) -> bool:
        return bool(core().get_allow_headers(self.options, name))

    def answer(self, method: str, url: str, headers: Headers) -> Response:
        found = core().get_cors_headers(self.options, dict(headers), method)
        return Response(200, tuple((name, str(value)) for name, value in found.items()))

    def __str__(self) -> str:
        """Return the whole call, as Python to paste."""
        usual = written(computed({}))
        own = [
            {name: value for name, value in written(options).items() if value != usual[name]}
            for _, options in self.resources
        ]
        common = dict(one for one in own[0].items() if all(one in other.items() for other in own))
        rest = [{name: one[name] for name in one if name not in common} for one in own]
        patterns: Any = self.patterns
        if any(rest):
            patterns = dict(zip(patterns, rest, strict=True))
        elif len(patterns) == 1:
            patterns = patterns[0]
        values = common if patterns in ("/*", "") else {"resources": patterns, **common}
        parts = [f"{name}={as_python(value)}" for name, value in values.items()]
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


def computed(values: dict[str, Any]) -> Any:
    """Return the options of a call with these values, whatever the settings of an app."""
    return core().get_cors_options(object(), values)


def written(options: Any) -> dict[str, Any]:
    """Return computed options, an object since flask-cors 6.0.4, as they can be written."""
    values = options if isinstance(options, dict) else vars(options)
    found = {name: values.get(name) for name in core().DEFAULT_OPTIONS if name != "resources"}
    for name in KINDS:
        items = found[name] or ()
        items = re.split(r",\s*", items) if isinstance(items, str) else items
        texts = map(core().get_regexp_pattern, items)
        found[name] = tuple("*" if text == ".*" else text for text in texts)
    return found


def matches(pattern: str, origin: str) -> bool:
    """Return whether flask-cors, told to allow a pattern or an origin, allows an origin."""
    return bool(core().get_cors_origins(computed({"origins": [pattern]}), origin))


def slip(item: str, kind: str = "origin") -> str | None:
    """Return what to write for an item that no browser sends so, None if it is right."""
    if core().probably_regex(item):
        fixed = as_regex(item)
        is_right = fixed is None or matches(item, sample(item))
        no_name = "a * there does not stand for any name"
        return None if is_right else write(as_python(fixed), item, no_name)
    canonical, problem = read_origin(item) if kind == "origin" else read_item(kind, item)
    is_wrong = problem is None and kind == "origin" and not matches(item, canonical)
    return write(canonical, item, "browsers send it so") if is_wrong else problem


def ended(pattern: str, page: str = "") -> tuple[str, str] | None:
    """Return a stranger that a pattern of origins lets in as it has no end, and one with an end.

    `page` is an origin that it is meant to match. None if the pattern is right.
    """
    if pattern in ("*", ".*"):
        return None
    fixed = as_regex(pattern) or f"{pattern}$"
    for meant in filter(None, (page, sample(pattern))):
        stranger = f"{re.sub(r':[0-9]*$', '', meant)}.evil.example"
        lets_in_both = matches(pattern, meant) and matches(pattern, stranger)
        if lets_in_both and matches(fixed, meant) and not matches(fixed, stranger):
            return stranger, fixed
    return None


def options_for(app: Any, path: str, method: str) -> Iterator[FlaskCors]:
    """Yield what flask-cors was told for a path, in the order in which it asks."""
    endpoint, _ = route_of(app, path, method)
    for decorated in options_of(app, app.view_functions.get(endpoint), method):
        yield decorated
        return  # flask-cors asks nothing else then
    blueprints = (endpoint or "").split(".")[:-1]
    owners = [".".join(blueprints[:end]) for end in range(len(blueprints), 0, -1)]
    for _, found in calls(app, [*owners, None]):
        yield from [one for one in found if one.covers(path)][:1]


def route_of(app: Any, path: str, method: str = "OPTIONS") -> tuple[str | None, list[str]]:
    """Return the endpoint that a path leads to, whatever its slash and method, and its methods.

    None if no route has the path. No methods are listed of a route that takes all.
    """
    from werkzeug.exceptions import HTTPException

    routes = app.url_map.bind("localhost")
    for one in (path, f"{path}/"):
        methods = sorted(routes.allowed_methods(one))
        for asked in (method, "OPTIONS", *methods):
            with suppress(HTTPException):  # redirects among them
                return str(routes.match(one, asked)[0]), methods
    return None, []


def options_of(app: Any, view: Any, method: str) -> Iterator[FlaskCors]:
    """Yield the options of `@cross_origin` around a view."""
    for layer, values in flask_cors_in(view, method):
        is_of_class = inspect.unwrap(layer).__module__ == "flask.views"
        place = place_of(view if is_of_class else layer)
        yield FlaskCors.told(app, "@cross_origin(", place, values)


def all_options(app: Any) -> Iterator[FlaskCors]:
    """Yield all that flask-cors was told for an app."""
    for _, found in calls(app, app.after_request_funcs):
        yield from found
    for view in app.view_functions.values():
        methods = getattr(getattr(view, "view_class", None), "methods", None) or ("",)
        found = [one for method in sorted(methods) for one in options_of(app, view, method)]
        yield from {one.place: one for one in found}.values()


def calls(app: Any, owners: Iterable[str | None]) -> Iterator[tuple[str | None, list[FlaskCors]]]:
    """Yield the options of each `CORS(…)` for the app (None) or its blueprints, the last first."""
    for owner in owners:
        call = f"CORS({(owner or 'app').rpartition('.')[2]}"
        for function in reversed(app.after_request_funcs.get(owner, ())):
            for _, resources in flask_cors_in(function):
                found = (call, place_of_call(app), resources)
                yield owner, [FlaskCors.of(*found, at) for at in range(len(resources))]


def flask_cors_in(view: Any, method: str = "") -> Iterator[tuple[Any, Any]]:
    """Yield each function of flask-cors that a view or a hook is, and what it was told.

    It may be what decorators wrap, or the method of a class. Its globals tell whose it is, since
    `wraps` hides its module.
    """
    found = [view]
    for layer in found:  # which grows
        name = TOLD.get(getattr(layer, "__globals__", {}).get("__name__", ""))
        if name and (told := inspect.getclosurevars(layer).nonlocals.get(name)) is not None:
            yield layer, told
        wrapped = [getattr(layer, "__wrapped__", None), getattr(layer, "func", None)]
        wrapped.append(getattr(getattr(layer, "view_class", None), method.lower(), None))
        for cell in getattr(layer, "__closure__", None) or ():
            with suppress(ValueError):  # it is empty
                wrapped.append(cell.cell_contents)
        found += [one for one in wrapped if inspect.isroutine(one) and one not in found]


def place_of(function: Any) -> str:
    """Return the name of a function, or of the class that a view is, and the line where it is."""
    if view_class := getattr(function, "view_class", None):
        with suppress(OSError, TypeError):  # its source is not there
            line = inspect.findsource(view_class)[1] + 1
            return f"{view_class.__name__}, {line_of(inspect.getfile(view_class), line)}"
    function = inspect.unwrap(getattr(function, "func", function))
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    return f"{name}, {line_of(code.co_filename, code.co_firstlineno)}" if code else name


def line_of(file: str, line: int | None) -> str:
    here = os.path.relpath(file)
    return f"{Path(file).name if here.startswith('..') else here}:{line}"


def place_of_call(app: Any) -> str:
    """Return where the app calls CORS, empty if that is not one place."""
    files = {getattr(module, "__file__", None) or "" for module in [*sys.modules.values()]}
    found = [
        line_of(file, number)
        for file in files
        if file.startswith(app.root_path) and "site-packages" not in file
        for number, line in enumerate(Path(file).read_text("utf-8", "replace").splitlines(), 1)
        if re.search(r"(?<![\w#])CORS\(", line)
    ]
    return found[0] if len(found) == 1 else ""


# Which app it is.


def name_app(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta.pop(FAILED, None)
        context.obj = value


app_option = click.option(
    "--app",
    metavar="MODULE:NAME",
    expose_value=False,
    callback=name_app,
    help="The Flask app. By default, it is found as `flask` finds it.",
)


def load_app(context: click.Context) -> Any:
    """Return the app of a command: a Flask app, or any WSGI application that --app names.

    Raises NoPolicy, or ClickException if it cannot start.
    """
    try:
        return find_app(context)
    except click.ClickException:
        raise
    except Exception as error:  # noqa: BLE001
        raise click.ClickException(f"the app cannot start: {in_one_line(error)}") from None


def find_app(context: click.Context) -> Any:
    """Return the app as `flask` finds it, or the WSGI application where that finds none."""
    info = context.obj  # what --app names, or what `flask` knows
    named = info if isinstance(info, str) else None
    try:
        if FAILED in context.meta:
            raise context.meta[FAILED]
        from flask.cli import FlaskGroup, ScriptInfo, load_dotenv

        if named or info is None:
            load_dotenv()
            os.environ["FLASK_RUN_FROM_CLI"] = "true"  # so that an app.run() does nothing
            info = ScriptInfo(app_import_path=named or os.environ.get("FLASK_APP"))
        with click.Context(FlaskGroup()):  # to the app, it is a command of `flask`
            return info.load_app()
    except ModuleNotFoundError as error:
        if error.name != "flask":
            raise
        why = ["Flask is not here"]
    except click.ClickException as error:
        if type(error).__name__ != "NoAppException":
            raise
        why = error.format_message().splitlines()
    if named and (found := wsgi_app(named)):
        return found
    raise NoPolicy(
        "name the app with --app MODULE:NAME, or run this in its folder and with its packages:"
        f" {' '.join(dict.fromkeys((why[0], why[-1])))}."
        f" Or ask any server: {called_as()} probe URL --origin ORIGIN"
    )


def wsgi_app(path: str) -> Any:
    """Return what is at an import path if it can be called, as a WSGI application is."""
    module, _, name = path.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    found = None
    with suppress(ModuleNotFoundError):
        found = getattr(import_module(module), name or "application", None)
    if any(map(inspect.iscoroutinefunction, (found, type(found).__call__))):
        raise NoPolicy(f"serve {path}, which is ASGI, and ask it: {called_as()} probe URL")
    return found if callable(found) else None


def in_one_line(error: Exception) -> str:
    """Return what an error says, and the line of the project where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    here = [one for one in frames if one.filename.startswith(f"{Path.cwd()}/")]
    own = [one for one in here if "site-packages" not in one.filename]
    place = (own or frames)[-1]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} ({line_of(place.filename, place.lineno)})"
