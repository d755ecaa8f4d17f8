"""What a person has of a request: what browsers print and copy, whatever it leaves open."""

import json
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from commands import Commands
from conftest import copy

APP = "https://app.example.com"
API = "https://api.example.com/api/echo"


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "project"
    copy(template, folder, {"frontend_origins": APP, "allowed_methods": ["GET", "POST"]})
    return folder


# As Chrome 156 and Firefox 153 copy one request, a PUT with X-Trace, JSON and cookies.
BODY = '{"a":"100% of $5 & \\"more\\""}'
COPIED = {
    "fetch": f"""fetch("{API}?a=b", {{
  "headers": {{
    "accept": "*/*",
    "cache-control": "no-cache",
    "content-type": "application/json",
    "sec-ch-ua-mobile": "?0",
    "x-trace": "1"
  }},
  "referrer": "{APP}/page",
  "body": {json.dumps(BODY)},
  "method": "PUT",
  "mode": "cors",
  "credentials": "include"
}});""",
    "PowerShell": f"""$session = New-Object Microsoft.PowerShell.Commands.WebRequestSession
$session.UserAgent = "Mozilla/5.0 (X11; Linux x86_64)"
$session.Cookies.Add((New-Object System.Net.Cookie("session", "1", "/", "api.example.com")))
Invoke-WebRequest -UseBasicParsing -Uri "{API}?a=b" `
-Method "PUT" `
-WebSession $session `
-Headers @{{
"accept"="*/*"
  "cache-control"="no-cache"
  "origin"="{APP}"
  "sec-ch-ua"="`"Chromium`";v=`"156`""
  "x-trace"="1"
}} `
-ContentType "application/json" `
-Body ([System.Text.Encoding]::UTF8.GetBytes("{{`"a`":`"100% of `$5 & \\`"more\\`"`"}}"))""",
    "cmd.exe": (
        f'curl ^"{API}?a=b^" ^\r\n  -X ^"PUT^" ^\r\n  -H ^"accept: */*^" ^\r\n'
        '  -H ^"content-type: application/json^" ^\r\n'
        f'  -b ^"session=1^" ^\r\n  -H ^"origin: {APP}^" ^\r\n'
        '  -H ^"sec-fetch-mode: cors^" ^\r\n  -H ^"x-trace: 1^" ^\r\n'
        '  --data-raw ^"^{^\\^"a^\\^":^\\^"100^% of ^$5 ^& ^\\^\\^\\^"more^\\^\\^\\^"^\\^"^}^"'
    ),
}


@pytest.mark.parametrize("shell", COPIED)
def test_copied_request(cors: Commands, shell: str) -> None:
    allowed = {
        "FLASK_CORS_METHODS": "PUT",
        "FLASK_CORS_ALLOW_HEADERS": "Content-Type, X-Trace",
        "FLASK_CORS_SUPPORTS_CREDENTIALS": "true",
    }
    blocked = cors("explain", COPIED[shell])
    lines = blocked.stdout.splitlines()
    assert lines[0] == f"1. preflight: OPTIONS {API}?a=b"
    assert f"   > Origin: {APP}" in lines
    assert "   > Access-Control-Request-Headers: content-type,x-trace" in lines
    assert "Also: the request sends credentials; the policy forbids them" in lines
    assert blocked.line("Why:") == "PUT is not allowed; the policy allows GET, POST"
    assert cors("explain", COPIED[shell], **allowed).exit_code != 1


def test_fetch_of_a_pages_code(cors: Commands) -> None:
    result = cors("explain", f'fetch("{API}").then(show)', "--origin", APP)
    assert result.stdout.startswith(f"1. request: GET {API}\n")


@pytest.mark.parametrize(
    "text",
    [
        f'fetch("{API}"',
        f"Invoke-WebRequest -UseBasicParsing {API}",
        f"curl '{API}",
        f"curl {API} -X",
        f"curl {API} ;\ncurl {API}",
        "curl -I",
    ],
)
def test_copy_that_is_not_one_whole_request(cors: Commands, text: str) -> None:
    result = cors("explain", text, "--origin", APP)
    assert result.error == "Error: copy one whole request, with its URL, as the browser does"


