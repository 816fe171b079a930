"""What a decoding process says, as bytes: nothing of it is unpickled, and each number is checked.

4 bytes   the length of the JSON, little-endian
JSON      {"kind": "begin", "num_frames": T}             and T float64: the frames' times
          {"kind": "squares", "steps": [[0, 1], ...]}   and a square, (crop, crop, 3), for each
          {"kind": "end", "content": {...}}
          {"kind": "failed", "reason": "..."}
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.text import printable

Message = tuple[str, Any]
"""A kind (`begin`, `squares`, `end` or `failed`) and its content: times (T,), steps and squares,
a JSON object, or a reason."""
SQUARES_IN_A_MESSAGE = 16
MOST_JSON_BYTES = 2**16
MOST_FRAMES = 2**23
"""Of one video: more than a day at 60 frames a second."""
LONGEST_REASON = 2000

_LENGTH = struct.Struct("<I")


class MessageError(Exception):
    """A message that no honest decoder sends."""


def send(line: socket.socket, kind: str, content: Any) -> None:
    """Send one of the messages of `decode_in_messages`."""
    described: dict[str, Any]
    body: Any = b""
    if kind == "begin":
        described, body = {"num_frames": len(content)}, content.astype("<f8")
    elif kind == "squares":
        steps, squares = content
        described, body = {"steps": [(step.start, step.stop) for step in steps]}, squares
    elif kind == "failed":
        described = {"reason": content[:LONGEST_REASON]}
    else:
        described = {"content": content}
    text = json.dumps({"kind": kind} | described).encode()
    line.sendall(_LENGTH.pack(len(text)) + text)
    line.sendall(memoryview(body).cast("B"))


class Receiver:
    """Takes a decoder's messages, of which none is trusted.

    Args:
        read: gives exactly this many bytes.
        crop: the side of the squares that will come; 0: none will.
    """

    def __init__(self, read: Callable[[int], bytearray], crop: int = 0) -> None:
        self._read = read
        self._crop = crop
        self._came: NDArray[np.bool_] | None = None
        """(T,), whose squares came."""

    def receive(self) -> tuple[str, Any]:
        """The next message, as it was given to `send`.

        Raises:
            MessageError: it is malformed, or does not follow on those before it.
        """
        described = self._described()
        kind = described.get("kind")
        if kind == "begin" and self._crop:
            return kind, self._times(described.get("num_frames"))
        if kind == "squares" and self._crop:
            return kind, self._squares(described.get("steps"))
        if kind == "end":
            return kind, self._content(described.get("content"))
        reason = described.get("reason")
        if kind == "failed" and isinstance(reason, str) and len(reason) <= LONGEST_REASON:
            return kind, printable(reason)
        raise MessageError("a message of an unknown kind")

    def _described(self) -> dict[str, Any]:
        (size,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if size > MOST_JSON_BYTES:
            raise MessageError(f"a message of {size} bytes")
        try:
            described = json.loads(self._read(size))
        except (ValueError, RecursionError):
            raise MessageError("a message that is not JSON") from None
        if not isinstance(described, dict):
            raise MessageError("a message without a kind")
        return described

    def _times(self, num_frames: Any) -> NDArray[np.float64]:
        if not _is_within(num_frames, 1, MOST_FRAMES):
            raise MessageError(f"a video of {num_frames!r:.40} frames")
        times = np.frombuffer(self._read(8 * num_frames), "<f8").astype(np.float64)
        if not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise MessageError("times that are not numbers, or fall")
        self._came = np.zeros(num_frames, np.bool_)
        return times

    def _squares(self, steps: Any) -> tuple[list[slice], NDArray[np.uint8]]:
        if not isinstance(steps, list) or not 1 <= len(steps) <= SQUARES_IN_A_MESSAGE:
            raise MessageError("more squares than a message holds, or none")
        slices = [self._taken(step) for step in steps]
        shape = len(slices), self._crop, self._crop, 3
        return slices, np.frombuffer(self._read(int(np.prod(shape))), np.uint8).reshape(shape)

    def _taken(self, step: Any) -> slice:
        """A square's steps, which no other square has had."""
        came = self._came
        if came is None or not isinstance(step, list) or len(step) != 2:
            raise MessageError("squares without their steps")
        first, stop = step
        if not _is_within(first, 0, len(came) - 1) or not _is_within(stop, first + 1, len(came)):
            raise MessageError("a square outside of the video")
        if came[first:stop].any():
            raise MessageError("a square that came before")
        came[first:stop] = True
        return slice(first, stop)

    def _content(self, content: Any) -> dict[str, Any]:
        if self._crop and (self._came is None or not self._came.all()):
            raise MessageError("an end before all squares came")
        if not isinstance(content, dict):
            raise MessageError("an end without its content")
        return content


def _is_within(number: Any, least: int, most: int) -> bool:
    return type(number) is int and least <= number <= most
