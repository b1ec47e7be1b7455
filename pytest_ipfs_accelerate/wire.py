"""Frames between pytest and its host: four bytes of length, then JSON. No pickle: a frame can hold data and nothing else."""

from __future__ import annotations

import struct
from typing import IO, Any

import msgspec

_LENGTH = struct.Struct("!I")


def write_frame(stream: IO[bytes], content: Any) -> None:
    """Write one frame and flush it."""
    body = msgspec.json.encode(content, enc_hook=str)
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def read_frame(stream: IO[bytes], form: Any = Any) -> Any:
    """The next frame, as ``form``.

    Raises:
        EOFError: the stream ended.
        msgspec.ValidationError: it holds something else.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return msgspec.json.decode(_exactly(stream, length), type=form)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    body = b""
    while len(body) < count:
        piece = stream.read(count - len(body))
        if not piece:
            raise EOFError
        body += piece
    return body
