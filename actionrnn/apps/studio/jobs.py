"""What is done in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

StateName = Literal["waiting", "extracting", "ready", "failed"]


@dataclass(frozen=True)
class VideoState:
    """How far the features of a video are."""

    name: StateName = "waiting"
    progress: float = 0.0
    error: str = ""


class Jobs:
    def state(self, video_id: str) -> VideoState:
        return VideoState("ready", 1.0)

    def listed(self) -> list[dict[str, Any]]:
        return []

    def model(self) -> dict[str, Any] | None:
        return None

    def runs(self) -> list[str]:
        return []

    def close(self) -> None:
        pass