S = "http://localhost:3000"
LOCAL = "http://localhost:5173"
HERE = "http://localhost:5000/api/echo"
IN_CHROME = f"Access to fetch at '{HERE}' from origin '{S}' has been blocked by CORS policy: "
IN_FIREFOX = (
    "Cross-Origin Request Blocked: The Same Origin Policy disallows reading the remote resource at"
    f" {HERE}. (Reason: "
)
MISSING = "No 'Access-Control-Allow-Origin' header is present on the requested resource."
PORT = f"{S} is not allowed, but {LOCAL} is: the port differs"
UNNAMED = f"the page's origin is not allowed; the policy allows {APP}, {LOCAL}"
X_TRACE = "the header x-trace is not allowed"
CREDENTIALS = "the request sends credentials; the policy forbids them"
ALLOWED = {"FLASK_CORS_ORIGINS": f"{APP}, {LOCAL}"}

# Texts that name no method, and some no origin: what is said of each, and what allows it.
TEXTS: dict[str, tuple[str, str, str]] = {
    "Chrome": (f"{IN_CHROME}{MISSING}", f"Blocked, whatever the method: {PORT}", f", {S}'"),
    "Chrome, preflight": (
        f"{IN_CHROME}Response to preflight request doesn't pass access control check: {MISSING}",
        f"Blocked, whatever the method: {PORT}",
        f", {S}'",
    ),
    "Chrome, header": (
        (
            f"{IN_CHROME.replace(S, LOCAL)}Request header field x-trace is not allowed by"
            " Access-Control-Allow-Headers in preflight response."
        ),
        f"Blocked, whatever the method: {X_TRACE}",
        "x-trace'",
    ),
    "Chrome, header, of a page that is not allowed": (
        (
            f"{IN_CHROME}Request header field x-trace is not allowed by"
            " Access-Control-Allow-Headers in preflight response."
        ),
        f"Blocked, whatever the method: {PORT}",
        f", {S}'",
    ),
    "Chrome, credentials": (
        (
            f"{IN_CHROME.replace(S, LOCAL)}The value of the 'Access-Control-Allow-Credentials'"
            " header in the response is '' which must be 'true' when the request's credentials mode"
            " is 'include'."
        ),
        f"Blocked, whatever the method: {CREDENTIALS}",
        "FLASK_CORS_SUPPORTS_CREDENTIALS=true",
    ),
    "Chrome, a font": (
        f"{IN_CHROME.replace('to fetch', 'to font')}{MISSING}",
        f"Why: {PORT}",
        f", {S}'",
    ),
    "Firefox": (
        f"{IN_FIREFOX}CORS header ‘Access-Control-Allow-Origin’ missing). Status code: 200.",
        f"Blocked, whatever the method: {UNNAMED}",
        "To see what to change, add --origin.",
    ),
    "Firefox, method": (
        f"{IN_FIREFOX}Did not find method in CORS header ‘Access-Control-Allow-Methods’).",
        (
            f"Blocked from {APP} and {LOCAL} for PUT, PATCH and DELETE: the method is not allowed;"
            " the policy allows GET, POST"
        ),
        "If it was PUT (for others, add --method):",
    ),
    "Firefox, header": (
        (
            f"{IN_FIREFOX}header ‘x-trace’ is not allowed according to header"
            " ‘Access-Control-Allow-Headers’ from CORS preflight response)."
        ),
        f"Blocked from {APP} and {LOCAL}, whatever the method: {X_TRACE}",
        "x-trace'",
    ),
    "Safari": (
        (
            f"[Error] Origin {S} is not allowed by Access-Control-Allow-Origin. Status code: 200\n"
            f"[Error] Fetch API cannot load {HERE} due to access control checks."
        ),
        f"Blocked, whatever the method: {PORT}",
        f", {S}'",
    ),
    "Safari, header": (
        (
            "[Error] Request header field X-Trace is not allowed by Access-Control-Allow-Headers.\n"
            f"[Error] Fetch API cannot load {HERE} due to access control checks."
        ),
        f"Blocked from {APP} and {LOCAL}, whatever the method: {X_TRACE}",
        "x-trace'",
    ),
    "Chrome, years ago": (
        (
            f"{IN_CHROME}The 'Access-Control-Allow-Origin' header has a value '{LOCAL}' that is not"
            " equal to the supplied origin. Have the server send the header with a valid value, or,"
            " if an opaque response serves your needs, set the request's mode to 'no-cors'"
        ),
        f"Blocked, whatever the method: {PORT}",
        f", {S}'",
    ),
    "Chrome, mixed content": (
        (
            f"Mixed Content: The page at '{APP}/page' was loaded over HTTPS, but requested an"
            " insecure XMLHttpRequest endpoint 'http://api.example.com/api/echo'. This request has"
            " been blocked; the content must be served over HTTPS."
        ),
        (
            "Blocked, whatever the method: the page is on https: have it call"
            " https://api.example.com/api/echo"
        ),
        "",
    ),
    "a request's line": (
        f"GET {HERE} net::ERR_FAILED 200 (OK)",
        f"Blocked: {UNNAMED}",
        "To see what to change, add --origin.",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_text_leaves_open_is_worked_out(cors: Commands, name: str) -> None:
    text, answer, change = TEXTS[name]
    result = cors("explain", text, **ALLOWED)
    assert result.exit_code == 1, result
    assert answer in result.stdout.splitlines()
    assert change in result.stdout
    assert "0000" not in result.stdout + result.stderr  # the origin that stands for any other


def test_each_of_several_errors_is_answered(cors: Commands) -> None:
    texts = [text for text, *_ in TEXTS.values()]
    result = cors("explain", "\n".join([*texts[:3], *texts[9:11]]), **ALLOWED)
    blocked = [line for line in result.stdout.splitlines() if line.startswith("Blocked")]
    names = ("Chrome", "Chrome, preflight", "Chrome, header", "Safari", "Safari, header")
    assert blocked == [TEXTS[name][1] for name in names]
    assert result.exit_code == 1


def test_cause_that_all_methods_share(cors: Commands) -> None:
    """The change is that of a method for which it is the only one."""
    text, answer, _ = TEXTS["Chrome, preflight"]
    result = cors("explain", text, **ALLOWED, FLASK_CORS_METHODS="PATCH")
    only = "If it was PATCH (for others, add --method):"
    assert (result.exit_code, result.stdout.splitlines()[:2]) == (1, [answer, only])


def test_error_that_does_not_happen_here(cors: Commands) -> None:
    """A text that names no method, of a page that the policy allows."""
    result = cors("explain", f"{IN_CHROME}{MISSING}", FLASK_CORS_ORIGINS=S)
    assert result.exit_code == 0
    assert result.stdout.startswith("Allowed for GET and POST: the page may read the response\n")
    assert f"probe {HERE} {S} GET" in result.line("Warning: the policy here allows what")


# What Firefox 153 says in other languages: no origin, a header and a method.
FRENCH = (
    "Blocage d’une requête multiorigine (Cross-Origin Request) : la politique « Same Origin » ne"
    f" permet pas de consulter la ressource distante située sur {HERE}. Raison : "
)
GERMAN = (
    "Quellübergreifende (Cross-Origin) Anfrage blockiert: Die Gleiche-Quelle-Regel verbietet das"
    f" Lesen der externen Ressource auf {HERE}. (Grund: "
)
SPANISH = (
    "Solicitud desde otro origen bloqueada: la política de mismo origen impide leer el recurso"
    f" remoto en {HERE} (razón: "
)
JAPANESE = (
    f"クロスオリジン要求をブロックしました: 同一生成元ポリシーにより、{HERE} にある"
    "リモートリソースの読み込みは拒否されます (理由: "
)
LANGUAGES = {
    "French": {
        "Firefox": f"{FRENCH}l’en-tête CORS « Access-Control-Allow-Origin » est manquant."
        " Code d’état : 200.",
        "Firefox, header": f"{FRENCH}l’en-tête « x-trace » n’est pas autorisé d’après l’en-tête"
        " « Access-Control-Allow-Headers » de la réponse de pré-vérification des requêtes CORS.",
        "Firefox, method": f"{FRENCH}méthode manquante dans l’en-tête"
        " « Access-Control-Allow-Methods ».",
    },
    "German": {
        "Firefox": f"{GERMAN}CORS-Kopfzeile 'Access-Control-Allow-Origin' fehlt). Statuscode: 200.",
        "Firefox, header": f"{GERMAN}Kopfzeile 'x-trace' ist aufgrund der Kopfzeile"
        " 'Access-Control-Allow-Headers' aus der CORS-Preflight-Antwort nicht zulässig).",
        "Firefox, method": f"{GERMAN}Methode nicht in CORS-Kopfzeile"
        " 'Access-Control-Allow-Methods' gefunden).",
    },
    "Spanish": {
        "Firefox": f"{SPANISH}falta la cabecera CORS 'Access-Control-Allow-Origin'). Código de"
        " estado: 200.",
        "Firefox, header": "Solicitud de origen cruzado bloqueada: La política de mismo origen"
        f" (Same Origin Policy) no permite la lectura de recursos remotos en {HERE}. (Motivo: La"
        " cabecera ‘x-trace’ no está permitida de acuerdo a la cabecera"
        " ‘Access-Control-Allow-Headers’ de la verificación previa de la respuesta CORS).",
        "Firefox, method": f"{SPANISH}token no se ha encontrado el método en la cabecera CORS"
        " 'Access-Control-Allow-Methods').",
    },
    "Japanese": {
        "Firefox": f"{JAPANESE}CORS ヘッダー ‘Access-Control-Allow-Origin’ が足りない)。"
        "ステータスコード: 200",
        "Firefox, header": f"{JAPANESE}CORS プリフライト応答からのヘッダー"
        " ‘Access-Control-Allow-Headers’ によりヘッダー ‘x-trace’ が許可されていない)。",
        "Firefox, method": f"{JAPANESE}CORS ヘッダー ‘Access-Control-Allow-Methods’"
        " にメソッドが見つからない)。",
    },
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_firefox_speaks_other_languages(cors: Commands, language: str) -> None:
    for name, text in LANGUAGES[language].items():
        assert cors("explain", text, **ALLOWED) == cors("explain", TEXTS[name][0], **ALLOWED)


@pytest.mark.parametrize(
    "said", [f"{IN_FIREFOX}CORS request did not succeed).", f"{FRENCH}échec de la requête CORS."]
)
def test_browser_that_got_no_response(cors: Commands, said: str) -> None:
    """Alone: Firefox says the same of a request whose preflight failed."""
    start = "Start the API, or correct the URL: the browser got no response."
    assert cors("explain", said).stdout.startswith(start)
    failed = f"{IN_FIREFOX}CORS header ‘Access-Control-Allow-Origin’ missing)."
    assert start not in cors("explain", f"{failed}\n{said}").stdout


def test_language_of_which_only_the_url_is_read(cors: Commands) -> None:
    italian = (
        "Bloccata richiesta multiorigine (cross-origin): il criterio di corrispondenza dell’origine"
        f" non consente la lettura della risorsa remota da {HERE}. Motivo: header CORS"
        " “Access-Control-Allow-Origin” mancante. Codice di stato: 200."
    )
    result = cors("explain", italian, **ALLOWED)
    first, *lines = result.stdout.splitlines()
    assert first.startswith("Only the URL was read: ")
    assert f"Blocked, whatever the method: {UNNAMED}" in lines
    assert lines[-1] == "To know which it is, add --method and --origin."
    assert result.exit_code == 2
    result = cors("explain", "--origin", S, "--method", "GET", italian, **ALLOWED)
    assert (result.exit_code, result.line("Why:")) == (1, PORT)


@pytest.mark.parametrize(
    ("arguments", "said", "exit_code"),
    [
        ([S, "GET", "ws://localhost:5000/ws"], f"Refused: {PORT}", 1),
        ([LOCAL, "GET", "ws://localhost:5000/ws"], f"{LOCAL} may connect: ", 0),
        (
            ["WebSocket connection to 'ws://localhost:5000/ws' failed: "],
            f"Pages on {APP} and {LOCAL} may connect. Add --origin.",
            2,
        ),
        (
            [
                f"--origin={S}",
                "Firefox can’t establish a connection to the server at ws://localhost:5000/ws.",
            ],
            f"Refused: {PORT}",
            1,
        ),
        (
            [
                f"--origin={APP}",
                "Firefox can’t establish a connection to the server at ws://api.example.com/ws.",
            ],
            "Blocked: the page is on https: have it call wss://api.example.com/ws",
            1,
        ),
        (
            [
                (
                    f"Mixed Content: The page at '{APP}/page' was loaded over HTTPS, but attempted"
                    " to connect to the insecure WebSocket endpoint 'ws://api.example.com/ws'. This"
                    " request has been blocked; this endpoint must be available over WSS."
                )
            ],
            "Blocked: the page is on https: have it call wss://api.example.com/ws",
            1,
        ),
    ],
)
def test_websocket(cors: Commands, arguments: list[str], said: str, exit_code: int) -> None:
    """Browsers leave it to the server, and the policy refuses the pages that it does not allow."""
    result = cors("explain", *arguments, **ALLOWED)
    first, second, *_ = result.stdout.splitlines()
    assert first.startswith("Browsers do not apply CORS to WebSockets: ")
    assert second.startswith(said)
    assert ("To allow it: " in result.stdout) is said.startswith("Refused")
    assert result.exit_code == exit_code


def test_public_path_below_a_base(cors: Commands) -> None:
    """A proxy strips /v1: what is asked is whether the app's own path allows it."""
    public = {"CORS_PATHS": {"/api/echo": {"origins": "*", "methods": "GET"}}}
    url = "https://api.example.com/v1/api/echo"
    blocked = f"Access to fetch at '{url}' from origin '{S}' has been blocked by CORS policy: "
    for arguments in ([S, "GET", url], ["--method=GET", f"{blocked}{MISSING}"]):
        result = cors("explain", *arguments, config=public)
        assert result.exit_code == 0, result
        assert result.stdout.startswith(f"Read as {API}: the app has this path, so a proxy strips")
        assert "copier" not in result.stdout
    host = "https://v1.example.com"
    assert f"Read as {host}/api/echo: " in cors("explain", S, "GET", f"{host}/v1/api/echo").stdout
    # Nothing is stripped from what the app has, or has no part of, nor from a path that is typed.
    for path in ("/api/echo", f"{host}/v1/elsewhere", "/v1/api/echo"):
        assert "Read as" not in cors("explain", S, "GET", path, config=public).stdout


BY_METHOD = """
from flask import Flask, request
from flask_cors import cross_origin

app = Flask(__name__)
ran = open("ran", "a", encoding="utf-8")


@app.before_request
def note() -> None:
    print(request.method, file=ran, flush=True)


@app.get("/items")
@cross_origin(origins=["https://app.example.com"])
def read():
    return []


@app.post("/items")
@cross_origin(origins=["https://admin.example.com"])
def write():
    return {}


@app.route("/by-hand", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def by_hand():
    return {}, {
        "Access-Control-Allow-Origin": "https://app.example.com",
        "Access-Control-Allow-Methods": "PUT, PATCH, DELETE",
    }


@app.get("/secret-list")
def secret_list():
    origin = request.headers.get("Origin")
    return {}, {"Access-Control-Allow-Origin": origin} if origin == "https://listed.example" else {}
"""
WHYCORS = ["-c", "from whycors.commands import commands; commands()"]


@pytest.fixture
def by_method(tmp_path: Path, installed: None) -> Path:
    (tmp_path / "shop.py").write_text(BY_METHOD)
    return tmp_path


def explained(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *WHYCORS, "explain", "--app", "shop:app", "--send"],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
    )


def test_answers_that_differ(by_method: Path) -> None:
    """Views of one path have policies of their own: the text does not say which was asked."""
    text = f"{IN_CHROME.replace('/api/echo', '/items')}{MISSING}"
    done = explained(by_method, text)
    assert done.returncode == 2, done
    blocked = [line for line in done.stdout.splitlines() if line.startswith("Blocked")]
    assert len(blocked) == 2
    assert blocked[0].startswith(f"Blocked for GET: {S} is not allowed; ")
    assert blocked[0].endswith(f" allows {APP}")
    assert blocked[1].startswith(f"Blocked for POST: {S} is not allowed; ")
    assert blocked[1].endswith(" allows https://admin.example.com")
    assert done.stdout.endswith("To know which it is, add --method.\n")

    at_terminal = pexpect.spawn(
        sys.executable,
        [*WHYCORS, "explain", "--app", "shop:app", text],
        cwd=by_method,
        encoding="utf-8",
        timeout=20,
        dimensions=(24, 300),
    )
    at_terminal.expect("The page's method: ")
    at_terminal.sendline("POST")
    at_terminal.expect(f"Why: {S} is not allowed; .* allows https://admin.example.com")
    at_terminal.expect(pexpect.EOF)
    at_terminal.close()
    assert at_terminal.exitstatus == 1


@pytest.mark.parametrize(
    ("page", "said", "untried"),
    [
        (S, "Blocked for GET: ", "POST"),
        (APP, "Allowed for GET: ", "POST, PUT, PATCH and DELETE"),
    ],
)
def test_nothing_is_changed_to_work_it_out(
    by_method: Path, page: str, said: str, untried: str
) -> None:
    """What only the view itself can tell of a POST stays open: --send is for one that is named."""
    text = f"{IN_CHROME.replace('/api/echo', '/by-hand').replace(S, page)}{MISSING}"
    done = explained(by_method, text)
    assert done.stdout.startswith(said)
    assert {*(by_method / "ran").read_text().split()} == {"OPTIONS", "GET"}
    assert done.stdout.splitlines()[-1] == (
        f"Not tried, since it may change data: {untried}. To try it, add --method POST --send."
    )
    of_preflight = "Response to preflight request doesn't pass access control check: "
    text = text.replace(MISSING, of_preflight + MISSING)
    assert "Not tried" not in explained(by_method, text).stdout


def test_page_of_a_request_that_nothing_names(cors: Commands, by_method: Path) -> None:
    """It is one that the policy allows; where none can be read, a body is no reason to fail."""
    pages = f"Allowed from {APP} and {LOCAL}: the page may read the response"
    result = cors("explain", "/api/echo", **ALLOWED)
    assert (result.exit_code, result.stdout) == (0, f"{pages}\n")
    result = cors("explain", "/api/echo", FLASK_CORS_ORIGINS="any")
    assert result.stdout == "Allowed: the page may read the response\n"
    done = explained(by_method, "curl http://localhost:5000/elsewhere --data a=1")
    assert (done.returncode, done.stdout) == (
        2,
        "Not tried, since it may change data: POST. To try it, add --method POST --send.\n",
    )


def test_websocket_of_an_app_without_a_policy_for_it(by_method: Path) -> None:
    done = explained(by_method, "ws://localhost:5000/items")
    assert done.returncode == 2
    assert done.stdout.splitlines()[1].startswith("No CORS setting decides it here: ")


def test_page_that_a_pattern_stands_for(tmp_path: Path, installed: None) -> None:
    (tmp_path / "shop.py").write_text(
        "from flask import Flask\n"
        "from flask_cors import CORS\n\n"
        "app = Flask(__name__)\n"
        'CORS(app, origins=[r"https://.*\\.example\\.com$"], methods=["GET"])\n'
        'app.add_url_rule("/api/echo", "echo", dict, methods=["PUT"])\n'
    )
    done = explained(tmp_path, TEXTS["Firefox, method"][0])
    assert done.returncode == 1
    assert done.stdout.startswith("Blocked from https://a.example.com for PUT, PATCH and DELETE: ")


def test_page_that_only_the_code_knows(by_method: Path) -> None:
    """No guess is told for the cause if it is not what the browser said."""
    text = TEXTS["Firefox, method"][0].replace("/api/echo", "/secret-list")
    done = explained(by_method, text)
    assert done.returncode == 2
    assert done.stdout.endswith("does not happen to pages that are known here: add --origin.\n")
    assert "Blocked" not in done.stdout
