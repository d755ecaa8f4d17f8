"""What fails before the first byte is a response that the page can read, wherever it fails."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
from flask import Flask, Response, after_this_request, stream_with_context
from flask.sessions import SecureCookieSessionInterface
from flask_cors import CORS
from werkzeug.serving import make_server

from app import cors, errors

ORIGIN = "https://app.example.com"
POLICY: dict[str, Any] = {
    "CORS_ORIGINS": [ORIGIN],
    "CORS_METHODS": ["GET"],
    "CORS_SUPPORTS_CREDENTIALS": False,
    "CORS_ALLOW_HEADERS": [],
    "CORS_EXPOSE_HEADERS": [],
    "CORS_MAX_AGE": 600,
}


class Failure(Exception):
    pass


def fail(*_: Any) -> Any:
    raise Failure("on purpose")


def broken_generator() -> Iterator[str]:
    raise Failure("on purpose")
    yield ""


def in_view(app: Flask) -> None:
    app.add_url_rule("/", view_func=fail)


def in_before_request(app: Flask) -> None:
    app.before_request(fail)
    app.add_url_rule("/", view_func=lambda: "fine")


def in_after_request(app: Flask) -> None:
    app.after_request(fail)
    app.add_url_rule("/", view_func=lambda: "fine")


def in_after_this_request(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: after_this_request(fail) and "fine")


def in_teardown(app: Flask) -> None:
    app.teardown_request(fail)
    app.add_url_rule("/", view_func=lambda: "fine")


def in_error_handler(app: Flask) -> None:
    app.register_error_handler(404, fail)


def in_generator(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: Response(broken_generator()))


def in_generator_after_nothing(app: Flask) -> None:
    chunks = chain([""], broken_generator())
    app.add_url_rule("/", view_func=lambda: Response(chunks))


def in_generator_with_context(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: Response(stream_with_context(broken_generator())))


def in_middleware(app: Flask) -> None:
    app.wsgi_app = fail  # type: ignore[method-assign]


def in_session(app: Flask) -> None:
    app.session_interface = SecureCookieSessionInterface()
    app.session_interface.open_session = fail  # type: ignore[method-assign]


PLACES: list[Callable[[Flask], None]] = [
    in_view,
    in_before_request,
    in_after_request,
    in_after_this_request,
    in_teardown,
    in_error_handler,
    in_generator,
    in_generator_after_nothing,
    in_generator_with_context,
    in_middleware,
    in_session,
]


def app_that_fails(where: Callable[[Flask], None], **config: Any) -> Flask:
    app = Flask("failing")
    app.config.update(config)
    app.logger.propagate = True
    errors.init_app(app)
    where(app)
    policy = cors.Policy.from_config(POLICY)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    return app


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("where", PLACES)
def test_page_can_read_the_error(
    where: Callable[[Flask], None], debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    answer = app_that_fails(where, DEBUG=debug).test_client().get("/", headers={"Origin": ORIGIN})
    assert answer.status_code == 500
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Vary"] == "Origin"
    if where not in (in_after_request, in_after_this_request):  # Flask then drops the body's hooks
        assert answer.mimetype == "application/problem+json"
        assert json.loads(answer.data)["status"] == 500
    traces = [record for record in caplog.records if record.exc_info]
    assert traces and all("on purpose" in str(record.exc_info) for record in traces[:1])


def test_exceptions_reach_a_debugger_that_is_asked_for() -> None:
    app = app_that_fails(in_generator, PROPAGATE_EXCEPTIONS=True)
    with pytest.raises(Failure):
        app.test_client().get("/")


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    app = Flask("streams")

    @app.get("/breaks")
    def breaks() -> Response:
        def chunks() -> Iterator[str]:
            yield "first"
            raise Failure("on purpose")

        return Response(chunks())

    policy = cors.Policy.from_config(POLICY)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield ("127.0.0.1", server.server_port)
    server.shutdown()


def test_answer_that_breaks_off_does_not_look_complete(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(b"GET /breaks HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert b"first" in received
    assert not received.endswith(b"0\r\n\r\n")
    assert any("broke off" in record.getMessage() for record in caplog.records)


def test_first_event_is_sent_before_the_second_is_made() -> None:
    app = Flask("events")
    made: list[str] = []

    @app.get("/events")
    def events() -> Response:
        def chunks() -> Iterator[str]:
            for name in ("one", "two"):
                made.append(name)
                yield name

        return Response(chunks(), mimetype="text/event-stream")

    policy = cors.Policy.from_config(POLICY)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    answer = app.test_client().get("/events")
    body = answer.iter_encoded()
    assert made == ["one"]
    assert [next(iter(body)), made] == [b"one", ["one"]]


@pytest.mark.parametrize("streamed", [False, True])
def test_body_is_closed_once(streamed: bool) -> None:
    app = Flask("closing")
    closed: list[int] = []

    @app.get("/")
    def view() -> Response:
        response = Response(iter(["a", "b"]) if streamed else "ab")
        response.call_on_close(lambda: closed.append(1))
        return response

    policy = cors.Policy.from_config(POLICY)
    cors.init_app(app, policy, CORS(**policy.flask_cors_options()))
    answer = app.test_client().get("/", buffered=True)
    assert answer.data == b"ab"
    answer.close()
    assert closed == [1]
