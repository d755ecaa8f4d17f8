"""Refuses a chunked body that is malformed, or over MAX_CONTENT_LENGTH.

Werkzeug reads as much as the limit allows, and passes that on as the whole.
"""

from typing import IO, Any, cast

import flask
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream


class Request(flask.Request):
    @cached_property
    def stream(self) -> IO[bytes]:
        """The body.

        Reading it raises RequestEntityTooLarge where it goes on after the limit, and BadRequest
        where a chunk is malformed (RFC 9112, section 7.1).
        """
        stream = super().stream
        if self.content_length is None and isinstance(stream, LimitedStream):
            whole = WholeStream(self.environ["wsgi.input"], stream.limit, is_max=True)
            return cast(IO[bytes], whole)
        return stream


class WholeStream(LimitedStream):
    def readinto(self, buffer: Any) -> int | None:
        try:
            return super().readinto(buffer)
        except HTTPException:
            raise
        except Exception as error:  # each server has its own
            raise BadRequest("The body has a malformed chunk.") from error

    def readall(self) -> bytes:
        body = super().readall()
        if self.is_exhausted and self._stream.read(1):
            raise RequestEntityTooLarge
        return body
