"""What a person has of a request: what browsers print and copy, whatever it leaves open."""

import json
from pathlib import Path

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
