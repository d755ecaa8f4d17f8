"""Refuses a chunked body over MAX_CONTENT_LENGTH, which Werkzeug cuts off there and passes on."""

from typing import IO, cast

import flask
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream


class Request(flask.Request):
    @cached_property
    def stream(self) -> IO[bytes]:
        """The body. Reading it raises RequestEntityTooLarge where it goes on after the limit."""
        stream = super().stream
        if self.content_length is None and isinstance(stream, LimitedStream):
            whole = WholeStream(self.environ["wsgi.input"], stream.limit, is_max=True)
            return cast(IO[bytes], whole)
        return stream


class WholeStream(LimitedStream):
    def readall(self) -> bytes:
        body = super().readall()
        if self.is_exhausted and self._stream.read(1):
            raise RequestEntityTooLarge
        return body
