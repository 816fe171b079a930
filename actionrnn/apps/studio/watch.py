"""The newest model on a webcam or a playing file: scores, events, and how often each was seen."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, WebSocket
from numpy.typing import NDArray

from actionrnn.apps.serving.webcam import refuse_webcam, serve_webcam
from actionrnn.apps.studio.models import none_rate_of
from actionrnn.apps.studio.session import Session
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ActionrnnError
from actionrnn.model.events import Event, EventDetector
from actionrnn.model.recognizer import Recognizer


def routes(session: Session) -> APIRouter:
    """`/api/watch`, as `/stream` of a server of one model."""
    router = APIRouter()

    @router.websocket("/api/watch")
    async def watch(websocket: WebSocket) -> None:
        try:
            model = await asyncio.to_thread(session.models.recognizer)
        except ActionrnnError as error:
            await refuse_webcam(websocket, str(error))
            return
        none_rate = none_rate_of(model.none_of_these, "step")
        await serve_webcam(websocket, model, session.limits, none_rate, Counting(model).push)

    return router


class Counting:
    """What began and what ended on one webcam since the picture before, and the counts.

    Args:
        model: its events' rule holds; the background is no event.
    """

    def __init__(self, model: Recognizer) -> None:
        self._detector = EventDetector(model.labels, model.event_rule, (BACKGROUND,))
        self._counts = {label: 0 for label in model.labels if label != BACKGROUND}

    def push(
        self,
        scores: NDArray[np.float32],
        pts_seconds: NDArray[np.float64],
        is_none: NDArray[np.bool_] | None,
    ) -> dict[str, Any]:
        """`events`, each with `end` once it has ended, and `counts` by label."""
        events = self._detector.push(scores, pts_seconds, is_none)
        for event in events:
            self._counts[event.label] = event.count
        return {"events": [_event_json(event) for event in events], "counts": dict(self._counts)}


def _event_json(event: Event) -> dict[str, Any]:
    lasted = event.duration_seconds
    start = event.pts_seconds - (lasted or 0.0)
    described = {"label": event.label, "start": round(start, 3), "score": round(event.score, 4)}
    return described if lasted is None else described | {"end": round(event.pts_seconds, 3)}
