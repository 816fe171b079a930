"""The options of reading a recording: their documentation and their defaults.

They are chosen when a recording is read, and are no part of a `Config`; a model contains none of
them but the `EventRule` that its training may have chosen. This module does not import torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from actionrnn.config_parsing import (
    STRICT_KEYS,
    NonNegativeFloat,
    Part,
    PositiveFloat,
    PositiveInt,
    Probability,
    first_problem,
    with_own_errors,
)
from actionrnn.errors import ConfigError

Transport = Literal["tcp", "udp", "multicast"]
Clock = Literal["player", "file"]
"""How times are shown: from 0 on, as players do, or as the file has them."""
Section = TypeVar("Section")


@dataclass(frozen=True, config=STRICT_KEYS)
class VideoLimits:
    """Limits on one video, so that none can exhaust the memory."""

    max_frame_pixels: Annotated[int, Field(ge=1, strict=True)] = 8192 * 8192
    """Width x height of a frame before scaling; 8K video has half of it."""
    max_bytes_held: Annotated[int, Field(ge=1, strict=True)] = 4 * 2**30
    """Bytes of all frames that one call returns, and of a source that is read whole (a pipe)."""
    containers: tuple[str, ...] = ()
    """FFmpeg's names of the formats that are read. If any is given, only the given file itself is
    read: a playlist in it cannot open other files or addresses. Empty: every format."""


@dataclass(frozen=True, config=STRICT_KEYS)
class SegmentRule:
    """How the scores of a timeline become segments with one label each."""

    smooth_seconds: NonNegativeFloat = 0.5
    """The scores are averaged over this much time around each step; 0: not at all."""
    min_seconds: NonNegativeFloat = 1.0
    """Shorter segments are merged into the segments next to them; of a multi-label model, each
    label for itself: shorter segments go, and shorter gaps between two of its segments close."""
    threshold: Probability | None = None
    """Steps whose best score is below this get no label; null: 0. Of a multi-label model, a label
    is on where its score is at least this; null: 0.5."""
    none_rate: Probability = 0.0
    """Steps that look like none of the labels get none; this part of the steps of the labels
    themselves is lost so. 0: every step gets one. For models that were trained with
    `train.none_of_these`."""


@with_own_errors
@dataclass(frozen=True, config=STRICT_KEYS)
class EventRule:
    """When an action begins and when it ends, for each label by its own scores.

    Two thresholds, so that scores which waver around one do not begin an action again and again
    (hysteresis; Schmitt 1938, "A thermionic trigger").
    """

    begin_threshold: Part = 0.6
    """An action begins with the first step whose score reaches this. Lower: events come earlier,
    and there are more false ones."""
    end_threshold: Part = 0.4
    """It ends with the next step whose score is below this; at most `begin_threshold`. Lower: an
    action that is doubtful for a moment stays one."""
    min_seconds: NonNegativeFloat = 0.0
    """Actions that end sooner are no events. The begin is reported as soon as it has lasted this
    long, and so this much later; the time in it is that at which it began."""

    @model_validator(mode="after")
    def _end_below_begin(self) -> EventRule:
        if self.end_threshold > self.begin_threshold:
            raise ValueError(
                f"end_threshold ({self.end_threshold:g}) must be at most begin_threshold "
                f"({self.begin_threshold:g}); give both"
            )
        return self


@dataclass(frozen=True, config=STRICT_KEYS)
class LiveOptions:
    """How a live source is followed."""

    max_lag_seconds: PositiveFloat = 0.5
    """Frames that wait longer for the model are dropped, so that answers are never older."""
    stall_seconds: PositiveFloat = 5.0
    """The source is reopened after this long without a frame."""
    give_up_seconds: NonNegativeFloat = 60.0
    """No further attempts after this long without a frame."""
    first_wait_seconds: PositiveFloat = 0.5
    """The wait before the source is reopened; doubled each time."""
    longest_wait_seconds: PositiveFloat = 8.0
    """The longest of these waits."""
    reset_on_reconnect: bool = False
    """Start with a new state after an interruption, instead of continuing with the old one."""
    transport: Transport = "tcp"
    """How RTSP sends its packets: tcp loses none; udp and multicast are never late, and where
    packets are lost, pictures are damaged."""
    input_options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """For FFmpeg's demuxer and protocol: user_agent, cookies, headers, localaddr, ..."""


@dataclass(frozen=True, config=STRICT_KEYS)
class WebhookOptions:
    """How events are posted; none of it makes the stream wait."""

    timeout_seconds: PositiveFloat = 5.0
    """The longest wait for the connection, and for each part of the answer."""
    max_attempts: PositiveInt = 4
    """An event is given up after so many posts that failed."""
    first_wait_seconds: PositiveFloat = 0.5
    """The wait before an event is posted again; doubled each time."""
    queue_size: PositiveInt = 1000
    """Events that may wait; of more, the oldest are dropped and counted."""
    flush_seconds: NonNegativeFloat = 5.0
    """At the end of the stream, the longest wait for the events that are left."""


def parse_section(kind: type[Section], values: Mapping[str, Any]) -> Section:
    """Build a `SegmentRule`, `EventRule` or `LiveOptions` from some fields; None is the default.

    Raises:
        ConfigError: a value is wrong; the message names it.
    """
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        raise ConfigError(first_problem(error).removeprefix(": ")) from None
