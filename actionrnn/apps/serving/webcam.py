"""The `/stream` WebSocket: pictures come in, scores go out, with one recurrent state each."""

from __future__ import annotations

import asyncio
import io
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.errors import ActionrnnError, VideoError
from actionrnn.model.none_of_these import NoneOfThese
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.stream import Stream
from actionrnn.video.frame import Frame

_TIME = struct.Struct("<d")

Follow = Callable[
    [NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_] | None], dict[str, Any]
]
"""Takes the scores (n, K) of steps, their times (n,), and which are none of these, if that is
asked; gives more keys of the answer."""


async def serve_webcam(
    websocket: WebSocket,
    model: Recognizer,
    limits: ServeLimits,
    none_rate: float | None = None,
    follow: Follow | None = None,
) -> None:
    """Answer each message until the client disconnects, is idle too long, or sends a bad one.

    A message is the picture's time in seconds as a little-endian float64, then a JPEG file. The
    answer is JSON: `steps`, each with `pts_seconds` and `scores` in the order of `/labels`, or
    `error`, after which the connection is closed. The steps are those whose answers became known:
    with `head.delay_steps` earlier ones than the picture's. With a `none_rate` a step also has its
    `typicality` and whether it is `none_of_these`, if the model knows that of steps.

    Args:
        websocket: the connection, not yet accepted.
        model: makes the stream; one that needs the whole clip is answered with `error`.
        limits: the size of a picture, and the longest time between two.
        none_rate: the part of the classes' own steps of which this may be said wrongly.
        follow: says more in each answer.
    """
    await websocket.accept()
    try:
        none = None if none_rate is None else model.none_of_these
        live = _LiveStream(model.stream(), limits, none, none_rate or 0.0, follow)
        while True:
            message = await _receive(websocket, limits.webcam_idle_seconds)
            await websocket.send_json(await asyncio.to_thread(live.push, message))
    except WebSocketDisconnect:
        return
    except ActionrnnError as error:
        await _end(websocket, str(error))
    except Exception:
        await _end(websocket, "the server failed on this picture; its log says why")
        raise


async def _receive(websocket: WebSocket, most_seconds: float) -> bytes:
    """The next message.

    Raises:
        VideoError: it is a text, or none came in time.
        WebSocketDisconnect: the client has disconnected.
    """
    try:
        return await asyncio.wait_for(websocket.receive_bytes(), most_seconds)
    except asyncio.TimeoutError:  # a class of its own before Python 3.11
        raise VideoError(f"no picture came for {most_seconds:g} s; start again") from None
    except KeyError:
        raise VideoError("this was a text message; send pictures as binary messages") from None


async def refuse_webcam(websocket: WebSocket, problem: str) -> None:
    """Accept a connection, say why it cannot be served, and end it."""
    await websocket.accept()  # else the browser does not see the reason
    await _end(websocket, problem)


async def _end(websocket: WebSocket, problem: str) -> None:
    try:
        await websocket.send_json({"error": problem})
        await websocket.close()
    except (RuntimeError, WebSocketDisconnect):  # the client has disconnected meanwhile
        return


@dataclass
class _LiveStream:
    """The stream of one connection, and the time of its last picture."""

    stream: Stream
    limits: ServeLimits
    none_of_these: NoneOfThese | None
    none_rate: float
    follow: Follow | None = None
    last_seconds: float | None = None

    def push(self, message: bytes) -> dict[str, Any]:
        """The answer to a message: the steps that its picture completes, and what `follow` says."""
        frame = _unpack(message, self.limits.frame_pixels)
        self._require_no_leap(frame.pts_seconds)
        scores = self.stream.push(frame)
        self.last_seconds = frame.pts_seconds
        steps: list[dict[str, Any]] = [
            {"pts_seconds": round(seconds, 6), "scores": [round(float(s), 6) for s in row]}
            for seconds, row in zip(self.stream.pts_seconds.tolist(), scores, strict=True)
        ]
        none = self.none_of_these
        typicality = None if none is None else none.of_steps(scores)
        if typicality is not None:
            for step, usual in zip(steps, typicality.tolist(), strict=True):
                step |= {"typicality": round(usual, 6), "none_of_these": usual < self.none_rate}
        if self.follow is None:
            return {"steps": steps}
        is_none = None if typicality is None else typicality < self.none_rate
        return {"steps": steps} | self.follow(scores, self.stream.pts_seconds, is_none)

    def _require_no_leap(self, pts_seconds: float) -> None:
        """The stream repeats a picture at each tick until the next: a leap makes endless work."""
        most = 2 * self.limits.webcam_idle_seconds
        if self.last_seconds is not None and pts_seconds - self.last_seconds > most:
            raise VideoError(
                f"a picture at {pts_seconds:.3f} s came after one at {self.last_seconds:.3f} s, "
                f"more than {most:g} s later; start again"
            )


def _unpack(message: bytes, most_pixels: int) -> Frame:
    if len(message) <= _TIME.size:
        raise VideoError(
            f"a message of {len(message)} bytes is too short for a time and a JPEG picture"
        )
    (pts_seconds,) = _TIME.unpack_from(message)
    if not math.isfinite(pts_seconds) or abs(pts_seconds) > 1e9:
        raise VideoError(f"{pts_seconds} is not a time in seconds")
    try:
        with Image.open(io.BytesIO(message[_TIME.size :]), formats=["JPEG"]) as image:
            if image.width * image.height > most_pixels:
                raise VideoError(f"{image.width} x {image.height} pixels are too many; send fewer")
            return Frame.from_array(np.asarray(image.convert("RGB")), pts_seconds)
    except Image.DecompressionBombError:
        raise VideoError("the picture's pixels are too many; send fewer") from None
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise VideoError(f"the picture is not a JPEG ({type(error).__name__})") from None
